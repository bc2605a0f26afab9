"""Which models can be talked to from here, and what each needs."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import urlsplit

from localgpt.cli.state import State
from localgpt.config import PROVIDERS, Config, Provider, base_url, default_model, provider_key


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of `models list`. `name` is what `--model` and `agent.default_model` take; for a hosted provider or a
    local server it ends in ``/NAME``. `ready`: nothing more is needed. `note`: where it is, or what it needs."""

    name: str
    ready: bool
    note: str
    default: bool = False


def entries(state: State) -> tuple[Entry, ...]:
    """List what is known: the embedded models, servers that listen on this machine, providers with a key."""
    config = state.config
    chosen = default_model(config)
    found = [*_embedded(state), *_local(config), *_hosted(state, config)]
    if chosen is not None:
        covered = next((entry for entry in found if entry.name == f"{chosen.provider}/NAME"), None)
        exact = next((entry for entry in found if entry.name == str(chosen)), None)
        origin = exact or covered
        ready, note = (origin.ready, origin.note) if origin else (bool(chosen.known.protocol), chosen.known.why_not)
        found = [Entry(str(chosen), ready, note, default=True), *(entry for entry in found if entry is not exact)]
    return tuple(found)


def model_names(state: State) -> tuple[str, ...]:
    """Names that can be switched to as they are."""
    return tuple(entry.name for entry in entries(state) if entry.ready and not entry.name.endswith("/NAME"))


def _embedded(state: State) -> list[Entry]:
    from localgpt.gateway.weights import list_models

    has_engine = find_spec("xllamacpp") is not None
    found = []
    for model in list_models(state.paths.models_dir):
        note = model.path if model.present else f"{model.path} is gone"
        if model.builtin:
            note = "a small demonstration model" + (
                "" if model.present else f", fetched once: {_mib(model.size_bytes)}"
            )
        if not has_engine:
            note = "needs its engine: pip install 'localgpt-agent[embedded]'"
        found.append(Entry(f"embedded/{model.name}", has_engine and (model.present or model.builtin), note))
    return found


def _local(config: Config) -> list[Entry]:
    """Servers on this machine's own ports: read from the kernel's table, nobody is contacted."""
    from localgpt.monitor.listeners import loopback_listeners

    ports = {port: p for p in PROVIDERS.values() if p.loopback and (port := _loopback_port(base_url(config, p)))}
    listening = loopback_listeners(ports)
    return [
        Entry(f"{ports[each.port].name}/NAME", ready=True, note=f"port {each.port}, run by user id {each.uid}")
        for each in listening
    ]


def _loopback_port(url: str) -> int | None:
    parts = urlsplit(url)
    return parts.port if parts.hostname in {"127.0.0.1", "localhost", "::1"} else None


def _hosted(state: State, config: Config) -> list[Entry]:
    return [_hosted_entry(state, config, p) for p in PROVIDERS.values() if p.protocol and not p.loopback]


def _hosted_entry(state: State, config: Config, provider: Provider) -> Entry:
    url, key = base_url(config, provider), provider_key(config, provider, state.environ)
    if not url:
        return Entry(f"{provider.name}/NAME", ready=False, note=f"needs providers.{provider.table}.base_url")
    if provider.key_env and (key is None or not key.is_set):
        return Entry(f"{provider.name}/NAME", ready=False, note=f"needs a key: export {provider.key_env}=…")
    return Entry(f"{provider.name}/NAME", ready=True, note=url)


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.0f} MiB"
