"""Hours, and who a rule admits."""

from datetime import UTC, datetime

import pytest
from hypothesis import given

from chalicelib.domain.locations import Hours
from tests.factories import a_rule
from tests.strategies import RULE, instants

OFFICE = "Mon-Fri 07:00-19:00 Europe/Berlin"


@pytest.mark.parametrize(
    ("moment", "is_within"),
    [
        (datetime(2026, 11, 20, 6, 0, tzinfo=UTC), True),
        (datetime(2026, 11, 20, 5, 59, 59, 999999, tzinfo=UTC), False),
        (datetime(2026, 11, 20, 17, 59, 59, tzinfo=UTC), True),
        (datetime(2026, 11, 20, 18, 0, tzinfo=UTC), False),
        (datetime(2026, 11, 21, 12, 0, tzinfo=UTC), False),
        (datetime(2026, 7, 17, 5, 0, tzinfo=UTC), True),
        (datetime(2026, 7, 17, 17, 0, tzinfo=UTC), False),
    ],
)
def test_hours_are_those_of_their_own_zone(moment: datetime, is_within: bool) -> None:
    """From the first minute to before the last, on the listed days, summer and winter."""
    assert is_within == Hours.parse(OFFICE).contain(moment)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("Mon-Fri 07:00-19:00 UTC", {0, 1, 2, 3, 4}),
        ("Sat 07:00-19:00 UTC", {5}),
        ("Sat-Mon 07:00-19:00 UTC", {5, 6, 0}),
    ],
)
def test_days_may_run_over_the_weekend(text: str, days: set[int]) -> None:
    """One day, or from one to another."""
    assert days == Hours.parse(text).days


@pytest.mark.parametrize(
    "text",
    [
        "",
        "always",
        "Mon-Fri",
        "Mon-Fri 07:00-19:00",
        "Mon-Fri 7-19 Europe/Berlin",
        "Mon-Fri 07:00-25:00 Europe/Berlin",
        "Mon-Fri 19:00-07:00 Europe/Berlin",
        "Mon-Fri 07:00-07:00 Europe/Berlin",
        "Mon-Fre 07:00-19:00 Europe/Berlin",
        "mon-fri 07:00-19:00 Europe/Berlin",
        "Mon-Fri 07:00-19:00 Europe/Atlantis",
        "Mon-Fri 07:00-19:00 ../../etc/passwd",
        "Mon-Fri 07:00-19:00 Europe",
    ],
)
def test_hours_that_cannot_be_read_are_refused_with_a_reason(text: str) -> None:
    """Never silently always or never."""
    with pytest.raises(ValueError, match=r"write it like|must start"):
        Hours.parse(text)


@RULE
@given(instants)
def test_hours_of_the_whole_week_hold_every_minute_but_the_last(moment: datetime) -> None:
    """No instant falls between two days."""
    hours = Hours.parse("Mon-Sun 00:00-23:59 America/St_Johns")
    there = moment.astimezone(hours.zone)

    assert ((there.hour, there.minute) != (23, 59)) == hours.contain(moment)


def test_everybody_is_admitted_by_a_star_and_nobody_by_an_empty_list() -> None:
    """The star is the one word that means all."""
    everybody, nobody, bob = (a_rule(who=frozenset(who)) for who in (["*"], [], ["bob"]))

    assert (True, False, True, False) == (
        everybody.admits("alice"),
        nobody.admits("alice"),
        bob.admits("bob"),
        bob.admits("alice"),
    )
