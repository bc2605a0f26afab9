"""Prices, addresses, probing, GGUF headers, requests: parts that need no gateway process."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localgpt.gateway import anthropic_messages, clients, openai_chat
from localgpt.gateway.addresses import is_local, is_official, sdk_base_url, shown
from localgpt.gateway.answer import MAX_ANSWER_CHARS, Draft, count
from localgpt.gateway.failures import BadAnswer, Peer
from localgpt.gateway.gguf import context_length
from localgpt.gateway.prices import cost_microusd, price_of
from localgpt.gateway.probe import find_servers
from localgpt.gateway.quirks import Quirks
from localgpt.wire import ChatMessage, FoundServer, Protocol, Role, ToolCall, Usage
from tests.gateway.conversation import ANTHROPIC, OPENAI, endpoint_of, make_call
from tests.gateway.scripted_server import running

HOSTED = endpoint_of("https://api.anthropic.com", ANTHROPIC, model="claude-sonnet-5-5")

# --- prices -----------------------------------------------------------------------------------------------------


def test_costs_are_exact_and_rounded_up() -> None:
    assert (
        cost_microusd(HOSTED, Usage(1_000_000, 1_000_000, 1_000_000, 1_000_000))
        == 2_000_000 + 10_000_000 + 100_000 + 2_500_000
    )
    assert cost_microusd(HOSTED, Usage(1, 0)) == 2
    assert cost_microusd(endpoint_of("https://api.openai.com/v1", model="gpt-5-nano"), Usage(1, 0)) == 1


def test_long_contexts_cost_more() -> None:
    endpoint = endpoint_of("https://api.anthropic.com", ANTHROPIC, model="claude-sonnet-4-5")
    assert cost_microusd(endpoint, Usage(200_000, 1000)) == 600_000 + 15_000
    assert cost_microusd(endpoint, Usage(200_001, 1000)) == 1_200_006 + 22_500


@pytest.mark.parametrize(
    "model", ["claude-sonnet-5-5-20260901", "claude-sonnet-5-5-latest", "claude-sonnet-5-5-2026-09-01"]
)
def test_a_date_behind_the_name_is_the_same_model(model: str) -> None:
    assert price_of(model) == price_of("claude-sonnet-5-5")


@pytest.mark.parametrize("model", ["gpt-5-turbo", "gpt-50", "gpt-4o-audio-preview", "llama", "", "claude-opus-9"])
def test_another_suffix_is_another_model(model: str) -> None:
    assert price_of(model) is None


def test_unknown_stays_unknown_and_this_machine_is_free() -> None:
    usage = Usage(10, 10)
    assert cost_microusd(endpoint_of("https://reseller.example/v1", model="gpt-4o"), usage) is None
    assert cost_microusd(HOSTED, Usage()) is None
    assert cost_microusd(endpoint_of("http://127.0.0.1:1/v1", model="gpt-4o"), usage) == 0


# --- addresses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1", "http://localhost", "http://[::1]:8/v1", "http://127.9.9.9/"])
def test_this_machine(url: str) -> None:
    assert is_local(endpoint_of(url))


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1.example/", "http://localhost.example/", "http://0.0.0.0/", "http://user@evil/127.0.0.1", ""],
)
def test_other_machines(url: str) -> None:
    assert not is_local(endpoint_of(url))


def test_base_urls_are_spelled_as_the_sdk_wants_them() -> None:
    assert sdk_base_url(endpoint_of("http://h:1")) == "http://h:1/v1"
    assert sdk_base_url(endpoint_of("http://h:1/v1/")) == "http://h:1/v1"
    assert sdk_base_url(endpoint_of("https://h/api/paas/v4")) == "https://h/api/paas/v4"
    assert sdk_base_url(endpoint_of("https://h/v1", ANTHROPIC)) == "https://h"


def test_what_is_shown_has_no_password() -> None:
    assert shown(endpoint_of("https://user:secret@h:9/v1")) == "h:9"
    assert is_official(HOSTED)
    assert not is_official(endpoint_of("http://api.anthropic.com", ANTHROPIC))
    assert not is_official(endpoint_of("https://api.anthropic.com.evil.example", ANTHROPIC))


# --- probing ----------------------------------------------------------------------------------------------------


def test_servers_are_found_and_named() -> None:
    with running([], models=("a:1b", "b")) as plain, running([], product="ollama", models=("q",)) as ollama:
        ports = (plain.port, ollama.port, plain.port)
        found = asyncio.run(find_servers(ports))
    assert found == (
        FoundServer(plain.port, "openai-compatible", ("a:1b", "b")),
        FoundServer(ollama.port, "ollama", ("q",)),
    )


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n[{}]",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000,
        b'HTTP/1.1 200 OK\r\n\r\n{"data": 5}',
        b'HTTP/1.1 500 No\r\n\r\n{"data": []}',
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}",
    ],
)
def test_strangers_are_no_model_servers(reply: bytes) -> None:
    assert asyncio.run(find_servers((_stranger(reply),))) == ()


def test_chunks_are_joined_and_foreign_names_dropped() -> None:
    body = json.dumps({"data": [{"id": "good"}, {"id": "\x1b[31mbad"}, {"id": 5}, "x"]}).encode()
    reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    (found,) = asyncio.run(find_servers((_stranger(reply),)))
    assert found.models == ("good",)


def test_a_port_that_is_closed_or_silent_does_not_hold_up_the_others() -> None:
    with socket.socket() as silent, running([]) as server:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        found = asyncio.run(find_servers((silent.getsockname()[1], 1, server.port)))
    assert [s.port for s in found] == [server.port]


def _stranger(reply: bytes) -> int:
    """Listen on a port, answer everything with `reply`, and close."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(reply)
        listener.close()

    threading.Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1])


# --- GGUF -------------------------------------------------------------------------------------------------------


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def _gguf(*entries: bytes) -> bytes:
    return struct.pack("<4sIQQ", b"GGUF", 3, 0, len(entries)) + b"".join(entries)


def test_the_context_length_is_found_behind_texts_and_lists(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    entries = [
        _text("general.name") + struct.pack("<I", 8) + _text("x"),
        _text("general.tags") + struct.pack("<IIQ", 9, 8, 2) + _text("a") + _text("b"),
        _text("llama.rope") + struct.pack("<If", 6, 1.5),
        _text("llama.context_length") + struct.pack("<II", 4, 2048),
    ]
    path.write_bytes(_gguf(*entries))
    assert context_length(path) == 2048
    path.write_bytes(_gguf(_text("t") + struct.pack("<IIQ", 9, 8, 1 << 60)))
    assert context_length(path) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_none(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.gguf"
    path.write_bytes(data)
    context_length(path)
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, 9) + data)
    context_length(path)


# --- requests ---------------------------------------------------------------------------------------------------

TRANSCRIPT = (
    ChatMessage(Role.SYSTEM, "policy"),
    ChatMessage(Role.USER, "look"),
    ChatMessage(Role.ASSISTANT, "", (ToolCall("a.b c", "shell", '{"x":1}'), ToolCall("2", "shell", "not json"))),
    ChatMessage(Role.TOOL, "", tool_call_id="a.b c"),
    ChatMessage(Role.TOOL, "out", tool_call_id="2"),
    ChatMessage(Role.USER, "and?"),
    ChatMessage(Role.SYSTEM, "reminder"),
)


def test_the_anthropic_protocol_gets_alternating_turns() -> None:
    body = anthropic_messages.request_body(make_call(HOSTED, messages=TRANSCRIPT), Quirks(), official=True)
    assert body["system"] == "policy\n\nreminder"
    assert body["cache_control"] == {"type": "ephemeral"}
    assert "temperature" not in body
    user, assistant, results = body["messages"]
    assert user == {"role": "user", "content": [{"type": "text", "text": "look"}]}
    assert [block["input"] for block in assistant["content"]] == [{"x": 1}, {"arguments": "not json"}]
    assert [block["type"] for block in results["content"]] == ["tool_result", "tool_result", "text"]
    assert [block.get("tool_use_id") for block in results["content"]] == ["a_b_c", "2", None]
    assert assistant["content"][0]["id"] == "a_b_c"
    assert results["content"][0]["content"] == "(no output)"


def test_the_chat_protocol_always_carries_content() -> None:
    body = openai_chat.request_body(make_call(HOSTED, messages=TRANSCRIPT), Quirks(), official=False)
    assert [message["role"] for message in body["messages"]] == [
        "system", "user", "assistant", "tool", "tool", "user", "system",
    ]  # fmt: skip
    assert all(isinstance(message["content"], str) for message in body["messages"])
    arguments = [json.loads(call["function"]["arguments"]) for call in body["messages"][2]["tool_calls"]]
    assert arguments == [{"x": 1}, {"arguments": "not json"}]
    assert body["max_tokens"] == 100
    assert "max_completion_tokens" in openai_chat.request_body(make_call(HOSTED), Quirks(), official=True)


@given(
    st.lists(
        st.tuples(st.sampled_from(Role), st.text(max_size=5), st.integers(0, 2)).map(
            lambda t: ChatMessage(
                t[0],
                t[1],
                tuple(ToolCall(f"c{i}", "f", "{}") for i in range(t[2])) if t[0] is Role.ASSISTANT else (),
                "c0" if t[0] is Role.TOOL else None,
            )
        ),
        max_size=8,
    )
)
def test_every_transcript_becomes_turns_that_alternate_and_are_not_empty(messages: list[ChatMessage]) -> None:
    call = make_call(HOSTED, messages=tuple(messages))
    turns = anthropic_messages.request_body(call, Quirks(), official=False)["messages"]
    assert [turn["role"] for turn in turns] == ["user" if i % 2 == 0 else "assistant" for i in range(len(turns))]
    assert all(turn["content"] for turn in turns)
    assert all(block.get("text", "x").strip() for turn in turns for block in turn["content"])


def test_protocols_are_all_here() -> None:
    assert {OPENAI, ANTHROPIC} == set(Protocol)


# --- bounds -----------------------------------------------------------------------------------------------------


def test_a_server_cannot_send_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "MAX_RESPONSE_BYTES", 1000)

    async def pieces(size: int) -> AsyncIterator[bytes]:
        for _ in range(size):
            yield b"x"

    async def ask(size: int) -> int:
        transport = httpx2.MockTransport(lambda _request: httpx2.Response(200, content=pieces(size)))
        hooks = {"response": [clients._bound_response]}
        async with httpx2.AsyncClient(transport=transport, event_hooks=hooks) as client:
            return len((await client.get("http://h/")).content)

    assert asyncio.run(ask(1000)) == 1000
    with pytest.raises(BadAnswer, match="more than 1000 bytes"):
        asyncio.run(ask(1001))


def test_an_answer_has_a_largest_size() -> None:
    async def swallow(_text: str) -> None:
        return

    draft = Draft("r", Peer("p", "m", "h"), swallow)
    asyncio.run(draft.add_text("x" * (MAX_ANSWER_CHARS - 1)))
    draft.add_call(0, name="shell", arguments="{")
    with pytest.raises(BadAnswer):
        draft.add_call(0, arguments="}")


@given(st.lists(st.sampled_from([None, 5, [], {}, "", "text", True, {"a": 1}]), min_size=5, max_size=5))
def test_values_of_any_type_make_an_answer_or_a_named_error(values: list[object]) -> None:
    async def swallow(_text: str) -> None:
        return

    draft = Draft("r", Peer("p", "m", "h"), swallow)
    asyncio.run(draft.add_text(values[0]))
    draft.add_call(0, call_id=values[1], name=values[2], arguments=values[3])
    draft.usage = Usage(count(values[4]))
    try:
        answer = draft.finish()
    except BadAnswer:
        assert not isinstance(values[2], str) or not values[2]
    else:
        assert answer.tool_calls[0].name == values[2]
