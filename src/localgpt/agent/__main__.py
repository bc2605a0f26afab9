"""The agent process: `python -I -m localgpt.agent --fd N`, started by the monitor and by nobody else."""

from __future__ import annotations

import signal
import socket
import sys
import time
import uuid
from collections import deque
from pathlib import Path

from localgpt.agent.confinement import confine
from localgpt.agent.loop import Sources, TurnLoop
from localgpt.agent.session import OsDisk, SessionFile
from localgpt.errors import ExitStatus, LocalGptError
from localgpt.wire import AgentReady, AgentStart, AgentUpdate, Channel, Message, PeerGone, TurnStart, WireError


def main(arguments: list[str]) -> int:
    """Serve one session until the monitor closes the channel; returns the exit status."""
    if len(arguments) != 2 or arguments[0] != "--fd" or not arguments[1].isdigit():
        print("localgpt.agent is started by localgpt itself: --fd N", file=sys.stderr)
        return ExitStatus.USAGE
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the monitor decides what it means
    channel = Channel(socket.socket(fileno=int(arguments[1])))
    try:
        _serve(channel)
    except PeerGone:
        return ExitStatus.DONE
    except LocalGptError as error:
        print(f"{error.code}: {error}".replace("\n", " "), file=sys.stderr)
        return error.exit_status
    return ExitStatus.DONE


def _serve(channel: Channel) -> None:
    start = channel.receive()
    if not isinstance(start, AgentStart):
        raise WireError(f"the first message is {type(start).__name__}, not AgentStart")
    # The first message is the monitor's own words; everything foreign (the session file, the user's attachments, what
    # models and tools say) is read behind this line.
    Path(start.session_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
    warnings = [confine(start.session_dir)]
    sources = Sources(time.monotonic, lambda: time.time_ns() // 1_000_000, lambda: uuid.uuid4().hex)
    session = SessionFile(start.session_dir, start.session_id, start.project, sources.now_ms, OsDisk())
    loaded = session.load(resume=start.resume)
    loop = TurnLoop(channel, start, session, loaded.entries, sources)
    warning = "; ".join(filter(None, (*warnings, loaded.warning)))
    channel.send(AgentReady(sum(entry.is_users_words for entry in loaded.entries), warning))
    waiting: deque[Message] = deque()
    while True:
        message = waiting.popleft() if waiting else channel.receive()
        match message:
            case TurnStart():
                waiting.extend(loop.run(message))
            case AgentUpdate():
                loop.update(message)
            case _:
                pass  # a cancel that came too late, or the answer to a call that was given up


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
