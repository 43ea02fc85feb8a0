"""Sits between the door of the database and the server and passes whole statements on, one by one, as the gate lets them."""

import re
import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

import psycopg

from local.postgres import PostgresServer
from tests.faults.gate import Call, Fault, Gate, Killed, NoAnswer, Process, Refused

_ERRORS = {Fault.THROTTLED: "55P03", Fault.SERVER_ERROR: "53200", None: "57014"}
"""What the server says instead of carrying a statement out: a lock was not to be had, no memory, and too slow."""
_CONNECT_REFUSALS = {
    Fault.THROTTLED: ("53300", "sorry, too many clients already"),
    Fault.SERVER_ERROR: ("57P03", "the database system is starting up"),
}
_TELL, _TELL_AND_WAIT = re.compile(rb"pg_terminate_backend\((\w+(?:\.\w+)?)\)"), rb"pg_terminate_backend(\1, 5000)"
"""A backend that is told to end takes a moment, and how often it is told must not depend on that."""
_CANCEL = b"\x04\xd2\x16\x2e"
_ENDS = {b"Q", b"S"}
_WORDS, _NAMES = re.compile(rb"\s+"), re.compile(r"jit_\w+|R-\w{6}")


class Wire:
    """A server to whoever connects; has what the door needs of one. Locks are not waited for: nobody else has the turn."""

    def __init__(self, server: PostgresServer, directory: Path) -> None:
        self._server, self.version, self.socket_directory = server, server.version, directory
        self.gate: Gate | None = None
        self.process: Callable[[], Process | None] = lambda: None
        self._looks = server.connect(autocommit=True)
        self._lines: dict[_Line, threading.Thread] = {}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / ".s.PGSQL.5432"))
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, name="postgres wire", daemon=True)
        self._thread.start()

    def connect(self) -> AbstractContextManager[psycopg.Connection]:
        """For the door's own look at roles."""
        return nullcontext(self._looks)

    def hang_up(self) -> None:
        """End every connection."""
        for line, thread in list(self._lines.items()):
            line.is_lent = False
            line.hang_up()
            thread.join()
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
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._server.socket_directory / ".s.PGSQL.5432"))
                line = _Line(self, client, server)
                thread = threading.Thread(target=self._serve, args=(line,), name="postgres wire", daemon=True)
                self._lines[line] = thread
                thread.start()

    def _serve(self, line: "_Line") -> None:
        with suppress(OSError, EOFError):
            line.run()
        line.hang_up()
        line.client.close()
        if not line.is_lent:
            line.server.close()
            self._lines.pop(line, None)


class _Line:
    """One connection."""

    def __init__(self, wire: Wire, client: socket.socket, server: socket.socket) -> None:
        self._wire, self.client, self.server = wire, client, server
        self._gate: Gate | None = None
        self._process: Process | None = None
        self._is_over = False
        self.is_lent = False
        """Is the server's end left to something that comes late?"""

    def run(self) -> None:
        startup = self._read_startup()
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
            self.client.shutdown(socket.SHUT_RDWR)

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
        if unit[4:8] == _CANCEL:
            return b""
        answer = bytearray()
        while True:
            message = _read_message(self.server)
            answer += message
            if message[:1] == b"Z" or not message:
                self._is_over = not message
                if self.is_lent:
                    self.server.close()
                return bytes(answer)

    def _read_startup(self) -> bytes:
        length = _read(self.client, 4)
        return length + _read(self.client, int.from_bytes(length) - 4)

    def _read_unit(self) -> tuple[bytes, str]:
        """Messages up to the one that asks for an answer, and the statement in them."""
        unit, name = b"", ""
        while True:
            message = _read_message(self.client)
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


def _read(end: socket.socket, size: int) -> bytes:
    read = bytearray()
    while len(read) < size:
        part = end.recv(size - len(read))
        if not part:
            raise EOFError
        read += part
    return bytes(read)


def _read_message(end: socket.socket) -> bytes:
    """One message, or nothing when the other end has gone."""
    try:
        head = _read(end, 5)
        return head + _read(end, int.from_bytes(head[1:]) - 4)
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
