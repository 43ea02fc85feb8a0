"""RevokeAccess: a receipt, or an error; never a claim."""

from dataclasses import replace
from typing import Any

import pytest

from chalicelib.domain.errors import DatabaseNotFoundError, DatabaseUnavailableError, RevocationIncompleteError
from chalicelib.domain.instances import DatabaseInstances, Endpoint
from chalicelib.domain.locations import DatabaseKind
from chalicelib.workflow.find_database_instances import DatabaseOrder
from chalicelib.workflow.revoke_access import revoke_access
from tests.factories import INSTANCES, a_grant, a_revocation_order, an_order
from tests.fakes import World

ORDER = an_order()


def test_the_receipt_of_a_complete_revocation_is_brought_back() -> None:
    """By the facts of the order, on every instance."""
    world = World()
    receipt = world.run(revoke_access, order=ORDER)

    assert [a_revocation_order()] == world.database.revoked
    assert receipt is not None
    assert (a_grant().facts.role, True) == (receipt.role, receipt.is_dropped)


def test_a_single_instance_is_revoked_like_any_other() -> None:
    """With the one endpoint and the resource id that RDS gives to instances."""
    world = World()
    facts = replace(a_grant().facts, kind=DatabaseKind.INSTANCE, identifier="orders-db")
    writer = Endpoint(host="orders-db.abc123.eu-west-1.rds.amazonaws.com", port=5432)
    instances = DatabaseInstances(writer=writer, resource_id="db-ABCDEFGHIJKLMNOP")
    world.run(revoke_access, order=an_order(facts=facts, instances=instances))

    assert [a_revocation_order(facts=facts, instances=instances)] == world.database.revoked


def test_a_receipt_names_who_was_put_out_besides() -> None:
    """That proves nothing about the grant itself, and takes nothing from its proof."""
    world = World()
    world.database.declare_left(is_dropped=True, parked_strangers=("jit_x_o_mallory",))
    receipt = world.run(revoke_access, order=ORDER)

    assert receipt is not None
    assert (("jit_x_o_mallory",), True) == (receipt.parked_strangers, receipt.proves_end)


def test_revoking_again_brings_another_receipt() -> None:
    """Safe to repeat."""
    world = World()

    assert world.run(revoke_access, order=ORDER) == world.run(revoke_access, order=ORDER)


def test_what_was_never_ordered_needs_no_receipt() -> None:
    """The ledger said so."""
    world = World()

    assert world.run(revoke_access, order=DatabaseOrder(is_ordered=False)) is None
    assert [] == world.database.revoked


@pytest.mark.parametrize(
    "order", [None, an_order(facts=None), an_order(instances=None)], ids=["unknown", "no facts", "no instances"]
)
def test_an_order_that_is_not_known_is_an_error(order: DatabaseOrder | None) -> None:
    """Never an empty receipt: somebody may have a user there."""
    world = World()

    with pytest.raises(DatabaseUnavailableError):
        world.run(revoke_access, order=order)
    assert [] == world.database.revoked


def test_the_catalogue_is_not_asked() -> None:
    """The location may have left it; revocation needs only the frozen facts."""
    facts = replace(a_grant().facts, location="orders-old", database="long_gone")

    assert World().run(revoke_access, order=an_order(facts=facts)) is not None


def test_endpoints_of_another_cluster_are_refused() -> None:
    """The control plane's own login goes nowhere else."""
    world = World()
    elsewhere = replace(INSTANCES, writer=Endpoint(host="attacker.example.com", port=5432))

    with pytest.raises(DatabaseNotFoundError):
        world.run(revoke_access, order=an_order(instances=elsewhere))
    assert [] == world.database.revoked


@pytest.mark.parametrize(
    ("left", "words"),
    [
        ({"sessions": 2}, "2 session"),
        ({"can_log_in": True}, "login on"),
        ({"memberships": ("drawbridge_abcdefgh_o",)}, "1 membership"),
    ],
)
def test_a_receipt_that_shows_something_usable_is_an_error(left: dict[str, Any], words: str) -> None:
    """Which says what, and is tried again."""
    world = World()
    world.database.declare_left(**left)

    with pytest.raises(RevocationIncompleteError, match=words):
        world.run(revoke_access, order=ORDER)


def test_a_role_that_a_newer_request_owns_is_left_to_it() -> None:
    """Then there is nothing to prove."""
    world = World()
    world.database.declare_left(sessions=1, can_log_in=True, superseded_by="R-NEXT22")
    receipt = world.run(revoke_access, order=ORDER)

    assert receipt is not None
    assert "R-NEXT22" == receipt.superseded_by


def test_a_database_that_does_not_answer_is_tried_again() -> None:
    """By its own name."""
    world = World()
    world.database.declare_failing("revoke", DatabaseUnavailableError("orders is asleep"))

    with pytest.raises(DatabaseUnavailableError):
        world.run(revoke_access, order=ORDER)
