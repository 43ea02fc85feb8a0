"""The check of signed calls: what botocore signs is taken, and whatever is altered after that is refused in AWS's words."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from local.signatures import Key, SignatureError, check_signature

REGION, SERVICE, URL = "eu-west-1", "execute-api", "https://example.com:8443/api"
KEY_ID, SECRET, TOKEN = "ASIAEXAMPLE000000000", "a-secret", "a/session+token=="
KEY = Key(secret_access_key=SECRET, session_token=TOKEN)
Headers = dict[str, str]


def sign(
    path: str = "/v1/requests?level=w", body: bytes = b'{"a": 1}', method: str = "POST", **given: Any
) -> tuple[str, str, bytes, Headers]:
    """As the client signs, now; ``given`` replaces secret, token, region or service."""
    credentials = Credentials(KEY_ID, given.get("secret", SECRET), given.get("token", TOKEN))
    request = AWSRequest(method=method, url=URL + path, data=body, headers={"Content-Type": "application/json"})
    SigV4Auth(credentials, given.get("service", SERVICE), given.get("region", REGION)).add_auth(request)
    return method, path, body, {"Host": "example.com:8443"} | dict(request.headers)


def check(
    signed: tuple[str, str, bytes, Headers], *, key: Key | None = KEY, later: timedelta = timedelta(), **headers: str
) -> str:
    """Check what was signed; a header that is given as an empty text is left out."""
    method, path, body, sent = signed
    given = {name: value for name, value in (sent | headers).items() if value}
    environ = EnvironBuilder(method=method, base_url="https://example.com:8443", headers=given, data=body).get_environ()
    environ["RAW_URI"] = "/api" + path
    return check_signature(
        Request(environ),
        body,
        service=SERVICE,
        region=REGION,
        now=datetime.now(UTC) + later,
        find_key={KEY_ID: key}.get,
    )


def refusal(act: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(SignatureError) as refused:
        act()
    return refused.value.code, str(refused.value)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        "/v1/requests",
        "/v1/locations/my-aurora-location/explanation?level=w",
        "/v1/x?b=2&a=1&a=0&empty=",
        "/v1/a%20b%2Fc?q=%C3%A9~",
    ],
)
def test_what_botocore_signs_is_taken(method: str, path: str) -> None:
    """With a body and without."""
    for body in (b"", "{é}".encode(), b"\xff\0"):
        assert KEY_ID == check(sign(path, body, method))


@given(st.binary(max_size=40), st.text("abcxyz0189-._~ é/&=", max_size=12))
def test_whatever_botocore_signs_is_taken(body: bytes, word: str) -> None:
    """Any body, and any words in a query that is encoded as AWS wants it."""
    assert KEY_ID == check(sign(f"/v1/requests?level={quote(word, safe='-._~')}", body))


def test_a_key_without_a_session_is_taken() -> None:
    """An IAM user's."""
    assert KEY_ID == check(sign(token=None), key=Key(secret_access_key=SECRET))


MISMATCH = "The request signature we calculated does not match"


@pytest.mark.parametrize("altered", ["method", "path", "query", "body", "host", "date", "signature"])
def test_whatever_is_altered_is_refused(altered: str) -> None:
    """Every part that the signature covers."""
    method, path, body, headers = sign()
    moment = f"{datetime.now(UTC) + timedelta(seconds=61):%Y%m%dT%H%M%SZ}"
    changed = {
        "method": ("PUT", path, body, headers),
        "path": (method, path.replace("requests", "locations"), body, headers),
        "query": (method, path.replace("=w", "=r"), body, headers),
        "body": (method, path, body + b" ", headers),
        "host": (method, path, body, headers | {"Host": "elsewhere.example.com"}),
        "date": (method, path, body, headers | {"X-Amz-Date": moment}),
        "signature": (method, path, body, headers | {"Authorization": headers["Authorization"][:-1] + "x"}),
    }
    code, message = refusal(lambda: check(changed[altered]))

    assert "InvalidSignatureException" == code
    assert message.startswith(MISMATCH)


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        ({"secret": "another"}, "InvalidSignatureException", MISMATCH),
        (
            {"service": "s3"},
            "InvalidSignatureException",
            "Credential should be scoped to correct service: 'execute-api'.",
        ),
        ({"region": "us-east-1"}, "InvalidSignatureException", "Credential should be scoped to a valid region."),
        ({"token": None}, "UnrecognizedClientException", "The security token included in the request is invalid."),
        ({"token": "another"}, "UnrecognizedClientException", "The security token included in the request is invalid."),
    ],
)
def test_whoever_signs_otherwise_is_refused(given: dict[str, Any], code: str, message: str) -> None:
    """Another secret, scope or session."""
    found = refusal(lambda: check(sign(**given)))

    assert (code, message) == (found[0], found[1][: len(message)])


@pytest.mark.parametrize(
    ("headers", "code", "message"),
    [
        ({"Authorization": ""}, "MissingAuthenticationTokenException", "Missing Authentication Token"),
        ({"Authorization": "Bearer x"}, "IncompleteSignatureException", "Authorization header requires 'Credential'"),
        (
            {"Authorization": "AWS4-HMAC-SHA256 Credential=x"},
            "IncompleteSignatureException",
            "Authorization header requires",
        ),
        ({"X-Amz-Date": ""}, "IncompleteSignatureException", "Authorization header requires existence of either"),
        ({"X-Amz-Date": "today"}, "IncompleteSignatureException", "Authorization header requires existence of either"),
        ({"X-Amz-Meta": "unsigned"}, "InvalidSignatureException", "'x-amz-meta' must be a 'SignedHeader'"),
        ({"X-Amz-Security-Token": ""}, "UnrecognizedClientException", "The security token"),
    ],
)
def test_what_is_missing_is_named(headers: Headers, code: str, message: str) -> None:
    """In AWS's own words."""
    found = refusal(lambda: check(sign(), **headers))

    assert (code, message) == (found[0], found[1][: len(message)])


@pytest.mark.parametrize(
    ("minutes", "message"), [(5.1, "Signature expired: "), (-5.1, "Signature not yet current: "), (4.9, ""), (-4.9, "")]
)
def test_a_signature_is_good_for_five_minutes(minutes: float, message: str) -> None:
    """In both directions, since clocks differ."""
    later = timedelta(minutes=minutes)
    if not message:
        assert KEY_ID == check(sign(), later=later)
        return
    code, said = refusal(lambda: check(sign(), later=later))

    assert "InvalidSignatureException" == code
    assert said.startswith(message)


def test_an_unknown_key_and_a_session_that_is_over() -> None:
    """Both are named as AWS names them."""
    over = Key(secret_access_key=SECRET, session_token=TOKEN, expires_at=datetime.now(UTC))

    assert "UnrecognizedClientException" == refusal(lambda: check(sign(), key=None))[0]
    assert ("ExpiredTokenException", "The security token included in the request is expired") == refusal(
        lambda: check(sign(), key=over)
    )
