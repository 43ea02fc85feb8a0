"""A person asks: judge what they asked by policy, record the request once and start its execution."""

from datetime import datetime

from chalicelib import defaults
from chalicelib.defaults import Durations
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.decisions import Refusal
from chalicelib.domain.documents import new_document
from chalicelib.domain.endings import Purpose
from chalicelib.domain.filings import AlreadyAsked, AlreadyHeld, Asked
from chalicelib.domain.grants import GrantState
from chalicelib.domain.locations import Location
from chalicelib.domain.people import Person
from chalicelib.domain.policy import PolicyAnswer
from chalicelib.domain.preferences import Preferences
from chalicelib.domain.records import FiledRequest
from chalicelib.domain.requests import AccessRequest, Ask, Origin
from chalicelib.ports import Executions, GrantLedger, RequestLedger
from chalicelib.workflow.judge_within_budget import judge_within_budget
from chalicelib.workflow.own_grant import find_own_grant


def file_request(
    *,
    person: Person | None,
    ask: Ask,
    origin_id: str,
    catalogue: Catalogue,
    durations: Durations,
    requests: RequestLedger,
    grants: GrantLedger,
    executions: Executions,
    now: datetime,
    origin: Origin = Origin.SLACK,
) -> Asked | AlreadyHeld | AlreadyAsked | Refusal:
    """Carry out one ask. Raises UnknownLocationError with what to type instead.

    A port and a profile that were not given are those of the person's last request; 0 and the empty text are none.
    """
    if person is None:
        return Refusal(reason="You are not listed in Drawbridge's catalogue. Ask the people who keep it to add you.")
    location = catalogue.require_location(ask.location)
    if refusal := _find_refusal(ask, location):
        return Refusal(reason=refusal)
    last = requests.find_preferences(person.person_id)
    rule = location.find_rule(ask.level, person)
    cap_seconds = rule.cap_seconds if rule else durations.access
    request = AccessRequest(
        request_id="",
        person=person,
        location=location.name,
        level=ask.level,
        duration_seconds=ask.duration_seconds or min(durations.access, cap_seconds),
        reason=ask.reason,
        asked_at=now,
        port=(last.port if ask.port is None else ask.port) or None,
        profile=last.profile if ask.profile is None else ask.profile,
        is_break_glass=ask.is_break_glass,
    )
    policy = judge_within_budget(
        request, catalogue=catalogue, durations=durations, requests=requests, grants=grants, now=now
    )
    if policy.answer is PolicyAnswer.DENIED:
        return Refusal(reason=policy.reason)
    filed = requests.file_request(
        request, origin=origin, origin_id=origin_id, open_limit=defaults.OPEN_REQUESTS_PER_PERSON
    )
    if filed.request is None:
        return _explain_what_stands(filed, requests, grants)
    given = Preferences(port=request.port, profile=request.profile)
    if given != last:
        requests.keep_preferences(person.person_id, given)
    executions.start(filed.request.request_id, new_document(filed.request.request_id, Purpose.GRANT))
    return Asked(request=filed.request, policy=policy)


def _find_refusal(ask: Ask, location: Location) -> str | None:
    """Naming a region or environment checks what one means; it never chooses another database."""
    if ask.environment not in {None, location.environment}:
        return f"{location.name} is {location.environment}, not {ask.environment}. Leave --env out or correct it."
    if ask.region not in {None, location.region}:
        return f"{location.name} lies in {location.region}, not {ask.region}. Leave --region out or correct it."
    if ask.is_break_glass and not ask.reason.strip():
        return "Breaking the glass needs a reason: say in a few words what is on fire."
    return None


def _explain_what_stands(
    filed: FiledRequest, requests: RequestLedger, grants: GrantLedger
) -> AlreadyHeld | AlreadyAsked:
    if filed.is_same_ask:
        (request_id,) = filed.standing_in_the_way
        grant = find_own_grant(requests.require_request(request_id), grants)
        if grant is not None and grant.state is GrantState.LIVE and grant.delivered_at is not None:
            return AlreadyHeld(grant=grant)
    return AlreadyAsked(request_ids=filed.standing_in_the_way, is_same_ask=filed.is_same_ask)
