"""From rules back to text: the one spelling of a rule, and a document that grew by one grant.

Whatever is written here reads back as the same prose and rules, or is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from localgpt.policy.authority import FlowRules
from localgpt.policy.document import Document, parse_document
from localgpt.policy.errors import DocumentError, GrantRefused
from localgpt.policy.model import Rule, Subject, Verdict

_SPECIAL: Final = frozenset("*?[]{}\\")
_LITERAL: Final = frozenset({Subject.READ, Subject.WRITE, Subject.TOOL})


def emit_document(prose: str, rules: Iterable[Rule], *, extends: str = "", flow: FlowRules | None = None) -> bytes:
    """The canonical document of `prose`, `rules` and tables about flows: one policy block, then the prose.

    Raises:
        DocumentError: no document has this prose or these rules.
    """
    given = tuple(rules)
    head = f"extends = {_string(extends)}\n\n" if extends else ""
    block = head + "\n".join([*map(emit_rule, given), *([] if flow is None else emit_flow(flow))])
    data = f"```toml policy\n{block}```\n{prose and f'{chr(10)}{prose}{chr(10)}'}".encode("utf-8", "surrogatepass")
    again = parse_document(data)
    meant = (prose, _without_lines(given), extends, flow)
    if (again.prose, _without_lines(again.rules), again.extends, again.flow) != meant:
        raise DocumentError("no document reads back as this prose and these rules")
    return data


def emit_rule(rule: Rule) -> str:
    """One rule as a TOML table, with a line feed at its end."""
    lines = [f"[[{rule.verdict}]]", f"{rule.subject} = {_list(rule.patterns)}"]
    if rule.reason:
        lines.append(f"reason = {_string(rule.reason)}")
    if rule.even_when_tainted:
        lines.append("even_when_tainted = true")
    return "\n".join(lines) + "\n"


def emit_flow(flow: FlowRules) -> list[str]:
    """The tables about flows, each with a line feed at its end. Names are written folded, as they are compared."""
    zone = [("domains", flow.zone.domains), ("members", sorted(flow.zone.members))]
    words = [("own", sorted(flow.own)), ("grants", sorted(flow.grants)), ("regions", sorted(flow.allowed_regions))]
    bits = f"bits_per_task = {flow.bits_per_task}\nbits_per_origin_and_day = {flow.bits_per_origin_and_day}\n"
    tables = [
        "[zone.own]\n" + "".join(f"{key} = {_list(tuple(names))}\n" for key, names in zone)
        + f"clearance = {_string(flow.zone.clearance)}\n",
        "[flow]\n" + "".join(f"{key} = {_list(tuple(names))}\n" for key, names in words) + bits,
    ]  # fmt: skip
    for name, limit in sorted(flow.limits.items()):
        tables.append(f"[limit.{_string(name)}]\nper_call = {limit.per_call}\nper_day = {limit.per_day}\n")
    for title, pairs in (("clearance", flow.clearances), ("region", flow.regions)):
        lines = "".join(f"{_string(name)} = {_string(value)}\n" for name, value in sorted(pairs.items()))
        tables += [f"[{title}]\n{lines}"] if lines else []
    return tables


def emit_grant(rule: Rule) -> str:
    """An allow rule on one line, without a line feed: what is shown before it is signed, and what is written.

    Raises:
        GrantRefused: it is no allow of exactly one thing, spelled without globs.
    """
    if rule.verdict is not Verdict.ALLOW or rule.subject is Subject.ARGV or len(rule.patterns) != 1:
        raise GrantRefused("a grant allows exactly one path, host, model or tool")
    if "*" in rule.patterns[0] or (rule.subject in _LITERAL and _SPECIAL.intersection(rule.patterns[0])):
        raise GrantRefused(f"no rule can mean exactly {rule.patterns[0]!r}", cure="write the rule by hand")
    pairs = [f"{rule.subject} = {_list(rule.patterns)}"]
    if rule.reason:
        pairs.append(f"reason = {_string(rule.reason)}")
    if rule.even_when_tainted:
        pairs.append("even_when_tainted = true")
    return f"allow = [{{ {', '.join(pairs)} }}]"


def with_grant(data: bytes, rule: Rule) -> bytes:
    """The document `data` with the grant as one more policy block at its end. Nothing else of it changes.

    Raises:
        DocumentError: `data` is no document, or would be none.
        GrantRefused: the grant cannot be spelled, or would not read back as exactly this rule.
    """
    before = parse_document(data)
    block = f"\n```toml policy\n{emit_grant(rule)}\n```\n"
    grown = data + (b"" if data.endswith(b"\n") or not data else b"\n") + block.encode("utf-8", "surrogatepass")
    try:
        after = parse_document(grown)
    except DocumentError as error:
        raise GrantRefused(f"the document cannot take one more block: {error.message}", cure=_BY_HAND) from error
    if not _grew_by(before, after, rule):
        raise GrantRefused("the document would not read back as itself and this grant", cure=_BY_HAND)
    return grown


_BY_HAND: Final = "write the rule by hand: localgpt policy edit"


def _grew_by(before: Document, after: Document, rule: Rule) -> bool:
    wanted = (before.prose, before.extends, before.flow, (*_without_lines(before.rules), *_without_lines((rule,))))
    return (after.prose, after.extends, after.flow, _without_lines(after.rules)) == wanted


def _without_lines(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    return tuple(replace(rule, line=0) for rule in rules)


def _list(patterns: tuple[str, ...]) -> str:
    return f"[{', '.join(map(_string, patterns))}]"


def _string(text: str) -> str:
    """A TOML basic string. What a document may not hold is written as it is, and refused when it is read back."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
