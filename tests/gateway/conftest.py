"""One gateway process for many tests: importing the SDKs is the slow part."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from localgpt.wire import Protocol, ProviderKey
from tests.gateway.conversation import Conversation, gateway

CANARY = "sk-canary-7f3a9c51e2d84b60"


@pytest.fixture(scope="package")
def talk() -> Iterator[Conversation]:
    """A running gateway that holds the key "k"."""
    with gateway([ProviderKey("k", CANARY)]) as running_gateway:
        yield running_gateway


@pytest.fixture(params=list(Protocol), ids=lambda protocol: protocol.value)
def protocol(request: pytest.FixtureRequest) -> Protocol:
    """Each of the protocols."""
    value = request.param
    assert isinstance(value, Protocol)
    return value
