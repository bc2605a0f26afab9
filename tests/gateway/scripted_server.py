"""A small real HTTP server on loopback that speaks both model protocols from a script, for the rare events.

Run beside an end-to-end test::

    python -m tests.gateway.scripted_server --script FILE --port-file F [--log-file L] [--model NAME]

or inside one: ``with running([{"text": "hello"}]) as server: ... server.base_url``.

The script is a JSON list; each ``POST /v1/chat/completions`` or ``POST /v1/messages`` consumes the next answer.
An answer is an object; every key is optional:

    text           the model's words                    echo           true: repeat the last message's text instead
    tool_calls     [{"name", "arguments": object | "arguments_text": str, "id"}]
    thinking       reasoning before the words           stop           "end" | "tools" | "length" | "refused"
    usage          {"input", "output", "cache_read", "cache_write"}; null leaves usage out of the answer
    piece          characters a delta (7)               ping           true: pings and comments between the deltas
    delay_s        before the first byte                piece_delay_s  between deltas
    cut_after      close the connection after N deltas  hang_after     fall silent after N deltas, until the client goes
    error_after    an error event after N deltas        malformed_after  broken JSON after N deltas
    end_after      a clean end of the stream after N deltas, without a stop reason
    status         an HTTP error with "error": {"type", "message"} and "headers": {}
    raw            this very body, with "content_type" and "status"
    unless         {"field": "response_format", "status": 400, "message": "…"}: refuse requests that carry the field
                   (dots descend); the answer stays for the next request without it
    no_stream      true: answer with one JSON document although a stream was asked for

A request beyond the end of the script gets 400 "the script has ended".
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

from tests.gateway.scripted_dialects import Answer, AnthropicDialect, OpenAiDialect


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived. Header names are lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass(slots=True)
class Script:
    """What the server will say, and what it was asked."""

    answers: list[Answer]
    models: tuple[str, ...] = ("scripted",)
    product: str = "openai-compatible"
    log_file: Path | None = None
    requests: list[Seen] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    stopping: threading.Event = field(default_factory=threading.Event)
    next_index: int = 0
    connections: int = 0
    hung_up: int = 0  #: clients that closed their connection while an answer was under way

    def note(self, seen: Seen) -> None:
        with self.changed:
            self.requests.append(seen)
            if self.log_file is not None:
                with self.log_file.open("a", encoding="utf-8") as out:
                    out.write(
                        json.dumps(
                            {"method": seen.method, "path": seen.path, "headers": seen.headers, "body": seen.body}
                        )
                        + "\n"
                    )
            self.changed.notify_all()

    def note_hang_up(self) -> None:
        with self.changed:
            self.hung_up += 1
            self.changed.notify_all()

    def take(self, body: Any) -> Answer:
        with self.changed:
            if self.next_index >= len(self.answers):
                return {"status": 400, "error": {"type": "invalid_request_error", "message": "the script has ended"}}
            answer = self.answers[self.next_index]
            refusal = answer.get("unless")
            if refusal is not None and _carries(body, refusal["field"]):
                return {
                    "status": refusal.get("status", 400),
                    "error": {
                        "type": "invalid_request_error",
                        "message": refusal.get("message", f"unknown field {refusal['field']}"),
                    },
                }
            self.next_index += 1
            return answer

    def wait_for_requests(self, count: int, timeout_s: float = 20.0) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.requests) >= count, timeout_s), (
                f"{len(self.requests)} of {count} requests"
            )

    def wait_for_hang_up(self, timeout_s: float = 20.0) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.hung_up > 0, timeout_s), "no client hung up"


def _carries(body: Any, dotted: str) -> bool:
    for key in dotted.split("."):
        if not isinstance(body, dict) or key not in body:
            return False
        body = body[key]
    return True


class ScriptedServer:
    """The listening server, in threads of its own. `base_url` ends in ``/v1``."""

    def __init__(self, script: Script, unix_path: Path | None = None, port: int = 0) -> None:
        self.script = script
        self.unix_path = unix_path
        handler = type("Handler", (_Handler,), {"script": script})
        self._http = (
            _UnixServer(cast("Any", str(unix_path)), handler) if unix_path else _TcpServer(("127.0.0.1", port), handler)
        )
        self.port = 0 if unix_path else int(self._http.server_address[1])
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def base_url(self) -> str:
        return "http://localhost/v1" if self.unix_path else f"http://127.0.0.1:{self.port}/v1"

    @property
    def requests(self) -> list[Seen]:
        return self.script.requests

    @property
    def posts(self) -> list[Seen]:
        return [seen for seen in self.script.requests if seen.method == "POST"]

    def close(self) -> None:
        self.script.stopping.set()
        self._http.shutdown()
        self._http.server_close()


@contextlib.contextmanager
def running(answers: list[Answer], *, unix_path: Path | None = None, **fields: Any) -> Iterator[ScriptedServer]:
    """Serve `answers` until the block ends."""
    server = ScriptedServer(Script(answers, **fields), unix_path)
    try:
        yield server
    finally:
        server.close()


class _TcpServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is part of the script."""


class _UnixServer(_TcpServer):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "localhost", 0


class _ClientGone(Exception):  # noqa: N818 -- named after the condition
    """The client closed its connection."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def log_message(self, *args: Any) -> None:
        """Silent."""

    def setup(self) -> None:
        super().setup()
        with self.script.changed:
            self.script.connections += 1

    def address_string(self) -> str:
        return "client"

    def do_GET(self) -> None:
        self._note(None)
        if self.path == "/v1/models":
            self._json(
                200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.script.models]}
            )
        elif self.path == "/api/tags" and self.script.product == "ollama":
            self._json(200, {"models": [{"name": name} for name in self.script.models]})
        else:
            self._json(404, {"error": {"type": "not_found_error", "message": f"no {self.path} here"}})

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            body = json.loads(data)
        except ValueError:
            body = data.decode("utf-8", "replace")
        self._note(body)
        if self.path not in {"/v1/chat/completions", "/v1/messages"} or not isinstance(body, dict):
            self._json(404, {"error": {"type": "not_found_error", "message": f"no {self.path} here"}})
            return
        self._answer(self.script.take(body), body)

    def _note(self, body: Any) -> None:
        self.script.note(Seen(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))

    def _answer(self, answer: Answer, body: Answer) -> None:
        self._pause(answer.get("delay_s", 0))
        if "raw" in answer:
            content_type = answer.get("content_type", "application/json")
            self._bytes(answer.get("status", 200), answer["raw"].encode(), content_type, answer.get("headers", {}))
            return
        if "status" in answer:
            error = answer.get("error", {"type": "api_error", "message": "scripted"})
            self._json(answer["status"], {"type": "error", "error": error}, answer.get("headers", {}))
            return
        if answer.get("echo"):
            answer = {**answer, "text": _last_text(body)}
        dialect = AnthropicDialect(answer, body) if self.path == "/v1/messages" else OpenAiDialect(answer, body)
        if not body.get("stream") or answer.get("no_stream"):
            self._json(200, dialect.document())
            return
        try:
            self._stream(answer, dialect)
        except (_ClientGone, OSError):
            self.close_connection = True
            self.script.note_hang_up()

    def _stream(self, answer: Answer, dialect: AnthropicDialect | OpenAiDialect) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in dialect.opening():
            self._chunk(event)
        for count, event in enumerate(dialect.deltas()):
            if self._interrupted(answer, dialect, count):
                return
            if answer.get("ping"):
                self._chunk(b": comment\n\n" + dialect.ping())
            self._chunk(event)
            self._pause(answer.get("piece_delay_s", 0))
        if self._interrupted(answer, dialect, 1 << 30):
            return
        for event in dialect.closing():
            self._chunk(event)
        self._end()

    def _interrupted(self, answer: Answer, dialect: AnthropicDialect | OpenAiDialect, count: int) -> bool:
        """Whether the script ends this answer before delta number `count`."""
        reached = {
            key
            for key in ("cut_after", "hang_after", "error_after", "malformed_after", "end_after")
            if answer.get(key, 1 << 31) <= count
        }
        if "hang_after" in reached:
            self._hang()
        elif "error_after" in reached:
            self._chunk(dialect.error(answer.get("error", {"type": "overloaded_error", "message": "Overloaded"})))
            self._end()
        elif "malformed_after" in reached:
            self._chunk(dialect.malformed())
            self._end()
        elif "end_after" in reached:
            self._end()
        elif "cut_after" in reached:
            # a reset, not an orderly close: the client sees the connection die
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        return bool(reached)

    def _hang(self) -> None:
        self.connection.settimeout(0.05)
        while not self.script.stopping.is_set():
            with contextlib.suppress(TimeoutError):
                if not self.connection.recv(1):
                    raise _ClientGone

    def _pause(self, seconds: float) -> None:
        if seconds:
            self.script.stopping.wait(seconds)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self._bytes(status, json.dumps(value).encode(), "application/json", headers or {})

    def _bytes(self, status: int, data: bytes, content_type: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": content_type, "content-length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()


def _last_text(body: Answer) -> str:
    content = body["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    return "\n".join(str(block.get("text") or block.get("content") or "") for block in content)


def main(argv: list[str]) -> int:
    """Serve a script file until standard input closes or a signal arrives; the port is written to `--port-file`."""
    parser = argparse.ArgumentParser(prog="scripted_server", description="a scripted model server")
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--log-file", type=Path)
    parser.add_argument("--model", default="scripted")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args(argv)
    answers = json.loads(options.script.read_text(encoding="utf-8"))
    server = ScriptedServer(Script(answers, (options.model,), log_file=options.log_file), port=options.port)
    partial = options.port_file.with_name(options.port_file.name + ".part")
    partial.write_text(str(server.port), encoding="utf-8")
    partial.rename(options.port_file)  # a reader sees the whole number or no file
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
