"""CheckPolicy: the request is judged again, by the current catalogue and at the current time."""

import pytest

from chalicelib.defaults import Durations
from chalicelib.domain.errors import UnknownLocationError, UnknownRequestError
from chalicelib.domain.locations import Hours
from chalicelib.domain.policy import PolicyAnswer
from chalicelib.workflow.check_policy import check_policy
from tests.factories import FRIDAY_NOON, OPERATE, READ, REQUEST_ID, a_catalogue, a_location, a_rule, minutes
from tests.fakes import World


def test_the_answer_is_policys() -> None:
    """Automatic for reading, people for operating."""
    answers = []
    for level in (READ, OPERATE):
        world = World()
        world.declare_request(level=level)
        answers.append(world.run(check_policy, request_id=REQUEST_ID).answer)

    assert [PolicyAnswer.ALLOWED, PolicyAnswer.NEEDS_APPROVAL] == answers


def test_the_clock_of_the_workflow_counts() -> None:
    """Not the time at which the person asked."""
    office = a_location(levels={OPERATE: a_rule(hours=Hours.parse("Fri 11:00-13:00 UTC"))})
    world = World(catalogue=a_catalogue(office))
    world.declare_request()
    world.clock.advance(3600)

    assert world.run(check_policy, request_id=REQUEST_ID).answer is PolicyAnswer.DENIED


@pytest.mark.parametrize(("wait", "waits"), [(3600, (1800, 1800)), (5, (2, 3)), (1, (1, 1)), (0, (1, 1))])
def test_the_reminder_comes_at_half_of_the_wait(wait: int, waits: tuple[int, int]) -> None:
    """Neither half is so short that the state would refuse it as its timeout."""
    assert waits == Durations(approval_wait=wait).approval_waits


def test_the_asking_is_audited_with_the_rule_that_answered() -> None:
    """At the time of the asking."""
    world = World()
    world.declare_request(asked_at=FRIDAY_NOON - minutes(1))

    outcome = world.run(check_policy, request_id=REQUEST_ID)

    (entry,) = world.audit.entries(REQUEST_ID)
    assert ("asked", "2026-11-20T11:59:00.000Z") == (entry["event"], entry["at"])
    assert (outcome.reason, "U0ALICE") == (entry["facts"]["rule"], entry["facts"]["request"]["person"]["slack"])


def test_an_unknown_request_or_location_is_an_error() -> None:
    """A location may have left the catalogue since."""
    world = World()
    world.declare_request(location="orders-old")

    with pytest.raises(UnknownLocationError):
        world.run(check_policy, request_id=REQUEST_ID)
    with pytest.raises(UnknownRequestError):
        world.run(check_policy, request_id="R-XXXXXX")
