"""The Session Manager stand-in, seen by its callers and, byte by byte, by a client of its data channels."""

import json
import os
import re
import select
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from botocore.session import get_session
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.session_documents import session_document
from local.ssm.documents import AWS_DOCUMENT, SsmError, own_document
from local.ssm.protocol import Command, Flag, Frame, Message, MessageType, PayloadType, ProtocolError, cut_frames
from local.ssm.server import Instance, SessionManager
from tests.factories import READ, WRITE, a_location, a_rule
from tests.serving import Serving
from tests.strategies import RULE
from tests.waiting import WAITING_SECONDS, eventually

BASTION = "i-0123456789abcdef0"
OTHER_BASTION = "i-0fedcba9876543210"
HOST = "my-aurora.cluster-example.eu-west-1.rds.amazonaws.com"
OWN_DOCUMENT = "drawbridge-example-orders-prod"
OWNER = "arn:aws:sts::123456789012:assumed-role/Developer/alice@example.com"
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MODEL: Any = get_session().get_service_model("ssm")


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **duration: float) -> None:
        self.now += timedelta(**duration)


class Ec2(dict[str, Instance]):
    """EC2 as Session Manager sees it."""

    def add(self, instance_id: str, state: str = "running", running_since: datetime | None = NOON) -> None:
        self[instance_id] = Instance(instance_id=instance_id, state=state, running_since=running_since)

    def stop(self, instance_id: str) -> None:
        self[instance_id] = replace(self[instance_id], state="stopping", running_since=None)


class Target(Serving, socketserver.ThreadingTCPServer):
    """A TCP server that answers each connection with `serve`; `ended` counts the connections that are over."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        target = self
        self.ended = threading.Semaphore(0)

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    serve(self.request)
                target.ended.release()

        super().__init__(Handler)


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


@dataclass
class World:
    """A stand-in, what it stands on, and what a caller says to it. Every answer is checked against AWS's model."""

    manager: SessionManager
    ec2: Ec2
    clock: Clock
    targets: dict[tuple[str, int], tuple[str, int]]
    clients: list["Client"] = field(default_factory=list)

    def call(self, operation: str, **request: Any) -> dict[str, Any]:
        answer = self.manager.handle(operation, request, "AKIALOCALALICE000000")
        report = ParamValidator().validate(answer, MODEL.operation_model(operation).output_shape)

        assert not report.has_errors(), report.generate_report()
        return json.loads(json.dumps(answer))

    def start(self, *, target: str = BASTION, reason: str = "R-ABC123", **parameters: str) -> dict[str, Any]:
        given = {"host": HOST, "portNumber": "5432", "localPortNumber": "56789"} | parameters
        return self.call(
            "StartSession",
            Target=target,
            DocumentName=AWS_DOCUMENT,
            Reason=reason,
            Parameters={name: [value] for name, value in given.items()},
        )

    def start_own(self, document: str = OWN_DOCUMENT, **parameters: str) -> dict[str, Any]:
        """As the command without parameters has it."""
        given = {"Parameters": {name: [value] for name, value in parameters.items()}} if parameters else {}
        return self.call("StartSession", Target=BASTION, DocumentName=document, Reason="R-ABC123", **given)

    def open(self, answer: dict[str, Any] | None = None, *, token: str | None = None) -> "Client":
        """A client that has sent its token and nothing else."""
        client = Client(answer or self.start(), token=token)
        self.clients.append(client)
        return client

    def tunnel(self, answer: dict[str, Any] | None = None) -> "Client":
        """A client that has done the handshake."""
        client = self.open(answer)
        client.shake_hands()
        return client

    def properties(self, answer: dict[str, Any]) -> dict[str, str]:
        """What the client of a session is told to do."""
        request, _ = self.open(answer).shake_hands()
        return dict(request["RequestedClientActions"][0]["ActionParameters"]["Properties"])

    def sessions(self, state: str = "Active", **filters: str) -> list[dict[str, Any]]:
        conditions = [{"key": key, "value": value} for key, value in filters.items()]
        return self.call("DescribeSessions", State=state, **({"Filters": conditions} if conditions else {}))["Sessions"]

    def status(self, session_id: str) -> str:
        found = [*self.sessions("Active", SessionId=session_id), *self.sessions("History", SessionId=session_id)]
        return str(found[0]["Status"])


class Client:
    """A client of one data channel that does nothing by itself: it acknowledges only what a test tells it to."""

    def __init__(self, answer: dict[str, Any], *, token: str | None = None) -> None:
        self.session_id = answer["SessionId"]
        host, port, path = re.fullmatch(r"ws://(127\.0\.0\.1):(\d+)(/.+)", answer["StreamUrl"]).groups()  # type: ignore[union-attr]  # a test may fail here
        self.socket = socket.create_connection((host, int(port)), timeout=WAITING_SECONDS)
        self._sequence, self._stream = 0, bytearray()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        self.head = b""
        while not self.head.endswith(b"\r\n\r\n"):
            self.head += self._read(1)
        self.send_frame(0x81, json.dumps({"TokenValue": token or answer["TokenValue"]}).encode())

    def send_frame(self, first: int, payload: bytes, *, masked: bool = True) -> None:
        size, mask = len(payload), os.urandom(4)
        length = bytes([0x80 * masked | min(size, 126)]) + (size.to_bytes(2) if size > 125 else b"")
        body = mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload)) if masked else payload
        self.socket.sendall(bytes([first]) + length + body)

    def receive_frame(self) -> tuple[int, bytes]:
        first, size = self._read(2)
        if size > 125:
            size = int.from_bytes(self._read(2 if size == 126 else 8))
        return first & 0x0F, self._read(size)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def send(self, message: Message) -> Message:
        self.send_frame(0x82, message.encode())
        return message

    def send_data(self, kind: PayloadType, payload: bytes) -> Message:
        message = Message(MessageType.INPUT_STREAM_DATA, kind, payload, self._sequence)
        self._sequence += 1
        return self.send(message)

    def send_smux(self, command: Command, stream_id: int, data: bytes = b"") -> None:
        self.send_data(PayloadType.OUTPUT, Frame(command, stream_id, data).encode())

    def receive(self) -> Message:
        """The next message. Raises EOFError when the server closes instead."""
        opcode, data = self.receive_frame()
        if opcode != 2:
            raise EOFError(f"{opcode} {data!r}")
        return Message.decode(data)

    def receive_kind(self, message_type: MessageType) -> Message:
        return next(message for message in iter(self.receive, None) if message.message_type == message_type)

    def acknowledge(self, message: Message) -> None:
        self.send(Message(MessageType.ACKNOWLEDGE, PayloadType.NONE, json.dumps(message.receipt()).encode(), flags=3))

    def shake_hands(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the server asked and what it said in the end."""
        request = self.receive()
        self.acknowledge(request)
        self.answer_handshake()
        complete = self.receive_kind(MessageType.OUTPUT_STREAM_DATA)
        self.acknowledge(complete)
        return json.loads(request.payload), json.loads(complete.payload)

    def answer_handshake(self, status: int = 1) -> Message:
        actions = [{"ActionType": "SessionType", "ActionStatus": status, "ActionResult": None, "Error": ""}]
        answer = {"ClientVersion": "1.2.677.0", "ProcessedClientActions": actions, "Errors": None}
        return self.send_data(PayloadType.RESPONSE, json.dumps(answer).encode())

    def frames(self, *, acknowledged: bool = True) -> Iterator[Frame]:
        """The smux frames that come, and what flags come as frames of stream 0."""
        while True:
            message = self.receive_kind(MessageType.OUTPUT_STREAM_DATA)
            if acknowledged:
                self.acknowledge(message)
            if message.payload_type == PayloadType.FLAG:
                yield Frame(Command.KEEP_ALIVE, 0, message.payload)
            else:
                self._stream += message.payload
                yield from cut_frames(self._stream)

    def read_stream(self, stream_id: int, size: int) -> bytes:
        data = bytearray()
        for frame in self.frames():
            if frame.stream_id == stream_id:
                data += frame.data
            if len(data) >= size:
                return bytes(data)
        raise AssertionError

    def is_quiet(self, seconds: float) -> bool:
        """Whether nothing comes for so long, not even the end."""
        ready, _, _ = select.select([self.socket], [], [], seconds)
        return not ready

    def settle(self) -> None:
        """Wait until the server has taken in all that was sent."""
        self.send_frame(0x89, b"")
        self.receive_frame()

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def world() -> Iterator[World]:
    clock, ec2, targets = Clock(), Ec2(), dict[tuple[str, int], tuple[str, int]]()
    ec2.add(BASTION)
    clock.advance(seconds=1)
    with SessionManager(
        find_instance=ec2.get,
        list_instances=lambda: list(ec2.values()),
        targets=targets,
        caller=lambda _: OWNER,
        clock=clock,
    ) as manager:
        location = a_location(levels={READ: a_rule(cap_seconds=3600), WRITE: a_rule(cap_seconds=7200)})
        content = session_document(location, host=HOST, port="5432")
        manager.documents.append(own_document(OWN_DOCUMENT, content))
        world = World(manager, ec2, clock, targets)
        yield world
        for client in world.clients:
            client.close()


@pytest.fixture
def echoing(world: World) -> Iterator[Target]:
    """A target that is known under the host and port of `World.start`."""
    with Target(echo) as target:
        world.targets[HOST, 5432] = target.address
        yield target


# Bytes

GOLDEN_ID = UUID("00112233-4455-6677-8899-aabbccddeeff")
GOLDEN_MESSAGES = {
    MessageType.INPUT_STREAM_DATA: (PayloadType.OUTPUT, b"hello", 7, 0),
    MessageType.OUTPUT_STREAM_DATA: (PayloadType.FLAG, bytes([0, 0, 0, 3]), 0, 1),
    MessageType.ACKNOWLEDGE: (PayloadType.NONE, b"{}", 0, 3),
    MessageType.CHANNEL_CLOSED: (PayloadType.NONE, b"", 0, 3),
}
GOLDEN_BYTES = {
    MessageType.INPUT_STREAM_DATA: (
        "00000074" + b"input_stream_data               ".hex() + "00000001" + "0000019cae7f3400" + "0000000000000007"
        "0000000000000000" + "8899aabbccddeeff0011223344556677"
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" + "00000001" + "00000005" + "68656c6c6f"
    ),
    MessageType.OUTPUT_STREAM_DATA: (
        "00000074" + b"output_stream_data              ".hex() + "00000001" + "0000019cae7f3400" + "0000000000000000"
        "0000000000000001" + "8899aabbccddeeff0011223344556677"
        "88185d128d9922e0e6bcd32b07b6c7f20f27968eab447a1d8d1cdf250f79f7d3" + "0000000a" + "00000004" + "00000003"
    ),
    MessageType.ACKNOWLEDGE: (
        "00000074" + b"acknowledge                     ".hex() + "00000001" + "0000019cae7f3400" + "0000000000000000"
        "0000000000000003" + "8899aabbccddeeff0011223344556677"
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" + "00000000" + "00000002" + "7b7d"
    ),
    MessageType.CHANNEL_CLOSED: (
        "00000074" + b"channel_closed                  ".hex() + "00000001" + "0000019cae7f3400" + "0000000000000000"
        "0000000000000003" + "8899aabbccddeeff0011223344556677"
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" + "00000000" + "00000000"
    ),
}


def golden(message_type: MessageType) -> Message:
    kind, payload, sequence, flags = GOLDEN_MESSAGES[message_type]
    return Message(message_type, kind, payload, sequence, flags, GOLDEN_ID, 0x019CAE7F3400)


@pytest.mark.parametrize("message_type", MessageType)
def test_a_message_has_the_bytes_of_aws(message_type: MessageType) -> None:
    """Offsets, the swapped UUID and the digest are what AWS's own programs read and write."""
    assert GOLDEN_BYTES[message_type] == golden(message_type).encode().hex()


@pytest.mark.parametrize("message_type", MessageType)
def test_the_bytes_of_aws_are_understood(message_type: MessageType) -> None:
    """What another program sent comes out as the values it put in."""
    assert golden(message_type) == Message.decode(bytes.fromhex(GOLDEN_BYTES[message_type]))


@pytest.mark.parametrize(
    ("offset", "what"),
    [(3, "header length"), (39, "schema version"), (80, "digest"), (119, "payload length"), (124, "payload")],
)
def test_a_damaged_message_is_refused(offset: int, what: str) -> None:
    """A wrong byte in a message never reaches a database."""
    data = bytearray.fromhex(GOLDEN_BYTES[MessageType.INPUT_STREAM_DATA])
    data[offset] ^= 1

    with pytest.raises(ProtocolError):
        Message.decode(bytes(data))


@pytest.mark.parametrize("size", [0, 4, 119, 124])
def test_a_shortened_message_is_refused(size: int) -> None:
    """Half a message is no message, wherever it was cut."""
    with pytest.raises(ProtocolError):
        Message.decode(bytes.fromhex(GOLDEN_BYTES[MessageType.INPUT_STREAM_DATA])[:size])


def test_a_smux_frame_has_the_bytes_of_smux() -> None:
    """Little-endian, unlike everything around it."""
    assert "01" + "02" + "0500" + "07000000" + "68656c6c6f" == Frame(Command.DATA, 7, b"hello").encode().hex()


FRAMES = st.lists(
    st.builds(Frame, st.sampled_from(list(Command)), st.integers(0, 2**32 - 1), st.binary(max_size=300)), max_size=8
)


@RULE
@given(frames=FRAMES, cuts=st.lists(st.integers(0, 2500), max_size=12))
def test_frames_do_not_depend_on_how_the_stream_was_cut(frames: list[Frame], cuts: list[int]) -> None:
    """Messages of any size carry the same connections."""
    stream = b"".join(frame.encode() for frame in frames)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    buffer, found = bytearray(), list[Frame]()
    for start, end in pairwise(edges):
        buffer += stream[start:end]
        found += cut_frames(buffer)

    assert (frames, b"") == (found, bytes(buffer))


@pytest.mark.parametrize("head", [b"\2\0\0\0\1\0\0\0", b"\1\4\0\0\1\0\0\0", b"\0\0\0\x08\4\xd2\x16\x2f"])
def test_what_is_not_smux_is_refused(head: bytes) -> None:
    """Another version, another command, or PostgreSQL's own first bytes from a client that does not multiplex."""
    with pytest.raises(ProtocolError):
        list(cut_frames(bytearray(head)))


# Opening a channel


def test_the_upgrade_is_proved(world: World) -> None:
    """The answer to the key is the one of RFC 6455's example."""
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in world.open().head


def test_a_wrong_token_closes_with_a_policy_violation(world: World) -> None:
    """Who knows a session's name but not its token gets nothing."""
    assert (8, (1008).to_bytes(2)) == world.open(token="guessed").receive_frame()


def test_a_wrong_token_does_not_spoil_the_session(world: World) -> None:
    """A stranger cannot lock the owner out."""
    answer = world.start()
    world.open(answer, token="guessed").receive_frame()

    assert PayloadType.REQUEST == world.open(answer).receive().payload_type


def test_a_token_opens_one_channel(world: World) -> None:
    """A token that leaks later is worth nothing."""
    answer = world.start()
    world.open(answer).receive()

    assert (8, (1008).to_bytes(2)) == world.open(answer).receive_frame()


def test_a_session_that_does_not_exist_is_refused_like_a_wrong_token(world: World) -> None:
    """Nobody learns which sessions there are."""
    answer = world.start()
    answer["StreamUrl"] = answer["StreamUrl"].replace(answer["SessionId"], "nobody-0123456789abcdef0")

    assert (8, (1008).to_bytes(2)) == world.open(answer).receive_frame()


def test_a_terminated_session_cannot_be_opened(world: World) -> None:
    """A command that was delivered and revoked before it was used stays without effect."""
    answer = world.start()
    world.call("TerminateSession", SessionId=answer["SessionId"])

    assert (8, (1008).to_bytes(2)) == world.open(answer).receive_frame()


@pytest.mark.parametrize("request_line", ["POST / HTTP/1.1", "GET / HTTP/1.1", "nonsense"])
def test_what_is_no_upgrade_is_hung_up_on(world: World, request_line: str) -> None:
    """The port speaks to clients of data channels only."""
    port = int(world.start()["StreamUrl"].split(":")[2].split("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=WAITING_SECONDS) as connection:
        connection.sendall(f"{request_line}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())

        assert b"" == connection.recv(1024)


def test_a_ping_is_answered(world: World) -> None:
    """AWS's plugin pings when it opens and every five minutes."""
    client = world.tunnel()
    client.send_frame(0x89, b"keepalive")

    assert (10, b"keepalive") == client.receive_frame()


@pytest.mark.parametrize(
    ("first", "masked"), [(0x82, False), (0x02, True), (0x80, True), (0x83, True), (0xC2, True)], ids=str
)
def test_a_client_that_breaks_the_websocket_rules_is_dropped(world: World, first: int, masked: bool) -> None:
    """Unmasked, fragmented, continued, unknown or compressed: none of it is guessed at, even if it made sense."""
    client = world.tunnel()
    message = Message(MessageType.INPUT_STREAM_DATA, PayloadType.OUTPUT, b"", sequence=1)
    client.send_frame(first, message.encode(), masked=masked)

    assert "a frame is" in json.loads(client.receive_kind(MessageType.CHANNEL_CLOSED).payload)["Output"]
    assert "Failed" == world.status(client.session_id)


def test_a_client_that_sends_too_much_at_once_is_dropped(world: World) -> None:
    """A length is believed before the bytes are here, so it has a limit."""
    client = world.tunnel()
    client.socket.sendall(bytes([0x82, 0xFF]) + (2**40).to_bytes(8))

    assert "too long" in json.loads(client.receive_kind(MessageType.CHANNEL_CLOSED).payload)["Output"]


# The handshake


def test_the_handshake_asks_for_the_port_session_of_the_document(world: World) -> None:
    """The client learns from it where to listen; every property is a string."""
    request, _ = world.open().shake_hands()

    properties = {"type": "LocalPortForwarding", "host": HOST, "portNumber": "5432", "localPortNumber": "56789"}
    parameters = {"SessionType": "Port", "Properties": properties}
    actions = [{"ActionType": "SessionType", "ActionParameters": parameters}]
    assert {"AgentVersion": "3.3.1142.0", "RequestedClientActions": actions} == request


def test_the_handshake_ends_with_a_word_about_the_emulation(world: World) -> None:
    """Whoever looks at their terminal sees that this is not AWS. A fraction would break AWS's plugin."""
    _, complete = world.open().shake_hands()

    assert "Local emulation: this tunnel ends at the embedded PostgreSQL." == complete["CustomerMessage"]
    assert isinstance(complete["HandshakeTimeToComplete"], int)


def test_the_answer_is_acknowledged_before_the_handshake_is_complete(world: World) -> None:
    """The other order makes AWS's plugin send its answer again."""
    client = world.open()
    request, answer = client.receive(), client.answer_handshake()
    acknowledge, complete = client.receive(), client.receive()

    assert (PayloadType.REQUEST, 0, 1) == (request.payload_type, request.sequence, request.flags)
    assert answer.receipt() == json.loads(acknowledge.payload)
    assert (MessageType.ACKNOWLEDGE, 0, 3) == (acknowledge.message_type, acknowledge.sequence, acknowledge.flags)
    assert (PayloadType.COMPLETE, 1, 0) == (complete.payload_type, complete.sequence, complete.flags)


def test_nothing_is_sent_between_the_handshake_and_the_first_data(world: World, echoing: Target) -> None:
    """AWS's plugin would hang for ever on a message in that gap."""
    client = world.tunnel()

    assert client.is_quiet(0.5)
    client.send_smux(Command.OPEN, 3)
    client.send_smux(Command.DATA, 3, b"now")
    assert b"now" == client.read_stream(3, 3)


def test_a_client_that_cannot_serve_ports_fails_the_session(world: World) -> None:
    """Status 3 is what a plugin says to a kind of session that it does not know."""
    client = world.open()
    client.receive()
    client.answer_handshake(status=3)

    assert "port sessions" in json.loads(client.receive_kind(MessageType.CHANNEL_CLOSED).payload)["Output"]
    assert "Failed" == world.status(client.session_id)


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b'{"ProcessedClientActions": []}', b"\xff"])
def test_a_malformed_answer_fails_the_session(world: World, payload: bytes) -> None:
    """Nonsense is a failure with a name, not a crash."""
    client = world.open()
    client.receive()
    client.send_data(PayloadType.RESPONSE, payload)

    assert client.receive_kind(MessageType.CHANNEL_CLOSED)
    assert "Failed" == world.status(client.session_id)


def test_data_before_the_handshake_fails_the_session(world: World) -> None:
    """Nothing reaches a target before both ends have agreed on what they speak."""
    client = world.open()
    client.receive()
    client.send_data(PayloadType.OUTPUT, b'{"ProcessedClientActions": [{"ActionStatus": 1}]}')

    assert client.receive_kind(MessageType.CHANNEL_CLOSED)
    assert "Failed" == world.status(client.session_id)


# Data


def test_a_connection_carries_bytes_both_ways(world: World, echoing: Target) -> None:
    """The smallest tunnel."""
    client = world.tunnel()
    client.send_smux(Command.OPEN, 3)
    client.send_smux(Command.DATA, 3, b"select 1")

    assert b"select 1" == client.read_stream(3, 8)


def test_a_frame_may_span_messages(world: World, echoing: Target) -> None:
    """AWS's plugin cuts its stream every 1024 bytes, wherever that is."""
    client = world.tunnel()
    stream = Frame(Command.OPEN, 3).encode() + Frame(Command.DATA, 3, bytes(range(256)) * 8).encode()
    for start in range(0, len(stream), 100):
        client.send_data(PayloadType.OUTPUT, stream[start : start + 100])

    assert bytes(range(256)) * 8 == client.read_stream(3, 2048)


def test_connections_do_not_mix(world: World, echoing: Target) -> None:
    """Two clients of one tunnel get their own answers."""
    client = world.tunnel()
    for stream_id in (3, 5):
        client.send_smux(Command.OPEN, stream_id)
        client.send_smux(Command.DATA, stream_id, b"%d" % stream_id)
    answers = client.frames()

    assert {(3, b"3"), (5, b"5")} == {(frame.stream_id, frame.data) for frame in (next(answers), next(answers))}


def test_a_repeated_message_is_acknowledged_again_and_used_once(world: World, echoing: Target) -> None:
    """Clients send again what they believe lost; a query must not run twice."""
    client = world.tunnel()
    client.send_smux(Command.OPEN, 3)
    repeated = client.send_data(PayloadType.OUTPUT, Frame(Command.DATA, 3, b"once").encode())
    client.send(repeated)
    client.send_smux(Command.DATA, 3, b"!")

    received = [client.receive() for _ in range(4)]
    numbers = [
        json.loads(message.payload)["AcknowledgedMessageSequenceNumber"]
        for message in received
        if message.message_type == MessageType.ACKNOWLEDGE
    ]
    rest = [message.payload for message in received if message.message_type != MessageType.ACKNOWLEDGE]
    while len(numbers) < 4:
        message = client.receive()
        if message.message_type == MessageType.ACKNOWLEDGE:
            numbers.append(json.loads(message.payload)["AcknowledgedMessageSequenceNumber"])
        else:
            rest.append(message.payload)
    while b"!" not in b"".join(rest):
        rest.append(client.receive_kind(MessageType.OUTPUT_STREAM_DATA).payload)
    assert [1, 2, 2, 3] == numbers
    assert b"once!" == b"".join(frame.data for frame in cut_frames(bytearray(b"".join(rest))))


def test_a_missing_message_fails_the_session(world: World) -> None:
    """On one websocket nothing can overtake: a gap is a client's error and must not become a gap in a query."""
    client = world.tunnel()
    client.send(Message(MessageType.INPUT_STREAM_DATA, PayloadType.OUTPUT, b"", sequence=2))

    assert client.receive_kind(MessageType.CHANNEL_CLOSED)


@pytest.mark.parametrize("number", [99, -1, "1", None])
def test_an_acknowledgement_of_nothing_fails_the_session(world: World, number: object) -> None:
    """It would open the window for messages that nobody received."""
    client = world.tunnel()
    payload = json.dumps({"AcknowledgedMessageSequenceNumber": number}).encode()
    client.send(Message(MessageType.ACKNOWLEDGE, PayloadType.NONE, payload))

    assert client.receive_kind(MessageType.CHANNEL_CLOSED)


def test_a_client_that_acknowledges_nothing_gets_no_more_than_the_window(world: World) -> None:
    """Acknowledgements are the only flow control; one of them stands for all before it."""

    def flood(connection: socket.socket) -> None:
        while True:
            connection.sendall(bytes(1024 * 1024))

    with Target(flood) as target:
        world.targets[HOST, 5432] = target.address
        client = world.tunnel()
        client.send_smux(Command.OPEN, 3)
        first = [client.receive_kind(MessageType.OUTPUT_STREAM_DATA) for _ in range(256)]
        quiet = client.is_quiet(0.3)
        client.acknowledge(first[-1])
        more = [client.receive_kind(MessageType.OUTPUT_STREAM_DATA) for _ in range(256)]

        assert quiet
        assert list(range(2, 514)) == [message.sequence for message in (*first, *more)]


def test_a_target_that_reads_nothing_does_not_hold_up_another(world: World) -> None:
    """Four megabytes wait for one database while another one answers."""
    release = threading.Event()
    with Target(lambda _: release.wait(2 * WAITING_SECONDS) and None) as stuck:
        stuck.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that the kernel takes little
        world.targets[HOST, 5432] = stuck.address
        client = world.tunnel()
        client.send_smux(Command.OPEN, 3)
        for _ in range(128):
            client.send_smux(Command.DATA, 3, bytes(32 * 1024))
        with Target(echo) as target:
            world.targets[HOST, 5432] = target.address
            client.send_smux(Command.OPEN, 5)
            client.send_smux(Command.DATA, 5, b"quick")

            assert b"quick" == client.read_stream(5, 5)
        release.set()


@pytest.mark.parametrize("known", [True, False])
def test_a_refused_connection_is_told_as_the_agent_does(world: World, *, known: bool) -> None:
    """StartSession succeeds for any host; only the connection shows that the bastion cannot reach it."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = unused.getsockname()
    if known:
        world.targets[HOST, 5432] = address
    client = world.tunnel()
    client.send_smux(Command.OPEN, 3)
    answers = client.frames()

    assert Flag.CONNECT_TO_PORT_ERROR.to_bytes(4) == next(answers).data
    assert Frame(Command.CLOSE, 3) == next(answers)


def test_a_refused_connection_leaves_the_tunnel_usable(world: World, echoing: Target) -> None:
    """The database may come back; the target is looked up for each connection."""
    address = world.targets.pop((HOST, 5432))
    client = world.tunnel()
    client.send_smux(Command.OPEN, 3)
    client.send_smux(Command.DATA, 3, b"lost")
    answers = client.frames()
    [next(answers), next(answers)]
    world.targets[HOST, 5432] = address
    client.send_smux(Command.OPEN, 5)
    client.send_smux(Command.DATA, 5, b"found")

    assert b"found" == client.read_stream(5, 5)


def test_the_end_of_a_target_closes_its_stream_after_its_last_bytes(world: World) -> None:
    """The FATAL line of a terminated session reaches the person."""
    with Target(lambda connection: connection.sendall(b"FATAL")) as target:
        world.targets[HOST, 5432] = target.address
        client = world.tunnel()
        client.send_smux(Command.OPEN, 3)
        answers = client.frames()

        assert [Frame(Command.DATA, 3, b"FATAL"), Frame(Command.CLOSE, 3)] == [next(answers), next(answers)]


def test_the_end_of_a_client_closes_its_connection_after_its_last_bytes(world: World) -> None:
    """PostgreSQL is told goodbye, sees the end and frees the backend."""
    received = bytearray()

    def collect(connection: socket.socket) -> None:
        while data := connection.recv(1024):
            received.extend(data)

    with Target(collect) as target:
        world.targets[HOST, 5432] = target.address
        client = world.tunnel()
        client.send_smux(Command.OPEN, 3)
        client.send_smux(Command.DATA, 3, b"goodbye")
        client.send_smux(Command.CLOSE, 3)

        assert Frame(Command.CLOSE, 3) == next(client.frames())
        assert target.ended.acquire(timeout=WAITING_SECONDS)
        assert b"goodbye" == received


def test_frames_of_streams_that_are_gone_are_ignored(world: World, echoing: Target) -> None:
    """Both ends may close a stream at once."""
    client = world.tunnel()
    client.send_smux(Command.CLOSE, 3)
    client.send_smux(Command.DATA, 3, b"late")
    client.send_smux(Command.KEEP_ALIVE, 0)
    client.send_smux(Command.OPEN, 5)
    client.send_smux(Command.DATA, 5, b"on")

    assert b"on" == client.read_stream(5, 2)


def test_a_client_that_does_not_multiplex_fails_the_session(world: World) -> None:
    """What the plugin does for old agents is not emulated, and says so."""
    client = world.tunnel()
    client.send_data(PayloadType.OUTPUT, b"\0\0\0\x08\4\xd2\x16\x2f")

    assert "smux" in json.loads(client.receive_kind(MessageType.CHANNEL_CLOSED).payload)["Output"]


# The end of a session


def test_terminating_a_session_cuts_its_tunnel(world: World, echoing: Target) -> None:
    """The client is told, the database loses the connection, and the record has its end."""
    client = world.tunnel()
    client.send_smux(Command.OPEN, 3)
    client.send_smux(Command.DATA, 3, b"x")
    client.read_stream(3, 1)
    world.clock.advance(minutes=1)
    world.call("TerminateSession", SessionId=client.session_id)
    notice = json.loads(client.receive_kind(MessageType.CHANNEL_CLOSED).payload)
    [record] = world.sessions("History")

    assert (client.session_id, "") == (notice["SessionId"], notice["Output"])
    assert echoing.ended.acquire(timeout=WAITING_SECONDS)
    assert ("Terminated", world.clock.now.timestamp()) == (record["Status"], record["EndDate"])


def test_a_session_ends_once(world: World) -> None:
    """AWS refuses to terminate what has ended; whoever closes tunnels must take that for success."""
    session_id = world.start()["SessionId"]
    world.call("TerminateSession", SessionId=session_id)

    with pytest.raises(SsmError) as refusal:
        world.call("TerminateSession", SessionId=session_id)
    assert "ValidationException" == refusal.value.code


def test_a_session_that_never_was_cannot_be_terminated(world: World) -> None:
    """A wrong id is told apart from an ended session."""
    with pytest.raises(SsmError) as refusal:
        world.call("TerminateSession", SessionId="alice-0123456789abcdef0")
    assert "DoesNotExistException" == refusal.value.code


def test_a_client_may_end_its_session(world: World) -> None:
    """Ctrl-C in the plugin sends this flag."""
    client = world.tunnel()
    client.send_data(PayloadType.FLAG, Flag.TERMINATE_SESSION.to_bytes(4))

    assert client.receive_kind(MessageType.CHANNEL_CLOSED)
    assert "Terminated" == world.status(client.session_id)


def test_a_client_that_vanishes_leaves_a_disconnected_session(world: World, echoing: Target) -> None:
    """A closed terminal sends no flag: AWS still calls the session active, and so does the stand-in."""
    client = world.tunnel()
    client.send_smux(Command.OPEN, 3)
    client.close()

    assert eventually(lambda: "Disconnected" == world.status(client.session_id))
    assert echoing.ended.acquire(timeout=WAITING_SECONDS)


def test_a_session_is_connecting_until_its_client_comes(world: World) -> None:
    """Connecting and connected sessions keep a bastion busy."""
    answer = world.start()
    before = world.status(answer["SessionId"])
    world.tunnel(answer)

    assert ("Connecting", "Connected") == (before, world.status(answer["SessionId"]))


def test_an_idle_session_ends_after_twenty_minutes(world: World) -> None:
    """As AWS does by default, connected or not."""
    idle, waiting = world.tunnel(), world.start()["SessionId"]
    idle.settle()
    world.clock.advance(minutes=20)
    still_open = idle.is_quiet(0.5)
    world.clock.advance(seconds=1)

    assert still_open
    assert idle.receive_kind(MessageType.CHANNEL_CLOSED)
    assert eventually(lambda: ["Terminated"] * 2 == [world.status(idle.session_id), world.status(waiting)])


def test_data_keeps_a_session_alive(world: World, echoing: Target) -> None:
    """Idle means that nothing moves, not that time goes by."""
    client = world.tunnel()
    client.send_smux(Command.OPEN, 3)
    for _ in range(3):
        world.clock.advance(minutes=19)
        client.send_smux(Command.DATA, 3, b"x")
        client.read_stream(3, 1)

    assert "Connected" == world.status(client.session_id)


@pytest.mark.parametrize("loss", ["stopped", "gone", "unreachable"])
def test_a_tunnel_breaks_with_its_bastion(world: World, loss: str) -> None:
    """No one keeps a way into a database through an instance that is down."""
    client = world.tunnel()
    if loss == "stopped":
        world.ec2.stop(BASTION)
    elif loss == "gone":
        del world.ec2[BASTION]
    else:
        world.manager.unreachable.add(BASTION)

    assert client.receive_kind(MessageType.CHANNEL_CLOSED)
    assert "Terminated" == world.status(client.session_id)


def test_stopping_the_stand_in_tells_every_client(world: World) -> None:
    """AWS's plugin would keep its port open for ever otherwise."""
    clients = [world.tunnel(), world.tunnel()]
    world.manager.stop()

    assert all(client.receive_kind(MessageType.CHANNEL_CLOSED) for client in clients)
    assert [] == [thread for thread in threading.enumerate() if thread.name == "local-ssm"]


# Operations


def test_a_session_shows_who_started_it_and_why(world: World) -> None:
    """Owner and reason are what tells whose tunnel it is."""
    answer = world.start(reason="R-ABC123")
    [record] = world.sessions()

    assert re.fullmatch(r"alice@example\.com-[0-9a-f]{17}", answer["SessionId"])
    assert {
        "SessionId": answer["SessionId"],
        "Target": BASTION,
        "Status": "Connecting",
        "StartDate": world.clock.now.timestamp(),
        "DocumentName": AWS_DOCUMENT,
        "Owner": OWNER,
        "Reason": "R-ABC123",
        "AccessType": "Standard",
    } == record


@pytest.mark.parametrize(
    ("owner", "name"),
    [("arn:aws:iam::123456789012:user/division/alice", "alice"), ("arn:aws:iam::123456789012:root", "root")],
)
def test_a_session_is_named_after_its_caller(world: World, owner: str, name: str) -> None:
    """Users and the account itself have no role session name."""
    world.manager.caller = lambda _: owner

    assert name == world.start()["SessionId"].rpartition("-")[0]


def test_the_answer_leads_to_the_own_loopback_port(world: World) -> None:
    """The stand-in serves its websockets itself; the token fits AWS's limit."""
    answer = world.start()

    path = f"/v1/data-channel/{answer['SessionId']}?role=publish_subscribe"
    assert re.fullmatch(rf"ws://127\.0\.0\.1:\d+{re.escape(path)}", answer["StreamUrl"])
    assert 32 <= len(answer["TokenValue"]) <= 300


def test_port_and_local_port_may_be_left_out(world: World) -> None:
    """As in AWS's document: port 80, and a local port that the plugin chooses."""
    answer = world.call("StartSession", Target=BASTION, DocumentName=AWS_DOCUMENT, Parameters={"host": [HOST]})
    properties = world.properties(answer)

    assert ("80", "0") == (properties["portNumber"], properties["localPortNumber"])


@pytest.mark.parametrize(
    "parameters",
    [
        {"hosts": [HOST]},
        {"host": []},
        {"host": [HOST, HOST]},
        {"host": ["a;b"]},
        {"host": ["$(id)"]},
        {"host": ["ab"]},
        {"host": [HOST], "portNumber": ["0"]},
        {"host": [HOST], "portNumber": ["65536"]},
        {"host": [HOST], "portNumber": ["05432"]},
        {"host": [HOST], "localPortNumber": ["five"]},
        {"type": ["LocalPortForwarding"]},
    ],
    ids=str,
)
def test_a_parameter_that_the_document_does_not_take_is_refused(world: World, parameters: dict[str, Any]) -> None:
    """A misspelt name or a value outside the document's pattern starts nothing."""
    with pytest.raises(SsmError) as refusal:
        world.call("StartSession", Target=BASTION, DocumentName=AWS_DOCUMENT, Parameters=parameters)
    assert "InvalidParameters" == refusal.value.code
    assert [] == world.sessions()


def test_a_document_of_the_account_fixes_host_and_port(world: World) -> None:
    """Nothing needs to be said, and the local port is the document's."""
    properties = world.properties(world.start_own())

    assert {
        "type": "LocalPortForwarding", "host": HOST, "portNumber": "5432", "localPortNumber": "56789"
    } == properties  # fmt: skip


def test_a_document_of_the_account_takes_another_local_port(world: World) -> None:
    """And leads to the same place."""
    properties = world.properties(world.start_own(localPortNumber="60001"))

    assert (HOST, "5432", "60001") == tuple(properties[each] for each in ("host", "portNumber", "localPortNumber"))


@pytest.mark.parametrize(
    "parameters",
    [
        {"host": "elsewhere.example.com"},
        {"portNumber": "22"},
        {"host": "elsewhere.example.com", "localPortNumber": "60001"},
        {"type": "LocalPortForwarding"},
        {"localPortNumber": "0"},
        {"localPortNumber": "1023"},
        {"localPortNumber": "65536"},
        {"localPortNumber": "56789 "},
        {"localPortNumber": "{{ host }}"},
    ],
    ids=str,
)
def test_a_document_of_the_account_leads_nowhere_else(world: World, parameters: dict[str, str]) -> None:
    """A person with this document alone reaches this database alone, from a port that needs no special rights."""
    with pytest.raises(SsmError) as refusal:
        world.start_own(**parameters)
    assert "InvalidParameters" == refusal.value.code
    assert [] == world.sessions()


def test_a_session_ends_at_the_longest_cap_of_its_location(world: World) -> None:
    """By itself, in use or not, when everything of ours has failed: its client is told, and it says so beforehand."""
    channel = world.tunnel(world.start_own())
    [record] = world.sessions()
    for _ in range(4):
        world.clock.advance(minutes=29, seconds=59)
        channel.send_smux(Command.KEEP_ALIVE, 0)
        channel.receive_kind(MessageType.ACKNOWLEDGE)
    still_open = channel.is_quiet(0.5)
    world.clock.advance(seconds=4)

    assert ("120", True) == (record["MaxSessionDuration"], still_open)
    assert channel.receive_kind(MessageType.CHANNEL_CLOSED)
    assert eventually(lambda: "Terminated" == world.status(channel.session_id))


def test_a_session_of_an_own_document_may_idle_for_an_hour(world: World) -> None:
    """Three times as long as one by AWS's document."""
    own, awss = world.start_own()["SessionId"], world.start()["SessionId"]
    world.clock.advance(minutes=21)
    first = eventually(lambda: (["Connecting", "Terminated"]) == [world.status(own), world.status(awss)])
    world.clock.advance(minutes=40)

    assert first
    assert eventually(lambda: "Terminated" == world.status(own))


GOOD = session_document(a_location(), host=HOST, port="5432")


def with_part(part: str, **changes: Any) -> dict[str, Any]:
    """The good document with a part of it changed."""
    return GOOD | {part: GOOD[part] | changes}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (GOOD | {"schemaVersion": "2.2"}, "no document of a port session"),
        (GOOD | {"sessionType": "Standard_Stream"}, "no document of a port session"),
        (GOOD | {"mainSteps": []}, "no document of a port session"),
        ({name: value for name, value in GOOD.items() if name != "properties"}, "no document of a port session"),
        (with_part("properties", portNumber=5432), "values that are no texts"),
        (with_part("properties", host={"Ref": "Host"}), "values that are no texts"),
        (with_part("inputs", maxSessionDuration=480), "values that are no texts"),
        (with_part("inputs", maxSessionDuration="1441"), "cannot have maxSessionDuration 1441"),
        (with_part("inputs", maxSessionDuration="0"), "cannot have maxSessionDuration 0"),
        (with_part("inputs", idleSessionTimeout="61"), "cannot have idleSessionTimeout 61"),
        (with_part("inputs", kmsKey="1"), "cannot have kmsKey 1"),
        (
            with_part("parameters", localPortNumber={"type": "String", "default": "x", "allowedPattern": "^y$"}),
            "declares",
        ),
        (with_part("parameters", localPortNumber={"type": "Number"}), "declares localPortNumber"),
        (with_part("properties", host="{{ host }}"), "refers to a parameter that it does not declare"),
    ],
)
def test_a_document_that_aws_would_not_take_is_refused(content: dict[str, Any], complaint: str) -> None:
    """At its making, as CloudFormation would find out."""
    with pytest.raises(SsmError, match=complaint) as refusal:
        own_document(OWN_DOCUMENT, content)
    assert "InvalidDocumentContent" == refusal.value.code


@pytest.mark.parametrize("name", ["AWS-Mine", "amazon-mine", "a b", "ab", "x" * 129])
def test_a_document_has_a_name_that_is_not_awss(name: str) -> None:
    """Its own names are reserved."""
    with pytest.raises(SsmError) as refusal:
        own_document(name, GOOD)
    assert "InvalidDocument" == refusal.value.code


def test_a_parameter_without_a_default_has_to_be_said(world: World) -> None:
    """Nothing is made up."""
    content = with_part("parameters", localPortNumber={"type": "String"})
    world.manager.documents.append(own_document("mine", content))

    with pytest.raises(SsmError, match="needs localPortNumber"):
        world.start_own("mine")
    assert "anything" == world.properties(world.start_own("mine", localPortNumber="anything"))["localPortNumber"]


@pytest.mark.parametrize("document", [None, "AWS-StartPortForwardingSession", "SSM-SessionManagerRunShell"])
def test_no_other_document_is_served(world: World, document: str | None) -> None:
    """Without a document AWS opens a shell; here there is none to open."""
    request: dict[str, Any] = {"Target": BASTION} | ({"DocumentName": document} if document else {})

    with pytest.raises(SsmError) as refusal:
        world.call("StartSession", **request)
    assert "InvalidDocument" == refusal.value.code


@pytest.mark.parametrize("state", ["pending", "stopping", "stopped", "shutting-down", "terminated", "absent"])
def test_an_instance_that_is_not_running_is_not_connected(world: World, state: str) -> None:
    """Session Manager and its status agree on who can be reached."""
    if state != "absent":
        world.ec2.add(OTHER_BASTION, state, NOON)

    with pytest.raises(SsmError) as refusal:
        world.start(target=OTHER_BASTION)
    assert "TargetNotConnected" == refusal.value.code
    assert "notconnected" == world.call("GetConnectionStatus", Target=OTHER_BASTION)["Status"]


def test_an_agent_needs_its_time_to_boot(world: World) -> None:
    """Running is not yet reachable."""
    world.ec2.add(OTHER_BASTION, "running", world.clock.now)
    statuses = []
    for _ in range(2):
        statuses.append(world.call("GetConnectionStatus", Target=OTHER_BASTION)["Status"])
        world.clock.advance(seconds=1)

    assert ["notconnected", "connected"] == statuses


def test_an_instance_may_run_without_being_reachable(world: World) -> None:
    """An agent that lost its way out, as in a subnet without a route."""
    world.manager.unreachable.add(BASTION)

    assert "notconnected" == world.call("GetConnectionStatus", Target=BASTION)["Status"]


def test_an_old_agent_cannot_forward_to_another_host(world: World) -> None:
    """AWS refuses below 3.1.1374.0; versions compare by number, not by letter."""
    world.manager.agent_version = "3.1.999.0"

    with pytest.raises(SsmError) as refusal:
        world.start()
    assert "BadRequest" == refusal.value.code


@pytest.mark.parametrize(
    ("operation", "request_body"),
    [
        ("StartSession", {}),
        ("StartSession", {"Target": ""}),
        ("StartSession", {"Target": BASTION, "Reasons": "x"}),
        ("StartSession", {"Target": BASTION, "Reason": "x" * 257}),
        ("StartSession", {"Target": BASTION, "Reason": "two\nlines"}),
        ("StartSession", {"Target": BASTION, "DocumentName": "a b"}),
        ("StartSession", {"Target": BASTION, "Parameters": {"host": HOST}}),
        ("TerminateSession", {"SessionId": "x" * 97}),
        ("DescribeSessions", {}),
        ("DescribeSessions", {"State": "active"}),
        ("DescribeSessions", {"State": "Active", "MaxResults": 201}),
        ("DescribeSessions", {"State": "Active", "Filters": []}),
        ("DescribeSessions", {"State": "Active", "Filters": [{"key": "Owner", "value": "x"}] * 7}),
        ("DescribeInstanceInformation", {"MaxResults": 4}),
        ("DescribeInstanceInformation", {"MaxResults": 51}),
    ],
    ids=str,
)
def test_what_the_model_of_aws_forbids_is_refused(world: World, operation: str, request_body: dict[str, Any]) -> None:
    """Also what botocore lets through and only the service refuses."""
    with pytest.raises(SsmError) as refusal:
        world.call(operation, **request_body)
    assert "ValidationException" == refusal.value.code


def test_an_operation_that_nobody_calls_is_not_implemented(world: World) -> None:
    """The front forwards others elsewhere; none is answered by accident."""
    with pytest.raises(SsmError) as refusal:
        world.manager.handle("SendCommand", {}, "")
    assert "NotImplemented" == refusal.value.code


def test_a_session_is_never_resumed(world: World) -> None:
    """An answer without a token makes the plugin end instead of repeating data."""
    session_id = world.start()["SessionId"]

    assert {"SessionId": session_id} == world.call("ResumeSession", SessionId=session_id)


def test_sessions_are_found_by_what_they_are(world: World) -> None:
    """By target, owner, status or id; filters narrow each other."""
    world.ec2.add(OTHER_BASTION)
    first, second = world.start()["SessionId"], world.start(target=OTHER_BASTION)["SessionId"]

    assert [second, first] == [record["SessionId"] for record in world.sessions()]
    assert [second] == [record["SessionId"] for record in world.sessions(Target=OTHER_BASTION)]
    assert [first] == [record["SessionId"] for record in world.sessions(SessionId=first, Owner=OWNER)]
    assert [] == world.sessions(Target=OTHER_BASTION, SessionId=first)
    assert [] == world.sessions(Status="Connected")


def test_an_ended_session_moves_to_the_history(world: World) -> None:
    """Active and history never show the same session."""
    session_id = world.start()["SessionId"]
    world.call("TerminateSession", SessionId=session_id)

    assert ([], [session_id]) == (world.sessions(), [record["SessionId"] for record in world.sessions("History")])


@pytest.mark.parametrize("key", ["AccessType", "PingStatus", "owner"])
def test_a_filter_of_sessions_that_is_not_emulated_is_refused(world: World, key: str) -> None:
    """A filter without effect would show too much."""
    with pytest.raises(SsmError) as refusal:
        world.sessions(**{key: "x"})
    assert "InvalidFilterKey" == refusal.value.code


def test_sessions_come_in_pages(world: World) -> None:
    """Whoever forgets the next token sees ten of eleven tunnels."""
    started = [world.start()["SessionId"] for _ in range(11)]
    first = world.call("DescribeSessions", State="Active")
    second = world.call("DescribeSessions", State="Active", NextToken=first["NextToken"])

    assert (10, "NextToken" in second) == (len(first["Sessions"]), False)
    assert set(started) == {record["SessionId"] for record in first["Sessions"] + second["Sessions"]}


def test_a_page_is_as_long_as_was_asked_for(world: World) -> None:
    """Three sessions in pages of two."""
    for _ in range(3):
        world.start()

    assert 2 == len(world.call("DescribeSessions", State="Active", MaxResults=2)["Sessions"])


@pytest.mark.parametrize("operation", ["DescribeSessions", "DescribeInstanceInformation"])
def test_a_made_up_token_is_refused(world: World, operation: str) -> None:
    """Tokens are given out, not computed."""
    state = {"State": "Active"} if operation == "DescribeSessions" else {}

    with pytest.raises(SsmError) as refusal:
        world.call(operation, NextToken="1", **state)
    assert "InvalidNextToken" == refusal.value.code


def test_instances_show_whether_their_agents_answer(world: World) -> None:
    """Stopped and terminated ones are left out, as are those that have not started yet."""
    for number, state in enumerate(["pending", "stopping", "stopped", "shutting-down", "terminated"]):
        world.ec2.add(f"i-{number:017x}", state)
    world.ec2.add(OTHER_BASTION, "running", world.clock.now)
    world.manager.agent_version = "3.2.0.0"
    records = world.call("DescribeInstanceInformation")["InstanceInformationList"]

    assert {BASTION: "Online", OTHER_BASTION: "ConnectionLost", f"i-{1:017x}": "ConnectionLost"} == {
        record["InstanceId"]: record["PingStatus"] for record in records
    }
    assert {"3.2.0.0"} == {record["AgentVersion"] for record in records}


def test_instances_are_found_by_id_and_by_answering(world: World) -> None:
    """Filters narrow each other; the values of one are alternatives."""
    world.ec2.add(OTHER_BASTION, "running", world.clock.now)

    def found(**filters: list[str]) -> list[str]:
        conditions = [{"Key": key, "Values": values} for key, values in filters.items()]
        answer = world.call("DescribeInstanceInformation", Filters=conditions)
        return [record["InstanceId"] for record in answer["InstanceInformationList"]]

    assert [OTHER_BASTION] == found(InstanceIds=[OTHER_BASTION])
    assert [BASTION, OTHER_BASTION] == found(InstanceIds=[BASTION, OTHER_BASTION])
    assert [BASTION] == found(InstanceIds=[BASTION, OTHER_BASTION], PingStatus=["Online"])


def test_a_filter_of_instances_that_is_not_emulated_is_refused(world: World) -> None:
    """The stand-in knows no tags."""
    with pytest.raises(SsmError) as refusal:
        world.call("DescribeInstanceInformation", Filters=[{"Key": "tag:Name", "Values": ["bastion"]}])
    assert "InvalidFilterKey" == refusal.value.code


def test_instances_come_in_pages(world: World) -> None:
    """Six instances in pages of five."""
    for number in range(5):
        world.ec2.add(f"i-{number:017x}")
    first = world.call("DescribeInstanceInformation", MaxResults=5)
    second = world.call("DescribeInstanceInformation", MaxResults=5, NextToken=first["NextToken"])

    pages = [page["InstanceInformationList"] for page in (first, second)]
    assert [5, 1] == [len(page) for page in pages]
    assert set(world.ec2) == {record["InstanceId"] for page in pages for record in page}
