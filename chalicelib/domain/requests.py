"""An access request: what a person asked for, in words not yet judged and as it is filed, and how it gets its id."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from chalicelib.domain.durations import describe_duration
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel

# No letter or digit that is read as another one: people type these.
_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID_LENGTH = 6
REQUEST_ID = re.compile(f"R-[{_ALPHABET}]{{{_ID_LENGTH}}}")
LOCAL_PORTS = range(1024, 65536)
"""What somebody without special rights may listen on."""
PROFILE = re.compile(r"[A-Za-z0-9._:/][A-Za-z0-9._:/@-]{0,127}")
"""The named AWS profile of a person, as it may stand in a shell line."""


class Origin(StrEnum):
    """The kind of thing that a request comes from, each with a once-only id of its own."""

    SLACK = "slack"
    API = "api"


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
    port: int | None = None
    """The local port that the person wants; None for the location's own."""
    profile: str = ""
    """The named AWS profile that goes into the delivered line; empty for none."""
    is_break_glass: bool = False
    """Taken at once, to be reviewed afterwards."""
    extends: str | None = None
    """The request whose access this one prolongs by ``duration_seconds``; None for access of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """The words of a command or a form, read but not yet judged. No duration means the default one.

    No port and no profile mean those that were given last; 0 and the empty text mean none.
    """

    location: str
    level: PermissionLevel
    duration_seconds: int | None
    reason: str
    environment: str | None = None
    region: str | None = None
    port: int | None = None
    profile: str | None = None
    is_break_glass: bool = False


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


def describe_request(request: AccessRequest) -> str:
    """The request in one line of plain words, without the person."""
    return f"{request.level.word} access to {request.location} for {describe_duration(request.duration_seconds)}"
