"""Write down that somebody was refused. Changes no answer and decides nothing."""

from datetime import datetime

from chalicelib.domain.audit import AuditEvent
from chalicelib.domain.decisions import Refusal
from chalicelib.domain.people import Person
from chalicelib.domain.requests import Ask, Origin, request_ids
from chalicelib.ports import AuditTrail


def audit_refusal(
    refusal: Refusal, *, act: str, person: Person | None, request_id: str, audit: AuditTrail, now: datetime
) -> None:
    """An act on a request was refused. The same refusal of the same person stands once, however often they press."""
    facts = {"act": act, "person": person.person_id if person else "", "reason": refusal.reason}
    audit.append(request_id, AuditEvent.REFUSED, facts, at=now)


def audit_refused_ask(
    refusal: Refusal,
    *,
    ask: Ask,
    person: Person | None,
    origin_id: str,
    audit: AuditTrail,
    now: datetime,
    origin: Origin = Origin.SLACK,
) -> None:
    """A refused ask has no request, so it stands in the person's own trail, by the id that its request would have borne.

    Whoever is not in the catalogue has no trail: anybody in the workspace could fill it.
    """
    if person is None:
        return
    facts = {
        "act": "ask",
        "person": person.person_id,
        "ask": ask,
        "instead_of": next(request_ids(origin, origin_id)),
        "reason": refusal.reason,
    }
    audit.append(f"person {person.person_id}", AuditEvent.REFUSED, facts, at=now)
