"""Durations and times of day, as the configuration spells them."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION: Final = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?\Z", re.ASCII)
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\Z", re.ASCII)
MAX_DURATION_S: Final = 366 * 86_400


def parse_duration(text: str) -> int:
    """Read ``30s``, ``5m``, ``1h30m``, ``1d`` as seconds.

    Raises:
        ValueError: a bare number, zero, units out of order, or more than a year.
    """
    found = _DURATION.match(text)
    if not text or found is None:
        raise ValueError('a duration is written like "30s", "5m", "1h30m" or "1d"')
    seconds = sum(int(count or 0) * size for count, size in zip(found.groups(), _UNITS.values(), strict=True))
    if not 0 < seconds <= MAX_DURATION_S:
        raise ValueError("a duration is longer than zero and at most 366 days")
    return seconds


def parse_time_of_day(text: str) -> int:
    """Read ``HH:MM`` as minutes since midnight; ``24:00`` is the end of the day.

    Raises:
        ValueError: any other spelling.
    """
    if text == "24:00":
        return 24 * 60
    found = _TIME.match(text)
    if found is None:
        raise ValueError('a time of day is written "HH:MM", from "00:00" to "24:00"')
    return int(found.group(1)) * 60 + int(found.group(2))
