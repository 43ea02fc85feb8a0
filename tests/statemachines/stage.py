"""Plays the real definition in the local front of AWS, with functions that do as a script says, and tells what happened."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import product
from queue import Queue
from threading import Event
from typing import Any, Self

import boto3

from chalicelib.domain.documents import new_document
from chalicelib.domain.endings import Purpose
from local.aws import LocalAws
from tests.statemachines.definition import (
    Edge,
    all_edges,
    all_states,
    function_of,
    load_definition,
    snake_case,
)

LONGEST_SECONDS = 20.0
FUNCTION_ARN = "arn:aws:lambda:eu-west-1:123456789012:function:"
PROVISIONERS = ("main", "far")
"""Whose database functions there are on the stage."""
BRANCHES = {
    name: index
    for _, state in all_states(load_definition())
    for index, branch in enumerate(state.get("Branches", ()))
    for name in branch["States"]
}
"""The states inside parallel branches, and in which branch they are."""
ROUTED_FUNCTIONS = {
    str(function_of(state))
    for _, state in all_states(load_definition())
    if "FunctionName.$" in state.get("Parameters", {})
}
"""The functions of which every provisioner has its own."""


class Play:
    """One execution: what its functions are to answer, what they were given, and what became of it."""

    def __init__(self, script: "Script") -> None:
        self._script = script
        self.events: dict[str, list[Any]] = {function: [] for function in script}
        self.calls = {function: Event() for function in script}
        """Set by the first call of each function."""
        self.tokens: dict[str, Queue[str]] = {function: Queue() for function in script}
        self.provisioners: dict[str, list[str]] = {snake_case(function): [] for function in ROUTED_FUNCTIONS}
        """Whose function was called, for those of which each provisioner has one."""
        self.history: Sequence[Mapping[str, Any]] = ()
        self.status = "RUNNING"

    def perform(self, function: str, event: Mapping[str, Any]) -> Any:
        """Answer one call as the script says; the last answer of a function stands for all its later calls."""
        self.events[function].append(event)
        self.calls[function].set()
        answer = self._script[function][: len(self.events[function])][-1]
        if "task_token" in event:
            self.tokens[function].put(event["task_token"])
        if callable(answer):
            answer = answer(self, event)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def steps(self) -> list[str]:
        """The states as they were entered and left, parallel branches mixed as they ran."""
        steps = {"StateEntered": "entered", "StateExited": "left"}
        return [
            f"{step} {_name(event)}"
            for event in self.history
            for kind, step in steps.items()
            if event["type"].endswith(kind)
        ]

    @property
    def entered(self) -> list[str]:
        """The states in order; between two others, those of parallel branches one branch after the other."""
        entered: list[str] = []
        joined = 0
        for event in self.history:
            if event["type"].endswith("StateEntered"):
                entered.append(_name(event))
                joined = joined if entered[-1] in BRANCHES else len(entered)
                entered[joined:] = sorted(entered[joined:], key=BRANCHES.__getitem__)
        return entered

    @property
    def edges(self) -> set[Edge]:
        """The edges that were taken."""
        return set(self._edges())

    def _edges(self) -> Iterator[Edge]:
        by_id = {event["id"]: event for event in self.history}
        left = set()
        for event in self.history:
            before = by_id.get(event.get("previousEventId"), event)
            if event["type"].endswith("StateEntered") and before["type"].endswith("StateExited"):
                has_failed = by_id[before["previousEventId"]]["type"] in {"TaskFailed", "TaskTimedOut"}
                yield _edge(_name(before), _name(event), has_failed=has_failed)
                left.add(_name(before))
        for name in set(self.entered) - left:
            yield _edge(name, None, has_failed=False)


Answer = Mapping[str, Any] | Exception | Callable[[Play, Any], Mapping[str, Any]]
"""What a function returns or raises, or a callable that works it out."""
Script = Mapping[str, Sequence[Answer]]


class Stage:
    """Use it as a context manager; there is one at a time in a process."""

    def __init__(self) -> None:
        self._plays: dict[str, Play] = {}
        functions = {function_of(state) for _, state in all_states(load_definition())} - {None} - ROUTED_FUNCTIONS
        handlers = {name: self._handler(name) for name in map(snake_case, map(str, functions))}
        for function, provisioner in product(ROUTED_FUNCTIONS, PROVISIONERS):
            handlers[f"{provisioner}-{function}"] = self._handler(snake_case(function), provisioner)
        self._aws = LocalAws(handlers=handlers)

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.enter_context(self._aws)
            self._client = boto3.client(
                "stepfunctions",
                region_name="eu-west-1",
                endpoint_url=self._aws.endpoint_url,
                aws_access_key_id="example",
                aws_secret_access_key="example",
            )
            undo.callback(self._client.close)
            self._machine = self._client.create_state_machine(
                name="drawbridge",
                definition=json.dumps(brisk_definition()),
                roleArn="arn:aws:iam::123456789012:role/drawbridge",
            )["stateMachineArn"]
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def play(self, script: Script, *, wakes: Sequence[str] = (), purpose: Purpose = Purpose.GRANT) -> Play:
        """Run one execution to its end. ``wakes`` names the waiting functions whose tokens are answered, in order."""
        request_id = f"R-{len(self._plays):06}"
        play = self._plays[request_id] = Play(script)
        execution = self._client.start_execution(
            stateMachineArn=self._machine, name=request_id, input=json.dumps(new_document(request_id, purpose))
        )["executionArn"]
        for function in wakes:
            self._wake(execution, play.tokens[function])
        self._wait_until(lambda: self._has_ended(execution))
        play.status = self._client.describe_execution(executionArn=execution)["status"]
        play.history = self._client.get_execution_history(executionArn=execution)["events"]
        return play

    def _wake(self, execution: str, tokens: Queue[str]) -> None:
        """Answer the next token, unless the execution ends without one: the states that it entered tell why."""
        self._wait_until(lambda: not tokens.empty() or self._has_ended(execution))
        if not tokens.empty():
            self._client.send_task_success(taskToken=tokens.get(), output="{}")

    def _has_ended(self, execution: str) -> bool:
        return bool(self._client.describe_execution(executionArn=execution)["status"] != "RUNNING")

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        deadline, pause = time.monotonic() + LONGEST_SECONDS, Event()
        while not condition():
            assert time.monotonic() < deadline, f"Nothing happened for {LONGEST_SECONDS:.0f} s."
            pause.wait(0.03)

    def _handler(self, function: str, provisioner: str | None = None) -> Callable[[Any, Any], Any]:
        def handle(event: Any, context: Any) -> Any:
            play = self._plays[event["request_id"]]
            if provisioner is not None:
                play.provisioners[function].append(provisioner)
            return play.perform(function, event)

        return handle


def brisk_definition() -> dict[str, Any]:
    """The definition with its functions named, and each Retry cut down to one more attempt after one second.

    Nothing else differs; states and edges are those of the file. How long real retries go on is no matter of paths.
    """
    definition = load_definition()
    for _, state in all_states(definition):
        for retrier in state.get("Retry", ()):
            retrier |= {"IntervalSeconds": 1, "MaxAttempts": 1, "BackoffRate": 1.0, "MaxDelaySeconds": 2}
        if (function := function_of(state)) in ROUTED_FUNCTIONS:
            parameters = state["Parameters"]
            parameters["FunctionName.$"] = parameters["FunctionName.$"].replace("${DatabaseFunctions}-", FUNCTION_ARN)
        elif function:
            state["Parameters"]["FunctionName"] = FUNCTION_ARN + snake_case(function)
    return definition


def _name(event: Mapping[str, Any]) -> str:
    """The state that an event says was entered or left."""
    details = event.get("stateEnteredEventDetails") or event["stateExitedEventDetails"]
    return str(details["name"])


def _edge(source: str, target: str | None, *, has_failed: bool) -> Edge:
    """The edge between two states; where one leads there on success and another on failure, the one that was meant."""
    edges = [edge for edge in all_edges(load_definition()) if (edge.source, edge.target) == (source, target)]
    if len(edges) > 1:
        edges = [edge for edge in edges if edge.via.startswith("Catch") == has_failed]
    (edge,) = edges
    return edge
