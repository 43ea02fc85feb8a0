"""AWS for the functions of one world: boto3 past its network, the lean clients through a door on this machine.

Behind both: moto, except for the ledger, which is computed, and for executions, invocations and SSM sessions, which live in
virtual time.
"""

import json
import re
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode
from uuid import uuid4

from botocore.awsrequest import AWSPreparedRequest, HeadersDict
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from botocore.parsers import create_parser
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.exceptions import ServiceException
from moto.logs.models import logs_backends
from werkzeug.exceptions import HTTPException

from local import seed
from local.aws_calls import INVOKE
from tests.faults.explore.dynamo import ModelDynamo
from tests.faults.gate import Call, Fault, Killed, NoAnswer, Refused

Answer = tuple[int, dict[str, str], bytes]
_SERVICES = {
    "DynamoDB_20120810": "dynamodb",
    "AWSStepFunctions": "stepfunctions",
    "secretsmanager": "secretsmanager",
    "Logs_20140328": "logs",
    "AmazonSSM": "ssm",
}
_HOSTS = {"stepfunctions": "states"}
_ONCE_ONLY = re.compile(rb'"ClientRequestToken": "[^"]*"')
_CAPITAL = re.compile("([A-Z])")
_PARTITION_KEY = re.compile(rb'"pk": ?\{"S": ?"([A-Z]+)#')
_QUERY_ERROR = (
    "<Response><Errors><Error><Code>{code}</Code><Message>planned</Message></Error></Errors></Response>",
    "<ErrorResponse><Error><Code>{code}</Code><Message>planned</Message></Error></ErrorResponse>",
)
_CODES = {
    Fault.THROTTLED: {
        "dynamodb": "ProvisionedThroughputExceededException",
        "ec2": "RequestLimitExceeded",
        "rds": "Throttling",
    },
    Fault.SERVER_ERROR: {"dynamodb": "InternalServerError"},
}
Carry = Callable[[str, str, str, dict[str, str], bytes], Answer]
"""Carries out a request: service, region, path, headers, body."""


class Aws:
    """``carry`` carries a request out, ``through`` puts it through the gate in the name of whoever has the turn."""

    def __init__(self, carry: Carry, through: Callable[[Call, Callable[[], Any]], Any]) -> None:
        self._carry, self._through = carry, through
        self._parsed: dict[object, Any] = {}

    def before_call(self, model: Any, params: Any, context: Any, **_: Any) -> tuple[Any, Any] | None:
        """What botocore asks before it sends anything: the answer, so that it sends nothing."""
        service, region = model.service_model.service_name, context["client_region"]
        body = params["body"]
        if isinstance(body, dict):
            body = urlencode(body)
        body = body.encode() if isinstance(body, str) else bytes(body or b"")
        headers = {name: str(value) for name, value in params["headers"].items()}
        try:
            status, given, content = self.call(service, region, model.name, params["url_path"], headers, body)
        except NoAnswer as silence:
            kind = ConnectionClosedError if silence.is_reset else ReadTimeoutError
            raise kind(endpoint_url=service) from None
        if service == "dynamodb":
            return SimpleNamespace(status_code=status), _read_dynamo(status, content)
        read = (service, model.name, status, content)
        if read not in self._parsed:
            self._parsed[read] = _parse(model, status, given, content)
        return SimpleNamespace(status_code=status), self._parsed[read]

    def call(
        self,
        service: str,
        region: str,
        operation: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        *,
        key: object = None,
    ) -> Answer:
        """One call, through the gate. Raises NoAnswer and Killed. ``key`` is given by a client that sends again by itself."""
        found = _PARTITION_KEY.search(body) if service == "dynamodb" else None
        call = Call(
            kind="aws",
            name=f"{service}.{operation}",
            function="",
            detail=found[1].decode() if found else "",
            key=key,
        )
        try:
            answer: Answer = self._through(call, lambda: self._carry(service, region, path, headers, body))
        except Refused as refusal:
            return _refusal(service, refusal.fault)
        return answer


def _parse(model: Any, status: int, headers: dict[str, str], content: bytes) -> Any:
    """An answer as botocore reads it."""
    described = {
        "body": content,
        "headers": HeadersDict(headers),
        "status_code": status,
        "context": {"operation_name": model.name},
    }
    parser = create_parser(model.service_model.resolved_protocol)
    parsed = parser.parse(described, model.output_shape)
    if status >= 300:
        shape = model.service_model.shape_for_error_code(parsed.get("Error", {}).get("Code", ""))
        if shape is not None:
            parsed |= parser.parse(described, shape)
    return parsed


def _refusal(service: str, fault: Fault) -> Answer:
    status = 400 if fault is Fault.THROTTLED else 500
    fallback = {Fault.THROTTLED: "ThrottlingException", Fault.SERVER_ERROR: "InternalFailure"}[fault]
    code = _CODES[fault].get(service, fallback)
    if service in {"ec2", "rds"}:
        return 503, {}, _QUERY_ERROR[service == "rds"].format(code=code).encode()
    if service == "lambda":
        return (429 if status == 400 else 500), {"x-amzn-ErrorType": code}, b"{}"
    return status, {}, json.dumps({"__type": code, "message": "planned"}).encode()


_moto = BotocoreStubber()


def ask_dynamo(dynamo: ModelDynamo, operation: str, body: bytes) -> Answer:
    """What DynamoDB makes of a request."""
    try:
        answer = getattr(dynamo, _CAPITAL.sub(r"_\1", operation).lower().lstrip("_"))(**json.loads(body))
    except ClientError as refusal:
        said: Any = dict(refusal.response)
        error = said.pop("Error")
        answer = {"__type": error["Code"], "message": error["Message"], **said}
        return 400, {}, json.dumps(answer).encode()
    return 200, {}, json.dumps(answer).encode()


def _read_dynamo(status: int, content: bytes) -> Any:
    """An answer of DynamoDB as botocore's parser reads it, of whose kinds of values the ledger has the plain ones alone."""
    said = json.loads(content)
    if status < 300:
        return said
    return {"Error": {"Code": said.pop("__type"), "Message": said.pop("message")}, **said}


def ask_logs(headers: dict[str, str], body: bytes) -> Answer:
    """What moto's CloudWatch Logs makes of a line, without its reading of requests; a refusal in moto's own words."""
    asked, logs = json.loads(body), logs_backends[seed.ACCOUNT][seed.REGION]
    try:
        token, rejected = logs.put_log_events(asked["logGroupName"], asked["logStreamName"], asked["logEvents"])
    except (ServiceException, HTTPException):
        return ask_moto("logs", seed.REGION, "/", headers, body)
    answer = {"nextSequenceToken": token} | ({"rejectedLogEventsInfo": rejected} if rejected else {})
    return 200, {}, json.dumps(answer).encode()


def ask_moto(service: str, region: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
    """What moto makes of a request."""
    host = f"{_HOSTS.get(service, service)}.{region}.amazonaws.com"
    given = HTTPHeaders()
    credential = f"Credential=AKIAEXAMPLE/20300101/{region}/{service}/aws4_request"
    signed = {"Host": host, "amz-sdk-invocation-id": str(uuid4()), "Authorization": f"AWS4-HMAC-SHA256 {credential}, "}
    for name, value in {**headers, **signed}.items():
        given[name] = value
    request = AWSPreparedRequest("POST", f"https://{host}{path}", given, body, stream_output=False)
    answer = _moto.process_request(request)
    assert answer is not None, service
    status, found, content = answer
    content = content.encode() if isinstance(content, str) else content
    return status, {name: str(value) for name, value in dict(found).items()}, content


class Door:
    """The lean clients' way to AWS, and Slack's way to the API, on a free port of this machine."""

    def __init__(
        self, aws: Callable[[], Aws], api: Callable[[str, dict[str, str], bytes], tuple[int, dict[str, str], bytes]]
    ) -> None:
        handler = type("Handler", (_Handler,), {"aws": staticmethod(aws), "api": staticmethod(api)})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Somebody hung up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    aws: Callable[[], Aws]
    api: Callable[[str, dict[str, str], bytes], tuple[int, dict[str, str], bytes]]

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_POST(self) -> None:
        body, headers = self.rfile.read(int(self.headers.get("Content-Length", 0))), dict(self.headers.items())
        try:
            status, given, content = self._answer(headers, body)
        except (NoAnswer, Killed):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(status)
        for name, value in {**given, "Content-Length": str(len(content))}.items():
            if name.lower() not in {"content-length", "server", "date"} or name == "Content-Length":
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _answer(self, headers: dict[str, str], body: bytes) -> Answer:
        if self.path.startswith("/api/"):
            return self.api(self.path, headers, body)
        service, operation, path = "lambda", "Invoke", unquote(self.path)
        if not INVOKE.fullmatch(self.path):
            prefix, _, operation = headers["X-Amz-Target"].partition(".")
            service, path = _SERVICES[prefix], "/"
        key = (service, operation, _ONCE_ONLY.sub(b"", body))
        return self.aws().call(service, seed.REGION, operation, path, headers, body, key=key)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def read_form(body: bytes) -> dict[str, str]:
    """The parameters of a request in EC2's and RDS's protocols."""
    return {name: values[0] for name, values in parse_qs(body.decode()).items()}
