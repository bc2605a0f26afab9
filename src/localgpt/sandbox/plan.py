"""What a command may reach: plain absolute paths and limits, decided before anything starts.

A plan knows nothing of policies or models. Whoever makes it has resolved every symbolic link; the zygote refuses a path
that has become one since.
"""

# A plan holds paths as text, which is compared and never touched through an object.
# ruff: noqa: PTH110, PTH111, PTH112, PTH114, PTH115, PTH117, PTH118, PTH120

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from localgpt.sandbox import repositories
from localgpt.sandbox.faults import (
    BadHost,
    MissingRoot,
    PlanInvalid,
    RelativeRoot,
    RootHoldsSecrets,
    RuntimeInsideWriteRoot,
)
from localgpt.sandbox.gitconfig import sanitised
from localgpt.sandbox.holds import default_protected
from localgpt.sandbox.hosts import normalise_pattern
from localgpt.sandbox.toolchains import SECRET_STORES, find_toolchains, is_inside, python_roots, search_path, venv_base

SYSTEM_ROOTS: Final = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix/store", "/gnu/store",
    "/sys/devices/system/cpu", "/sys/devices/system/node", "/var/lib/alternatives",
)  # fmt: skip
# Readable by root, or by a careless mode; commands need none of them.
_SYSTEM_SECRETS: Final = (
    "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers", "/etc/sudoers.d",
    "/etc/security/opasswd", "/etc/ssl/private", "/etc/krb5.keytab", "/etc/letsencrypt", "/etc/wireguard",
    "/etc/openvpn", "/etc/kubernetes", "/etc/rancher", "/etc/docker", "/etc/NetworkManager/system-connections",
    "/etc/ppp", "/etc/ipsec.secrets", "/etc/ssh/ssh_host_rsa_key", "/etc/ssh/ssh_host_dsa_key",
    "/etc/ssh/ssh_host_ecdsa_key", "/etc/ssh/ssh_host_ed25519_key", "/etc/pki/tls/private", "/etc/msmtprc",
    "/etc/exim4/passwd.client",
)  # fmt: skip
_CLOSED_DEPTH: Final = 3
_CLOSED_ENTRIES: Final = 10_000
_GITCONFIG_BYTES: Final = 64 << 10
_PASSED_ON: Final = ("LANG", "LC_ALL", "LC_CTYPE", "TZ")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one command and everything it starts. Sizes in bytes; `output_bytes` for each of its two outputs.

    `timeout_s` is wall clock, `cpu_s` processor time of the whole tree. `processes` counts threads too. `file_bytes`
    bounds each file, `written_bytes` all that is written together, `memory_bytes` what the tree holds in memory beside
    the page cache and its own /tmp and /dev/shm (`tmp_bytes` each). The kernel enforces file size and open files
    always, processes and memory where a cgroup is delegated, processes on rung A as well; `usage` watches the rest.
    """

    timeout_s: float = 120.0
    cpu_s: float = 3600.0
    memory_bytes: int = 4 << 30
    written_bytes: int = 8 << 30
    output_bytes: int = 1 << 20
    file_bytes: int = 50 << 20
    processes: int = 64
    open_files: int = 1024
    tmp_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        sizes = (self.output_bytes, self.file_bytes, self.tmp_bytes, self.written_bytes, self.memory_bytes)
        if min(self.timeout_s, self.cpu_s, *sizes) <= 0:
            raise PlanInvalid("a limit must be positive", cure="give a time and sizes above zero")
        if self.processes < 2 or self.open_files < 16:
            raise PlanInvalid("a command needs 2 processes and 16 open files at least", cure="raise the limit")


@dataclass(frozen=True, slots=True)
class Plan:
    """What one zygote serves. All paths absolute, normalised and free of symbolic links.

    `read_roots` may be read and executed, `write_roots` may be changed as well, `denied` lie inside those and must not
    be reachable, `protected` inside write roots are left as they are, or absent if they are: prevented where a mount
    can, found and undone after a command elsewhere. `links` are symbolic links of the root directory (``/bin`` to
    ``usr/bin``): path, target. `caches` are those of the write roots that hold nothing but commands' own: nothing in
    them is protected. `hosts` are patterns of `hosts.normalise_pattern` that commands may reach through the proxy;
    without any, and without `asks_hosts` (others become a question), they have no network at all.
    """

    cwd: str
    read_roots: tuple[str, ...]
    write_roots: tuple[str, ...]
    denied: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    limits: Limits = field(default_factory=Limits)
    links: tuple[tuple[str, str], ...] = ()
    caches: tuple[str, ...] = ()
    home_files: tuple[tuple[str, str], ...] = ()
    asks_hosts: bool = False

    def __post_init__(self) -> None:
        roots = (*self.read_roots, *self.write_roots)
        for path in (self.cwd, *roots, *self.denied, *self.protected, *(path for path, _ in self.links)):
            if not os.path.isabs(path) or os.path.normpath(path) != path or "\0" in path:
                raise RelativeRoot(f"{path!r} is not an absolute, normalised path", cure="resolve it before planning")
        for root in self.read_roots:  # the same on both rungs: Landlock's grants only add up
            if any(is_inside(root, above) for above in self.write_roots):
                raise PlanInvalid(f"{root} is to be read, but lies in what may be written", cure="protect or deny it")
        if not any(is_inside(self.cwd, root) for root in roots):
            raise PlanInvalid(f"the working directory {self.cwd} lies in no root of the plan", cure="add it to a root")
        for host in self.hosts:
            if normalise_pattern(host) != host:
                raise BadHost(f"{host!r} is no host", cure="write HOST, HOST:PORT or *.DOMAIN")

    @property
    def networked(self) -> bool:
        """Whether commands may reach any host."""
        return bool(self.hosts) or self.asks_hosts

    @classmethod
    def workspace_write(
        cls,
        path: str | os.PathLike[str],
        *,
        read: Iterable[str | os.PathLike[str]] = (),
        write: Iterable[str | os.PathLike[str]] = (),
        denied: Iterable[str | os.PathLike[str]] = (),
        protected: Iterable[str | os.PathLike[str]] = (),
        limits: Limits | None = None,
        env: Iterable[tuple[str, str]] = (),
        environ: Mapping[str, str] | None = None,
        hosts: Iterable[str] = (),
        asks_hosts: bool = False,
    ) -> Plan:
        """The default for one project: `path` may be changed, the system and toolchains read, nothing else reached.

        Args:
            path: the project, which is also the working directory.
            read: more to read and execute.
            write: more to change.
            denied: paths inside any root that must not be reachable.
            protected: what must not be changed inside those roots, beyond the shipped names that other programs obey.
            limits: bounds of each command.
            env: variables on top of the clean environment.
            environ: the host's environment, of which HOME, PATH and the locale are looked at.
            hosts: ``HOST``, ``HOST:PORT`` or ``*.DOMAIN`` that commands may reach.
            asks_hosts: whether the gatekeeper is asked about others.

        Raises:
            PlanInvalid: its leaf says which path and why.
        """
        return _plan(
            path,
            read=read,
            write=[path, *write],
            denied=denied,
            protected=protected,
            limits=limits,
            env=env,
            environ=environ,
            hosts=hosts,
            asks_hosts=asks_hosts,
        )

    @classmethod
    def read_only(
        cls,
        path: str | os.PathLike[str],
        *,
        read: Iterable[str | os.PathLike[str]] = (),
        write: Iterable[str | os.PathLike[str]] = (),
        denied: Iterable[str | os.PathLike[str]] = (),
        protected: Iterable[str | os.PathLike[str]] = (),
        limits: Limits | None = None,
        env: Iterable[tuple[str, str]] = (),
        environ: Mapping[str, str] | None = None,
        hosts: Iterable[str] = (),
        asks_hosts: bool = False,
    ) -> Plan:
        """Like `workspace_write`, but nothing may be changed except `write` and the command's own temporary files."""
        return _plan(
            path,
            read=[path, *read],
            write=write,
            denied=denied,
            protected=protected,
            limits=limits,
            env=env,
            environ=environ,
            hosts=hosts,
            asks_hosts=asks_hosts,
        )


def _plan(
    path: str | os.PathLike[str],
    *,
    read: Iterable[str | os.PathLike[str]],
    write: Iterable[str | os.PathLike[str]],
    denied: Iterable[str | os.PathLike[str]],
    protected: Iterable[str | os.PathLike[str]],
    limits: Limits | None,
    env: Iterable[tuple[str, str]],
    environ: Mapping[str, str] | None,
    hosts: Iterable[str],
    asks_hosts: bool,
) -> Plan:
    environ = os.environ if environ is None else environ
    home = os.path.realpath(environ.get("HOME") or os.path.expanduser("~"))
    cwd, *_ = _resolve([path])
    writes = _resolve(write)
    hidden = [os.path.realpath(p) for p in denied] + [p for p in _SYSTEM_SECRETS if os.path.exists(p)]
    hidden += closed_to_others("/etc") if os.geteuid() == 0 else []  # anybody else's mode bits do it
    tools = find_toolchains(home)
    base = venv_base(cwd)
    links = [(root, os.readlink(root)) for root in SYSTEM_ROOTS if os.path.islink(root)]
    links += [(path, target) for path, target in tools.links if not any(is_inside(path, root) for root in writes)]
    system = [root for root in SYSTEM_ROOTS if os.path.exists(root) and not os.path.islink(root)]
    pythons = [p for prefix in (sys.base_prefix, base) if prefix for p in python_roots(prefix, home)]
    asked = _resolve(read)
    found = [root for root in (*tools.roots, *pythons) if not any(is_inside(root, path) for path in hidden)]
    reads = tuple(
        root for root in _outermost([*system, *found, *asked]) if not any(is_inside(root, above) for above in writes)
    )
    plan = Plan(
        cwd=cwd,
        read_roots=reads,
        write_roots=_outermost(writes),
        denied=tuple(dict.fromkeys(hidden)),
        protected=_protected(protected, writes),
        env=_environment(environ, tools.env, (*reads, *writes), env),
        limits=limits or Limits(),
        links=tuple(links),
        home_files=_home_files(home),
        hosts=tuple(dict.fromkeys(_host(pattern) for pattern in hosts)),
        asks_hosts=asks_hosts,
    )
    check_secrets(plan, home)
    return plan


def closed_to_others(top: str) -> list[str]:
    """Files and folders below `top` that not everybody may read: root may, and its commands need none of them.

    Bounded to `_CLOSED_DEPTH` folders deep and `_CLOSED_ENTRIES` entries.
    """
    found: list[str] = []
    folders, entries = [(top, 1)], 0
    while folders:
        folder, depth = folders.pop(0)
        with contextlib.suppress(OSError), os.scandir(folder) as listing:
            for entry in itertools.islice(listing, _CLOSED_ENTRIES - entries):
                entries += 1
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                    if not mode & stat.S_IROTH:
                        found.append(entry.path)
                    elif stat.S_ISDIR(mode) and depth < _CLOSED_DEPTH:
                        folders.append((entry.path, depth + 1))
    return found


def check_secrets(plan: Plan, home: str) -> None:
    """Refuse a plan that would open a store of credentials, or whose root is one or lies in one.

    A denied path inside a root is hidden; a root inside a denied path would be nothing but hidden, so it is a mistake.

    Raises:
        RootHoldsSecrets: naming the first such store.
    """
    for root in (*plan.read_roots, *plan.write_roots):
        for path in plan.denied:
            if is_inside(root, path):
                with_it = "" if root == path else f", as all of {path}"
                raise RootHoldsSecrets(f"{root} is denied to commands{with_it}", cure="leave it out")
    for store in (os.path.realpath(os.path.join(home, each)) for each in SECRET_STORES):
        if not os.path.lexists(store) or any(is_inside(store, path) for path in plan.denied):
            continue
        for root in (*plan.read_roots, *plan.write_roots):
            if is_inside(store, root) or is_inside(root, store):
                raise RootHoldsSecrets(f"{root} would open {store} to commands", cure="work in a folder below it")


def check_runtime(plan: Plan) -> None:
    """Refuse a plan under which a command could change the program that confines it.

    Raises:
        RuntimeInsideWriteRoot: the interpreter, its packages or this program lie inside a write root.
    """
    runtime = (sys.prefix, sys.base_prefix, sys.executable, os.path.dirname(os.path.dirname(__file__)))
    for path in (os.path.realpath(p) for p in runtime):
        for root in plan.write_roots:
            if is_inside(path, root):
                raise RuntimeInsideWriteRoot(
                    f"{root} contains {path}, which this program runs from, and commands could rewrite it",
                    cure="install LocalGPT outside the project, for example with `uv tool install localgpt-agent`",
                )


def _resolve(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    return [_resolve_one(os.fspath(path)) for path in paths]


def _resolve_one(path: str) -> str:
    if not os.path.isabs(path) or "\0" in path:
        raise RelativeRoot(f"{path!r} is not an absolute path", cure="give the full path")
    try:
        return os.path.realpath(path, strict=True)
    except OSError as error:
        raise MissingRoot(f"{path}: {error.strerror}", cure="make it, or leave it out") from error


def _home_files(home: str) -> tuple[tuple[str, str], ...]:
    """Git's configuration of the user's, without what executes something, leads somewhere or may hold a token."""
    said = "".join(sanitised(_start_of(os.path.join(home, name))) for name in (".config/git/config", ".gitconfig"))
    return ((".gitconfig", said),) if said else ()


def _start_of(path: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        try:
            return file.read(_GITCONFIG_BYTES).decode("utf-8", "surrogateescape")
        except OSError:  # a folder
            return ""


def _host(pattern: str) -> str:
    if (known := normalise_pattern(pattern)) is None:
        raise BadHost(f"{pattern!r} is no host", cure="write HOST, HOST:PORT or *.DOMAIN")
    return known


def _protected(asked: Iterable[str | os.PathLike[str]], writes: Iterable[str]) -> tuple[str, ...]:
    """What lies inside a write root: what was asked for, and what other programs obey by its name."""
    roots = [root for root in writes if os.path.isdir(root)]
    shipped = [path for root in roots for path in (*default_protected(root), *repositories.hooks_elsewhere(root))]
    paths = (os.path.normpath(os.fspath(path)) for path in (*asked, *shipped))
    return tuple(sorted({path for path in paths if any(path != root and is_inside(path, root) for root in roots)}))


def _outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """`paths` without those that lie inside another."""
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not any(is_inside(path, each) for each in kept):
            kept.append(path)
    return tuple(kept)


def _environment(
    environ: Mapping[str, str],
    toolchains: tuple[tuple[str, str], ...],
    visible: tuple[str, ...],
    extra: Iterable[tuple[str, str]],
) -> tuple[tuple[str, str], ...]:
    """A clean environment: nothing of the host's but PATH and locale. HOME and TMPDIR are added by the executor."""
    base = {"PATH": search_path(environ, visible), "TERM": "dumb", "LANG": "C.UTF-8"}
    base |= {name: environ[name] for name in _PASSED_ON if environ.get(name)}
    return tuple((base | dict(toolchains) | dict(extra)).items())
