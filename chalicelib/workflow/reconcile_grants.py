"""ReconcileGrants: on a schedule, see to ends that their own execution did not see to. Connects to no database itself."""

from collections.abc import Sequence
from datetime import datetime

from chalicelib.domain.documents import new_document
from chalicelib.domain.endings import Purpose
from chalicelib.domain.errors import AccessError, LedgerUnavailableError
from chalicelib.domain.grants import Grant, revocation_attempt
from chalicelib.ports import AuditTrail, Clock, Executions, GrantLedger


def reconcile_grants(*, grants: GrantLedger, executions: Executions, audit: AuditTrail, clock: Clock) -> Sequence[str]:
    """Start a revocation for each grant that is past its end and that nobody is ending. Returns the executions' names.

    A grant that fails does not keep the others from their turn. Raises LedgerUnavailableError afterwards, with all of them.
    """
    started, failures = [], []
    for grant in grants.open_grants():
        try:
            name = _reconcile(grant, executions, audit, clock())
        except AccessError as error:
            failures.append(f"{grant.facts.request_id}: {error}")
            continue
        started += [name] if name else []
    if failures:
        raise LedgerUnavailableError(f"Not seen to, and tried again: {'; '.join(failures)}")
    return started


def _reconcile(grant: Grant, executions: Executions, audit: AuditTrail, now: datetime) -> str | None:
    request_id, attempt = grant.facts.request_id, revocation_attempt(grant, now)
    if attempt == 0 or executions.is_running(request_id):
        return None
    name = f"{request_id}-revoke-{attempt}"
    executions.start(name, new_document(request_id, Purpose.REVOKE))
    audit.append(request_id, "revocation started", {"execution": name}, at=now)
    return name
