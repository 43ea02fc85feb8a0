"""The interpreter in virtual time against the local one: the same states, the same end and the same words to the functions."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pytest

from chalicelib.domain.documents import new_document
from tests.factories import FRIDAY_NOON, seconds
from tests.faults.interpreter import DefinitionError, Execution, Invocation, RefusalError, StateMachine
from tests.faults.scheduler import Scheduler
from tests.statemachines.definition import load_definition, snake_case
from tests.statemachines.stage import FUNCTION_ARN, Play, Stage, brisk_definition
from tests.statemachines.test_paths import GOES_WELL, SCENARIOS, Scenario

COMPARED = (
    "approved by people, ended by its holder",
    "provisioning fails",
    "closing the tunnels fails",
    "holding fails",
    "asking people fails",
)
DAYS = 30 * 86_400.0


class Rehearsal:
    """Plays a scenario of the local interpreter in virtual time."""

    def __init__(self, scenario: Scenario, definition: Mapping[str, Any]) -> None:
        self.play = Play({**GOES_WELL, **scenario.script})
        self._scenario, self._scheduler = scenario, Scheduler()
        self.machine = StateMachine(definition, scheduler=self._scheduler, clock=self._now, invoke=self._invoke)

    def run(self) -> Execution:
        execution = self.machine.start("R-000000", json.dumps(new_document("R-000000", self._scenario.purpose)))
        self._scheduler.spawn("people", lambda: self._wake(execution))
        self._scheduler.run(DAYS)
        self._scheduler.close()
        return execution

    def _now(self) -> datetime:
        return FRIDAY_NOON + seconds(self._scheduler.now)

    def _invoke(self, function: str, payload: Any) -> Invocation:
        run, name = Invocation(), snake_case(function.removeprefix(FUNCTION_ARN).rpartition("-")[2])

        def work() -> None:
            try:
                run.value = self.play.perform(name, json.loads(json.dumps(payload)))
            except Exception as error:  # noqa: BLE001 - whatever a script raises is its function's error
                described = {"errorType": type(error).__name__, "errorMessage": str(error)}
                run.error, run.cause = type(error).__name__, json.dumps(described)
            self._scheduler.set(run.is_over)

        self._scheduler.spawn(name, work)
        return run

    def _wake(self, execution: Execution) -> None:
        for function in self._scenario.wakes:
            while self.play.tokens[function].empty() and execution.status == "RUNNING":
                self._scheduler.sleep(0.2)
            if not self.play.tokens[function].empty():
                self.machine.succeed(self.play.tokens[function].get())


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage() as playing:
        yield playing


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_request_takes_the_same_path_in_virtual_time(name: str) -> None:
    """The states that the local interpreter is shown to enter, and the same end."""
    scenario = SCENARIOS[name]

    execution = Rehearsal(scenario, brisk_definition()).run()

    expected = scenario.states.split()
    assert sorted(expected) == sorted(execution.entered)
    assert [state for state in expected if state not in _beside()] == [
        state for state in execution.entered if state not in _beside()
    ]
    assert ("FAILED" if expected[-1] == "Failed" else "SUCCEEDED") == execution.status


@pytest.mark.parametrize("name", COMPARED)
def test_both_interpreters_tell_the_functions_the_same(stage: Stage, name: str) -> None:
    """What a state is given, and what it makes of an error, is the document's and not the interpreter's."""
    scenario, rehearsal = SCENARIOS[name], Rehearsal(SCENARIOS[name], brisk_definition())

    there = stage.play({**GOES_WELL, **scenario.script}, wakes=scenario.wakes, purpose=scenario.purpose)
    rehearsal.run()

    assert _comparable(there.events) == _comparable(rehearsal.play.events)


@pytest.mark.parametrize(
    ("field", "value"),
    [("Type", "Map"), ("HeartbeatSeconds", 5), ("Resource", "arn:aws:states:::dynamodb:getItem"), ("OutputPath", "$")],
)
def test_what_it_does_not_understand_it_refuses(field: str, value: Any) -> None:
    """A definition that grows beyond it must not be proven by half."""
    definition = brisk_definition()
    definition["States"]["CheckPolicy"][field] = value

    with pytest.raises(DefinitionError):
        Rehearsal(SCENARIOS["ended by the clock"], definition)


def test_an_answered_token_is_refused_and_so_is_a_strange_one() -> None:
    """As Step Functions says it: whoever answers twice learns that nobody waits any more."""
    rehearsal = Rehearsal(SCENARIOS["allowed by policy, ended by its holder"], brisk_definition())
    rehearsal.run()
    refused = []
    for token in ("token-R-000000-000001", "nobody's"):
        with pytest.raises(RefusalError) as refusal:
            rehearsal.machine.succeed(token)
        refused.append(str(refusal.value))

    assert ["TaskTimedOut", "InvalidToken"] == refused


def _beside() -> set[str]:
    branches = load_definition()["States"]["PrepareAccess"]["Branches"]
    return {name for branch in branches for name in branch["States"]}


def _comparable(events: Mapping[str, Any]) -> Any:
    """Without what differs by nature: request ids, task tokens, times, and where in the code an error came from."""
    text = json.dumps({name: given for name, given in events.items() if given})
    return _without_noise(json.loads(text))


def _without_noise(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {
            name: each
            for name, each in value.items()
            if name not in {"request_id", "execution", "task_token", "entered_at", "stackTrace"}
        }
        return {name: _without_noise(_read(name, each)) for name, each in kept.items()}
    return [_without_noise(each) for each in value] if isinstance(value, list) else value


def _read(name: str, value: Any) -> Any:
    return json.loads(value) if name == "Cause" and value else value
