"""What a piece of a template refers to: parameters, resources and conditions by their names."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_PLACE = re.compile(r"\$\{(?!!)([\w:]+)(?:\.[\w.]+)?\}")


def references(value: Any) -> set[str]:
    """The names behind every Ref, Fn::GetAtt, Fn::Sub and DependsOn, AWS's own pseudo parameters left out."""
    return {name for name in _references(value) if not name.startswith("AWS::")}


def conditions(value: Any) -> set[str]:
    """The names of the conditions that something depends on. A policy statement's Condition is none: it is no text."""
    return set(_conditions(value))


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "Ref":
                yield inner
            elif key == "Fn::GetAtt":
                yield inner.partition(".")[0] if isinstance(inner, str) else inner[0]
            elif key == "Fn::Sub":
                text, given = (inner, {}) if isinstance(inner, str) else inner
                yield from (name for name in _PLACE.findall(text) if name not in given)
                yield from _references(given)
            elif key == "DependsOn":
                yield from [inner] if isinstance(inner, str) else inner
            else:
                yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _conditions(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "Condition" and isinstance(inner, str):
                yield inner
            elif key == "Fn::If":
                yield inner[0]
                yield from _conditions(inner[1:])
            else:
                yield from _conditions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _conditions(inner)
