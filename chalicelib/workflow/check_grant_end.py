"""CheckGrantEnd: look at the ledger; either the grant still has whole seconds to live, or one write makes it ``ending``."""

from dataclasses import dataclass

from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.grants import GrantState, ensure_ending, grant_key, seconds_left
from chalicelib.ports import AuditTrail, Clock, GrantLedger, RequestLedger

_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantEnd:
    """Whether revocation is due, and how many whole seconds are left if not."""

    is_ending: bool
    seconds_left: int = 0


def check_grant_end(
    *,
    request_id: str,
    end_now: bool,
    requests: RequestLedger,
    grants: GrantLedger,
    audit: AuditTrail,
    clock: Clock,
) -> GrantEnd:
    """Decide from the ledger alone. ``end_now`` ends the grant whatever its end is, for a request that failed."""
    for _ in range(_TRIES):
        record = requests.require_request(request_id)
        request, now = record.request, clock()
        grant = grants.find_grant(grant_key(request.location, request.person, request.level))
        if grant is None or grant.facts.request_id != request_id or grant.state is not GrantState.LIVE:
            return GrantEnd(is_ending=True)
        end_asked = record.end_asked_at is not None
        ending = ensure_ending(grant, now=now, end_asked=end_now or end_asked)
        if ending is grant:
            return GrantEnd(is_ending=False, seconds_left=seconds_left(grant, now))
        if grants.replace_grant(grant, ending):
            audit.append(request_id, "ending", {"asked": end_asked, "failed": end_now}, at=now)
            return GrantEnd(is_ending=True)
    raise LedgerUnavailableError(f"The grant of {request_id} kept changing; it is looked at again.")
