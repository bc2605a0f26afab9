"""What an endpoint's address says: whether it is this machine, and how its base URL is spelled."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from localgpt.wire import Endpoint, Protocol

_CHAT_PATH: Final = "/v1"
_MAKERS: Final = {Protocol.OPENAI_CHAT: "api.openai.com", Protocol.ANTHROPIC_MESSAGES: "api.anthropic.com"}


def is_local(endpoint: Endpoint) -> bool:
    """Whether nothing leaves this machine on the way to `endpoint`."""
    if endpoint.socket_path is not None:
        return True
    host = urlsplit(endpoint.base_url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_official(endpoint: Endpoint) -> bool:
    """Whether `endpoint` is the service of the company that made the protocol, over TLS."""
    parts = urlsplit(endpoint.base_url)
    return endpoint.socket_path is None and parts.scheme == "https" and parts.hostname == _MAKERS[endpoint.protocol]


def sdk_base_url(endpoint: Endpoint) -> str:
    """Spell the base URL as the protocol's SDK wants it.

    The OpenAI SDK appends ``/chat/completions`` and needs the version in the path; the Anthropic SDK appends
    ``/v1/messages`` itself. People write either with or without ``/v1``.
    """
    url = endpoint.base_url.rstrip("/")
    if endpoint.protocol is Protocol.ANTHROPIC_MESSAGES:
        return url.removesuffix(_CHAT_PATH)
    return url if urlsplit(url).path.strip("/") else url + _CHAT_PATH


def shown(endpoint: Endpoint) -> str:
    """Name the address for a person, without user names or passwords that a URL may carry."""
    if endpoint.socket_path is not None:
        return endpoint.socket_path
    parts = urlsplit(endpoint.base_url)
    host = parts.hostname or endpoint.base_url
    return f"{host}:{parts.port}" if parts.port else host
