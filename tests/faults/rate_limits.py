"""Slack's rate limits, by method and minute, in the time of one world (Slack: Rate Limits, "Facts" of each method)."""

import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_MINUTE = 60.0
_TIER_2, _TIER_3, _TIER_4 = 20, 50, 100
A_MINUTE = {
    "chat.postMessage": 300,
    "chat.update": _TIER_3,
    "usergroups.users.list": _TIER_2,
    "users.info": _TIER_4,
    "views.open": _TIER_4,
    "views.publish": _TIER_4,
    "views.push": _TIER_4,
    "views.update": _TIER_4,
}
"""Calls of a method that a workspace takes: at least these, says Slack, and short bursts; of messages several hundred."""


class RateLimits:
    """Takes so many calls of each method in any minute, and in each channel one message a second."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._taken: defaultdict[object, deque[float]] = defaultdict(deque)
        self.pauses: Counter[str] = Counter()
        """How often a pause was asked for, by method."""

    def pause(self, method: str, arguments: Mapping[str, Any]) -> int:
        """Take a call. Otherwise the whole seconds after which it would be taken; those that are not listed always are."""
        now, windows = self.clock(), list(_windows(method, arguments))
        wait = max((self._wait(now, *window) for window in windows), default=0.0)
        if wait > 0:
            self.pauses[method] += 1
            return math.ceil(wait)
        for key, _, _ in windows:
            self._taken[key].append(now)
        return 0

    def _wait(self, now: float, key: object, most: int, seconds: float) -> float:
        taken = self._taken[key]
        while taken and taken[0] <= now - seconds:
            taken.popleft()
        return taken[0] + seconds - now if len(taken) >= most else 0.0


def _windows(method: str, arguments: Mapping[str, Any]) -> Iterator[tuple[object, int, float]]:
    """What a call counts for, how many of it there may be, and in how many seconds."""
    if method in A_MINUTE:
        yield method, A_MINUTE[method], _MINUTE
    if method == "chat.postMessage":
        yield arguments["channel"], 1, 1.0
