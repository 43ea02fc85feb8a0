"""The far side of the tunnel: TLS with the certificate checked for the real endpoint, then a login with a token.

A token is sent to nobody whose certificate was not checked, and in no other form than the one that RDS asks for.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path

from drawbridge import postgres_wire as wire
from drawbridge.connection import Connection
from drawbridge.errors import LoginError
from drawbridge.relay import BUFFER_BYTES, Stream

LOGIN_SECONDS = 60.0
"""A database that paused itself takes up to half a minute to wake (Aurora guide, Scaling to Zero ACUs)."""
_GOODBYE_SECONDS = 5.0
_PROTOCOL_3_0 = b"\0\x03\0\0"
_REFUSED_LOGINS = ("28000", "28P01")


class UnansweredError(LoginError):
    """Nobody spoke at the other end of the tunnel: the tunnel may have gone, or the bastion does not reach the database."""


class LoginRefusedError(LoginError):
    """The server said no; ``fields`` is what it said, as PostgreSQL names the parts of an error."""

    def __init__(self, sentence: str, fields: Mapping[str, str]) -> None:
        super().__init__(sentence)
        self.fields = dict(fields)

    def is_about_the_login(self) -> bool:
        """Is it who logs in that was refused, and not something else?"""
        return self.fields.get("C") in _REFUSED_LOGINS


def tls_context(bundle: Path) -> ssl.SSLContext:
    """TLS as libpq's verify-full: the name and the chain are checked, by these certificates alone. Raises LoginError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(bundle)
    except (OSError, ssl.SSLError) as error:
        raise LoginError(
            f"The certificates of the database in {bundle} cannot be read: {error}. Remove that file."
        ) from error
    return context


async def open_stream(connection: Connection, address: tuple[str, int], context: ssl.SSLContext) -> Stream:
    """The database through the tunnel at ``address``, in TLS. Raises LoginError; how long it may take the caller says."""
    loop, raw = asyncio.get_running_loop(), socket.socket()
    place = f"{connection.host}:{connection.port}"
    try:
        raw.setblocking(False)  # asyncio's way
        await loop.sock_connect(raw, address)
        await loop.sock_sendall(raw, wire.SSL_REQUEST)
        answer = await loop.sock_recv(
            raw, 1
        )  # one byte: what follows it unencrypted must never be taken for the server's
        if answer == b"S":
            return await asyncio.open_connection(
                sock=raw,
                ssl=context,
                server_hostname=connection.host,
                ssl_handshake_timeout=LOGIN_SECONDS,
                ssl_shutdown_timeout=_GOODBYE_SECONDS,
                limit=BUFFER_BYTES,
            )
    except ssl.SSLCertVerificationError as error:
        raw.close()
        raise LoginError(
            f"What answers as {connection.host} has no certificate of Amazon's for that name ({error.verify_message}), "
            "so no token was sent to it. Remove the kept certificates if they may be old; else tell the operator of Drawbridge."
        ) from error
    except OSError as error:
        raw.close()
        raise UnansweredError(_unanswered(place, str(error))) from error
    except BaseException:
        raw.close()
        raise
    raw.close()
    if not answer:
        raise UnansweredError(_unanswered(place, "the connection was closed"))
    raise LoginError(
        f"The database at {place} does not speak TLS, so no token was sent to it. Tell the operator of Drawbridge."
    )


async def log_in(stream: Stream, connection: Connection, startup: wire.Startup, token: str) -> bytes:
    """Starts up as the user and in the database of the grant alone; whatever else a client wants of its session is passed on.

    Returns what the server said up to and with the message that lets the client in, for the client. Raises LoginError.
    """
    reader, writer = stream
    given = {**startup.parameters, "user": connection.user, "database": connection.database}
    writer.write(wire.Startup(version=startup.version, parameters=given).encode())
    said = bytearray()
    try:
        while True:
            kind, body = await wire.read_message(reader)
            if kind == wire.NEGOTIATION:
                said += wire.message(kind, body)
            elif kind == wire.AUTHENTICATION and body == wire.CLEARTEXT:
                writer.write(wire.password_message(token))
            elif kind == wire.AUTHENTICATION and body == wire.AUTHENTICATED:
                return bytes(said + wire.message(kind, body))
            elif kind == wire.ERROR:
                raise _refused(connection, wire.error_fields(body))
            else:
                raise LoginError(
                    f"The database asks {connection.user} for another proof than a token, so none was sent. "
                    "Its IAM authentication is off, or the user is no member of rds_iam: tell the operator of Drawbridge."
                )
    except wire.WireError as error:
        raise LoginError(f"What answers as {connection.host} does not speak PostgreSQL: {error}.") from error
    except (OSError, EOFError) as error:
        raise UnansweredError(_unanswered(connection.host, "the connection was closed during the login")) from error


def check_login(
    connection: Connection, *, address: tuple[str, int], token: str, bundle: Path, timeout: float = LOGIN_SECONDS
) -> str:
    """Logs in and out again through the tunnel at ``address``; returns the server's version. Raises LoginError."""
    startup = wire.Startup(version=_PROTOCOL_3_0, parameters={"application_name": "drawbridge check"})

    async def check() -> str:
        stream = await open_stream(connection, address, tls_context(bundle))
        try:
            await log_in(stream, connection, startup, token)
            return await _read_version(stream[0], connection)
        finally:
            stream[1].write(wire.TERMINATE)
            await close(stream[1])

    async def check_in_time() -> str:
        try:
            async with asyncio.timeout(timeout):
                return await check()
        except TimeoutError as error:
            raise late(connection, timeout) from error

    return asyncio.run(check_in_time())


def late(connection: Connection, seconds: float) -> UnansweredError:
    """What to say when the database took too long."""
    return UnansweredError(
        f"The database at {connection.host}:{connection.port} did not complete the login within {seconds:.0f} seconds. "
        "Try again: a database that sleeps takes a while to wake; if that does not help, tell the operator of Drawbridge."
    )


async def close(writer: asyncio.StreamWriter) -> None:
    """Sends what is left, says goodbye, and waits for that, a few seconds at most."""
    writer.close()
    try:
        await asyncio.wait_for(writer.wait_closed(), _GOODBYE_SECONDS)
    except (TimeoutError, asyncio.CancelledError) as error:
        writer.transport.abort()
        if isinstance(error, asyncio.CancelledError):
            raise
    except OSError:
        pass


async def _read_version(reader: asyncio.StreamReader, connection: Connection) -> str:
    version = ""
    try:
        while True:
            kind, body = await wire.read_message(reader)
            if kind == wire.PARAMETER_STATUS and wire.parameter(body)[0] == "server_version":
                version = wire.parameter(body)[1]
            elif kind == wire.ERROR:
                raise _refused(connection, wire.error_fields(body))
            elif kind == wire.READY:
                return version
    except (OSError, EOFError, wire.WireError) as error:
        raise UnansweredError(_unanswered(connection.host, "the connection was closed after the login")) from error


def _refused(connection: Connection, fields: Mapping[str, str]) -> LoginRefusedError:
    said = fields.get("M", "nothing")
    next_step = "See `drawbridge mine` for what you hold"
    if fields.get("C") in _REFUSED_LOGINS:
        may_connect = connection.database_user_arn or connection.user
        next_step += f", and whether your AWS identity may rds-db:connect to {may_connect}"
    return LoginRefusedError(
        f"The database {connection.database} refused the login of {connection.user}: {said}. {next_step}.", fields
    )


def _unanswered(place: str, reason: str) -> str:
    return (
        f"The tunnel is open, but no database answered at its other end ({place}: {reason}). Try again; if that does not help, "
        "the bastion does not reach the database, or the database is down: tell the operator of Drawbridge."
    )
