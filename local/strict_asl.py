"""Mends that make moto's Step Functions as strict as AWS, cut for moto 5.2.5. What each says is what AWS does."""
# ruff: noqa: SLF001 - mending moto means reaching into it

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partialmethod
from pkgutil import resolve_name
from typing import Any

from moto.core.exceptions import AWSError
from moto.core.responses import EmptyResult
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

MENDS: list[tuple[Any, str, Any]] = []  # an owner, the name of something it has, what is to stand there instead


@contextmanager
def installed(mends: Iterable[tuple[Any, str, Any]]) -> Iterator[None]:
    """Put mends in place, and everything back at the end."""
    with ExitStack() as undo:
        for owner, name, mended in mends:
            undo.callback(setattr, owner, name, vars(owner)[name])
            setattr(owner, name, mended)
        yield


def abort_executions() -> None:
    """Stop whatever still runs, so that nothing of it happens in the next workspace."""
    for backend in [each for regions in stepfunctions_parser_backends.values() for each in regions.values()]:
        for execution in backend._get_executions("RUNNING"):
            if execution.exec_worker.env is not None:  # else it was never begun
                execution.stop(stop_date=execution.start_date, error=None, cause=None)


def _mend(place: str) -> Callable[[Callable[..., Any]], None]:
    """Register the decorated function for a method below moto.stepfunctions; it gets the original after `self`."""
    owner, name = resolve_name("moto.stepfunctions." + place.rpartition(".")[0]), place.rpartition(".")[2]
    return lambda mended: MENDS.append((owner, name, partialmethod(mended, vars(owner)[name])))


@_mend("parser.backend.execution_worker:ExecutionWorker.start")
def _start(worker: Any, original: Any) -> None:  # what was started can be stopped; moto has to read it first, anew
    original(worker)
    any((worker.env and worker.env.program_state()) or time.sleep(0.001) for _ in range(5_000))  # 5 s at most


@_mend("parser.backend.execution:Execution.stop")
def _stop(execution: Any, original: Any, **details: Any) -> None:  # ABORTED at once, whatever it waits for
    original(execution, **details)
    env = execution.exec_worker.env
    if type(env.program_state()).__name__ == "ProgramStopped":
        execution.exec_status, execution.stop_date = type(execution.exec_status).ABORTED, details["stop_date"]
        for endpoint in tuple(env.callback_pool_manager._pool.values()):
            endpoint.interrupt_all()


@_mend("parser.asl.component.state.exec.execute_state:ExecutionState._evaluate_with_timeout")
def _attempt(state: Any, original: Any, env: Any) -> None:  # has a token of its own; being stopped is no error of it
    waits = getattr(getattr(state, "resource", None), "condition", None) == "waitForTaskToken"
    token = env.callback_pool_manager.add(env.states.context_object.update_task_token()) if waits else None
    try:
        original(state, env)
    except Exception:
        if env.is_running():
            raise
    finally:
        if token is not None:
            token.interrupt_all()


@_mend("parser.asl.eval.callback.callback:CallbackPoolManager.notify")
def _answer(pool: Any, original: Any, callback_id: str, outcome: Any) -> Any:  # once, while its attempt lasts
    if (endpoint := pool.get(callback_id)) is not None and endpoint._notify_event.is_set():
        raise AWSError("Task Timed Out: 'Provided task does not exist anymore'", "TaskTimedOut")
    return original(pool, callback_id, outcome)


@_mend("responses:StepFunctionResponse.send_task_failure")
def _fail(response: Any, _: Any) -> EmptyResult:  # with its cause
    response.stepfunction_backend.send_task_failure(*map(response._get_param, ("taskToken", "error", "cause")))
    return EmptyResult()


@_mend("parser.asl.component.common.error_name.error_equals_decl:ErrorEqualsDecl._eval_body")
def _match(names: Any, original: Any, env: Any) -> None:  # nothing catches what is terminal, States.ALL neither
    error = env.stack[-1].error_name
    original(names, env)
    env.stack[-1] &= error not in {"States.Runtime", "States.DataLimitExceeded"}


@_mend("parser.asl.component.state.choice.comparison.comparison_variable:ComparisonVariable._eval_body")
def _compare(rule: Any, _: Any, env: Any) -> None:  # a path that leads nowhere is an error, except to IsPresent
    rule.variable.eval(env)
    if type(env.stack[-1]).__name__ == "NoSuchVariable" and rule.comparison_function.operator_type.name != "IsPresent":
        raise _failure(env, "States.Runtime", f"Invalid path in a Choice: {env.stack[-1].path}")
    rule.comparison_function.eval(env)


@_mend("parser.asl.component.state.choice.state_choice:StateChoice._eval_state")
def _choose(state: Any, original: Any, env: Any) -> None:  # neither match nor Default has a name of its own
    try:
        original(state, env)
    except RuntimeError as error:
        raise _failure(env, "States.NoChoiceMatched", f"No choice of {state.name} matched.") from error


@_mend("parser.asl.component.common.timeouts.timeout:TimeoutSecondsPath._eval_seconds")
def _timeout(path: Any, original: Any, env: Any) -> int:  # a positive integer
    if type(seconds := original(path, env)) is not int or seconds <= 0:
        raise _failure(env, "States.Runtime", f"TimeoutSecondsPath leads to {seconds!r}, not to a positive integer.")
    return seconds


def _failure(env: Any, error: str, cause: str) -> FailureEventException:
    details: Any = {"executionFailedEventDetails": {"error": error, "cause": cause}}
    return FailureEventException(FailureEvent(env, StatesErrorName.from_name(error), "ExecutionFailed", details))


@_mend("parser.backend.execution:Execution.get_start_execution_details")
def _begin(execution: Any, original: Any) -> Any:  # $$.Execution.StartTime is text, so it may be part of an output
    details = original(execution)
    details.start_time = details.start_time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return details


@_mend("parser.models:StepFunctionsParserBackend.create_state_machine")
def _create(backend: Any, original: Any, name: str, definition: str, **rest: Any) -> Any:  # once, or the same again
    if any(machine.name == name and machine.definition != definition for machine in backend.state_machines):
        raise AWSError(f"State Machine Already Exists: '{name}'", "StateMachineAlreadyExists")
    return original(backend, name=name, definition=definition, **rest)
