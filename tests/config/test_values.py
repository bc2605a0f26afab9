"""Durations and times of day."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localgpt.cli.config import duration
from localgpt.config.values import MAX_DURATION_S, parse_duration, parse_time_of_day


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("1h", 3600), ("1h30m", 5400), ("1d", 86_400), ("1d2h3m4s", 93_784)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "0s", "0h0m", "1m1h", "-5m", "5 m", "5M", "1.5h", "٣m", "5m\n", "9" * 9 + "d", "1w"]
)
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="a duration"):
        parse_duration(text)


@given(st.integers(1, MAX_DURATION_S))
def test_printing_a_duration_and_reading_it_is_identity(seconds):
    assert parse_duration(duration(seconds)) == seconds


@pytest.mark.parametrize(("text", "minutes"), [("00:00", 0), ("09:30", 570), ("23:59", 1439), ("24:00", 1440)])
def test_times(text, minutes):
    assert parse_time_of_day(text) == minutes


@pytest.mark.parametrize("text", ["", "9:00", "24:01", "12:60", "12.30", "12:30 ", "１２:30"])
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match="a time of day"):
        parse_time_of_day(text)
