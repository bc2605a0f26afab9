"""HTTP clients, one an endpoint, kept open between calls.

What is decided here, for every protocol: time limits, the bound on the SDK's own retries, no redirects (a redirect
would carry the key to another host), proxies for other machines only, and a bound on how much a server may send.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from localgpt.gateway.addresses import is_local, is_official, sdk_base_url, shown
from localgpt.gateway.failures import BadAnswer, KeyInClear, KeyRefused, Peer
from localgpt.gateway.quirks import Quirks
from localgpt.wire import Endpoint, Protocol

if TYPE_CHECKING:
    import httpx2
    from anthropic import AsyncAnthropic
    from openai import AsyncOpenAI

CONNECT_S: Final = 10.0
IDLE_READ_S: Final = 120.0
LOCAL_IDLE_READ_S: Final = 300.0  #: a local server may load a large model before its first byte
MAX_RETRIES: Final = 2  #: by the SDK, before the first byte of an answer; nobody else retries
MAX_RETRY_AFTER_S: Final = 20.0  #: a server that asks for a longer pause gets an error at once, which the user sees
MAX_RESPONSE_BYTES: Final = 64 * 1024 * 1024
_NO_KEY: Final = "none"  #: the SDKs insist on a key; servers without keys ignore it


class Clients:
    """SDK clients by endpoint. Not for use by more than one event loop."""

    def __init__(self, keys: dict[str, str]) -> None:
        self._keys = keys
        self._http: dict[tuple[str | None, bool], httpx2.AsyncClient] = {}
        self._sdk: dict[Endpoint, Any] = {}
        self._quirks: dict[tuple[str, str | None, str], Quirks] = {}

    def peer(self, endpoint: Endpoint) -> Peer:
        """Describe `endpoint` for error texts, with everything that must never appear in them."""
        secrets = (*self._keys.values(), *(value for _, value in endpoint.headers))
        return Peer(endpoint.provider, endpoint.model, shown(endpoint), secrets)

    def quirks(self, endpoint: Endpoint) -> Quirks:
        """Give what is known of this endpoint's server and model."""
        return self._quirks.setdefault((endpoint.base_url, endpoint.socket_path, endpoint.model), Quirks())

    def openai(self, endpoint: Endpoint) -> AsyncOpenAI:
        """Give the client for a server of the chat completions protocol. Raises `KeyRefused`, `KeyInClear`."""
        from openai import AsyncOpenAI  # noqa: PLC0415 -- costs half a second; imported in the background before

        return self._client(endpoint, AsyncOpenAI)  # type: ignore[no-any-return]

    def anthropic(self, endpoint: Endpoint) -> AsyncAnthropic:
        """Give the client for a server of the messages protocol. Raises `KeyRefused`, `KeyInClear`."""
        from anthropic import AsyncAnthropic  # noqa: PLC0415 -- costs a second; imported in the background before

        return self._client(endpoint, AsyncAnthropic)  # type: ignore[no-any-return]

    def _client(self, endpoint: Endpoint, kind: Any) -> Any:  # noqa: ANN401 -- either SDK's class and object
        client = self._sdk.get(endpoint)
        if client is None:
            client = self._sdk[endpoint] = kind(
                api_key=self._key(endpoint),
                base_url=sdk_base_url(endpoint),
                default_headers=self._headers(endpoint),
                http_client=self._shared_http(endpoint),
                max_retries=MAX_RETRIES,
                timeout=time_limits(endpoint),
            )
        return client

    def _headers(self, endpoint: Endpoint) -> dict[str, str]:
        """Give the configured headers. The SDK of Anthropic sends its key as a bearer token; other servers of that
        protocol may look for it where older versions put it."""
        headers = dict(endpoint.headers)
        if endpoint.protocol is Protocol.ANTHROPIC_MESSAGES and endpoint.key_id and not is_official(endpoint):
            headers.setdefault("x-api-key", self._key(endpoint))
        return headers

    def _key(self, endpoint: Endpoint) -> str:
        if not endpoint.key_id:
            return _NO_KEY
        key = self._keys.get(endpoint.key_id)
        if not key:
            raise KeyRefused(
                f"there is no key {endpoint.key_id!r} for {endpoint.provider}",
                cure="set it in the configuration or in the environment; localgpt config show tells what is set",
            )
        if not is_local(endpoint) and urlsplit(endpoint.base_url).scheme != "https":
            raise KeyInClear(
                f"the key for {endpoint.provider} would go unencrypted to {shown(endpoint)}",
                cure="use an https:// address, or remove the key if that server needs none",
            )
        return key

    def _shared_http(self, endpoint: Endpoint) -> httpx2.AsyncClient:
        """One connection pool a unix socket, one for this machine, one (with proxies) for all others."""
        import httpx2  # noqa: PLC0415 -- with the SDKs

        place = (endpoint.socket_path, is_local(endpoint))
        if place not in self._http:
            local = is_local(endpoint)
            self._http[place] = httpx2.AsyncClient(
                transport=httpx2.AsyncHTTPTransport(uds=endpoint.socket_path, verify=False) if local else None,
                trust_env=not local,
                follow_redirects=False,
                event_hooks={"response": [_bound_response]},
            )
        return self._http[place]

    async def close(self) -> None:
        """Close every connection."""
        for client in self._http.values():
            await client.aclose()


def time_limits(endpoint: Endpoint) -> httpx2.Timeout:
    """Give the limits of one call: to connect, and of silence while reading."""
    import httpx2  # noqa: PLC0415 -- with the SDKs

    read = LOCAL_IDLE_READ_S if is_local(endpoint) else IDLE_READ_S
    return httpx2.Timeout(read, connect=CONNECT_S, write=IDLE_READ_S, pool=CONNECT_S)


def protocol_client(clients: Clients, endpoint: Endpoint) -> AsyncOpenAI | AsyncAnthropic:
    """Give the client of the endpoint's protocol."""
    if endpoint.protocol is Protocol.ANTHROPIC_MESSAGES:
        return clients.anthropic(endpoint)
    return clients.openai(endpoint)


async def _bound_response(response: httpx2.Response) -> None:
    """Bound what a server can make an SDK do: wait for a retry, and read without end."""
    if _retry_after_s(response.headers) > MAX_RETRY_AFTER_S:
        response.headers["x-should-retry"] = "false"  # both SDKs obey this header
    response.stream = _bounded_stream(response.stream)


def _retry_after_s(headers: httpx2.Headers) -> float:
    """Read the pause that a server asks for; anything unreadable (also a date) counts as too long."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if (value := headers.get(name)) is not None:
            try:
                return float(value) * unit
            except ValueError:
                return MAX_RETRY_AFTER_S + 1
    return 0.0


def _bounded_stream(inner: Any) -> Any:  # noqa: ANN401 -- httpx2's stream, whose class cannot be named before its import
    import httpx2  # noqa: PLC0415 -- with the SDKs

    class Bounded(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for piece in inner:
                size += len(piece)
                if size > MAX_RESPONSE_BYTES:
                    raise BadAnswer(f"the server sent more than {MAX_RESPONSE_BYTES} bytes", cure="try again")
                yield piece

        async def aclose(self) -> None:
            await inner.aclose()

    return Bounded()
