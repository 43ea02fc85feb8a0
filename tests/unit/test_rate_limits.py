"""Slack's limits as the crowd meets them."""

import pytest

from tests.rate_limits import A_MINUTE, RateLimits

HERE, THERE = {"channel": "C0APPROVALS"}, {"channel": "C0OTHER"}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("method", sorted(set(A_MINUTE) - {"chat.postMessage"}))
def test_a_minute_takes_so_many_of_a_method_and_the_next_as_many_again(method: str) -> None:
    """What is too much is told how long to wait, and is welcome then."""
    clock = Clock()
    limits = RateLimits(clock)
    first = {limits.pause(method, {}) for _ in range(A_MINUTE[method])}
    clock.now = 20.5
    too_much = limits.pause(method, {})
    clock.now += too_much

    assert ({0}, 40, 0) == (first, too_much, limits.pause(method, {}))
    assert {method: 1} == limits.pauses


def test_a_channel_takes_a_message_a_second() -> None:
    """Others are another matter."""
    limits = RateLimits(Clock())

    assert [0, 1, 0] == [limits.pause("chat.postMessage", channel) for channel in (HERE, HERE, THERE)]


def test_all_channels_together_take_several_hundred_messages_a_minute() -> None:
    """However few each of them gets."""
    limits = RateLimits(Clock())
    pauses = [limits.pause("chat.postMessage", {"channel": f"D{number}"}) for number in range(301)]

    assert ([0] * 300, 60) == (pauses[:-1], pauses[-1])


def test_what_is_too_much_does_not_count() -> None:
    """Slack counts what it takes, so whoever waits as told is taken."""
    clock = Clock()
    limits = RateLimits(clock)
    for _ in range(200):
        limits.pause("chat.update", {})
    clock.now = 60.0

    assert 0 == limits.pause("chat.update", {})


def test_methods_without_a_limit_that_is_listed_are_taken() -> None:
    """The limits are those of what the product calls often."""
    limits = RateLimits(Clock())

    assert {0} == {limits.pause("auth.test", {}) for _ in range(1000)}
