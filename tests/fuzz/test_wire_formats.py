"""The wire formats of the stand-ins, damaged: nothing crashes, nobody gets in, and whoever keeps to them is served as before."""

import json
import logging
import os
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.ssm.protocol import (
    Command,
    Frame,
    Message,
    MessageType,
    PayloadType,
    ProtocolError,
    cut_frames,
    json_field,
)
from tests.adapters import test_local_iam_proxy as iam
from tests.adapters import test_local_ssm as ssm
from tests.fuzz.mutations import mutated_bytes, tries

world, echoing, server, door = ssm.world, ssm.echoing, iam.server, iam.door
LET_IN = b"R" + (8).to_bytes(4) + (0).to_bytes(4)
"""What PostgreSQL says to who has logged in."""
DEEP = b'{"a":' * 4_000
answers = st.sampled_from(
    [
        {
            "ClientVersion": "1",
            "ProcessedClientActions": [{"ActionType": "SessionType", "ActionStatus": 1}],
            "Errors": None,
        }
    ]
).map(lambda answer: json.dumps(answer).encode())
messages = st.builds(
    Message,
    st.sampled_from(MessageType),
    st.sampled_from(PayloadType),
    st.binary(max_size=30) | st.sampled_from([DEEP, b"[]", b"null", b'{"AcknowledgedMessageSequenceNumber": 1e400}']),
    st.integers(-1, 3) | st.sampled_from([2**62, -(2**62)]),
    st.integers(0, 3),
)
"""Whole ones, whatever sense they make."""


@pytest.fixture(autouse=True)
def _nothing_is_complained_about(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """An error that nobody caught, in a task of somebody's connection, would be told to asyncio's log."""
    with caplog.at_level(logging.ERROR):
        yield

    assert [] == [record.getMessage() for record in caplog.records if record.name == "asyncio"]


# Session Manager


@tries(600)
@given(messages.flatmap(lambda message: mutated_bytes(message.encode())))
def test_a_message_is_whole_or_none(data: bytes) -> None:
    """What is read as a message has just these bytes."""
    with suppress(ProtocolError):
        assert data == Message.decode(data).encode()


@tries(600)
@given(
    st.lists(
        st.builds(Frame, st.sampled_from(Command), st.integers(0, 2**32 - 1), st.binary(max_size=40)),
        min_size=1,
        max_size=4,
    )
    .map(lambda frames: b"".join(frame.encode() for frame in frames))
    .flatmap(mutated_bytes)
)
def test_a_stream_is_frames_or_none(data: bytes) -> None:
    """What is read as frames has just these bytes, and the rest is left."""
    stream, read = bytearray(data), b""
    with suppress(ProtocolError):
        for frame in cut_frames(stream):
            read += frame.encode()

    assert data == read + stream


@tries(300)
@given(st.binary(max_size=60) | st.just(DEEP) | answers.flatmap(mutated_bytes))
def test_a_field_is_found_or_not(data: bytes) -> None:
    """Whatever stands where JSON should."""
    with suppress(ProtocolError):
        json_field(data, "ProcessedClientActions", 0, "ActionStatus")


def frame_of(payload: bytes, first: int = 0x82) -> bytes:
    """One masked frame of a websocket."""
    size, mask = len(payload), os.urandom(4)
    length = bytes([0x80 | min(size, 126)]) + size.to_bytes(2) if size > 125 else bytes([0x80 | size])
    return bytes([first]) + length + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def read_to_the_end(connection: socket.socket) -> bytes:
    """Everything that comes until the other side closes, as it must within the time that the connection has."""
    read = b""
    with suppress(OSError):  # it may have hung up already
        connection.shutdown(socket.SHUT_WR)
    with suppress(ConnectionError):
        while part := connection.recv(65_536):
            read += part
    return read


def is_served(world: ssm.World) -> bool:
    """Does a client that keeps to the rules get through?"""
    client = world.tunnel()
    client.send_smux(Command.OPEN, 1)
    client.send_smux(Command.DATA, 1, b"hello")
    return client.read_stream(1, 5) == b"hello"


def test_nobody_opens_a_channel_by_a_damaged_request(world: ssm.World, echoing: ssm.Target) -> None:
    """With a token that is not the session's: hung up on, or told to go, and never asked to shake hands."""
    answer = world.start()
    host, port, path = re.fullmatch(r"ws://(127\.0\.0\.1):(\d+)(/.+)", answer["StreamUrl"]).groups()  # type: ignore[union-attr]  # its shape
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    token = frame_of(json.dumps({"TokenValue": "no such token"}).encode(), 0x81)

    @tries(120)
    @given(mutated_bytes(request + token) | st.just(request + frame_of(DEEP, 0x81)))
    def knock(data: bytes) -> None:
        with socket.create_connection((host, int(port)), ssm.WAITING_SECONDS) as connection:
            connection.sendall(data)
            heard = read_to_the_end(connection)

        assert MessageType.OUTPUT_STREAM_DATA.encode() not in heard

    knock()

    assert "Connecting" == world.status(answer["SessionId"])
    assert is_served(world)


def test_no_damaged_message_breaks_more_than_its_own_channel(world: ssm.World, echoing: ssm.Target) -> None:
    """After the handshake: whole messages in an order that makes no sense, and damaged ones."""

    @tries(80)
    @given(
        st.lists(messages, min_size=1, max_size=4).map(lambda sent: b"".join(frame_of(each.encode()) for each in sent))
        | messages.flatmap(lambda message: mutated_bytes(frame_of(message.encode())))
        | messages.flatmap(lambda message: mutated_bytes(message.encode()).map(frame_of))
    )
    def babble(data: bytes) -> None:
        client = world.tunnel()
        client.socket.sendall(data)
        read_to_the_end(client.socket)
        client.close()

    babble()

    assert is_served(world)


def test_no_damaged_handshake_breaks_more_than_its_own_channel(world: ssm.World, echoing: ssm.Target) -> None:
    """What should answer it, damaged within a whole message."""

    @tries(60)
    @given(answers.flatmap(mutated_bytes) | st.just(DEEP))
    def answer(payload: bytes) -> None:
        client = world.open()
        client.receive()
        with suppress(ConnectionError):
            client.send_data(PayloadType.RESPONSE, payload[:60_000])
            read_to_the_end(client.socket)
        client.close()

    answer()

    assert is_served(world)


# The database's door


def forged(user: str = "ana") -> bytes:
    """A login as it should be but for the key that signed its token."""
    token = iam.Token(user=user, secret="another secret").sign()
    return iam.startup_packet(user=user, database="postgres") + iam.password_packet(token)


def test_nobody_logs_in_by_damaged_bytes_in_the_clear(door: iam.Door) -> None:
    """Before TLS nothing is served at all."""

    @tries(120)
    @given(
        mutated_bytes(forged())
        | mutated_bytes(iam.SSL_REQUEST + forged())
        | mutated_bytes(iam.GSSENC_REQUEST + forged())
    )
    def knock(data: bytes) -> None:
        with door.knock() as connection:
            connection.sendall(data)

            assert LET_IN not in read_to_the_end(connection)

    knock()

    assert door.is_serving()


def test_nobody_logs_in_by_damaged_bytes_within_tls(door: iam.Door) -> None:
    """Nor after it by anything but a token that was signed by the right key, for this user."""

    @tries(100)
    @given(st.data())
    def log_in(data: st.DataObject) -> None:
        packets = data.draw(
            mutated_bytes(forged(data.draw(st.sampled_from(["ana", "parked", "postgres", iam.ODD_NAME]))))
        )
        with door.begin_tls() as connection:
            connection.sendall(packets)
            connection.settimeout(0.15)
            heard = b""
            with suppress(OSError, ssl.SSLError):
                while part := connection.recv(65_536):
                    heard += part

        assert LET_IN not in heard

    log_in()

    assert door.is_serving()


def test_no_token_is_good_in_another_spelling(door: iam.Door) -> None:
    """A good one, damaged: the database's own answer to it is no."""
    good, endpoints = door.token(), {f"{iam.WRITER}:{door.proxy.port}"}

    def refusal_of(token: str) -> Any:
        return iam.check_token(
            token,
            endpoints=endpoints,
            user="ana",
            region=iam.REGION,
            now=door.proxy.clock(),
            find_credentials=iam.find_credentials,
        )

    @tries(300)
    @given(mutated_bytes(good.encode()))
    def check(data: bytes) -> None:
        token = data.decode(errors="replace")

        assert token == good or refusal_of(token)

    check()

    assert refusal_of(good) is None
