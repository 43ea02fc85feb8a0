"""FindDatabaseInstances: the order that the database function gets, and that the ledger knows of it first."""

import pytest

from chalicelib.domain.errors import DatabaseNotFoundError, LedgerUnavailableError
from chalicelib.domain.grants import Grant, GrantState
from chalicelib.domain.locations import DatabaseKind
from chalicelib.workflow.check_grant_end import check_grant_end
from chalicelib.workflow.find_database_instances import DatabaseOrder, find_database_instances
from tests.factories import INSTANCES, REQUEST_ID, a_grant, a_request, an_order
from tests.fakes import World


def granted(**changes: object) -> World:
    world = World()
    world.declare_grant(**changes)  # type: ignore[arg-type]  # fields of a grant
    return world


def find(world: World, *, for_provisioning: bool) -> DatabaseOrder:
    return world.run(find_database_instances, request_id=REQUEST_ID, for_provisioning=for_provisioning)


class TestForProvisioning:
    def test_the_order_holds_the_frozen_facts_the_instances_and_the_ends(self) -> None:
        """Everything that the database function may not ask for itself."""
        assert an_order() == find(granted(), for_provisioning=True)

    def test_the_ledger_knows_that_it_was_ordered(self) -> None:
        """Before anybody can carry it out; a repetition changes nothing."""
        world = granted()
        orders = [find(world, for_provisioning=True) for _ in range(2)]

        assert orders[0] == orders[1]
        assert a_grant(is_ordered=True) == world.grant()

    @pytest.mark.parametrize("state", [GrantState.ENDING, GrantState.GONE])
    def test_nothing_is_ordered_for_a_grant_that_is_not_live(self, state: GrantState) -> None:
        """An ending one is an error; a gone one has nothing."""
        world = granted(state=state)

        if state is GrantState.GONE:
            assert DatabaseOrder(is_ordered=False) == find(world, for_provisioning=True)
        else:
            with pytest.raises(LedgerUnavailableError, match="changed while it was being prepared"):
                find(world, for_provisioning=True)
        assert not world.grant().is_ordered

    def test_a_grant_that_ends_while_rds_is_asked_is_not_ordered(self) -> None:
        """The end was written in between."""
        world = granted()
        world.directory.declare_meanwhile(
            "find_instances", lambda: world.run(check_grant_end, request_id=REQUEST_ID, end_now=True)
        )

        with pytest.raises(LedgerUnavailableError):
            find(world, for_provisioning=True)
        assert (GrantState.ENDING, False) == (world.grant().state, world.grant().is_ordered)


class TestForRevoking:
    @pytest.mark.parametrize("state", [GrantState.LIVE, GrantState.ENDING])
    def test_what_was_ordered_is_to_be_revoked(self, state: GrantState) -> None:
        """By the same facts."""
        order = find(granted(state=state, is_ordered=True), for_provisioning=False)

        assert (True, a_grant().facts, INSTANCES) == (order.is_ordered, order.facts, order.instances)

    @pytest.mark.parametrize(
        "grant",
        [
            None,
            a_grant(state=GrantState.ENDING),
            a_grant(state=GrantState.GONE, is_ordered=True),
            a_grant(a_request(request_id="R-NEXT22"), is_ordered=True),
        ],
        ids=["no grant", "never ordered", "gone", "another request's"],
    )
    def test_without_an_order_of_ones_own_there_is_nothing_to_revoke(self, grant: Grant | None) -> None:
        """Above all not somebody else's."""
        world = World()
        world.declare_request()
        if grant is not None:
            world.grants.declare_grant(grant)

        assert DatabaseOrder(is_ordered=False) == find(world, for_provisioning=False)

    def test_looking_orders_nothing(self) -> None:
        """Only provisioning does."""
        world = granted()
        find(world, for_provisioning=False)

        assert not world.grant().is_ordered

    def test_the_facts_are_the_grants_and_not_the_catalogues(self) -> None:
        """The location has moved to another cluster since; the user is in the old one."""
        world = granted(is_ordered=True, identifier="orders-old")
        world.directory.declare_instances(DatabaseKind.CLUSTER, "orders-old", INSTANCES)
        world.directory.declare_instances(DatabaseKind.CLUSTER, "orders-cluster", None)

        assert INSTANCES == find(world, for_provisioning=False).instances


@pytest.mark.parametrize("for_provisioning", [True, False])
def test_a_cluster_that_rds_does_not_know_is_an_error(for_provisioning: bool) -> None:
    """Never an order without instances, which would claim that there is nothing."""
    world = granted(is_ordered=True)
    world.directory.declare_instances(DatabaseKind.CLUSTER, "orders-cluster", None)

    with pytest.raises(DatabaseNotFoundError):
        find(world, for_provisioning=for_provisioning)
