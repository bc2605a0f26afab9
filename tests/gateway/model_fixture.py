"""The embedded model for tests: its file is fetched once, its server runs once a test session.

Import the fixtures where they are needed: ``from tests.gateway.model_fixture import embedded_server, model_file``.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from localgpt.gateway.weights import ensure_builtin
from localgpt.wire import EmbeddedReady, EmbeddedStart, Endpoint, Protocol, ProviderKey
from tests.gateway.conversation import PATIENCE_S, Conversation, child

KEY = ProviderKey("embedded", "sk-embedded-5b1f0c7d9e3a4682")
MODEL = "smollm2-135m-instruct"


@dataclass(frozen=True)
class ModelServer:
    """A running embedded model server."""

    ready: EmbeddedReady
    process: Conversation

    def endpoint(self, protocol: Protocol = Protocol.OPENAI_CHAT, *, key_id: str = KEY.key_id) -> Endpoint:
        return Endpoint("embedded", protocol, self.ready.base_url, MODEL, key_id, self.ready.socket_path)


def models_dir() -> Path:
    """Give where tests keep the model: `LOCALGPT_TEST_MODELS`, else the user's cache."""
    given = os.environ.get("LOCALGPT_TEST_MODELS")
    return Path(given) if given else Path.home() / ".cache" / "localgpt-test-models"


@contextlib.contextmanager
def serving(model: Path, *, tcp: bool = False, threads: int = 1) -> Iterator[ModelServer]:
    """Serve `model` until the block ends."""
    with tempfile.TemporaryDirectory(prefix="lgpt-") as private, child("localgpt.gateway.embedded") as process:
        path = None if tcp else str(Path(private) / "model.sock")
        process.send(EmbeddedStart(str(model), MODEL, path, KEY.secret, threads, 8192))
        ready = process.channel.receive(PATIENCE_S)
        assert isinstance(ready, EmbeddedReady), ready
        yield ModelServer(ready, process)


@pytest.fixture(scope="session")
def model_file() -> Path:
    """The embedded model's file, fetched when it is not there yet."""
    return ensure_builtin(models_dir())


@pytest.fixture(scope="session")
def embedded_server(model_file: Path) -> Iterator[ModelServer]:
    """One embedded model server on a unix socket."""
    with serving(model_file) as server:
        yield server
