"""The agent's end of a data channel: handshake, acknowledgements, and connections for smux streams. Knows no account."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from local.ssm import protocol
from local.ssm.protocol import Command, Flag, Frame, Message, MessageType, PayloadType, require

CUSTOMER_MESSAGE = "Local emulation: this tunnel ends at the embedded PostgreSQL."
_HANDSHAKE_SECONDS, _CHUNK_BYTES = 15.0, 32 * 1024
_WINDOW = 256  # messages sent and not acknowledged: the only flow control there is towards the client
_UNREAD_BYTES = 4 * 1024 * 1024  # queued for one target; past it the channel waits: smux v1 has no windows

_Dialled = asyncio.Future[asyncio.StreamWriter | None]  # None: the target refused


@dataclass(eq=False)
class DataChannel:
    """One client on one websocket. The properties are those of the session document, all of them strings."""

    socket: protocol.WebSocket
    agent_version: str
    properties: Mapping[str, str]
    targets: Mapping[tuple[str, int], tuple[str, int]]
    on_activity: Callable[[], None]  # called for all that the client sends; it acknowledges what it gets
    _sent: int = 0
    _acknowledged: int = 0
    _window: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_WINDOW))
    _streams: dict[int, tuple[_Dialled, asyncio.Task[None]]] = field(default_factory=dict)

    async def serve(self) -> None:
        """Returns when the client ends the session. Raises ProtocolError, or OSError or EOFError when it is gone."""
        inputs, stream = self._inputs(), bytearray()
        try:
            await self._shake_hands(inputs)
            async for message in inputs:
                kind = message.payload_type
                require(kind in {PayloadType.OUTPUT, PayloadType.FLAG}, "neither data nor a flag")
                if (kind, message.payload) == (PayloadType.FLAG, Flag.TERMINATE_SESSION.to_bytes(4)):
                    return
                stream += message.payload if kind == PayloadType.OUTPUT else b""
                for frame in protocol.cut_frames(stream):
                    await self._receive(frame)
        finally:
            for _, forwarding in self._streams.values():
                forwarding.cancel()

    async def say_closed(self, session_id: str, output: str) -> None:
        """Tells the client that the session is over: otherwise it would keep its port open for ever."""
        notice = {"MessageType": MessageType.CHANNEL_CLOSED, "SessionId": session_id, "SchemaVersion": 1}
        self._notify(MessageType.CHANNEL_CLOSED, notice | {"Output": output})
        await self.socket.close(1000)

    async def _shake_hands(self, inputs: AsyncIterator[Message]) -> None:
        started_ns = time.monotonic_ns()
        parameters = {"SessionType": "Port", "Properties": dict(self.properties)}
        actions = [{"ActionType": "SessionType", "ActionParameters": parameters}]
        request = {"AgentVersion": self.agent_version, "RequestedClientActions": actions}
        await self._send(PayloadType.REQUEST, json.dumps(request).encode())
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            response = await anext(inputs)
        require(response.payload_type == PayloadType.RESPONSE, "not an answer to the handshake")
        status = protocol.json_field(response.payload, "ProcessedClientActions", 0, "ActionStatus")
        require(status == 1, "the client does not serve port sessions")
        complete = {"HandshakeTimeToComplete": time.monotonic_ns() - started_ns, "CustomerMessage": CUSTOMER_MESSAGE}
        # From here to the client's first data nothing may be sent: AWS's plugin is not ready and would hang.
        await self._send(PayloadType.COMPLETE, json.dumps(complete).encode())

    async def _inputs(self) -> AsyncIterator[Message]:
        """The client's stream data in order, acknowledged before any slow work, or it would be sent again."""
        expected = 0
        while True:
            message = Message.decode(await self.socket.receive())
            self.on_activity()
            if message.message_type == MessageType.ACKNOWLEDGE:
                number = protocol.json_field(message.payload, "AcknowledgedMessageSequenceNumber")
                require(number in range(self._sent), "what is acknowledged was never sent")
                while self._acknowledged <= number:  # a number stands for all before it
                    self._acknowledged += 1
                    self._window.release()
                continue
            in_order = message.message_type == MessageType.INPUT_STREAM_DATA and message.sequence <= expected
            require(in_order, "not the next message of a client")
            self._notify(MessageType.ACKNOWLEDGE, message.receipt())
            if message.sequence == expected:
                expected += 1
                yield message

    async def _receive(self, frame: Frame) -> None:
        """Never waits for the window: this runs in the only reader, which alone can open it."""
        if frame.command == Command.OPEN:
            dialled: _Dialled = asyncio.Future()
            forwarding = asyncio.create_task(self._forward(frame.stream_id, dialled))
            self._streams[frame.stream_id] = dialled, forwarding
        elif frame.stream_id in self._streams and (writer := await self._streams[frame.stream_id][0]):
            if frame.command == Command.CLOSE:
                writer.close()  # both ways, as smux does, once the target has what is queued
            elif frame.command == Command.DATA:
                with suppress(OSError):  # whoever forwards from this target sees its end and says so
                    writer.write(frame.data)
                    await writer.drain()

    async def _forward(self, stream_id: int, dialled: _Dialled) -> None:
        """One connection to the target, from its dialling to the frame that closes its stream."""
        try:
            address = self.targets[self.properties["host"], int(self.properties["portNumber"])]
            reader, writer = await asyncio.open_connection(*address)
        except (OSError, KeyError):  # refused, or nothing that this bastion reaches
            dialled.set_result(None)
            await self._send(PayloadType.FLAG, Flag.CONNECT_TO_PORT_ERROR.to_bytes(4))
        else:
            writer.transport.set_write_buffer_limits(high=_UNREAD_BYTES)
            dialled.set_result(writer)
            try:
                with suppress(OSError):  # reset by the target: an end like any other
                    while data := await reader.read(_CHUNK_BYTES):
                        await self._send(PayloadType.OUTPUT, Frame(Command.DATA, stream_id, data).encode())
            finally:
                writer.transport.abort()
        del self._streams[stream_id]
        await self._send(PayloadType.OUTPUT, Frame(Command.CLOSE, stream_id).encode())

    async def _send(self, kind: PayloadType, payload: bytes) -> None:
        """Sends stream data once the window has room. Of a websocket that is gone its reader tells."""
        await self._window.acquire()
        message = Message(MessageType.OUTPUT_STREAM_DATA, kind, payload, self._sent, flags=int(not self._sent))
        self._sent += 1
        self.socket.send(message.encode())
        with suppress(OSError):
            await self.socket.writer.drain()

    def _notify(self, message_type: MessageType, content: dict[str, object]) -> None:
        message = Message(message_type, PayloadType.NONE, json.dumps(content).encode(), flags=3)
        self.socket.send(message.encode())
