"""What the global options chose, and what follows from it; worked out when first asked for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import typer

from localgpt.config import Config, Loaded, Paths, load, resolve_paths
from localgpt.config.paths import check_name


class State:
    """One run of the command line. Raises `ConfigError` leaves wherever the configuration is needed and wrong."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        config_path: Path | None = None,
        agent: str = "main",
        profile: str | None = None,
        verbosity: int = 0,
        debug: bool = False,
    ) -> None:
        self.environ = environ
        self.agent = check_name(agent, "agent")
        self.profile = profile
        self.verbosity = verbosity
        self.debug = debug
        self._config_path = config_path
        self._base: Paths | None = None
        self._loaded: Loaded | None = None

    @property
    def base_paths(self) -> Paths:
        """Paths as the environment gives them: the configuration is not read, so that a broken one does not matter."""
        if self._base is None:
            self._base = resolve_paths(self.environ, self.profile)
            warn(self._base.warnings)
        return self._base

    @property
    def config_file(self) -> Path:
        return self.base_paths.config_file if self._config_path is None else self._config_path.absolute()

    @property
    def loaded(self) -> Loaded:
        """The configuration; its warnings go to standard error, once."""
        if self._loaded is None:
            self._loaded = load(self.config_file, self.environ, required=self._config_path is not None)
            warn(self._loaded.warnings)
        return self._loaded

    @property
    def config(self) -> Config:
        return self.loaded.config

    @property
    def paths(self) -> Paths:
        """Paths with the workspace that the configuration may choose."""
        return self.base_paths.with_workspace(self.config.workspace)


def state_of(ctx: typer.Context) -> State:
    """Give the state of this run."""
    found = ctx.find_object(State)
    assert found is not None, "the outermost callback makes the state"
    return found


def warn(warnings: tuple[str, ...]) -> None:
    """Print warnings to standard error."""
    from localgpt.cli.output import safe

    for text in warnings:
        sys.stderr.write(f"warning: {safe(text)}\n")
