"""The description of the API is the one that the code gives: its routes, its fields, and nothing else."""

import json
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

import app
from chalicelib.domain import api_answers, api_bodies
from deployment.openapi import FILE, OPERATIONS, current_routes, description, text_of

DOCUMENT = json.loads(FILE.read_text(encoding="utf-8"))
CLASSES = {
    name: kind
    for module in (api_answers, api_bodies)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == module.__name__ and name != "About"
}
ROUTES = {
    (method, path)
    for path, methods in app.app.routes.items()
    for method, entry in methods.items()
    if path[:4] == "/v1/"
}


def test_the_file_is_current() -> None:
    """Otherwise: python -m deployment openapi."""
    assert FILE.read_text(encoding="utf-8") == text_of(description(current_routes()))


def test_every_route_of_the_api_is_described_and_no_other() -> None:
    """By method and path."""
    described = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}

    assert ROUTES == described == set(OPERATIONS)


def test_every_route_but_slack_s_is_signed() -> None:
    """A route without an authorizer would be open to the world."""
    unsigned = {path for path, methods in app.app.routes.items() for entry in methods.values() if not entry.authorizer}

    assert {"/slack/events"} == unsigned


@pytest.mark.parametrize("name", CLASSES)
def test_every_field_is_described(name: str) -> None:
    """With its words, and under its name."""
    schema = DOCUMENT["components"]["schemas"][name]

    assert [field.name for field in fields(CLASSES[name])] == list(schema["properties"])
    assert all(each["description"] for each in schema["properties"].values())


def test_every_reference_leads_somewhere() -> None:
    """And nothing stands there that nobody refers to."""
    referred = set(_references(DOCUMENT))

    assert {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]} == referred


def test_no_answer_has_room_for_a_token() -> None:
    """Whoever adds such a field has to delete this."""
    named = {name for kind in CLASSES.values() for name in (field.name for field in fields(kind))}

    assert set() == {name for name in named if any(word in name for word in ("token", "password", "secret", "key"))}


def test_every_failure_is_described_with_every_operation() -> None:
    """Each may meet an unknown caller, and a ledger that does not answer."""
    answers = [set(operation["responses"]) for methods in DOCUMENT["paths"].values() for operation in methods.values()]

    assert all({"403", "503"} <= each for each in answers)


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [each for inner in value.values() for each in _references(inner)]
    return [each for inner in value for each in _references(inner)] if isinstance(value, list) else []
