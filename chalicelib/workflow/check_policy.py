"""CheckPolicy: judge the request again, under the workflow's own role and by the current catalogue."""

from chalicelib.defaults import Durations
from chalicelib.domain.audit import AuditEvent
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.policy import PolicyOutcome
from chalicelib.ports import AuditTrail, Clock, GrantLedger, RequestLedger
from chalicelib.workflow.judge_within_budget import judge_within_budget


def check_policy(
    *,
    request_id: str,
    catalogue: Catalogue,
    durations: Durations,
    requests: RequestLedger,
    grants: GrantLedger,
    audit: AuditTrail,
    clock: Clock,
) -> PolicyOutcome:
    """What policy says. Raises UnknownRequestError and UnknownLocationError."""
    request = requests.require_request(request_id).request
    outcome = judge_within_budget(
        request, catalogue=catalogue, durations=durations, requests=requests, grants=grants, now=clock()
    )
    audit.append(
        request_id,
        AuditEvent.ASKED,
        {"request": request, "policy": outcome.answer, "rule": outcome.reason},
        at=request.asked_at,
    )
    return outcome
