"""How much longer access may last, and that an extension counts once."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.extensions import extended, judge_extension, seconds_to_extend
from chalicelib.domain.grants import Grant, GrantState, delivered
from tests.factories import FRIDAY_NOON, WRITER, a_grant, a_request, minutes, seconds
from tests.strategies import RULE

HOUR = 3600


def held(duration_seconds: int = 1800, **changes: Any) -> Grant:
    """Access that was delivered at noon."""
    grant = a_grant(a_request(duration_seconds=duration_seconds), **changes)
    return delivered(grant, instance_id="i-1", writer=WRITER, now=FRIDAY_NOON)


def refusal(grant: Grant, more_seconds: int, *, late: float = 0) -> str:
    """Why it may not be prolonged at some seconds past noon; empty when it may."""
    now = FRIDAY_NOON + seconds(late)
    refused = judge_extension(grant, seconds=more_seconds, cap_seconds=HOUR, now=now)
    return refused.reason if refused else ""


def test_the_cap_holds_for_the_whole_time_from_the_delivery() -> None:
    """Half an hour of an hour is used."""
    assert 1800 == seconds_to_extend(held(), cap_seconds=HOUR)
    assert "" == refusal(held(), 1800)
    assert "at most 30 minutes more: 1 hour in all" in refusal(held(), 1801)


def test_a_fraction_of_a_second_counts_as_a_whole_one() -> None:
    """Rounded down it would run over the cap."""
    grant = held(ends_at=FRIDAY_NOON + seconds(1799.4))

    assert 1800 == seconds_to_extend(grant, cap_seconds=HOUR)


@pytest.mark.parametrize(
    ("grant", "late", "reason"),
    [
        (a_grant(), 0, "is not ready yet"),
        (held(), 1800, "has ended"),
        (held(state=GrantState.ENDING), 0, "has ended"),
        (held(state=GrantState.GONE), 0, "has ended"),
        (held(duration_seconds=HOUR), 0, "has reached the most there is, 1 hour in all"),
    ],
)
def test_what_cannot_be_prolonged_at_all_says_why(grant: Grant, late: float, reason: str) -> None:
    """Not delivered yet, over, or as long as it may be."""
    assert reason in refusal(grant, 60, late=late)


@pytest.mark.parametrize("more_seconds", [0, -1, -1800])
def test_an_extension_never_shortens(more_seconds: int) -> None:
    """End Now is for that."""
    assert "at most 30 minutes more" in refusal(held(), more_seconds)


@RULE
@given(
    duration=st.integers(1, 3 * HOUR),
    cap=st.integers(1, 4 * HOUR),
    asked=st.lists(st.tuples(st.integers(-100, 3 * HOUR), st.integers(0, 1000)), max_size=6),
)
def test_all_extensions_together_never_pass_the_cap(duration: int, cap: int, asked: list[tuple[int, int]]) -> None:
    """However many, of whatever length and whenever they are asked for; and none moves the end earlier."""
    grant, late = held(duration), 0
    for number, (more_seconds, later) in enumerate(asked):
        late += later
        now = FRIDAY_NOON + seconds(late)
        if judge_extension(grant, seconds=more_seconds, cap_seconds=cap, now=now) is None:
            longer = extended(grant, extension_id=f"R-NUMBER{number}", seconds=more_seconds)
            assert longer.ends_at > grant.ends_at > now
            grant = longer

    assert grant.ends_at <= FRIDAY_NOON + seconds(max(cap, duration))


def test_an_extension_counts_once() -> None:
    """However often it is carried out."""
    once = extended(held(), extension_id="R-LONGER", seconds=600)

    assert FRIDAY_NOON + minutes(40) == once.ends_at
    assert once is extended(once, extension_id="R-LONGER", seconds=600)
    assert FRIDAY_NOON + minutes(50) == extended(once, extension_id="R-LNGER2", seconds=600).ends_at
