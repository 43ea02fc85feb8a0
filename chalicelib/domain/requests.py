"""An access request: what a person asked for, and how it is read from the words of a command."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from chalicelib import defaults
from chalicelib.domain.durations import describe_duration, find_duration
from chalicelib.domain.errors import InvalidCommandError
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel

USAGE = "/db-access LOCATION [r|w|o] [30m|2h|1h30m] [reason…]"

# No letter or digit that is read as another one: people type these.
_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID_LENGTH = 6
REQUEST_ID = re.compile(f"R-[{_ALPHABET}]{{{_ID_LENGTH}}}")
_LOOKS_LIKE_DURATION = re.compile(r"[+-]?\d+(?:[.,]\d+)?[a-z]*", re.IGNORECASE)


class Origin(StrEnum):
    """The kind of thing that a request comes from, each with a once-only id of its own."""

    SLACK = "slack"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    """A person asks for a level on a location, for some seconds, for a reason."""

    request_id: str
    person: Person
    location: str
    level: PermissionLevel
    duration_seconds: int
    reason: str
    asked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """The words of a command, read but not yet judged. No duration means the default one."""

    location: str
    level: PermissionLevel
    duration_seconds: int | None
    reason: str


def request_ids(origin: Origin, once_only_id: str) -> Iterator[str]:
    """The ids of a request, most preferred first; a later one serves only when an earlier one is another origin's.

    The same origin always gives the same ids, so a repeated delivery files nothing new.
    """
    for attempt in range(5):
        digest = hashlib.sha256(f"{origin}\n{once_only_id}\n{attempt}".encode()).digest()
        number = int.from_bytes(digest)
        letters = []
        for _ in range(_ID_LENGTH):
            number, index = divmod(number, len(_ALPHABET))
            letters.append(_ALPHABET[index])
        yield "R-" + "".join(letters)


def parse_ask(text: str) -> Ask:
    """Read ``LOCATION [level] [duration] [reason…]``; level and duration may stand in either order.

    Raises InvalidCommandError, with what to type instead, when there is no location, the text is too long or a word where a
    duration may stand starts like a number but is none.
    """
    if len(text) > defaults.COMMAND_LENGTH:
        raise InvalidCommandError(
            f"That is {len(text)} characters long; {defaults.COMMAND_LENGTH} is the most. Type {USAGE}"
        )
    words = text.split()
    if not words:
        raise InvalidCommandError(f"Which location? Type {USAGE}")
    location, *rest = words
    level: PermissionLevel | None = None
    seconds: int | None = None
    while rest:
        if level is None and (found := PermissionLevel.find_by_word(rest[0])) is not None:
            level = found
        elif seconds is None and (duration := find_duration(rest[0])) is not None:
            seconds = duration
        elif seconds is None and _LOOKS_LIKE_DURATION.fullmatch(rest[0]):
            raise InvalidCommandError(f"'{rest[0][:40]}' is no duration. Write it like 30m, 2h or 1h30m: {USAGE}")
        else:
            break
        rest.pop(0)
    return Ask(
        location=location,
        level=level or PermissionLevel(defaults.LEVEL),
        duration_seconds=seconds,
        reason=" ".join(rest)[: defaults.REASON_LENGTH],
    )


def describe_request(request: AccessRequest) -> str:
    """The request in one line of plain words, without the person."""
    return f"{request.level.word} access to {request.location} for {describe_duration(request.duration_seconds)}"
