"""Raw HTTP at the Slack endpoint, through the local front and to the handler itself.

Nobody gets anything done whose request Slack has not signed, and nothing makes us fail.
"""

import base64
import hmac
import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode, urlsplit

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from local import seed
from local.aws import API_FUNCTION
from local.lambdas import LambdaContext
from local.workspace import Workspace
from tests.fuzz.mutations import HOSTILE_TEXTS, json_values, mutated_bytes, tries

PATH, WAITING_SECONDS, LARGEST = "/slack/events", 10.0, 1_000_000
COMMAND = urlencode(
    {
        "command": "/db-access",
        "text": "my-aurora-location r 1h",
        "user_id": "U0ALICE",
        "team_id": seed.TEAM,
        "api_app_id": seed.APP,
        "channel_id": "C0GENERAL",
        "trigger_id": "1.2.fuzz",
        "response_url": "http://127.0.0.1:1/nowhere",
    }
)
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
LARGE_BODIES = {
    "a word of a megabyte": "a" * LARGEST,
    "half a million fields": "a=&" * (LARGEST // 3),
    "a field of a megabyte": "payload=" + "a" * LARGEST,
    "a megabyte of percent signs": "payload=" + "%" * LARGEST,
    "an object in an object": '{"a":' * (LARGEST // 5),
    "a closed object in an object": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "a deep object that can just be read": '{"a":' * 900 + "1" + "}" * 900,
    "a list in a list in a form": "payload=" + "[" * LARGEST,
    "an object in an object in a form": "payload=" + '{"a":' * (LARGEST // 5),
    "a number of five thousand digits": '{"a":' + "9" * 5000 + "}",
    "a string that does not end": '{"a":"' + "x" * LARGEST,
    "escapes": '{"a":"' + "\\u0000" * (LARGEST // 6) + '"}',
    "half a pair of surrogates": '{"a":"\\ud800"}',
    "request ids": "R-ABC234" * (LARGEST // 8),
}
FIELDS = (
    *(
        "type",
        "user",
        "user_id",
        "team",
        "team_id",
        "enterprise",
        "enterprise_id",
        "is_enterprise_install",
        "authorizations",
    ),
    *(
        "event",
        "channel",
        "channel_id",
        "view",
        "message",
        "container",
        "actions",
        "api_app_id",
        "token",
        "function_data",
    ),
    *(
        "bot_access_token",
        "response_url",
        "command",
        "payload",
        "ssl_check",
        "challenge",
        "context_team_id",
        "message_ts",
    ),
)
# Header lines that a stranger could send; each stands where the right one stood.
HEADERS = (
    *(
        "X-Slack-Signature",
        "X-Slack-Request-Timestamp",
        "Content-Type",
        "Content-Length",
        "Content-Encoding",
        "Cookie",
        "Host",
    ),
    *("X-Slack-Retry-Num", "Transfer-Encoding", "Expect", "X-Forwarded-For", "X-HTTP-Method-Override", "Accept"),
)
header_texts = st.sampled_from(
    [each for each in HOSTILE_TEXTS if "\r" not in each] + ["chunked", "gzip", "é", "v0=é", "0", "-1"]
) | st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=20)


@pytest.fixture(scope="module")
def workspace() -> Iterator[Workspace]:
    """Everything of ours, with nobody in it but who sends what."""
    with Workspace() as running:
        yield running


def signed(body: str, *, secret: str = "another-secret", now: float | None = None, kind: str = FORM) -> dict[str, str]:
    """The headers of a request; unless told otherwise they are signed by somebody who does not know our secret."""
    at = str(int(time.time() if now is None else now))
    signature = hmac.new(secret.encode(), f"v0:{at}:{body}".encode(), "sha256").hexdigest()
    return {"X-Slack-Request-Timestamp": at, "X-Slack-Signature": f"v0={signature}", "Content-Type": kind}


def written(body: bytes, headers: dict[str, str]) -> bytes:
    """A request as its bytes."""
    lines = [f"POST /api{PATH} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1", errors="replace") + b"\r\n\r\n" + body


def send(workspace: Workspace, request: bytes) -> int | None:
    """The status of what is answered; None when the front hangs up instead."""
    address = urlsplit(workspace.aws.endpoint_url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), WAITING_SECONDS) as connection:
        with suppress(OSError):  # it may have hung up already
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        with suppress(ConnectionError):
            while part := connection.recv(65_536):
                answer += part
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else None


def call(workspace: Workspace, event: dict[str, Any]) -> int:
    """The status that the handler itself answers an event of API Gateway with. Raises what it raises."""
    answer = workspace.aws.invoke(API_FUNCTION, event, LambdaContext(API_FUNCTION))
    assert isinstance(answer.get("body", ""), str)
    return int(answer["statusCode"])


def event_of(body: str, headers: dict[str, str], *, is_base64: bool = False) -> dict[str, Any]:
    """The event of API Gateway for a request to the one route that there is."""
    return {
        "path": PATH,
        "httpMethod": "POST",
        "requestContext": {
            "resourcePath": PATH,
            "httpMethod": "POST",
            "stage": "api",
            "identity": {"sourceIp": "192.0.2.1"},
        },
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "body": body,
        "isBase64Encoded": is_base64,
    }


def kept(workspace: Workspace) -> list[Any]:
    """What the ledger holds, in order, but for what a schedule writes."""
    items = boto3.client("dynamodb").scan(TableName=seed.TABLE)["Items"]
    return sorted((item for item in items if not item["pk"]["S"].startswith("BASTION#")), key=str)


@pytest.fixture(autouse=True)
def _nothing_is_broken(workspace: Workspace) -> Iterator[None]:
    """Whatever was sent: no function ended by an error, and the ledger holds what it held."""
    before, errors = kept(workspace), len(workspace.aws.errors)
    yield

    assert [] == workspace.aws.errors[errors:]
    assert before == kept(workspace)


def is_refused(status: int | None) -> bool:
    """4xx, or nothing at all. 501 and 505 are what the front says to verbs and versions of HTTP that there are not."""
    return status is None or 400 <= status < 500 or status in {501, 505}


@tries(250)
@given(st.data())
def test_no_bytes_of_a_stranger_are_taken(workspace: Workspace, data: st.DataObject) -> None:
    """A request by another secret, damaged anywhere below its first line: refused, or hung up on."""
    first, _, rest = written(COMMAND.encode(), signed(COMMAND)).partition(b"\r\n")

    assert is_refused(send(workspace, first + b"\r\n" + data.draw(mutated_bytes(rest))))


@pytest.mark.parametrize("verb", ["GET", "PUT", "HEAD", "OPTIONS", "TRACE", "post", "P\x00ST", ""])
@pytest.mark.parametrize(
    "path",
    [
        *(
            PATH,
            "/",
            "//",
            "/slack/events/",
            "/slack/events/..",
            "/slack/%65vents",
            "/slack/events%00",
            "/slack/events?a=%ff",
        ),
        *(
            "/slack/é",
            "/" + "x" * 8000,
            "/slack/events#",
            "/{proxy+}",
            "/../2015-03-31/functions/APIHandler/invocations",
        ),
    ],
)
def test_there_is_one_door(workspace: Workspace, verb: str, path: str) -> None:
    """No other path, and no other verb, leads anywhere."""
    request = written(COMMAND.encode(), signed(COMMAND)).replace(
        f"POST /api{PATH}".encode(), f"{verb} /api{path}".encode("latin-1")
    )

    assert is_refused(send(workspace, request))


@tries(300)
@given(st.data())
def test_no_headers_of_a_stranger_are_taken(workspace: Workspace, data: st.DataObject) -> None:
    """Whatever stands in them, once, twice or not at all."""
    headers = signed(COMMAND, secret=data.draw(st.sampled_from(["another-secret", ""])))
    for _ in range(data.draw(st.integers(1, 3))):
        headers[data.draw(st.sampled_from(HEADERS))] = data.draw(header_texts)
    headers.pop("Content-Length", None)
    event = event_of(COMMAND, headers)
    name = data.draw(st.sampled_from(sorted(headers)))
    event["multiValueHeaders"][name].append(data.draw(header_texts))

    assert is_refused(call(workspace, event))
    assert is_refused(send(workspace, written(COMMAND.encode(), headers)))


@tries(300)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass")), st.data())
def test_no_body_of_a_stranger_is_taken(workspace: Workspace, body: bytes, data: st.DataObject) -> None:
    """Whatever its encoding, and whatever it says that it is."""
    prefix, kind = (
        data.draw(st.sampled_from([b"", b"payload=", b"{", b'{"type":'])),
        data.draw(st.sampled_from([FORM, JSON])),
    )
    content = prefix + body
    headers = signed(
        content.decode(errors="replace"), kind=kind + data.draw(st.sampled_from(["", "; charset=utf-16", ";"]))
    )

    assert is_refused(send(workspace, written(content, headers)))
    assert is_refused(call(workspace, event_of(base64.b64encode(content).decode(), headers, is_base64=True)))


@tries(150)
@given(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=4), st.booleans())
def test_no_fields_of_a_stranger_break_anything(workspace: Workspace, fields: dict[str, Any], is_form: bool) -> None:
    """Those that are read before the signature is, with anything in them."""
    body = urlencode({"payload": json.dumps(fields)}) if is_form else json.dumps(fields)
    headers = signed(body, kind=FORM if is_form else JSON)

    assert is_refused(call(workspace, event_of(body, headers)))


@pytest.mark.parametrize(
    "secret", [pytest.param("another-secret", id="unsigned"), pytest.param(seed.SIGNING_SECRET, id="signed")]
)
@pytest.mark.parametrize("kind", [FORM, JSON])
@pytest.mark.parametrize("what", LARGE_BODIES)
def test_no_large_body_is_taken_or_breaks_anything(workspace: Workspace, what: str, kind: str, secret: str) -> None:
    """Up to a megabyte, and as deep; signed or not."""
    body = LARGE_BODIES[what]
    status = send(workspace, written(body.encode(), signed(body, secret=secret, kind=kind)))

    assert is_refused(status) or (secret == seed.SIGNING_SECRET and status == 200)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        pytest.param("X-Slack-Request-Timestamp", "9" * 5000, id="a time of five thousand digits"),
        pytest.param("X-Slack-Request-Timestamp", "²", id="a digit that is no number"),
        pytest.param("X-Slack-Signature", "v0=é", id="a signature beyond ASCII"),
        pytest.param("X-Slack-Signature", "", id="no signature"),
        pytest.param("Content-Type", "", id="no content type"),
        pytest.param("Content-Type", "text/plain", id="another content type"),
        pytest.param("Content-Type", ";;;", id="half a content type"),
    ],
)
def test_no_odd_header_breaks_anything(workspace: Workspace, header: str, value: str) -> None:
    """Each of them with everything else as a stranger may have it right."""
    headers = signed(COMMAND) | {header: value}

    assert is_refused(send(workspace, written(COMMAND.encode(), headers)))
    assert is_refused(call(workspace, event_of(COMMAND, headers)))


@pytest.mark.parametrize("late", [-400, 400])
def test_what_slack_signed_at_another_time_is_not_taken(workspace: Workspace, late: int) -> None:
    """Nobody can send again what they have overheard."""
    headers = signed(COMMAND, secret=seed.SIGNING_SECRET, now=time.time() + late)

    assert 401 == send(workspace, written(COMMAND.encode(), headers))


@pytest.mark.parametrize("missing", ["headers", "multiValueHeaders", "body"])
def test_an_event_without_its_usual_parts_is_refused(workspace: Workspace, missing: str) -> None:
    """API Gateway says null for headers and bodies that there are not."""
    assert is_refused(call(workspace, event_of(COMMAND, signed(COMMAND)) | {missing: None}))
