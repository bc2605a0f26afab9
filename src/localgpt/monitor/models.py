"""Which model a session talks to, and on whose word.

The order: what the configuration or the command line names; a model server found on loopback; a provider whose key is
in the environment; the embedded model. The second and third, and any hosted provider when there is a terminal, are used
only after one confirmation that names host, model and what will be sent. It is remembered for exactly that provider,
host, model and, on loopback, port and user id of the listener. Without a terminal nothing is used that is not
configured or embedded.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from localgpt import canon
from localgpt.config import PROVIDERS, Config, ModelRef, base_url, default_model, parse_model, provider_key
from localgpt.errors import ModelError
from localgpt.monitor.events import ModelConfirmer, ModelOffer
from localgpt.monitor.listeners import Listener
from localgpt.policy import Reach
from localgpt.wire import EmbeddedStart, Endpoint, FoundServer, ModelTraits, Protocol, ProviderKey, ToolMode

EMBEDDED_NAME: Final = "smollm2-135m-instruct"
_SENDS: Final = "your messages, the files and command output the agent reads, and the policy's text"
_LOOPBACK_CONTEXT: Final = 8192  #: a local server rarely says; its usual default is no larger
_EMBEDDED_OUTPUT: Final = 512
_MAX_SOCKET_PATH: Final = 107
_FROM_ENVIRONMENT: Final = (
    "anthropic/claude-sonnet-4-6",
    "openai/gpt-4o",
    "openrouter/auto",
    "xai/grok-3-mini",
    "glm/glm-4.7",
)


class ModelNotConfirmed(ModelError):  # noqa: N818 -- named after the condition
    """The model would be new, and the user did not confirm it."""

    code = "model.not-confirmed"


class ProviderUnusable(ModelError):  # noqa: N818 -- named after the condition
    """The provider cannot be talked to by this version, or has no key or address."""

    code = "model.provider-unusable"


@dataclass(frozen=True, slots=True)
class Found:
    """A model server on loopback and who runs it."""

    server: FoundServer
    listener: Listener


@dataclass(frozen=True, slots=True)
class Selection:
    """A chosen model before its server is started. `notices`: why a configured one was passed over."""

    ref: ModelRef
    reach: Reach
    base_url: str
    confirmed: bool
    notices: tuple[str, ...] = ()

    @property
    def embedded(self) -> bool:
        return self.reach is Reach.EMBEDDED


@dataclass(frozen=True, slots=True)
class ChosenModel:
    """Everything a session needs of its model. `tool_mode` is the mode when tools are on."""

    endpoint: Endpoint
    traits: ModelTraits
    tool_mode: ToolMode
    reach: Reach
    host: str
    confirmed: bool
    keys: tuple[ProviderKey, ...] = ()
    embedded: EmbeddedStart | None = None
    private_dir: str = ""  #: made for this model's socket alone; removed when the session is over


# --- the choice -------------------------------------------------------------------------------------------------


def choose(
    config: Config,
    environ: Mapping[str, str],
    requested: str | None,
    *,
    remembered: Path,
    confirmer: ModelConfirmer | None,
    discover: Callable[[], Sequence[Found]],
) -> Selection:
    """Choose the model of a session.

    Args:
        requested: what the command line named, which must work or fail.
        remembered: the file of confirmations.
        confirmer: whoever can be asked, None without a terminal.
        discover: looks for model servers on loopback; called only when nothing is configured.

    Raises:
        UnknownModel, ProviderUnusable: the named model cannot be used.
        ModelNotConfirmed: the named model is hosted, new, and was refused.
    """
    consent = _Consent(remembered, confirmer)
    if requested is not None:
        ref = parse_model(requested, ollama_configured="ollama" in config.providers)
        return _named(config, environ, ref, consent, "named on the command line")
    notices: tuple[str, ...] = ()
    configured = default_model(config)
    if configured is not None:
        try:
            return _named(config, environ, configured, consent, "named in the configuration")
        except ProviderUnusable as error:
            notices = (f"{error.message}; another model is used",)
    found = _discovered(consent, discover) or _keyed(config, environ, consent)
    selection = found or Selection(ModelRef("embedded", _embedded_name(config)), Reach.EMBEDDED, "", confirmed=True)
    return Selection(selection.ref, selection.reach, selection.base_url, selection.confirmed, notices)


def _named(config: Config, environ: Mapping[str, str], ref: ModelRef, consent: _Consent, origin: str) -> Selection:
    provider = PROVIDERS[ref.provider]
    if not provider.protocol:
        raise ProviderUnusable(
            f"{ref} is {origin}, but {provider.name} cannot be used: {provider.why_not}", cure="localgpt models list"
        )
    if provider.name == "embedded":
        return Selection(ref, Reach.EMBEDDED, "", confirmed=True)
    url = base_url(config, provider)
    if not url:
        raise ProviderUnusable(
            f"{provider.name} has no address", cure=f"localgpt config set providers.{provider.table}.base_url URL"
        )
    reach = Reach.LOOPBACK if is_loopback(url) else Reach.HOSTED
    if reach is Reach.HOSTED:
        key = provider_key(config, provider, environ)
        if provider.key_env and (key is None or not key.is_set):
            raise ProviderUnusable(
                f"{ref} is {origin}, but there is no key for {provider.name}", cure=f"export {provider.key_env}=…"
            )
        configured = default_model(config) == ref
        if (consent.can_ask or not configured) and not consent.given(
            _subject(ref, url), ModelOffer(ref.provider, _host(url), ref.name, origin, _SENDS)
        ):
            raise ModelNotConfirmed(f"{ref} at {_host(url)} was not confirmed", cure="choose another with --model")
    return Selection(ref, reach, url, confirmed=True)


def _discovered(consent: _Consent, discover: Callable[[], Sequence[Found]]) -> Selection | None:
    if not consent.can_ask:
        return None
    for found in discover():
        if not found.server.models:
            continue
        port, uid = found.server.port, found.listener.uid
        provider = found.server.product if found.server.product in PROVIDERS else "openai-compat"
        ref = ModelRef(provider, found.server.models[0])
        url = f"http://127.0.0.1:{port}/v1"
        origin = f"{found.server.product} found on 127.0.0.1:{port}, run by user id {uid}"
        subject = {**_subject(ref, url), "uid": uid}
        if consent.given(subject, ModelOffer(provider, f"127.0.0.1:{port}", ref.name, origin, _SENDS)):
            return Selection(ref, Reach.LOOPBACK, url, confirmed=True)
    return None


def _keyed(config: Config, environ: Mapping[str, str], consent: _Consent) -> Selection | None:
    if not consent.can_ask:
        return None
    for name in _FROM_ENVIRONMENT:
        ref = parse_model(name)
        provider = PROVIDERS[ref.provider]
        if not environ.get(provider.key_env):
            continue
        url = base_url(config, provider)
        offer = ModelOffer(ref.provider, _host(url), ref.name, f"{provider.key_env} is set", _SENDS)
        if consent.given(_subject(ref, url), offer):
            return Selection(ref, Reach.HOSTED, url, confirmed=True)
    return None


def _embedded_name(config: Config) -> str:
    return config.embedded.model or EMBEDDED_NAME


def is_loopback(url: str) -> bool:
    """Whether `url` names this machine by address or as `localhost`; any other name may resolve to anything."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or (
        host.startswith("127.") and host.replace(".", "").isdigit() and host.count(".") == 3
    )


def _host(url: str) -> str:
    return urlsplit(url).hostname or url


def _subject(ref: ModelRef, url: str) -> dict[str, canon.Json]:
    return {"provider": ref.provider, "model": ref.name, "url": url}


class _Consent:
    """Confirmations, remembered and new. A refusal is not remembered: the question may come again."""

    def __init__(self, file: Path, confirmer: ModelConfirmer | None) -> None:
        self._file = file
        self._confirmer = confirmer

    @property
    def can_ask(self) -> bool:
        return self._confirmer is not None

    def given(self, subject: dict[str, canon.Json], offer: ModelOffer) -> bool:
        known = self._read()
        if subject in known:
            return True
        if self._confirmer is None or not self._confirmer.confirm_model(offer):
            return False
        self._write([*known, subject])
        return True

    def _read(self) -> list[canon.Json]:
        try:
            value = canon.decode(self._file.read_bytes())
        except (OSError, canon.NotCanonical):
            return []  # a damaged file loses consent, never gives it
        return value if isinstance(value, list) else []

    def _write(self, subjects: list[canon.Json]) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._file.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(canon.encode(subjects))
        temporary.replace(self._file)


# --- from a selection to something a session can use --------------------------------------------------------------


def hosted_or_local(config: Config, environ: Mapping[str, str], selection: Selection) -> ChosenModel:
    """Describe a model that already runs somewhere.

    Raises:
        SecretUnset: its key is an environment variable that is not set.
    """
    provider = PROVIDERS[selection.ref.provider]
    own = selection.base_url == base_url(config, provider)  # a server that was merely found gets nothing of it
    key = provider_key(config, provider, environ) if own else None
    keys = (
        (ProviderKey(provider.name, key.reveal()),)
        if key is not None and (selection.reach is Reach.HOSTED or key.is_set)
        else ()
    )
    table = config.providers.get(provider.table) if own else None
    headers = tuple((name, value.reveal()) for name, value in table.extra_headers) if table is not None else ()
    endpoint = Endpoint(
        provider=provider.name,
        protocol=Protocol(provider.protocol or "openai-chat"),
        base_url=selection.base_url,
        model=selection.ref.name,
        key_id=provider.name if keys else "",
        headers=headers,
    )
    hosted = selection.reach is Reach.HOSTED
    context = config.agent.context_window if hosted else min(config.agent.context_window, _LOOPBACK_CONTEXT)
    traits = ModelTraits(selection.ref.name, ToolMode.NATIVE, context, min(config.agent.max_tokens, context // 4))
    return ChosenModel(
        endpoint, traits, ToolMode.NATIVE, selection.reach, _host(selection.base_url), selection.confirmed, keys
    )


def embedded(config: Config, selection: Selection, weights: Path, runtime_dir: Path) -> ChosenModel:
    """Describe the embedded model whose weights are the file `weights`; its server starts with the session."""
    name, key = selection.ref.name, secrets.token_hex(32)
    socket_path, private_dir = _socket_place(runtime_dir)
    threads = config.embedded.threads or 0  # 0: the server counts the cores that it may use
    context = config.embedded.context_tokens
    start = EmbeddedStart(str(weights), name, socket_path, key, threads, context)
    endpoint = Endpoint("embedded", Protocol.OPENAI_CHAT, "http://localhost/v1", name, "embedded", socket_path)
    traits = ModelTraits(name, ToolMode.OFF, context, _EMBEDDED_OUTPUT, demo_tier=True)
    keys = (ProviderKey("embedded", key),)
    return ChosenModel(
        endpoint,
        traits,
        ToolMode.SCHEMA,
        Reach.EMBEDDED,
        "localgpt.gateway.embedded",
        confirmed=True,
        keys=keys,
        embedded=start,
        private_dir=private_dir,
    )


def _socket_place(runtime_dir: Path) -> tuple[str, str]:
    """A socket path that fits into an address, and the folder made for it when the runtime directory's does not.

    Source: unix(7), sun_path.
    """
    name = f"model-{os.getpid()}-{secrets.token_hex(4)}.sock"
    path = str(runtime_dir / name)
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        return path, ""
    folder = tempfile.mkdtemp(prefix="localgpt-", dir=_short_place(len(name)))
    return f"{folder}/{name}", folder


def _short_place(name_length: int) -> str | None:
    """Where a folder for a socket may be made: the user's own temporary directory unless its name is long as well."""
    made = len("/localgpt-xxxxxxxx/") + name_length
    own = tempfile.gettempdir()
    return own if len(os.fsencode(own)) + made <= _MAX_SOCKET_PATH else "/tmp"  # noqa: S108 -- mkdtemp: 0700, new
