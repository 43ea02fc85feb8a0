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
class Receipt:
    """What the catalogs of the database said after the act.

    ``superseded_by`` names the newer request that owns the role by now; then nothing was done and nothing else is filled in.
    ``unchecked`` holds a sentence for each thing that could not be looked at.
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
