"""FindDatabaseInstances: the order that the database function gets, and that the ledger knows of it first."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.errors import DatabaseNotFoundError, LedgerUnavailableError
from chalicelib.domain.grants import Grant, GrantState
from chalicelib.domain.locations import DatabaseKind
from chalicelib.domain.orders import OpenGrants
from chalicelib.workflow.check_grant_end import check_grant_end
from chalicelib.workflow.find_database_instances import DatabaseOrder, find_database_instances
from tests.factories import (
    BOB,
    CAROL,
    FRIDAY_NOON,
    INSTANCES,
    READ,
    REQUEST_ID,
    WRITE,
    a_grant,
    a_request,
    an_order,
    minutes,
)
from tests.fakes import FakeGrantLedger, World
from tests.strategies import RULE, instants


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

    def test_the_provisioner_is_the_grants_and_not_the_catalogues(self) -> None:
        """The bastion group was moved to another VPC since; the user is where it was made."""
        world = granted(is_ordered=True, provisioner="far")

        assert "main" == world.catalogue.require_location("orders-prod").bastion.provisioner
        assert "far" == find(world, for_provisioning=False).provisioner

    def test_without_an_order_the_main_provisioner_stands_in(self) -> None:
        """Somebody has to be asked; there is nothing that it could do."""
        assert "main" == DatabaseOrder(is_ordered=False).provisioner


@pytest.mark.parametrize("for_provisioning", [True, False])
def test_a_cluster_that_rds_does_not_know_is_an_error(for_provisioning: bool) -> None:
    """Never an order without instances, which would claim that there is nothing."""
    world = granted(is_ordered=True)
    world.directory.declare_instances(DatabaseKind.CLUSTER, "orders-cluster", None)

    with pytest.raises(DatabaseNotFoundError):
        find(world, for_provisioning=for_provisioning)


class LedgerWithoutIndex(FakeGrantLedger):
    """Whose index is behind with everything."""

    def open_grants(self) -> Sequence[Grant]:
        return []


class TestOpenGrants:
    """Whose users belong to the cluster: every other one came along with a copy of it."""

    def beside(self, world: World, **facts: object) -> None:
        """Others have access too: these facts of their grants differ."""
        for number, (person, state) in enumerate(
            [(BOB, GrantState.LIVE), (CAROL, GrantState.ENDING), (BOB, GrantState.GONE)]
        ):
            request = a_request(person=person, request_id=f"R-OTHER{number}", level=READ if number else WRITE)
            grant = a_grant(request, state=state)
            world.grants.declare_grant(replace(grant, facts=replace(grant.facts, **facts)))

    @pytest.mark.parametrize("for_provisioning", [True, False])
    def test_every_grant_at_the_cluster_that_is_not_gone_is_named(self, for_provisioning: bool) -> None:
        """Also one that is ending, which its own revocation sees to, and whatever its location is called."""
        world = granted(is_ordered=True)
        self.beside(world, location="orders-again", database="stock")
        open_grants = find(world, for_provisioning=for_provisioning).open_grants

        assert (
            OpenGrants(request_ids=frozenset({REQUEST_ID, "R-OTHER0", "R-OTHER1"}), listed_at=FRIDAY_NOON)
            == open_grants
        )

    @pytest.mark.parametrize(
        "facts", [{"kind": DatabaseKind.INSTANCE}, {"identifier": "orders-copy"}, {"region": "eu-central-1"}], ids=str
    )
    def test_grants_at_another_cluster_are_not(self, facts: dict[str, object]) -> None:
        """Their users are no business of this one, least of all on its copy."""
        world = granted(is_ordered=True)
        self.beside(world, **facts)

        assert an_order().open_grants == find(world, for_provisioning=False).open_grants

    def test_a_grant_that_is_made_during_the_listing_is_found_or_younger_than_the_list(self) -> None:
        """The list bears the moment at which it was begun."""
        world = granted(is_ordered=True)

        def let_bob_in() -> None:
            world.clock.advance(1)
            self.beside(world)

        world.directory.declare_meanwhile("find_instances", let_bob_in)
        open_grants = find(world, for_provisioning=False).open_grants

        assert open_grants is not None
        assert FRIDAY_NOON == open_grants.listed_at
        assert "R-OTHER0" in open_grants.request_ids

    def test_a_grant_that_the_index_lacks_for_a_moment_is_found_all_the_same(self) -> None:
        """While an end is moved the entry is taken out and put in again; nobody is put out over that."""
        world = granted(is_ordered=True)
        self.beside(world)
        missing = world.grants.require_grant(a_grant(a_request(person=BOB, level=WRITE)).facts.key)
        world.grants.declare_grant(replace(missing, state=GrantState.GONE))
        world.directory.declare_meanwhile("find_instances", lambda: world.grants.declare_grant(missing))
        open_grants = find(world, for_provisioning=False).open_grants

        assert open_grants is not None
        assert missing.facts.request_id in open_grants.request_ids

    def test_the_grant_itself_is_always_named(self) -> None:
        """It is read from the table, and not from the index."""
        world = World(grants=LedgerWithoutIndex())
        world.declare_grant(is_ordered=True)

        assert an_order().open_grants == find(world, for_provisioning=False).open_grants

    @RULE
    @given(listed_at=instants, not_after=instants, is_listed=st.booleans())
    def test_nobody_is_disowned_by_a_list_that_may_be_older_than_they_are(
        self, listed_at: datetime, not_after: datetime, is_listed: bool
    ) -> None:
        """A user is nobody's only when no listed grant explains it and it was surely made before the listing."""
        open_grants = OpenGrants(request_ids=frozenset({"R-LISTED"} if is_listed else ()), listed_at=listed_at)
        is_disowned = open_grants.disown(request_id="R-LISTED", not_after=not_after)

        assert is_disowned is (not is_listed and not_after <= listed_at)

    def test_a_grant_made_after_the_listing_is_not_disowned_however_soon(self) -> None:
        """Its preparation ends later than any list could be that lacks it."""
        grant = a_grant()
        for seconds_before in (0, 1, 60):
            listed_at = grant.created_at - timedelta(seconds=seconds_before)
            open_grants = OpenGrants(request_ids=frozenset(), listed_at=listed_at)

            assert not open_grants.disown(request_id=grant.facts.request_id, not_after=grant.provision_by)
        settled = OpenGrants(request_ids=frozenset(), listed_at=grant.created_at + minutes(15))
        assert settled.disown(request_id=grant.facts.request_id, not_after=grant.provision_by)
