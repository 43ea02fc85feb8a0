"""What the API says of a request, as a value. Anything that this client cannot read is an error, never a guess."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from drawbridge.errors import UnreadableAnswerError


class State(StrEnum):
    """Where a request stands."""

    WAITING = "waiting"
    PREPARING = "preparing"
    READY = "ready"
    ENDING = "ending"
    ENDED = "ended"


class Outcome(StrEnum):
    """How a request ended."""

    FINISHED = "finished"
    DENIED = "denied"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    """One request; ``answer`` is what the API said, of which a connection is made once it is ready."""

    request_id: str
    location: str
    level: str
    state: State
    outcome: Outcome | None
    explanation: str
    asked_at: datetime
    extends: str | None
    """The request whose access this one prolongs."""
    ends_at: datetime | None
    answer: Mapping[str, Any] = field(repr=False)

    @property
    def is_over(self) -> bool:
        """Whether nothing can be had from it any more."""
        return self.state in {State.ENDING, State.ENDED}


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelOffer:
    """What one may ask for of a location."""

    is_automatic: bool
    cap_seconds: int
    explanation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationOffer:
    """A location that one may ask for, by level."""

    name: str
    environment: str
    region: str
    database: str
    port: int
    levels: Mapping[str, LevelOffer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """Who one is to the API, and what one may ask for."""

    caller: str
    is_machine: bool
    locations: tuple[LocationOffer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Which rule holds for a level of a location."""

    location: str
    level: str
    outcome: str
    sentence: str
    approvers: tuple[str, ...]


def clock_time(request: AccessRequest) -> str:
    """When it ends, by the clock on the wall."""
    return f"{request.ends_at.astimezone():%H:%M}" if request.ends_at else "its end"


def read_request(answer: Mapping[str, Any]) -> AccessRequest:
    """Raises UnreadableAnswerError."""
    try:
        return AccessRequest(
            request_id=_one_line(answer["request_id"]),
            location=_one_line(answer["location"]),
            level=_one_line(answer["level"]),
            state=State(answer["state"]),
            outcome=Outcome(answer["outcome"]) if answer["outcome"] is not None else None,
            explanation=_one_line(answer["explanation"]),
            asked_at=_instant(answer["asked_at"]),
            extends=_one_line(answer["extends"]) if answer.get("extends") else None,
            ends_at=_instant(answer["ends_at"]) if answer["ends_at"] is not None else None,
            answer=answer,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable("a request") from error


def read_offers(answer: Mapping[str, Any]) -> Offers:
    """Raises UnreadableAnswerError."""
    try:
        caller = answer["caller"]
        return Offers(
            caller=_one_line(caller["name"]),
            is_machine=bool(caller["is_machine"]),
            locations=tuple(_location(each) for each in answer["locations"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unreadable("the locations") from error


def read_explanation(answer: Mapping[str, Any]) -> Explanation:
    """Raises UnreadableAnswerError."""
    try:
        given = answer["explanation"]
        return Explanation(
            location=_one_line(given["location"]),
            level=_one_line(given["level"]),
            outcome=_one_line(given["outcome"]),
            sentence=_one_line(given["sentence"]),
            approvers=tuple(_one_line(each) for each in given["approvers"]),
        )
    except (KeyError, TypeError) as error:
        raise _unreadable("an explanation") from error


def _location(answer: Mapping[str, Any]) -> LocationOffer:
    levels = {
        str(level): LevelOffer(
            is_automatic=bool(rule["is_automatic"]),
            cap_seconds=int(rule["cap_seconds"]),
            explanation=_one_line(rule["explanation"]),
        )
        for level, rule in answer["levels"].items()
    }
    texts = {name: _one_line(answer[name]) for name in ("name", "environment", "region", "database")}
    return LocationOffer(port=int(answer["port"]), levels=levels, **texts)


def _one_line(text: object) -> str:
    """Without what would move the cursor or colour a terminal: other people write reasons and names."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text)).strip()


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("an instant without its zone")
    return instant


def _unreadable(what: str) -> UnreadableAnswerError:
    return UnreadableAnswerError(
        f"Drawbridge's API answered {what} in a form that this client does not read. Update the client and try again."
    )
