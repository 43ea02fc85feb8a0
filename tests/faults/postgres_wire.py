"""The door of the database: logs people in as RDS does, and passes whole statements on, one by one, as the gate lets them."""

import re
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import BinaryIO

from local import seed
from local.iam_proxy import (
    ANSWERS,
    ASK_PASSWORD,
    CANCEL_REQUEST,
    IS_MEMBER,
    SSL_REQUEST,
    CertificateAuthority,
    FindCredentials,
    check_token,
)
from local.postgres import PostgresServer
from tests.faults.gate import Call, Fault, Gate, Killed, NoAnswer, Process, Refused

_ERRORS = {Fault.THROTTLED: "55P03", Fault.SERVER_ERROR: "53200", None: "57014"}
"""What the server says instead of carrying a statement out: a lock was not to be had, no memory, and too slow."""
_CONNECT_REFUSALS = {
    Fault.THROTTLED: ("53300", "sorry, too many clients already"),
    Fault.SERVER_ERROR: ("57P03", "the database system is starting up"),
}
_TELL, _TELL_AND_WAIT = re.compile(rb"pg_terminate_backend\((?=\w+(?:\.\w+)?\))"), rb"tell_and_wait("
"""A backend that is told to end takes a moment, and how often it is told must not depend on that."""
_WAITING = """
CREATE FUNCTION pg_catalog.tell_and_wait(pid integer) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    is_told constant boolean := pg_terminate_backend(pid);
    until constant timestamptz := clock_timestamp() + interval '5 seconds';
BEGIN
    WHILE is_told AND clock_timestamp() < until AND EXISTS (SELECT FROM pg_stat_get_activity(pid)) LOOP
        PERFORM pg_sleep(0.0005), pg_stat_clear_snapshot();
    END LOOP;
    RETURN is_told;
END
$$
"""
"""PostgreSQL's own way to wait for a backend's end looks every 100 ms."""
_ENDS = {b"Q", b"S"}
_WORDS, _NAMES = re.compile(rb"\s+"), re.compile(r"jit_\w+|R-\w{6}")


class Wire:
    """A database on a port of 127.0.0.1, behind TLS and tokens. Locks are not waited for: nobody else has the turn."""

    def __init__(
        self, server: PostgresServer, authority: CertificateAuthority, find_credentials: FindCredentials
    ) -> None:
        self._server, self._authority, self._find_credentials = server, authority, find_credentials
        self.gate: Gate | None = None
        self.process: Callable[[], Process | None] = lambda: None
        self._looks = server.connect(autocommit=True)
        for (database,) in self._looks.execute("SELECT datname FROM pg_database WHERE datallowconn").fetchall():
            with server.connect(database) as connection:
                connection.execute(_WAITING)
        self._lines: dict[_Line, threading.Thread] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="postgres wire", daemon=True)
        self._thread.start()

    def open(self, host: str) -> None:
        """Answer under the name of an endpoint."""
        self._tls, self._endpoint = self._authority.issue(host), f"{host}:{self.port}"

    def hang_up(self) -> None:
        """End every connection."""
        for line, thread in list(self._lines.items()):
            line.is_lent = False
            line.hang_up()
            thread.join()
            line.close()
        self._lines.clear()

    def stop(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self.hang_up()
        self._looks.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._server.socket_directory / ".s.PGSQL.5432"))
                line = _Line(self, client, server)
                self._lines[line] = threading.Thread(
                    target=self._serve, args=(line,), name="postgres wire", daemon=True
                )
                self._lines[line].start()

    def _serve(self, line: "_Line") -> None:
        with suppress(OSError, EOFError):
            line.run()
        line.hang_up()
        line.close()
        if not line.is_lent:
            self._lines.pop(line, None)

    def let_in(self, client: socket.socket) -> tuple[socket.socket, BinaryIO, bytes]:
        """The encrypted side of a client, and its first packet. EOFError for whoever may not log in, once they were told."""
        said: BinaryIO = client.makefile("rb")
        while (packet := _read_packet(said)) in ANSWERS:
            client.sendall(ANSWERS[packet])
            if packet == SSL_REQUEST:
                client = self._tls.wrap_socket(client, server_side=True)
                said = client.makefile("rb")
        is_encrypted = isinstance(client, ssl.SSLSocket)
        if not is_encrypted:
            raise EOFError
        if packet[4:8] != CANCEL_REQUEST:
            words = packet[8:].decode().split("\0")
            user = dict(zip(words[:-2:2], words[1:-2:2], strict=True))["user"]
            client.sendall(ASK_PASSWORD)
            _read(said, 1)
            if not self._may_log_in(user, _read_packet(said)[4:-1].decode()):
                client.sendall(_fatal("28000", f'PAM authentication failed for user "{user}"'))
                raise EOFError
        return client, said, packet

    def _may_log_in(self, user: str, token: str) -> bool:
        refusal = check_token(
            token,
            endpoints={self._endpoint},
            user=user,
            region=seed.REGION,
            now=datetime.now(UTC),
            find_credentials=self._find_credentials,
        )
        return not refusal and self._looks.execute(IS_MEMBER, [user]).fetchone() == (True,)


class _Line:
    """One connection."""

    def __init__(self, wire: Wire, client: socket.socket, server: socket.socket) -> None:
        self._wire, self.client, self.server = wire, client, server
        self._asked, self._said = client.makefile("rb"), server.makefile("rb")
        self._gate: Gate | None = None
        self._process: Process | None = None
        self._is_over = False
        self.is_lent = False
        """Is the server's end left to something that comes late?"""

    def run(self) -> None:
        self.client, self._asked, startup = self._wire.let_in(self.client)
        if b"application_name\0drawbridge " in startup:
            self._process, self._gate = self._wire.process(), self._wire.gate
            startup = startup.replace(b"lock_timeout=1s", b"lock_timeout=1")
            startup = len(startup).to_bytes(4) + startup[4:]
        if self._process is not None:
            self._process.at_death.append(self.hang_up)
        answer = self._pass(startup, "connect")
        while answer is not None:
            self.client.sendall(answer)
            if self._is_over:
                return
            unit, name = self._read_unit()
            if name == "X":
                self.server.sendall(unit)
                return
            answer = self._pass(unit, name)

    def hang_up(self) -> None:
        """End both connections; what the server's end held is free once this returns."""
        if not self.is_lent:
            with suppress(OSError):
                self.server.shutdown(socket.SHUT_WR)
                while self.server.recv(4096):
                    pass
        with suppress(OSError):
            socket.socket.shutdown(self.client, socket.SHUT_RDWR)  # of the socket alone: its thread may be reading TLS

    def close(self) -> None:
        """Give back what the line was made of, but for what is lent."""
        for end in (self._asked, self.client, *([] if self.is_lent else [self._said, self.server])):
            end.close()

    def _pass(self, unit: bytes, name: str) -> bytes | None:
        """The server's answer to one unit; None when there is none and the line is dead."""
        if self._process is None or self._gate is None:
            return self._ask(unit)
        call = Call(kind="postgres", name="postgres", function=self._process.function, detail=name)
        try:
            return self._gate.run(self._process, call, lambda: self._ask(unit), lend=self._lend)
        except Refused as refusal:
            if name == "connect":
                self.client.sendall(_fatal(*_CONNECT_REFUSALS[refusal.fault]))
                return None
            return self._ask(_raising(_ERRORS[refusal.fault]))
        except NoAnswer as silence:
            if silence.is_reset or name == "connect" or self._gate.met[-1][1] is not Fault.TIMED_OUT:
                return None
            return self._ask(_raising(_ERRORS[None]))
        except Killed:
            return None

    def _lend(self) -> None:
        self.is_lent = True

    def _ask(self, unit: bytes) -> bytes:
        """Send a unit and read until the server is ready for another."""
        with suppress(OSError):  # a late one may find the server's end gone
            self.server.sendall(unit)
        if unit[4:8] == CANCEL_REQUEST:
            return b""
        answer = bytearray()
        while True:
            message = _read_message(self._said)
            answer += message
            if message[:1] == b"Z" or not message:
                self._is_over = not message
                if self.is_lent:
                    self.is_lent = False
                    self.close()
                return bytes(answer)

    def _read_unit(self) -> tuple[bytes, str]:
        """Messages up to the one that asks for an answer, and the statement in them."""
        unit, name = b"", ""
        while True:
            message = _read_message(self._asked)
            if not message:
                raise EOFError
            kind = message[:1]
            if kind in {b"Q", b"P"}:
                text = message[5:].strip(b"\0").split(b"\0")[0]
                message = _message(kind, _TELL.sub(_TELL_AND_WAIT, message[5:]))
                name = _NAMES.sub("…", _WORDS.sub(b" ", text).decode(errors="replace"))[:60]
            unit += message
            if kind == b"X":
                return unit, "X"
            if kind in _ENDS:
                return unit, name


def _read(end: BinaryIO, size: int) -> bytes:
    read = end.read(size)
    if len(read) < size:
        raise EOFError
    return read


def _read_packet(end: BinaryIO) -> bytes:
    """What has no kind before its length."""
    length = _read(end, 4)
    return length + _read(end, int.from_bytes(length) - 4)


def _read_message(end: BinaryIO) -> bytes:
    """One message, or nothing when the other end has gone."""
    try:
        return _read(end, 1) + _read_packet(end)
    except (OSError, EOFError):
        return b""


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4) + body


def _raising(code: str) -> bytes:
    said = f"DO $$ BEGIN RAISE EXCEPTION 'planned' USING ERRCODE = '{code}'; END $$"
    return _message(b"Q", said.encode() + b"\0")


def _fatal(code: str, text: str) -> bytes:
    fields = "".join(f"{part}\0" for part in ("SFATAL", "VFATAL", f"C{code}", f"M{text}")) + "\0"
    return _message(b"E", fields.encode())
