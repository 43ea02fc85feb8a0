"""A few runs of the campaign: nothing broken, and a small sample of what `python -m tests.faults` does at length."""

import random
from collections.abc import Mapping
from typing import Any

import pytest

from tests.faults.campaign import Course, pair_trials, single_trials
from tests.faults.gate import FAULTS, Fault, faults_of
from tests.faults.ground import Ground
from tests.faults.play import play
from tests.faults.stories import STORIES
from tests.rate_limits import RateLimits

SEED, SAMPLE = 20261121, 6
SLOW_SECONDS = {"slack": 9.5, "aws": 2.0, "postgres": 1.0}
"""What an answer takes of those who are slow, and not yet too slow for whoever asks."""


class Pause(RateLimits):
    """From the second minute on, for an hour."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(lambda: 0.0 if ground.world is None else ground.world.scheduler.now)

    def pause(self, method: str, arguments: Mapping[str, Any]) -> int:
        return round(3660 - self.clock()) if 60 < self.clock() < 3659 else 0


@pytest.fixture(scope="module")
def course(ground: Ground) -> Course:
    """The short story as it goes when nothing breaks."""
    return Course(story="brief", calls=play(ground, "brief", {}).points)


@pytest.mark.parametrize("story", STORIES)
def test_everything_holds_when_nothing_breaks(ground: Ground, story: str) -> None:
    """Each story comes to its end, everybody gets what they wait for, and nothing is left."""
    run = play(ground, story, {})

    assert ((), ()) == (run.violations, run.gave_up)


@pytest.mark.parametrize("kind", SLOW_SECONDS)
@pytest.mark.parametrize("story", STORIES)
def test_everything_holds_while_others_are_slow(ground: Ground, story: str, kind: str) -> None:
    """With all calls of a kind at their slowest together no function is killed, so no request ends for it."""
    run = play(ground, story, {}, latency={kind: SLOW_SECONDS[kind]})

    assert ((), ()) == (run.violations, run.gave_up)


@pytest.mark.parametrize("story", STORIES)
def test_everything_ends_though_slack_takes_nothing_for_an_hour(ground: Ground, story: str) -> None:
    """Some get no access meanwhile; nobody keeps it, and in the end every card says how it went."""
    ground.slack.limits = Pause(ground)
    try:
        run = play(ground, story, {})
    finally:
        ground.slack.limits = None

    assert () == run.violations


@pytest.mark.parametrize("story", ["brief", "stubborn", "approved"])
def test_a_run_is_the_same_again(ground: Ground, story: str) -> None:
    """Only so can a violation be played once more."""
    first, again = (play(ground, story, {}).points for _ in range(2))

    assert [str(call) for call in first] == [str(call) for call in again]


@pytest.mark.parametrize("number", range(SAMPLE))
def test_everything_holds_when_something_breaks(ground: Ground, course: Course, number: int) -> None:
    """One call of many, in one way of many."""
    trial = random.Random(SEED).sample(single_trials([course], SEED), SAMPLE)[number]

    run = play(ground, trial.story, trial.plan)

    assert (True, ()) == (run.is_met, run.violations), trial.label


@pytest.mark.parametrize("number", range(2))
def test_everything_holds_when_two_things_break(ground: Ground, course: Course, number: int) -> None:
    """Both on the way out."""
    trial = pair_trials([course], SEED, 2)[number]

    assert () == play(ground, trial.story, trial.plan).violations, trial.label


def test_every_kind_of_call_meets_every_fault_that_it_can_meet(course: Course) -> None:
    """The campaign tries each site with each of them."""
    trials = single_trials([course], SEED)
    tried = {(call.kind, fault) for call in course.calls for fault in faults_of(call)}

    assert {(kind, fault) for kind, faults in FAULTS.items() for fault in faults} == tried
    assert set(Fault) == {fault for trial in trials for fault in trial.plan.values()}
    assert len({call.site for call in course.calls}) == len({place.site for trial in trials for place in trial.plan})
