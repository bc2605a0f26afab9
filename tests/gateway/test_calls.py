"""Calls through a real gateway process to a real server over both protocols."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localgpt.wire import (
    ChatMessage,
    GatewayCancel,
    ModelFailed,
    Protocol,
    Role,
    StopReason,
    ToolCall,
    ToolDeclaration,
    Usage,
)
from tests.gateway.conversation import OPENAI, Conversation, Heard, endpoint_of, make_call
from tests.gateway.scripted_server import running

SHELL = ToolDeclaration("shell", "Run a command.", '{"type":"object","properties":{"command":{"type":"string"}}}')
SCHEMA = '{"type":"object","properties":{"tool":{"type":"string"}},"required":["tool"]}'


def test_text_arrives_in_pieces_and_whole(talk: Conversation, protocol: Protocol) -> None:
    with running([{"text": "Grüße, one two three 🌻", "thinking": "hidden thoughts", "ping": True}]) as server:
        heard = talk.ask(endpoint_of(server.base_url, protocol))
    assert len(heard.deltas) > 2
    assert "".join(heard.deltas) == heard.done.text == "Grüße, one two three 🌻"
    assert heard.done.stop is StopReason.END


def test_usage_counts_cached_input_once_and_costs_nothing_on_this_machine(
    talk: Conversation, protocol: Protocol
) -> None:
    with running([{"text": "x", "usage": {"input": 11, "output": 7, "cache_read": 5}}]) as server:
        usage = talk.ask(endpoint_of(server.base_url, protocol)).done.usage
    assert usage == Usage(11, 7, 5, 0, cost_microusd=0)


def test_missing_usage_is_zero_and_no_error(talk: Conversation, protocol: Protocol) -> None:
    with running([{"text": "x", "usage": None}]) as server:
        assert talk.ask(endpoint_of(server.base_url, protocol)).done.usage == Usage(cost_microusd=0)


def test_tool_calls_are_put_together_from_partial_json(talk: Conversation, protocol: Protocol) -> None:
    calls = [
        {"name": "shell", "arguments": {"command": "ls -l 'ä b'"}, "id": "call_a"},
        {"name": "read_file", "arguments": {"path": "/x"}, "id": "call_b"},
    ]
    with running([{"text": "Let me look.", "tool_calls": calls, "piece": 3, "ping": True}]) as server:
        done = talk.ask(endpoint_of(server.base_url, protocol), tools=(SHELL,)).done
    assert [(c.id, c.name, json.loads(c.arguments_json)) for c in done.tool_calls] == [
        ("call_a", "shell", {"command": "ls -l 'ä b'"}),
        ("call_b", "read_file", {"path": "/x"}),
    ]
    assert (done.stop, done.text) == (StopReason.TOOLS, "Let me look.")


def test_a_tool_call_without_arguments_is_an_empty_object(talk: Conversation, protocol: Protocol) -> None:
    with running([{"tool_calls": [{"name": "list_files", "arguments_text": ""}]}]) as server:
        (call,) = talk.ask(endpoint_of(server.base_url, protocol)).done.tool_calls
    assert call.arguments_json == "{}"


def test_arguments_that_are_an_object_instead_of_text_are_understood(talk: Conversation) -> None:
    with running([{"tool_calls": [{"name": "shell", "arguments_text": {"command": "ls"}}]}]) as server:
        (call,) = talk.ask(endpoint_of(server.base_url, OPENAI)).done.tool_calls
    assert json.loads(call.arguments_json) == {"command": "ls"}


def test_broken_arguments_travel_as_the_model_wrote_them(talk: Conversation, protocol: Protocol) -> None:
    with running([{"tool_calls": [{"name": "shell", "arguments_text": '{"command": 5, oops'}]}]) as server:
        (call,) = talk.ask(endpoint_of(server.base_url, protocol)).done.tool_calls
    assert call.arguments_json == '{"command": 5, oops'


def test_a_call_that_the_token_limit_cut_is_no_call(talk: Conversation, protocol: Protocol) -> None:
    answer = {"text": "x", "tool_calls": [{"name": "shell", "arguments_text": '{"command": "rm -r'}], "stop": "length"}
    with running([answer]) as server:
        done = talk.ask(endpoint_of(server.base_url, protocol)).done
    assert (done.stop, done.tool_calls) == (StopReason.LENGTH, ())


def test_repeated_ids_are_made_distinct(talk: Conversation, protocol: Protocol) -> None:
    calls = [{"name": "a", "id": "same"}, {"name": "b", "id": "same"}]
    with running([{"tool_calls": calls}]) as server:
        done = talk.ask(endpoint_of(server.base_url, protocol)).done
    assert len({call.id for call in done.tool_calls}) == 2


@pytest.mark.parametrize(("said", "meant"), [("length", StopReason.LENGTH), ("refused", StopReason.REFUSED)])
def test_stop_reasons(talk: Conversation, protocol: Protocol, said: str, meant: StopReason) -> None:
    with running([{"text": "x", "stop": said}]) as server:
        assert talk.ask(endpoint_of(server.base_url, protocol)).done.stop is meant


def test_a_server_that_does_not_stream_is_understood(talk: Conversation, protocol: Protocol) -> None:
    answer = {"text": "whole", "tool_calls": [{"name": "shell", "arguments": {"command": "ls"}}], "no_stream": True}
    with running([answer]) as server:
        done = talk.ask(endpoint_of(server.base_url, protocol)).done
    assert (done.text, done.tool_calls[0].name, done.usage.input_tokens) == ("whole", "shell", 11)


def test_a_unix_socket_is_reached(talk: Conversation, protocol: Protocol, tmp_path: Path) -> None:
    with running([{"text": "through the file system"}], unix_path=tmp_path / "m.sock") as server:
        endpoint = endpoint_of(server.base_url, protocol, socket_path=str(server.unix_path))
        assert talk.ask(endpoint).done.text == "through the file system"


def test_calls_run_at_the_same_time(talk: Conversation) -> None:
    slow, quick = [{"text": "slow", "hang_after": 1, "piece": 2}], [{"text": "quick"}]
    with running(slow) as first, running(quick) as second:
        waiting, going = make_call(endpoint_of(first.base_url)), make_call(endpoint_of(second.base_url))
        talk.send(waiting)
        first.script.wait_for_requests(1)
        talk.send(going)
        heard = {going.request_id: Heard(), waiting.request_id: Heard()}
        while heard[going.request_id].last is None:
            message = talk.channel.receive(20)
            entry = heard[getattr(message, "request_id", "")]
            if hasattr(message, "code") or hasattr(message, "stop"):
                entry.last = message  # type: ignore[assignment]
        assert heard[waiting.request_id].last is None
        talk.send(GatewayCancel(waiting.request_id))
        assert talk.hear(waiting.request_id)[waiting.request_id].failed.code == "model.cancelled"
        first.script.wait_for_hang_up()


def test_cancelling_ends_the_call_once_and_closes_its_connection(talk: Conversation, protocol: Protocol) -> None:
    with running([{"text": "a long answer", "hang_after": 1}, {"text": "next"}]) as server:
        call = make_call(endpoint_of(server.base_url, protocol))
        talk.send(call)
        server.script.wait_for_requests(1)
        talk.send(GatewayCancel(call.request_id))
        talk.send(GatewayCancel(call.request_id))
        last = talk.hear(call.request_id)[call.request_id].last
        assert isinstance(last, ModelFailed)
        assert (last.code, last.retryable) == ("model.cancelled", False)
        server.script.wait_for_hang_up()
        assert talk.ask(endpoint_of(server.base_url, protocol)).done.text == "next"


def test_connections_are_kept_open_between_calls(talk: Conversation, protocol: Protocol) -> None:
    with running([{"text": "1"}, {"text": "2"}, {"text": "3"}]) as server:
        assert [talk.ask(endpoint_of(server.base_url, protocol)).done.text for _ in range(3)] == ["1", "2", "3"]
        assert server.script.connections == 1


# --- fields that a server does not understand -------------------------------------------------------------------


def test_a_schema_is_demanded_in_the_protocols_own_way(talk: Conversation, protocol: Protocol) -> None:
    with running([{"text": '{"tool": "shell"}'}]) as server:
        assert talk.ask(endpoint_of(server.base_url, protocol), schema_json=SCHEMA).done.text == '{"tool": "shell"}'
        body = server.posts[0].body
    schema = json.loads(SCHEMA)
    if protocol is OPENAI:
        assert body["response_format"]["json_schema"]["schema"] == schema
    else:
        assert body["output_config"] == {"format": {"type": "json_schema", "schema": schema}}


def test_a_server_that_refuses_the_schema_gets_weaker_demands_and_is_remembered(
    talk: Conversation, protocol: Protocol
) -> None:
    field, said = (
        ("response_format.json_schema", "response_format.type: literal_error")
        if protocol is OPENAI
        else ("output_config", "output_config: Extra inputs are not permitted")
    )
    refusal = {"field": field, "status": 400, "message": said}
    call = {"name": "answer", "arguments": {"tool": "x"}}
    answer = {"unless": refusal, **({"text": '{"tool": "x"}'} if protocol is OPENAI else {"tool_calls": [call]})}
    with running([answer, answer]) as server:
        endpoint = endpoint_of(server.base_url, protocol)
        assert json.loads(talk.ask(endpoint, schema_json=SCHEMA).done.text) == {"tool": "x"}
        tries = len(server.posts)
        done = talk.ask(endpoint, schema_json=SCHEMA).done
        assert len(server.posts) == tries + 1, "the refusal was not remembered"
    assert (json.loads(done.text), done.tool_calls, done.stop) == ({"tool": "x"}, (), StopReason.END)


def test_a_server_that_ignores_the_schema_in_silence_is_found_out(talk: Conversation, protocol: Protocol) -> None:
    with running([{"text": "once upon a time"}, {"text": "{}"}]) as server:
        endpoint = endpoint_of(server.base_url, protocol)
        failed = talk.ask(endpoint, schema_json=SCHEMA).failed
        assert (failed.code, failed.retryable) == ("model.bad-answer", True)
        talk.ask(endpoint, schema_json=SCHEMA)
        first, second = (post.body for post in server.posts)
    assert {k: first.get(k) for k in ("response_format", "output_config")} != {
        k: second.get(k) for k in ("response_format", "output_config")
    }


def test_stream_options_and_max_tokens_are_left_out_when_refused(talk: Conversation) -> None:
    refusals = [
        {"unless": {"field": "stream_options", "message": "Unrecognized: stream_options"}, "text": "a"},
        {
            "unless": {"field": "max_tokens", "message": "'max_tokens' is not supported, use 'max_completion_tokens'"},
            "text": "b",
        },
    ]
    with running(refusals) as server:
        endpoint = endpoint_of(server.base_url)
        assert [talk.ask(endpoint).done.text for _ in range(2)] == ["a", "b"]
        assert server.posts[-1].body["max_completion_tokens"] == 100


def test_a_refused_temperature_is_left_out(talk: Conversation, protocol: Protocol) -> None:
    refusal = {"field": "temperature", "message": "temperature is deprecated for this model"}
    with running([{"unless": refusal, "text": "warm"}]) as server:
        assert talk.ask(endpoint_of(server.base_url, protocol), temperature_milli=700).done.text == "warm"
        assert [post.body.get("temperature") for post in server.posts] == [0.7, None]


def test_a_whole_transcript_is_accepted(talk: Conversation, protocol: Protocol) -> None:
    messages = (
        ChatMessage(Role.SYSTEM, "be brief"),
        ChatMessage(Role.USER, "look"),
        ChatMessage(Role.ASSISTANT, "", (ToolCall("call_1", "shell", '{"command":"ls"}'),)),
        ChatMessage(Role.TOOL, "", tool_call_id="call_1"),
        ChatMessage(Role.USER, "and?"),
    )
    with running([{"echo": True}]) as server:
        assert talk.ask(endpoint_of(server.base_url, protocol), messages=messages, tools=(SHELL,)).done.text.endswith(
            "and?"
        )
        for message in server.posts[0].body["messages"]:
            assert message["content"] is not None
