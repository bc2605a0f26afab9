"""The chat completions protocol, as OpenAI, Ollama, LM Studio, llama-server and many others speak it.

Those servers differ in what they accept. The first request to one asks for everything; when it refuses a field, the
field is left out, remembered, and the request sent again.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import json
from typing import Any, Final

import openai
from openai import AsyncOpenAI

from localgpt.gateway.addresses import is_official
from localgpt.gateway.answer import Answer, Draft, count, demand_json
from localgpt.gateway.failures import BadAnswer, ModelFailure, Peer, StreamCut, classify, excerpt
from localgpt.gateway.quirks import Quirks
from localgpt.wire import ChatMessage, GatewayCall, Role, StopReason, ToolDeclaration, Usage

_STOPS: Final = {
    "stop": StopReason.END,
    "tool_calls": StopReason.TOOLS,
    "function_call": StopReason.TOOLS,
    "length": StopReason.LENGTH,
    "content_filter": StopReason.REFUSED,
}
_SCHEMA_FORMS: Final = ("strict", "loose", "object", "words")


async def converse(client: AsyncOpenAI, call: GatewayCall, quirks: Quirks, peer: Peer, draft: Draft) -> Answer:
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
                raise classify(error, openai, peer, started=draft.started) from None


async def _once(client: AsyncOpenAI, call: GatewayCall, quirks: Quirks, peer: Peer, draft: Draft) -> Answer:
    stream = await client.chat.completions.create(**request_body(call, quirks, official=is_official(call.endpoint)))
    async with stream:
        kind = stream.response.headers.get("content-type", "")
        if kind.startswith("application/json"):
            return await _from_document(await stream.response.aread(), peer, draft)
        if not kind.startswith("text/event-stream"):
            body = excerpt((await stream.response.aread()).decode("utf-8", "replace"), peer.secrets)
            raise BadAnswer(
                f"{peer.name} answered with {kind or 'no content type'} instead of a stream: {body}",
                cure="check the base_url of this provider: it usually ends in /v1",
            )
        async for chunk in stream:
            await _take_chunk(chunk, draft)
    if draft.stop is None:
        raise StreamCut(f"{peer.name} ended its answer without saying why it stopped", cure="try again")
    return demand_json(draft.finish(), call, quirks, len(_SCHEMA_FORMS), peer)


# --- the request ------------------------------------------------------------------------------------------------


def request_body(call: GatewayCall, quirks: Quirks, *, official: bool) -> dict[str, Any]:
    """Give the SDK's arguments for `call`. `official`: OpenAI's own service, which renamed ``max_tokens``."""
    messages = [_message(message) for message in call.messages]
    body: dict[str, Any] = {"model": call.endpoint.model, "stream": True}
    swapped = "max_tokens" in quirks.without
    body["max_completion_tokens" if official != swapped else "max_tokens"] = call.max_tokens
    if "stream_options" not in quirks.without:
        body["stream_options"] = {"include_usage": True}
    if call.temperature_milli is not None and "temperature" not in quirks.without:
        body["temperature"] = call.temperature_milli / 1000
    if call.tools:
        body["tools"] = [_tool(tool) for tool in call.tools]
    if call.schema_json is not None:
        _demand_schema(body, messages, json.loads(call.schema_json), _SCHEMA_FORMS[quirks.schema_form])
    body["messages"] = messages
    return body


def _message(message: ChatMessage) -> dict[str, Any]:
    """Map one entry. `content` is always there: some servers fail on a call without it."""
    if message.role is Role.TOOL:
        return {"role": "tool", "tool_call_id": message.tool_call_id or "", "content": message.text}
    entry: dict[str, Any] = {"role": message.role.value, "content": message.text}
    if message.tool_calls:
        entry["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": _sound(c.arguments_json)}}
            for c in message.tool_calls
        ]
    return entry


def _sound(arguments_json: str) -> str:
    """Give arguments that a server's chat template can parse: broken ones travel as a string in an object."""
    try:
        value = json.loads(arguments_json)
    except ValueError:
        value = None
    return arguments_json if isinstance(value, dict) else json.dumps({"arguments": arguments_json})


def _tool(tool: ToolDeclaration) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": json.loads(tool.schema_json)}
    return {"type": "function", "function": function}


def _demand_schema(body: dict[str, Any], messages: list[dict[str, Any]], schema: object, form: str) -> None:
    """Demand JSON of `schema` in one of the ways that servers know, from the firmest to mere words."""
    if form in {"strict", "loose"}:
        wrapped = {"name": "answer", "schema": schema, "strict": form == "strict"}
        body["response_format"] = {"type": "json_schema", "json_schema": wrapped}
        return
    if form == "object":
        body["response_format"] = {"type": "json_object", "schema": schema}
    text = "Answer with one JSON object and nothing else. It must match this JSON Schema:\n" + json.dumps(schema)
    messages.append({"role": "system", "content": text})


def _adapt(error: Exception, call: GatewayCall, quirks: Quirks) -> bool:
    """Learn from a refusal what to leave out; False when there is nothing (more) to learn."""
    if not isinstance(error, openai.APIStatusError) or error.status_code not in {400, 422, 500, 501}:
        return False
    said = f"{error.body} {error.message}".lower()
    if "max_tokens" in said and "max_completion_tokens" in said and "max_tokens" not in quirks.without:
        quirks.without.add("max_tokens")
        return True
    for name in ("stream_options", "temperature"):
        if name in said and name not in quirks.without:
            quirks.without.add(name)
            return True
    names_schema = any(
        word in said for word in ("response_format", "json_schema", "schema", "literal_error", "grammar")
    )
    if call.schema_json is not None and names_schema and quirks.schema_form < len(_SCHEMA_FORMS) - 1:
        quirks.schema_form += 1
        return True
    return False


# --- the answer -------------------------------------------------------------------------------------------------


async def _take_chunk(chunk: Any, draft: Draft) -> None:  # noqa: ANN401 -- the SDK checks no types in a stream
    _take_usage(getattr(chunk, "usage", None), draft)
    choices = getattr(chunk, "choices", None)
    for choice in choices[:1] if isinstance(choices, list) else ():
        delta = getattr(choice, "delta", None)
        await draft.add_text(getattr(delta, "content", None))
        await draft.add_text(getattr(delta, "refusal", None))
        _take_calls(getattr(delta, "tool_calls", None), draft)
        _take_stop(getattr(choice, "finish_reason", None), draft)


def _take_calls(calls: object, draft: Draft) -> None:
    for number, piece in enumerate(calls if isinstance(calls, list) else ()):
        index = getattr(piece, "index", None)
        function = getattr(piece, "function", None)
        draft.add_call(
            number if index is None else index,
            call_id=getattr(piece, "id", None),
            name=getattr(function, "name", None),
            arguments=getattr(function, "arguments", None),
        )


def _take_stop(reason: object, draft: Draft) -> None:
    if isinstance(reason, str) and reason:
        draft.stop = _STOPS.get(reason, StopReason.END)


def _take_usage(usage: Any, draft: Draft) -> None:  # noqa: ANN401 -- as above
    """Read usage; the prompt's count includes what came from the cache, ours does not."""
    if usage is None:
        return
    details = getattr(usage, "prompt_tokens_details", None)
    read, written = count(getattr(details, "cached_tokens", 0)), count(getattr(details, "cache_write_tokens", 0))
    fresh = max(0, count(getattr(usage, "prompt_tokens", 0)) - read - written)
    draft.usage = Usage(fresh, count(getattr(usage, "completion_tokens", 0)), read, written)


async def _from_document(data: bytes, peer: Peer, draft: Draft) -> Answer:
    """Read a whole answer from a server that does not stream."""
    try:
        body = json.loads(data)
        document = openai.types.chat.ChatCompletion.construct(**body)
        message = document.choices[0].message
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        text = excerpt(data.decode("utf-8", "replace"), peer.secrets)
        raise BadAnswer(f"{peer.name} answered with JSON that is no answer: {text}", cure="try again") from error
    _take_usage(getattr(document, "usage", None), draft)
    await draft.add_text(message.content)
    _take_calls(message.tool_calls, draft)
    _take_stop(document.choices[0].finish_reason, draft)
    return draft.finish()
