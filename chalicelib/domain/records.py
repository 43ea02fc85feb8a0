"""What the ledger holds under one request: the request itself, its decisions, its cards and how it is woken."""

from dataclasses import dataclass, field
from datetime import datetime

from chalicelib.domain.cards import CardReference
from chalicelib.domain.decisions import DecisionRecord
from chalicelib.domain.endings import Outcome
from chalicelib.domain.requests import AccessRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledRequest:
    """What filing a request came to: it stands (new or repeated), or an open one is in its way, or there are too many."""

    request: AccessRequest | None = None
    is_new: bool = False
    standing_in_the_way: tuple[str, ...] = ()
    """Request ids: the one open for the same location and level, or all of the person's when there are too many."""
    is_same_ask: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """A request and everything recorded under it."""

    request: AccessRequest
    decisions: DecisionRecord | None = None
    approval_token: str | None = field(default=None, repr=False)
    hold_token: str | None = field(default=None, repr=False)
    end_asked_at: datetime | None = None
    approval_card: CardReference | None = None
    ready_card: CardReference | None = None
    outcome: Outcome | None = None
