"""Lengths of time as people write and read them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.durations import describe_duration, duration_choices, find_duration, shorter_choices
from tests.strategies import RULE


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30m", 1800),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1d", 86_400),
        ("90s", 90),
        ("1D2H3M4S", 93_784),
        ("", None),
        ("0h", None),
        ("0d0h0m0s", None),
        ("30", None),
        ("30m1h", None),
        ("1.5h", None),
        ("-2h", None),
        ("2 h", None),
        ("2h ", None),
        ("2h\n", None),
        ("99999999h", None),
        ("soon", None),
    ],
)
def test_a_duration_is_read_as_people_write_it(text: str, seconds: int | None) -> None:
    """Days, hours, minutes and seconds in that order; anything else, and nothing at all, is no duration."""
    assert seconds == find_duration(text)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (5400, "1 hour 30 minutes"),
        (86_400, "1 day"),
        (93_784, "1 day 2 hours 3 minutes 4 seconds"),
    ],
)
def test_a_duration_is_described_exactly(seconds: int, words: str) -> None:
    """Nothing is rounded: people plan by it."""
    assert words == describe_duration(seconds)


@RULE
@given(st.integers(1, 9999 * 86_400))
def test_what_is_described_can_be_typed_again(seconds: int) -> None:
    """The words, cut down to their letters, are the same duration."""
    typed = re.sub(r" ([a-z])\w*", r"\1", describe_duration(seconds)).replace(" ", "")

    assert seconds == find_duration(typed)


@RULE
@given(st.text())
def test_no_text_upsets_the_reading(text: str) -> None:
    """Whatever a person types is a positive number of seconds or no duration."""
    seconds = find_duration(text)

    assert seconds is None or seconds > 0


@RULE
@given(st.integers(1, 86_400))
def test_choices_are_within_what_they_are_bounded_by(seconds: int) -> None:
    """Never more than the most, never as much as was asked where less is meant, and always something to choose."""
    assert duration_choices(seconds)
    assert max(duration_choices(seconds)) <= seconds
    assert all(step < seconds for step in shorter_choices(seconds))
