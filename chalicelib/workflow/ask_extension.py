"""A holder asks for more time: a request of its own, by the same policy, whose execution moves the end."""

from datetime import datetime

from chalicelib import defaults
from chalicelib.defaults import Durations
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.decisions import Refusal
from chalicelib.domain.documents import new_document
from chalicelib.domain.endings import Purpose
from chalicelib.domain.extensions import judge_extension
from chalicelib.domain.filings import AlreadyAsked, Asked
from chalicelib.domain.people import Person
from chalicelib.domain.policy import PolicyAnswer
from chalicelib.domain.requests import AccessRequest, Origin
from chalicelib.ports import Executions, GrantLedger, RequestLedger
from chalicelib.workflow.judge_within_budget import judge_within_budget
from chalicelib.workflow.own_grant import find_own_grant

_OPEN_LIMIT = 2 * defaults.OPEN_REQUESTS_PER_PERSON
"""Whoever holds as much as one person may can still extend each of it."""


def ask_extension(
    *,
    request_id: str,
    seconds: int,
    person: Person | None,
    origin_id: str,
    catalogue: Catalogue,
    durations: Durations,
    requests: RequestLedger,
    grants: GrantLedger,
    executions: Executions,
    now: datetime,
    origin: Origin = Origin.SLACK,
) -> Asked | AlreadyAsked | Refusal:
    """File the extension of somebody's own access. Raises UnknownRequestError and UnknownLocationError."""
    record = requests.require_request(request_id)
    if person is None or person.person_id != record.request.person.person_id:
        return Refusal(reason=f"{request_id} is not yours to extend.")
    grant, approved = find_own_grant(record, grants), record.approved
    if grant is None or record.outcome is not None or record.end_asked_at is not None:
        return Refusal(reason=f"{request_id} has ended. Ask again for new access.")
    extension = AccessRequest(
        request_id="",
        person=person,
        location=approved.location,
        level=approved.level,
        duration_seconds=seconds,
        reason=approved.reason,
        asked_at=now,
        extends=request_id,
    )
    policy = judge_within_budget(
        extension, catalogue=catalogue, durations=durations, requests=requests, grants=grants, now=now
    )
    if policy.answer is PolicyAnswer.DENIED:
        return Refusal(reason=policy.reason)
    cap_seconds = catalogue.require_location(approved.location).find_rules(person)[approved.level].cap_seconds
    if refusal := judge_extension(grant, seconds=seconds, cap_seconds=cap_seconds, now=now):
        return refusal
    filed = requests.file_request(extension, origin=origin, origin_id=origin_id, open_limit=_OPEN_LIMIT)
    if filed.request is None:
        return AlreadyAsked(request_ids=filed.standing_in_the_way, is_same_ask=filed.is_same_ask)
    executions.start(filed.request.request_id, new_document(filed.request.request_id, Purpose.EXTEND))
    return Asked(request=filed.request, policy=policy)
