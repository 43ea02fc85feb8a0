"""What an ask came to, for the person to read: it stands, they hold it already, or open requests stand in the way."""

from dataclasses import dataclass

from chalicelib.domain.grants import Grant
from chalicelib.domain.policy import PolicyOutcome
from chalicelib.domain.requests import AccessRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The request stands, under its id; ``policy`` says what happens next."""

    request: AccessRequest
    policy: PolicyOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyHeld:
    """The person holds this very access; nothing was extended."""

    grant: Grant


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyAsked:
    """The person's open requests stand in the way: the same ask, or too many of them."""

    request_ids: tuple[str, ...]
    is_same_ask: bool
