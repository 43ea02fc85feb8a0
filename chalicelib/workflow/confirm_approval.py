"""ConfirmApproval: the only place where a grant is made, after reading the ledger and the current catalogue once more."""

from dataclasses import dataclass

from chalicelib.defaults import Durations
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.decisions import confirm_approval as judge_confirmation
from chalicelib.domain.grants import new_grant
from chalicelib.domain.policy import decide_policy
from chalicelib.ports import AuditTrail, Clock, GrantLedger, RequestLedger


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """Whether a grant was made, and if not, why not."""

    is_confirmed: bool
    reason: str = ""


def confirm_approval(
    *,
    request_id: str,
    catalogue: Catalogue,
    durations: Durations,
    requests: RequestLedger,
    grants: GrantLedger,
    audit: AuditTrail,
    clock: Clock,
) -> Confirmation:
    """Make the grant of a request. Raises GrantEndingError while an earlier grant is still being revoked."""
    record = requests.require_request(request_id)
    request, now = record.request, clock()
    location = catalogue.require_location(request.location)
    policy = decide_policy(
        person=request.person,
        location=location,
        level=request.level,
        duration_seconds=request.duration_seconds,
        catalogue=catalogue,
        now=now,
    )
    refusal = judge_confirmation(policy=policy, record=record.decisions, requester=request.person)
    if refusal is not None:
        audit.append(request_id, "refused", {"reason": refusal.reason}, at=now)
        return Confirmation(is_confirmed=False, reason=refusal.reason)
    standing = grants.create_grant(new_grant(request=request, location=location, durations=durations, now=now))
    if standing.facts.request_id != request_id:
        return Confirmation(
            is_confirmed=False,
            reason=f"You hold this access already, by {standing.facts.request_id}; nothing was extended.",
        )
    audit.append(request_id, "granted", {"rule": policy.reason, "ends_at": standing.ends_at}, at=now)
    return Confirmation(is_confirmed=True)
