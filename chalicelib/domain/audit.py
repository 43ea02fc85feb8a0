"""The audit trail: entries chained by their hashes, and what is wrong with a chain. Pure.

A trail belongs to a request, or to a bastion or a person where there is no request. Each entry is announced by a line in a
log that nobody who writes entries can change, then written, then confirmed by a second line (docs/adr/0014).
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class AuditEvent(StrEnum):
    """Everything that is written down."""

    ASKED = "asked"
    REFUSED = "refused"
    DECIDED = "decided"
    """One person's yes or no."""
    APPROVAL_CLOSED = "approval closed"
    GRANTED = "granted"
    DELIVERED = "delivered"
    TOKEN_MADE = "token made"  # noqa: S105  the name of an event
    TOKEN_REFUSED = "token refused"  # noqa: S105  the name of an event
    EXTENDED = "extended"
    END_ASKED = "end asked"
    """By the holder, or for one who may hold nothing any more; then a repair says so."""
    ENDING = "ending"
    TUNNELS_CLOSED = "tunnels closed"
    RECEIPT = "receipt"
    ENDED = "ended"
    REVIEW_OPENED = "review opened"
    REVIEWED = "reviewed"
    REPAIRED = "repaired"
    """Reconciliation saw to something that the request's own execution did not."""
    TUNNEL_ENDED = "tunnel ended"
    """A repair: no grant explained the tunnel. Written right before it is ended."""
    BASTION_REPAIRED = "bastion repaired"
    """A repair: people worked through a bastion that was gone, stopped or not connected. Written right before the act."""
    BASTION_REPLACED = "bastion replaced"
    """A repair: the grant's tunnels lead through another instance from now on."""
    INSTANCE_ENDED = "instance ended"
    """A repair: no bastion named the instance. Written right before it is ended."""
    LEASE_EXPIRED = "lease expired"
    """A repair: nobody gave the lease up in time, because the request's execution died or a warm-up was never used."""


GIVING = frozenset(
    {
        AuditEvent.ASKED,
        AuditEvent.DECIDED,
        AuditEvent.APPROVAL_CLOSED,
        AuditEvent.GRANTED,
        AuditEvent.DELIVERED,
        AuditEvent.TOKEN_MADE,
    }
)
"""What leads to access fails when it cannot be announced. Everything else has happened already or takes access away, and is
written without."""


class LineKind(StrEnum):
    """What a line in the log says of an entry."""

    ANNOUNCED = "announced"
    WRITTEN = "written"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One entry. ``content`` is everything that its hash covers beside its place: event, at, facts, previous."""

    trail: str
    number: int
    """From 1 on; 0 where the ledger holds something whose place is no number."""
    content: Mapping[str, Any]
    hash: str

    @property
    def is_unannounced(self) -> bool:
        """Does the entry say of itself that the log did not answer when it was written?"""
        return self.content.get("unannounced") is True and self.content.get("event") not in GIVING


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine:
    """One line of the log."""

    trail: str
    number: int
    hash: str
    kind: LineKind
    is_settled: bool = field(default=True, compare=False)
    """False for a line so young that its entry may not have stood yet when the entries were read."""


class Fault(StrEnum):
    """What is wrong at a place of a trail. The last two are doubts: they happen when a function or the log breaks off."""

    CHANGED = "changed"
    REPLACED = "replaced"
    UNKNOWN = "unknown"
    OUT_OF_PLACE = "out of place"
    REPEATED = "repeated"
    MISSING = "missing"
    NEVER_WRITTEN = "never written"
    UNANNOUNCED = "unannounced"

    @property
    def is_doubt(self) -> bool:
        """Can this come about without anybody's tampering?"""
        return self in {Fault.NEVER_WRITTEN, Fault.UNANNOUNCED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A place of a trail, and what is wrong there."""

    trail: str
    number: int
    fault: Fault


def entry_hash(trail: str, number: int, content: Mapping[str, Any]) -> str:
    """The hash that chains an entry to its place and to the one before."""
    # What no entry ever holds, such as bytes, still gets a hash: one that matches nothing.
    text = json.dumps([trail, number, content], sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def next_entry(trail: str, last: AuditEntry | None, content: Mapping[str, Any]) -> AuditEntry:
    """The entry that follows the last one of a trail; ``content`` without its ``previous``."""
    number = last.number + 1 if last else 1
    chained = {**content, "previous": last.hash if last else ""}
    return AuditEntry(trail=trail, number=number, content=chained, hash=entry_hash(trail, number, chained))


def is_same_occurrence(entry: AuditEntry, content: Mapping[str, Any]) -> bool:
    """Is this the same happening, seen once more by a step that is repeated? The same event with the same facts is.

    Whoever appends gives facts that tell two happenings apart: a view, a tunnel, an instant out of the ledger.
    """
    return all(entry.content.get(name) == content[name] for name in ("event", "facts"))


def verify_chain(entries: Iterable[AuditEntry], lines: Iterable[AuditLine]) -> list[Finding]:
    """What is wrong with one trail, by place: the first finding that is no doubt names the first bad entry.

    An entry of some number is announced only after the one before was seen in the ledger, so that a line proves all earlier
    entries, and a confirming line its own. A line of an entry that lost its place to another one proves nothing.
    """
    lines, places = list(lines), defaultdict(list)
    for entry in entries:
        places[entry.number].append(entry)
    trails = {line.trail for line in lines} | {entry.trail for found in places.values() for entry in found}
    if not trails:
        return []
    (trail,) = trails
    known = {(line.number, line.hash) for line in lines}
    confirmed = {(line.number, line.hash) for line in lines if line.kind is LineKind.WRITTEN}
    findings, last = [], 0
    before: AuditEntry | None = None
    for number, (entry, *others) in sorted(places.items()):
        if number > last + 1:
            findings.append(Finding(trail=trail, number=last + 1, fault=Fault.MISSING))
            before = None
        if others:
            findings.append(Finding(trail=trail, number=number, fault=Fault.REPEATED))
        elif fault := _find_fault(entry, before, known=known, confirmed=confirmed):
            findings.append(Finding(trail=trail, number=number, fault=fault))
        last, before = number, entry
    settled = [line for line in lines if line.is_settled]
    proven = max((line.number - (line.kind is LineKind.ANNOUNCED) for line in settled), default=0)
    if proven > last:
        findings.append(Finding(trail=trail, number=last + 1, fault=Fault.MISSING))
    elif any(line.number > last for line in settled):
        findings.append(Finding(trail=trail, number=last + 1, fault=Fault.NEVER_WRITTEN))
    return findings


def _find_fault(
    entry: AuditEntry, before: AuditEntry | None, *, known: set[tuple[int, str]], confirmed: set[tuple[int, str]]
) -> Fault | None:
    if entry.number < 1:
        return Fault.UNKNOWN
    if entry_hash(entry.trail, entry.number, entry.content) != entry.hash:
        return Fault.CHANGED
    place = (entry.number, entry.hash)
    if any(number == entry.number and each != entry.hash for number, each in confirmed):
        return Fault.REPLACED
    if (entry.number == 1 or before is not None) and entry.content.get("previous") != (before.hash if before else ""):
        return Fault.OUT_OF_PLACE
    if place not in known:
        return Fault.UNANNOUNCED if entry.is_unannounced else Fault.UNKNOWN
    return None
