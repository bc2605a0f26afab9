"""Look for model servers on this machine's loopback, by asking what they have.

Only 127.0.0.1 is contacted, with nothing that is the user's: two GET requests without a key. The answers are foreign:
sizes are bounded, names are kept only when they look like names.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, Final

from localgpt.wire import FoundServer

DEFAULT_PORTS: Final = (11434, 1234, 8080)
_TIMEOUT_S: Final = 0.8
_MAX_BODY: Final = 1024 * 1024
_MAX_MODELS: Final = 200
_NAME: Final = re.compile(r"[\w.:/@+ -]{1,200}", re.ASCII)
_USUAL: Final = {11434: "ollama", 1234: "lm-studio"}


async def find_servers(ports: tuple[int, ...]) -> tuple[FoundServer, ...]:
    """Ask every port at the same time; those that do not answer in time do not count."""
    found = await asyncio.gather(*(_probe(port) for port in dict.fromkeys(ports)))
    return tuple(server for server in found if server is not None)


async def _probe(port: int) -> FoundServer | None:
    models, tags = await asyncio.gather(_get(port, "/v1/models"), _get(port, "/api/tags"))
    names = _names(models.get("data"), "id") if isinstance(models, dict) else ()
    tag_names = _names(tags.get("models"), "name") if isinstance(tags, dict) else ()
    if not isinstance(models, dict) or not isinstance(models.get("data"), list):
        if not tag_names:
            return None
        models = {}
    return FoundServer(port, _product(port, models, is_ollama=bool(tag_names)), names or tag_names)


def _product(port: int, models: dict[str, Any], *, is_ollama: bool) -> str:
    owners = {entry.get("owned_by") for entry in models.get("data", []) if isinstance(entry, dict)}
    if "llamacpp" in owners:
        return "llama-server"
    if is_ollama:
        return "ollama"
    return _USUAL.get(port, "openai-compatible")


def _names(entries: object, key: str) -> tuple[str, ...]:
    listed = entries if isinstance(entries, list) else []
    names = [entry.get(key) for entry in listed[:_MAX_MODELS] if isinstance(entry, dict)]
    return tuple(name for name in names if isinstance(name, str) and _NAME.fullmatch(name))


async def _get(port: int, path: str) -> Any:  # noqa: ANN401 -- whatever JSON a stranger sends
    """GET from a port of 127.0.0.1; None for anything but JSON with status 200.

    Written by hand in HTTP/1.0, so that the first look does not wait for an HTTP library to be imported.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(
                    f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n\r\n".encode()
                )
                await writer.drain()
                data = await _read_all(reader)
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return None
    return _json_of(data)


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    """Read to the end of the connection, or of the body when its length is given."""
    data = bytearray()
    while len(data) <= _MAX_BODY and not _complete(data):
        piece = await reader.read(65536)
        if not piece:
            break
        data += piece
    return bytes(data)


def _complete(data: bytearray) -> bool:
    head, separator, body = bytes(data).partition(b"\r\n\r\n")
    length = re.search(rb"(?im)^content-length:[ \t]*(\d{1,9})[ \t]*\r?$", head)
    return bool(separator) and length is not None and len(body) >= int(length[1])


def _json_of(data: bytes) -> Any:  # noqa: ANN401 -- as above
    head, _, body = data.partition(b"\r\n\r\n")
    if not re.match(rb"HTTP/1\.[01] 200\b", head):
        return None
    if re.search(rb"(?im)^transfer-encoding:[^\r\n]*chunked", head):
        body = _unchunked(body)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _unchunked(body: bytes) -> bytes:
    """Join chunks; some servers send them even to an HTTP/1.0 client."""
    joined = bytearray()
    while body:
        size_text, _, body = body.partition(b"\r\n")
        try:
            size = int(size_text.split(b";")[0], 16)
        except ValueError:
            break
        if size <= 0:
            break
        joined += body[:size]
        body = body[size + 2 :]
    return bytes(joined)
