"""Packets as the documentation of PostgreSQL draws them, whatever is in them."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawbridge import postgres_wire as wire
from drawbridge.postgres_wire import Startup, VersionError, WireError

VERSION = b"\0\x03\0\0"
TEXTS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=20)


async def read(data: bytes, *, message: bool = False) -> bytes | tuple[bytes, bytes]:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return await (wire.read_message(reader, 1000) if message else wire.read_packet(reader))


def test_a_startup_packet_byte_by_byte() -> None:
    """Length, version, pairs of texts, and a zero at the end."""
    packet = b"\0\0\0\x21\0\x03\0\0user\0ana\0database\0depot\0\0"
    startup = Startup(version=VERSION, parameters={"user": "ana", "database": "depot"})

    assert packet == startup.encode()
    assert startup == Startup.decode(packet)


@given(st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=5))
def test_a_startup_packet_comes_back_as_it_was(parameters: dict[str, str]) -> None:
    """In every writing."""
    startup = Startup(version=VERSION, parameters=parameters)

    assert startup == Startup.decode(startup.encode())


@given(st.binary(max_size=60))
def test_values_in_another_encoding_come_back_as_they_were(value: bytes) -> None:
    """A client may not use UTF-8 before it said what it uses."""
    value = value.replace(b"\0", b"")
    packet = b"\0\0\0\0" + VERSION + b"application_name\0" + value + b"\0\0"

    assert packet[4:] == Startup.decode(packet).encode()[4:]


@given(st.binary(max_size=60))
def test_any_bytes_are_a_startup_packet_or_none(junk: bytes) -> None:
    """Nothing else is raised, and what is taken comes back."""
    packet = (len(junk) + 8).to_bytes(4) + VERSION + junk
    try:
        startup = Startup.decode(packet)
    except WireError:
        return

    assert all(name for name in startup.parameters)
    assert startup == Startup.decode(startup.encode())


@pytest.mark.parametrize("version", [b"\0\x02\0\0", b"\0\x04\0\0", b"GET "])
def test_another_major_version_is_told_apart(version: bytes) -> None:
    """Its sender can read an answer."""
    with pytest.raises(VersionError):
        Startup.decode(b"\0\0\0\x09" + version + b"\0")


@pytest.mark.parametrize(
    ("packet", "is_one"),
    [
        (b"\0\0\0\x10\x04\xd2\x16\x2e" + b"k" * 8, True),
        (b"\0\0\x01\x0c\x04\xd2\x16\x2e" + b"k" * 260, True),
        (b"\0\0\x01\x0d\x04\xd2\x16\x2e" + b"k" * 261, False),
        (wire.SSL_REQUEST, False),
        (Startup(version=VERSION, parameters={}).encode(), False),
    ],
)
def test_a_request_to_cancel_is_known_by_its_code(packet: bytes, is_one: bool) -> None:
    """Its key has up to 256 bytes in protocol 3.2."""
    assert is_one == wire.is_cancel_request(packet)


@pytest.mark.parametrize("length", [0, 4, 7, 10_001, 2**31, 2**32 - 1])
def test_a_packet_of_impossible_length_is_not_waited_for(length: int) -> None:
    """It is refused by its first four bytes."""
    with pytest.raises(WireError, match=f"a message of {length} bytes"):
        asyncio.run(read(length.to_bytes(4)))


@pytest.mark.parametrize("data", [b"R\0\0\0\x03", b"R\0\0\x03\xe9", b"R\xff\xff\xff\xff"])
def test_a_message_of_impossible_length_is_not_waited_for(data: bytes) -> None:
    """Of a server that is none."""
    with pytest.raises(WireError):
        asyncio.run(read(data, message=True))


@given(st.sampled_from([b"R", b"E", b"Z"]), st.binary(max_size=900))
def test_a_message_comes_back_as_it_was(kind: bytes, body: bytes) -> None:
    """Type and content."""
    assert (kind, body) == asyncio.run(read(wire.message(kind, body), message=True))


@given(st.dictionaries(st.sampled_from("CMDHW"), TEXTS.filter(bool)))
def test_an_error_comes_back_as_it_was(fields: dict[str, str]) -> None:
    """And is fatal."""
    response = wire.error_response(fields)

    assert b"E" == response[:1]
    assert {"S": "FATAL", "V": "FATAL", **fields} == wire.error_fields(response[5:])


def test_an_error_cannot_be_split() -> None:
    """A zero in a sentence would end it and begin another field."""
    response = wire.error_response({"M": "one\0Ctwo"})

    assert {"S": "FATAL", "V": "FATAL", "M": "one Ctwo"} == wire.error_fields(response[5:])
