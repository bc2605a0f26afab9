"""Messages survive the trip; nothing else does."""

from __future__ import annotations

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localgpt import canon, wire
from localgpt.wire import (
    AgentReady,
    Channel,
    ChatMessage,
    Endpoint,
    GatewayCall,
    GatewayStart,
    ModelDelta,
    PeerGone,
    Protocol,
    ProviderKey,
    ReceiveTimeout,
    Role,
    ToolCall,
    ToolDeclaration,
    TurnText,
    Usage,
    WireError,
)

CALL = GatewayCall(
    request_id="r1",
    endpoint=Endpoint("openai", Protocol.OPENAI_CHAT, "http://127.0.0.1:1/v1", "m", headers=(("x", "y"),)),
    messages=(ChatMessage(Role.ASSISTANT, "hé", (ToolCall("1", "shell", '{"a": 1.5}'),)),),
    tools=(ToolDeclaration("shell", "runs", "{}"),),
    max_tokens=5,
)


def pair() -> tuple[Channel, Channel]:
    left, right = socket.socketpair()
    return Channel(left), Channel(right)


def body(message: wire.Message) -> bytes:
    return wire.encode(message)[4:]


def test_a_nested_message_survives():
    assert wire.decode(body(CALL)) == CALL


@given(st.text())
def test_any_text_survives_or_has_its_surrogates_replaced(text: str):
    expected = text.encode("utf-8", "replace").decode("utf-8")
    assert wire.decode(body(ModelDelta("r", text))) == ModelDelta("r", expected)


@given(st.binary(max_size=200))
def test_foreign_bytes_are_an_error_and_nothing_else(data: bytes):
    with pytest.raises(WireError):
        wire.decode(data)


@pytest.mark.parametrize(
    "change",
    [
        {"type": "Nonsense"},
        {"type": 3},
        {"extra": 1},
        {"turns": "3"},
        {"turns": True},
        {"turns": None},
        {"warning": 7},
    ],
)
def test_a_frame_with_a_wrong_field_is_refused(change: dict[str, canon.Json]):
    frame: dict[str, canon.Json] = {"type": "AgentReady", "turns": 1, "warning": "", **change}
    with pytest.raises(WireError):
        wire.decode(canon.encode(frame))


def test_a_missing_field_is_refused():
    with pytest.raises(WireError, match="fields"):
        wire.decode(canon.encode({"type": "AgentReady", "turns": 1}))


def test_an_unknown_enum_value_is_refused():
    frame = canon.decode_object(body(CALL))
    frame["messages"] = [{"role": "root", "text": "", "tool_calls": [], "tool_call_id": None}]
    with pytest.raises(WireError, match="role"):
        wire.decode(canon.encode(frame))


def test_a_key_is_not_in_the_repr():
    assert "hush" not in repr(GatewayStart((ProviderKey("k", "hush"),)))


def test_messages_arrive_in_order_and_end_of_file_is_named():
    ours, theirs = pair()
    ours.send(TurnText("t", "a"))
    ours.send(TurnText("t", "b"))
    ours.close()
    assert theirs.receive() == TurnText("t", "a")
    assert theirs.receive() == TurnText("t", "b")
    with pytest.raises(PeerGone):
        theirs.receive()


def test_half_a_frame_is_a_peer_that_is_gone():
    left, right = socket.socketpair()
    left.sendall(wire.encode(AgentReady(1))[:-3])
    left.close()
    with pytest.raises(PeerGone):
        Channel(right).receive()


def test_a_frame_beyond_the_limit_is_refused_before_it_is_read():
    left, right = socket.socketpair()
    left.sendall(b"\xff\xff\xff\xff")
    with pytest.raises(WireError, match="limit"):
        Channel(right).receive()


def test_a_silent_peer_times_out():
    ours, _theirs = pair()
    with pytest.raises(ReceiveTimeout):
        ours.receive(timeout_s=0.01)


def test_two_sides_that_send_at_once_do_not_wait_for_each_other():
    ours, theirs = pair()
    big = TurnText("t", "x" * 4_000_000)
    received: list[wire.Message] = []

    def other_side() -> None:
        theirs.send(big)
        received.append(theirs.receive())

    thread = threading.Thread(target=other_side, daemon=True)
    thread.start()
    ours.send(big)
    assert ours.receive() == big
    thread.join(10)
    assert received == [big]


def test_usage_adds_up_and_an_unknown_price_stays_unknown():
    assert Usage(1, 2) + Usage(3, 4) == Usage(4, 6)
    assert (Usage(cost_microusd=5) + Usage()).cost_microusd == 5
