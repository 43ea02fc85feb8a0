"""Slack's rate limits, by method and minute, for a stand-in that has none (Slack: Rate Limits, "Facts" of each method)."""

import math
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from local.slack.web import Request, Response

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
        self._counting = threading.Lock()
        self.pauses: Counter[str] = Counter()
        """How often a pause was asked for, by method."""
        self.longest_pause_seconds = 0

    def refuse(self, request: Request) -> Response | None:
        """What Slack answers when it does not take the call; None once it has counted one that it takes."""
        if request.area != "api" or not (pause := self.pause(request.name, request.arguments)):
            return None
        self.longest_pause_seconds = max(self.longest_pause_seconds, pause)
        content = {"ok": False, "error": "ratelimited"}
        return Response(content=content, status=HTTPStatus.TOO_MANY_REQUESTS, headers={"Retry-After": str(pause)})

    def pause(self, method: str, arguments: Mapping[str, Any]) -> int:
        """Take a call. Otherwise the whole seconds after which it would be taken; those that are not listed always are."""
        now, windows = self.clock(), list(_windows(method, arguments))
        with self._counting:
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
