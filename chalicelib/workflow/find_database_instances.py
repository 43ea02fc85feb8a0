"""FindDatabaseInstances: what the database function has to know and may not ask for: facts, ends and every instance."""

from dataclasses import dataclass, replace
from datetime import datetime

from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.grants import Grant, GrantFacts, GrantState
from chalicelib.domain.instances import DatabaseInstances
from chalicelib.domain.locations import MAIN_PROVISIONER
from chalicelib.domain.orders import OpenGrants
from chalicelib.ports import Clock, DatabaseDirectory, GrantLedger, RequestLedger
from chalicelib.workflow.own_grant import find_own_grant


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseOrder:
    """What is handed to the database function. Without an order there was never anything to revoke."""

    is_ordered: bool
    facts: GrantFacts | None = None
    instances: DatabaseInstances | None = None
    ends_at: datetime | None = None
    not_after: datetime | None = None
    open_grants: OpenGrants | None = None

    @property
    def provisioner(self) -> str:
        """Whose database functions carry it out, by the frozen facts: the catalogue may say another by now."""
        return self.facts.provisioner if self.facts else MAIN_PROVISIONER


def find_database_instances(
    *,
    request_id: str,
    for_provisioning: bool,
    requests: RequestLedger,
    grants: GrantLedger,
    directory: DatabaseDirectory,
    clock: Clock,
) -> DatabaseOrder:
    """The order for a request's grant. For provisioning, the ledger says that it was ordered before anybody can carry it out.

    Raises DatabaseNotFoundError, and LedgerUnavailableError when the grant is not live any more.
    """
    grant = find_own_grant(requests.require_request(request_id), grants)
    if grant is None or grant.state is GrantState.GONE:
        return DatabaseOrder(is_ordered=False)
    if not for_provisioning and not grant.is_ordered:
        return DatabaseOrder(is_ordered=False)
    facts, listed_at = grant.facts, clock()
    # Twice, with a call to AWS in between: a grant whose end is being moved is missing in the index for a moment.
    request_ids = _requests_beside(facts, grants)
    instances = directory.find_instances(kind=facts.kind, identifier=facts.identifier, region=facts.region)
    if for_provisioning:
        _order(grant, grants)
    return DatabaseOrder(
        is_ordered=True,
        facts=facts,
        instances=instances,
        ends_at=grant.ends_at,
        not_after=grant.provision_by,
        open_grants=OpenGrants(
            request_ids=request_ids | _requests_beside(facts, grants) | {request_id}, listed_at=listed_at
        ),
    )


def _requests_beside(facts: GrantFacts, grants: GrantLedger) -> frozenset[str]:
    """The requests of everybody's grants at the same cluster or instance, also of those that are just ending."""
    place = (facts.kind, facts.identifier, facts.region)
    return frozenset(
        grant.facts.request_id
        for grant in grants.open_grants()
        if (grant.facts.kind, grant.facts.identifier, grant.facts.region) == place
    )


def _order(grant: Grant, grants: GrantLedger) -> None:
    if grant.state is not GrantState.LIVE or not grants.replace_grant(grant, replace(grant, is_ordered=True)):
        raise LedgerUnavailableError(
            f"The grant of {grant.facts.request_id} changed while it was being prepared. Ask again."
        )
