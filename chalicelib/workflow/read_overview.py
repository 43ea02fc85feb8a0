"""What a person sees of Drawbridge: read from the ledger and the catalogue, changing nothing."""

from collections.abc import Iterator
from datetime import datetime
from itertools import chain

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.decisions import Decision, DecisionRecord, judge_decision
from chalicelib.domain.grants import GrantState
from chalicelib.domain.overviews import Held, Offer, Overview, ToDecide
from chalicelib.domain.people import Person
from chalicelib.domain.policy import decide_policy, find_reviewers, is_named_approver, judge_request
from chalicelib.domain.records import RequestRecord
from chalicelib.domain.reviews import ReviewRecord, judge_review
from chalicelib.ports import GrantLedger, RequestLedger
from chalicelib.workflow.own_grant import find_own_grant

_ENDED = 5


def read_overview(
    *, person: Person, catalogue: Catalogue, requests: RequestLedger, grants: GrantLedger, now: datetime
) -> Overview:
    """Everything on the person's Home. What waits for them is found by trying the very judgement of a decision.

    What waits for others is read for nobody whom no rule names: most people have nothing to decide, ever.
    """
    is_asked = is_named_approver(person, catalogue=catalogue)
    waiting = (requests.requests_to_decide(), requests.requests_to_review()) if is_asked else ((), ())
    named = (requests.open_request_ids(person.person_id), *waiting)
    records = {record.request.request_id: record for record in requests.find_requests(list(chain(*named)))}
    own, to_decide, to_review = ([records[each] for each in ids if each in records] for ids in named)
    held = [found for record in own if (found := _find_held(record, grants))]
    holding = {each.record.request.request_id for each in held}
    return Overview(
        to_decide=tuple(
            ToDecide(record=record, location=catalogue.locations[record.request.location])
            for record in to_decide
            if _may_decide(record, person, catalogue, now)
        ),
        to_review=tuple(record for record in to_review if _may_review(record, person, catalogue, now)),
        asked=tuple(record for record in own if record.request.request_id not in holding),
        held=tuple(held),
        offers=tuple(_offers(person, catalogue, now)),
        ended=tuple(requests.ended_requests(person.person_id, most=_ENDED)),
        read_at=now,
    )


def _find_held(record: RequestRecord, grants: GrantLedger) -> Held | None:
    grant = find_own_grant(record, grants)
    if grant is None or grant.state is not GrantState.LIVE or grant.delivered_at is None:
        return None
    return Held(record=record, grant=grant)


def _may_decide(record: RequestRecord, person: Person, catalogue: Catalogue, now: datetime) -> bool:
    request = record.request
    if record.decisions is None or record.outcome is not None or request.location not in catalogue.locations:
        return False
    policy = judge_request(request, catalogue=catalogue, now=now)
    judged = judge_decision(
        record=record.decisions,
        request=request,
        person=person,
        decision=Decision(person_id=person.person_id, approves=True, at=now),
        policy=policy,
        policy_of_terms=policy,
    )
    return isinstance(judged, DecisionRecord)


def _may_review(record: RequestRecord, person: Person, catalogue: Catalogue, now: datetime) -> bool:
    if record.review is None or record.request.location not in catalogue.locations:
        return False
    judged = judge_review(
        record=record.review,
        request=record.request,
        person=person,
        is_justified=True,
        note="",
        reviewers=find_reviewers(record.request, catalogue=catalogue),
        now=now,
    )
    return isinstance(judged, ReviewRecord)


def _offers(person: Person, catalogue: Catalogue, now: datetime) -> Iterator[Offer]:
    for location in catalogue.locations.values():
        levels = {
            level: decide_policy(
                person=person,
                location=location,
                level=level,
                duration_seconds=min(rule.cap_seconds, 3600),
                catalogue=catalogue,
                now=now,
            )
            for level, rule in location.find_rules(person).items()
            if rule.admits(person.name)
        }
        if levels:
            yield Offer(location=location, levels=levels)
