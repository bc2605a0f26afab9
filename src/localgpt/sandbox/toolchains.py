"""Where compilers and interpreters live under a home, so that `python` and `cargo` are found and the home is not.

An allow list of subdirectories, because credentials lie beside programs: ``~/.cargo/bin`` is granted and
``~/.cargo/credentials.toml`` is not. Nothing is granted that is not there.
"""

# A plan holds paths as text, which is compared and never touched through an object.
# ruff: noqa: PTH110, PTH112, PTH117, PTH118, PTH120, PTH123, PTH207

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# Directory below the home, the variable that points programs at it ("" for none), what of it is granted ("" for all).
_KNOWN: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    (".pyenv", "PYENV_ROOT", ("bin", "libexec", "plugins", "pyenv.d", "shims", "version", "versions")),
    (".nvm", "NVM_DIR", ("alias", "nvm-exec", "nvm.sh", "versions")),
    (".cargo", "", ("bin", "env", "git", "registry")),
    (".rustup", "RUSTUP_HOME", ("toolchains", "settings.toml", "update-hashes")),
    (".local/share/uv", "", ("python", "tools")),
    (".local/bin", "", ("",)),
    (".local/lib", "", ("",)),
    (".local/pipx", "", ("venvs", "shared")),
    (".local/share/pipx", "", ("venvs", "shared")),
    (".local/share/mise", "MISE_DATA_DIR", ("installs", "shims")),
    (".local/share/fnm", "FNM_DIR", ("aliases", "node-versions")),
    (".local/share/pnpm", "PNPM_HOME", ("",)),
    (".asdf", "ASDF_DATA_DIR", ("bin", "lib", "libexec", "installs", "plugins", "shims", "asdf.sh")),
    (".rbenv", "RBENV_ROOT", ("bin", "libexec", "plugins", "shims", "version", "versions")),
    (".goenv", "GOENV_ROOT", ("bin", "libexec", "plugins", "shims", "version", "versions")),
    (".sdkman", "SDKMAN_DIR", ("bin", "candidates", "src")),
    (".volta", "VOLTA_HOME", ("bin", "tools")),
    (".bun", "BUN_INSTALL", ("bin",)),
    (".deno", "", ("bin",)),
    (".juliaup", "", ("bin",)),
    (".ghcup", "", ("bin", "ghc")),
    (".npm-global", "", ("bin", "lib")),
    (".nix-profile", "", ("",)),
    ("go", "", ("bin", "pkg/mod")),
    ("sdk", "", ("",)),
    ("miniconda3", "", ("",)),
    ("miniforge3", "", ("",)),
    ("mambaforge", "", ("",)),
    ("anaconda3", "", ("",)),
)
# Stores of credentials: a root that holds one of these and does not deny it is refused.
SECRET_STORES: Final = (
    ".ssh", ".gnupg", ".aws", ".azure", ".config/gcloud", ".config/gh", ".config/localgpt", ".docker/config.json",
    ".kube", ".netrc", ".pypirc", ".npmrc", ".git-credentials", ".config/git/credentials", ".password-store",
    ".mozilla",
    ".config/google-chrome", ".config/chromium", ".local/share/keyrings", ".local/share/uv/credentials",
    ".cargo/credentials", ".cargo/credentials.toml", ".terraform.d/credentials.tfrc.json", ".vault-token",
)  # fmt: skip
_PREFIX_PARTS: Final = ("bin", "include", "lib", "libexec", "share")


@dataclass(frozen=True, slots=True)
class Toolchains:
    """What a home offers.

    `roots`: resolved paths to read and execute; `links`: symbolic links on the way to them (path, target); `env`:
    variables that lead programs there.
    """

    roots: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    env: tuple[tuple[str, str], ...]


def find_toolchains(home: str) -> Toolchains:
    """Look for known toolchains below `home`."""
    roots: list[str] = []
    links: list[tuple[str, str]] = []
    env: list[tuple[str, str]] = []
    hidden = _hidden(home)
    for directory, variable, parts in _KNOWN:
        base = os.path.join(home, directory)
        found = [path for part in parts if os.path.exists(path := os.path.join(base, part).rstrip("/"))]
        granted = [(path, real) for path in found if not _exposes(real := os.path.realpath(path), hidden)]
        roots += [real for _, real in granted]
        links += [(path, real) for path, real in granted if path != real]
        if found and variable:
            env.append((variable, base))
    return Toolchains(tuple(dict.fromkeys(roots)), tuple(links), tuple(env))


def python_roots(prefix: str, home: str) -> tuple[str, ...]:
    """The parts of the Python installation at `prefix` that programs need; nothing unless it really is one."""
    prefix, hidden = os.path.realpath(prefix), _hidden(home)
    if _exposes(prefix, hidden) or not glob.glob(os.path.join(glob.escape(prefix), "lib*/python3*/os.py")):
        return ()
    parts = (os.path.join(prefix, part) for part in _PREFIX_PARTS)
    # A part that is a link leads out of the installation, to wherever whoever made it likes.
    return tuple(p for p in parts if os.path.isdir(p) and os.path.realpath(p) == p and not _exposes(p, hidden))


def venv_base(project: str) -> str | None:
    """Prefix of the interpreter that the project's ``.venv`` or ``venv`` was made from, as its pyvenv.cfg says.

    One inside the project needs no grant of its own, and its parts could be anything: it is ignored.
    """
    project = os.path.realpath(project)
    for name in (".venv", "venv"):
        try:
            with open(os.path.join(project, name, "pyvenv.cfg"), encoding="utf-8", errors="replace") as file:
                lines = file.read(16_384).splitlines()
        except OSError:
            continue
        for line in lines:
            key, _, value = line.partition("=")
            if key.strip() == "home" and os.path.isabs(value.strip()) and "\0" not in value:
                base = os.path.dirname(os.path.realpath(value.strip()))
                if not is_inside(base, project) and not is_inside(project, base):
                    return base
    return None


def search_path(environ: Mapping[str, str], visible: tuple[str, ...]) -> str:
    """The host's PATH without what a command could not see; the system's directories are always on it."""
    listed = [entry for entry in environ.get("PATH", "").split(":") if os.path.isabs(entry)]
    kept = [entry for entry in listed if any(is_inside(os.path.realpath(entry), root) for root in visible)]
    return ":".join(dict.fromkeys([*kept, "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]))


def is_inside(path: str, root: str) -> bool:
    """Whether normalised `path` is `root` or lies below it."""
    return path == root or path.startswith(root.rstrip("/") + "/")


def _hidden(home: str) -> tuple[str, ...]:
    """The home itself and the stores of credentials in it."""
    home = os.path.realpath(home)
    return (home, *(os.path.realpath(os.path.join(home, store)) for store in SECRET_STORES))


def _exposes(path: str, hidden: tuple[str, ...]) -> bool:
    """Whether granting `path` would grant the home itself or something of a store of credentials."""
    home, *stores = hidden
    return is_inside(home, path) or any(is_inside(path, store) or is_inside(store, path) for store in stores)
