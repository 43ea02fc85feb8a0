"""Drawbridge's API, called with the caller's own AWS credentials. Each call may be repeated, and is, when nothing answers."""

import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004  not Python's own
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    ProfileNotFound,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from drawbridge.durations import describe_duration
from drawbridge.errors import (
    ConfigurationError,
    CredentialsError,
    DrawbridgeError,
    InvalidInputError,
    RefusedError,
    ServiceError,
    UnreadableAnswerError,
)
from drawbridge.requests import AccessRequest, Explanation, Offers, read_explanation, read_offers, read_request

PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each further attempt."""
MOST_SKEW = timedelta(minutes=4)
"""AWS refuses signatures that are five minutes off; this is told beforehand."""
_NEVER = threading.Event()
_TIMEOUTS = (5, 30)
"""Seconds to connect, and to answer: API Gateway itself gives up after 29."""
_PASSING = frozenset({429, 500, 502, 503, 504})
_REGION = re.compile(r"\.execute-api\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
_RENEW = "Renew them (for example: aws sso login{profile}) and try again."


def open_session(profile: str | None) -> boto3.Session:
    """AWS as the caller's configuration has it. Raises CredentialsError without credentials that can be had now."""
    try:
        session = boto3.Session(profile_name=profile)
        credentials = session.get_credentials()
        if credentials is not None:
            credentials.get_frozen_credentials()
    except ProfileNotFound as error:
        raise CredentialsError(
            f"There is no AWS profile called '{profile or error.kwargs.get('profile', '')}'. Name one of yours by --awsprofile."
        ) from error
    except (BotoCoreError, ClientError) as error:
        raise CredentialsError(f"AWS credentials cannot be had: {_first_line(error)} {_renew(profile)}") from error
    if credentials is None:
        raise CredentialsError(
            "No AWS credentials were found. Sign in (for example: aws sso login), or name a profile by --awsprofile."
        )
    return session


class Api:
    """The calls. Every answer is a value of ``drawbridge.requests``; every failure a DrawbridgeError that says the next step."""

    def __init__(
        self,
        address: str,
        *,
        session: boto3.Session,
        pause: Callable[[float], object] = _NEVER.wait,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.address = address
        self.skew: timedelta | None = None
        """How far the API's clock is ahead of this machine's, as of the last answer; None before one."""
        self._session, self._pause, self._clock = session, pause, clock
        self._region = _region_of(address, session)
        verify = session._session.get_config_variable("ca_bundle") or True  # noqa: SLF001  boto3 shows it nowhere else
        proxies = get_environ_proxies(address)
        timeout: Any = _TIMEOUTS  # connecting and answering, as botocore's own clients pass them
        self._http = URLLib3Session(verify=verify, proxies=proxies, timeout=timeout)

    def read_offers(self) -> Offers:
        """Who one is, and what one may ask for."""
        return read_offers(self._call("GET", "locations"))

    def explain(self, location: str, level: str) -> Explanation:
        """Which rule holds for a level of a location."""
        return read_explanation(self._call("GET", f"locations/{_part(location)}/explanation", query={"level": level}))

    def list_requests(self) -> tuple[AccessRequest, ...]:
        """One's own, newest first: what is open and held, and the last that ended."""
        answer = self._call("GET", "requests")
        try:
            found = list(answer["requests"])
        except (KeyError, TypeError) as error:
            raise _unreadable() from error
        return tuple(read_request(each) for each in found)

    def ask(self, wish: Mapping[str, Any]) -> tuple[AccessRequest, str]:
        """Ask for access, once however often it is repeated; the request and its standing (asked, held, asked_already)."""
        answer = self._call("POST", "requests", body={**wish, "origin_id": str(uuid4())})
        return read_request(_request_in(answer)), str(answer.get("standing", ""))

    def watch(self, request_id: str) -> AccessRequest:
        """A request of one's own, as it stands."""
        return read_request(_request_in(self._call("GET", f"requests/{_part(request_id)}")))

    def extend(self, request_id: str, duration_seconds: int) -> AccessRequest:
        """Ask for a later end; the request of the extension."""
        body = {"duration_seconds": duration_seconds, "origin_id": str(uuid4())}
        return read_request(_request_in(self._call("POST", f"requests/{_part(request_id)}/extensions", body=body)))

    def end(self, request_id: str) -> AccessRequest:
        """Withdraw what waits, end what is held; repeating it changes nothing."""
        return read_request(_request_in(self._call("DELETE", f"requests/{_part(request_id)}")))

    def require_clock(self) -> None:
        """Raises CredentialsError when this machine's clock is so far off that AWS would refuse what it signs."""
        if self.skew is not None and abs(self.skew) > MOST_SKEW:
            raise skew_error(self.skew)

    def _call(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        url = f"{self.address}/v1/{path}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        data = json.dumps(body).encode() if body is not None else None
        for pause in (*PAUSES, None):
            failure: DrawbridgeError
            try:
                answer = self._send(method, url, data)
            except (HTTPClientError, ConnectionError) as error:
                failure = ServiceError(f"Drawbridge's API at {self._host} is not reached: {_reason(error)} {_CHECK}")
            else:
                if answer.status_code not in _PASSING:
                    return self._read(answer, path)
                failure = ServiceError(
                    f"Drawbridge's API at {self._host} {_trouble(answer)}. Try again in a minute; "
                    "if it stays so, tell whoever runs Drawbridge."
                )
            if pause is None:
                raise failure
            self._pause(pause)
        raise AssertionError("the last attempt returns or raises")

    def _send(self, method: str, url: str, data: bytes | None) -> AWSResponse:
        headers = {"Accept": "application/json", **({"Content-Type": "application/json"} if data is not None else {})}
        request = AWSRequest(method=method, url=url, data=data, headers=headers)
        try:
            credentials = self._session.get_credentials()
            if credentials is None:
                raise NoCredentialsError
            SigV4Auth(credentials.get_frozen_credentials(), "execute-api", self._region).add_auth(request)
        except (BotoCoreError, ClientError) as error:
            raise CredentialsError(f"AWS credentials cannot be had: {_first_line(error)} {self._renew()}") from error
        answer: AWSResponse = self._http.send(request.prepare())
        self._note_skew(answer)
        return answer

    def _note_skew(self, answer: AWSResponse) -> None:
        try:
            self.skew = parsedate_to_datetime(answer.headers.get("Date", "")).astimezone(UTC) - self._clock()
        except (TypeError, ValueError):
            return

    def _read(self, answer: AWSResponse, path: str) -> Mapping[str, Any]:
        try:
            content = json.loads(answer.content)
        except ValueError as error:
            raise _unreadable() from error
        if not isinstance(content, dict):
            raise _unreadable()
        if HTTPStatus.OK <= answer.status_code < HTTPStatus.MULTIPLE_CHOICES:
            return content
        raise self._refusal(answer.status_code, content, path)

    def _refusal(self, status: int, content: Mapping[str, Any], path: str) -> DrawbridgeError:
        error = content.get("error")
        if isinstance(error, dict):
            message, code = _printable(str(error.get("message", ""))), str(error.get("code", ""))
            if code == "not_found" and path.startswith("requests/"):
                return RefusedError(
                    "None of your requests has this id. See those that there are: drawbridge mine --all"
                )
            kind = _KINDS.get(code, RefusedError)
            return kind(message or f"Drawbridge refused this with status {status} and no reason.")
        said = _printable(str(content.get("message") or content.get("Message") or ""))
        is_refused_by_time = "Signature expired" in said or "Signature not yet current" in said
        if self.skew is not None and (is_refused_by_time or abs(self.skew) > MOST_SKEW):
            return skew_error(self.skew)
        if "Missing Authentication Token" in said or status == HTTPStatus.NOT_FOUND:
            return ConfigurationError(
                f"There is no Drawbridge API at {self.address}. Correct the address: drawbridge cfg set api ADDRESS"
            )
        if "security token" in said or "signature" in said.lower():
            return CredentialsError(f"AWS does not accept these credentials: {_sentence(said)} {self._renew()}")
        if "not authorized" in said:
            return CredentialsError(
                f"This AWS identity may not call Drawbridge: {_sentence(said)} "
                "Whoever runs Drawbridge attaches its user policy to your role."
            )
        return CredentialsError(f"AWS refused the call with status {status}: {_sentence(said or 'no reason given')}")

    @property
    def _host(self) -> str:
        return urlsplit(self.address).netloc

    def _renew(self) -> str:
        return _renew(self._session.profile_name)


def skew_error(skew: timedelta) -> CredentialsError:
    """What to say to whose clock is too far off for AWS."""
    off = describe_duration(abs(skew.total_seconds()))
    direction = "behind" if skew > timedelta() else "ahead"
    return CredentialsError(
        f"This machine's clock is {off} {direction}, so AWS refuses what it signs. Set the clock and try again."
    )


_CHECK = "Check the network and the address (drawbridge cfg), then try again."
_KINDS: Mapping[str, type[DrawbridgeError]] = {
    "bad_request": InvalidInputError,
    "unknown_caller": CredentialsError,
    "refused": RefusedError,
    "not_found": RefusedError,
    "too_many": RefusedError,
}


def _region_of(address: str, session: boto3.Session) -> str:
    match = _REGION.search(urlsplit(address).hostname or "")
    region = (
        match[1] if match else session.region_name or os.environ.get("AWS_REGION")
    )  # boto3 reads AWS_DEFAULT_REGION
    if region is None:
        raise ConfigurationError(
            f"The AWS region of {address} is not known. Set it in your AWS profile, or by AWS_REGION in the environment."
        )
    return region


def _part(text: str) -> str:
    """One segment of a path; a lone dot would be read as a way up."""
    if text in {".", ".."} or not text:
        raise InvalidInputError(f"'{text}' is no name.")
    return quote(text, safe="")


def _request_in(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    request = answer.get("request")
    if not isinstance(request, dict):
        raise _unreadable()
    return request


def _renew(profile: str | None) -> str:
    is_named = profile is not None and profile != "default"
    return _RENEW.format(profile=f" --profile {profile}" if is_named else "")


def _reason(error: BotoCoreError) -> str:
    """The cause in a few words; botocore's own text is the whole address."""
    match error:
        case SSLError():
            return "its certificate is not trusted here."
        case ProxyConnectionError():
            return "the proxy does not answer."
        case ConnectTimeoutError() | ReadTimeoutError():
            return "it does not answer in time."
        case EndpointConnectionError() if "refused" in str(error.kwargs.get("error")):
            return "the connection is refused."
        case EndpointConnectionError():
            return "there is no such host, or no way to it."
    return "the connection broke."


def _trouble(answer: AWSResponse) -> str:
    try:
        error = json.loads(answer.content).get("error")
        said = _printable(str(error["message"])) if isinstance(error, dict) else ""
    except (ValueError, AttributeError, KeyError):
        said = ""
    return f"is in trouble ({answer.status_code}{': ' + said.rstrip('.') if said else ''})"


def _first_line(error: Exception) -> str:
    return _sentence(_printable((str(error).splitlines() or [""])[0]))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!")) else f"{text}."


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def _unreadable() -> UnreadableAnswerError:
    return UnreadableAnswerError(
        "What answers at the API's address does not speak as Drawbridge does. Check the address (drawbridge cfg), or update "
        "the client."
    )
