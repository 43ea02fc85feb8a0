"""The endpoint's own clients of AWS beside boto3's: the same answers and errors from the same bytes, and what is tried again."""

import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from botocore.httpsession import URLLib3Session
from botocore.regions import EndpointResolver
from botocore.session import get_session

from chalicelib.aws import json_client
from chalicelib.aws.json_client import ATTEMPTS, PATIENCE_SECONDS, Connection, JsonClient, endpoint_of, new_session
from tests.serving import HttpServer, Silent

REGION = "eu-west-1"
KEYS = {"access_key": "AKIAEXAMPLE", "secret_key": "a-secret", "token": "a-session"}
ITEM = {"Key": {"pk": {"S": "a"}, "sk": {"S": "b"}}, "TableName": "ledger"}
JSON = "application/x-amz-json-1.0"


@dataclass(frozen=True, kw_only=True)
class Said:
    """What the server answers to one request."""

    status: int = 200
    body: str = "{}"
    headers: dict[str, str] = field(default_factory=dict)


def refused(code: str, status: int = 400, **more: Any) -> Said:
    """As the JSON services refuse."""
    return Said(status=status, body=json.dumps({"__type": f"com.amazonaws.example#{code}", "message": "no"} | more))


RESET, HALF, SILENCE = "reset", "half", "silence"


@dataclass
class Server:
    """Answers by a list, then with an empty object; keeps each request as (path, headers, body)."""

    url: str
    answers: list[Said | str] = field(default_factory=list)
    seen: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(Silent, BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            known.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            said = known.answers.pop(0) if known.answers else Said()
            if isinstance(said, Said):
                self._say(said, len(said.body.encode()))
            elif said == HALF:
                self._say(Said(body='{"Item": {"pk"'), 100)
            elif said == SILENCE:
                known.over.wait(10)
                self.close_connection = True
            else:
                # Without lingering, closing sends a reset instead of an end.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True

        def _say(self, said: Said, length: int) -> None:
            self.send_response(said.status)
            for name, value in ({"Content-Type": JSON} | said.headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(length))
            self.send_header("Connection", "close")  # which ends it; each attempt has its own
            self.end_headers()
            self.wfile.write(said.body.encode())

        def finish(self) -> None:
            try:
                super().finish()
            except OSError:
                return  # reset already

    with HttpServer(Handler) as httpd:
        known = Server(url=f"http://127.0.0.1:{httpd.port}")
        yield known
        known.over.set()


@dataclass
class Time:
    """A clock that only pauses and calls move."""

    seconds_of_a_call: float = 0.0
    now: float = 100.0
    pauses: list[float] = field(default_factory=list)

    def tell(self) -> float:
        self.now += self.seconds_of_a_call  # looked at before the first attempt and after each
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def ours(server: Server, service: str = "dynamodb", time: Time | None = None, **more: Any) -> JsonClient:
    time = time or Time()
    connection = Connection(
        region=REGION, endpoint=server.url, clock=time.tell, pause=time.pause, **({**KEYS, **more} if more else KEYS)
    )
    return JsonClient(service, connection)


def boto3s(server: Server, service: str = "dynamodb") -> Any:
    """One that tries once."""
    return boto3.client(  # type: ignore[call-overload]  # by name
        service,
        region_name=REGION,
        endpoint_url=server.url,
        aws_access_key_id=KEYS["access_key"],
        aws_secret_access_key=KEYS["secret_key"],
        aws_session_token=KEYS["token"],
        config=Config(retries={"total_max_attempts": 1}),
    )


CALLS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "GetItem": ("dynamodb", "get_item", {**ITEM, "ConsistentRead": True}),
    "PutItem": ("dynamodb", "put_item", {"TableName": "ledger", "Item": {**ITEM["Key"], "ü": {"N": "1"}}}),
    "Query": ("dynamodb", "query", {"TableName": "ledger", "KeyConditionExpression": "pk = :pk"}),
    "UpdateItem": ("dynamodb", "update_item", {**ITEM, "UpdateExpression": "SET #a = :a"}),
    "BatchGetItem": ("dynamodb", "batch_get_item", {"RequestItems": {"ledger": {"Keys": [ITEM["Key"]]}}}),
    "TransactWriteItems": (
        "dynamodb",
        "transact_write_items",
        {"TransactItems": [{"Put": {"TableName": "ledger", "Item": ITEM["Key"]}}], "ClientRequestToken": "token"},
    ),
    "StartExecution": (
        "stepfunctions",
        "start_execution",
        {"stateMachineArn": "arn:aws:states:::m", "name": "R-ABC234", "input": "{}"},
    ),
    "SendTaskSuccess": ("stepfunctions", "send_task_success", {"taskToken": "t", "output": "{}"}),
    "DescribeExecution": ("stepfunctions", "describe_execution", {"executionArn": "arn:aws:states:::e"}),
    "GetSecretValue": ("secretsmanager", "get_secret_value", {"SecretId": "drawbridge/example/slack"}),
    "PutLogEvents": (
        "logs",
        "put_log_events",
        {"logGroupName": "g", "logStreamName": "s", "logEvents": [{"timestamp": 1, "message": "m"}]},
    ),
    "CreateLogStream": ("logs", "create_log_stream", {"logGroupName": "g", "logStreamName": "s"}),
    "Invoke": ("lambda", "invoke", {"FunctionName": "IssueToken", "InvocationType": "Event", "Payload": '{"a": 1}'}),
    "Invoke by its ARN": (
        "lambda",
        "invoke",
        {
            "FunctionName": f"arn:aws:lambda:{REGION}:123456789012:function:IssueToken",
            "InvocationType": "Event",
            "Payload": "{}",
        },
    ),
}


class TestRequests:
    @pytest.mark.parametrize("call", CALLS)
    def test_a_request_is_what_boto3_would_send(self, server: Server, call: str) -> None:
        """Path, protocol, target and content, by the service's own model."""
        service, method, arguments = CALLS[call]
        for client in (boto3s(server, service), ours(server, service)):
            getattr(client, method)(**arguments)

        first, second = ((path, _protocol(headers), json.loads(body)) for path, headers, body in server.seen)
        assert first == second

    @pytest.mark.parametrize("call", CALLS)
    def test_what_arrives_is_what_was_signed(self, server: Server, call: str) -> None:
        """Reckoned anew from the bytes on the wire, as AWS does."""
        service, method, arguments = CALLS[call]
        getattr(ours(server, service), method)(**arguments)

        ((path, headers, body),) = server.seen
        scope = re.search(r"Credential=AKIAEXAMPLE/(\d{8})/eu-west-1/(\w+)/aws4_request", headers["authorization"])
        assert scope is not None
        assert {"states" if service == "stepfunctions" else service} == {scope[2]}
        assert headers["authorization"].endswith(f"Signature={_signature(server.url + path, headers, body, scope[2])}")

    def test_every_operation_is_among_those(self) -> None:
        """One that is added must be added above."""
        operations = {each for service in json_client._SERVICES.values() for each in service.operations}

        assert operations == {call.split()[0] for call in CALLS}

    def test_the_session_token_and_the_trace_go_along(self, server: Server) -> None:
        """A Lambda's credentials are worth nothing without theirs; the trace is read at each call."""
        traces = iter(["Root=1-1", None])
        client = ours(server, trace=lambda: next(traces))
        for _ in range(2):
            client.get_item(**ITEM)

        assert ["a-session"] * 2 == [headers["x-amz-security-token"] for _, headers, _ in server.seen]
        assert ["Root=1-1", None] == [headers.get("x-amzn-trace-id") for _, headers, _ in server.seen]

    def test_what_is_not_listed_is_refused_before_anything_is_sent(self, server: Server) -> None:
        """By the same error as a method that no client has."""
        with pytest.raises(AttributeError, match="delete_item"):
            ours(server).delete_item(**ITEM)

        assert [] == server.seen

    def test_sockets_are_set_up_as_boto3s(self, server: Server) -> None:
        """Else a request's second packet waits until the first is acknowledged: 40 ms of each call."""
        expected, actual = (each._socket_options for each in (boto3s(server)._endpoint.http_session, new_session()))

        assert expected == actual

    def test_no_secret_shows_in_a_repr(self, server: Server) -> None:
        """A connection may end up in a log line."""
        shown = repr(Connection(region=REGION, endpoint=server.url, **KEYS))

        assert not [secret for secret in ("a-secret", "a-session") if secret in shown]

    @pytest.mark.parametrize("service", ["dynamodb", "states", "secretsmanager", "lambda", "logs"])
    @pytest.mark.parametrize("partition", ["aws", "aws-us-gov", "aws-cn"])
    def test_the_public_address_is_botocores(self, service: str, partition: str) -> None:
        """In every region that it knows."""
        resolver = EndpointResolver(get_session().get_data("endpoints"))
        regions = resolver.get_available_endpoints(service, partition)

        assert regions
        assert {
            region: f"https://{resolver.construct_endpoint(service, region)['hostname']}" for region in regions
        } == {region: endpoint_of(service, region) for region in regions}


class TestAnswers:
    @pytest.mark.parametrize(
        ("call", "said"),
        [
            ("GetItem", Said(body='{"Item": {"pk": {"S": "naïve 🙂"}, "n": {"N": "7"}}}')),
            ("GetItem", Said()),
            (
                "Query",
                Said(body='{"Items": [], "Count": 0, "ScannedCount": 0, "LastEvaluatedKey": {"pk": {"S": "a"}}}'),
            ),
            ("BatchGetItem", Said(body='{"Responses": {"ledger": []}, "UnprocessedKeys": {}}')),
            ("PutItem", Said(body="")),
            ("GetSecretValue", Said(body='{"SecretString": "{}", "Name": "drawbridge"}')),
            ("Invoke", Said(status=202, body="")),
        ],
    )
    def test_an_answer_is_boto3s(self, server: Server, call: str, said: Said) -> None:
        """But for what boto3 says about the transport."""
        service, method, arguments = CALLS[call]
        server.answers = [said, said]
        expected, actual = (
            getattr(client, method)(**arguments) for client in (boto3s(server, service), ours(server, service))
        )

        assert {name: expected[name] for name in expected if name not in {"ResponseMetadata", "Payload"}} == actual

    @pytest.mark.parametrize(
        ("call", "said"),
        [
            ("PutItem", refused("ConditionalCheckFailedException", Item={"pk": {"S": "a"}})),
            ("PutItem", refused("ConditionalCheckFailedException")),
            (
                "TransactWriteItems",
                refused(
                    "TransactionCanceledException",
                    CancellationReasons=[
                        {"Code": "None"},
                        {"Code": "ConditionalCheckFailed", "Message": "no", "Item": {"pk": {"S": "a"}}},
                    ],
                ),
            ),
            ("GetItem", refused("ResourceNotFoundException")),
            ("GetItem", refused("ExpiredTokenException")),
            ("GetItem", refused("UnrecognizedClientException")),
            ("GetItem", refused("InvalidSignatureException")),
            ("GetItem", refused("RequestTimeTooSkewed", 403)),
            ("GetItem", Said(status=400, body='{"__type": "Plain:http://example.com/", "Message": "no"}')),
            ("GetItem", Said(status=403, body="<html>Forbidden</html>")),
            ("GetItem", Said(status=413, body="")),
            ("StartExecution", refused("ExecutionAlreadyExists")),
            ("SendTaskSuccess", refused("TaskTimedOut")),
            ("GetSecretValue", refused("AccessDeniedException")),
            (
                "Invoke",
                Said(status=404, body='{"Message": "no"}', headers={"x-amzn-ErrorType": "ResourceNotFoundException:x"}),
            ),
        ],
    )
    def test_a_refusal_is_boto3s(self, server: Server, call: str, said: Said) -> None:
        """Code, words and the fields that the error has of its own; a clock that is wrong and credentials that expired too."""
        service, method, arguments = CALLS[call]
        server.answers = [said, said]
        errors = []
        for client in (boto3s(server, service), ours(server, service)):
            with pytest.raises(ClientError) as caught:
                getattr(client, method)(**arguments)
            errors.append(caught.value)

        expected, actual = errors
        assert expected.response["Error"]["Code"] == actual.response["Error"]["Code"]
        assert expected.response["Error"]["Message"] == actual.response["Error"]["Message"]
        assert [expected.response.get(name) for name in ("Item", "CancellationReasons")] == [
            actual.response.get(name) for name in ("Item", "CancellationReasons")
        ]
        assert expected.operation_name == actual.operation_name
        assert 2 == len(server.seen)


TROUBLES: dict[str, Said | str] = {
    "throttled": refused("ThrottlingException"),
    "too fast for the table": refused("ProvisionedThroughputExceededException"),
    "a transaction under way": refused("TransactionInProgressException"),
    "broken inside": refused("InternalServerError", 500),
    "unavailable": Said(status=503, body=""),
    "a gateway's page": Said(status=502, body="<html>Bad Gateway</html>"),
    "reset": RESET,
    "half an answer": HALF,
}


class TestTryingAgain:
    @pytest.mark.parametrize("trouble", TROUBLES)
    def test_what_passes_is_tried_again(self, server: Server, trouble: str) -> None:
        """Until it has passed: the fourth attempt is the last."""
        server.answers = [TROUBLES[trouble]] * (ATTEMPTS - 1) + [Said(body='{"Item": {"pk": {"S": "a"}}}')]
        time = Time()

        assert {"Item": {"pk": {"S": "a"}}} == ours(server, time=time).get_item(**ITEM)
        assert ATTEMPTS == len(server.seen)
        assert ATTEMPTS - 1 == len(time.pauses)

    @pytest.mark.parametrize("trouble", TROUBLES)
    def test_what_does_not_pass_is_raised(self, server: Server, trouble: str) -> None:
        """As the last attempt saw it; nothing is kept back."""
        server.answers = [TROUBLES[trouble]] * 9

        with pytest.raises((ClientError, BotoCoreError)) as caught:
            ours(server).get_item(**ITEM)

        assert ATTEMPTS == len(server.seen)
        assert isinstance(caught.value, ConnectionClosedError if isinstance(TROUBLES[trouble], str) else ClientError)

    def test_pauses_grow_and_stay_short(self, server: Server) -> None:
        """Together less than a person notices."""
        server.answers = [TROUBLES["throttled"]] * 9
        time = Time()
        with pytest.raises(ClientError):
            ours(server, time=time).get_item(**ITEM)

        assert [True] * 3 == [0 <= seconds <= most for seconds, most in zip(time.pauses, (0.05, 0.1, 0.2), strict=True)]

    @pytest.mark.parametrize(("seconds_of_a_call", "attempts"), [(0.2, 4), (0.4, 3), (PATIENCE_SECONDS, 1), (9, 1)])
    def test_nothing_is_tried_once_patience_is_over(
        self, server: Server, seconds_of_a_call: float, attempts: int
    ) -> None:
        """Slack waits three seconds, and the attempt under way takes up to two of them."""
        server.answers = [TROUBLES["unavailable"]] * 9
        with pytest.raises(ClientError):
            ours(server, time=Time(seconds_of_a_call=seconds_of_a_call)).get_item(**ITEM)

        assert attempts == len(server.seen)

    @pytest.mark.parametrize("code", ["ValidationException", "ExpiredTokenException", "RequestTimeTooSkewed"])
    def test_what_would_be_refused_again_is_not_tried_again(self, server: Server, code: str) -> None:
        """It would only take the person's time."""
        server.answers = [refused(code)]
        with pytest.raises(ClientError, match=code):
            ours(server).get_item(**ITEM)

        assert 1 == len(server.seen)

    def test_a_transaction_that_is_tried_again_is_the_same_one(self, server: Server) -> None:
        """DynamoDB knows it by its token; the next transaction has another."""
        server.answers = [RESET]
        client = ours(server)
        for _ in range(2):
            client.transact_write_items(TransactItems=[])

        first, again, other = (json.loads(body)["ClientRequestToken"] for _, _, body in server.seen)
        assert first == again != other
        assert 1 <= len(first) <= 36

    def test_an_attempt_is_signed_for_its_own_time(self, server: Server) -> None:
        """A signature grows old in five minutes; a request that waited is not refused for that."""
        server.answers = [TROUBLES["unavailable"]]
        ours(server).get_item(**ITEM)

        assert [True, True] == ["x-amz-date" in headers and "authorization" in headers for _, headers, _ in server.seen]

    def test_who_cannot_be_reached_is_named_as_such(self) -> None:
        """Nobody listens there; tried again like everything that may pass."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            nowhere = Server(url=f"http://127.0.0.1:{free.getsockname()[1]}")
            time = Time()
            with pytest.raises(EndpointConnectionError):
                ours(nowhere, time=time).get_item(**ITEM)

        assert ATTEMPTS - 1 == len(time.pauses)

    def test_who_does_not_answer_is_given_up(self, server: Server) -> None:
        """Within the time that an attempt has, here a tenth of a second."""
        server.answers = [SILENCE] * 9
        time = Time(seconds_of_a_call=PATIENCE_SECONDS)
        with pytest.raises(ReadTimeoutError):
            ours(server, time=time, session=URLLib3Session(timeout=(0.1, 0.1))).get_item(**ITEM)

        assert 1 == len(server.seen)


def _protocol(headers: dict[str, str]) -> tuple[str | None, ...]:
    names = ["x-amz-target", "x-amz-invocation-type"] + (["content-type"] if "x-amz-target" in headers else [])
    return tuple(headers.get(name) for name in names)


def _signature(url: str, headers: dict[str, str], body: bytes, service: str) -> str:
    """Of a request that arrived, by those of its headers that it says were signed."""
    signed = re.search(r"SignedHeaders=([^,]+)", headers["authorization"])
    assert signed is not None
    request = AWSRequest("POST", url, {name: headers[name] for name in signed[1].split(";")}, body)
    request.context["timestamp"] = headers["x-amz-date"]
    signer: Callable[..., Any] = SigV4Auth
    signing = signer(Connection(region=REGION, **KEYS), service, REGION)
    return str(signing.signature(signing.string_to_sign(request, signing.canonical_request(request)), request))
