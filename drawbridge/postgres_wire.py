"""The start of a PostgreSQL connection, byte by byte: what may come, how long it may be, and how to say no. Opens nothing.

Numbers and layouts are those of the PostgreSQL documentation, chapter "Frontend/Backend Protocol".
"""

from asyncio import StreamReader
from collections.abc import Mapping
from dataclasses import dataclass

SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
GSSENC_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x30"
_CANCEL_CODE = b"\x04\xd2\x16\x2e"
_MAJOR_VERSION = 3
LONGEST_STARTUP = 10_000
"""As long as PostgreSQL itself reads before it knows whom it speaks to."""
_LONGEST_CANCEL = 8 + 4 + 256
_LONGEST_MESSAGE = 1024 * 1024

AUTHENTICATION, ERROR, NEGOTIATION = b"R", b"E", b"v"
PARAMETER_STATUS, READY = b"S", b"Z"
TERMINATE = b"X\0\0\0\x04"
ASK_PASSWORD = b"R\0\0\0\x08\0\0\0\x03"
AUTHENTICATED, CLEARTEXT = b"\0\0\0\0", b"\0\0\0\x03"


class WireError(ValueError):
    """What came is not what PostgreSQL's clients and servers send."""


class VersionError(WireError):
    """A protocol of another age: the sender can be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Startup:
    """A client's first real message. Values may be in any encoding: they are given back as they came."""

    version: bytes
    parameters: Mapping[str, str]

    @classmethod
    def decode(cls, packet: bytes) -> "Startup":
        """Raises WireError, or VersionError for another major version."""
        version, body = packet[4:8], packet[8:]
        if int.from_bytes(version[:2]) != _MAJOR_VERSION:
            raise VersionError(f"protocol {int.from_bytes(version[:2])}.{int.from_bytes(version[2:])}")
        words = body.decode("utf-8", "surrogateescape").split("\0")
        if words[-2:] != ["", ""] or len(words) % 2 or "" in words[:-2:2]:
            raise WireError("a startup packet that is cut off")
        return cls(version=version, parameters=dict(zip(words[:-2:2], words[1:-2:2], strict=True)))

    def encode(self) -> bytes:
        """The packet."""
        words = "".join(f"{word}\0" for pair in self.parameters.items() for word in pair)
        body = self.version + words.encode("utf-8", "surrogateescape") + b"\0"
        return (len(body) + 4).to_bytes(4) + body


def is_cancel_request(packet: bytes) -> bool:
    """Is it the whole message of a connection that only asks to cancel another one's query?"""
    return packet[4:8] == _CANCEL_CODE and len(packet) <= _LONGEST_CANCEL


async def read_packet(reader: StreamReader) -> bytes:
    """The next message of a client that has not said who it is: it has no type. Raises WireError, or EOFError at the end."""
    return await _read(reader, LONGEST_STARTUP, least=8)


async def read_message(reader: StreamReader, longest: int = _LONGEST_MESSAGE) -> tuple[bytes, bytes]:
    """The type of the next message and its content. Raises WireError, or EOFError at the end."""
    kind = await reader.readexactly(1)
    return kind, (await _read(reader, longest, least=4))[4:]


async def _read(reader: StreamReader, longest: int, *, least: int) -> bytes:
    head = await reader.readexactly(4)
    length = int.from_bytes(head)
    if not least <= length <= longest:
        raise WireError(f"a message of {length} bytes")
    return head + await reader.readexactly(length - 4)


def message(kind: bytes, body: bytes) -> bytes:
    """A message, with its length."""
    return kind + (len(body) + 4).to_bytes(4) + body


def password_message(password: str) -> bytes:
    """The answer to ``ASK_PASSWORD``."""
    return message(b"p", password.encode() + b"\0")


def error_response(fields: Mapping[str, str]) -> bytes:
    """A server's error by its fields: ``M`` the message, ``H`` a hint, ``C`` the SQLSTATE; fatal unless it says otherwise."""
    complete = {"S": "FATAL", "V": "FATAL", **fields}
    words = (name + text.replace("\0", " ") for name, text in complete.items())
    body = "".join(f"{word}\0" for word in words)
    return message(ERROR, body.encode("utf-8", "surrogateescape") + b"\0")


def error_fields(body: bytes) -> dict[str, str]:
    """The fields of a server's error."""
    parts = body.decode("utf-8", "surrogateescape").split("\0")
    return {part[0]: part[1:] for part in parts if part}


def parameter(body: bytes) -> tuple[str, str]:
    """The name and the value of a ParameterStatus."""
    name, _, value = body.decode("utf-8", "surrogateescape").rstrip("\0").partition("\0")
    return name, value
