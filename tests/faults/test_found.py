"""What the campaign has found once, each as the run that showed it."""

import pytest

from tests.faults.campaign import Course
from tests.faults.gate import Fault, Place
from tests.faults.ground import Ground
from tests.faults.play import play


@pytest.mark.parametrize("name", ["lambda.Invoke", "dynamodb.UpdateItem"])
def test_who_waits_is_woken_though_the_token_of_an_earlier_try_comes_late(ground: Ground, name: str) -> None:
    """Lambda did not say whether it ran, or the ledger whether it wrote; by then another try waits with a token of its own."""
    calls = Course(story="broken-glass", calls=play(ground, "broken-glass", {}).points).places()
    place = next(place for place, call in calls if (call.function, call.name) == ("RequestReview", name))

    run = play(ground, "broken-glass", {place: Fault.LATE})

    assert (True, ()) == (run.is_met, run.violations)


def test_a_question_that_is_opened_after_the_request_has_ended_does_not_stay_open(ground: Ground) -> None:
    """Whoever opened it died before its write came through, and the request failed meanwhile."""
    calls = Course(story="cancelled", calls=play(ground, "cancelled", {}).points).places()
    opens = ("RequestApproval", "dynamodb.UpdateItem")
    place = next(place for place, call in calls if (call.function, call.name) == opens)

    run = play(ground, "cancelled", {place: Fault.LATE_AFTER_DEATH})

    assert (True, ()) == (run.is_met, run.violations)


def test_an_order_that_is_still_under_way_does_not_outlive_the_revocation(ground: Ground) -> None:
    """Lambda did not say whether it ran, another try did; the access failed and was revoked before the first came through."""
    plan = {Place("EnsureBastionRunning Task"): Fault.KILLED_BEFORE, Place("ProvisionDatabaseUser Task"): Fault.LATE}

    run = play(ground, "brief", plan)

    assert (True, ()) == (run.is_met, run.violations)
