"""What callers of the API send is read field by field, and what cannot be is named with what to write instead."""

import json
from contextlib import suppress
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.api_bodies import LONGEST_BODY, AskBody, BodyError, ExtensionBody, read_body, read_level
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.requests import Ask

LEAST = {"location": "orders-prod", "reason": "", "origin_id": "run-42"}
WHOLE = LEAST | {"level": "w", "duration_seconds": 60, "environment": "prod", "region": "eu-west-1"}
WHOLE |= {"port": 50001, "profile": "dev"}
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def read(given: Any) -> AskBody:
    return read_body(AskBody, json.dumps(given).encode())


def test_what_is_not_said_is_left_open() -> None:
    """The usual level, and no duration, port or profile of its own."""
    expected = Ask(location="orders-prod", level=PermissionLevel.OPERATE, duration_seconds=None, reason="")

    assert expected == read(LEAST).ask


def test_everything_that_is_said_is_kept() -> None:
    """Field by field."""
    body = read(WHOLE)

    assert WHOLE == {name: getattr(body, name) for name in WHOLE}
    assert WHOLE == {name: getattr(body.ask, name) for name in WHOLE if name != "origin_id"} | {"origin_id": "run-42"}


@pytest.mark.parametrize("name", LEAST)
def test_what_must_be_said_is_missed(name: str) -> None:
    """By its name."""
    with pytest.raises(BodyError, match=f"^'{name}' is missing: write "):
        read({key: value for key, value in LEAST.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("location", ""),
        ("location", "x" * 64),
        ("location", None),
        ("location", 5),
        ("reason", "x" * 301),
        ("reason", "half a character: \ud800"),
        ("origin_id", ""),
        ("origin_id", "two words"),
        ("origin_id", "x" * 65),
        ("origin_id", "line\n"),
        ("level", "x"),
        ("level", "read"),
        ("level", ["r"]),
        ("duration_seconds", 0),
        ("duration_seconds", -1),
        ("duration_seconds", 604_801),
        ("duration_seconds", True),
        ("duration_seconds", 60.0),
        ("duration_seconds", "60"),
        ("port", 80),
        ("port", 65_536),
        ("profile", "$(id)"),
        ("profile", "-x"),
        ("environment", {}),
        ("region", "x" * 64),
    ],
)
def test_what_is_not_possible_is_refused_by_its_name(name: str, value: Any) -> None:
    """With what to write."""
    with pytest.raises(BodyError, match=f"^'{name}' (cannot be read|is not possible): write "):
        read(LEAST | {name: value})


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 10_000, "no JSON"),
        (b"1" * 5000, "no JSON"),
        (b"[]", "no object"),
        (b'"text"', "no object"),
        (b"null", "no object"),
        (b" " * (LONGEST_BODY + 1), "16385 bytes long; 16384 is the most"),
        (json.dumps(LEAST | {"is_break_glass": True}).encode(), "no field 'is_break_glass'"),
    ],
)
def test_a_body_that_is_none_is_refused(raw: bytes, reason: str) -> None:
    """Whatever was sent, somebody reads why."""
    with pytest.raises(BodyError, match=reason):
        read_body(AskBody, raw)


@given(st.dictionaries(st.sampled_from([field.name for field in fields(AskBody)]), anything) | anything)
def test_nothing_else_is_raised(given: Any) -> None:
    """Every body is read or refused, and what is read keeps to the bounds."""
    body = None
    with suppress(BodyError):
        body = read(given)

    assert body is None or 1 <= len(body.location) <= 63
    assert body is None or body.duration_seconds is None or body.duration_seconds > 0


@given(st.integers())
def test_an_extension_is_of_some_seconds(seconds: int) -> None:
    """Of one at least."""
    raw = json.dumps({"duration_seconds": seconds, "origin_id": "x"}).encode()
    if 1 <= seconds <= 604_800:
        assert seconds == read_body(ExtensionBody, raw).duration_seconds
    else:
        with pytest.raises(BodyError, match="'duration_seconds' is not possible"):
            read_body(ExtensionBody, raw)


@pytest.mark.parametrize(("text", "level"), [(None, "o"), ("", "o"), ("r", "r"), ("write", "w")])
def test_a_level_is_read(text: str | None, level: str) -> None:
    """By its letter or word."""
    assert PermissionLevel(level) == read_level(text)


def test_a_level_that_is_none_is_named() -> None:
    """With what there is."""
    with pytest.raises(BodyError, match="'level' cannot be read: write r for read"):
        read_level("x")
