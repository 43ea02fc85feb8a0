"""How a request is read from the words of a command, and how it gets its id."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import defaults
from chalicelib.domain.errors import InvalidCommandError
from chalicelib.domain.requests import REQUEST_ID, Ask, Origin, describe_request, parse_ask, request_ids
from tests.factories import OPERATE, READ, WRITE, a_request
from tests.strategies import RULE


def ask(location: str = "orders", **words: object) -> Ask:
    plain: dict[str, object] = {"level": OPERATE, "duration_seconds": None, "reason": ""}
    return Ask(location=location, **{**plain, **words})  # type: ignore[arg-type]  # a table of plain words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("orders", ask()),
        ("  orders  ", ask()),
        ("orders r", ask(level=READ)),
        ("orders W", ask(level=WRITE)),
        ("orders write", ask(level=WRITE)),
        ("orders operate", ask(level=OPERATE)),
        ("orders 2h", ask(duration_seconds=7200)),
        ("orders w 2h", ask(level=WRITE, duration_seconds=7200)),
        ("orders 2h w", ask(level=WRITE, duration_seconds=7200)),
        ("orders 1H30M read", ask(level=READ, duration_seconds=5400)),
        ("orders w 2h fix the stuck order", ask(level=WRITE, duration_seconds=7200, reason="fix the stuck order")),
        ("orders fix w 2h", ask(reason="fix w 2h")),
        ("orders w fix 2h", ask(level=WRITE, reason="fix 2h")),
        ("orders w r 2h", ask(level=WRITE, reason="r 2h")),
        ("orders 2h 30m", ask(duration_seconds=7200, reason="30m")),
        ("orders w w", ask(level=WRITE, reason="w")),
        ("orders INC-42 stuck", ask(reason="INC-42 stuck")),
        ("orders\tw\n2h   two  words", ask(level=WRITE, duration_seconds=7200, reason="two words")),
        ("ORDERS", ask("ORDERS")),
        ("orders " + "y" * 800, ask(reason="y" * defaults.REASON_LENGTH)),
    ],
)
def test_a_command_is_read_as_people_type_it(text: str, expected: Ask) -> None:
    """Location first; level and duration in either order; the rest is the reason."""
    assert expected == parse_ask(text)


@pytest.mark.parametrize(
    "word", ["2", "42", "0m", "0h", "1.5h", "1,5h", "-2h", "+2h", "2weeks", "2hours", "30min", "99999999h"]
)
def test_a_word_that_looks_like_a_duration_and_is_none_is_not_taken_for_a_reason(word: str) -> None:
    """Whoever types '2weeks' must not get the default hour and believe otherwise."""
    with pytest.raises(InvalidCommandError, match=r"is no duration\. Write it like 30m, 2h or 1h30m"):
        parse_ask(f"orders w {word}")


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_a_command_without_a_location_is_answered_with_how_to_write_one(text: str) -> None:
    """The help stands in the answer."""
    with pytest.raises(InvalidCommandError, match=r"Which location\? Type /db-access LOCATION"):
        parse_ask(text)


def test_three_thousand_characters_are_refused_with_their_number() -> None:
    """Slack lets people paste that much; nothing of it is echoed."""
    with pytest.raises(InvalidCommandError, match="3000 characters long; 1000 is the most") as caught:
        parse_ask("orders " + "x" * 2993)

    assert len(str(caught.value)) < 200


@RULE
@given(st.text(max_size=1200))
def test_whatever_is_typed_is_read_or_refused(text: str) -> None:
    """No text makes the reading fail in another way, and what is read is bounded."""
    read: Ask | InvalidCommandError
    try:
        read = parse_ask(text)
    except InvalidCommandError as refusal:
        read = refusal

    if isinstance(read, InvalidCommandError):
        assert len(str(read)) < 300
    else:
        assert len(read.reason) <= defaults.REASON_LENGTH
        assert read.location
        assert read.duration_seconds is None or read.duration_seconds > 0


def test_the_same_origin_always_gives_the_same_ids() -> None:
    """So a repeated delivery finds what the first one filed."""
    assert list(request_ids(Origin.SLACK, "trigger-1")) == list(request_ids(Origin.SLACK, "trigger-1"))


@RULE
@given(st.lists(st.text(), unique=True, min_size=2, max_size=20))
def test_different_origins_get_different_ids(origins: list[str]) -> None:
    """And each has spare ones, for the day when two collide."""
    ids = [request_id for origin in origins for request_id in request_ids(Origin.SLACK, origin)]

    assert 5 * len(origins) == len(set(ids))


@RULE
@given(st.text())
def test_an_id_can_be_typed_by_a_person(origin: str) -> None:
    """Six characters of which none is read as another."""
    for request_id in request_ids(Origin.SLACK, origin):
        assert REQUEST_ID.fullmatch(request_id)
        assert not set("01ILOU") & set(request_id.removeprefix("R-"))


def test_a_request_is_described_without_the_person() -> None:
    """The card says who; this says what."""
    assert ("write access to orders-prod for 1 hour 30 minutes") == describe_request(
        a_request(level=WRITE, duration_seconds=5400)
    )
