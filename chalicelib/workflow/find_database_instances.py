"""FindDatabaseInstances: what the database function has to know and may not ask for: facts, ends and every instance."""

from dataclasses import dataclass, replace
from datetime import datetime

from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.grants import Grant, GrantFacts, GrantState, grant_key
from chalicelib.domain.instances import DatabaseInstances
from chalicelib.ports import DatabaseDirectory, GrantLedger, RequestLedger


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseOrder:
    """What is handed to the database function. Without an order there was never anything to revoke."""

    is_ordered: bool
    facts: GrantFacts | None = None
    instances: DatabaseInstances | None = None
    ends_at: datetime | None = None
    not_after: datetime | None = None


def find_database_instances(
    *,
    request_id: str,
    for_provisioning: bool,
    requests: RequestLedger,
    grants: GrantLedger,
    directory: DatabaseDirectory,
) -> DatabaseOrder:
    """The order for a request's grant. For provisioning, the ledger says that it was ordered before anybody can carry it out.

    Raises DatabaseNotFoundError, and LedgerUnavailableError when the grant is not live any more.
    """
    request = requests.require_request(request_id).request
    grant = grants.find_grant(grant_key(request.location, request.person, request.level))
    if grant is None or grant.facts.request_id != request_id or grant.state is GrantState.GONE:
        return DatabaseOrder(is_ordered=False)
    if not for_provisioning and not grant.is_ordered:
        return DatabaseOrder(is_ordered=False)
    facts = grant.facts
    instances = directory.find_instances(kind=facts.kind, identifier=facts.identifier, region=facts.region)
    if for_provisioning:
        _order(grant, grants)
    return DatabaseOrder(
        is_ordered=True,
        facts=facts,
        instances=instances,
        ends_at=grant.ends_at,
        not_after=grant.provision_by,
    )


def _order(grant: Grant, grants: GrantLedger) -> None:
    if grant.state is not GrantState.LIVE or not grants.replace_grant(grant, replace(grant, is_ordered=True)):
        raise LedgerUnavailableError(
            f"The grant of {grant.facts.request_id} changed while it was being prepared. Ask again."
        )
