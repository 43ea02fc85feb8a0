"""A decision: judged, written once, and whoever closes the deciding wakes the workflow."""

from collections.abc import Callable

import pytest

from chalicelib.domain.decisions import DecisionRecord, Refusal, Verdict
from chalicelib.domain.endings import Outcome
from chalicelib.domain.errors import LedgerUnavailableError, UnknownRequestError
from chalicelib.domain.people import Person
from chalicelib.workflow.record_decision import record_decision
from tests.factories import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    REQUEST_ID,
    WRITE,
    a_record,
    a_request,
    a_task_token,
    an_ended_request,
)
from tests.fakes import World


def waiting(*, needed: int = 1) -> World:
    """A request that waits for one or two approvers."""
    world = World()
    world.declare_request(**({"level": WRITE} if needed == 2 else {}))
    world.requests.open_decision(a_record(needed=needed), task_token=a_task_token("token-1"))
    return world


def press(world: World, person: Person | None, *, approves: bool = True) -> DecisionRecord | Refusal:
    return world.run(record_decision, request_id=REQUEST_ID, person=person, approves=approves)


def presses(world: World, person: Person, *, approves: bool = True) -> Callable[[], object]:
    """The same, for later."""
    return lambda: press(world, person, approves=approves)


def recorded(world: World) -> DecisionRecord:
    record = world.requests.require_request(REQUEST_ID).decisions
    assert record is not None
    return record


def test_the_approval_that_is_needed_closes_and_wakes() -> None:
    """Written first, woken then."""
    world = waiting()

    assert press(world, BOB) == recorded(world) == a_record(BOB, verdict=Verdict.APPROVED)
    assert ["token-1"] == world.executions.woken


def test_one_of_two_approvals_wakes_nobody() -> None:
    """The second does."""
    world = waiting(needed=2)
    press(world, BOB)
    woken_by_first = list(world.executions.woken)
    press(world, CAROL)

    assert ([], ["token-1"]) == (woken_by_first, world.executions.woken)
    assert recorded(world).verdict is Verdict.APPROVED


def test_a_no_closes_and_wakes() -> None:
    """At once, though two were needed."""
    world = waiting(needed=2)
    press(world, BOB, approves=False)

    assert (Verdict.DENIED, ["token-1"]) == (recorded(world).verdict, world.executions.woken)


@pytest.mark.parametrize("person", [ALICE, DAVE, None])
def test_who_may_not_decide_is_refused_and_changes_nothing(person: Person | None) -> None:
    """The requester, a stranger to the rule, and somebody unlisted."""
    world = waiting()

    assert isinstance(press(world, person), Refusal)
    assert (a_record(), []) == (recorded(world), world.executions.woken)


def test_a_second_click_wakes_the_workflow_again() -> None:
    """The first waking may have been lost; the click itself counts for nothing."""
    world = waiting()
    press(world, BOB)

    assert isinstance(press(world, BOB), Refusal)
    assert (["token-1", "token-1"], 2) == (world.executions.woken, recorded(world).version)


def test_of_two_who_decide_at_once_the_second_is_judged_by_what_the_first_did() -> None:
    """Carol denies while bob's approval is being judged: her no stands and his yes is refused."""
    world = waiting()
    world.requests.declare_meanwhile("require_request", presses(world, CAROL, approves=False))

    refusal = press(world, BOB)

    assert isinstance(refusal, Refusal)
    assert "was denied already" in refusal.reason
    assert (Verdict.DENIED, {"token-1"}) == (recorded(world).verdict, set(world.executions.woken))


def test_of_two_approvals_at_once_both_count() -> None:
    """The slower one is written on top of the faster one."""
    world = waiting(needed=2)
    world.requests.declare_meanwhile("require_request", presses(world, CAROL))

    assert isinstance(press(world, BOB), DecisionRecord)
    assert (Verdict.APPROVED, {BOB.person_id, CAROL.person_id}) == (
        recorded(world).verdict,
        recorded(world).approvers(),
    )
    assert ["token-1"] == world.executions.woken


def test_a_record_that_keeps_changing_is_given_up_with_an_error() -> None:
    """The person presses again."""
    world = waiting(needed=2)
    world.requests.declare_meanwhile("require_request", lambda: touch(world), times=99)

    with pytest.raises(LedgerUnavailableError, match="press the button again"):
        press(world, BOB)


def touch(world: World) -> None:
    """Somebody else writes the record, changing nothing but its version."""
    record = recorded(world)
    assert world.requests.replace_decision(a_record(needed=2, version=record.version + 1))


def test_a_request_that_waits_for_nobody_takes_no_decision() -> None:
    """It is automatic, or not yet that far."""
    world = World()
    world.declare_request()

    refusal = press(world, BOB)

    assert isinstance(refusal, Refusal)
    assert "is not waiting for a decision" in refusal.reason


def test_a_request_that_has_ended_takes_no_decision() -> None:
    """A card may outlive its request; the answer says how it ended."""
    world = waiting()
    world.requests.close_request(an_ended_request(outcome=Outcome.TIMED_OUT))

    refusal = press(world, BOB)

    assert isinstance(refusal, Refusal)
    assert "R-ABC234 has ended already (timed out)." == refusal.reason
    assert () == recorded(world).decisions


def test_a_decision_on_one_request_leaves_others_alone() -> None:
    """Even of the same person."""
    world = waiting()
    world.requests.declare_request(a_request(request_id="R-NEXT22", level=WRITE))
    world.requests.open_decision(a_record(request_id="R-NEXT22"), task_token=a_task_token("token-2"))
    press(world, BOB)

    assert a_record(request_id="R-NEXT22") == world.requests.require_request("R-NEXT22").decisions


def test_an_unknown_request_is_an_error() -> None:
    """A forged button."""
    with pytest.raises(UnknownRequestError):
        press(World(), BOB)
