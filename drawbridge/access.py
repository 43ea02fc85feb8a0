"""From an ask to an open door and back: what ``connect`` and ``run`` share. They alone decide what is ended, and when."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3

from drawbridge.api import Api
from drawbridge.certificates import cache_directory, ensure_bundle
from drawbridge.connection import Connection
from drawbridge.errors import DrawbridgeError, PortInUseError, RefusedError
from drawbridge.libpq import child_environment, write_service_file
from drawbridge.listener import Listener
from drawbridge.login import check_login
from drawbridge.progress import Progress
from drawbridge.requests import AccessRequest, State, clock_time
from drawbridge.signals import Endings
from drawbridge.tokens import make_token
from drawbridge.tunnel import Tunnel
from drawbridge.waiting import wait_until_over, wait_until_ready
from drawbridge.wish import Wish

_LOGIN_SECONDS = 60.0
_ASKED = "asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A database that answers: by the listener, and in the environment of a command."""

    connection: Connection
    port: int
    secret: str | None
    environment: dict[str, str]


class Access:
    """One ask. ``request`` is what came of it so far; ``is_ours`` says that this process asked for it, not another one."""

    def __init__(self, wish: Wish, *, api: Api, session: boto3.Session, progress: Progress, endings: Endings) -> None:
        self.wish, self.is_ours = wish, False
        self.request: AccessRequest | None = None
        self._api, self._session, self._progress, self._endings = api, session, progress, endings

    def ask(self) -> AccessRequest:
        """Ask, or meet the request that is open or held already. Raises what the API refuses."""
        with self._progress.waiting_for(f"Asking for {self.wish.location}"), self._endings.held():
            self.request, standing = self._api.ask(self.wish.body())
            self.is_ours = standing == _ASKED
        return self.request

    def wait(self, deadline: float | None) -> None:
        """Until it is ready. Raises RefusedError, DeadlineError or ServiceError."""
        wait_until_ready(
            self._required(),
            watch=self.watch,
            progress=self._progress,
            deadline=deadline,
            on_waiting=self._say_who_decides,
        )

    @contextmanager
    def opened(self, port: int | None, *, may_move: bool) -> Iterator[Opened]:
        """Tunnel, login and listener, as long as it is entered. ``may_move``: take a free port where that one is taken."""
        self._api.require_clock()
        connection, tell = Connection.from_request(self._required().answer), self._progress.say
        with tempfile.TemporaryDirectory(prefix="drawbridge-") as directory, cache_directory() as cache:
            service_file = Path(directory) / "pg_service.conf"
            bundle = ensure_bundle(connection.certificate_bundle_url, cache=cache)
            self._progress.wait_for(f"Opening the tunnel to {connection.location}")
            with Tunnel(connection, session=self._session, tell=tell, renew=self._renew) as tunnel:
                self._progress.wait_for("Trying the login")
                token = make_token(self._session, connection)
                address = ("127.0.0.1", tunnel.port)
                check_login(connection, address=address, token=token, bundle=bundle, timeout=_LOGIN_SECONDS)
                self._progress.done()
                with self._listening(connection, port, tunnel=tunnel, bundle=bundle, may_move=may_move) as listener:
                    environment = child_environment(
                        os.environ,
                        connection,
                        port=listener.port,
                        socket_directory=listener.socket_directory,
                        secret=listener.secret,
                        service_file=service_file,
                    )
                    write_service_file(service_file, environment)
                    yield Opened(
                        connection=connection, port=listener.port, secret=listener.secret, environment=environment
                    )

    def watch(self) -> AccessRequest:
        """As it stands now."""
        self.request = self._api.watch(self._required().request_id)
        return self.request

    def tell(self, sentence: str) -> None:
        """On standard error, where that is still open."""
        self._progress.say(sentence)

    def end(self) -> None:
        """Withdraw or end it. A failure is told, not raised: whatever is being left is left, and the end comes by itself."""
        request = self._required()
        try:
            with self._progress.waiting_for(f"Ending {request.request_id}"):
                self.request = self._api.end(request.request_id)
        except DrawbridgeError as error:
            until = f" It ends by itself at {clock_time(request)}." if request.ends_at else ""
            self._progress.say(f"{request.request_id} could not be ended from here.{until} {error}")
        else:
            was = "is ending" if request.state is State.READY else "is withdrawn"
            self._progress.say(f"{request.request_id} {was}.")

    def wait_for_turn(self, deadline: float) -> None:
        """Wait for the end of another one's request for the same, then ask anew. Raises RefusedError at ``deadline``."""
        while not self.is_ours:
            other = self._required()
            self._progress.say(
                f"Another run asked for {other.request_id}, which gives the same access. Its end is waited for."
            )
            last = wait_until_over(other, watch=self.watch, progress=self._progress, deadline=deadline)
            if last.state is not State.ENDED:
                raise RefusedError(
                    f"{other.request_id} of another run gives the same access and did not end in time. Let one run follow "
                    f"the other, or end it: drawbridge end {other.request_id}"
                )
            self.ask()

    def _say_who_decides(self, request: AccessRequest) -> None:
        approvers = self._api.explain(request.location, request.level).approvers
        if approvers:
            self._progress.say(f"{request.request_id} was asked for. {' or '.join(approvers)} may approve it.")

    @contextmanager
    def _listening(
        self, connection: Connection, port: int | None, *, tunnel: Tunnel, bundle: Path, may_move: bool
    ) -> Iterator[Listener]:
        def listener(wanted: int | None) -> Listener:
            return Listener(
                connection,
                port=wanted,
                tunnel=tunnel,
                make_token=lambda: make_token(self._session, connection),
                bundle=bundle,
                tell=self._progress.say,
            )

        with ExitStack() as stack:
            try:
                entered = stack.enter_context(listener(port))
            except PortInUseError:
                if not may_move:
                    raise
                entered = stack.enter_context(listener(None))
            yield entered

    def _renew(self) -> Connection:
        request = self.watch()
        if request.state is not State.READY:
            raise RefusedError(f"{request.request_id}: {request.explanation}")
        return Connection.from_request(request.answer)

    def _required(self) -> AccessRequest:
        if self.request is None:
            raise AssertionError("nothing was asked for yet")
        return self.request


def deadline_after(seconds: int | None) -> float | None:
    """An instant of the monotonic clock."""
    return None if seconds is None else time.monotonic() + seconds
