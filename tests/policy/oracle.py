"""A second, naive `decide`, written from docs/spec/policy.md: slow, without sharing, to disagree with the real one.

It shares only the reader of shell text (`simple_commands`), whose own tests compare it with a real shell.
"""

import fnmatch
import ipaddress
import re
import unicodedata

from localgpt.policy import (
    CallModel,
    Connect,
    Effect,
    Flow,
    Policy,
    Reach,
    ReadPath,
    Request,
    Rule,
    Run,
    Scope,
    UnknownTool,
    WritePath,
)
from localgpt.policy.commands import Match, match_any, simple_commands
from localgpt.policy.model import Table

ORDER = ["allow", "ask", "deny"]


def fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def oracle(policy: Policy, flow: Flow, request: Request) -> str:
    """The verdict alone."""
    if not request.effects:
        verdict = table(policy, "request.no-effect")
        return "deny" if policy.locked else verdict
    return max((one(policy, flow, request, effect) for effect in request.effects), key=ORDER.index)


def table(policy: Policy, code: str) -> str:
    return {str(key): str(value) for key, value in policy.table.verdicts}[code]


def one(policy: Policy, flow: Flow, request: Request, effect: Effect) -> str:
    code = classify(policy.table, flow, request.scope, effect)
    base = table(policy, code)
    if policy.locked and code not in {"read.plan", "model.local"}:
        return "deny"
    if base == "deny":
        return "deny"
    matched = [(str(r.verdict), r, speaks_of(r, request, effect)) for r in policy.rules]
    raising = [(verdict, match) for verdict, _, match in matched if verdict != "allow" and match is not Match.NO]
    levels = [base] + [verdict if match is Match.YES else "ask" for verdict, match in raising]
    level = max(levels, key=ORDER.index)
    if level == "ask" and not raising and not policy.locked:
        for verdict, r, match in matched:
            if verdict == "allow" and match is Match.YES and (r.even_when_tainted or flow.integrity != "untrusted"):
                return "allow"
    return level


def classify(t: Table, flow: Flow, scope: Scope, effect: Effect) -> str:  # noqa: C901, PLR0911, PLR0912 -- one flat list on purpose
    if isinstance(effect, (ReadPath, WritePath)):
        path, mode = effect.path, "read" if isinstance(effect, ReadPath) else "write"
        if not re.fullmatch(r"/|(/[^/\x00-\x1f\x7f]+)+", path) or {".", ".."} & set(path.split("/")):
            return "path.unresolved"
        rest = path[len(scope.project) :] if under(path, scope.project) else path
        names = [fold(part) for part in rest.split("/")]
        secret_name = any(
            any(fnmatch.fnmatchcase(n, fold(g)) for g in t.secret_names)
            and not any(fnmatch.fnmatchcase(n, fold(g)) for g in t.not_secret_names)
            for n in names
        )
        if secret_name or any(under(fold(path), fold(root)) for root in scope.secrets):
            return mode + ".secret"
        if mode == "read":
            roots = [scope.project, scope.workspace, *scope.read_roots, *scope.write_roots]
            return "read.plan" if any(under(path, root) for root in roots) else "read.outside"
        guarded = [*scope.protected, *(f"{scope.workspace}/{name}" for name in t.workspace_protected)]
        if any(n in map(fold, t.protected_names) for n in names) or any(under(fold(path), fold(r)) for r in guarded):
            return "write.protected"
        if under(fold(path), fold(scope.workspace)):
            inner = fold(path)[len(scope.workspace) :].split("/")
            return "write.persona" if set(inner) & set(map(fold, t.persona)) else "write.workspace"
        if under(path, scope.project) and not scope.project_trusted:
            return "write.untrusted-project"
        if any(n in map(fold, t.instructions) for n in names):
            return "write.instructions"
        if not any(under(path, root) for root in scope.write_roots):
            return "write.outside"
        return (
            "write.tainted" if getattr(effect, "replaces", False) and flow.integrity == "untrusted" else "write.project"
        )
    if isinstance(effect, Run):
        if not effect.argv or effect.argv[0] == "":
            return "run.empty"
        return "run.confined" if scope.project_trusted else "run.read-only"
    if isinstance(effect, Connect):
        if effect.port is not None and not 1 <= effect.port <= 65535:
            return "connect.bad-host"
        kind = host_kind(effect.host)
        if kind in {"bad-host", "metadata"}:
            return "connect." + kind
        return "connect.clearance" if flow.confidentiality == "secret" else "connect." + kind
    if isinstance(effect, CallModel):
        if effect.reach is not Reach.HOSTED:
            return "model.local"
        if flow.confidentiality == "secret":
            return "model.clearance"
        return "model.hosted-confirmed" if effect.confirmed else "model.hosted"
    return "tool.unknown"


def under(path: str, root: str) -> bool:
    return root in {path, "/"} or path.startswith(root + "/")


def host_kind(host: str) -> str:
    """Only for the hosts that the tests generate."""
    if host in {"", "127.1"}:
        return "bad-host"
    if host == "169.254.169.254":
        return "metadata"
    try:
        return "host" if ipaddress.ip_address(host).is_global else "local"
    except ValueError:
        return "host" if "." in host else "local"


def speaks_of(rule: Rule, request: Request, effect: Effect) -> Match:
    subject, patterns = str(rule.subject), rule.patterns
    found = False
    if subject == "tool":
        names = [request.tool] + ([effect.name] if isinstance(effect, UnknownTool) else [])
        found = any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in patterns)
    elif subject == "argv" and isinstance(effect, Run):
        return match_any(patterns, simple_commands(effect.argv))
    elif subject == "connect" and isinstance(effect, Connect):
        found = any(host_matches(pattern, effect.host, effect.port) for pattern in patterns)
    elif subject == "model" and isinstance(effect, CallModel):
        found = any(p in {"*", effect.provider} or host_matches(p, effect.host, None) for p in patterns)
    elif (subject == "read" and isinstance(effect, ReadPath)) or (subject == "write" and isinstance(effect, WritePath)):
        exact = str(rule.verdict) == "allow"
        found = any(path_matches(pattern, effect.path, request.scope, exact) for pattern in patterns)
    return Match.YES if found else Match.NO


def host_matches(pattern: str, host: str, port: int | None) -> bool:
    name, _, wanted = pattern.partition(":")
    if host in {"", "127.1"} or (wanted and port != int(wanted)):
        return False
    return name in {"*", host} or (name.startswith("*.") and host.endswith(name[1:]))


def path_matches(pattern: str, path: str, scope: Scope, exact: bool) -> bool:
    """By a regular expression built from the pattern."""
    if pattern.startswith("~"):
        pattern = scope.home + pattern[1:]
    elif pattern.startswith("**/"):
        pattern = "/" + pattern
    elif not pattern.startswith("/"):
        pattern = scope.project + "/" + pattern
    if not exact:
        pattern, path = fold(pattern), fold(path)
    expression = ""
    for part in pattern.split("/")[1:]:
        if part == "**":
            expression += r"(/[^/]*)*"
        else:
            expression += "/" + re.escape(part).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    return re.fullmatch(expression + r"(/.*)?", path, re.DOTALL) is not None
