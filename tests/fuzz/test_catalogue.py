"""Catalogues with mistakes in them: each is loaded as a sound one or refused by a CatalogueError, and by nothing else."""

import json
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.catalogue_text import load_catalogue
from chalicelib.domain.errors import CatalogueError
from tests.fuzz.mutations import HOSTILE_TEXTS, json_values, mutated_bytes, mutated_documents, tries

TEXT = (Path(__file__).parents[2] / "docs" / "catalogue.toml").read_text(encoding="utf-8")
DOCUMENT = tomllib.loads(TEXT)
SPELLINGS = (
    "inf",
    "-inf",
    "nan",
    "1e400",
    "0x7fffffffffffffffffff",
    "2026-11-21",
    "07:00:00",
    '"\\u0000"',
    "''''''",
    "[[",
    "1_0",
)
values = json_values | st.floats() | st.just(date(2026, 11, 21))


def to_toml(document: dict[str, Any]) -> str:
    """A document as TOML, each of its keys on a line of its own; whatever TOML cannot say becomes a text."""
    return "\n".join(f"{_text(key)} = {_inline(value)}" for key, value in document.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)} = {_inline(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, bool | int | float):
        return str(value).lower()
    return str(value) if isinstance(value, date) else _text(value)


def _text(value: Any) -> str:
    return json.dumps(str(value).encode(errors="replace").decode(), ensure_ascii=True).replace("\\ud", "\\u00")


def load(text: str) -> Catalogue | None:
    """The catalogue, or None where it was refused as it should be."""
    try:
        return load_catalogue(text, file="catalogue.toml")
    except CatalogueError:
        return None


def find_faults(catalogue: Catalogue) -> list[str]:
    """What no loaded catalogue may allow, whatever stood in its file."""
    slack = [person.slack for person in catalogue.people.values()]
    faults = ["two names for one Slack user"] if len(slack) > len(set(slack)) else []
    for name, location in catalogue.locations.items():
        faults += [f"{name} has no level"] if not location.levels else []
        faults += [f"{name} is on an unknown bastion"] if location.bastion not in catalogue.bastions.values() else []
        faults += [f"{name} has the port {location.port}"] if not 1024 <= location.port <= 65535 else []
        for level, rule in location.levels.items():
            unknown = {*rule.who, *rule.approvers} - {"*", *catalogue.people}
            faults += [f"{name} {level} names {unknown}"] if unknown or "*" in rule.approvers else []
            faults += [f"{name} {level} lasts {rule.cap_seconds}"] if not 0 < rule.cap_seconds <= 86_400 else []
            faults += [f"{name} {level} needs {rule.needed}"] if rule.needed < 1 else []
    return faults


def test_the_example_is_sound_as_it_is_and_as_it_is_written_here() -> None:
    """Else the mistakes below would be mistakes of these tests."""
    again = load(to_toml(DOCUMENT))

    assert again is not None
    assert load(TEXT) == again
    assert [] == find_faults(again)


@tries(500)
@given(mutated_documents(DOCUMENT, values))
def test_no_mistake_in_a_key_or_a_value_gets_past_the_loader(document: dict[str, Any]) -> None:
    """Whatever is missing, moved, added or of another kind: a CatalogueError, or a catalogue that is sound."""
    loaded = load(to_toml(document))

    assert loaded is None or [] == find_faults(loaded)


@tries(500)
@given(mutated_bytes(TEXT.encode()))
def test_no_slip_of_the_keyboard_gets_past_the_loader(content: bytes) -> None:
    """The same for the text itself."""
    loaded = load(content.decode(errors="surrogateescape"))

    assert loaded is None or [] == find_faults(loaded)


@tries(400)
@given(st.data())
def test_no_spelling_of_a_value_gets_past_the_loader(data: st.DataObject) -> None:
    """What TOML can write and JSON cannot, and what it can barely read."""
    lines = TEXT.splitlines()
    number = data.draw(st.sampled_from([number for number, line in enumerate(lines) if " = " in line]))
    odd = st.sampled_from([*SPELLINGS, *HOSTILE_TEXTS]) | st.integers(0, 10**500).map(str)
    lines[number] = lines[number].partition(" = ")[0] + " = " + data.draw(odd)
    loaded = load("\n".join(lines))

    assert loaded is None or [] == find_faults(loaded)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("budget = " + "9" * 5000, id="a number of five thousand digits"),
        pytest.param("budget = " + "9" * 400, id="a number beyond all floating-point numbers"),
        pytest.param("budget = " + "[" * 5000, id="a list in a list in a list"),
        pytest.param("budget = " + "{a = " * 5000, id="a table in a table in a table"),
        pytest.param("a." * 5000 + "a = 1", id="a key of five thousand parts"),
        pytest.param("\n".join(f"[{'a.' * number}a]" for number in range(300)), id="tables below tables"),
    ],
)
def test_what_is_too_much_for_the_parser_is_a_mistake_like_any_other(text: str) -> None:
    """It is named, where it used to end the loader."""
    with pytest.raises(CatalogueError):
        load_catalogue(text, file="catalogue.toml")
