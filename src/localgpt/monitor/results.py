"""What came out of a confined run, as the text and notice of a tool result."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from localgpt.sandbox import Completed
from localgpt.sandbox.aftermath import NOTHING, Left
from localgpt.sandbox.copies import SUFFIX
from localgpt.sandbox.denials import Denial, Want
from localgpt.sandbox.faults import NamespacesRefused
from localgpt.sandbox.running import LIMITS
from localgpt.tools import worker_reply
from localgpt.wire import ToolOutcome

_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Ran:
    """The end of one call. `text` is foreign; `notice` is the runtime's own words; digests are of a changed file.

    `code` and `problem` are an error's: the text is ours, but it may quote names, so it counts as foreign. `left`: what
    the command left that other programs would obey or execute.
    """

    outcome: ToolOutcome
    exit_status: int | None
    duration_s: float
    text: str
    notice: str
    before: str = ""
    after: str = ""
    output_bytes: int = 0
    timed_out: bool = False
    problem: str = ""
    code: str = ""
    left: Left = NOTHING


def read_shell(completed: Completed, denied: Sequence[Denial] = ()) -> Ran:
    """A command's output, standard error after standard output, what it was denied, and how it ended in words."""
    stdout = _decode(completed.stdout, completed.stdout_total, "output")
    stderr = _decode(completed.stderr, completed.stderr_total, "standard error")
    text = stdout + (f"\n[standard error]\n{stderr}" if stderr else "")
    text += "".join(f"\n[sandbox] denied: {_denied(each)}" for each in denied)
    done = completed.exit_status == 0 and not completed.timed_out and completed.signal is None
    return Ran(
        ToolOutcome.DONE if done else ToolOutcome.FAILED,
        completed.exit_status,
        completed.duration_s,
        text,
        _how(completed),
        output_bytes=completed.stdout_total + completed.stderr_total,
        timed_out=completed.timed_out,
        code=_code(denied),
        left=completed.left,
    )


def _code(denied: Sequence[Denial]) -> str:
    """For the log: a program that wanted a sandbox of its own, also below a shell, where it raises nothing."""
    namespaces = any(each.want is Want.CALL and each.subject == "unshare" for each in denied)
    return NamespacesRefused.code if namespaces else ""


def read_reply(completed: Completed) -> Ran:
    """A file worker's reply.

    Raises:
        WorkerReplyError: it ended without one.
    """
    reply = worker_reply(completed.stdout)
    outcome = ToolOutcome.FAILED if reply.error else ToolOutcome.DONE
    notice = f"{reply.error}: {reply.notice}" if reply.error else reply.notice
    status = None if reply.error else completed.exit_status  # the worker ran; the tool did not succeed
    return Ran(
        outcome,
        status,
        completed.duration_s,
        reply.text or reply.diff,
        notice,
        reply.before,
        reply.after,
        len(reply.text),
    )


def about(left: Left) -> str:
    """What a command left, in sentences; "" when there is nothing to say. It quotes names, so it counts as foreign."""
    said = (
        (left.put_away, f"put away as NAME{SUFFIX}, because other programs would obey it"),
        (left.restored, "put back as it was"),
        (left.remaining, "could not be put away, and other programs will obey it"),
        (left.executed_later, "changed, and likely to be executed outside the sandbox next"),
    )
    more = (
        "" if left.complete else "there was too much to look through: other programs may obey more than is named here"
    )
    return "; ".join([*(f"{what}: {_some(paths)}" for paths, what in said if paths), *filter(None, [more])])


def _some(paths: tuple[str, ...]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(paths[:_NAMED]) + more


_ASKS: Final = {
    Want.READ: "read_file asks the user for it",
    Want.WRITE: "write_file asks the user for it",
    Want.CONNECT: 'name it in "hosts", and the user is asked',
}


def _denied(denial: Denial) -> str:
    """One line for the model: what was denied, and which call would ask for it."""
    cure = f"; {_ASKS[denial.want]}" if denial.grant and denial.want in _ASKS else ""
    return f"{denial.want.value} {denial.subject}: {denial.why}{cure}"


def _decode(data: bytes, total: int, what: str) -> str:
    if b"\x00" in data[:8192]:
        return f"[{what}: {total} bytes that are not text]"
    text = data.decode("utf-8", "replace")
    return text + (f"\n[{what} cut: {len(data)} of {total} bytes shown]" if total > len(data) else "")


def _how(completed: Completed) -> str:
    if completed.timed_out:
        return f"stopped at its time limit after {completed.duration_s:.1f} s, with everything it had started"
    if completed.limit:
        said = LIMITS[completed.limit]
        return f"ended at its limit of {said} after {completed.duration_s:.1f} s, with everything it had started"
    if completed.signal is not None:
        return f"ended by signal {_signal_name(completed.signal)} after {completed.duration_s:.1f} s"
    return f"exit status {completed.exit_status} after {completed.duration_s:.1f} s"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
