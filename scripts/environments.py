"""Build the virtual environments that ``bootstrap.py`` starts. Standard library only.

A user's environment has two layers. ``base-KEY`` holds the locked dependencies and the build tool; ``app-KEY-SOURCE``
is the same tree by hard links, with the package built from this checkout. Neither changes once its file ``complete``
exists, so a running session keeps the code it started with, and an edit of the checkout costs no download.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

CHECKOUT = Path(__file__).resolve().parent.parent
FREE_BYTES_NEEDED = 600 << 20
KEEP_UNUSED_S = 14 * 86_400
ELSEWHERE = "set XDG_DATA_HOME and XDG_CACHE_HOME to folders"


class SetUpError(Exception):
    """Setting up failed. The text names the cause; `cure` says what to do about it."""

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(message)
        self.cure = cure


def provide_user_layers(base: Path, app: Path) -> None:
    """Build what is missing of the two layers, or leave the program with cause and cure."""
    with reporting():
        root = private_folder(app.parent)
        with locked(root / "lock"):
            progress = Progress(root / "set-up.log")
            if not is_complete(base):
                build_base(base, progress)
            if not is_complete(app):
                build_app(base, app, progress)
            sweep(root, keep=(base, app))


def provide_development(place: Path, marker: Path, *, tools: str, package: str) -> None:
    """Build or refresh the development environment, or leave the program with cause and cure.

    `tools` and `package` stand for what the two halves are made from: the locked tools, and the editable package.
    """
    with reporting():
        private_folder(place)
        with locked(marker):
            if is_complete(place) and (place / "complete").read_text() == f"{tools} {package}":
                return
            (place / "complete").unlink(missing_ok=True)
            progress = Progress(place / "set-up.log")
            if not (place / f"tools-{tools}").exists():
                build_tools(place, progress)
                (place / f"tools-{tools}").touch()
            editable = ("--no-index", "--no-deps", "--no-build-isolation", "-e", CHECKOUT)
            progress.run("package, editable", pip_install(place, *editable))
            (place / "complete").write_text(f"{tools} {package}")


@contextlib.contextmanager
def reporting() -> Iterator[None]:
    """End the program with cause and cure, exit status 1, when setting up fails."""
    try:
        yield
    except SetUpError as problem:
        leave(str(problem), problem.cure)
    except OSError as problem:
        leave(f"{problem.filename or 'setting up'}: {problem.strerror}", another_folder(problem))


def leave(cause: str, cure: str) -> NoReturn:
    """Print `cause` and `cure` and end the program."""
    print(f"run: {cause}\n  cure: {cure}", file=sys.stderr)
    raise SystemExit(1)


def private_folder(path: Path) -> Path:
    """Create `path` (0700) and make sure that nobody else can put code there.

    Raises:
        SetUpError: it cannot be created, or another user owns it or can write to it.
    """
    try:
        for each in (path.parent, path):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
        found = path.stat()
    except OSError as problem:
        raise SetUpError(f"cannot write to {path}: {problem.strerror}", another_folder(problem)) from problem
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        who = f"owned by uid {found.st_uid}, mode {found.st_mode & 0o777:o}"
        cure = f"use a home of your own (sudo -H), or {ELSEWHERE} that only you can write"
        raise SetUpError(f"{path} is {who}: another user could put code there", cure)
    return path


def another_folder(problem: OSError) -> str:
    """Say what helps against `problem`, met when writing to a folder of ours."""
    if problem.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"free {FREE_BYTES_NEEDED >> 20} MB on that disk, or {ELSEWHERE} on another one"
    return f"{ELSEWHERE} that you can write"


def require_space(path: Path) -> None:
    """Refuse to start what the disk cannot hold.

    Raises:
        SetUpError: less than 600 MB are free.
    """
    found = os.statvfs(path)
    free, needed = found.f_bavail * found.f_frsize >> 20, FREE_BYTES_NEEDED >> 20
    if free < needed:
        cause = f"{free} MB are free below {path}, setting up needs {needed} MB"
        raise SetUpError(cause, another_folder(OSError(errno.ENOSPC, cause)))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; a second run that sets up at the same time waits."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("run: another run is setting up, waiting for it ...", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Progress:
    """Prints one line a step with the time it took; on a terminal also the latest line of what is running."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.terminal = sys.stderr.isatty()
        log.write_bytes(b"")

    def say(self, text: str) -> None:
        """Print a line of our own."""
        print(text, file=sys.stderr, flush=True)

    def status(self, line: str) -> None:
        """Replace the last line of the terminal. `line` may be foreign: only printable ASCII of it is shown."""
        if self.terminal:
            width = shutil.get_terminal_size().columns
            shown = "".join(each for each in line if " " <= each <= "~")[: width - 1]
            print(f"\r\x1b[K{shown}", end="", file=sys.stderr, flush=True)

    def run(self, name: str, argv: Sequence[str | Path], *, cwd: Path | None = None) -> None:
        """Run `argv` as the step `name`; everything that it prints goes to the log.

        Raises:
            SetUpError: it failed; the message is made from what it printed.
        """
        start = time.monotonic()
        self.status(f"  {name} ...")
        begin = self.log.stat().st_size
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                argv,
                cwd=cwd,
                env=tool_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            assert process.stdout is not None
            for line in process.stdout:
                log.write(line)
                self.status(f"  {name} ... {line.decode('utf-8', 'replace').strip()}")
            failed = process.wait() != 0
        self.status("")
        if failed:
            raise diagnose(name, self.log.read_bytes()[begin:].decode("utf-8", "replace"), self.log)
        self.say(f"  {name:<20} {time.monotonic() - start:6.1f} s")


NO_NETWORK = (
    "Failed to establish a new connection",
    "Name or service not known",
    "name resolution",
    "ConnectTimeout",
    "ReadTimeout",
    "NewConnectionError",
    "ConnectionError",
    "ProxyError",
)
CAUSES = (  # what a tool prints, what it means, what to do; the first that is found counts
    (
        ("No space left on device", "Disk quota exceeded"),
        "the disk is full",
        another_folder(OSError(errno.ENOSPC, "")),
    ),
    (
        ("ensurepip is not available", "No module named ensurepip", "No module named venv"),
        "this Python cannot make virtual environments",
        "install venv (Debian and Ubuntu: apt install python3-venv), then run this again",
    ),
    (
        ("DO NOT MATCH THE HASHES",),
        "a download is not what was locked, and was refused",
        "try again; if it stays, the index or a proxy on the way changes files",
    ),
    (
        ("CERTIFICATE_VERIFY_FAILED",),
        "the package index's certificate is not trusted here",
        "name your certificates with SSL_CERT_FILE or PIP_CERT",
    ),
    (
        NO_NETWORK,
        "the package index cannot be reached",
        "the first start needs the network once; behind a proxy set HTTPS_PROXY",
    ),
    (
        ("No matching distribution found",),
        "the package index has no prebuilt wheel of a dependency for this system, or cannot be reached",
        "use Linux with glibc on x86-64 and Python 3.11 to 3.14, and look at the network",
    ),
)


def diagnose(name: str, output: str, log: Path) -> SetUpError:
    """Turn what a failed step printed into a cause and a cure."""
    for signs, cause, cure in CAUSES:
        if any(sign in output for sign in signs):
            return SetUpError(f"{name}: {cause} (all output: {log})", cure)
    tail = "\n".join("    " + ascii(line)[1:-1] for line in output.splitlines()[-12:])
    return SetUpError(f"{name} failed:\n{tail}", f"the whole output is in {log}")


REDIRECTING = (  # settings of pip that would send an installation elsewhere or change what is installed
    *("USER", "TARGET", "PREFIX", "ROOT", "PYTHON", "EDITABLE", "REQUIREMENT", "CONSTRAINT"),
    *("NO_BINARY", "ONLY_BINARY", "NO_DEPS", "DRY_RUN", "QUIET"),
)


def tool_environment() -> dict[str, str]:
    """Return the user's environment (proxies, certificates, index) without what would redirect an installation."""
    dropped = {f"PIP_{each}" for each in REDIRECTING}
    kept = {k: v for k, v in os.environ.items() if k not in dropped and not k.startswith("PYTHON")}
    return {"PIP_RETRIES": "2", **kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_PROGRESS_BAR": "off"}


def python_of(environment: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    return environment / "bin" / "python"


def site_packages(environment: Path) -> Path:
    """Return the folder of a virtual environment that holds packages."""
    return environment / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def is_complete(environment: Path) -> bool:
    """Tell whether the environment was built to the end and its interpreter is still there."""
    return (environment / "complete").is_file() and python_of(environment).exists()


def make_environment(environment: Path, progress: Progress, *options: str) -> None:
    """Make an empty virtual environment."""
    progress.run("environment", [sys.executable, "-I", "-m", "venv", *options, environment])


def pip_install(environment: Path, *arguments: str | Path) -> list[str | Path]:
    """Return the command that installs into `environment`: prebuilt wheels only, bytecode left for later."""
    options = ("install", "--no-user", "--no-compile", "--only-binary", ":all:")
    return [python_of(environment), "-I", "-m", "pip", *options, *arguments]


def compile_bytecode(environment: Path, folder: Path, progress: Progress) -> None:
    """Compile `folder`, so that no start pays for it. Failure costs time, not correctness."""
    with contextlib.suppress(SetUpError):
        progress.run("bytecode", [python_of(environment), "-I", "-m", "compileall", "-q", "-j", "2", folder])


def build_base(base: Path, progress: Progress) -> None:
    """Make the layer of locked dependencies, with pip, and the build tool in a folder beside them."""
    require_space(base.parent)
    progress.say(f"LocalGPT: setting up once in {base.parent} (about 200 MB)")
    shutil.rmtree(base, ignore_errors=True)
    make_environment(base, progress)
    progress.run("packages", pip_install(base, "--require-hashes", "-r", CHECKOUT / "requirements/embedded.txt"))
    build_tool = ("--require-hashes", "--target", base / "build-tool", "-r", CHECKOUT / "requirements/build.txt")
    progress.run("build tool", pip_install(base, *build_tool))
    compile_bytecode(base, base, progress)
    (base / "complete").touch()


BUILD_WHEEL = """import sys; sys.path.insert(0, sys.argv[1])
from hatchling.build import build_wheel
build_wheel(sys.argv[2])"""


def build_app(base: Path, app: Path, progress: Progress) -> None:
    """Make the layer that runs: the dependencies by hard link, and the package built from this checkout, offline."""
    progress.say("LocalGPT: installing from this checkout")
    shutil.rmtree(app, ignore_errors=True)
    make_environment(app, progress, "--without-pip")
    link_tree(site_packages(base), site_packages(app))
    wheels = app / "wheels"
    wheels.mkdir()
    build: list[str | Path] = [python_of(base), "-I", "-c", BUILD_WHEEL, base / "build-tool", wheels]
    progress.run("wheel", build, cwd=CHECKOUT)
    progress.run("package", pip_install(app, "--no-index", "--no-deps", *wheels.glob("*.whl")))
    compile_bytecode(app, site_packages(app) / "localgpt", progress)
    (app / "complete").touch()


def link_tree(source: Path, target: Path) -> None:
    """Copy a tree by hard links; by bytes where the file system has none."""

    def link_or_copy(old: str, new: str) -> None:
        try:
            os.link(old, new)
        except OSError:
            shutil.copy2(old, new)

    shutil.copytree(source, target, symlinks=True, copy_function=link_or_copy, dirs_exist_ok=True)


def sweep(root: Path, *, keep: Sequence[Path]) -> None:
    """Delete environments unfinished or unused for two weeks. The caller holds the lock."""
    for each in (*root.glob("app-*"), *root.glob("base-*")):
        stamp = each / "complete"
        if each not in keep and (not stamp.exists() or time.time() - stamp.stat().st_mtime > KEEP_UNUSED_S):
            shutil.rmtree(each, ignore_errors=True)


def build_tools(place: Path, progress: Progress) -> None:
    """Install the locked development tools into `place`, from nothing."""
    require_space(place)
    progress.say(f"setting up the development tools once in {place} (about 400 MB)")
    for stamp in place.glob("tools-*"):
        stamp.unlink()
    for name in ("bin", "lib", "include", "share"):
        shutil.rmtree(place / name, ignore_errors=True)
    make_environment(place, progress)
    progress.run("packages", pip_install(place, "--require-hashes", "-r", CHECKOUT / "requirements/dev.txt"))
    compile_bytecode(place, place, progress)
