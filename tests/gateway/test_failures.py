"""Every way a call can fail has one stable code, a cure, and no key in its text."""

from __future__ import annotations

import socket
import time
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from localgpt.gateway.clients import time_limits
from localgpt.gateway.failures import Peer, classify, excerpt
from localgpt.wire import ModelFailed, Protocol, ProviderKey
from tests.gateway.conftest import CANARY
from tests.gateway.conversation import ANTHROPIC, OPENAI, Conversation, endpoint_of, gateway, make_call
from tests.gateway.scripted_server import running

NO_RETRY = {"x-should-retry": "false"}


def failure(talk: Conversation, protocol: Protocol, answer: dict[str, Any], **fields: Any) -> ModelFailed:
    with running([answer] * 4) as server:
        return talk.ask(endpoint_of(server.base_url, protocol, **fields)).failed


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (401, {"type": "authentication_error", "message": "invalid x-api-key"}, "model.auth"),
        (403, {"type": "permission_error", "message": "no"}, "model.auth"),
        (404, {"type": "not_found_error", "message": "model: nope"}, "model.not-found"),
        (400, {"type": "invalid_request_error", "message": "The model `x` does not exist"}, "model.not-found"),
        (429, {"type": "rate_limit_error", "message": "slow down"}, "model.rate-limited"),
        (400, {"type": "invalid_request_error", "message": "Your credit balance is too low"}, "model.rate-limited"),
        (529, {"type": "overloaded_error", "message": "Overloaded"}, "model.overloaded"),
        (500, {"type": "api_error", "message": "oops"}, "model.overloaded"),
        (503, {"message": "Loading model"}, "model.overloaded"),
        (
            400,
            {"type": "exceed_context_size_error", "message": "request (9031 tokens) exceeds"},
            "model.context-length",
        ),
        (400, {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}, "model.context-length"),
        (413, {"type": "request_too_large", "message": "big"}, "model.context-length"),
        (400, {"type": "invalid_request_error", "message": "messages: nonsense"}, "model.refused"),
    ],
)
def test_refusals(talk: Conversation, protocol: Protocol, status: int, error: dict[str, str], code: str) -> None:
    failed = failure(talk, protocol, {"status": status, "error": error, "headers": NO_RETRY})
    assert failed.code == code
    assert "cure:" in failed.message
    assert failed.retryable == (code in {"model.rate-limited", "model.overloaded"})


@pytest.mark.parametrize("status", [429, 500, 529])
def test_the_sdk_retries_and_nobody_else(talk: Conversation, protocol: Protocol, status: int) -> None:
    refusal = {"status": status, "error": {"message": "later"}, "headers": {"retry-after-ms": "1"}}
    with running([refusal, refusal, {"text": "at last"}]) as server:
        assert talk.ask(endpoint_of(server.base_url, protocol)).done.text == "at last"
    with running([refusal] * 9) as server:
        assert talk.ask(endpoint_of(server.base_url, protocol)).failed.retryable
        assert len(server.posts) == 3, "one try and two retries, by the SDK alone"


@pytest.mark.parametrize("pause", ["3600", "Fri, 31 Dec 2999 23:59:59 GMT"])
def test_a_server_cannot_make_a_call_sleep_for_long(talk: Conversation, protocol: Protocol, pause: str) -> None:
    began = time.monotonic()
    refusal = {"status": 429, "error": {"message": "much later"}, "headers": {"retry-after": pause}}
    assert failure(talk, protocol, refusal).code == "model.rate-limited"
    assert time.monotonic() - began < 10


def test_a_connection_cut_in_the_middle_is_a_cut(talk: Conversation, protocol: Protocol) -> None:
    with running([{"text": "half of an answer", "cut_after": 3}]) as server:
        heard = talk.ask(endpoint_of(server.base_url, protocol))
        assert len(server.posts) == 1, "what has begun is never tried again"
    assert (heard.failed.code, heard.failed.retryable) == ("model.cut", True)
    assert "".join(heard.deltas)


def test_a_stream_that_ends_without_a_reason_is_a_cut(talk: Conversation, protocol: Protocol) -> None:
    assert failure(talk, protocol, {"text": "half", "end_after": 1, "piece": 2}).code == "model.cut"


def test_an_error_event_in_the_stream_has_its_own_code(talk: Conversation, protocol: Protocol) -> None:
    failed = failure(talk, protocol, {"text": "half", "piece": 2, "error_after": 1})
    assert (failed.code, "Overloaded" in failed.message) == ("model.overloaded", True)


def test_malformed_json_in_the_stream(talk: Conversation, protocol: Protocol) -> None:
    assert failure(talk, protocol, {"text": "half", "piece": 2, "malformed_after": 1}).code == "model.bad-answer"


@pytest.mark.parametrize("content_type", ["text/html", "application/json", "text/plain"])
def test_an_answer_of_another_kind(talk: Conversation, protocol: Protocol, content_type: str) -> None:
    failed = failure(talk, protocol, {"raw": "<html>a proxy's\x1b[31m page</html>", "content_type": content_type})
    assert failed.code == "model.bad-answer"
    assert "proxy's" in failed.message
    assert "\x1b" not in failed.message


def test_a_tool_call_without_a_name(talk: Conversation, protocol: Protocol) -> None:
    assert failure(talk, protocol, {"tool_calls": [{"name": None}]}).code == "model.bad-answer"


def test_nobody_listens(talk: Conversation, protocol: Protocol) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        failed = talk.ask(endpoint_of(f"http://127.0.0.1:{unused.getsockname()[1]}/v1", protocol)).failed
    assert (failed.code, failed.retryable) == ("model.unreachable", True)


def test_no_such_socket(talk: Conversation, protocol: Protocol) -> None:
    assert (
        talk.ask(endpoint_of("http://localhost/v1", protocol, socket_path="/nowhere.sock")).failed.code
        == "model.unreachable"
    )


def test_a_server_that_closes_without_an_answer(talk: Conversation, protocol: Protocol) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        call = make_call(endpoint_of(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", protocol))
        talk.send(call)
        for _ in range(3):
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.close()
        assert talk.hear(call.request_id)[call.request_id].failed.code == "model.unreachable"


# --- keys -------------------------------------------------------------------------------------------------------


def test_a_key_is_sent_and_never_repeated(talk: Conversation, protocol: Protocol) -> None:
    echoes: list[dict[str, Any]] = [
        {
            "status": status,
            "headers": NO_RETRY,
            "error": {"type": "invalid_request_error", "message": f"bad key {CANARY}!"},
        }
        for status in (400, 401, 404, 429, 500)
    ]
    echoes += [
        {"raw": f"<p>{CANARY}</p>", "content_type": "text/html"},
        {"raw": f"[{CANARY}", "content_type": "application/json"},
        {"text": "half", "piece": 2, "error_after": 1, "error": {"type": "x", "message": f"your key {CANARY}"}},
    ]
    with running(echoes) as server:
        endpoint = endpoint_of(server.base_url, protocol, key_id="k")
        failures = [talk.ask(endpoint).failed for _ in echoes]
        assert all(seen.headers["authorization"] == f"Bearer {CANARY}" for seen in server.posts)
        if protocol is ANTHROPIC:
            assert all(seen.headers["x-api-key"] == CANARY for seen in server.posts)
    assert not [failed for failed in failures if CANARY in failed.message]


def test_a_redirect_does_not_carry_the_key_away(talk: Conversation, protocol: Protocol) -> None:
    with running([{"text": "stolen"}] * 3) as thief:
        to = {"location": f"{thief.base_url}/messages"}
        for status in (302, 307, 308):
            with running([{"status": status, "error": {"message": "moved"}, "headers": to}] * 3) as server:
                failed = talk.ask(endpoint_of(server.base_url, protocol, key_id="k")).failed
            assert failed.code == "model.refused"
        assert thief.requests == []


def test_an_unknown_key_is_named(talk: Conversation, protocol: Protocol) -> None:
    failed = talk.ask(endpoint_of("http://127.0.0.1:9/v1", protocol, key_id="other")).failed
    assert (failed.code, "'other'" in failed.message) == ("model.auth", True)


def test_a_key_does_not_travel_unencrypted(talk: Conversation, protocol: Protocol) -> None:
    assert talk.ask(endpoint_of("http://192.0.2.1/v1", protocol, key_id="k")).failed.code == "model.insecure"


def test_proxies_are_not_used_for_this_machine() -> None:
    with running([{"text": "direct"}]) as server, running([]) as proxy:
        address = proxy.base_url.removesuffix("/v1")
        environ = {"HTTPS_PROXY": address, "HTTP_PROXY": address, "http_proxy": address, "ALL_PROXY": address}
        with gateway(environ=environ) as talk:
            assert talk.ask(endpoint_of(server.base_url)).done.text == "direct"
            # port 9 of a documentation address: without the proxy this would hang, with it the proxy answers
            failed = talk.ask(endpoint_of("http://192.0.2.1:9/v1", OPENAI)).failed
        assert proxy.requests
    assert failed.code == "model.not-found"


def test_keys_stay_out_of_what_the_process_shows() -> None:
    with gateway([ProviderKey("k", CANARY)]) as talk, running([{"raw": CANARY, "content_type": "x/y"}]) as server:
        talk.ask(endpoint_of(server.base_url, key_id="k"))
        talk.channel.close()
        _, errors = talk.process.communicate(timeout=20)
    assert errors == b""
    assert CANARY not in repr(ProviderKey("k", CANARY))


def test_excerpts_are_short_printable_and_without_secrets() -> None:
    assert excerpt("a\x1b[2Jb\nc\u202e" + CANARY, (CANARY,)) == "a [2Jb c <hidden>"
    assert len(excerpt("x" * 10_000)) == 300


# --- silence ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "started", "code"),
    [
        ("ReadTimeout", False, "model.timeout"),
        ("ReadTimeout", True, "model.timeout"),
        ("WriteTimeout", False, "model.timeout"),
        ("ConnectTimeout", False, "model.unreachable"),
        ("ProxyError", False, "model.unreachable"),
        ("ReadError", False, "model.unreachable"),
        ("ReadError", True, "model.cut"),
        ("RemoteProtocolError", True, "model.cut"),
    ],
)
def test_what_the_transport_reports(name: str, started: bool, code: str) -> None:
    request = httpx2.Request("POST", "http://h/v1")
    cause = getattr(httpx2, name)("words", request=request)
    peer = Peer("p", "m", "h")
    for sdk in (openai, anthropic):
        wrapped = sdk.APIConnectionError(request=request)
        wrapped.__cause__ = cause
        assert classify(wrapped, sdk, peer, started=started).code == code
        assert classify(cause, sdk, peer, started=started).code == code
    assert classify(openai.APITimeoutError(request), openai, peer, started=False).code == "model.timeout"


def test_time_limits() -> None:
    hosted, local = time_limits(endpoint_of("https://h/v1")), time_limits(endpoint_of("http://127.0.0.1/v1"))
    assert (hosted.connect, hosted.read, local.read) == (10.0, 120.0, 300.0)
