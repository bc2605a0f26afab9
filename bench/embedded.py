"""The embedded model: how long it loads, how fast it is, what it weighs, and whether every tool call parses.

    python -m bench.embedded [--json] [--check] [--calls N] [--model FILE] [--threads N]

Everything is real: the model server and the gateway run as the confined children that a chat starts, and every call
goes through both. The model is fetched once (93 MB) into the data directory, or into `LOCALGPT_TEST_MODELS`. Under the
schema of all tools the model is asked `--calls` times for a tool call; a call counts as parsed when `localgpt.tools`
accepts it as JSON of a known tool. ``--check`` ends with status 1 unless all of them do. Takes about a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import secrets
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from localgpt.gateway.pinned import MODEL_NAME
from localgpt.gateway.weights import ensure_builtin
from localgpt.monitor.children import Child, Room, spawn
from localgpt.tools import DECLARATIONS, call_schema
from localgpt.wire import (
    ChatMessage,
    EmbeddedReady,
    EmbeddedStart,
    Endpoint,
    GatewayCall,
    GatewayReady,
    GatewayStart,
    ModelDelta,
    ModelDone,
    Protocol,
    ProviderKey,
    Role,
    StopReason,
)

_T = TypeVar("_T")
CONTEXT = 8192
SPEED_CALLS, SPEED_TOKENS = 3, 120
LONGEST, CALL_TOKENS = 40, 512  #: characters of a string, tokens of a call: together they always close the JSON
PATIENCE_S = 120.0
DEADLINE_S = 180.0
SUBJECTS = ("the folder src", "README.md", "every TODO", "the last commit", "disk space", "notes.txt", "the tests")
WISHES = ("List {}.", "Read {} please.", "Search for {}.", "Write {} down.", "What do you know about {}?")


@dataclass(frozen=True, slots=True)
class Figures:
    """One run. Rates are tokens a second; memory is of the model server's process, after the calls."""

    load_ms: int
    first_token_ms: float
    prompt_rate: float
    generation_rate: float
    pss_mib: float
    rss_mib: float
    threads: int
    calls: int
    parsed: int
    call_ms: float


class Bench:
    """The two processes and the endpoint between them."""

    def __init__(self, model: Path, folder: str, threads: int) -> None:
        key = ProviderKey("bench", secrets.token_hex(16))
        socket_path = str(Path(folder) / "model.sock")
        self.server = spawn(Room.EMBEDDED, os.environ)
        self.gateway = spawn(Room.GATEWAY, os.environ)
        self.gateway.channel.send(GatewayStart((key,), (folder,)))
        self.server.channel.send(EmbeddedStart(str(model), MODEL_NAME, socket_path, key.secret, threads, CONTEXT))
        ready = expect(self.server, EmbeddedReady)
        expect(self.gateway, GatewayReady)
        self.load_ms = ready.load_ms
        self.endpoint = Endpoint(
            "embedded", Protocol.OPENAI_CHAT, ready.base_url, MODEL_NAME, key.key_id, ready.socket_path
        )
        self._numbers = itertools.count()

    def ask(self, text: str, max_tokens: int, schema: str | None = None) -> tuple[ModelDone, float, float]:
        """Make one call; gives the answer, the seconds to the first piece of it, and the seconds in all."""
        name = f"bench-{next(self._numbers)}"
        call = GatewayCall(name, self.endpoint, (ChatMessage(Role.USER, text),), (), max_tokens, schema)
        began, first = time.perf_counter(), 0.0
        self.gateway.channel.send(call)
        while True:
            message = self.gateway.channel.receive(PATIENCE_S)
            if isinstance(message, ModelDone):
                whole = time.perf_counter() - began
                return message, first or whole, whole
            if not isinstance(message, ModelDelta):
                raise SystemExit(f"the call failed: {message}")
            first = first or time.perf_counter() - began

    def memory_mib(self) -> tuple[float, float]:
        """PSS and RSS of the model server. Only root sees the PSS of a process that hides its memory; 0 then."""
        process = Path(f"/proc/{self.server.pid}")
        rss = int(process.joinpath("statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
        pss_kib = 0
        with contextlib.suppress(PermissionError):
            lines = process.joinpath("smaps_rollup").read_text("ascii").splitlines()
            pss_kib = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return pss_kib / 1024, rss / 2**20

    def end(self) -> None:
        self.gateway.end()
        self.server.end()


def expect(child: Child, kind: type[_T]) -> _T:
    """Receive one message of `kind`, or stop."""
    message = child.channel.receive(PATIENCE_S)
    if not isinstance(message, kind):
        raise SystemExit(f"{message}")
    return message


def measure(bench: Bench, calls: int, threads: int) -> Figures:
    """Run all calls, or as many as fit before the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    bench.ask("Say hello.", 4)  # imports the SDK, warms the model up
    firsts, prompts, rates = [], [], []
    for number in range(SPEED_CALLS):
        text = f"Round {number}. Tell me a long story about these words: " + "river stone cloud " * 60
        done, first, whole = bench.ask(text, SPEED_TOKENS)
        firsts.append(bench.ask(f"Hello, number {number}.", 4)[1] * 1000)
        prompts.append(done.usage.input_tokens / first)
        rates.append((done.usage.output_tokens - 1) / max(1e-9, whole - first))
    schema = json.dumps(call_schema(DECLARATIONS, longest=LONGEST))
    parsed, times = 0, []
    for wish, subject in itertools.islice(itertools.cycle(itertools.product(WISHES, SUBJECTS)), calls):
        if time.monotonic() > deadline:
            break
        done, _, whole = bench.ask(wish.format(subject), CALL_TOKENS, schema)
        times.append(whole * 1000)
        parsed += parses(done)
    pss, rss = bench.memory_mib()
    return Figures(
        bench.load_ms,
        statistics.median(firsts),
        statistics.median(prompts),
        statistics.median(rates),
        pss,
        rss,
        threads,
        len(times),
        parsed,
        statistics.median(times) if times else 0.0,
    )


def parses(done: ModelDone) -> bool:
    """Whether the answer is a whole JSON object that names a known tool and gives it an object of arguments."""
    try:
        step = json.loads(done.text)
    except ValueError:
        return False
    known = {declaration.name for declaration in DECLARATIONS} | {"answer"}
    return done.stop is StopReason.END and step["tool"] in known and isinstance(step["args"], dict)


def table(figures: Figures) -> str:
    """Lay the figures out for a person."""
    rows = [
        ("load", f"{figures.load_ms} ms"),
        ("first token of a short question", f"{figures.first_token_ms:.0f} ms"),
        ("prompt", f"{figures.prompt_rate:.0f} tokens/s"),
        ("generation", f"{figures.generation_rate:.0f} tokens/s with {figures.threads} thread(s)"),
        ("memory of the model server", f"PSS {figures.pss_mib:.0f} MiB (0: hidden), RSS {figures.rss_mib:.0f} MiB"),
        ("tool calls that parse", f"{figures.parsed} of {figures.calls}, {figures.call_ms:.0f} ms each"),
    ]
    return "\n".join(f"{name:<34}{value}" for name, value in rows)


def main(argv: list[str]) -> int:
    """Measure, print, and with ``--check`` judge."""
    parser = argparse.ArgumentParser(prog="bench.embedded", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--check", action="store_true", help="status 1 unless every call parses")
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--model", type=Path, help="a GGUF file instead of the built-in model")
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="lgpt-") as folder:
        bench = Bench(options.model or built_in(), folder, options.threads)
        try:
            figures = measure(bench, options.calls, options.threads)
        finally:
            bench.end()
    print(json.dumps(asdict(figures)) if options.json else table(figures))
    return int(options.check and not figures.parsed == figures.calls == options.calls)


def built_in() -> Path:
    """Give the built-in model, fetched when it is not there yet."""
    from localgpt.config import resolve_paths  # noqa: PLC0415 -- not needed with --model

    given = os.environ.get("LOCALGPT_TEST_MODELS")
    return ensure_builtin(given or resolve_paths(os.environ).models_dir)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
