"""Signature Version 4 of HTTP requests, checked as API Gateway checks it, with its own words. Knows no keys and no policies.

By "Create a signed AWS API request" in the IAM guide. Whose key it is, and whether it may, its caller says.
"""

import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from urllib.parse import quote, unquote

from werkzeug.wrappers import Request

ALGORITHM, SKEW = "AWS4-HMAC-SHA256", timedelta(minutes=5)
_PARTS = re.compile(r"\s*(Credential|SignedHeaders|Signature)=(\S+)\s*")
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing "
    "method. Consult the service documentation for details."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What IAM knows of an access key, besides whose it is."""

    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None


class SignatureError(Exception):
    """The request is not signed as it must be; ``code`` is the name by which AWS knows the reason."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def check_signature(
    request: Request, body: bytes, *, service: str, region: str, now: datetime, find_key: Callable[[str], Key | None]
) -> str:
    """Returns the access key id whose secret signed exactly this request, just now. Raises SignatureError."""
    key_id, scope, signed_headers, given = _read_authorization(request)
    moment = _read_date(request, scope, service=service, region=region, now=now)
    if (key := find_key(key_id)) is None or request.headers.get("X-Amz-Security-Token") != key.session_token:
        raise SignatureError("UnrecognizedClientException", "The security token included in the request is invalid.")
    if key.expires_at is not None and now >= key.expires_at:
        raise SignatureError("ExpiredTokenException", "The security token included in the request is expired")
    expected = sign(key.secret_access_key, moment, scope, _canonical(request, body, signed_headers))
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise SignatureError("InvalidSignatureException", _MISMATCH)
    return key_id


def sign(secret: str, moment: str, scope: Iterable[str], canonical_request: str) -> str:
    """The signature of a request in its canonical form. ``scope`` is date, region, service and aws4_request."""
    scope = list(scope)
    key = f"AWS4{secret}".encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"{ALGORITHM}\n{moment}\n{'/'.join(scope)}\n{sha256(canonical_request.encode()).hexdigest()}"
    return hmac.digest(key, text.encode(), "sha256").hex()


def _read_authorization(request: Request) -> tuple[str, list[str], list[str], str]:
    """Key id, scope, signed headers and signature."""
    header = request.headers.get("Authorization", "")
    if not header:
        raise SignatureError("MissingAuthenticationTokenException", "Missing Authentication Token")
    algorithm, _, rest = header.partition(" ")
    matches = [_PARTS.fullmatch(part) for part in rest.split(",")]
    parts = {match[1]: match[2] for match in matches if match}
    if algorithm != ALGORITHM or None in matches or len(parts) != 3:
        missing = " ".join(
            f"Authorization header requires '{name}' parameter."
            for name in ("Credential", "Signature", "SignedHeaders")
            if name not in parts
        )
        raise SignatureError("IncompleteSignatureException", f"{missing} Authorization={header[:200]}")
    key_id, *scope = parts["Credential"].split("/")
    headers = parts["SignedHeaders"].split(";")
    present = {"host"} | {name.lower() for name, _ in request.headers if name.lower().startswith("x-amz-")}
    for name in sorted(present - set(headers)):
        raise SignatureError(
            "InvalidSignatureException", f"'{name}' must be a 'SignedHeader' in the AWS Authorization."
        )
    return key_id, scope, headers, parts["Signature"]


def _read_date(request: Request, scope: list[str], *, service: str, region: str, now: datetime) -> str:
    moment = request.headers.get("X-Amz-Date", "")
    try:
        at = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        message = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
        raise SignatureError("IncompleteSignatureException", message) from error
    early, late = now - SKEW, now + SKEW
    if at < early:
        raise SignatureError(
            "InvalidSignatureException",
            f"Signature expired: {moment} is now earlier than {_moment(early)} ({_moment(now)} - 5 min.)",
        )
    if at > late:
        raise SignatureError(
            "InvalidSignatureException",
            f"Signature not yet current: {moment} is still later than {_moment(late)} ({_moment(now)} + 5 min.)",
        )
    wanted = {
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP": moment[:8],
        "Credential should be scoped to a valid region.": region,
        f"Credential should be scoped to correct service: '{service}'.": service,
        "Credential should be scoped with a valid terminator: 'aws4_request'.": "aws4_request",
    }
    for (message, right), found in zip(wanted.items(), [*scope, "", "", "", ""], strict=False):
        if found != right:
            raise SignatureError("InvalidSignatureException", message)
    return moment


def _canonical(request: Request, body: bytes, signed_headers: list[str]) -> str:
    path, _, query = str(request.environ["RAW_URI"]).partition("?")
    pairs = sorted(tuple(_encoded(word) for word in pair.partition("=")[::2]) for pair in query.split("&") if pair)
    headers = {
        name: ",".join(" ".join(each.split()) for each in request.headers.getlist(name)) for name in signed_headers
    }
    return "\n".join(
        [
            request.method,
            quote(path, safe="/~"),  # every service but S3 encodes it twice
            "&".join("=".join(pair) for pair in pairs),
            *(f"{name}:{value}" for name, value in headers.items()),
            "",
            ";".join(signed_headers),
            sha256(body).hexdigest(),
        ]
    )


def _encoded(word: str) -> str:
    return quote(unquote(word), safe="-_.~")


def _moment(at: datetime) -> str:
    return f"{at:%Y%m%dT%H%M%SZ}"
