"""The clock of the functions: this machine's, unless whoever runs them puts another time under them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from chalicelib.functions import clock as clocks

THEN = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def own_clock() -> Iterator[clocks.Clock]:
    """Afterwards it is this machine's again."""
    before = clocks.Clock(read=clocks.clock.read, pause=clocks.clock.pause)
    yield clocks.clock
    clocks.clock.read, clocks.clock.pause = before.read, before.pause


def test_the_time_is_this_machines_in_utc() -> None:
    """Nobody has to set anything."""
    late = abs(clocks.now() - datetime.now(UTC))

    assert UTC == clocks.now().tzinfo
    assert late < timedelta(minutes=1)


def test_another_time_can_be_put_under_the_functions(own_clock: clocks.Clock) -> None:
    """Whoever runs them in a time of their own reads it and lets it pass."""
    paused = list[float]()
    own_clock.read, own_clock.pause = lambda: THEN, paused.append

    clocks.pause(3.0)

    assert (THEN, [3.0]) == (clocks.now(), paused)
