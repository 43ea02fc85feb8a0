"""Stands in for AWS's session-manager-plugin, which `aws ssm start-session` runs. Connects to loopback only."""

import asyncio
import json
import os
import signal
import struct
import sys
import time
from contextlib import suppress
from hashlib import sha256
from itertools import count
from urllib.parse import urlsplit
from uuid import UUID, uuid4

VERSION = "local-stand-in 0.1"  # no number: so the CLI neither warns nor hands the session over another way
HEADER, FRAME = struct.Struct(">I32sIQqQ8s8s32sII"), struct.Struct("<BBHI")
OUTPUT, HANDSHAKE_REQUEST, HANDSHAKE_RESPONSE, HANDSHAKE_COMPLETE, FLAG = 1, 5, 6, 7, 10
OPEN, CLOSE, DATA = 0, 1, 2


class Tunnel:
    """One session: the websocket to the service on one side, local connections on the other."""

    def __init__(self, session_id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.session_id, self.reader, self.writer = session_id, reader, writer
        self.numbers, self.stream_ids, self.stream, self.clients = count(), count(3, 2), bytearray(), {}

    def write(self, opcode: int, payload: bytes) -> None:
        size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2)
        self.writer.write(bytes([0x80 | opcode]) + size + bytes(4) + payload)  # masked with zeros: unchanged

    def send(self, kind: int, payload: bytes) -> None:
        """Send stream data of this kind, or an acknowledgement, which has kind 0."""
        name, number, flags = (b"input_stream_data", next(self.numbers), 0) if kind else (b"acknowledge", 0, 3)
        start = 116, name.ljust(32), 1, time.time_ns() // 1_000_000, number, flags, os.urandom(8), os.urandom(8)
        self.write(2, HEADER.pack(*start, sha256(payload).digest(), kind, len(payload)) + payload)

    def terminate(self) -> None:
        print("Terminate signal received, exiting.")
        self.send(FLAG, (2).to_bytes(4))
        asyncio.get_running_loop().call_later(1, sys.exit)  # should the service not answer

    async def run(self, token: str) -> str:
        opening = {"MessageSchemaVersion": "1.0", "RequestId": str(uuid4()), "ClientId": str(uuid4())}
        self.write(1, json.dumps(opening | {"TokenValue": token, "ClientVersion": VERSION}).encode())
        while True:
            opcode, size = await self.reader.readexactly(2)
            extended = await self.reader.readexactly({126: 2, 127: 8}.get(size, 0))
            data = (await self.reader.readexactly(int.from_bytes(extended) or size)).ljust(HEADER.size)
            _, name, _, _, number, _, low, high, digest, kind, _ = HEADER.unpack_from(data)
            payload = data[HEADER.size :]
            if opcode != 0x82 or digest != sha256(payload).digest():
                raise ConnectionError("the service closed the channel, or what it sent is damaged")
            if name.startswith(b"channel_closed"):
                return str(json.loads(payload)["Output"])
            if kind:
                await self.receive(kind, payload)
                receipt = {"AcknowledgedMessageType": "output_stream_data", "IsSequentialMessage": True}
                receipt |= {"AcknowledgedMessageId": str(UUID(bytes=high + low))}
                self.send(0, json.dumps(receipt | {"AcknowledgedMessageSequenceNumber": number}).encode())

    async def receive(self, kind: int, payload: bytes) -> None:
        if kind == HANDSHAKE_REQUEST:
            action = json.loads(payload)["RequestedClientActions"][0]
            self.port = int(action["ActionParameters"]["Properties"]["localPortNumber"])
            answer = {"ClientVersion": VERSION, "ProcessedClientActions": [action | {"ActionStatus": 1, "Error": ""}]}
            self.send(HANDSHAKE_RESPONSE, json.dumps(answer).encode())
        elif kind == HANDSHAKE_COMPLETE:
            print(json.loads(payload)["CustomerMessage"])
            port = (await asyncio.start_server(self.serve, "127.0.0.1", self.port)).sockets[0].getsockname()[1]
            print(f"Port {port} opened for sessionId {self.session_id}.\nWaiting for connections...")
        elif (kind, payload) == (FLAG, (3).to_bytes(4)):
            print("\nConnection to destination port failed, check SSM Agent logs.")
        elif kind == OUTPUT:
            self.stream += payload
            while len(self.stream) >= 8 and len(self.stream) >= 8 + FRAME.unpack_from(self.stream)[2]:
                _, command, size, stream_id = FRAME.unpack_from(self.stream)
                data, self.stream = self.stream[8 : 8 + size], self.stream[8 + size :]
                if client := self.clients.get(stream_id):
                    client.write(data)
                    with suppress(OSError):
                        await client.drain()
                    if command == CLOSE:
                        client.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream_id = next(self.stream_ids)
        if stream_id == 3:
            print(f"\nConnection accepted for session [{self.session_id}]")
        self.clients[stream_id] = writer
        writer.transport.set_write_buffer_limits(high=4 * 1024 * 1024)  # past it all clients wait, as with AWS's
        self.send(OUTPUT, FRAME.pack(1, OPEN, 0, stream_id))
        with suppress(OSError):
            while data := await reader.read(32 * 1024):
                self.send(OUTPUT, FRAME.pack(1, DATA, len(data), stream_id) + data)
                await self.writer.drain()
        self.send(OUTPUT, FRAME.pack(1, CLOSE, 0, stream_id))
        self.clients.pop(stream_id).close()


async def _start_session(response: str, _region: str, operation: str) -> None:
    session = json.loads(os.environ.pop(response, response))
    url, session_id = urlsplit(session["StreamUrl"]), session["SessionId"]
    if (operation, url.scheme, url.hostname) != ("StartSession", "ws", "127.0.0.1"):
        raise ValueError(f"this local stand-in connects to 127.0.0.1 only, not to {url.netloc}")
    print(f"\nStarting session with SessionId: {session_id}")
    tunnel = Tunnel(session_id, *await asyncio.open_connection(url.hostname, url.port))
    head = f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    tunnel.writer.write(f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {uuid4().hex[:22]}==\r\n\r\n".encode())
    await tunnel.reader.readuntil(b"\r\n\r\n")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGTSTP):
        asyncio.get_running_loop().add_signal_handler(number, tunnel.terminate)
    output = await tunnel.run(session["TokenValue"])
    print(f"\nSessionId: {session_id} : {output}\n" if output else f"\nExiting session with sessionId: {session_id}.\n")


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    if sys.argv[1:] == ["--version"]:
        sys.exit(print(VERSION))
    try:
        asyncio.run(_start_session(*sys.argv[1:4]))
    except (OSError, EOFError, ValueError, LookupError, TypeError) as error:
        print(f"Cannot perform start session: {error}")
