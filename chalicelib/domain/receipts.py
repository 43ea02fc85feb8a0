"""A receipt: what was read back after revocation. It states facts, never intentions."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptObject:
    """Something a person made that was handed over to the powerless attic of their location."""

    database: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Strangers:
    """Users of people whose grants the ledger does not know, as a copy of a database brings them along.

    ``parked`` are the names of those who may not log in any more and hold nothing; ``failures`` holds a sentence for
    each other one.
    """

    parked: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the catalogs of the database said after the act.

    ``superseded_by`` names the newer request that owns the role by now; then nothing was done and nothing else is filled in.
    ``unchecked`` holds a sentence for each thing that could not be looked at, ``parked_strangers`` the names of users whom
    nobody's grant explained and whose access was ended on this occasion.
    """

    role: str
    read_at: datetime
    sessions: int = 0
    can_log_in: bool = False
    is_dropped: bool = False
    memberships: tuple[str, ...] = ()
    kept: tuple[KeptObject, ...] = ()
    unchecked: tuple[str, ...] = ()
    superseded_by: str | None = None
    parked_strangers: tuple[str, ...] = ()

    @property
    def proves_end(self) -> bool:
        """Nobody can use the role any more: no session, no login, no membership."""
        return self.superseded_by is not None or not (self.sessions or self.can_log_in or self.memberships)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedTunnels:
    """The tunnels of one grant after its end: ended, kept because another live grant covers them, or nobody's for sure."""

    ended: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    unattributed: tuple[str, ...] = ()
