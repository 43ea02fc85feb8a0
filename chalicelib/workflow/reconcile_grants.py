"""ReconcileGrants: on a schedule, see to what its own execution did not see to. Connects to no database itself."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from chalicelib.domain.audit import AuditEvent
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.documents import new_document
from chalicelib.domain.errors import AccessError, LedgerUnavailableError, SlackUnavailableError
from chalicelib.domain.executions import Progress
from chalicelib.domain.people import Person
from chalicelib.domain.reconciliation import (
    CloseQuestion,
    End,
    Repair,
    Start,
    Wake,
    is_seen_to,
    repair_question,
    repair_request,
    repair_review,
)
from chalicelib.domain.records import RequestRecord
from chalicelib.ports import AuditTrail, Clock, Executions, GrantLedger, Members, RequestLedger

_HOLDERS_A_TURN = 30
"""So many holders Slack is asked about in one turn; each turn begins with another one."""
_LONGEST_ASKING = timedelta(seconds=20)
"""A slow Slack must not keep anybody's access alive: what it has not answered by then is left to another turn."""


def reconcile_grants(
    *,
    catalogue: Catalogue,
    requests: RequestLedger,
    grants: GrantLedger,
    executions: Executions,
    members: Members,
    audit: AuditTrail,
    clock: Clock,
) -> Sequence[str]:
    """Repair each request that is open, untold, asked about, under review or whose grant is not gone.

    Returns the repairs in words. A request that fails does not keep the others from their turn: raises LedgerUnavailableError
    afterwards, with all of them.
    """
    open_grants = {grant.facts.request_id: grant for grant in grants.open_grants()}
    questions, reviews = frozenset(requests.requests_to_decide()), frozenset(requests.requests_to_review())
    running = executions.running()
    objections = _find_objections([grant.facts.person for grant in open_grants.values()], catalogue, members, clock)
    repairs, failures = [], []
    for record in requests.find_requests(sorted({*open_grants, *requests.unreported_requests(), *questions, *reviews})):
        request = record.request
        try:
            if request.request_id in open_grants or not record.is_reported:
                progress = _find_progress(request.request_id, running, executions)
                grant, objection = open_grants.get(request.request_id), objections.get(request.person.person_id)
                repair = repair_request(record, grant, progress=progress, objection=objection, now=clock())
                repairs += _carry_out(repair, record, requests, executions, audit, clock())
            if request.request_id in reviews:
                repair = repair_review(record, running=running, now=clock())
                repairs += _carry_out(repair, record, requests, executions, audit, clock())
            repairs += _carry_out(repair_question(record), record, requests, executions, audit, clock())
        except AccessError as error:
            failures.append(f"{request.request_id}: {error}")
    if failures:
        raise LedgerUnavailableError(f"Not seen to, and tried again: {'; '.join(failures)}")
    return repairs


def _find_progress(request_id: str, running: Collection[str], executions: Executions) -> Progress:
    """The list may miss what has just begun, so whatever is not in it is asked about."""
    return Progress.RUNNING if is_seen_to(request_id, running) else executions.find_progress(request_id)


def _find_objections(holders: Sequence[Person], catalogue: Catalogue, members: Members, clock: Clock) -> dict[str, str]:
    """Why each of the holders may hold nothing any more. What Slack does not answer is asked again next time.

    It is not asked about machines.
    """
    began_at = clock()
    people = sorted({person.person_id: person for person in holders}.items())
    unlisted = {
        person_id: "is not in the catalogue any more"
        for person_id, person in people
        if catalogue.find_listed(person) is None
    }
    listed = [person_id for person_id, person in people if person_id not in unlisted and not person.is_machine]
    first = int(began_at.timestamp()) % len(listed) if listed else 0
    found = {}
    for person_id in (listed[first:] + listed[:first])[:_HOLDERS_A_TURN]:
        if clock() >= began_at + _LONGEST_ASKING:
            break
        try:
            objection = members.find_objection(person_id)
        except SlackUnavailableError:
            break
        if objection is not None:
            found[person_id] = objection
    return unlisted | found


def _carry_out(
    repair: Repair | None,
    record: RequestRecord,
    requests: RequestLedger,
    executions: Executions,
    audit: AuditTrail,
    now: datetime,
) -> list[str]:
    """Effects first: an audit trail that does not answer must keep nobody's access alive."""
    request_id = record.request.request_id
    match repair:
        case None:
            return []
        case Start(name=name, purpose=purpose):
            if executions.find_progress(name) is not Progress.UNKNOWN:
                return []
            executions.start(name, new_document(request_id, purpose))
            done = f"{name} started"
        case Wake(task_token=token):
            executions.wake(token)
            done = f"{request_id} woken"
        case End(reason=reason):
            requests.ask_end(request_id, at=now)
            if record.hold_token is not None:
                executions.wake(record.hold_token)
            done = f"{request_id} ended: its holder {reason}"
        case CloseQuestion(closed=closed):
            if not requests.replace_decision(closed):
                return []
            done = f"{request_id}: its question closed"
    audit.append(request_id, AuditEvent.REPAIRED, {"repair": done, "seen_at": now}, at=now)
    return [done]
