"""ProvisionDatabaseUser: make the person's database user and try their login. Runs in the VPC and believes no event."""

from datetime import timedelta

from chalicelib.defaults import Durations
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.errors import DatabaseSetupError, OrderExpiredError
from chalicelib.domain.grants import freeze_facts
from chalicelib.domain.instances import require_own_endpoints
from chalicelib.domain.orders import ProvisioningOrder
from chalicelib.domain.receipts import Strangers
from chalicelib.ports import Clock, DatabaseAdmin
from chalicelib.workflow.find_database_instances import DatabaseOrder


def provision_database_user(
    *, order: DatabaseOrder, catalogue: Catalogue, durations: Durations, database: DatabaseAdmin, clock: Clock
) -> Strangers:
    """Carry out an order. Everything that the packed catalogue knows is taken from there, whatever the order says.

    Returns whose access was ended on this occasion because no grant explains it. Raises DatabaseUnavailable-,
    DatabaseSetup-, OrderExpired-, LoginRefused- and DatabaseNotFoundError.
    """
    if not (order.facts and order.instances and order.ends_at and order.not_after):
        raise DatabaseSetupError("A provisioning order arrived incomplete; nothing was done. Ask again.")
    facts, now = order.facts, clock()
    location = catalogue.require_location(facts.location)
    person = catalogue.find_listed(facts.person)
    rule = location.find_rule(facts.level, person) if person is not None else None
    if person is None or person.name != facts.person.name or rule is None or not rule.admits(person.name):
        raise DatabaseSetupError(
            f"The catalogue does not let this person have {facts.level.word} access to {location.name}; nothing was done."
        )
    require_own_endpoints(order.instances, kind=location.kind, identifier=location.identifier, region=location.region)
    latest_commit = now + timedelta(seconds=durations.preparation)
    latest_end = latest_commit + timedelta(seconds=rule.cap_seconds)
    checked = ProvisioningOrder(
        facts=freeze_facts(request_id=facts.request_id, person=person, location=location, level=facts.level),
        location=location,
        instances=order.instances,
        ends_at=min(order.ends_at, latest_end),
        not_after=min(order.not_after, latest_commit),
        open_grants=order.open_grants,
    )
    if now >= checked.not_after or now >= checked.ends_at:
        raise OrderExpiredError(f"{facts.request_id} was not provisioned in time; nothing was done. Ask again.")
    strangers = database.provision(checked)
    database.try_login(checked)
    return strangers
