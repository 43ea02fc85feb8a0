"""ProvisionDatabaseUser: the order is carried out by what the packed catalogue says, whatever the event says."""

from dataclasses import replace
from typing import Any

import pytest

from chalicelib.domain.errors import (
    DatabaseNotFoundError,
    DatabaseSetupError,
    DatabaseUnavailableError,
    LoginRefusedError,
    OrderExpiredError,
    UnknownLocationError,
)
from chalicelib.domain.instances import DatabaseInstances, Endpoint
from chalicelib.domain.locations import DatabaseKind, SessionDocument, TokenSource
from chalicelib.domain.orders import ProvisioningOrder
from chalicelib.domain.payloads import from_payload, to_payload
from chalicelib.domain.receipts import Strangers
from chalicelib.workflow.find_database_instances import DatabaseOrder
from chalicelib.workflow.provision_database_user import provision_database_user
from tests.factories import (
    BOB,
    FRIDAY_NOON,
    INSTANCES,
    OPEN_GRANTS,
    OPERATE,
    READ,
    WRITE,
    a_catalogue,
    a_grant,
    a_location,
    a_person,
    a_request,
    a_rule,
    an_order,
    minutes,
)
from tests.fakes import World


def provision(world: World, order: DatabaseOrder | None = None, **changes: Any) -> None:
    world.run(provision_database_user, order=replace(order or an_order(), **changes))


def provisioned(order: DatabaseOrder) -> ProvisioningOrder:
    """What reaches the database of an order."""
    world = World()
    provision(world, order)
    (carried_out,) = world.database.provisioned
    return carried_out


def with_facts(**changes: object) -> DatabaseOrder:
    return an_order(facts=replace(a_grant().facts, **changes))


def test_the_user_is_made_and_their_login_tried() -> None:
    """Once each, in this order."""
    world = World()
    provision(world)

    (order,) = world.database.provisioned
    assert (a_grant().facts, a_location(), INSTANCES, a_grant().ends_at, a_grant().provision_by) == (
        order.facts,
        order.location,
        order.instances,
        order.ends_at,
        order.not_after,
    )
    assert [a_grant().facts.role] == world.database.logins


def test_who_is_put_out_on_this_occasion_is_told() -> None:
    """The list of open grants goes along, and what came of it is brought back for the log."""
    world, strangers = World(), Strangers(parked=("jit_x_o_mallory",), failures=("jit_y_o_bob was not parked.",))
    world.database.declare_strangers(strangers)

    assert strangers == world.run(provision_database_user, order=an_order())
    assert OPEN_GRANTS == world.database.provisioned[0].open_grants


def test_an_order_of_an_older_release_is_carried_out() -> None:
    """It lists no grants, so nobody is put out by it."""
    payload = to_payload(an_order())
    del payload["open_grants"], payload["instances"]["resource_id"], payload["instances"]["may_sleep"]
    carried_out = provisioned(from_payload(DatabaseOrder, payload))

    assert (None, None, False) == (
        carried_out.open_grants,
        carried_out.instances.resource_id,
        carried_out.instances.may_sleep,
    )


def test_a_single_instance_is_a_location_like_any_other() -> None:
    """With the one endpoint and the resource id that RDS gives to instances."""
    endpoint = Endpoint(host="orders-db.abc123.eu-west-1.rds.amazonaws.com", port=5432)
    instances = DatabaseInstances(writer=endpoint, resource_id="db-ABCDEFGHIJKLMNOP")
    location = a_location(kind=DatabaseKind.INSTANCE, identifier="orders-db")
    world = World(catalogue=a_catalogue(location))
    provision(world, with_facts(kind=DatabaseKind.INSTANCE, identifier="orders-db"), instances=instances)

    (order,) = world.database.provisioned
    assert (location, instances) == (order.location, order.instances)


def test_provisioning_again_gives_the_same_order() -> None:
    """The database makes of it that there is nothing left to do."""
    world = World()
    for _ in range(2):
        provision(world)

    first, second = world.database.provisioned
    assert first == second


def test_what_the_catalogue_knows_is_taken_from_there() -> None:
    """An order that was tampered with reaches no other database, bastion or person."""
    order = provisioned(
        with_facts(
            database="postgres",
            bastion="other",
            port=1,
            document=SessionDocument.AWS,
            token=TokenSource.LOCAL,
            person=replace(a_person("alice"), aws=("*",)),
        )
    )

    assert a_grant().facts == order.facts


def test_the_ends_are_capped() -> None:
    """By what the catalogue allows at most from now on."""
    order = provisioned(an_order(ends_at=FRIDAY_NOON + minutes(100_000), not_after=FRIDAY_NOON + minutes(100_000)))

    assert (FRIDAY_NOON + minutes(15), FRIDAY_NOON + minutes(15 + 4 * 60)) == (order.not_after, order.ends_at)


@pytest.mark.parametrize(
    "order",
    [
        with_facts(person=a_person("mallory")),
        with_facts(person=replace(BOB, name="alice")),
        with_facts(person=replace(a_person("alice"), team="T0OTHER")),
        with_facts(level=WRITE),
        with_facts(level=READ),
    ],
    ids=["unlisted", "somebody else's name", "another team", "a level that is not offered", "a level for others"],
)
def test_an_order_for_whom_the_catalogue_does_not_admit_is_refused(order: DatabaseOrder) -> None:
    """Nothing is done."""
    rules = {OPERATE: a_rule(), READ: a_rule(who=frozenset({"bob"}))}
    world = World(catalogue=a_catalogue(a_location(levels=rules)))

    with pytest.raises(DatabaseSetupError, match="nothing was done"):
        provision(world, order)
    assert [] == world.database.provisioned


@pytest.mark.parametrize(
    "order",
    [
        DatabaseOrder(is_ordered=False),
        an_order(facts=None),
        an_order(instances=None),
        an_order(ends_at=None),
        an_order(not_after=None),
    ],
    ids=["no order", "no facts", "no instances", "no end", "no time limit"],
)
def test_an_incomplete_order_is_refused(order: DatabaseOrder) -> None:
    """Least of all is one without an end carried out."""
    world = World()

    with pytest.raises(DatabaseSetupError, match="incomplete"):
        provision(world, order)
    assert [] == world.database.provisioned


@pytest.mark.parametrize("place", ["writer", "readers"])
def test_an_endpoint_that_is_not_the_locations_is_refused(place: str) -> None:
    """The control plane's own login goes nowhere else."""
    elsewhere = Endpoint(host="attacker.example.com", port=5432)
    instances = replace(INSTANCES, **{place: elsewhere if place == "writer" else (elsewhere,)})
    world = World()

    with pytest.raises(DatabaseNotFoundError):
        provision(world, an_order(instances=instances))
    assert [] == world.database.provisioned


def test_a_location_that_left_the_catalogue_is_an_error() -> None:
    """Nothing is made in a database that nobody lists."""
    with pytest.raises(UnknownLocationError):
        provision(World(), with_facts(location="orders-old"))


@pytest.mark.parametrize("late", [15, 16, 600])
def test_an_order_that_comes_too_late_is_refused(late: float) -> None:
    """Its revocation may be over already."""
    world = World()
    world.clock.advance(late * 60)

    with pytest.raises(OrderExpiredError, match="R-ABC234 was not provisioned in time"):
        provision(world)
    assert [] == world.database.provisioned


def test_an_order_whose_end_has_passed_is_refused() -> None:
    """Even while it could still be carried out."""
    with pytest.raises(OrderExpiredError):
        provision(World(), an_order(ends_at=FRIDAY_NOON))


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("provision", DatabaseUnavailableError("orders is asleep")),
        ("provision", DatabaseSetupError("the schema is missing")),
        ("provision", OrderExpiredError("too late")),
        ("try_login", LoginRefusedError("refused")),
    ],
)
def test_what_the_database_says_goes_on_as_it_is(method: str, error: Exception) -> None:
    """The workflow matches these names; a failed login is a failed preparation."""
    world = World()
    world.database.declare_failing(method, error)  # type: ignore[arg-type]  # one of ours, from the table

    with pytest.raises(type(error)):
        provision(world)


def test_the_order_of_another_person_with_the_same_level_is_theirs() -> None:
    """Each person has a role of their own."""
    bobs = a_grant(a_request(person=BOB)).facts

    assert provisioned(an_order(facts=bobs)).facts.role == bobs.role != a_grant().facts.role
