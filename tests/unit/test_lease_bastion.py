"""Which bastion of its group a request gets: its own, else the first with room; never one too many on any."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.defaults import BASTIONS_PER_GROUP, LEASES_PER_BASTION
from chalicelib.domain.bastions import Bastion, BastionState, bastion_names, choose_bastion, find_holding
from chalicelib.domain.errors import BastionsFullError, LedgerUnavailableError
from chalicelib.workflow.lease_bastion import lease_bastion
from tests.factories import FRIDAY_NOON, REQUEST_ID, a_bastion, minutes
from tests.fakes import FakeBastionLedger, World
from tests.strategies import RULE

UNTIL = FRIDAY_NOON + minutes(90)
ALL = LEASES_PER_BASTION * BASTIONS_PER_GROUP


def lease(world: World, request_id: str = REQUEST_ID) -> tuple[str, bool]:
    return world.run(lease_bastion, group="main", request_id=request_id, until=UNTIL)


def a_full(name: str = "main", **changes: Any) -> Bastion:
    """A bastion on which nobody has room."""
    return a_bastion(name=name, leases={f"{name}-{n}": UNTIL for n in range(LEASES_PER_BASTION)}, **changes)


def with_bastions(*bastions: Bastion) -> World:
    world = World()
    for bastion in bastions:
        world.bastions.declare_bastion(bastion)
    return world


def test_a_groups_bastions_are_named_after_it() -> None:
    """The first as the group itself, so that those of earlier versions go on being the first."""
    names = bastion_names("main")

    assert ("main", "main.2", "main.5", BASTIONS_PER_GROUP) == (names[0], names[1], names[-1], len(names))
    assert {"main"} == {Bastion(name=name).group for name in names}


def test_the_eleventh_gets_the_second_bastion() -> None:
    """Ten share the first."""
    world = World()
    places = [lease(world, f"R-{number}")[0] for number in range(LEASES_PER_BASTION + 1)]

    assert ["main"] * LEASES_PER_BASTION + ["main.2"] == places


def test_a_request_keeps_the_bastion_that_it_has() -> None:
    """Though an earlier one has room again."""
    world = with_bastions(a_full())
    places = [lease(world)]
    world.bastions.release_lease("main", "main-0", at=FRIDAY_NOON)
    places.append(lease(world))

    assert [("main.2", True)] * 2 == places


def test_when_all_are_full_it_is_said() -> None:
    """With the number, and what to do."""
    world = with_bastions(*(a_full(name) for name in bastion_names("main")))

    with pytest.raises(BastionsFullError, match=f"All 5 bastions of main are full: {ALL} people .* Ask again"):
        lease(world)


@pytest.mark.parametrize("state", [BastionState.STOPPING, BastionState.TERMINATING])
def test_one_that_is_going_down_is_waited_for(state: BastionState) -> None:
    """It has room; a second one beside it would cost more than the minute."""
    world = with_bastions(a_bastion(state=state, instance_id="i-1"))

    assert ("main", False) == lease(world)


def test_the_last_place_that_somebody_else_takes_first_is_looked_for_elsewhere() -> None:
    """Between the look and the write."""
    world = with_bastions(a_bastion(leases={f"R-{n}": UNTIL for n in range(LEASES_PER_BASTION - 1)}))
    world.bastions.declare_meanwhile(
        "find_bastions", lambda: world.bastions.take_lease("main", "R-FASTER", until=UNTIL)
    )

    assert ("main.2", True) == lease(world)
    assert LEASES_PER_BASTION == len(world.bastions.find_bastion("main").leases)


def test_one_who_is_always_too_late_is_tried_again() -> None:
    """As any write that others keep overtaking: full whenever it writes, and with room whenever it looks."""
    world = World()

    class Crowded(FakeBastionLedger):
        def take_lease(self, *_: Any, **__: Any) -> bool:
            return False

    world.bastions = Crowded()

    with pytest.raises(LedgerUnavailableError, match="kept changing"):
        lease(world)


def test_of_two_leases_the_longer_counts() -> None:
    """The other is a warm-up's that came late, and runs out."""
    two = [a_bastion(leases={REQUEST_ID: UNTIL}), a_bastion(name="main.2", leases={REQUEST_ID: UNTIL + minutes(1)})]

    assert two[1] == find_holding(two, REQUEST_ID) == choose_bastion("main", two, REQUEST_ID)


acts = st.lists(st.tuples(st.sampled_from(["lease", "release"]), st.integers(0, ALL + 10)), max_size=120)


@RULE
@given(acts, st.integers(0, ALL))
def test_no_bastion_has_one_too_many_and_none_is_begun_while_an_earlier_has_room(
    turns: Sequence[tuple[str, int]], crowd: int
) -> None:
    """Whoever comes and goes, in any order, into any crowd."""
    world = World()
    for number in range(crowd):
        lease(world, f"R-{number}")
    for act, number in turns:
        before = world.bastions.find_bastions(bastion_names("main"))
        if act == "release":
            for bastion in before:
                world.bastions.release_lease(bastion.name, f"R-{number}", at=FRIDAY_NOON)
            continue
        try:
            name, is_leased = lease(world, f"R-{number}")
        except BastionsFullError:
            assert ALL == sum(len(bastion.leases) for bastion in before)
            continue
        earlier = bastion_names("main")[: bastion_names("main").index(name)]
        sizes = {bastion.name: len(bastion.leases) for bastion in before}
        has_it_already = any(f"R-{number}" in bastion.leases for bastion in before)
        assert is_leased
        assert has_it_already or all(sizes[each] == LEASES_PER_BASTION for each in earlier)

    after = world.bastions.find_bastions(bastion_names("main"))
    held = [request for bastion in after for request in bastion.leases]
    assert all(len(bastion.leases) <= LEASES_PER_BASTION for bastion in after)
    assert len(held) == len(set(held))
