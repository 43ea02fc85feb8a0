"""The tunnel through the bastion: a Session Manager session and AWS's plugin on a private port, for as long as it is needed.

A tunnel that dropped is opened again when the next connection needs it and not before, so that none is opened for an access
that has ended.
"""

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import chain, repeat
from time import monotonic
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as UnreachableError

from drawbridge.connection import Connection
from drawbridge.errors import CredentialsError, DrawbridgeError, TunnelError
from drawbridge.plugin import Plugin, find_plugin, plugin_version
from drawbridge.tokens import credentials_error

OPEN_SECONDS = 60.0
_ONE_TRY_SECONDS, _LEAST_SECONDS = 30.0, 2.0
"""What one attempt may take, and what must be left for another: one that is cut short would hide why the others failed."""
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
_CALLS = Config(connect_timeout=5, read_timeout=15, retries={"mode": "standard", "total_max_attempts": 3})
_BAD_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_DENIED = {"AccessDenied", "AccessDeniedException"}
_PASSES = {"InternalServerError", "ServiceUnavailable", "TargetNotConnected", "ThrottlingException"}
_ENDED_BEFORE = {"DoesNotExistException", "ValidationException"}


class _PassingError(TunnelError):
    """What may be better in a moment."""


class Tunnel:
    """Open between ``__enter__`` and ``__exit__``, on a port of 127.0.0.1. May be asked from any thread.

    ``renew`` is called before the tunnel is opened again, and says where the bastion is by then; what it raises is raised to
    whoever needed the tunnel, so that it is the place to say that the access has ended. ``tell`` takes sentences for people.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        session: boto3.Session,
        tell: Callable[[str], object],
        endpoint_url: str | None = None,
        renew: Callable[[], Connection] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.connection = connection
        self.port = 0
        """Where the plugin listens, or listened last."""
        self._session, self._tell, self._renew = session, tell, renew
        self._endpoint_url, self._environment = endpoint_url, environment
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._client: Any = None
        self._found: tuple[Any, Any] | None = None
        self._plugin: Plugin | None = None
        self._session_id: str | None = None
        self._failure: tuple[float, DrawbridgeError] | None = None
        self._was_open = False

    def __enter__(self) -> Self:
        self.require_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def is_open(self) -> bool:
        """Whether the plugin runs; a tunnel whose far end is gone may still look so for a while."""
        return self._plugin is not None and self._plugin.is_running()

    def renew(self) -> None:
        """Asks where the bastion is by now. Raises what the asked one raises, as when the access has ended."""
        if self._renew is not None:
            self.connection = self._renew()

    def has_dropped(self, seconds: float) -> bool:
        """Whether it is closed, or is seen to close within this time."""
        plugin = self._plugin
        return plugin is None or plugin.wait(seconds)

    def require_open(self, *, seconds: float = OPEN_SECONDS) -> int:
        """The port of the open tunnel, which is opened if need be, with pauses that grow, for at most so long.

        Whoever waited while another thread tried and failed shares its failure. Raises TunnelError, or CredentialsError,
        ConfigurationError for a missing plugin, and what ``renew`` raises.
        """
        asked_at = monotonic()
        if not self._lock.acquire(timeout=seconds):
            raise TunnelError(f"{self._name()} did not open within {seconds:.0f} seconds. Try again.")
        try:
            if self._failure and self._failure[0] >= asked_at:
                raise self._failure[1]
            if not self.is_open():
                self._open(asked_at + seconds)
        except DrawbridgeError as error:
            self._failure = monotonic(), error
            raise
        finally:
            self._lock.release()
        return self.port

    def drop(self) -> None:
        """Closes a tunnel that answers nothing any more; the next connection opens it again."""
        if plugin := self._plugin:
            plugin.end()

    def close(self) -> None:
        """Ends the session and the plugin, for good; may be called again, and while the tunnel is being opened."""
        self._closing.set()
        self.drop()
        with self._lock:
            self._end()

    def _open(self, deadline: float) -> None:
        pauses, has_told = chain(_PAUSES, repeat(_PAUSES[-1])), False
        while True:
            try:
                return self._open_once(deadline)
            except _PassingError as error:
                pause = next(pauses)
                if monotonic() + pause + _LEAST_SECONDS > deadline or self._closing.wait(pause):
                    raise TunnelError(str(error)) from error
                if not has_told:
                    self._tell(f"{error} Trying again.")
                    has_told = True

    def _open_once(self, deadline: float) -> None:
        if self._was_open:
            self.renew()
        self._end()
        path, version = self._found = self._found or self._find_plugin()
        if self._closing.is_set():
            raise TunnelError(f"{self._name()} was closed while it was being opened.")
        port = _free_port()
        request = self._request(port)
        response = self._start_session(request)
        self._session_id = response["SessionId"]
        try:
            self._plugin = Plugin(
                path,
                version,
                session={name: response[name] for name in ("SessionId", "TokenValue", "StreamUrl")},
                region=self.connection.region,
                profile="" if self._session.profile_name == "default" else self._session.profile_name,
                request=request,
                endpoint_url=self._client.meta.endpoint_url,
                environment=self._environment,
                on_end=self._say_dropped,
            )
            if self._closing.is_set():  # since; whoever closes ends only what it sees
                self._plugin.end()
            self._plugin.wait_until_listening(min(deadline - monotonic(), _ONE_TRY_SECONDS))
        except TunnelError as error:
            self._end()
            raise _PassingError(f"{self._name()} did not open: {error} {self._advice()}") from error
        except BaseException:
            self._end()
            raise
        self.port = port
        if self._was_open:
            self._tell(f"{self._name()} is open again.")
        self._was_open = True

    def _find_plugin(self) -> tuple[Any, Any]:
        path = find_plugin(self._environment)
        return path, plugin_version(path)

    def _request(self, port: int) -> dict[str, Any]:
        parameters = {name: list(texts) for name, texts in self.connection.document_parameters.items()}
        return {
            "Target": self.connection.instance_id,
            "DocumentName": self.connection.document_name,
            "Parameters": parameters | {"localPortNumber": [str(port)]},
            "Reason": self.connection.request_id,
        }

    def _start_session(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            if self._client is None:
                options: dict[str, Any] = {"region_name": self.connection.region, "endpoint_url": self._endpoint_url}
                self._client = self._session.client("ssm", config=_CALLS, **options)
            return dict(self._client.start_session(**request))
        except ClientError as error:
            raise self._refusal(error) from error
        except (UnreachableError, HTTPClientError) as error:
            raise _PassingError(
                f"Session Manager in {self.connection.region} was not reached: {error}. Is this machine online? "
                "A proxy is named by HTTPS_PROXY."
            ) from error
        except BotoCoreError as error:
            raise credentials_error(self._session, error) from error

    def _refusal(self, error: ClientError) -> DrawbridgeError:
        code, said = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        connection = self.connection
        if code in _BAD_CREDENTIALS:
            profile = self._session.profile_name
            return CredentialsError(
                f"AWS does not accept your credentials (profile {profile}): {code}, {said} Sign in again, for example: "
                f"aws sso login --profile {profile}. If that does not help, check this machine's clock."
            )
        if code in _DENIED:
            return TunnelError(
                f"AWS does not let you open {self._name(start=False)}: {said} Your IAM policy must allow ssm:StartSession on "
                f"{connection.instance_id} and on the document {connection.document_name}: ask the operator of Drawbridge for it."
            )
        if code in _PASSES:
            return _PassingError(
                f"{self._name()} does not open: {code}, {said} If that lasts, see `drawbridge mine` whether the access still is."
            )
        return TunnelError(f"{self._name()} does not open: {code}, {said} Tell the operator of Drawbridge.")

    def _end(self) -> None:
        """Ends the plugin and tells the service, which would count the session as open until it had been idle for long."""
        plugin, self._plugin = self._plugin, None
        session_id, self._session_id = self._session_id, None
        if plugin is not None:
            plugin.end()
        if session_id is None:
            return
        with suppress(BotoCoreError):  # no way to reach the service: it ends an idle session itself
            try:
                self._client.terminate_session(SessionId=session_id)
            except ClientError as error:
                if error.response["Error"]["Code"] not in _ENDED_BEFORE:
                    self._tell(
                        f"The session {session_id} could not be ended: {error} Session Manager ends it once it is idle."
                    )

    def _say_dropped(self) -> None:
        if self._was_open and not self._closing.is_set():
            self._tell(f"{self._name()} dropped. It is opened again for the next connection.")

    def _name(self, *, start: bool = True) -> str:
        return f"{'The' if start else 'the'} tunnel to {self.connection.location}"

    def _advice(self) -> str:
        region = self.connection.region
        return f"Is the way to ssmmessages.{region}.amazonaws.com, port 443, open from here? A proxy is named by HTTPS_PROXY."


def _free_port() -> int:
    """A port that was free a moment ago; should somebody take it first, the plugin says so, and another is tried."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
