"""Checks of the models: is there one to talk to? Nobody is contacted; listening ports are read from the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from localgpt.cli.checks.finding import Finding, fail, of_error, ok, warn
from localgpt.cli.state import State
from localgpt.config import PROVIDERS, Config, base_url, default_model, provider_key
from localgpt.errors import ConfigError, LocalGptError


def findings(state: State) -> Iterator[Finding]:
    """Run every check of this group."""
    try:
        config = state.config
    except ConfigError:
        return  # named already, by the check of the configuration
    chosen = list(_chosen(state, config))
    local = [*_servers(), *_embedded(state)]
    yield from chosen
    yield from local
    if not chosen and not any(finding.mark.value == "ok" for finding in local):
        yield fail("model", "there is none to talk to", "localgpt models list shows each way to get one")


def _chosen(state: State, config: Config) -> Iterator[Finding]:
    try:
        ref = default_model(config)
    except LocalGptError as error:
        yield of_error("default model", error)
        return
    if ref is None:
        return
    provider = ref.known
    if not provider.protocol:
        yield warn("default model", f"{ref} cannot be used: {provider.why_not}", "localgpt models list")
        return
    key = provider_key(config, provider, state.environ)
    if provider.key_env and (key is None or not key.is_set):
        yield fail("default model", f"{ref}: there is no key for {provider.name}", f"export {provider.key_env}=…")
    elif provider.name != "embedded" and not base_url(config, provider):
        cure = f"localgpt config set providers.{provider.table}.base_url URL"
        yield fail("default model", f"{ref}: {provider.name} has no address", cure)
    else:
        yield ok("default model", str(ref))


def _servers() -> Iterator[Finding]:
    from urllib.parse import urlsplit

    from localgpt.monitor.listeners import loopback_listeners

    ports = {urlsplit(p.base_url).port or 0: p.name for p in PROVIDERS.values() if p.loopback and p.base_url}
    for listener in loopback_listeners(ports):
        yield ok("local server", f"port {listener.port} ({ports[listener.port]}?), run by user id {listener.uid}")


def _embedded(state: State) -> Iterator[Finding]:
    from localgpt.gateway.weights import list_models

    if find_spec("xllamacpp") is None:
        yield warn("embedded model", "its engine is not installed", "pip install 'localgpt-agent[embedded]'")
        return
    for model in list_models(state.base_paths.models_dir):
        if model.present:
            yield ok("embedded model", f"{model.name}: {model.path}")
        elif model.builtin:
            yield ok("embedded model", f"{model.name}: fetched at the first chat, {model.size_bytes >> 20} MiB")
        else:
            yield warn("embedded model", f"{model.name}: {model.path} is gone", f"localgpt models add {model.path}")
