"""A database on this machine: programs connect without password and TLS, and reach the real one with both. For one user alone.

Whoever runs on this machine under another account is refused. What is passed on is not read.
"""

import asyncio
import errno
import hmac
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TypeVar

from drawbridge import postgres_wire as wire
from drawbridge.connection import Connection
from drawbridge.errors import ConfigurationError, DrawbridgeError, PortInUseError, ServiceError
from drawbridge.login import (
    LOGIN_SECONDS,
    LoginRefusedError,
    UnansweredError,
    close,
    late,
    log_in,
    open_stream,
    tls_context,
)
from drawbridge.peers import FindUid, peer_lookup
from drawbridge.relay import BUFFER_BYTES, Stream, join
from drawbridge.tokens import RenewedToken
from drawbridge.tunnel import Tunnel

_CANCEL_SECONDS, _DROP_SECONDS = 20.0, 1.0
_LONGEST_SOCKET_PATH = 100
"""Of the 104 bytes that the smallest of the systems has (unix(7), and macOS's sys/un.h)."""
_MOST_AT_ONCE = 16  # logins that wait for the tunnel or a token
_CANNOT_CONNECT, _UNSUPPORTED = "08001", "0A000"
_NOT_AUTHORIZED, _WRONG_PASSWORD, _NO_DATABASE = "28000", "28P01", "3D000"

_FIND_UID = peer_lookup()

Result = TypeVar("Result")


class _RefusedClientError(Exception):
    """What a client is told before it is turned away; ``fields`` are those of PostgreSQL's errors."""

    def __init__(self, code: str, sentence: str, **fields: str) -> None:
        super().__init__(sentence)
        self.fields = {"C": code, "M": sentence, **fields}


class Listener:
    """Listens between ``__enter__`` and ``__exit__``: on TCP at 127.0.0.1, and where there is one on a Unix socket.

    ``secret`` is the password for TCP on systems that do not say whose a connection is, and None on the others. ``make_token``
    is asked for a new token when the last one is ten minutes old by ``now``. ``tell`` takes sentences for people.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        port: int | None,
        tunnel: Tunnel,
        make_token: Callable[[], str],
        bundle: Path,
        tell: Callable[[str], object],
        find_uid: FindUid | None = _FIND_UID,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        startup_seconds: float = 10.0,
    ) -> None:
        self.connection = connection
        self.port = port or 0
        self.socket_directory: Path | None = None
        self.secret = None if find_uid else secrets.token_urlsafe(24)
        self._tunnel, self._tell, self._find_uid = tunnel, tell, find_uid
        self._startup_seconds = startup_seconds
        self._token, self._context = RenewedToken(make_token, now), tls_context(bundle)
        self._told, self._live, self._undo = "", 0, ExitStack()

    def __enter__(self) -> Self:
        """Raises PortInUseError, or ConfigurationError when the port cannot be had at all."""
        self._executor = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="drawbridge-login")
        started: Future[None] = Future()
        with ExitStack() as undo:
            self.socket_directory = undo.enter_context(_private_directory()) if hasattr(os, "getuid") else None
            undo.callback(
                self._executor.shutdown, wait=False, cancel_futures=True
            )  # who waits there waits for the tunnel
            thread = threading.Thread(target=self._run, args=(started,), name="drawbridge-listener", daemon=True)
            thread.start()
            undo.callback(thread.join)
            started.result()
            undo.callback(lambda: self._loop.call_soon_threadsafe(self._stopping.set))
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _run(self, started: Future[None]) -> None:
        try:
            asyncio.run(self._listen(started))
        except DrawbridgeError as error:
            started.set_exception(error)

    async def _listen(self, started: Future[None]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(lambda *_: None)  # what clients do ends their own connections only
        try:
            servers = [await asyncio.start_server(self._serve_tcp, "127.0.0.1", self.port, limit=BUFFER_BYTES)]
            self.port = servers[0].sockets[0].getsockname()[1]
            if self.socket_directory:
                path = self.socket_directory / f".s.PGSQL.{self.port}"
                servers.append(await asyncio.start_unix_server(self._serve, path, limit=BUFFER_BYTES))
        except OSError as error:
            raise _no_port(self.port, error) from error
        started.set_result(None)
        await self._stopping.wait()
        for each in servers:
            each.close()
        # asyncio.run cancels the tasks that serve clients.

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        refusal = None
        if self._find_uid is not None:
            uid = self._find_uid(writer.get_extra_info("peername"), writer.get_extra_info("sockname"))
            if uid != os.getuid():
                whose = "a user that could not be told" if uid is None else f"user {uid}"
                refusal = _RefusedClientError(
                    _NOT_AUTHORIZED,
                    f"Drawbridge serves user {os.getuid()} alone here, and this connection is of {whose}.",
                )
        await self._serve(reader, writer, refusal, secret=self.secret)

    async def _serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        refusal: _RefusedClientError | None = None,
        secret: str | None = None,
    ) -> None:
        """One client, from its first byte to its last."""
        try:
            async with asyncio.timeout(self._startup_seconds):
                packet = await self._negotiate(reader, writer)
                if refusal:
                    raise refusal
                startup = None if wire.is_cancel_request(packet) else self._read_startup(packet)
                if secret and startup:
                    await self._ask_secret(reader, writer, secret)
            if startup is None:
                async with asyncio.timeout(_CANCEL_SECONDS):
                    await self._cancel(packet)
            else:
                upstream, welcome = await self._connect(startup)
                writer.write(welcome)
                await self._pass_on((reader, writer), upstream)
                return
        except _RefusedClientError as error:
            writer.write(wire.error_response(error.fields))
        except DrawbridgeError as error:
            self._say(str(error))
            writer.write(wire.error_response(_error_fields(error)))
        except (OSError, EOFError, TimeoutError, wire.WireError):
            pass  # gone, or never a client of PostgreSQL
        except asyncio.CancelledError:
            if not writer.is_closing():
                writer.transport.abort()
            raise
        await close(writer)

    async def _negotiate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """The first packet that is no question about encryption: here there is none, and each may be asked for once."""
        questions = {wire.SSL_REQUEST, wire.GSSENC_REQUEST}
        while (packet := await wire.read_packet(reader)) in questions:
            questions.remove(packet)
            writer.write(b"N")
        return packet

    def _read_startup(self, packet: bytes) -> wire.Startup:
        try:
            startup = wire.Startup.decode(packet)
        except wire.VersionError as error:
            raise _RefusedClientError(
                _UNSUPPORTED, f"Drawbridge speaks PostgreSQL's protocol 3, and not {error}."
            ) from error
        ours = self.connection.database
        user = startup.parameters.get("user", "")
        # Who names no database is given the one of the user's name by libpq: that is no wish.
        if startup.parameters.get("database", ours) not in {ours, user, self.connection.user}:
            raise _RefusedClientError(
                _NO_DATABASE, f"Drawbridge leads to the database {ours} here, and to no other. Name that one."
            )
        return startup

    async def _ask_secret(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, secret: str) -> None:
        writer.write(wire.ASK_PASSWORD)
        kind, body = await wire.read_message(reader, wire.LONGEST_STARTUP)
        if kind != b"p" or not hmac.compare_digest(body.rstrip(b"\0"), secret.encode()):
            raise _RefusedClientError(
                _WRONG_PASSWORD, "This is not the password that Drawbridge showed when it started."
            )

    async def _connect(self, startup: wire.Startup) -> tuple[Stream, bytes]:
        """A login at the real database: once more if the tunnel dropped meanwhile. Raises DrawbridgeError."""
        try:
            try:
                return await self._connect_once(startup)
            except UnansweredError:
                if not await self._in_thread(lambda: self._tunnel.has_dropped(_DROP_SECONDS)):
                    raise
                return await self._connect_once(startup)
        except LoginRefusedError as error:
            if error.is_about_the_login():
                self._token.forget()
                with suppress(ServiceError):  # who cannot be asked gives no better reason
                    await self._in_thread(self._tunnel.renew)
            raise

    async def _connect_once(self, startup: wire.Startup) -> tuple[Stream, bytes]:
        token = await self._in_thread(self._token)
        address = "127.0.0.1", await self._in_thread(self._tunnel.require_open)
        stream: Stream | None = None
        try:
            async with asyncio.timeout(LOGIN_SECONDS):
                stream = await open_stream(self.connection, address, self._context)
                return stream, await log_in(stream, self.connection, startup, token)
        except TimeoutError as error:
            _abort(stream)
            if not self._live:  # a tunnel may be dead and not know it; one that carries something is not
                await self._in_thread(self._tunnel.drop)
            raise late(self.connection, LOGIN_SECONDS) from error
        except BaseException:
            _abort(stream)
            raise

    async def _cancel(self, packet: bytes) -> None:
        address = "127.0.0.1", await self._in_thread(self._tunnel.require_open)
        reader, writer = await open_stream(self.connection, address, self._context)
        try:
            writer.write(packet)
            await reader.read(1)  # the server's end is its answer
        finally:
            await close(writer)

    async def _pass_on(self, client: Stream, upstream: Stream) -> None:
        self._live += 1
        try:
            await join(client, upstream)
        finally:
            self._live -= 1

    def _in_thread(self, work: Callable[[], Result]) -> "asyncio.Future[Result]":
        return self._loop.run_in_executor(self._executor, work)

    def _say(self, sentence: str) -> None:
        """Once: a pool tries again and again."""
        if sentence != self._told:
            self._told = sentence
            self._tell(sentence)


def _abort(stream: Stream | None) -> None:
    if stream is not None:
        stream[1].transport.abort()


def _error_fields(error: DrawbridgeError) -> dict[str, str]:
    """As a server would say it: its own words where it said something, with the next step as the hint."""
    if isinstance(error, LoginRefusedError):
        hints = {} if "H" in error.fields else {"H": str(error)}
        return {**error.fields, **hints}
    return {"C": _CANNOT_CONNECT, "M": str(error)}


def _no_port(port: int, error: OSError) -> DrawbridgeError:
    if error.errno == errno.EADDRINUSE:
        return PortInUseError(
            f"Port {port} of this machine is in use. Take another with --localport, or see who holds it: "
            f"lsof -nP -iTCP:{port} -sTCP:LISTEN (Windows: netstat -ano)."
        )
    return ConfigurationError(
        f"Port {port} of this machine cannot be used: {error.strerror}. Take another with --localport."
    )


@contextmanager
def _private_directory() -> Iterator[Path]:
    """For a socket that only its user reaches; short enough for one."""
    name = tempfile.mkdtemp(prefix="drawbridge-")  # 0700
    if len(name) > _LONGEST_SOCKET_PATH - len("/.s.PGSQL.65535"):
        Path(name).rmdir()
        name = tempfile.mkdtemp(prefix="drawbridge-", dir="/tmp")
    try:
        yield Path(name)
    finally:
        shutil.rmtree(name, ignore_errors=True)
