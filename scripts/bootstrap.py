"""Start LocalGPT, or its checks, in an environment of their own. Standard library only.

Called by ``run`` as ``python3 -I -S scripts/bootstrap.py COMMAND...``.

* ``test``: a development environment (``.venv`` of the checkout, or the cache folder when that cannot be used), then
  ``scripts/check.py``.
* anything else: a ``localgpt`` command, from an environment in the user's data folder. It lies outside the checkout
  because the agent may be told to work on the checkout, and nothing that the agent can write may be part of the
  runtime.

This file is what every start runs: it names environments and starts them. What builds them is ``environments.py``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
LAYOUT = b"localgpt-runtime-1"  # raise it when what a layer contains changes without its inputs changing
PACKAGED = ("pyproject.toml", "README.md", "LICENSE", "docs/claims.toml", "src", "policies", "sandbox")
MARKER = "localgpt-dev"  # in every development environment that we made; no other one is ever touched
USAGE = """usage: run chat | run test [OPTION...] | run COMMAND [ARG...]

  run chat      talk; with the embedded model when nothing else is configured
  run test      every check: format, lint, types, import contracts, tests, benches, README examples
  run COMMAND   any other localgpt command, for example: run --help"""


def home() -> Path:
    """Return the user's home, also when the environment does not say."""
    named = os.environ.get("HOME", "")
    return Path(named if named.startswith("/") else pwd.getpwuid(os.geteuid()).pw_dir)


def folder(ours: str, xdg: str, default: str) -> Path:
    """Return LocalGPT's folder of one kind: our variable, then the XDG one, then the default under the home.

    As in ``localgpt.config.paths``: a value that is not an absolute path counts as absent.
    """
    if (value := os.environ.get(ours, "")).startswith("/"):
        return Path(value)
    value = os.environ.get(xdg, "")
    return (Path(value) if value.startswith("/") else home() / default) / "localgpt"


def interpreter() -> bytes:
    """Name the base interpreter: a patch release of the same file keeps the environments, which only link to it."""
    version = f"{sys.implementation.cache_tag} {os.uname().machine}"
    return f"{Path(sys.executable).resolve()} {version}".encode()


def packaged_files() -> Iterator[Path]:
    """Yield every file that goes into the package, in a fixed order."""
    for name in PACKAGED:
        top = CHECKOUT / name
        if top.is_file():
            yield top
        for folder_name, folders, files in os.walk(top):
            folders[:] = sorted(each for each in folders if each != "__pycache__")
            yield from (Path(folder_name, each) for each in sorted(files) if not each.endswith(".pyc"))


def key(*parts: bytes, files: Sequence[Path] = ()) -> str:
    """Return 12 hex digits that stand for `parts` and for the names and contents of `files`."""
    digest = hashlib.sha256(LAYOUT)
    contents = (part for each in files for part in (os.fsencode(each.relative_to(CHECKOUT)), each.read_bytes()))
    for part in (*parts, *contents):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:12]


def requirements(name: str) -> Path:
    """Return the path of one hash-locked requirement file."""
    return CHECKOUT / "requirements" / f"{name}.txt"


def is_complete(environment: Path) -> bool:
    """Tell whether the environment was built to the end and its interpreter is still there."""
    return (environment / "complete").is_file() and (environment / "bin/python").exists()


def user_environment() -> Path:
    """Return the environment that runs this checkout's LocalGPT, building what is missing."""
    root = folder("LOCALGPT_DATA_DIR", "XDG_DATA_HOME", ".local/share") / "runtime"
    base_key = key(interpreter(), files=(requirements("embedded"), requirements("build")))
    base = root / f"base-{base_key}"
    app = root / f"app-{base_key}-{key(files=tuple(packaged_files()))}"
    if not is_complete(app):
        from scripts import environments  # noqa: PLC0415  (only a first start pays for it)

        environments.provide_user_layers(base, app)
    touch_daily(base / "complete", app / "complete")
    return app


def touch_daily(*stamps: Path) -> None:
    """Note that an environment is in use, at most once a day."""
    for stamp in stamps:
        with contextlib.suppress(OSError):
            if time.time() - stamp.stat().st_mtime > 86_400:
                stamp.touch()


def development_folder() -> Path:
    """Return ``.venv`` of the checkout if it is ours to use, else a folder in the cache."""
    beside = CHECKOUT / ".venv"
    ours = (beside / MARKER).is_file() or not beside.exists()
    owned = CHECKOUT.stat().st_uid == os.geteuid() and os.access(CHECKOUT, os.W_OK)
    if ours and owned:
        return beside
    return folder("LOCALGPT_CACHE_DIR", "XDG_CACHE_HOME", ".cache") / "dev" / key(os.fsencode(CHECKOUT))


def development_environment() -> Path:
    """Return the environment that holds the development tools, building or refreshing it."""
    from scripts import environments  # noqa: PLC0415  (see user_environment)

    tools = key(interpreter(), files=(requirements("dev"),))
    package = key(os.fsencode(CHECKOUT), files=(CHECKOUT / "pyproject.toml",))
    place = development_folder()
    environments.provide_development(place, place / MARKER, tools=tools, package=package)
    return place


def start_checks(arguments: Sequence[str]) -> None:
    """Replace this process by ``scripts/check.py`` in the development environment."""
    place = development_environment()
    search = f"{place / 'bin'}:{os.environ.get('PATH', os.defpath)}"
    python = str(place / "bin/python")
    environment = {**os.environ, "PATH": search, "VIRTUAL_ENV": str(place)}
    os.execve(python, [python, str(CHECKOUT / "scripts/check.py"), *arguments], environment)


def start_localgpt(arguments: Sequence[str]) -> None:
    """Replace this process by ``localgpt``, here, with the user's own environment.

    ``-I``: neither the current folder, which the agent may write, nor PYTHONPATH reaches the runtime's imports.
    """
    app = user_environment()
    python = str(app / "bin/python")
    os.execv(python, [python, "-I", str(app / "bin/localgpt"), *arguments])


def main(arguments: Sequence[str]) -> int:
    """Set up what is missing and start it; return an exit status only when that failed."""
    if not arguments:
        print(USAGE, file=sys.stderr)
        return 2
    sys.path.append(str(CHECKOUT))  # for environments.py; at the end, where it can hide nothing
    sys.dont_write_bytecode = True  # a start leaves the checkout as it is
    try:
        if arguments[0] == "test":
            start_checks(arguments[1:])
        else:
            start_localgpt(arguments)
    except OSError as problem:
        print(f"run: {problem.filename or ''}: {problem.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nrun: stopped; the same command goes on where this ended", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
