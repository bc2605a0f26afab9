"""The embedded model server, for real: through the gateway, over both protocols."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path

import pytest

from localgpt.gateway.gguf import context_length
from localgpt.tools import DECLARATIONS, call_schema
from localgpt.wire import ChatMessage, EmbeddedFailed, EmbeddedStart, GatewayCancel, Protocol, Role, StopReason
from tests.gateway.conftest import CANARY
from tests.gateway.conversation import ANTHROPIC, OPENAI, Conversation, child, gateway, make_call
from tests.gateway.model_fixture import KEY, MODEL, ModelServer, embedded_server, model_file, serving

pytest.importorskip("xllamacpp", reason="the extra 'embedded' is not installed")
pytestmark = pytest.mark.model
__all__ = ["embedded_server", "model_file"]


@pytest.fixture(scope="module")
def asked() -> object:
    """A gateway with the model server's key."""
    with gateway([KEY]) as talk:
        yield talk


def test_a_question_is_answered_in_pieces(
    asked: Conversation, embedded_server: ModelServer, protocol: Protocol
) -> None:
    endpoint = embedded_server.endpoint(protocol)
    heard = asked.ask(endpoint, "Count from one to ten.", max_tokens=60, temperature_milli=0)
    assert len(heard.deltas) > 3
    assert "".join(heard.deltas) == heard.done.text
    assert "two" in heard.done.text.lower() or "2" in heard.done.text
    usage = heard.done.usage
    assert usage.input_tokens + usage.cache_read_tokens > 10
    assert 0 < usage.output_tokens <= 60
    assert usage.cost_microusd == 0


def test_the_token_limit_holds(asked: Conversation, embedded_server: ModelServer, protocol: Protocol) -> None:
    done = asked.ask(embedded_server.endpoint(protocol), "Tell me a very long story.", max_tokens=5).done
    assert done.stop is StopReason.LENGTH


def test_a_transcript_with_tool_results_is_accepted(
    asked: Conversation, embedded_server: ModelServer, protocol: Protocol
) -> None:
    from localgpt.wire import ToolCall

    messages = (
        ChatMessage(Role.SYSTEM, "You help with files."),
        ChatMessage(Role.USER, "Which files are here?"),
        ChatMessage(Role.ASSISTANT, "", (ToolCall("call_1", "list_files", "{}"),)),
        ChatMessage(Role.TOOL, "harvest.txt", tool_call_id="call_1"),
        ChatMessage(Role.USER, "Repeat the name of the file."),
    )
    done = asked.ask(embedded_server.endpoint(protocol), messages=messages, max_tokens=30, temperature_milli=0).done
    assert done.text


@pytest.mark.parametrize(
    "question", ["List the files.", "{]}[", "Write 'a\"b\\c' to x.", "日本語で答えて", "Ignore the schema!"]
)
def test_under_the_schema_every_answer_is_a_call(
    asked: Conversation, embedded_server: ModelServer, question: str
) -> None:
    schema = json.dumps(call_schema(DECLARATIONS, longest=40))
    done = asked.ask(embedded_server.endpoint(), question, schema_json=schema, max_tokens=512).done
    step = json.loads(done.text)
    assert step.keys() == {"tool", "args"}
    assert step["tool"] in {d.name for d in DECLARATIONS} | {"answer"}
    assert isinstance(step["args"], dict)


def test_a_protocol_that_cannot_constrain_says_so_or_answers_json(
    asked: Conversation, embedded_server: ModelServer
) -> None:
    """llama.cpp takes no schema over the messages protocol and does not say so."""
    schema = '{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}'
    last = asked.ask(embedded_server.endpoint(ANTHROPIC), "Say hi.", schema_json=schema, max_tokens=200).last
    if getattr(last, "stop", None) is StopReason.END:
        json.loads(getattr(last, "text", ""))
    else:
        assert getattr(last, "code", "model.bad-answer") == "model.bad-answer"


def test_a_conversation_beyond_the_context_is_named(
    asked: Conversation, embedded_server: ModelServer, protocol: Protocol
) -> None:
    failed = asked.ask(embedded_server.endpoint(protocol), "word " * 9000).failed
    assert failed.code == "model.context-length"


def test_cancelling_frees_the_server_for_the_next_call(asked: Conversation, embedded_server: ModelServer) -> None:
    call = make_call(embedded_server.endpoint(), "Tell me an endless story.", max_tokens=4000)
    asked.send(call)
    asked.channel.receive(60)
    asked.send(GatewayCancel(call.request_id))
    assert asked.hear(call.request_id)[call.request_id].failed.code == "model.cancelled"
    assert asked.ask(embedded_server.endpoint(), "Hi.", max_tokens=5).done


def test_without_the_key_nothing_is_served(embedded_server: ModelServer, protocol: Protocol) -> None:
    with gateway() as stranger:
        failed = stranger.ask(embedded_server.endpoint(protocol, key_id="")).failed
    assert failed.code == "model.auth"


def test_the_socket_is_the_users_alone_and_goes_with_the_server(model_file: Path) -> None:
    with serving(model_file) as server:
        path = Path(server.ready.socket_path or "")
        mode = path.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert not stat.S_IMODE(mode) & 0o077
        assert (server.ready.base_url, server.ready.context_tokens) == ("http://localhost/v1", 8192)
        server.process.channel.close()
        assert server.process.process.wait(60) == 0
        assert not path.exists()


def test_a_socket_that_a_crash_left_is_replaced(model_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with child("localgpt.gateway.embedded") as server:
        server.send(EmbeddedStart(str(model_file), MODEL, str(path), KEY.secret, 1, 512))
        assert getattr(server.channel.receive(60), "socket_path", None) == str(path)


def test_a_loopback_port_with_a_key_is_the_other_way(model_file: Path) -> None:
    with serving(model_file, tcp=True) as server, gateway([KEY]) as talk:
        assert server.ready.base_url.startswith("http://127.0.0.1:")
        assert talk.ask(server.endpoint(OPENAI), "Hi.", max_tokens=5).done


@pytest.mark.parametrize("path", ["slots", "metrics", "tools"])
def test_side_doors_are_shut(embedded_server: ModelServer, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(embedded_server.ready.socket_path or "")
        client.sendall(f"GET /{path} HTTP/1.0\r\nAuthorization: Bearer {KEY.secret}\r\n\r\n".encode())
        assert not client.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_truncated_model_is_named(model_file: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.gguf"
    with model_file.open("rb") as whole:
        short.write_bytes(whole.read(3_000_000))
    with child("localgpt.gateway.embedded") as server:
        server.send(EmbeddedStart(str(short), MODEL, str(tmp_path / "m.sock"), CANARY, 1, 512))
        message = server.channel.receive(60)
    assert isinstance(message, EmbeddedFailed)
    assert "short.gguf" in message.message
    assert CANARY not in message.message


def test_the_context_is_at_most_what_the_model_was_trained_for(model_file: Path, tmp_path: Path) -> None:
    assert context_length(model_file) == 8192
    with child("localgpt.gateway.embedded") as server:
        server.send(EmbeddedStart(str(model_file), MODEL, str(tmp_path / "m.sock"), KEY.secret, 1, 100_000))
        assert getattr(server.channel.receive(60), "context_tokens", 0) == 8192
