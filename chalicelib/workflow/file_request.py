"""A person asks: read the words, judge them by policy, record the request once and start its execution."""

from datetime import datetime

from chalicelib import defaults
from chalicelib.defaults import Durations
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.decisions import Refusal
from chalicelib.domain.documents import new_document
from chalicelib.domain.endings import Purpose
from chalicelib.domain.filings import AlreadyAsked, AlreadyHeld, Asked
from chalicelib.domain.grants import GrantState, grant_key
from chalicelib.domain.people import Person
from chalicelib.domain.policy import PolicyAnswer, decide_policy
from chalicelib.domain.records import FiledRequest
from chalicelib.domain.requests import AccessRequest, parse_ask
from chalicelib.ports import Executions, GrantLedger, RequestLedger


def file_request(
    *,
    person: Person | None,
    text: str,
    origin_id: str,
    catalogue: Catalogue,
    durations: Durations,
    requests: RequestLedger,
    grants: GrantLedger,
    executions: Executions,
    now: datetime,
) -> Asked | AlreadyHeld | AlreadyAsked | Refusal:
    """Carry out one ask. Raises InvalidCommandError and UnknownLocationError with what to type instead."""
    if person is None:
        return Refusal(reason="You are not listed in Drawbridge's catalogue. Ask the people who keep it to add you.")
    ask = parse_ask(text)
    location = catalogue.require_location(ask.location)
    rule = location.levels.get(ask.level)
    cap_seconds = rule.cap_seconds if rule else durations.access
    request = AccessRequest(
        request_id="",
        person=person,
        location=location.name,
        level=ask.level,
        duration_seconds=ask.duration_seconds or min(durations.access, cap_seconds),
        reason=ask.reason,
        asked_at=now,
    )
    policy = decide_policy(
        person=person,
        location=location,
        level=request.level,
        duration_seconds=request.duration_seconds,
        catalogue=catalogue,
        now=now,
    )
    if policy.answer is PolicyAnswer.DENIED:
        return Refusal(reason=policy.reason)
    filed = requests.file_request(request, origin_id=origin_id, open_limit=defaults.OPEN_REQUESTS_PER_PERSON)
    if filed.request is None:
        return _explain_what_stands(filed, request, grants)
    executions.start(filed.request.request_id, new_document(filed.request.request_id, Purpose.GRANT))
    return Asked(request=filed.request, policy=policy)


def _explain_what_stands(
    filed: FiledRequest, request: AccessRequest, grants: GrantLedger
) -> AlreadyHeld | AlreadyAsked:
    if filed.is_same_ask:
        grant = grants.find_grant(grant_key(request.location, request.person, request.level))
        if grant is not None and grant.state is GrantState.LIVE and grant.delivered_at is not None:
            return AlreadyHeld(grant=grant)
    return AlreadyAsked(request_ids=filed.standing_in_the_way, is_same_ask=filed.is_same_ask)
