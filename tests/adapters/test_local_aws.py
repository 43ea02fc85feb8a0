"""The local AWS: its front, Lambda, the API route, the SSM route, EC2 with delays, the ticker, and that nothing stays."""

from __future__ import annotations

import io
import json
import math
import os
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from aws_lambda_powertools import Logger
from botocore.config import Config
from botocore.exceptions import ClientError
from chalice.app import Chalice, Response
from moto.core.config import default_user_config
from moto.stepfunctions.parser.utils import TMP_THREADS

from local.aws import API_FUNCTION, LocalAws
from local.lambdas import load_handler
from local.ticker import Ticker

ROLE = "arn:aws:iam::123456789012:role/workflow"
WAITING_SECONDS = 10


def client(aws: LocalAws, service: str, **config: Any) -> Any:
    return boto3.client(
        service,  # type: ignore[call-overload]  # any service, chosen by the caller
        endpoint_url=aws.endpoint_url,
        region_name="eu-west-1",
        aws_access_key_id="AKIAEXAMPLEALICE0000",
        aws_secret_access_key="testing",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=20, **config),
    )


def error_of(call: Callable[..., Any], **arguments: Any) -> str | None:
    """The error code of an API call, None when it succeeds."""
    try:
        call(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return None


def invoke(aws: LocalAws, name: str, payload: bytes = b"{}", **more: Any) -> tuple[int, str | None, Any]:
    """Status, function error and decoded payload of an Invoke call over HTTP."""
    answer = client(aws, "lambda").invoke(FunctionName=name, Payload=payload, **more)
    body = answer["Payload"].read()
    return answer["StatusCode"], answer.get("FunctionError"), json.loads(body) if body else None


def run_workflow(aws: LocalAws, state: dict[str, Any], *, given: str = "{}") -> dict[str, Any]:
    """The description of an execution of this one state, once it has ended."""
    arn = start_workflow(
        aws, {"StartAt": "Only", "States": {"Only": state, "Caught": {"Type": "Pass", "End": True}}}, given
    )
    return end_of(aws, arn)


def start_workflow(aws: LocalAws, definition: dict[str, Any], given: str = "{}") -> str:
    engine = client(aws, "stepfunctions")
    name = f"m-{uuid.uuid4()}"
    machine = engine.create_state_machine(name=name, definition=json.dumps(definition), roleArn=ROLE)
    started = engine.start_execution(stateMachineArn=machine["stateMachineArn"], name=name, input=given)
    return str(started["executionArn"])


def end_of(aws: LocalAws, execution: str) -> dict[str, Any]:
    engine, deadline, pause = client(aws, "stepfunctions"), time.monotonic() + WAITING_SECONDS, threading.Event()
    while time.monotonic() < deadline:
        described: dict[str, Any] = engine.describe_execution(executionArn=execution)
        if described["status"] != "RUNNING":
            return described
        pause.wait(0.02)
    raise TimeoutError(f"{execution} did not end within {WAITING_SECONDS} s")


def wait_for_event(aws: LocalAws, execution: str, kind: str) -> None:
    engine, deadline, pause = client(aws, "stepfunctions"), time.monotonic() + WAITING_SECONDS, threading.Event()
    while time.monotonic() < deadline:
        if kind in [event["type"] for event in engine.get_execution_history(executionArn=execution)["events"]]:
            return
        pause.wait(0.02)
    raise TimeoutError(f"{execution} saw no {kind} within {WAITING_SECONDS} s")


def task(function: str, **more: Any) -> dict[str, Any]:
    parameters = {"FunctionName": function, "Payload.$": "$"}
    return {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": parameters, "End": True, **more}


def echo(event: Any, context: Any) -> Any:
    return event


@pytest.fixture
def handlers() -> dict[str, Callable[[Any, Any], Any]]:
    return {"echo": echo}


@pytest.fixture
def aws(handlers: dict[str, Callable[[Any, Any], Any]]) -> Iterator[LocalAws]:
    with LocalAws(handlers=handlers) as aws:
        yield aws


class TestLambda:
    """Invoke runs our handlers as the service does."""

    @pytest.mark.parametrize("name", ["echo", "arn:aws:lambda:eu-west-1:123456789012:function:echo", "echo:$LATEST"])
    def test_a_function_is_invoked_by_name_or_arn(self, aws: LocalAws, name: str) -> None:
        assert invoke(aws, name, json.dumps({"a": [1, None, "é"]}).encode()) == (200, None, {"a": [1, None, "é"]})

    def test_what_a_handler_returns_goes_through_json(self, aws: LocalAws, handlers: dict[str, Any]) -> None:
        """A tuple arrives as a list and a number as a text key, as on AWS."""
        handlers["python"] = lambda event, context: {1: (event, True)}

        assert invoke(aws, "python")[2] == {"1": [{}, True]}

    def test_an_exception_is_a_function_error(self, aws: LocalAws, handlers: dict[str, Any]) -> None:
        """Its class name is what Retry and Catch match."""

        class LedgerUnavailableError(Exception):
            pass

        def fail(event: Any, context: Any) -> None:
            raise LedgerUnavailableError("the table is away")

        handlers["fail"] = fail

        status, error, payload = invoke(aws, "fail")

        assert (status, error) == (200, "Unhandled")
        assert (payload["errorType"], payload["errorMessage"]) == ("LedgerUnavailableError", "the table is away")
        assert "in fail" in payload["stackTrace"][-1]

    def test_leaving_the_interpreter_is_a_function_error(self, aws: LocalAws, handlers: dict[str, Any]) -> None:
        handlers["leave"] = lambda event, context: sys.exit(1)

        assert invoke(aws, "leave")[2]["errorType"] == "SystemExit"

    @pytest.mark.parametrize("value", [object(), math.nan, {1, 2}])
    def test_a_result_that_json_cannot_say_is_an_error(
        self, aws: LocalAws, handlers: dict[str, Any], value: object
    ) -> None:
        handlers["odd"] = lambda event, context: value

        assert invoke(aws, "odd")[1] == "Unhandled"

    def test_an_unknown_function_is_not_found(self, aws: LocalAws) -> None:
        assert error_of(client(aws, "lambda").invoke, FunctionName="nobody") == "ResourceNotFoundException"

    @pytest.mark.parametrize(
        ("kind", "size", "code"),
        [
            ("RequestResponse", 6 * 1024 * 1024, None),
            ("RequestResponse", 6 * 1024 * 1024 + 1, "RequestTooLargeException"),
            ("Event", 256 * 1024, None),
            ("Event", 256 * 1024 + 1, "RequestTooLargeException"),
        ],
    )
    def test_payloads_have_a_limit(self, aws: LocalAws, kind: str, size: int, code: str | None) -> None:
        payload = b'"' + b"x" * (size - 2) + b'"'

        seen = error_of(client(aws, "lambda").invoke, FunctionName="echo", InvocationType=kind, Payload=payload)

        assert code == seen

    def test_every_answer_has_the_request_id_that_the_handler_saw(
        self, aws: LocalAws, handlers: dict[str, Any]
    ) -> None:
        handlers["who"] = lambda event, context: context.aws_request_id

        answer = client(aws, "lambda").invoke(FunctionName="who")

        assert answer["ResponseMetadata"]["RequestId"] == json.loads(answer["Payload"].read())

    def test_a_handler_sees_the_time_it_has_left(self, aws: LocalAws, handlers: dict[str, Any]) -> None:
        handlers["left"] = lambda event, context: context.get_remaining_time_in_millis()

        assert 50_000 < invoke(aws, "left")[2] <= 60_000

    def test_the_context_satisfies_powertools(self, aws: LocalAws, handlers: dict[str, Any]) -> None:
        logger = Logger(service="test", stream=io.StringIO())

        @logger.inject_lambda_context
        def logged(event: Any, context: Any) -> Any:
            return {key: logger.get_current_keys()[key] for key in ("function_name", "function_request_id")}

        handlers["logged"] = logged

        assert invoke(aws, "logged")[2]["function_name"] == "logged"

    def test_an_asynchronous_invocation_is_answered_before_it_ends(
        self, aws: LocalAws, handlers: dict[str, Any]
    ) -> None:
        released, done = threading.Event(), threading.Event()

        def later(event: Any, context: Any) -> None:
            released.wait(WAITING_SECONDS)
            done.set()

        handlers["later"] = later

        answer = invoke(aws, "later", InvocationType="Event")
        was_done = done.is_set()
        released.set()

        assert answer == (202, None, None)
        assert (was_done, done.wait(WAITING_SECONDS)) == (False, True)

    def test_the_error_of_an_asynchronous_invocation_is_kept(self, handlers: dict[str, Any]) -> None:
        """There is one attempt, so one error."""
        handlers["fail"] = lambda event, context: event["missing"]
        with LocalAws(handlers=handlers) as aws:
            invoke(aws, "fail", InvocationType="Event")

        assert [KeyError] == [type(error) for error in aws.errors]

    def test_the_workspace_invokes_without_http(self, aws: LocalAws) -> None:
        assert aws.invoke("echo", {"a": 1}) == {"a": 1}

    def test_what_a_handler_raises_then_is_raised(self, aws: LocalAws, handlers: dict[str, Any]) -> None:
        handlers["fail"] = lambda event, context: event["missing"]

        with pytest.raises(KeyError, match="missing"):
            aws.invoke("fail", {})

    def test_handlers_are_loaded_as_the_runtime_loads_them(self) -> None:
        assert load_handler is load_handler("local.lambdas.load_handler")

    @pytest.mark.parametrize(
        ("name", "error"), [("local.lambdas.nothing", AttributeError), ("local.nowhere.x", ImportError)]
    )
    def test_a_handler_that_is_not_there_does_not_load(self, name: str, error: type[Exception]) -> None:
        with pytest.raises(error):
            load_handler(name)


class TestWorkflows:
    """The interpreter calls our handlers through the front."""

    def test_sixty_executions_at_once_all_end(self, aws: LocalAws) -> None:
        engine = client(aws, "stepfunctions", max_pool_connections=20)
        definition = json.dumps({"StartAt": "Only", "States": {"Only": task("echo")}})
        machine = engine.create_state_machine(name="one-task", definition=definition, roleArn=ROLE)["stateMachineArn"]

        def start(number: int) -> str:
            name = f"R-{number}"
            return str(engine.start_execution(stateMachineArn=machine, name=name, input="{}")["executionArn"])

        with ThreadPoolExecutor(20) as pool:
            executions = list(pool.map(start, range(60)))

        assert [end_of(aws, execution)["status"] for execution in executions] == ["SUCCEEDED"] * 60

    def test_a_token_may_be_answered_from_inside_the_handler(self, aws: LocalAws, handlers: dict[str, Any]) -> None:
        """No lock is held while a handler runs, and the answer may come before the wait."""

        def answer(event: Any, context: Any) -> None:
            client(aws, "stepfunctions").send_task_success(taskToken=event["token"], output='{"answered": true}')

        handlers["answer"] = answer
        parameters = {"FunctionName": "answer", "Payload": {"token.$": "$$.Task.Token"}}
        state = task("answer", Resource="arn:aws:states:::lambda:invoke.waitForTaskToken", Parameters=parameters)

        described = run_workflow(aws, {**state, "TimeoutSeconds": 5})

        assert json.loads(described["output"]) == {"answered": True}

    @pytest.mark.parametrize(
        ("function", "error"),
        [("fail", "KeyError"), ("nobody", "Lambda.ResourceNotFoundException")],
    )
    def test_a_catch_sees_the_name_of_the_error(
        self, aws: LocalAws, handlers: dict[str, Any], function: str, error: str
    ) -> None:
        handlers["fail"] = lambda event, context: event["missing"]

        described = run_workflow(aws, task(function, Catch=[{"ErrorEquals": [error], "Next": "Caught"}]))

        assert error == json.loads(described["output"])["Error"]

    def test_a_workflow_needs_no_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A machine whose requests go through a proxy still reaches itself."""
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        with LocalAws(handlers={"echo": echo}) as aws:
            assert run_workflow(aws, task("echo"))["status"] == "SUCCEEDED"


class TestRequestsToStepFunctions:
    """What AWS refuses and moto does not."""

    @pytest.fixture
    def engine(self, aws: LocalAws) -> Any:
        return client(aws, "stepfunctions")

    @pytest.fixture
    def machine(self, engine: Any) -> str:
        definition = json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Fail"}}})
        return str(engine.create_state_machine(name="fails", definition=definition, roleArn=ROLE)["stateMachineArn"])

    @pytest.mark.parametrize(
        ("name", "error"),
        [
            ("R-ABC123-revoke-1", None),
            ("n" * 80, None),
            ("n" * 81, "ValidationException"),
            *((f"a{character}b", "InvalidName") for character in ' <>{}[]?*"#%\\^|~`$&,;:/\t\x00\x7f\x9f'),
        ],
    )
    def test_names_have_a_length_and_a_character_set(
        self, engine: Any, machine: str, name: str, error: str | None
    ) -> None:
        assert error == error_of(engine.start_execution, stateMachineArn=machine, name=name)

    @pytest.mark.parametrize(("size", "error"), [(256 * 1024, None), (256 * 1024 + 1, "ValidationException")])
    def test_inputs_have_a_limit(self, engine: Any, machine: str, size: int, error: str | None) -> None:
        """In bytes."""
        given = json.dumps("é" * ((size - 2) // 2) + "x" * (size % 2), ensure_ascii=False)

        assert len(given.encode()) == size
        assert error == error_of(engine.start_execution, stateMachineArn=machine, name="large", input=given)

    @pytest.mark.parametrize(
        ("operation", "field", "size"),
        [
            ("send_task_success", "output", 256 * 1024),
            ("send_task_failure", "error", 256),
            ("send_task_failure", "cause", 32 * 1024),
        ],
    )
    def test_answers_have_a_limit(self, engine: Any, operation: str, field: str, size: int) -> None:
        """One more character is refused for its length; without it, it is the token's turn."""
        text = f'"{"x" * (size - 2)}"'
        codes = [error_of(getattr(engine, operation), taskToken="none", **{field: text + more}) for more in ("", " ")]

        assert codes == ["InvalidToken", "ValidationException"]

    def test_an_answer_must_be_json(self, engine: Any) -> None:
        assert error_of(engine.send_task_success, taskToken="none", output="{") == "InvalidOutput"


class TestLedger:
    """Writes are atomic, which moto's are not by themselves: threads change as often as they can here."""

    @pytest.fixture
    def table(self, aws: LocalAws) -> Iterator[Any]:
        table = client(aws, "dynamodb", max_pool_connections=30)
        table.create_table(
            TableName="ledger",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        yield table
        sys.setswitchinterval(interval)

    def test_a_race_for_one_item_has_one_winner(self, table: Any) -> None:
        def take(number: int) -> str | None:
            item = {"pk": {"S": "R-ABC123"}, "by": {"N": str(number)}}
            return error_of(
                table.put_item, TableName="ledger", Item=item, ConditionExpression="attribute_not_exists(pk)"
            )

        with ThreadPoolExecutor(30) as pool:
            errors = list(pool.map(take, range(60)))

        assert (errors.count(None), errors.count("ConditionalCheckFailedException")) == (1, 59)

    def test_no_increment_is_lost(self, table: Any) -> None:
        key, one = {"pk": {"S": "counter"}}, {":one": {"N": "1"}}

        def add(_: int) -> None:
            table.update_item(TableName="ledger", Key=key, UpdateExpression="ADD n :one", ExpressionAttributeValues=one)

        with ThreadPoolExecutor(12) as pool:
            list(pool.map(add, range(240)))

        assert table.get_item(TableName="ledger", Key=key)["Item"]["n"]["N"] == "240"


def fetch(request: urllib.request.Request) -> tuple[int, dict[str, str], bytes]:
    try:
        with urllib.request.urlopen(request, timeout=WAITING_SECONDS) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


class TestApi:
    """A request below /api reaches the API's handler as API Gateway would hand it on."""

    @pytest.mark.parametrize(
        "body",
        [
            b"payload=%7B%22type%22%3A%22block_actions%22%7D&x=+%20",
            "text=\u00e9\u2026\U0001f600&y=\r\n\t".encode(),
            b"\xff\xfe\x00 no text at all \x80",
            b"",
        ],
    )
    def test_the_body_arrives_byte_for_byte(self, aws: LocalAws, handlers: dict[str, Any], body: bytes) -> None:
        """A signature is made over the bytes that were sent."""
        seen: list[bytes] = []
        app = Chalice(app_name="test")

        @app.route("/slack/events", methods=["POST"], content_types=["application/x-www-form-urlencoded"])
        def receive() -> dict[str, str]:
            seen.append(app.current_request.raw_body)
            return {}

        handlers[API_FUNCTION] = app
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        status, _, _ = fetch(urllib.request.Request(f"{aws.api_url}/slack/events", data=body, headers=headers))

        assert (200, [body]) == (status, seen)

    def test_headers_and_query_arrive_and_the_answer_returns(self, aws: LocalAws, handlers: dict[str, Any]) -> None:
        app = Chalice(app_name="test")

        @app.route("/seen", methods=["GET"])
        def seen() -> Response:
            request = app.current_request
            text = (
                f"{request.headers['x-slack-signature']} {request.query_params.getlist('a')} {request.context['stage']}"
            )
            return Response(text, status_code=201, headers={"Content-Type": "text/plain", "X-Answer": "yes"})

        handlers[API_FUNCTION] = app
        status, headers, body = fetch(
            urllib.request.Request(f"{aws.api_url}/seen?a=1&a=2", headers={"X-Slack-Signature": "v0=abc"})
        )

        assert (status, headers["X-Answer"], body) == (201, "yes", b"v0=abc ['1', '2'] api")

    @pytest.mark.parametrize(
        "returned", [None, "text", [], {"body": "no status"}, {"statusCode": 200, "body": {"no": "text"}}]
    )
    def test_a_malformed_answer_is_a_bad_gateway(
        self, aws: LocalAws, handlers: dict[str, Any], returned: object
    ) -> None:
        handlers[API_FUNCTION] = lambda event, context: returned

        assert fetch(urllib.request.Request(f"{aws.api_url}/any"))[0] == 502

    def test_an_error_of_the_handler_is_a_bad_gateway(self, aws: LocalAws, handlers: dict[str, Any]) -> None:
        handlers[API_FUNCTION] = lambda event, context: {}["statusCode"]

        assert fetch(urllib.request.Request(f"{aws.api_url}/any"))[0] == 502

    def test_binary_answers_are_decoded(self, aws: LocalAws, handlers: dict[str, Any]) -> None:
        handlers[API_FUNCTION] = lambda event, context: {"statusCode": 200, "body": "/w==", "isBase64Encoded": True}

        assert fetch(urllib.request.Request(f"{aws.api_url}/any"))[2] == b"\xff"

    def test_requests_come_one_at_a_time(self, aws: LocalAws, handlers: dict[str, Any]) -> None:
        """The app holds one current request; a second one must not replace it under the first's hands."""
        inside = threading.Lock()
        overlaps: list[bool] = []

        def handle(event: Any, context: Any) -> dict[str, Any]:
            overlaps.append(not inside.acquire(blocking=False))
            threading.Event().wait(0.02)
            inside.release()
            return {"statusCode": 200}

        handlers[API_FUNCTION] = handle
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: fetch(urllib.request.Request(f"{aws.api_url}/any")), range(8)))

        assert overlaps == [False] * 8


@dataclass
class FakeError(Exception):
    code: str
    message: str


@dataclass
class FakeSessions:
    """A session server that notes its calls and refuses one target."""

    OPERATIONS = frozenset({"StartSession"})
    calls: list[tuple[str, dict[str, Any], str]] = field(default_factory=list)

    def handle(self, operation: str, request: dict[str, Any], access_key_id: str) -> dict[str, Any]:
        self.calls.append((operation, request, access_key_id))
        if request["Target"] == "i-away":
            raise FakeError("TargetNotConnected", "i-away is not connected.")
        return {"SessionId": "alice-0123456789abcdef0", "TokenValue": "secret", "StreamUrl": "ws://127.0.0.1:1/"}


class TestSessions:
    """SSM calls that the session server names are its own; the others are moto's."""

    @pytest.fixture
    def sessions(self) -> FakeSessions:
        return FakeSessions()

    @pytest.fixture
    def ssm(self, sessions: FakeSessions) -> Iterator[Any]:
        with LocalAws(handlers={}, ssm=sessions) as aws:
            yield client(aws, "ssm")

    def test_its_operations_reach_it_with_the_caller(self, ssm: Any, sessions: FakeSessions) -> None:
        answer = ssm.start_session(Target="i-there")

        assert answer["SessionId"] == "alice-0123456789abcdef0"
        assert sessions.calls == [("StartSession", {"Target": "i-there"}, "AKIAEXAMPLEALICE0000")]

    def test_its_errors_reach_the_caller(self, ssm: Any) -> None:
        with pytest.raises(ssm.exceptions.TargetNotConnected, match="i-away is not connected"):
            ssm.start_session(Target="i-away")

    def test_parameters_are_motos(self, ssm: Any) -> None:
        """The machine image of a bastion comes from a public parameter."""
        name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"

        assert ssm.get_parameter(Name=name)["Parameter"]["Value"].startswith("ami-")

    def test_what_nobody_implements_says_so(self, ssm: Any) -> None:
        assert error_of(ssm.describe_instance_properties) == "501"


@dataclass
class Clock:
    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


class Account:
    """An EC2 client with one private subnet."""

    def __init__(self, aws: LocalAws, clock: Clock) -> None:
        self.aws, self.clock, self.ec2 = aws, clock, client(aws, "ec2")
        self.vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnet = self.add_subnet("10.0.0.0/24")

    def add_subnet(self, block: str) -> str:
        return str(self.ec2.create_subnet(VpcId=self.vpc, CidrBlock=block)["Subnet"]["SubnetId"])

    def launch(self, **more: Any) -> dict[str, Any]:
        arguments = {"SubnetId": self.subnet, "InstanceType": "t4g.nano", "ImageId": "ami-12345678", **more}
        launched: dict[str, Any] = self.ec2.run_instances(MinCount=1, MaxCount=1, **arguments)["Instances"][0]
        return launched

    def running(self) -> str:
        """The id of an instance that runs."""
        instance = str(self.launch()["InstanceId"])
        self.clock.seconds += 10
        return instance

    def state(self, instance: str) -> str:
        return str(self.found(InstanceIds=[instance])[0]["State"]["Name"])

    def found(self, **query: Any) -> list[dict[str, Any]]:
        reservations = self.ec2.describe_instances(**query)["Reservations"]
        return [instance for reservation in reservations for instance in reservation["Instances"]]


class TestEc2:
    """Instances take their time, tokens count, and capacity can run out."""

    @pytest.fixture
    def account(self) -> Iterator[Account]:
        clock = Clock()
        with LocalAws(handlers={}, pending_seconds=10, stopping_seconds=20, clock=clock) as aws:
            yield Account(aws, clock)

    def test_a_launched_instance_is_pending_first(self, account: Account) -> None:
        launched = account.launch()

        account.clock.seconds = 9.9
        before = account.state(launched["InstanceId"])
        account.clock.seconds = 10

        assert (launched["State"]["Name"], before, account.state(launched["InstanceId"])) == (
            "pending",
            "pending",
            "running",
        )

    def test_a_stopped_instance_is_stopping_first(self, account: Account) -> None:
        instance = account.running()
        account.ec2.stop_instances(InstanceIds=[instance])

        account.clock.seconds += 19.9
        before = account.state(instance)
        account.clock.seconds += 0.1

        assert (before, account.state(instance)) == ("stopping", "stopped")

    def test_a_terminated_instance_is_shutting_down_first(self, account: Account) -> None:
        instance = account.running()
        account.ec2.terminate_instances(InstanceIds=[instance])

        before = account.state(instance)
        account.clock.seconds += 20

        assert (before, account.state(instance)) == ("shutting-down", "terminated")

    @pytest.mark.parametrize(
        ("state", "found"), [("pending", True), ("running", False), ("stopping", False), ("stopped", False)]
    )
    def test_filters_see_the_state_of_the_moment(self, account: Account, state: str, found: bool) -> None:
        account.launch()

        assert found == bool(account.found(Filters=[{"Name": "instance-state-name", "Values": [state]}]))

    def test_the_status_of_an_instance_that_does_not_run_yet_is_not_told(self, account: Account) -> None:
        instance = account.launch()["InstanceId"]
        before = account.ec2.describe_instance_status(InstanceIds=[instance])["InstanceStatuses"]
        account.clock.seconds = 10

        assert (len(before), len(account.ec2.describe_instance_status(InstanceIds=[instance])["InstanceStatuses"])) == (
            0,
            1,
        )

    def test_stopping_again_starts_nothing_anew(self, account: Account) -> None:
        instance = account.running()
        account.ec2.stop_instances(InstanceIds=[instance])
        account.clock.seconds += 19
        account.ec2.stop_instances(InstanceIds=[instance])
        account.clock.seconds += 1

        assert account.state(instance) == "stopped"

    def test_starting_again_starts_nothing_anew(self, account: Account) -> None:
        instance = account.running()

        account.ec2.start_instances(InstanceIds=[instance])

        assert account.state(instance) == "running"

    @pytest.mark.parametrize(
        ("before", "wait", "then"),
        [
            ((), 0, "stop_instances"),
            (("stop_instances",), 5, "start_instances"),
            (("terminate_instances",), 5, "start_instances"),
            (("terminate_instances",), 60, "start_instances"),
            (("terminate_instances",), 60, "stop_instances"),
        ],
    )
    def test_a_change_that_the_state_does_not_allow(
        self, account: Account, before: tuple[str, ...], wait: float, then: str
    ) -> None:
        """Stopping what is pending, starting what is stopping, anything with what is gone."""
        instance = account.running() if before else account.launch()["InstanceId"]
        for change in before:
            getattr(account.ec2, change)(InstanceIds=[instance])
        account.clock.seconds += wait

        assert error_of(getattr(account.ec2, then), InstanceIds=[instance]) == "IncorrectInstanceState"

    def test_a_stopped_instance_starts(self, account: Account) -> None:
        instance = account.running()
        account.ec2.stop_instances(InstanceIds=[instance])
        account.clock.seconds += 20
        account.ec2.start_instances(InstanceIds=[instance])

        before = account.state(instance)
        account.clock.seconds += 10

        assert (before, account.state(instance)) == ("pending", "running")

    def test_terminating_twice_is_no_error(self, account: Account) -> None:
        instance = account.running()
        account.ec2.terminate_instances(InstanceIds=[instance])
        account.clock.seconds += 60

        assert error_of(account.ec2.terminate_instances, InstanceIds=[instance]) is None

    def test_a_waiter_waits(self) -> None:
        """With the real clock."""
        with LocalAws(handlers={}, pending_seconds=0.4, stopping_seconds=0.4) as aws:
            account = Account(aws, Clock())
            instance, started = account.launch()["InstanceId"], time.monotonic()
            often = {"Delay": 0.1, "MaxAttempts": 50}
            account.ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig=often)
            account.ec2.stop_instances(InstanceIds=[instance])
            account.ec2.get_waiter("instance_stopped").wait(InstanceIds=[instance], WaiterConfig=often)
            seconds = time.monotonic() - started

        assert 0.8 <= seconds < 5

    def test_a_token_launches_once(self, account: Account) -> None:
        first, second = (account.launch(ClientToken="drawbridge-main-1")["InstanceId"] for _ in range(2))

        assert (first, 1) == (second, len(account.found()))

    def test_a_token_with_other_parameters_is_refused(self, account: Account) -> None:
        account.launch(ClientToken="drawbridge-main-1")
        other = account.add_subnet("10.0.1.0/24")

        code = error_of(account.launch, ClientToken="drawbridge-main-1", SubnetId=other)

        assert code == "IdempotentParameterMismatch"

    def test_a_token_launches_once_with_a_profile_too(self, account: Account) -> None:
        iam = client(account.aws, "iam")
        iam.create_instance_profile(InstanceProfileName="bastion")
        more = {"ClientToken": "drawbridge-main-1", "IamInstanceProfile": {"Name": "bastion"}}

        assert account.launch(**more)["InstanceId"] == account.launch(**more)["InstanceId"]

    @pytest.mark.parametrize("by", ["subnet", "type"])
    def test_capacity_runs_out_for_as_many_calls_as_told(self, account: Account, by: str) -> None:
        """A call's own retries are part of it: AWS answers 500, which boto3 tries again."""
        account.aws.fail_capacity(account.subnet if by == "subnet" else "t4g.nano", 2)
        patient = boto3.client(
            "ec2",
            endpoint_url=account.aws.endpoint_url,
            region_name="eu-west-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(retries={"total_max_attempts": 2, "mode": "standard"}),
        )
        account.ec2 = patient

        seen = [error_of(account.launch) for _ in range(3)]

        assert seen == ["InsufficientInstanceCapacity", "InsufficientInstanceCapacity", None]

    def test_capacity_runs_out_in_one_subnet_only(self, account: Account) -> None:
        account.aws.fail_capacity(account.subnet, 1)

        assert error_of(account.launch, SubnetId=account.add_subnet("10.0.1.0/24")) is None

    def test_a_refused_launch_does_not_use_up_its_token(self, account: Account) -> None:
        account.aws.fail_capacity(account.subnet, 1)
        error_of(account.launch, ClientToken="drawbridge-main-1")

        assert error_of(account.launch, ClientToken="drawbridge-main-1") is None

    @pytest.mark.parametrize(("asked", "has_address"), [(None, False), (False, False), (True, True)])
    def test_an_instance_has_a_public_address_only_when_asked(
        self, account: Account, asked: bool | None, has_address: bool
    ) -> None:
        interface = {"DeviceIndex": 0, "SubnetId": account.subnet}
        interface |= {} if asked is None else {"AssociatePublicIpAddress": asked}

        launched = account.ec2.run_instances(
            MinCount=1, MaxCount=1, ImageId="ami-12345678", InstanceType="t4g.nano", NetworkInterfaces=[interface]
        )["Instances"][0]

        assert has_address == bool(launched.get("PublicIpAddress"))


class TestLifecycle:
    """It listens on the loopback interface alone, and nothing of it outlives its stop."""

    def test_it_listens_on_one_address(self, aws: LocalAws) -> None:
        """On Linux all of 127/8 is this machine, so a server on every address would answer here."""
        port = int(aws.endpoint_url.rpartition(":")[2])

        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.2", port), timeout=1):
            pass

    def test_the_process_is_left_as_it_was(self) -> None:
        def process() -> tuple[Any, ...]:
            threads = {thread.name for thread in threading.enumerate()}
            return dict(os.environ), time.tzname, dict(default_user_config), threads

        before = process()
        with LocalAws(handlers={"echo": echo}) as aws:
            run_workflow(aws, task("echo"))
            during = os.environ["MOTO_PORT"], os.environ["TZ"]

        assert (aws.endpoint_url.rpartition(":")[2], "UTC") == during
        assert before == process()

    def test_its_port_is_closed(self) -> None:
        with LocalAws(handlers={}) as aws:
            port = int(aws.endpoint_url.rpartition(":")[2])

        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()

    def test_each_one_begins_empty(self) -> None:
        """Moto keeps its data per process; three in a row, since its caches outlive a first reset."""

        def subnets() -> int:
            with LocalAws(handlers={}) as aws:
                account = Account(aws, Clock())
                run_workflow(aws, {"Type": "Succeed"})
                machines = client(aws, "stepfunctions").list_state_machines()["stateMachines"]
                return len(account.found()) + len(account.ec2.describe_vpcs()["Vpcs"]) + len(machines)

        assert len({subnets() for _ in range(3)}) == 1

    def test_two_at_once_are_refused(self, aws: LocalAws) -> None:
        with pytest.raises(RuntimeError, match="Another LocalAws"):
            LocalAws(handlers={}).start()

    @pytest.mark.parametrize(
        ("state", "event"),
        [
            ({"Type": "Wait", "Seconds": 3600, "End": True}, "WaitStateEntered"),
            (task("echo", Resource="arn:aws:states:::lambda:invoke.waitForTaskToken"), "TaskSubmitted"),
            (
                {
                    "Type": "Parallel",
                    "End": True,
                    "Branches": [
                        {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}}}
                    ],
                },
                "WaitStateEntered",
            ),
        ],
        ids=["wait", "callback", "parallel"],
    )
    def test_executions_end_with_it(self, handlers: dict[str, Any], state: dict[str, Any], event: str) -> None:
        """Whatever they wait for; else they would go on in the next one."""
        before = set(threading.enumerate())
        with LocalAws(handlers=handlers) as aws:
            execution = start_workflow(aws, {"StartAt": "Only", "States": {"Only": state}})
            wait_for_event(aws, execution, event)
            started = time.monotonic()
        left = set(threading.enumerate()) - before
        for thread in left:  # on its way out
            thread.join(max(0.0, started + 3 - time.monotonic()))

        assert time.monotonic() - started < 3
        assert [] == [thread for thread in left if thread.is_alive()]

    def test_a_retry_that_was_to_come_does_not(self, handlers: dict[str, Any]) -> None:
        """Moto sleeps until then whatever happens; when it wakes, in the next one, nothing is left to do."""
        calls: list[Any] = []
        handlers["fail"] = lambda event, context: calls.append(event) or event["missing"]
        retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1}]
        with LocalAws(handlers=handlers) as aws:
            execution = start_workflow(aws, {"StartAt": "Only", "States": {"Only": task("fail", Retry=retry)}})
            wait_for_event(aws, execution, "TaskFailed")
        with LocalAws(handlers=handlers):
            for thread in tuple(TMP_THREADS):
                thread.join(WAITING_SECONDS)

        assert len(calls) == 1

    def test_a_handler_may_finish_its_calls(self, handlers: dict[str, Any]) -> None:
        """What still runs when the end comes can still reach AWS."""
        reached, ending = threading.Event(), threading.Event()
        buckets: list[int] = []

        def last(event: Any, context: Any) -> None:
            reached.set()
            ending.wait(WAITING_SECONDS)
            buckets.append(len(client(aws, "dynamodb").list_tables()["TableNames"]))

        handlers["last"] = last
        with LocalAws(handlers=handlers) as aws:
            invoke(aws, "last", InvocationType="Event")
            reached.wait(WAITING_SECONDS)
            threading.Timer(0.2, ending.set).start()

        assert (buckets, aws.errors) == ([0], [])

    def test_a_handler_that_does_not_end_is_named(self, handlers: dict[str, Any]) -> None:
        """And everything else has ended all the same."""
        released = threading.Event()
        handlers["stuck"] = lambda event, context: released.wait(WAITING_SECONDS)
        aws = LocalAws(handlers=handlers, stop_seconds=0.2).start()
        invoke(aws, "stuck", InvocationType="Event")

        with pytest.raises(RuntimeError, match="function stuck"):
            aws.stop()

        released.set()
        LocalAws(handlers={}).start().stop()


class WatchedLock:
    """Says when somebody has come to it."""

    def __init__(self) -> None:
        self.lock, self.came = threading.Lock(), threading.Event()

    def __enter__(self) -> None:
        self.came.set()
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


class TestTicker:
    """Calls what it is given at its interval."""

    def test_each_call_comes_again_and_again(self) -> None:
        counts, enough = {"a": 0, "b": 0}, threading.Event()

        def count(name: str) -> None:
            counts[name] += 1
            if counts["b"] == 2:
                enough.set()

        ticker = Ticker(0.02, [lambda: count("a"), lambda: count("b")])
        ticker.start()
        came = enough.wait(WAITING_SECONDS)
        ticker.stop()

        assert came
        assert counts["a"] == counts["b"] >= 2

    def test_the_first_comes_after_an_interval(self) -> None:
        """And stopping does not wait for it."""
        calls: list[int] = []
        ticker = Ticker(3600, [lambda: calls.append(1)])
        ticker.start()
        started = time.monotonic()
        ticker.stop()

        assert time.monotonic() - started < 1
        assert calls == []

    def test_no_call_comes_while_somebody_holds_pause(self) -> None:
        """They come when it is let go."""
        pause, called = WatchedLock(), threading.Event()
        ticker = Ticker(0.02, [called.set])
        ticker.pause = pause
        with pause.lock:
            ticker.start()
            came = pause.came.wait(WAITING_SECONDS)
            was_called_before = called.is_set()
        is_called = called.wait(WAITING_SECONDS)
        ticker.stop()

        assert came
        assert not was_called_before
        assert is_called

    def test_an_error_is_kept_and_stops_nothing(self) -> None:
        later = threading.Event()
        ticker = Ticker(0.02, [lambda: {}["a"], later.set])
        ticker.start()
        came = later.wait(WAITING_SECONDS)
        ticker.stop()

        assert came
        assert KeyError is type(ticker.errors[0])
