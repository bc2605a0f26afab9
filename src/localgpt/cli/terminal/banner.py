"""The banner and the status line. Both say what the session reports, never more."""

from __future__ import annotations

from localgpt.cli.terminal.argv import quote
from localgpt.cli.terminal.escape import escape_line
from localgpt.cli.terminal.layout import wrapped
from localgpt.cli.terminal.screen import Ink, Looks
from localgpt.monitor.events import SessionStatus
from localgpt.wire import Usage

_RUNGS = {"A": "namespaces + Landlock + seccomp", "B": "Landlock + seccomp"}
_POLICY_CURE = {
    "unsigned": "localgpt sign",
    "missing": "localgpt init",
    "tampered": "localgpt verify",
    "manifest-corrupted": "localgpt verify",
}


def banner_rows(status: SessionStatus, version: str, looks: Looks, width: int) -> list[str]:
    """One line a fact: version, model, policy, confinement, project."""
    facts = [
        (f"LocalGPT {version}", Ink.STRONG),
        (_model(status), Ink.PLAIN),
        _policy(status),
        _confinement(status),
        _project(status),
    ]
    return [looks.ink(row, ink) for fact, ink in facts for row in wrapped(fact, width)]


def _model(status: SessionStatus) -> str:
    tools = "tools on" if status.tools_on else "tools off (/tools on)"
    name = escape_line(status.model, 80)
    if status.demo_tier:  # one line of 80 columns: the fact, and the command that changes it
        return f"model: {name} (demo; /model NAME switches), {tools}"
    return f"model: {name} ({escape_line(status.provider, 60)}), {tools}"


def _policy(status: SessionStatus) -> tuple[str, Ink]:
    state = escape_line(status.policy_state, 40)
    if status.policy_state == "valid":
        return f"policy: {state}", Ink.PLAIN
    cure = _POLICY_CURE.get(status.policy_state.lower().replace("_", "-"))
    return f"policy: {state}" + (f"; {cure}" if cure else ""), Ink.WARN


def _confinement(status: SessionStatus) -> tuple[str, Ink]:
    if status.effects_off:
        return f"effects are off, talking works: {escape_line(status.effects_off, 400)}", Ink.BAD
    what = _RUNGS.get(status.rung)
    if what is None:
        return f"confinement: {escape_line(status.rung, 20)}", Ink.WARN
    return f"confinement: rung {status.rung} proven ({what})", Ink.PLAIN


def _project(status: SessionStatus) -> tuple[str, Ink]:
    trust = "trusted" if status.project_trusted else "not trusted: read-only, what is read there is tainted"
    return f"project: {quote(status.project)} ({trust})".replace("\n", ""), Ink.PLAIN


def status_parts(status: SessionStatus, note: str = "") -> list[tuple[str, str]]:
    """The status line as (prompt_toolkit style class, text) parts; every text is escaped."""
    parts = [("class:status.model", escape_line(status.model, 40))]
    if not status.tools_on:
        parts.append(("class:status.warn", "tools off"))
    valid = status.policy_state == "valid"
    parts.append(("class:status" if valid else "class:status.warn", f"policy {escape_line(status.policy_state, 24)}"))
    if status.effects_off:
        parts.append(("class:status.bad", "effects off"))
    else:
        parts.append(("class:status", f"rung {escape_line(status.rung, 8)}"))
    parts.append(("class:status", show_usage(status.usage)))
    parts.append(("class:status", f"session {escape_line(status.session_id.rpartition('-')[2], 12)}"))
    if not status.project_trusted:
        parts.append(("class:status.warn", "untrusted folder"))
    if note:
        parts.append(("class:status.note", escape_line(note, 80)))
    return parts


def status_text(status: SessionStatus) -> str:
    """The status line as plain text, for `/status` and terminals without a toolbar."""
    return " | ".join(text for _, text in status_parts(status))


def show_usage(usage: Usage) -> str:
    """Tokens in and out, and what they cost: nothing on this machine, "?" where no price is known."""
    tokens = f"{_count(usage.input_tokens)} in {_count(usage.output_tokens)} out"
    if usage.cost_microusd is None:
        return f"{tokens} $?" if usage.output_tokens else tokens
    return f"{tokens} $0" if not usage.cost_microusd else f"{tokens} ${usage.cost_microusd / 1_000_000:.4f}"


def _count(tokens: int) -> str:
    if tokens < 1000:
        return str(tokens)
    return f"{tokens / 1000:.1f}k" if tokens < 1_000_000 else f"{tokens / 1_000_000:.1f}M"
