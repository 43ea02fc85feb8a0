"""Slack and Session Manager for one world: in its time, the same in every run, and Slack's calls past the gate."""

import json
import socket
from collections.abc import Callable
from itertools import count
from typing import Any, Self

from local.slack.api import SlackStandIn
from local.slack.web import Request, Response
from local.ssm.server import SessionManager
from tests.faults.gate import Call, Fault, Killed, NoAnswer, Refused
from tests.rate_limits import RateLimits

PAUSE_SECONDS = 30
"""What Slack asks for where it is planned that it does: longer than a function may wait."""


class Sessions(SessionManager):
    """Session Manager without its data channels: nobody's bytes go through, and what is overdue ends when it is looked at."""

    def start(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        return self

    def stop(self, *_: object) -> None:
        self._listener.close()

    __enter__ = start
    __exit__ = stop

    def handle(self, operation: str, request: Any, access_key_id: str) -> Any:
        self._end_overdue()
        return super().handle(operation, request, access_key_id)


class Slack(SlackStandIn):
    """Slack whose calls pass the gate, and whose ids and times are the same in every run."""

    limits: RateLimits | None = None
    """Without them it takes whatever comes."""
    through: Callable[[Call, Callable[[], Any]], Any] = staticmethod(lambda call, effect: effect())

    def forget(self) -> None:
        """Begin anew: nothing was said, nothing is open."""
        for held in (self._messages, self._views, self._homes, self._hooks, self._triggers, self._entered, self._read):
            held.clear()  # type: ignore[attr-defined]  # each is a dictionary
        self.calls.clear()
        self.requests.clear()
        self._numbers = count(1)

    def look(self, channel: str) -> list[dict[str, Any]]:
        """The messages that everybody in a channel sees, themselves and no copies."""
        return [message for message in self._messages[channel] if "only_for" not in message]

    def _new_ts(self) -> str:
        return f"{1_900_000_000 + next(self._numbers)}.000000"

    def _new_trigger(self, user: str, place: str = "", source: Any = None) -> Any:
        given = super()._new_trigger(user, place, source)
        trigger = f"trigger.{next(self._numbers)}"
        self._triggers[trigger] = self._triggers.pop(given["trigger_id"])
        return given | {"trigger_id": trigger}

    def receive(self, request: Request) -> Response:
        if request.area not in {"api", "hooks"}:
            return super().receive(request)
        name = "response_url" if request.area == "hooks" else request.name
        key = (name, json.dumps(request.arguments, sort_keys=True, default=str))
        cut_off = Response(content={}, headers={"Content-Length": "999"})
        try:
            answer: Response = self.through(
                Call(kind="slack", name=name, function="", key=key), lambda: self._take(request)
            )
        except Refused as refusal:
            is_throttled = refusal.fault is Fault.THROTTLED
            error = "ratelimited" if is_throttled else "internal_error"
            headers = {"Retry-After": str(PAUSE_SECONDS)} if is_throttled else {}
            return Response(content={"ok": False, "error": error}, status=429 if is_throttled else 500, headers=headers)
        except NoAnswer as silence:
            if silence.is_reset:
                raise ConnectionAbortedError from None
            return cut_off
        except Killed:
            return cut_off
        return answer

    def _take(self, request: Request) -> Response:
        refusal = self.limits.refuse(request) if self.limits else None
        return refusal or super().receive(request)
