"""The messages protocol of Anthropic, which other servers speak as well.

Source: https://docs.anthropic.com/en/api/messages and .../messages-streaming
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import anthropic
from anthropic import AsyncAnthropic

from localgpt.gateway.addresses import is_official
from localgpt.gateway.answer import Answer, Draft, count, demand_json
from localgpt.gateway.failures import BadAnswer, ModelFailure, Peer, StreamCut, classify, excerpt
from localgpt.gateway.quirks import Quirks
from localgpt.wire import ChatMessage, GatewayCall, Role, StopReason, ToolDeclaration, Usage

_STOPS: Final = {
    "end_turn": StopReason.END,
    "stop_sequence": StopReason.END,
    "pause_turn": StopReason.END,
    "tool_use": StopReason.TOOLS,
    "max_tokens": StopReason.LENGTH,
    "model_context_window_exceeded": StopReason.LENGTH,
    "refusal": StopReason.REFUSED,
}
_SCHEMA_FORMS: Final = ("output", "tool", "words")
_ANSWER_TOOL: Final = "answer"
_BAD_ID: Final = re.compile(r"[^a-zA-Z0-9_-]")  #: ids of other protocols may hold what this one refuses


async def converse(client: AsyncAnthropic, call: GatewayCall, quirks: Quirks, peer: Peer, draft: Draft) -> Answer:
    """Make one call and stream its answer into `draft`.

    Raises:
        ModelFailure: one leaf of it, for whatever went wrong.
    """
    while True:
        try:
            return await _once(client, call, quirks, peer, draft)
        except ModelFailure:
            raise
        except Exception as error:  # noqa: BLE001 -- everything that an SDK can raise gets a name here
            if draft.started or not _adapt(error, call, quirks):
                raise classify(error, anthropic, peer, started=draft.started) from None


async def _once(client: AsyncAnthropic, call: GatewayCall, quirks: Quirks, peer: Peer, draft: Draft) -> Answer:
    reader = _Reader(draft, schema_tool=_schema_form(call, quirks) == "tool")
    stream = await client.messages.create(**request_body(call, quirks, official=is_official(call.endpoint)))
    async with stream:
        kind = stream.response.headers.get("content-type", "")
        if kind.startswith("application/json"):
            return await _from_document(await stream.response.aread(), peer, draft, reader)
        if not kind.startswith("text/event-stream"):
            body = excerpt((await stream.response.aread()).decode("utf-8", "replace"), peer.secrets)
            raise BadAnswer(
                f"{peer.name} answered with {kind or 'no content type'} instead of a stream: {body}",
                cure="check the base_url of this provider",
            )
        async for event in stream:
            await reader.take(event)
    if draft.stop is None:
        raise StreamCut(f"{peer.name} ended its answer without saying why it stopped", cure="try again")
    return demand_json(draft.finish(), call, quirks, len(_SCHEMA_FORMS), peer)


# --- the request ------------------------------------------------------------------------------------------------


def request_body(call: GatewayCall, quirks: Quirks, *, official: bool) -> dict[str, Any]:
    """Give the SDK's arguments for `call`. `official`: Anthropic's own service, which caches prompts on request."""
    system = [message.text for message in call.messages if message.role is Role.SYSTEM and message.text]
    body: dict[str, Any] = {"model": call.endpoint.model, "max_tokens": call.max_tokens, "stream": True}
    if call.tools:
        body["tools"] = [_tool(tool) for tool in call.tools]
    if call.temperature_milli is not None and "temperature" not in quirks.without:
        # the SDK no longer has a parameter for it; many servers and models still take it
        body["extra_body"] = {"temperature": call.temperature_milli / 1000}
    if official and "cache_control" not in quirks.without:
        body["cache_control"] = {"type": "ephemeral"}
    if call.schema_json is not None:
        _demand_schema(body, system, json.loads(call.schema_json), _SCHEMA_FORMS[quirks.schema_form])
    if system:
        body["system"] = "\n\n".join(system)
    body["messages"] = _messages(call.messages)
    return body


def _messages(messages: tuple[ChatMessage, ...]) -> list[dict[str, Any]]:
    """Map a transcript: turns alternate, begin with the user, and are never empty.

    The results of one round of calls stand together at the beginning of the user turn that follows the calls.
    """
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role is Role.SYSTEM:
            continue
        role = "assistant" if message.role is Role.ASSISTANT else "user"
        blocks = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        elif blocks:
            turns.append({"role": role, "content": blocks})
    if not turns or turns[0]["role"] != "user":
        turns.insert(0, {"role": "user", "content": [{"type": "text", "text": "(the conversation begins)"}]})
    return turns


def _blocks(message: ChatMessage) -> list[dict[str, Any]]:
    if message.role is Role.TOOL:
        result_id = _BAD_ID.sub("_", message.tool_call_id or "")
        return [{"type": "tool_result", "tool_use_id": result_id, "content": message.text or "(no output)"}]
    blocks: list[dict[str, Any]] = [{"type": "text", "text": message.text}] if message.text.strip() else []
    return blocks + [
        {"type": "tool_use", "id": _BAD_ID.sub("_", c.id), "name": c.name, "input": _input(c.arguments_json)}
        for c in message.tool_calls
    ]


def _input(arguments_json: str) -> dict[str, Any]:
    """Give a call's arguments as the object that the protocol wants; broken ones travel as a string in one."""
    try:
        value = json.loads(arguments_json)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"arguments": arguments_json}


def _tool(tool: ToolDeclaration) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "input_schema": json.loads(tool.schema_json)}


def _demand_schema(body: dict[str, Any], system: list[str], schema: object, form: str) -> None:
    """Demand JSON of `schema`: as the output's format, as the input of the only tool, or in words."""
    if form == "output":
        body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    elif form == "tool":
        body["tools"] = [{"name": _ANSWER_TOOL, "description": "Give your answer.", "input_schema": schema}]
        body["tool_choice"] = {"type": "tool", "name": _ANSWER_TOOL}
    else:
        text = "Answer with one JSON object and nothing else. It must match this JSON Schema:\n" + json.dumps(schema)
        system.append(text)


def _schema_form(call: GatewayCall, quirks: Quirks) -> str:
    return "" if call.schema_json is None else _SCHEMA_FORMS[quirks.schema_form]


def _adapt(error: Exception, call: GatewayCall, quirks: Quirks) -> bool:
    """Learn from a refusal what to leave out; False when there is nothing (more) to learn."""
    if not isinstance(error, anthropic.APIStatusError) or error.status_code not in {400, 422, 500, 501}:
        return False
    said = f"{error.body} {error.message}".lower()
    for name in ("temperature", "cache_control"):
        if name in said and name not in quirks.without:
            quirks.without.add(name)
            return True
    names_schema = any(word in said for word in ("output_config", "output_format", "schema", "tool_choice"))
    if call.schema_json is not None and names_schema and quirks.schema_form < len(_SCHEMA_FORMS) - 1:
        quirks.schema_form += 1
        return True
    return False


# --- the answer -------------------------------------------------------------------------------------------------


class _Reader:
    """Reads stream events. Thinking is not shown and not kept."""

    def __init__(self, draft: Draft, *, schema_tool: bool) -> None:
        self._draft = draft
        self._schema_tool = schema_tool

    async def take(self, event: Any) -> None:  # noqa: ANN401 -- the SDK checks no types in a stream
        kind = getattr(event, "type", None)
        if kind == "message_start":
            self._usage(getattr(getattr(event, "message", None), "usage", None))
        elif kind == "content_block_start":
            await self.block(getattr(event, "index", None), getattr(event, "content_block", None))
        elif kind == "content_block_delta":
            await self._delta(getattr(event, "index", None), getattr(event, "delta", None))
        elif kind == "message_delta":
            self.stop(getattr(getattr(event, "delta", None), "stop_reason", None))
            self._usage(getattr(event, "usage", None))

    async def block(self, index: object, block: Any) -> None:  # noqa: ANN401 -- as above
        """Take a block's beginning, or a whole block of an answer that is not streamed."""
        kind = getattr(block, "type", None)
        if kind == "text":
            await self._draft.add_text(getattr(block, "text", None))
        elif kind == "tool_use":
            given = getattr(block, "input", None) or None
            if self._schema_tool:
                await self._draft.add_text(None if given is None else json.dumps(given, ensure_ascii=False))
                return
            self._draft.add_call(
                index, call_id=getattr(block, "id", None), name=getattr(block, "name", None), arguments=given
            )

    async def _delta(self, index: object, delta: Any) -> None:  # noqa: ANN401 -- as above
        kind = getattr(delta, "type", None)
        if kind == "text_delta":
            await self._draft.add_text(getattr(delta, "text", None))
        elif kind == "input_json_delta":
            piece = getattr(delta, "partial_json", None)
            if self._schema_tool:
                await self._draft.add_text(piece)
            else:
                self._draft.add_call(index, arguments=piece or None)

    def stop(self, reason: object) -> None:
        if isinstance(reason, str):
            stop = _STOPS.get(reason, StopReason.END)
            self._draft.stop = StopReason.END if self._schema_tool and stop is StopReason.TOOLS else stop

    def _usage(self, usage: Any) -> None:  # noqa: ANN401 -- as above
        """Read usage. The counts are cumulative: a later one replaces an earlier one, a missing one does not."""
        if usage is None:
            return
        known = self._draft.usage
        self._draft.usage = Usage(
            count(getattr(usage, "input_tokens", None)) or known.input_tokens,
            count(getattr(usage, "output_tokens", None)) or known.output_tokens,
            count(getattr(usage, "cache_read_input_tokens", None)) or known.cache_read_tokens,
            count(getattr(usage, "cache_creation_input_tokens", None)) or known.cache_write_tokens,
        )

    def usage(self, usage: Any) -> None:  # noqa: ANN401 -- as above
        self._usage(usage)


async def _from_document(data: bytes, peer: Peer, draft: Draft, reader: _Reader) -> Answer:
    """Read a whole answer from a server that does not stream."""
    try:
        document = anthropic.types.Message.construct(**json.loads(data))
        blocks = list(document.content)
        reader.usage(document.usage)
        reader.stop(document.stop_reason)
    except (ValueError, TypeError, AttributeError) as error:
        text = excerpt(data.decode("utf-8", "replace"), peer.secrets)
        raise BadAnswer(f"{peer.name} answered with JSON that is no answer: {text}", cure="try again") from error
    for index, block in enumerate(blocks):
        await reader.block(index, block)
    return draft.finish()
