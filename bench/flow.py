"""What a decision on a call costs when the session has seen many labelled values: `python -m bench.flow`."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence

from localgpt.policy import Flow, Request, Scope, builtin_policy, decide
from localgpt.policy.acts import returned, take_apart
from localgpt.policy.authority import Act, Json, Kind, Role, Source, ToolSpec
from localgpt.policy.words import read_words

MEDIAN_US, P99_US = 100.0, 1000.0
_MAIL = ToolSpec("list_mail", Kind.READ, source=Source(attested=frozenset({"id", "sender", "date"})))
_SEND = ToolSpec("send", Kind.EXTERNAL, "message", {"to": Role.DEST, "body": Role.CONTENT, "file": Role.REF})
_SCOPE = Scope("/p", True, ("/p",), (), "/w", (), (), "/h")


def flow(values: int) -> Flow:
    """A session that has seen at least that many labelled values in its record."""
    state = Flow(words=read_words(("Read my mail and send bob@x.example a summary with the file 'plan.docx'",)))
    rules, count = builtin_policy().flow, 0
    while len(state.record.marks) < values:
        mails: Json = [
            {"id": f"m{count + n}", "sender": f"p{count + n}@x{n}.example", "date": f"2031-0{n % 9 + 1}-11",
             "text": f"letter {count + n} see www.site{count + n}.example and call {count * 7 + n}"}
            for n in range(200)
        ]  # fmt: skip
        state = returned(rules, state, take_apart(_MAIL, {}), mails)
        count += 200
    return state


def calls() -> list[Act]:
    """Calls of every kind of outcome, with a body of 2 kB."""
    body = "The summary of what was new. " * 70
    return [
        take_apart(_SEND, {"to": to, "body": body, "file": file})
        for to in ("bob@x.example", "p17@x17.example", "drop@evil.example", "nobody", "letter")
        for file in ("plan.docx", "m42", "m-unknown", "")
    ]


def measure(values: int, rounds: int) -> dict[str, float]:
    """Microseconds of processor time of one decision: other programs do not count."""
    state, acts, policy = flow(values), calls(), builtin_policy()
    requests = [Request("send", (act,), _SCOPE) for act in acts]
    times = []
    for _ in range(rounds):
        for request in requests:
            start = time.thread_time_ns()
            decide(policy, state, request)
            times.append((time.thread_time_ns() - start) / 1000)
    times.sort()
    p99 = times[int(len(times) * 0.99)]
    return {"values": len(state.record.marks), "median_us": statistics.median(times), "p99_us": p99}


def main(arguments: Sequence[str]) -> int:
    """Print the figures; with --check return 1 when a limit is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.flow", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args(arguments)
    found = measure(10_000, options.rounds)
    if options.json:
        print(json.dumps(found))
    else:
        print(f"decide, {found['values']} values: median {found['median_us']:.0f} us, p99 {found['p99_us']:.0f} us")
    return 1 if options.check and (found["median_us"] > MEDIAN_US or found["p99_us"] > P99_US) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
