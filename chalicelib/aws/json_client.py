"""Clients that cost a cold start little: botocore's signer, HTTP session and retry rules, without boto3's service models.

For who owes an answer within seconds. They take and return what boto3's clients do, for the few operations listed here; any other
is an AttributeError. Whether an operation was given what it needs is left to AWS to say.
"""

import json
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError
from botocore.httpsession import URLLib3Session
from botocore.retries.standard import (
    OrRetryChecker,
    RetryContext,
    ThrottledRetryableChecker,
    TransientRetryableChecker,
)

ATTEMPTS = 4
CONNECT_SECONDS, READ_SECONDS, PATIENCE_SECONDS = 0.5, 1.5, 1.0
"""No attempt begins once the patience is over, so a call ends within the three together: as long as Slack waits for an answer."""

_FIRST_PAUSE_SECONDS = 0.05
_SENT_AT_ONCE = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
"""A body goes out in a packet after its headers. It must not wait until these are acknowledged, which may take 40 ms."""
_RULES = OrRetryChecker([TransientRetryableChecker(), ThrottledRetryableChecker()])
_REFUSED = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class _Service:
    """How a service is spoken to. ``name`` is what requests are signed for, and the first part of its host."""

    name: str
    target: str = ""
    version: str = ""
    operations: frozenset[str]


_SERVICES = {
    "dynamodb": _Service(
        name="dynamodb",
        target="DynamoDB_20120810",
        version="1.0",
        operations=frozenset({"BatchGetItem", "GetItem", "PutItem", "Query", "TransactWriteItems", "UpdateItem"}),
    ),
    "stepfunctions": _Service(
        name="states",
        target="AWSStepFunctions",
        version="1.0",
        operations=frozenset({"DescribeExecution", "SendTaskSuccess", "StartExecution"}),
    ),
    "secretsmanager": _Service(
        name="secretsmanager", target="secretsmanager", version="1.1", operations=frozenset({"GetSecretValue"})
    ),
    "lambda": _Service(name="lambda", operations=frozenset({"Invoke"})),
    "logs": _Service(
        name="logs", target="Logs_20140328", version="1.1", operations=frozenset({"CreateLogStream", "PutLogEvents"})
    ),
}


def new_session(read_seconds: float = READ_SECONDS) -> Any:
    """What carries the requests. An AWS on the same machine may be given longer to answer."""
    make: Any = URLLib3Session  # its stubs know one time for connecting and reading
    return make(timeout=(CONNECT_SECONDS, read_seconds), socket_options=_SENT_AT_ONCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where AWS is and who asks, for all clients together. As botocore's signer wants it, this is the credentials too.

    ``trace`` tells the X-Ray header of the invocation under way, by which AWS continues its trace and notices functions that call
    themselves for ever. The clock counts seconds from any beginning.
    """

    region: str
    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    endpoint: str | None = None
    trace: Callable[[], str | None] = lambda: None
    session: Any = field(default_factory=new_session, repr=False)
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], object] = threading.Event().wait


class JsonClient:
    """One service's client. Raises botocore's ClientError for what AWS refuses, and its other errors for what did not reach AWS.

    Throttling, 5xx and broken connections are tried again, by botocore's rules of what is worth it, four times in all.
    """

    def __init__(self, service: str, connection: Connection) -> None:
        self._service, self._connection = _SERVICES[service], connection
        self._url = connection.endpoint or endpoint_of(self._service.name, connection.region)
        signer: Any = SigV4Auth  # its stubs want one of botocore's own two kinds of credentials
        self._signer = signer(connection, self._service.name, connection.region)

    def __getattr__(self, method: str) -> Callable[..., dict[str, Any]]:
        operation = "".join(word.capitalize() for word in method.split("_"))
        if operation not in self._service.operations:
            raise AttributeError(method)
        return lambda **arguments: self._call(operation, arguments)

    def _call(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        path, headers, body = self._written(operation, arguments)
        if trace := self._connection.trace():
            headers["X-Amzn-Trace-Id"] = trace
        patient_until = self._connection.clock() + PATIENCE_SECONDS
        for attempt in range(1, ATTEMPTS + 1):
            try:
                # Made and signed anew each time, so that no signature grows old.
                return self._attempt(operation, AWSRequest("POST", self._url + path, headers, body))
            except (BotoCoreError, ClientError) as error:
                pause = random.random() * _FIRST_PAUSE_SECONDS * 2 ** (attempt - 1)  # noqa: S311  parts who failed together
                is_late = self._connection.clock() + pause >= patient_until
                if attempt == ATTEMPTS or is_late or not _is_worth_another(error):
                    raise
            self._connection.pause(pause)
        raise AssertionError("unreachable")

    def _attempt(self, operation: str, request: AWSRequest) -> dict[str, Any]:
        self._signer.add_auth(request)
        response: AWSResponse = self._connection.session.send(request.prepare())
        try:
            body = json.loads(response.content or b"{}")
        except ValueError:
            if response.status_code < _REFUSED:  # half an answer
                raise ConnectionClosedError(endpoint_url=self._url) from None
            body = {"message": response.content.decode(errors="replace")}
        if response.status_code >= _REFUSED:
            raise ClientError(_refusal(response, body), operation)
        return {**body, "StatusCode": response.status_code} if operation == "Invoke" else body

    def _written(self, operation: str, arguments: dict[str, Any]) -> tuple[str, dict[str, str], bytes]:
        """Path, headers and body of an operation in its service's protocol."""
        if operation == "Invoke":
            path = f"/2015-03-31/functions/{quote(arguments['FunctionName'], safe='')}/invocations"
            return path, {"X-Amz-Invocation-Type": arguments["InvocationType"]}, arguments["Payload"].encode()
        if operation == "TransactWriteItems":
            # By it DynamoDB knows a transaction again whose answer was lost, and does not carry it out twice.
            arguments = {"ClientRequestToken": secrets.token_hex(16), **arguments}
        headers = {
            "Content-Type": f"application/x-amz-json-{self._service.version}",
            "X-Amz-Target": f"{self._service.target}.{operation}",
        }
        return "/", headers, json.dumps(arguments).encode()


def endpoint_of(service: str, region: str) -> str:
    """The public address of one of these services in a region of AWS, of GovCloud or of China."""
    return f"https://{service}.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")


def _is_worth_another(error: BotoCoreError | ClientError) -> bool:
    if isinstance(error, ClientError):
        status = SimpleNamespace(status_code=error.response["ResponseMetadata"]["HTTPStatusCode"])
        context = RetryContext(attempt_number=1, http_response=status, parsed_response=error.response)
    else:
        context = RetryContext(attempt_number=1, caught_exception=error)
    return bool(_RULES.is_retryable(context))


def _refusal(response: AWSResponse, body: dict[str, Any]) -> Any:
    """As boto3 tells it: AWS's name for the error, in header or body, without its namespace, beside the error's own fields."""
    code = str(response.headers.get("x-amzn-errortype") or body.get("__type") or response.status_code)
    return body | {
        "Error": {
            "Code": code.partition(":")[0].rpartition("#")[2],
            "Message": body.get("message") or body.get("Message") or "",
        },
        "ResponseMetadata": {
            "HTTPStatusCode": response.status_code,
            "RequestId": response.headers.get("x-amzn-requestid", ""),
        },
    }
