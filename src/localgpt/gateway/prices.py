"""What model calls cost, for models whose price is known.

A row's name matches that very model, also with a date behind it ("-20260101", "-2026-01-01", "-latest"); another suffix
is another model with a price of its own. Only the provider's own host is billed at these prices: a reseller's are
unknown. Unknown stays unknown (None): a wrong figure is worse than none.

Source: the providers' public price lists, read through genai-prices 0.2.3 (MIT).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from localgpt.gateway.addresses import is_local
from localgpt.wire import Endpoint, Usage

TABLE_DATE: Final = "2026-11-21"


class Price(NamedTuple):
    """Nano-dollars a token (US$ 3 a million tokens = 3000). `None` for a cache price: billed as input.

    `long_from`: beyond so many input tokens the whole call costs `long_in`/`long_out` percent of that.
    """

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None
    long_from: int | None = None
    long_in: int = 200
    long_out: int = 150


_HOSTS: Final = {"api.anthropic.com", "api.openai.com", "api.x.ai"}
_PRICES: Final[dict[str, Price]] = {
    "claude-3-5-haiku": Price(800, 4000, 80, 1000),
    "claude-3-7-sonnet": Price(3000, 15000, 300, 3750),
    "claude-fable-5": Price(10000, 50000, 1000, 12500),
    "claude-fable-5-1": Price(10000, 50000, 250, 12500),
    "claude-fable-5-2": Price(8000, 40000, 200, 10000),
    "claude-haiku-4-5": Price(1000, 5000, 100, 1250),
    "claude-haiku-5-5": Price(100, 500, 10, 125, 100_000, 500, 500),
    "claude-mythos-5-2": Price(8000, 40000, 200, 10000),
    "claude-opus-4": Price(15000, 75000, 1500, 18750),
    "claude-opus-4-0": Price(15000, 75000, 1500, 18750),
    "claude-opus-4-1": Price(15000, 75000, 1500, 18750),
    "claude-opus-4-5": Price(5000, 25000, 500, 6250),
    "claude-opus-4-6": Price(5000, 25000, 500, 6250),
    "claude-opus-4-7": Price(5000, 25000, 500, 6250),
    "claude-opus-4-8": Price(5000, 25000, 500, 6250),
    "claude-opus-5": Price(5000, 25000, 500, 6250),
    "claude-opus-5-5": Price(4000, 20000, 200, 5000),
    "claude-sonnet-4": Price(3000, 15000, 300, 3750),
    "claude-sonnet-4-0": Price(3000, 15000, 300, 3750),
    "claude-sonnet-4-5": Price(3000, 15000, 300, 3750, 200_000),
    "claude-sonnet-4-6": Price(3000, 15000, 300, 3750),
    "claude-sonnet-5": Price(2000, 10000, 200, 2500),
    "claude-sonnet-5-5": Price(2000, 10000, 100, 2500),
    "gpt-4.1": Price(2000, 8000, 500),
    "gpt-4.1-mini": Price(400, 1600, 100),
    "gpt-4.1-nano": Price(100, 400, 25),
    "gpt-4o": Price(2500, 10000, 1250),
    "gpt-4o-mini": Price(150, 600, 75),
    "gpt-5": Price(1250, 10000, 125),
    "gpt-5-mini": Price(250, 2000, 25),
    "gpt-5-nano": Price(50, 400, 5),
    "gpt-5.1": Price(1250, 10000, 125),
    "gpt-5.2": Price(1750, 14000, 175),
    "gpt-5.3": Price(1750, 14000, 175),
    "gpt-5.4": Price(2500, 15000, 250, None, 272_000),
    "gpt-5.4-mini": Price(750, 4500, 75),
    "gpt-5.4-nano": Price(200, 1250, 20),
    "gpt-5.5": Price(5000, 30000, 500, None, 272_000),
    "gpt-6-astra": Price(10000, 50000, 1000, 12500, 272_000),
    "gpt-6-luna": Price(100, 500, 10, 125, 272_000),
    "gpt-6-sol": Price(2000, 10000, 200, 2500, 272_000),
    "gpt-6.1-sol": Price(2000, 10000, 100, 2500, 272_000),
    "gpt-6.1-terra": Price(1000, 5000, 50, 1250, 272_000),
    "o1": Price(15000, 60000, 7500),
    "o3": Price(2000, 8000, 500),
    "o3-mini": Price(1100, 4400, 550),
    "o4-mini": Price(1100, 4400, 275),
    "grok-3": Price(3000, 15000, 750),
    "grok-3-mini": Price(300, 500, 75),
    "grok-4.3": Price(1250, 2500, 200, None, 200_000, 200, 200),
    "grok-4.5": Price(2000, 6000, 300, None, 200_000, 200, 200),
    "grok-4.6": Price(2000, 6000, 500, None, 200_000, 200, 200),
    "grok-4.7": Price(2000, 6000, 500, None, 200_000, 200, 200),
}
_DATED: Final = re.compile(r"-(latest|\d{8}|\d{4}-\d{2}-\d{2})$")


def price_of(model: str) -> Price | None:
    """Give the price of `model`, None when it is not in the table."""
    return _PRICES.get(model) or _PRICES.get(_DATED.sub("", model))


def cost_microusd(endpoint: Endpoint, usage: Usage) -> int | None:
    """Give what `usage` cost at `endpoint` in millionths of a US dollar, rounded up; None when no price is known."""
    if is_local(endpoint):
        return 0
    price = price_of(endpoint.model) if urlsplit(endpoint.base_url).hostname in _HOSTS else None
    counted = usage.input_tokens + usage.output_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    if price is None or not counted:
        return None
    cached = _or(price.cache_read, price.input) * usage.cache_read_tokens
    cached += _or(price.cache_write, price.input) * usage.cache_write_tokens
    total_in = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    long = price.long_from is not None and total_in > price.long_from
    cost = (price.input * usage.input_tokens + cached) * (price.long_in if long else 100)
    cost += price.output * usage.output_tokens * (price.long_out if long else 100)
    return -(-cost // 100_000)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
