"""Whose calls they are: each function signs with its own key, and a call that may not be made is refused as AWS refuses it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.aws import LocalAws
from local.aws_calls import AwsCall
from local.functions import environment
from local.identities import SECRET, WORKSPACE_KEY, access_key_of, find_credentials, function_of, own_credentials

SETTINGS: dict[str, str | None] = {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_PROFILE": None, "AWS_SESSION_TOKEN": None}
SETTINGS |= {"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}
CALLS: dict[str, Callable[[], Any]] = {
    "DescribeInstances": lambda: client("ec2").describe_instances(InstanceIds=["i-0123456789abcdef0"]),
    "DescribeDBClusters": lambda: client("rds").describe_db_clusters(DBClusterIdentifier="my-aurora"),
    "ListTables": lambda: client("dynamodb").list_tables(Limit=3),
    "SendTaskSuccess": lambda: client("stepfunctions").send_task_success(taskToken="t", output="{}"),
    "Invoke": lambda: client("lambda").invoke(FunctionName="Second", InvocationType="Event"),
}


def client(service: str) -> Any:
    make: Any = boto3.client
    return make(service, config=Config(retries={"total_max_attempts": 1}))


class Front:
    """What the front was asked, and what it is to say to it."""

    def __init__(self) -> None:
        self.calls: list[AwsCall] = []
        self.refusal: str | None = None

    def __call__(self, call: AwsCall) -> str | None:
        self.calls.append(call)
        return self.refusal


@pytest.fixture
def front() -> Front:
    return Front()


@pytest.fixture
def handlers() -> dict[str, Any]:
    return {}


@pytest.fixture
def aws(front: Front, handlers: dict[str, Any]) -> Iterator[LocalAws]:
    with (
        LocalAws(handlers=handlers, authorize=front) as aws,
        environment(SETTINGS | {"AWS_ENDPOINT_URL": aws.endpoint_url}),
        own_credentials(),
    ):
        yield aws


def test_each_function_signs_with_a_key_of_its_own(aws: LocalAws, front: Front, handlers: dict[str, Any]) -> None:
    """Also by one client that they share, and when one is invoked by another."""
    shared = client("dynamodb")

    def second(event: Any, context: Any) -> None:
        shared.list_tables()

    def first(event: Any, context: Any) -> None:
        shared.list_tables()
        aws.invoke("stack-Second", {})
        shared.list_tables()

    handlers |= {"First": first, "stack-Second": second}

    aws.invoke("First", {})
    shared.list_tables()

    callers = [function_of(call.access_key_id) for call in front.calls]
    assert ["First", "Second", "First", None] == callers
    assert WORKSPACE_KEY == front.calls[-1].access_key_id


def test_functions_that_run_at_once_are_told_apart(aws: LocalAws, front: Front, handlers: dict[str, Any]) -> None:
    """Each thread runs its own."""
    meeting = threading.Barrier(2, timeout=10)

    def call(event: Any, context: Any) -> None:
        meeting.wait()
        client("dynamodb").list_tables(Limit=event["limit"])

    handlers |= {"First": call, "Second": call}
    threads = [
        threading.Thread(target=aws.invoke, args=(name, {"limit": limit}))
        for limit, name in enumerate(handlers, start=1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    found = {call.parameters["Limit"]: function_of(call.access_key_id) for call in front.calls}
    assert {1: "First", 2: "Second"} == found


def test_a_database_token_is_its_maker_s(aws: LocalAws, handlers: dict[str, Any]) -> None:
    """It is signed without a call, and the door of the databases still knows by whom."""
    rds = client("rds")
    arguments = {"DBHostname": "db.example.com", "Port": 5432, "DBUsername": "jit_a", "Region": "eu-west-1"}
    handlers["IssueToken"] = lambda event, context: rds.generate_db_auth_token(**arguments)

    token = aws.invoke("IssueToken", {})

    assert f"X-Amz-Credential={access_key_of('IssueToken')}%2F" in token


@pytest.mark.parametrize("operation", CALLS)
def test_every_protocol_is_read(aws: LocalAws, front: Front, operation: str) -> None:
    """JSON, EC2's and RDS's queries, and Lambda's paths: service, operation and parameters."""
    expected = {
        "DescribeInstances": ("ec2", {"InstanceId.1": "i-0123456789abcdef0"}),
        "DescribeDBClusters": ("rds", {"DBClusterIdentifier": "my-aurora"}),
        "ListTables": ("dynamodb", {"Limit": 3}),
        "SendTaskSuccess": ("states", {"taskToken": "t", "output": "{}"}),
        "Invoke": ("lambda", {"FunctionName": "Second"}),
    }
    with suppress(ClientError):  # moto knows none of these
        CALLS[operation]()

    (call,) = front.calls
    service, parameters = expected[operation]
    assert (service, operation) == (call.service, call.operation)
    assert parameters.items() <= dict(call.parameters).items()


@pytest.mark.parametrize("operation", CALLS)
def test_a_refusal_is_aws_s_own(aws: LocalAws, front: Front, operation: str) -> None:
    """By the code that each service has for it; nothing is done."""
    codes = {"DescribeInstances": "UnauthorizedOperation", "DescribeDBClusters": "AccessDenied"}
    front.refusal = "First is not authorized to perform this."

    with pytest.raises(ClientError) as refused:
        CALLS[operation]()

    error = refused.value.response["Error"]
    assert codes.get(operation, "AccessDeniedException") == error["Code"]
    assert front.refusal == error["Message"]


@pytest.mark.parametrize(
    ("user", "is_asked", "enters"), [("drawbridge", True, True), ("jit_x", True, True), ("root", False, False)]
)
def test_the_door_asks_whether_a_function_may_connect(user: str, is_asked: bool, enters: bool) -> None:
    """As which user is what the policies are about; as anybody but ours nobody may."""
    front = Front()
    credentials = find_credentials(access_key_of("RevokeAccess"), front)

    assert credentials is not None
    assert SECRET == credentials.secret_access_key
    assert enters is credentials.may_connect(user)
    assert [{"DBUser": user}] * is_asked == [call.parameters for call in front.calls]
    front.refusal = "no"
    assert not credentials.may_connect(user)


def test_the_door_knows_no_other_key() -> None:
    """People's own and the workspace's make no token that is good here."""
    assert [None, None] == [find_credentials(key, None) for key in (WORKSPACE_KEY, "AKIALOCALALICE000000")]
