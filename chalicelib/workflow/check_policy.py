"""CheckPolicy: judge the request again, under the workflow's own role and by the current catalogue."""

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.policy import PolicyOutcome, decide_policy
from chalicelib.ports import AuditTrail, Clock, RequestLedger


def check_policy(
    *, request_id: str, catalogue: Catalogue, requests: RequestLedger, audit: AuditTrail, clock: Clock
) -> PolicyOutcome:
    """What policy says. Raises UnknownRequestError and UnknownLocationError."""
    request = requests.require_request(request_id).request
    outcome = decide_policy(
        person=request.person,
        location=catalogue.require_location(request.location),
        level=request.level,
        duration_seconds=request.duration_seconds,
        catalogue=catalogue,
        now=clock(),
    )
    audit.append(
        request_id,
        "asked",
        {"request": request, "policy": outcome.answer, "rule": outcome.reason},
        at=request.asked_at,
    )
    return outcome
