"""GrantExtension: the end is moved once, never past what may be, and the lease goes first."""

from dataclasses import replace

import pytest

from chalicelib.domain.bastions import BastionState
from chalicelib.domain.decisions import DecisionRecord, Terms, Verdict
from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.grants import Grant, GrantState, delivered
from chalicelib.workflow.ask_end import ask_end
from chalicelib.workflow.check_grant_end import check_grant_end
from chalicelib.workflow.confirm_approval import Confirmation
from chalicelib.workflow.grant_extension import grant_extension
from tests.factories import (
    ALICE,
    BOB,
    CAROL,
    FRIDAY_NOON,
    OPERATE,
    READ,
    REQUEST_ID,
    WRITE,
    WRITER,
    a_bastion,
    a_catalogue,
    a_decision,
    a_grant,
    a_location,
    a_record,
    a_request,
    a_rule,
    a_task_token,
    an_ended_request,
    minutes,
)
from tests.fakes import World

EXTENSION_ID = "R-LNGER2"
APPROVED = a_record(BOB, verdict=Verdict.APPROVED, request_id=EXTENSION_ID)
CONFIRMED = Confirmation(is_confirmed=True)


def held(record: DecisionRecord | None = APPROVED, *, more_minutes: int = 30, **extension: object) -> World:
    """Alice operates until half past twelve, and bob has approved what she asked for on top."""
    world = World()
    world.declare_grant()
    grant = delivered(a_grant(is_ordered=True), instance_id="i-1", writer=WRITER, now=FRIDAY_NOON)
    world.grants.declare_grant(grant)
    world.requests.keep_hold_token(REQUEST_ID, a_task_token("token-hold"))
    world.requests.declare_request(
        a_request(
            **{"request_id": EXTENSION_ID, "extends": REQUEST_ID, "duration_seconds": more_minutes * 60} | extension
        )
    )
    if record is not None:
        world.requests.open_decision(record, task_token=a_task_token("token-1"))
    return world


def extend(world: World) -> Confirmation:
    return world.run(grant_extension, request_id=EXTENSION_ID)


def refused(world: World) -> str:
    """The reason of a refusal that changed nothing."""
    before = world.grants.find_grant(a_grant().facts.key)
    confirmation = extend(world)

    assert not confirmation.is_confirmed
    assert before == world.grants.find_grant(a_grant().facts.key)
    return confirmation.reason


def test_the_end_is_moved_and_the_hold_is_woken() -> None:
    """And both requests' books say so."""
    world = held()

    assert CONFIRMED == extend(world)
    assert (FRIDAY_NOON + minutes(60), (EXTENSION_ID,)) == (world.grant().ends_at, world.grant().extension_ids)
    assert (["token-hold"], ["extended"]) == (world.executions.woken, world.audit.events(REQUEST_ID))


def test_repeating_it_moves_nothing_more_but_wakes_again() -> None:
    """The first try may have died before the waking."""
    world = held()
    for _ in range(3):
        assert CONFIRMED == extend(world)

    assert FRIDAY_NOON + minutes(60) == world.grant().ends_at
    assert 3 == len(world.executions.woken)


def test_the_bastion_is_leased_for_longer_before_the_access_lasts_longer() -> None:
    """In this order: whoever dies in between leaves a bastion up for a while, and nobody without one."""
    world = held()
    leases: list[object] = []
    world.grants.declare_meanwhile(
        "replace_grant", lambda: leases.append(world.bastions.find_bastion("main").leases[REQUEST_ID])
    )
    extend(world)

    assert [world.grant().ends_at + minutes(15)] == leases


def test_a_bastion_that_takes_no_lease_leaves_the_end_where_it_is() -> None:
    """It is tried again."""
    world = held()
    world.bastions.declare_bastion(a_bastion(state=BastionState.STOPPING, instance_id="i-1"))

    with pytest.raises(LedgerUnavailableError):
        extend(world)
    assert FRIDAY_NOON + minutes(30) == world.grant().ends_at


def test_a_shorter_approval_extends_by_that_much() -> None:
    """Ten of the thirty minutes."""
    world = held(replace(APPROVED, decisions=(a_decision(BOB, terms=Terms(level=OPERATE, duration_seconds=600)),)))
    extend(world)

    assert FRIDAY_NOON + minutes(40) == world.grant().ends_at


@pytest.mark.parametrize(
    "record",
    [
        None,
        a_record(request_id=EXTENSION_ID),
        a_record(BOB, request_id=EXTENSION_ID, verdict=Verdict.DENIED),
        a_record(BOB, request_id=EXTENSION_ID, verdict=Verdict.CANCELLED),
        a_record(ALICE, request_id=EXTENSION_ID, verdict=Verdict.APPROVED),
        a_record(BOB, request_id=EXTENSION_ID, verdict=Verdict.APPROVED, void=(BOB.person_id,)),
    ],
    ids=["nothing", "open", "denied", "cancelled", "by the holder", "void"],
)
def test_what_was_not_approved_extends_nothing(record: DecisionRecord | None) -> None:
    """Whatever started the state."""
    assert refused(held(record))


def test_an_approval_of_reading_never_prolongs_writing() -> None:
    """Were such a decision recorded all the same, it would give what its approver did not agree to."""
    as_read = a_record(
        decisions=tuple(a_decision(who, terms=Terms(level=READ, duration_seconds=600)) for who in (BOB, CAROL)),
        request_id=EXTENSION_ID,
        verdict=Verdict.APPROVED,
    )
    world = held(as_read, level=WRITE)
    writing = a_request(level=WRITE)
    world.requests.declare_request(writing)
    grant = world.grants.declare_grant(
        delivered(a_grant(writing, is_ordered=True), instance_id="i-1", writer=WRITER, now=FRIDAY_NOON)
    )

    assert "not the access of R-ABC234" in extend(world).reason
    assert grant == world.grants.find_grant(grant.facts.key)


def test_an_extension_prolongs_nobody_elses_access_and_no_other() -> None:
    """Nor itself, nor another level."""
    for changes in ({"person": CAROL}, {"level": READ}, {"extends": None}):
        world = held(APPROVED, **changes)
        assert refused(world)


@pytest.mark.parametrize(("more_minutes", "reason"), [(239, "at most 3 hours 30 minutes more"), (999, "too long")])
def test_the_cap_holds_for_all_of_it(more_minutes: int, reason: str) -> None:
    """Four hours from the delivery, of which half an hour is there already."""
    assert reason in refused(held(more_minutes=more_minutes))


def test_the_catalogue_of_now_counts() -> None:
    """The cap was lowered, and whoever approved is no approver any more."""
    world = held()
    world.catalogue = a_catalogue(a_location(levels={OPERATE: a_rule(cap_seconds=2400)}))
    assert "at most 10 minutes more" in refused(world)

    world.catalogue = a_catalogue(a_location(levels={OPERATE: a_rule(approvers=frozenset({"carol"}))}))
    assert "The catalogue has changed" in refused(world)


class TestTooLate:
    def test_a_cancelled_extension_does_nothing(self) -> None:
        """Taken back after it was approved."""
        world = held()
        world.run(ask_end, request_id=EXTENSION_ID, person=ALICE)

        assert "cancelled" in refused(world)

    def test_access_whose_end_was_asked_for_is_not_prolonged(self) -> None:
        """The end comes, though it is not written yet."""
        world = held()
        world.run(ask_end, request_id=REQUEST_ID, person=ALICE)

        assert "has ended" in refused(world)

    def test_access_whose_end_is_reached_is_not_prolonged(self) -> None:
        """Though nobody has looked at it yet."""
        world = held()
        world.clock.advance(1800)

        assert "has ended" in refused(world)

    @pytest.mark.parametrize(
        "grant",
        [a_grant(state=GrantState.ENDING), a_grant(state=GrantState.GONE), a_grant(a_request(request_id="R-NEXT22"))],
        ids=["ending", "gone", "another request's"],
    )
    def test_access_that_is_over_stays_over(self, grant: Grant) -> None:
        """And nobody else's is touched."""
        world = held()
        world.grants.declare_grant(grant)
        world.requests.close_request(an_ended_request())

        assert refused(world)
        assert [] == world.executions.woken

    def test_access_that_ends_while_it_is_prolonged_stays_ended_and_keeps_no_bastion(self) -> None:
        """The end was written between the reading and the writing; the lease must not outlive it by hours."""
        world = held(more_minutes=180)
        world.grants.declare_meanwhile(
            "find_grant", lambda: world.run(check_grant_end, request_id=REQUEST_ID, end_now=True)
        )

        assert "has ended" in extend(world).reason
        assert GrantState.ENDING is world.grant().state
        assert {} == world.bastions.find_bastion("main").leases

    @pytest.mark.parametrize(
        "grant",
        [a_grant(state=GrantState.ENDING), a_grant(state=GrantState.GONE), a_grant(a_request(request_id="R-NEXT22"))],
        ids=["ending", "gone", "another request's"],
    )
    def test_a_try_that_was_killed_leaves_no_lease_on_access_that_is_over(self, grant: Grant) -> None:
        """It had leased the bastion for longer and died before the end was moved; the access ended, and it is tried again."""
        world = held(more_minutes=180)
        world.bastions.take_lease("main", REQUEST_ID, until=FRIDAY_NOON + minutes(225))
        world.bastions.take_lease("main", "R-NEXT22", until=FRIDAY_NOON + minutes(60))
        world.grants.declare_grant(grant)

        assert refused(world)
        assert {"R-NEXT22"} == set(world.bastions.find_bastion("main").leases)

    def test_access_that_is_refused_more_time_keeps_its_lease(self) -> None:
        """It is not over."""
        world = held(more_minutes=239)
        world.bastions.take_lease("main", REQUEST_ID, until=FRIDAY_NOON + minutes(45))

        assert "at most" in refused(world)
        assert {REQUEST_ID} == set(world.bastions.find_bastion("main").leases)


def test_the_hold_that_began_meanwhile_is_the_one_that_is_woken() -> None:
    """Its token is newer than the record that was read first."""
    world = held()
    world.grants.declare_meanwhile(
        "replace_grant", lambda: world.requests.keep_hold_token(REQUEST_ID, a_task_token("token-newer"))
    )
    extend(world)

    assert ["token-newer"] == world.executions.woken


def test_access_that_keeps_changing_is_given_up_with_an_error() -> None:
    """The state tries again."""
    world = held()
    world.grants.declare_meanwhile(
        "find_grant",
        lambda: world.grants.declare_grant(replace(world.grant(), ends_at=world.grant().ends_at + minutes(1))),
        times=99,
    )

    with pytest.raises(LedgerUnavailableError):
        extend(world)
