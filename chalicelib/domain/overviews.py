"""What a person is shown of Drawbridge: what waits for them, what they hold, what they may ask for, and what has ended."""

from dataclasses import dataclass
from datetime import datetime

from chalicelib.domain.endings import Outcome
from chalicelib.domain.grants import Grant
from chalicelib.domain.locations import Location
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.policy import PolicyOutcome
from chalicelib.domain.records import RequestRecord
from chalicelib.domain.requests import AccessRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ToDecide:
    """A request that waits for somebody's decision, and where it asks for access."""

    record: RequestRecord
    location: Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Access that somebody holds: delivered, and not ended yet."""

    record: RequestRecord
    grant: Grant


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A location, with what policy says today about each of its levels that the person may ask for."""

    location: Location
    levels: dict[PermissionLevel, PolicyOutcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRequest:
    """A request that is over. ``granted_at`` is None when nothing was granted."""

    request: AccessRequest
    outcome: Outcome
    ended_at: datetime
    granted_at: datetime | None = None
    bastion: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything on one person's Home, as read at one moment. Newest first."""

    to_decide: tuple[ToDecide, ...]
    to_review: tuple[RequestRecord, ...]
    asked: tuple[RequestRecord, ...]
    """Their own that wait or are being prepared."""
    held: tuple[Held, ...]
    offers: tuple[Offer, ...]
    ended: tuple[EndedRequest, ...]
    read_at: datetime
