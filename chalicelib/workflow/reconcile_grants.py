"""ReconcileGrants: on a schedule, see to ends that their own execution did not see to. Connects to no database itself."""

from collections.abc import Sequence

from chalicelib.domain.documents import new_document
from chalicelib.domain.endings import Purpose
from chalicelib.domain.grants import revocation_attempt
from chalicelib.ports import AuditTrail, Clock, Executions, GrantLedger


def reconcile_grants(*, grants: GrantLedger, executions: Executions, audit: AuditTrail, clock: Clock) -> Sequence[str]:
    """Start a revocation for each grant that is past its end and that nobody is ending. Returns the executions' names."""
    started = []
    for grant in grants.open_grants():
        request_id, now = grant.facts.request_id, clock()
        attempt = revocation_attempt(grant, now)
        if attempt == 0 or executions.is_running(request_id):
            continue
        name = f"{request_id}-revoke-{attempt}"
        executions.start(name, new_document(request_id, Purpose.REVOKE))
        audit.append(request_id, "revocation started", {"execution": name}, at=now)
        started.append(name)
    return started
