"""A plan as a Seatbelt profile for macOS's ``sandbox-exec``. Pure: text from a plan, and a reader of such text.

Deny by default; nothing of the network; files only below what the plan names. Paths never become part of the profile's
text: they are parameters (``-D ROOT0=/path``), so a path with quotes or parentheses cannot change what is said. Later
rules win over earlier ones, so what is denied and protected comes last.

Not exercised on this project's machines: there is no macOS among them. What is tested is the text: golden files, a
reader of the language that decides by the same rule, and properties over plans.

Source: sandbox-exec(1), sandbox_init(3); the shipped profiles in /System/Library/Sandbox/Profiles; the language itself
is not documented by Apple.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from localgpt.sandbox.faults import HostsUnsupported, PlanInvalid
from localgpt.sandbox.plan import Plan

PROGRAM: Final = "/usr/bin/sandbox-exec"
SYSTEM_ROOTS: Final = (  # what a program needs to start at all, and holds nothing of the user's
    "/System", "/usr/lib", "/usr/share", "/usr/bin", "/usr/sbin", "/usr/libexec", "/bin", "/sbin", "/Library/Apple",
    "/private/var/db/dyld", "/private/var/db/timezone", "/private/etc/ssl", "/Library/Developer/CommandLineTools",
    "/opt/homebrew", "/usr/local",
)  # fmt: skip
_FILES: Final = ("/private/etc/hosts", "/private/etc/passwd", "/private/etc/group", "/private/etc/shells")
_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_SYSCTLS: Final = "hw. kern.osrelease kern.ostype kern.osversion kern.osproductversion kern.hostname kern.argmax"
_SHIPPED: Final = """\
(version 1)
(deny default)
(allow process-fork)
(allow process-exec file-read* (literal "/"))
(allow signal (target same-sandbox))
(allow process-info* (target same-sandbox))
(allow file-read-metadata)
(allow mach-lookup (global-name "com.apple.system.opendirectoryd.libinfo"))
(allow ipc-posix-sem)
"""


@dataclass(frozen=True, slots=True)
class Profile:
    """Text for ``sandbox-exec -p`` and the parameters that it names."""

    text: str
    parameters: tuple[tuple[str, str], ...]

    def argv(self, command: tuple[str, ...]) -> list[str]:
        """The command line that runs `command` under this profile: words, never a shell's line."""
        defined = [word for name, path in self.parameters for word in ("-D", f"{name}={path}")]
        return [PROGRAM, "-p", self.text, *defined, "--", *command]


def profile(plan: Plan, temporary: str) -> Profile:
    """Say what `plan` says, with `temporary` as the command's own folder, in Seatbelt's language.

    Raises:
        HostsUnsupported: the plan names hosts, which Seatbelt cannot tell from one another.
        PlanInvalid: a path that no parameter can carry.
    """
    if plan.hosts:
        raise HostsUnsupported("on macOS commands have no network at all", cure="plan without hosts")
    named = _Parameters()
    lines = [_SHIPPED.rstrip()]
    lines += [f'(allow sysctl-read (sysctl-name-prefix "{name}"))' for name in _SYSCTLS.split()]
    lines += _rules("allow", "file-read* process-exec", [f'(subpath "{root}")' for root in SYSTEM_ROOTS])
    lines += _rules("allow", "file-read*", [f'(literal "{path}")' for path in _FILES])
    lines += _rules("allow", "file-read* file-write-data file-ioctl", [f'(literal "{path}")' for path in _DEVICES])
    lines += _rules("allow", "file-read* process-exec", [named.subpath("READ", path) for path in plan.read_roots])
    writable = (*plan.write_roots, temporary)
    lines += _rules("allow", "file-read* file-write* process-exec", [named.subpath("WRITE", path) for path in writable])
    # A set-id file would outlive the sandbox; a link to elsewhere is judged where it leads.
    lines += ["(deny file-write-setugid)"]
    lines += _rules("deny", "file-write*", [named.subpath("KEEP", path) for path in plan.protected])
    held = dict.fromkeys(each for path in plan.protected for each in _between(path, plan.write_roots))
    lines += _rules("deny", "file-write-unlink", [named.literal("HOLD", path) for path in held])
    hidden = [named.subpath("DENY", path) for path in plan.denied]
    lines += _rules("deny", "file-read* file-write* process-exec", hidden)
    lines += ["(deny network*)"]
    return Profile("\n".join(lines) + "\n", tuple(named.items))


class _Parameters:
    """Names for paths, in the order in which they come up."""

    def __init__(self) -> None:
        self.items: list[tuple[str, str]] = []

    def subpath(self, kind: str, path: str) -> str:
        return f'(subpath (param "{self._name(kind, path)}"))'

    def literal(self, kind: str, path: str) -> str:
        return f'(literal (param "{self._name(kind, path)}"))'

    def _name(self, kind: str, path: str) -> str:
        if not path.startswith("/") or any(c in path for c in "\0\n\r"):
            raise PlanInvalid(f"{path!r} cannot be named in a profile", cure="rename it")
        name = f"{kind}{sum(1 for each, _ in self.items if each.startswith(kind))}"
        self.items.append((name, path))
        return name


def _between(path: str, roots: tuple[str, ...]) -> Iterator[str]:
    """The folders from a write root down to `path`, without both: moved away, they would take it along."""
    at = path.rpartition("/")[0]
    while any(at != root and _is_below(at, root) for root in roots):
        yield at
        at = at.rpartition("/")[0]


def _rules(effect: str, operations: str, filters: list[str]) -> list[str]:
    return [f"({effect} {operations} {each})" for each in filters]


# --- reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Text:
    """A quoted string of a profile, told apart from a bare word."""

    value: str


_TOKEN: Final = re.compile(
    r'\s+|;[^\n]*|(?P<open>\()|(?P<close>\))|"(?P<text>(?:[^"\\\n]|\\["\\])*)"|(?P<word>[^\s()";]+)'
)


def parse(text: str) -> list[list[object]]:
    """Read a profile: a list of forms, each a list of words, `Text` and forms.

    Raises:
        ValueError: it is none; the text says where.
    """
    stack: list[list[object]] = [[]]
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"at character {at}: not a word, a string or a parenthesis")
        at = found.end()
        if found["open"]:
            stack.append([])
        elif found["close"]:
            if len(stack) == 1:
                raise ValueError(f"at character {at}: closes what was not opened")
            stack[-2].append(stack.pop())
        elif found["text"] is not None:
            stack[-1].append(Text(re.sub(r"\\(.)", r"\1", found["text"])))
        elif found["word"]:
            stack[-1].append(found["word"])
    if len(stack) > 1:
        raise ValueError("at the end: a parenthesis is open")
    forms = stack[0]
    if not all(isinstance(form, list) for form in forms):
        raise ValueError("a word or string lies outside of all parentheses")
    return [form for form in forms if isinstance(form, list)]


def decides(forms: list[list[object]], parameters: Mapping[str, str], operation: str, path: str = "") -> bool:
    """Whether a profile allows `operation` on `path`: the last rule that fits decides.

    Raises:
        ValueError: a rule of a shape that is not known here; nothing is guessed.
    """
    allowed = False
    for form in forms:
        match form:
            case ["version", "1"]:
                continue
            case ["allow" | "deny" as effect, *rest]:
                operations = [word for word in rest if isinstance(word, str)]
                filters = [each for each in rest if isinstance(each, list)]
                if any(_covers(each, operation) for each in operations) and _fits(filters, parameters, path):
                    allowed = effect == "allow"
            case _:
                raise ValueError(f"no rule: {form}")
    return allowed


def _covers(pattern: str, operation: str) -> bool:
    if pattern.endswith("*"):
        return operation.startswith(pattern[:-1])
    return pattern in {"default", operation}


def _fits(filters: list[list[object]], parameters: Mapping[str, str], path: str) -> bool:
    return not filters or any(_fits_one(each, parameters, path) for each in filters)


def _fits_one(form: list[object], parameters: Mapping[str, str], path: str) -> bool:
    match form:
        case ["literal", Text(value)]:
            return path == value
        case ["literal", ["param", Text(name)]]:
            return path == parameters[name]
        case ["subpath", Text(value)]:
            return _is_below(path, value)
        case ["subpath", ["param", Text(name)]]:
            return _is_below(path, parameters[name])
        case ["target", _] | ["global-name", _] | ["sysctl-name-prefix", _]:
            return False  # not about paths
        case _:
            raise ValueError(f"no filter: {form}")


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def named(forms: list[object]) -> Iterator[str]:
    """Every parameter that a profile names."""
    for form in forms:
        match form:
            case ["param", Text(name)]:
                yield name
            case list():
                yield from named(form)
            case _:
                continue
