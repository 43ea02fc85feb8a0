"""Whoever asked follows their own requests: read from the ledger and the audit trail, changing nothing."""

from collections.abc import Sequence
from datetime import datetime

from chalicelib.domain.audit import AuditEvent
from chalicelib.domain.followings import Closing, Followed, newest_first
from chalicelib.domain.payloads import from_payload
from chalicelib.domain.people import Person
from chalicelib.domain.receipts import Receipt
from chalicelib.domain.records import RequestRecord
from chalicelib.ports import AuditFacts, GrantLedger, RequestLedger
from chalicelib.workflow.own_grant import find_own_grant

_ENDED = 20


def follow_request(
    *,
    request_id: str,
    person: Person,
    requests: RequestLedger,
    grants: GrantLedger,
    audit: AuditFacts,
    now: datetime,
) -> Followed | None:
    """One request of the person's. None for one that is unknown, and for anybody else's."""
    record = requests.find_request(request_id)
    if record is None or record.request.person.person_id != person.person_id:
        return None
    return _follow(record, grants, audit, now)


def follow_requests(
    *, person: Person, requests: RequestLedger, grants: GrantLedger, audit: AuditFacts, now: datetime
) -> Sequence[Followed]:
    """All that are open or held, and the last that have ended; newest first."""
    open_ids = requests.open_request_ids(person.person_id)
    ended_ids = [ended.request.request_id for ended in requests.ended_requests(person.person_id, most=_ENDED)]
    records = requests.find_requests(list(dict.fromkeys([*open_ids, *ended_ids])))
    own = [record for record in records if record.request.person.person_id == person.person_id]
    return newest_first([_follow(record, grants, audit, now) for record in own])


def _follow(record: RequestRecord, grants: GrantLedger, audit: AuditFacts, now: datetime) -> Followed:
    return Followed(
        record=record,
        grant=find_own_grant(record, grants),
        closing=_closing(record.request.request_id, audit) if record.outcome is not None else Closing(),
        read_at=now,
    )


def _closing(request_id: str, audit: AuditFacts) -> Closing:
    facts = audit.newest_facts(request_id)
    receipt = facts.get(AuditEvent.RECEIPT, {}).get("receipt")
    return Closing(
        explanation=facts.get(AuditEvent.ENDED, {}).get("explanation", ""),
        receipt=from_payload(Receipt, receipt, path="receipt") if receipt else None,
        tunnels_ended=len(facts.get(AuditEvent.TUNNELS_CLOSED, {}).get("ended", ())),
    )
