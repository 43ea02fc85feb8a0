"""The OpenAPI description of the API: its routes from the app, its fields from the very classes that are read and answered."""

import argparse
import json
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import datetime
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from chalicelib.domain import api_answers as answers
from chalicelib.domain.api_bodies import About, AskBody, ExtensionBody
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.requests import REQUEST_ID

FILE = Path(__file__).parents[1] / "docs" / "openapi.json"
_Schemas = dict[str, Any]
_TYPES = {str: "string", int: "integer", bool: "boolean"}
_FAILURES = {
    400: "The body or a parameter cannot be read (code bad_request); the message names it.",
    403: "The catalogue does not know the caller (code unknown_caller), or policy refuses (code refused). Where the gateway"
    " itself refuses, there is no `error` but a `message`: the call is not signed, signed wrongly, long ago or with a key of"
    " another account; or a `Message`: no policy of the caller's allows execute-api:Invoke.",
    404: "There is no such location, or none of the caller's requests has this id (code not_found).",
    409: "Too many of the caller's requests are open (code too_many).",
    503: "Drawbridge cannot answer at the moment (code unavailable); to repeat the call with the same origin_id is safe.",
}
_USUAL = (403, 503)
_ABOUT = "Write docs/openapi.json anew: the description of the API that the terminal client uses."


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What stands behind a method of a path. ``answered`` says which class each status bears."""

    summary: str
    answered: Mapping[int, tuple[type, str]]
    failures: tuple[int, ...] = ()
    body: type | None = None
    query: Mapping[str, tuple[Any, str]] | None = None


OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/v1/locations"): Operation(
        summary="Who calls, and what they may ask for.",
        answered={200: (answers.Locations, "The caller, and the locations with a level for them.")},
    ),
    ("GET", "/v1/locations/{location}/explanation"): Operation(
        summary="Which rule applies to the caller, and what it comes to.",
        answered={200: (answers.ExplanationAnswer, "The rule.")},
        failures=(400, 404),
        query={"level": (PermissionLevel, "The level; o unless given.")},
    ),
    ("GET", "/v1/requests"): Operation(
        summary="The caller's own requests.",
        answered={200: (answers.Requests, "Those that have not ended, and the last ones that have.")},
    ),
    ("POST", "/v1/requests"): Operation(
        summary="Ask for access.",
        body=AskBody,
        answered={
            200: (answers.FiledAnswer, "Nothing new: it is held, or was asked already by another ask."),
            201: (answers.FiledAnswer, "Asked; likewise when an ask is repeated with its origin_id."),
        },
        failures=(400, 404, 409),
    ),
    ("GET", "/v1/requests/{request_id}"): Operation(
        summary="Where a request stands; ask again while it goes on.",
        answered={200: (answers.RequestAnswer, "The request, in the state ready with its connection.")},
        failures=(404,),
    ),
    ("DELETE", "/v1/requests/{request_id}"): Operation(
        summary="Cancel a request that waits, end access that is held. To repeat it changes nothing.",
        answered={202: (answers.RequestAnswer, "It is recorded; follow the request to its end.")},
        failures=(404,),
    ),
    ("POST", "/v1/requests/{request_id}/extensions"): Operation(
        summary="Ask for a later end of access that is held.",
        body=ExtensionBody,
        answered={
            200: (answers.RequestAnswer, "Nothing new: another ask for the same extension is open."),
            201: (answers.RequestAnswer, "Asked: the extension is a request of its own, which may need an approval."),
        },
        failures=(400, 404, 409),
    ),
}
_PARAMETERS = {"location": {"type": "string"}, "request_id": {"type": "string", "pattern": f"^{REQUEST_ID.pattern}$"}}


def description(routes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The document, for the app's routes that callers sign. Raises KeyError for a route without an operation here."""
    schemas: _Schemas = {}
    paths: dict[str, Any] = {}
    for path, methods in sorted(routes.items()):
        signed = {method for method, entry in methods.items() if entry.authorizer is not None}
        if signed:
            paths[path] = {method.lower(): _operation(method, path, schemas) for method in sorted(signed)}
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Drawbridge",
            "version": "1",
            "description": "Short-lived, per-person access to private databases, for the terminal client and for pipelines. "
            "Every call is signed with AWS Signature Version 4 for the service execute-api. No call returns a database token: "
            "callers sign those themselves, with the AWS identity that they call with.",
        },
        "servers": [{"url": "{address}", "variables": {"address": _address()}}],
        "security": [{"sigv4": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "sigv4": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "AWS Signature Version 4.",
                    "x-amazon-apigateway-authtype": "awsSigv4",
                }
            },
        },
    }


def text_of(document: Mapping[str, Any]) -> str:
    """As the file has it."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def current_routes() -> Mapping[str, Mapping[str, Any]]:
    """The app's."""
    routes: Mapping[str, Mapping[str, Any]] = import_module("app").app.routes
    return routes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""
    parser.description = _ABOUT


def openapi(_: argparse.Namespace) -> int:
    """Write the file. Returns the exit status."""
    FILE.write_text(text_of(description(current_routes())), encoding="utf-8")
    print(f"Wrote {FILE.name}.")
    return 0


def _address() -> dict[str, str]:
    about = "The output ApiAddress of the stage's stack."
    return {"default": "https://example.execute-api.eu-west-1.amazonaws.com/api", "description": about}


def _operation(method: str, path: str, schemas: _Schemas) -> dict[str, Any]:
    operation = OPERATIONS[method, path]
    said: dict[str, Any] = {"summary": operation.summary}
    if parameters := list(_parameters(path, operation, schemas)):
        said["parameters"] = parameters
    if operation.body is not None:
        said["requestBody"] = {"required": True, "content": _content(operation.body, schemas)}
    said["responses"] = {
        str(status): {"description": about, "content": _content(kind, schemas)}
        for status, (kind, about) in operation.answered.items()
    } | {
        str(status): {"description": _FAILURES[status], "content": _content(answers.FailureAnswer, schemas)}
        for status in sorted({*_USUAL, *operation.failures})
    }
    return said


def _parameters(path: str, operation: Operation, schemas: _Schemas) -> Iterator[dict[str, Any]]:
    for name, schema in _PARAMETERS.items():
        if f"{{{name}}}" in path:
            yield {"name": name, "in": "path", "required": True, "schema": schema}
    for name, (kind, about) in (operation.query or {}).items():
        yield {"name": name, "in": "query", "description": about, "schema": _schema(kind, schemas)}


def _content(kind: type, schemas: _Schemas) -> dict[str, Any]:
    return {"application/json": {"schema": _schema(kind, schemas)}}


def _schema(kind: Any, schemas: _Schemas) -> dict[str, Any]:
    """The schema of a type; that of a class stands among the components, under its name."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _described(_schema(inner[0], schemas), *inner[1:])
    if origin in {Union, types.UnionType}:
        (given,) = (option for option in inner if option is not type(None))
        found = _schema(given, schemas)
        return {"allOf": [found], "nullable": True} if "$ref" in found else {**found, "nullable": True}
    if origin is tuple:
        return {"type": "array", "items": _schema(inner[0], schemas)}
    if origin is not None:
        return {"type": "object", "additionalProperties": _schema(inner[1], schemas)}
    if is_dataclass(kind):
        return _component(kind, schemas)
    if kind is datetime:
        return {"type": "string", "format": "date-time"}
    if issubclass(kind, Enum):
        return {"type": "string", "enum": [member.value for member in kind]}
    return {"type": _TYPES[kind]}


def _component(kind: Any, schemas: _Schemas) -> dict[str, Any]:
    name = kind.__name__
    if name not in schemas:
        schemas[name] = {}  # so that its place is taken, should it refer to itself
        hints = get_type_hints(kind, include_extras=True)
        schemas[name] = {
            "type": "object",
            "description": (kind.__doc__ or "").partition("\n")[0],
            "properties": {field.name: _schema(hints[field.name], schemas) for field in fields(kind)},
            "required": [field.name for field in fields(kind) if field.default is MISSING],
            "additionalProperties": False,
        }
    return {"$ref": f"#/components/schemas/{name}"}


def _described(schema: dict[str, Any], about: About) -> dict[str, Any]:
    """With what is said of a field. Beside a reference nothing may stand, so that it moves into a list of one."""
    described = {"allOf": [schema]} if "$ref" in schema else dict(schema)
    described["description"] = about.text[:1].upper() + about.text[1:] + "."
    names = ("minLength", "maxLength") if schema.get("type") == "string" else ("minimum", "maximum")
    described |= {
        name: bound for name, bound in zip(names, (about.least, about.most), strict=True) if bound is not None
    }
    if about.pattern:
        described["pattern"] = f"^(?:{about.pattern})$"
    return described
