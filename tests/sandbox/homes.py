"""A program of the tests: an ordinary user's home with toolchains as their installers lay them out, and what commands
make of it.

    python homes.py HOME     (as the user who owns HOME; standard library and localgpt.sandbox only)

Prints a JSON object: by rung, by command, its exit status and output. A rung that this host lacks is not in it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from localgpt.errors import SandboxError
from localgpt.sandbox import Executor, Limits, Plan, Rung
from localgpt.sandbox.profiles import profile

SYSTEM_PYTHON = Path(os.path.realpath("/usr/bin/python3"))
SECRETS = (
    ".cargo/credentials.toml", ".ssh/id_ed25519", ".netrc", ".npmrc", ".config/gh/hosts.yml", ".git-credentials",
    ".local/share/uv/credentials/token", ".pyenv/.secret",
)  # fmt: skip
GITCONFIG = """[user]
\tname = A User
\temail = user@example.invalid
[credential]
\thelper = store
[core]
\tsshCommand = evil
\tautocrlf = input
[url "https://token@example.invalid/"]
\tinsteadOf = https://example.invalid/
[include]
\tpath = ~/.more
[safe]
\tdirectory = *
"""
PYENV = """#!/usr/bin/env bash
[ "$1" = exec ] && shift || exit 1
exec "$PYENV_ROOT/versions/$(cat "$PYENV_ROOT/version")/bin/$1" "${@:2}"
"""
SHIM = """#!/usr/bin/env bash
set -e
program="${{0##*/}}"
export PYENV_ROOT="{root}"
exec "{root}/libexec/pyenv" exec "$program" "$@"
"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def furnish(home: Path) -> None:
    """Lay out pyenv, nvm, cargo and uv, with credentials beside them."""
    pyenv = home / ".pyenv"
    if not (pyenv / "libexec/pyenv").exists():  # the real one was put there by whoever could
        script(pyenv / "libexec/pyenv", PYENV)
    script(pyenv / "shims/python", SHIM.format(root=pyenv))
    (pyenv / "version").write_text("3.11.0\n")
    for place in (
        pyenv / "versions/3.11.0/bin/python",
        home / ".local/share/uv/python/cpython-3.11.0-linux/bin/python3",
    ):
        place.parent.mkdir(parents=True)
        shutil.copy(SYSTEM_PYTHON, place)
    node = home / ".nvm/versions/node/v20.0.0/bin/node"
    if shutil.which("node", path="/usr/bin"):
        node.parent.mkdir(parents=True)
        node.symlink_to("/usr/bin/node")
    else:
        script(node, '#!/bin/sh\n[ "$1" = -p ] && echo 42\n')
    (home / ".nvm/nvm.sh").write_text("")
    script(home / ".cargo/bin/cargo", '#!/bin/sh\nexec "$RUSTUP_HOME/toolchains/stable/bin/cargo" "$@"\n')
    script(home / ".rustup/toolchains/stable/bin/cargo", "#!/bin/sh\necho cargo in $CARGO_HOME\n")
    for name in SECRETS:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("CANARY\n")
    (home / ".gitconfig").write_text(GITCONFIG)
    for name in ("work", "caches", ".cache", ".npm"):
        (home / name).mkdir()


def commands(home: Path) -> Iterator[tuple[str, str]]:
    uv = home / ".local/share/uv/python/cpython-3.11.0-linux/bin/python3"
    yield "pyenv", "python -c 'import json, sys; print(sys.executable)'"
    yield "nvm", "node -p 6*7"
    yield "cargo", "cargo build"
    yield "uv", f"{uv} -m venv --without-pip v && v/bin/python -c 'import sys; print(sys.prefix != sys.base_prefix)'"
    make = "uv venv -q --offline --python" if (home / ".local/bin/uv").exists() else "true"
    yield "uv itself", f"{make} {uv} w; [ -e w ] || {uv} -m venv --without-pip w; w/bin/python -V"
    yield "secrets", "cat " + " ".join(str(home / name) for name in (*SECRETS, ".gitconfig"))
    yield "list the home", f"ls {home}; ls {home}/.cargo; ls {home}/.ssh"
    for name in (
        ".cargo/bin/x",
        ".pyenv/shims/x",
        ".pyenv/versions/x",
        ".nvm/x",
        ".cache/x",
        ".npm/x",
        ".cargo/registry/x",
    ):
        yield f"write {name}", f"mkdir -p {home}/{Path(name).parent}; echo evil > {home}/{name}"
    yield "identity", "git init -q r && cd r && git commit -q --allow-empty -m x && git log --format='%an %ae'"
    yield "git settings", "git config --global --list | sort"
    yield (
        "caches",
        "echo x > $PIP_CACHE_DIR/x && echo x > $CARGO_HOME/x && echo x > $npm_config_cache/x && echo $UV_CACHE_DIR",
    )


def results(home: Path, rung: Rung) -> dict[str, tuple[int, str]] | None:
    path = (
        f"{home}/.pyenv/shims:{home}/.nvm/versions/node/v20.0.0/bin:{home}/.cargo/bin:{home}/.local/bin:/usr/bin:/bin"
    )
    environ = {"HOME": str(home), "PATH": path}
    plan = Plan.workspace_write(home / "work", environ=environ, limits=Limits(timeout_s=60))
    plan = profile("build").equip(plan, str(home / "caches"))
    try:
        with Executor(plan, max_rung=rung) as running:
            if running.proof.rung is not rung:
                return None
            said = {}
            for name, command in commands(home):
                done = running.run(["/bin/sh", "-c", command])
                said[name] = (done.exit_status, (done.stdout + done.stderr).decode())
            return said
    except SandboxError as error:
        return {"start": (1, str(error))}
    finally:
        subprocess.run(["rm", "-rf", *map(str, (home / "work").iterdir())], check=True)


if __name__ == "__main__":
    place = Path(sys.argv[1]).resolve()
    furnish(place)
    print(json.dumps({rung.value: results(place, rung) for rung in Rung}))
