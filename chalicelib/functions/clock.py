"""The clock of the deployed functions, and the one place where a process that runs them may put another time under them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(slots=True)
class Clock:
    """How the time is read, and how it is let pass."""

    read: Callable[[], datetime] = lambda: datetime.now(UTC)
    pause: Callable[[float], object] = time.sleep  # noqa: TID251 - between bounded tries


clock = Clock()
"""This machine's time, unless whoever runs the functions says otherwise."""


def now() -> datetime:
    """This instant, in UTC."""
    return clock.read()


def pause(seconds: float) -> None:
    """Let so much time pass."""
    clock.pause(seconds)
