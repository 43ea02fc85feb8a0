"""The wire formats of a data channel: agent messages, smux frames, websocket frames. Decides nothing about them."""

import asyncio
import base64
import hashlib
import json
import re
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple
from uuid import UUID, uuid4

Opcode = IntEnum("Opcode", {"TEXT": 1, "BINARY": 2, "CLOSE": 8, "PING": 9, "PONG": 10})
Command = IntEnum("Command", {"OPEN": 0, "CLOSE": 1, "DATA": 2, "KEEP_ALIVE": 3})
Flag = IntEnum("Flag", {"DISCONNECT_TO_PORT": 1, "TERMINATE_SESSION": 2, "CONNECT_TO_PORT_ERROR": 3})
MessageType = StrEnum("MessageType", "INPUT_STREAM_DATA OUTPUT_STREAM_DATA ACKNOWLEDGE CHANNEL_CLOSED")
PayloadType = IntEnum("PayloadType", {"NONE": 0, "OUTPUT": 1, "REQUEST": 5, "RESPONSE": 6, "COMPLETE": 7, "FLAG": 10})
_HEADER, _SMUX_HEADER = struct.Struct(">I32sIQqQ8s8s32sII"), struct.Struct("<BBHI")
_LARGEST_FRAME_BYTES, _GOODBYE_SECONDS = 1024 * 1024, 1.0


class ProtocolError(Exception):
    """The peer sent what the protocol does not allow; its channel cannot go on."""


def require(holds: object, rule: str) -> None:
    """Raises ProtocolError unless the rule holds."""
    if not holds:
        raise ProtocolError(rule)


@dataclass(frozen=True, slots=True)
class Message:
    """One agent message: a big-endian header of 120 bytes, then the payload."""

    message_type: str
    payload_type: int
    payload: bytes
    sequence: int = 0
    flags: int = 0
    message_id: UUID = field(default_factory=uuid4)
    created_at_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)

    def encode(self) -> bytes:
        """The content of one binary websocket frame; a UUID travels with its halves swapped."""
        name, digest = self.message_type.encode().ljust(32), hashlib.sha256(self.payload).digest()
        halves = self.message_id.bytes[8:], self.message_id.bytes[:8]
        # 116 is the offset of the header's last field, the payload's length.
        start = 116, name, 1, self.created_at_ms, self.sequence, self.flags
        return _HEADER.pack(*start, *halves, digest, self.payload_type, len(self.payload)) + self.payload

    @classmethod
    def decode(cls, data: bytes) -> "Message":
        """Raises ProtocolError for anything that `encode` would not have made, such as a wrong digest."""
        header, payload = data[: _HEADER.size].ljust(_HEADER.size), data[_HEADER.size :]
        _, name, _, created_at_ms, sequence, flags, low, high, _, kind, _ = _HEADER.unpack(header)
        name, message_id = name.decode("latin-1").rstrip(), UUID(bytes=high + low)
        message = cls(name, kind, payload, sequence, flags, message_id, created_at_ms)
        require(message.encode() == data, "a length, the version or the digest of a message is wrong")
        return message

    def receipt(self) -> dict[str, object]:
        """What acknowledges this message."""
        names = {"AcknowledgedMessageType": self.message_type, "AcknowledgedMessageId": str(self.message_id)}
        return names | {"AcknowledgedMessageSequenceNumber": self.sequence, "IsSequentialMessage": True}


def json_field(data: bytes, *path: str | int) -> Any:
    """What stands at a path of a JSON document. Raises ProtocolError when nothing does."""
    try:
        value = json.loads(data)
        for step in path:
            value = value[step]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ProtocolError(f"{path} is missing in a message") from error
    return value


class Frame(NamedTuple):
    """One smux v1 frame: a little-endian header of 8 bytes, then up to 65535 bytes."""

    command: Command
    stream_id: int
    data: bytes = b""

    def encode(self) -> bytes:
        """The frame as it stands in the byte stream."""
        return _SMUX_HEADER.pack(1, self.command, len(self.data), self.stream_id) + self.data


def cut_frames(stream: bytearray) -> Iterator[Frame]:
    """Takes the complete frames from the front of a stream. Raises ProtocolError for what is not smux v1."""
    while len(stream) >= _SMUX_HEADER.size:
        version, command, length, stream_id = _SMUX_HEADER.unpack_from(stream)
        require(version == 1 and command in list(Command), "not a smux v1 frame")
        end = _SMUX_HEADER.size + length
        if len(stream) < end:
            return
        frame = Frame(Command(command), stream_id, bytes(stream[_SMUX_HEADER.size : end]))
        del stream[:end]
        yield frame


@dataclass(frozen=True, slots=True)
class WebSocket:
    """The server's end of one RFC 6455 connection, without extensions and fragmented messages."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def accept(self) -> str:
        """Answers the upgrade request and returns the session it names. Raises ProtocolError."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request = re.match(r"GET /v1/data-channel/(\S+)\?role=publish_subscribe HTTP/1\.1\r\n", head)
        key = re.search(r"(?i)\r\nsec-websocket-key: *(\S+)\r\n", head)
        if not request or not key:
            raise ProtocolError("not an upgrade request for a data channel")
        proof = hashlib.sha1(f"{key[1]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.writer.write(answer + b"Sec-WebSocket-Accept: " + base64.b64encode(proof) + b"\r\n\r\n")
        return request[1]

    async def receive(self) -> bytes:
        """The next message; pings are answered on the way. Raises OSError or EOFError at the end, or ProtocolError."""
        while True:
            first, second = await self.reader.readexactly(2)
            length = second & 0x7F
            if length > 125:
                length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8))
            require(first in {0x80 | opcode for opcode in Opcode}, "a frame is fragmented or unknown")
            require(second & 0x80 and length <= _LARGEST_FRAME_BYTES, "a frame is unmasked or too long")
            mask = await self.reader.readexactly(4)
            masked = int.from_bytes(await self.reader.readexactly(length))
            payload = (masked ^ int.from_bytes((mask * (length // 4 + 1))[:length])).to_bytes(length)
            opcode = first & 0x0F
            if opcode == Opcode.CLOSE:
                raise ConnectionResetError("the peer closed the websocket")
            if opcode == Opcode.PING:
                self.send(payload, Opcode.PONG)
            elif opcode != Opcode.PONG:
                return payload

    def send(self, payload: bytes, opcode: Opcode = Opcode.BINARY) -> None:
        """Queues one frame of at most 65535 bytes; whoever sends much awaits `writer.drain()` afterwards."""
        length = len(payload)
        size = bytes([length]) if length < 126 else b"\x7e" + length.to_bytes(2)
        self.writer.write(bytes([0x80 | opcode]) + size + payload)

    async def close(self, code: int) -> None:
        """Says why, then gives the peer a moment to leave: to close on unread input can lose what was said."""
        self.send(code.to_bytes(2), Opcode.CLOSE)
        with suppress(ProtocolError, OSError, EOFError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                while True:
                    await self.receive()
