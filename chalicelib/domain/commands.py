"""What ``/db-access`` can be told to do, as values. Says nothing about who may do what or which locations exist."""

from dataclasses import dataclass
from typing import TypeAlias

from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.requests import Ask

COMMAND = "/db-access"
USAGE = f"{COMMAND} LOCATION [r|w|o] [30m|2h|1h30m] [reason…]"
EVERY_ACCESS = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenForm:
    """Nothing was typed: ask by form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowLocations:
    """Which locations there are, and what the person may ask for there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowMine:
    """What the person has asked for and holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowHelp:
    """How commands are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowHistory:
    """What the person had, and how it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowCost:
    """What the month has cost so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowToken:
    """A fresh token; without an id for the only access there is."""

    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendAccess:
    """A later end; without an id for the only access there is, without a length by the usual one."""

    request_id: str | None = None
    seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndAccess:
    """An end now: of one access, of the only one there is, or of ``EVERY_ACCESS``."""

    request_ids: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequest:
    """A request withdrawn; without an id the only one that waits."""

    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainLevel:
    """Which rule holds for a level of a location; without a level for each."""

    location: str
    level: PermissionLevel | None = None


Command: TypeAlias = (
    OpenForm
    | ShowLocations
    | ShowMine
    | ShowHelp
    | ShowHistory
    | ShowCost
    | ShowToken
    | ExtendAccess
    | EndAccess
    | CancelRequest
    | ExplainLevel
    | Ask
)
