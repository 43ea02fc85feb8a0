"""Where moto's Step Functions differ from AWS: each test runs bare, as a witness of moto, and mended, as AWS would."""

from __future__ import annotations

import json
import queue
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.core.exceptions import AWSError
from moto.stepfunctions.parser.models import stepfunctions_parser_backends
from moto.stepfunctions.parser.utils import TMP_THREADS

from local import strict_asl
from local.aws import LocalAws
from tests.waiting import eventually

ENDED = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
ROLE = "arn:aws:iam::123456789012:role/workflow"
WAITING_SECONDS = 10
DONE = {"Type": "Succeed"}
BARE = [(owner, name, vars(owner)[name]) for owner, name, _ in strict_asl.MENDS]
Tokens = defaultdict[str, "queue.Queue[str]"]
CAUGHT = {"Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]}


class Engine:
    """Runs definitions on a LocalAws; `mode` is "bare" or "mended"."""

    def __init__(self, mode: str, endpoint_url: str, tokens: Tokens) -> None:
        self.mode, self._tokens = mode, tokens
        self.client: Any = boto3.client(
            "stepfunctions",
            endpoint_url=endpoint_url,
            region_name="eu-west-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(retries={"total_max_attempts": 1}),
        )

    def create(self, definition: dict[str, Any], name: str = "") -> str:
        answer = self.client.create_state_machine(
            name=name or f"m-{uuid.uuid4()}", definition=json.dumps(definition), roleArn=ROLE
        )
        return str(answer["stateMachineArn"])

    def start(self, *states: dict[str, Any], given: Any = None) -> str:
        """Start an execution of these states in a row; named ones (see `Name`) can be jumped to."""
        names = [state.get("Name", f"State{number}") for number, state in enumerate(states)]
        chain = {}
        for number, (name, state) in enumerate(zip(names, states, strict=True)):
            chain[name] = {key: value for key, value in state.items() if key != "Name"}
            if state["Type"] in ("Task", "Pass") and "Next" not in state and "End" not in state:
                chain[name]["Next"] = names[number + 1]
        machine = self.create({"StartAt": names[0], "States": chain})
        started = self.client.start_execution(
            stateMachineArn=machine, name=f"e-{uuid.uuid4()}", input=json.dumps(given or {})
        )
        return str(started["executionArn"])

    def status(self, execution: str) -> str:
        return str(self.client.describe_execution(executionArn=execution)["status"])

    def end_of(self, execution: str) -> dict[str, Any]:
        """The description of an execution once it has ended; TimeoutError when it does not."""
        deadline = time.monotonic() + WAITING_SECONDS
        pause = threading.Event()
        while time.monotonic() < deadline:
            described: dict[str, Any] = self.client.describe_execution(executionArn=execution)
            if described["status"] in ENDED:
                return described
            pause.wait(0.02)
        raise TimeoutError(f"{execution} did not end within {WAITING_SECONDS} s")

    def token(self, execution: str) -> str:
        """The next token that a callback state of this execution hands out."""
        return self._tokens[execution].get(timeout=WAITING_SECONDS)

    def waits(self, execution: str) -> bool:
        """Does the state whose token was handed out come to wait for the answer? Before, moto does what it is told."""
        history = partial(self.client.get_execution_history, executionArn=execution)
        return eventually(lambda: "TaskSubmitted" in {event["type"] for event in history()["events"]})

    def error_of(self, operation: str, **arguments: Any) -> str | None:
        """The error code of an API call, None when it succeeds."""
        try:
            getattr(self.client, operation)(**arguments)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return None


def callback(**more: Any) -> dict[str, Any]:
    """A state that hands its token to the test and waits for the answer."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
        "Parameters": {"FunctionName": "park", "Payload": {"token.$": "$$.Task.Token", "of.$": "$$.Execution.Id"}},
        "TimeoutSeconds": 5,
        **more,
    }


def task(function: str, payload: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function, "Payload": payload or {}},
        "TimeoutSeconds": 5,
        **more,
    }


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[LocalAws, Tokens]]:
    tokens: Tokens = defaultdict(queue.Queue)
    handlers = {
        "park": lambda event, context: tokens[event["of"]].put(event["token"]),
        "return_300_kb": lambda event, context: "x" * 300_000,
        "echo": lambda event, context: event,
    }
    with LocalAws(handlers=handlers) as aws:
        yield aws, tokens


@pytest.fixture(params=["bare", "mended"])
def engine(request: pytest.FixtureRequest, served: tuple[LocalAws, Tokens]) -> Iterator[Engine]:
    aws, tokens = served
    with strict_asl.installed(strict_asl.MENDS if request.param == "mended" else BARE):
        yield Engine(request.param, aws.endpoint_url, tokens)
    strict_asl.abort_executions()


def test_moto_is_the_one_the_mends_were_cut_for() -> None:
    """Another version of moto needs every test here looked at again."""
    assert version("moto") == "5.2.5"


def test_stopping_an_execution_that_waits_for_a_token(engine: Engine) -> None:
    """AWS aborts it at once; moto goes on waiting."""
    execution = engine.start(callback(**CAUGHT), DONE, {"Name": "Caught", **DONE})
    engine.token(execution)
    is_waiting = engine.waits(execution)

    engine.client.stop_execution(executionArn=execution)

    assert is_waiting
    assert {"bare": "RUNNING", "mended": "ABORTED"}[engine.mode] == engine.status(execution)


def test_a_stopped_execution_stays_aborted(engine: Engine) -> None:
    """Nothing that its last state still reports changes the end; in moto its timeout makes it FAILED."""
    execution = engine.start(callback(TimeoutSeconds=1, **CAUGHT), DONE, {"Name": "Caught", **DONE})
    engine.token(execution)

    engine.client.stop_execution(executionArn=execution)
    for thread in tuple(TMP_THREADS):
        thread.join(WAITING_SECONDS)

    assert {"bare": "FAILED", "mended": "ABORTED"}[engine.mode] == engine.end_of(execution)["status"]


def test_answering_a_token_twice(engine: Engine) -> None:
    """AWS refuses the second answer; moto takes it."""
    execution = engine.start(callback(), callback(), DONE)
    token = engine.token(execution)
    engine.client.send_task_success(taskToken=token, output="{}")
    engine.token(execution)

    second = engine.error_of("send_task_success", taskToken=token, output="{}")

    assert {"bare": None, "mended": "TaskTimedOut"}[engine.mode] == second


def test_answering_a_token_whose_task_has_timed_out(engine: Engine) -> None:
    """AWS refuses a late answer; moto takes it and does nothing."""
    execution = engine.start(callback(TimeoutSeconds=1, **CAUGHT), DONE, callback(Name="Caught"), DONE)
    token = engine.token(execution)
    engine.token(execution)

    late = engine.error_of("send_task_failure", taskToken=token, error="Late")

    assert {"bare": None, "mended": "TaskTimedOut"}[engine.mode] == late


def test_retrying_a_failed_callback(engine: Engine) -> None:
    """AWS waits again, for a token of its own; moto finds the old answer and fails at once."""
    retry = [{"ErrorEquals": ["Again"], "IntervalSeconds": 1, "MaxAttempts": 1, "BackoffRate": 1.0}]
    execution = engine.start(callback(Retry=retry), DONE)
    first = engine.token(execution)

    engine.client.send_task_failure(taskToken=first, error="Again")
    second = engine.token(execution)
    if first != second:  # else it fails whatever is answered now, unless that comes before moto has looked
        engine.client.send_task_success(taskToken=second, output="{}")

    seen = (first == second, engine.end_of(execution)["status"])
    assert {"bare": (True, "FAILED"), "mended": (False, "SUCCEEDED")}[engine.mode] == seen


def test_the_cause_of_a_failed_task(engine: Engine) -> None:
    """SendTaskFailure's cause reaches the execution; moto drops it."""
    execution = engine.start(callback(), DONE)

    engine.client.send_task_failure(taskToken=engine.token(execution), error="Denied", cause="not today")

    described = engine.end_of(execution)
    assert {"bare": ("Denied", None), "mended": ("Denied", "not today")}[engine.mode] == (
        described["error"],
        described.get("cause"),
    )


def test_catching_a_runtime_error(engine: Engine) -> None:
    """States.ALL does not catch States.Runtime; in moto it does."""
    broken = task("echo", {"missing.$": "$.missing"}, **CAUGHT)

    described = engine.end_of(engine.start(broken, DONE, {"Name": "Caught", **DONE}))

    expected = {"bare": ("SUCCEEDED", None), "mended": ("FAILED", "States.Runtime")}
    assert expected[engine.mode] == (described["status"], described.get("error"))


def test_catching_a_result_that_is_too_large(engine: Engine) -> None:
    """States.ALL does not catch States.DataLimitExceeded; in moto it does."""
    large = task("return_300_kb", **CAUGHT)

    described = engine.end_of(engine.start(large, DONE, {"Name": "Caught", **DONE}))

    expected = {"bare": ("SUCCEEDED", None), "mended": ("FAILED", "States.DataLimitExceeded")}
    assert expected[engine.mode] == (described["status"], described.get("error"))


def test_other_errors_are_still_caught(engine: Engine) -> None:
    """The stricter States.ALL catches what it should."""
    execution = engine.start(task("no_such_function", **CAUGHT), DONE, {"Name": "Caught", **DONE})

    assert engine.end_of(execution)["status"] == "SUCCEEDED"


def choice(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"Type": "Choice", "Choices": [{"Next": "Matched", **rule} for rule in rules], **more}


MATCHED, OTHERWISE = {"Name": "Matched", **DONE}, {"Name": "Otherwise", "Type": "Fail", "Error": "Otherwise"}


def test_choosing_by_a_path_that_leads_nowhere(engine: Engine) -> None:
    """AWS fails; moto takes the default."""
    state = choice({"Variable": "$.missing", "StringEquals": "a"}, Default="Otherwise")

    described = engine.end_of(engine.start(state, MATCHED, OTHERWISE))

    assert {"bare": "Otherwise", "mended": "States.Runtime"}[engine.mode] == described["error"]


@pytest.mark.parametrize(("given", "status"), [({}, "FAILED"), ({"there": "a"}, "SUCCEEDED")])
def test_asking_first_whether_a_path_leads_anywhere(engine: Engine, given: dict[str, str], status: str) -> None:
    """IsPresent may look at a missing path, and And stops there."""
    guarded = [{"Variable": "$.there", "IsPresent": True}, {"Variable": "$.there", "StringEquals": "a"}]
    state = {"Type": "Choice", "Choices": [{"And": guarded, "Next": "Matched"}], "Default": "Otherwise"}

    assert status == engine.end_of(engine.start(state, MATCHED, OTHERWISE, given=given))["status"]


def test_choosing_without_a_match(engine: Engine) -> None:
    """AWS has a name for it; moto says States.Runtime."""
    state = choice({"Variable": "$.there", "StringEquals": "a"})

    described = engine.end_of(engine.start(state, MATCHED, given={"there": "b"}))

    assert {"bare": "States.Runtime", "mended": "States.NoChoiceMatched"}[engine.mode] == described["error"]


def slow_to_parse() -> dict[str, Any]:
    """A definition that takes moto some tenths of a second to read and none to run."""
    conditions = [{"Variable": f"$.a{number}", "StringEquals": "x"} for number in range(20)]
    choice_state = {"Type": "Choice", "Choices": [{"And": conditions, "Next": "End"}], "Default": "End"}
    return {"StartAt": "End", "States": {**{f"Choice{number}": choice_state for number in range(30)}, "End": DONE}}


def start_and(engine: Engine, act: Callable[[Any, str], object]) -> str | None:
    """The class of error that `act` meets right after a start; without HTTP between, so that it is right after."""
    backend = stepfunctions_parser_backends["123456789012"]["eu-west-1"]
    execution = backend.start_execution(engine.create(slow_to_parse()), "started-just-now", "{}").exec_arn
    try:
        act(backend, execution)
    except (AWSError, AttributeError) as error:
        return type(error).__name__
    finally:
        engine.end_of(execution)
    return None


def test_stopping_an_execution_that_has_just_started(engine: Engine) -> None:
    """AWS can stop it; moto fails (500) until it has read the definition."""
    error = start_and(engine, lambda backend, execution: backend.stop_execution(execution))

    assert {"bare": "AttributeError", "mended": None}[engine.mode] == error


def test_answering_a_token_while_another_execution_starts(engine: Engine) -> None:
    """One execution's start is nothing to another's token; moto fails (500)."""
    error = start_and(engine, lambda backend, _: backend.send_task_failure("unknown", "Denied", ""))

    assert {"bare": "AttributeError", "mended": "InvalidToken"}[engine.mode] == error


def test_the_start_time_in_an_output(engine: Engine) -> None:
    """AWS writes it as text, in UTC; moto cannot describe such an execution."""
    execution = engine.start({"Type": "Pass", "Parameters": {"at.$": "$$.Execution.StartTime"}}, DONE)

    try:
        seen = json.loads(engine.end_of(execution)["output"])["at"][-1]
    except ClientError as error:
        seen = error.response["Error"]["Code"]

    assert {"bare": "500", "mended": "Z"}[engine.mode] == seen


@pytest.mark.parametrize("seconds", [0, 0.5])
def test_a_timeout_that_is_no_positive_integer(engine: Engine, seconds: object) -> None:
    """AWS fails the execution, past every Catch; moto takes it for a timeout."""
    state = callback(TimeoutSecondsPath="$.seconds", **CAUGHT)
    del state["TimeoutSeconds"]

    described = engine.end_of(engine.start(state, DONE, {"Name": "Caught", **DONE}, given={"seconds": seconds}))

    expected = {"bare": ("SUCCEEDED", None), "mended": ("FAILED", "States.Runtime")}
    assert expected[engine.mode] == (described["status"], described.get("error"))


def test_a_second_definition_under_the_same_name(engine: Engine) -> None:
    """AWS refuses it; moto keeps the first and says nothing."""
    name = f"m-{uuid.uuid4()}"
    engine.create({"StartAt": "Done", "States": {"Done": DONE}}, name)
    other = json.dumps({"StartAt": "Other", "States": {"Other": DONE}})

    seen = engine.error_of("create_state_machine", name=name, definition=other, roleArn=ROLE)

    assert {"bare": None, "mended": "StateMachineAlreadyExists"}[engine.mode] == seen


def test_the_same_definition_again(engine: Engine) -> None:
    """Creating what is there already changes nothing, on AWS as in moto."""
    definition = {"StartAt": "Done", "States": {"Done": DONE}}
    name = f"m-{uuid.uuid4()}"

    assert engine.create(definition, name) == engine.create(definition, name)
