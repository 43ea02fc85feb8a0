"""A Step Functions in virtual time, for the part of the language that our definition needs; anything else is refused.

Held to the truth by test_interpreter.py: of the scenarios of tests/statemachines it makes what the local interpreter makes.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import count
from typing import Any

from tests.faults.scheduler import Scheduler, Signal

Json = dict[str, Any]
LIMIT_BYTES = 256 * 1024
_TERMINAL = {"States.Runtime", "States.DataLimitExceeded"}
_FIELDS = {
    "Task": {
        "Comment", "Type", "Resource", "Parameters", "TimeoutSeconds", "TimeoutSecondsPath", "ResultSelector", "ResultPath",
        "Retry", "Catch", "Next", "End",
    },
    "Choice": {"Comment", "Type", "Choices", "Default"},
    "Pass": {"Comment", "Type", "Parameters", "ResultPath", "Next", "End"},
    "Parallel": {"Comment", "Type", "Branches", "ResultSelector", "ResultPath", "Retry", "Catch", "Next"},
    "Succeed": {"Comment", "Type"},
    "Fail": {"Comment", "Type", "Error", "Cause"},
}  # fmt: skip
_RETRY = {"ErrorEquals", "IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds"}
_CATCH, _CHOICE = {"ErrorEquals", "ResultPath", "Next"}, {"Variable", "StringEquals", "BooleanEquals", "Next"}
_PATH, _RESULT_PATH = re.compile(r"\$(?:\.\w+|\[\d+\])*"), re.compile(r"\$(?:\.\w+)?")
_STEP, _FORMAT = re.compile(r"\.(\w+)|\[(\d+)\]"), re.compile(r"States\.Format\('([^'{}]*\{\}[^'{}]*)', (\$[.\w]*)\)")
_CONTEXT: set[str] = {"$$.Task.Token", "$$.Execution.Name", "$$.State.EnteredTime", "$$.State.RetryCount"}
_NO_CONTEXT: Mapping[str, Any] = {}
_RESOURCES = {"arn:aws:states:::lambda:invoke", "arn:aws:states:::lambda:invoke.waitForTaskToken"}


class DefinitionError(Exception):
    """The definition uses something that is not understood here."""


class StateError(Exception):
    """A state failed, by this error and cause."""

    def __init__(self, error: str, cause: str = "") -> None:
        super().__init__(error, cause)
        self.error, self.cause = error, cause


class RefusalError(Exception):
    """The API of Step Functions refuses, by this code."""


class _Stopped(Exception):  # noqa: N818 - no error: the execution ends here, past every Catch
    pass


@dataclass(eq=False)
class Invocation:
    """One run of a function: once ``is_over`` is set, its value, or an error with its cause."""

    is_over: Signal = field(default_factory=Signal)
    value: Any = None
    error: str = ""
    cause: str = ""


Invoke = Callable[[str, Any], Invocation]
"""Starts a function by name or ARN."""


@dataclass(eq=False)
class Execution:
    """One execution and what became of it."""

    name: str
    input: str
    started_at: float
    status: str = "RUNNING"
    output: Any = None
    error: str = ""
    history: list[tuple[str, Any]] = field(default_factory=list)
    """Each state that was entered, with its input."""
    stop: Signal = field(default_factory=Signal)
    is_over: Signal = field(default_factory=Signal)

    @property
    def entered(self) -> list[str]:
        return [name for name, _ in self.history]


@dataclass(eq=False)
class _Token:
    execution: Execution
    answered: Signal = field(default_factory=Signal)
    is_open: bool = True


class StateMachine:
    """One definition and its executions. ``invoke`` runs functions."""

    def __init__(
        self, definition: Mapping[str, Any], *, scheduler: Scheduler, clock: Callable[[], datetime], invoke: Invoke
    ) -> None:
        _require_understood(definition)
        self._definition, self._scheduler, self._clock, self._invoke = definition, scheduler, clock, invoke
        self.executions: dict[str, Execution] = {}
        self._tokens: dict[str, _Token] = {}
        self._numbers = count(1)

    def start(self, name: str, document: str) -> Execution:
        """Start an execution. RefusalError when another one had the name."""
        if standing := self.executions.get(name):
            if standing.status == "RUNNING" and standing.input == document:
                return standing
            raise RefusalError("ExecutionAlreadyExists")
        execution = self.executions[name] = Execution(name, document, self._scheduler.now)
        self._scheduler.spawn(f"execution {name}", lambda: self._run(execution))
        return execution

    def succeed(self, token: str) -> None:
        """Answer a task token. RefusalError for one that nobody waits for."""
        known = self._tokens.get(token)
        if known is None:
            raise RefusalError("InvalidToken")
        if not known.is_open or known.answered.is_set or known.execution.status != "RUNNING":
            raise RefusalError("TaskTimedOut")
        self._scheduler.set(known.answered)

    def abort(self, name: str) -> None:
        """StopExecution: no Catch runs."""
        self._scheduler.set(self.executions[name].stop)

    def open_tokens(self) -> set[str]:
        """The tokens that are waited for."""
        return {text for text, token in self._tokens.items() if token.is_open}

    def _run(self, execution: Execution) -> None:
        frame = _Frame(execution, (execution.stop,))
        try:
            execution.output = self._run_states(frame, self._definition, json.loads(execution.input))
            execution.status = "SUCCEEDED"
        except StateError as failure:
            execution.status, execution.error = "FAILED", failure.error
        except _Stopped:
            execution.status = "ABORTED"
        self._scheduler.set(execution.is_over)

    def _run_states(self, frame: "_Frame", machine: Mapping[str, Any], data: Any) -> Any:
        following = machine["StartAt"]
        while following is not None:
            if any(stop.is_set for stop in frame.stops):
                raise _Stopped
            name, state = following, machine["States"][following]
            frame.execution.history.append((name, data))
            if state["Type"] == "Succeed":
                return data
            if state["Type"] == "Fail":
                raise StateError(state["Error"], state["Cause"])
            if state["Type"] == "Choice":
                following = _choose(state, data)
                continue
            data, following = self._run_with_retries(frame, state, data)
            if len(json.dumps(data)) > LIMIT_BYTES:
                raise StateError("States.DataLimitExceeded", f"the output of {name}")
        return data

    def _run_with_retries(self, frame: "_Frame", state: Mapping[str, Any], data: Any) -> tuple[Any, str | None]:
        """The data after a state, and which state is next."""
        retriers = state.get("Retry", ())
        tries, entered = [0] * len(retriers), {"$$.State.EnteredTime": self._clock().isoformat()}
        while True:
            try:
                context = entered | {"$$.State.RetryCount": sum(tries), "$$.Execution.Name": frame.execution.name}
                result = self._attempt(frame, state, data, context)
                if "ResultSelector" in state:
                    result = _fill_in(state["ResultSelector"], result)
                return _place(data, state.get("ResultPath", "$"), result), state.get("Next")
            except StateError as failure:
                number = next((i for i, each in enumerate(retriers) if _matches(each, failure)), None)
                if number is not None and tries[number] < retriers[number]["MaxAttempts"]:
                    self._wait(frame, _delay(retriers[number], tries[number]))
                    tries[number] += 1
                    continue
                for catcher in state.get("Catch", ()):
                    if _matches(catcher, failure):
                        caught = {"Error": failure.error, "Cause": failure.cause}
                        return _place(data, catcher.get("ResultPath", "$"), caught), catcher["Next"]
                raise

    def _attempt(self, frame: "_Frame", state: Mapping[str, Any], data: Any, context: Mapping[str, Any]) -> Any:
        if state["Type"] == "Pass":
            return _fill_in(state["Parameters"], data) if "Parameters" in state else data
        if state["Type"] == "Parallel":
            return self._run_branches(frame, state["Branches"], data)
        seconds = state["TimeoutSeconds"] if "TimeoutSeconds" in state else _find(state["TimeoutSecondsPath"], data)
        if type(seconds) is not int or seconds <= 0:
            raise StateError("States.Runtime", f"a timeout of {seconds!r}")
        if state["Resource"].endswith("waitForTaskToken"):
            return self._wait_for_token(frame, state["Parameters"], data, context, seconds)
        parameters = _fill_in(state["Parameters"], data, context)
        run = self._invoke(parameters["FunctionName"], parameters["Payload"])
        self._require_in_time(frame, seconds, run.is_over)
        if run.error:
            raise StateError(run.error, run.cause)
        return {"Payload": run.value, "StatusCode": 200}

    def _wait_for_token(
        self, frame: "_Frame", template: Any, data: Any, context: Mapping[str, Any], seconds: int
    ) -> Any:
        text = f"token-{frame.execution.name}-{next(self._numbers):06d}"
        token = self._tokens[text] = _Token(frame.execution)
        until = self._scheduler.now + seconds
        try:
            parameters = _fill_in(template, data, {**context, "$$.Task.Token": text})
            run = self._invoke(parameters["FunctionName"], parameters["Payload"])
            self._require_in_time(frame, seconds, run.is_over, token.answered)
            if not token.answered.is_set:
                if run.error:
                    raise StateError(run.error, run.cause)
                self._require_in_time(frame, until - self._scheduler.now, token.answered)
        finally:
            token.is_open = False
        return {}

    def _require_in_time(self, frame: "_Frame", seconds: float, *signals: Signal) -> None:
        if not self._wait(frame, seconds, *signals):
            raise StateError("States.Timeout")

    def _wait(self, frame: "_Frame", seconds: float, *signals: Signal) -> bool:
        has_come = self._scheduler.wait(*signals, *frame.stops, seconds=seconds)
        if any(stop.is_set for stop in frame.stops):
            raise _Stopped
        return has_come

    def _run_branches(self, frame: "_Frame", branches: Sequence[Mapping[str, Any]], data: Any) -> list[Any]:
        results: list[Any] = [None] * len(branches)
        failures: list[Exception] = []
        has_failed, ends = Signal(), [Signal() for _ in branches]

        def run(number: int) -> None:
            inner = _Frame(frame.execution, (*frame.stops, has_failed))
            try:
                results[number] = self._run_states(inner, branches[number], data)
            except (StateError, _Stopped) as failure:
                failures.append(failure)
                self._scheduler.set(has_failed)
            self._scheduler.set(ends[number])

        for number in range(len(branches)):
            self._scheduler.spawn(f"execution {frame.execution.name} branch {number}", partial(run, number))
        for end in ends:
            self._scheduler.wait(end)
        if failures:
            raise failures[0]
        return results


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where a state runs: in which execution, and what stops it."""

    execution: Execution
    stops: tuple[Signal, ...]


def _matches(handler: Mapping[str, Any], failure: StateError) -> bool:
    if failure.error in _TERMINAL:
        return False
    names = handler["ErrorEquals"]
    is_task_failure = "States.TaskFailed" in names and failure.error != "States.Timeout"
    return "States.ALL" in names or failure.error in names or is_task_failure


def _delay(retrier: Mapping[str, Any], tries: int) -> float:
    seconds = retrier["IntervalSeconds"] * retrier["BackoffRate"] ** tries
    return min(seconds, retrier.get("MaxDelaySeconds", seconds))


def _choose(state: Mapping[str, Any], data: Any) -> str:
    for choice in state["Choices"]:
        if _holds(choice, data):
            return str(choice["Next"])
    if "Default" not in state:
        raise StateError("States.NoChoiceMatched")
    return str(state["Default"])


def _holds(rule: Mapping[str, Any], data: Any) -> bool:
    if "And" in rule:
        return all(_holds(each, data) for each in rule["And"])
    value = _find(rule["Variable"], data)
    if "StringEquals" in rule:
        return isinstance(value, str) and value == rule["StringEquals"]
    return isinstance(value, bool) and value is rule["BooleanEquals"]


def _find(path: str, data: Any) -> Any:
    """What a path leads to. Nothing at its end is an error that nothing catches."""
    for name, index in _STEP.findall(path.removeprefix("$")):
        try:
            data = data[name] if name else data[int(index)]
        except (LookupError, TypeError) as error:
            raise StateError("States.Runtime", f"{path} leads nowhere") from error
    return data


def _fill_in(template: Any, data: Any, context: Mapping[str, Any] = _NO_CONTEXT) -> Any:
    if not isinstance(template, dict):
        return template
    filled = {}
    for name, value in template.items():
        if not name.endswith(".$"):
            filled[name] = _fill_in(value, data, context)
        elif value in context:
            filled[name[:-2]] = context[value]
        elif formatted := _FORMAT.fullmatch(value):
            filled[name[:-2]] = formatted[1].replace("{}", str(_find(formatted[2], data)))
        else:
            filled[name[:-2]] = _find(value, data)
    return filled


def _place(data: Any, path: str | None, result: Any) -> Any:
    if path is None:
        return data
    if path == "$":
        return result
    return {**data, path.removeprefix("$."): result}


def _require_understood(machine: Mapping[str, Any]) -> None:
    """DefinitionError for what this interpreter would not do as Step Functions does."""
    if set(machine) - {"Comment", "StartAt", "States"}:
        raise DefinitionError(f"{set(machine)}")
    for name, state in machine["States"].items():
        fields = _FIELDS.get(state["Type"], set())
        paths = [state.get("ResultPath"), *(each.get("ResultPath") for each in state.get("Catch", ()))]
        problems = {
            "fields": set(state) - fields,
            "resource": state["Type"] == "Task" and state["Resource"] not in _RESOURCES,
            "result path": [path for path in paths if path and not _RESULT_PATH.fullmatch(path)],
            "retry": [set(each) - _RETRY for each in state.get("Retry", ()) if set(each) - _RETRY],
            "catch": [set(each) - _CATCH for each in state.get("Catch", ()) if set(each) - _CATCH],
            "choice": [each for each in state.get("Choices", ()) if not _is_choice_understood(each)],
            "template": [
                each for part in ("Parameters", "ResultSelector") for each in _strange_parts(state.get(part, {}))
            ],
        }
        for what, found in problems.items():
            if found:
                raise DefinitionError(f"{name}: {what}: {found}")
        for branch in state.get("Branches", ()):
            _require_understood(branch)


def _is_choice_understood(rule: Mapping[str, Any]) -> bool:
    if "And" in rule:
        return not set(rule) - {"And", "Next"} and all(_is_choice_understood(each) for each in rule["And"])
    return len(set(rule) & {"StringEquals", "BooleanEquals"}) == 1 and not set(rule) - _CHOICE


def _strange_parts(template: Any) -> Iterator[str]:
    for name, value in template.items() if isinstance(template, dict) else ():
        if name.endswith(".$"):
            if value not in _CONTEXT and not _PATH.fullmatch(value) and not _FORMAT.fullmatch(value):
                yield f"{name}: {value}"
        else:
            yield from _strange_parts(value)
