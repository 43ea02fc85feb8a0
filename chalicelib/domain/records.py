"""What the ledger holds under one request: the request itself, its decisions, its cards and how it is woken."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from chalicelib.domain.cards import CardReference
from chalicelib.domain.decisions import DecisionRecord, approved_request
from chalicelib.domain.endings import Outcome
from chalicelib.domain.grants import Grant, grant_key
from chalicelib.domain.requests import AccessRequest
from chalicelib.domain.reviews import ReviewRecord

CardName = Literal["approval", "asked", "ready", "soon", "review"]


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
    review: ReviewRecord | None = None
    review_token: str | None = field(default=None, repr=False)
    asked_card: CardReference | None = None
    """The direct message in which the requester follows their request."""
    approval_card: CardReference | None = None
    ready_card: CardReference | None = None
    soon_card: CardReference | None = None
    """The message that the access ends soon."""
    review_card: CardReference | None = None
    told_end: datetime | None = None
    """The end that the holder was told last."""
    warned_end: datetime | None = None
    """The end that the holder was warned of."""
    told_instance: str | None = None
    """The bastion instance that the holder was told last."""
    tell_tried_at: datetime | None = None
    """When telling the holder something was tried last; None when nothing is left to tell."""
    outcome: Outcome | None = None
    is_reported: bool = False
    """Were people told the outcome?"""

    @property
    def grant_key(self) -> str:
        """The identity of the grant that this request may have."""
        return grant_key(self.request.location, self.request.person, self.approved.level)

    def knows_the_way(self, grant: Grant) -> bool:
        """Is the instance that the grant names the one that the holder was told? Who was told none is told with the end."""
        return self.told_instance in {None, grant.instance_id}

    @property
    def approved(self) -> AccessRequest:
        """The request on the terms that were approved; as asked while nobody has said otherwise."""
        return approved_request(self.request, self.decisions)
