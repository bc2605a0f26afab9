"""How the scripted server spells its answers: one class a protocol, events for a stream and a whole document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar

Answer = dict[str, Any]


def _pieces(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


class _Dialect:
    def __init__(self, answer: Answer, body: Answer) -> None:
        self.answer = answer
        self.model = body.get("model", "scripted")
        self.piece = int(answer.get("piece", 7))
        self.text = str(answer.get("text", ""))
        self.thinking = str(answer.get("thinking", ""))
        self.calls = [
            (
                call.get("id", f"call_{index}"),
                call.get("name"),
                call["arguments_text"] if "arguments_text" in call else json.dumps(call.get("arguments", {})),
            )
            for index, call in enumerate(answer.get("tool_calls", []))
        ]
        self.stop = answer.get("stop", "tools" if self.calls else "end")
        self.usage = answer.get("usage", {"input": 11, "output": 7})

    def malformed(self) -> bytes:
        return b'event: content_block_delta\ndata: {"broken": \n\n'


class OpenAiDialect(_Dialect):
    _STOPS: ClassVar = {"end": "stop", "tools": "tool_calls", "length": "length", "refused": "content_filter"}

    def __init__(self, answer: Answer, body: Answer) -> None:
        super().__init__(answer, body)
        self.with_usage = bool((body.get("stream_options") or {}).get("include_usage"))

    def _event(self, delta: Answer, finish: str | None = None) -> bytes:
        return self._data({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    def _data(self, fields: Answer) -> bytes:
        chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": self.model, **fields}
        return f"data: {json.dumps(chunk)}\n\n".encode()

    def _usage(self) -> Answer:
        usage = self.usage or {}
        total_in = usage.get("input", 0) + usage.get("cache_read", 0)
        return {
            "prompt_tokens": total_in,
            "completion_tokens": usage.get("output", 0),
            "total_tokens": total_in + usage.get("output", 0),
            "prompt_tokens_details": {"cached_tokens": usage.get("cache_read", 0)},
        }

    def opening(self) -> Iterator[bytes]:
        yield self._event({"role": "assistant", "content": ""})

    def deltas(self) -> Iterator[bytes]:
        for piece in _pieces(self.thinking, self.piece):
            yield self._event({"reasoning_content": piece})
        for piece in _pieces(self.text, self.piece):
            yield self._event({"content": piece})
        for index, (call_id, name, arguments) in enumerate(self.calls):
            head = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
            yield self._event({"tool_calls": [head]})
            if not isinstance(arguments, str):  # some servers send an object where the protocol wants text
                yield self._event({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})
                continue
            for piece in _pieces(arguments, self.piece):
                yield self._event({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})

    def closing(self) -> Iterator[bytes]:
        yield self._event({}, self._STOPS[self.stop])
        if self.usage is not None and self.with_usage:
            yield self._data({"choices": [], "usage": self._usage()})
        yield b"data: [DONE]\n\n"

    def ping(self) -> bytes:
        return b": ping\n\n"

    def error(self, error: Answer) -> bytes:
        return f"data: {json.dumps({'error': error})}\n\n".encode()

    def document(self) -> Answer:
        message: Answer = {"role": "assistant", "content": self.text or None}
        if self.calls:
            message["tool_calls"] = [
                {"id": i, "type": "function", "function": {"name": n, "arguments": a}} for i, n, a in self.calls
            ]
        choice = {"index": 0, "message": message, "finish_reason": self._STOPS[self.stop]}
        body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": self.model, "choices": [choice]}
        return body if self.usage is None else {**body, "usage": self._usage()}


class AnthropicDialect(_Dialect):
    _STOPS: ClassVar = {"end": "end_turn", "tools": "tool_use", "length": "max_tokens", "refused": "refusal"}

    def _event(self, kind: str, **fields: Any) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()

    def _delta(self, index: int, kind: str, **fields: Any) -> bytes:
        return self._event("content_block_delta", index=index, delta={"type": kind, **fields})

    def _usage(self) -> Answer:
        usage = self.usage or {}
        return {
            "input_tokens": usage.get("input", 0),
            "cache_read_input_tokens": usage.get("cache_read", 0),
            "cache_creation_input_tokens": usage.get("cache_write", 0),
        }

    def _message(self) -> Answer:
        return {
            "id": "msg_1", "type": "message", "role": "assistant", "model": self.model, "content": [],
            "stop_reason": None, "stop_sequence": None,
        }  # fmt: skip

    def opening(self) -> Iterator[bytes]:
        message = self._message()
        if self.usage is not None:
            message["usage"] = {**self._usage(), "output_tokens": 1}
        yield self._event("message_start", message=message)

    def deltas(self) -> Iterator[bytes]:
        index = 0
        for kind, content in (("thinking", self.thinking), ("text", self.text)):
            if content:
                block: Answer = {"type": kind, kind: "", **dict.fromkeys(["signature"] * (kind == "thinking"), "")}
                yield self._event("content_block_start", index=index, content_block=block)
                for piece in _pieces(content, self.piece):
                    yield self._delta(index, f"{kind}_delta", **{kind: piece})
                if kind == "thinking":
                    yield self._delta(index, "signature_delta", signature="c2lnbmVk")
                yield self._event("content_block_stop", index=index)
                index += 1
        for offset, (call_id, name, arguments) in enumerate(self.calls, index):
            block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
            yield self._event("content_block_start", index=offset, content_block=block)
            yield self._delta(offset, "input_json_delta", partial_json="")
            text = arguments if isinstance(arguments, str) else json.dumps(arguments)
            for piece in _pieces(text, self.piece):
                yield self._delta(offset, "input_json_delta", partial_json=piece)
            yield self._event("content_block_stop", index=offset)

    def closing(self) -> Iterator[bytes]:
        fields: Answer = {"delta": {"stop_reason": self._STOPS[self.stop], "stop_sequence": None}}
        if self.usage is not None:
            fields["usage"] = {"output_tokens": self.usage.get("output", 0)}
        yield self._event("message_delta", **fields)
        yield self._event("message_stop")

    def ping(self) -> bytes:
        return self._event("ping")

    def error(self, error: Answer) -> bytes:
        return self._event("error", error=error)

    def document(self) -> Answer:
        content: list[Answer] = [{"type": "text", "text": self.text}] if self.text else []
        for call_id, name, arguments in self.calls:
            content.append({"type": "tool_use", "id": call_id, "name": name, "input": json.loads(arguments)})
        body: Answer = {**self._message(), "content": content, "stop_reason": self._STOPS[self.stop]}
        return (
            body
            if self.usage is None
            else {**body, "usage": {**self._usage(), "output_tokens": self.usage.get("output", 0)}}
        )
