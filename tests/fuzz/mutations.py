"""What is tried, and how much of it: the same in every run; with DRAWBRIDGE_FUZZ=20 twenty times as much, and anew each time."""

import os
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

_TIMES = int(os.environ.get("DRAWBRIDGE_FUZZ", "1"))
Path = tuple[Any, ...]

HOSTILE_TEXTS = (
    *(
        "",
        " ",
        "\x00",
        "\ud800",
        "\u202e",
        "\uffff",
        "𝕣",
        "ß",
        "٣h",
        "null",
        "*",
        "..",
        "../..",
        "#",
        "R-ABC234",
        "x" * 300,
    ),
    *(
        "'; DROP ROLE x; --",
        "$(id)",
        "%s",
        "{0}",
        "<!channel>",
        "payload=",
        "\r\n\r\n",
        "9" * 5000,
        "2026-11-21T12:00:00",
    ),
    *("2026-11-21T12:00:00Z", "9999-12-31T23:59:59.999999+00:00", "0001-01-01T00:00:00+14:00", "live", "gone", "true"),
)
HOSTILE_NUMBERS = (0, -1, 1, 2, 60, 2**31, 2**63, -(2**63), 10**400)

texts = st.sampled_from(HOSTILE_TEXTS) | st.text(max_size=12)
leaves = st.none() | st.booleans() | st.sampled_from(HOSTILE_NUMBERS) | st.integers() | texts
json_values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=5
)
"""Whatever JSON can say, and what has broken parsers more often than not."""


def tries(number: int) -> settings:
    """The settings of a test that tries so many things by default."""
    return settings(
        max_examples=number * _TIMES,
        derandomize=_TIMES == 1,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


@st.composite
def mutated_documents(
    draw: st.DrawFn, document: Any, values: st.SearchStrategy[Any] = json_values, most: int = 3
) -> Any:
    """A document in which one to a few things are missing, are something else, are elsewhere, or are there as well."""
    document = deepcopy(document)
    for _ in range(draw(st.integers(1, most))):
        paths = list(_paths(document))
        if not paths:
            break
        *way, last = draw(st.sampled_from(paths))
        holder = document
        for step in way:
            holder = holder[step]
        what = draw(st.sampled_from(("replace", "delete", "take another's", "add")))
        if what == "delete":
            del holder[last]
        elif what == "replace":
            holder[last] = draw(values)
        elif what == "take another's":
            holder[last] = deepcopy(_at(document, draw(st.sampled_from(paths))))
        elif isinstance(holder, dict):
            holder[draw(texts)] = draw(values)
        else:
            holder.insert(last, draw(values))
    return document


def _paths(document: Any, way: Path = ()) -> Iterator[Path]:
    """The way to each thing in a document, but not to the document itself."""
    steps = document if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    for step in steps:
        yield (*way, step)
        yield from _paths(document[step], (*way, step))


def _at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document


@st.composite
def mutated_bytes(draw: st.DrawFn, data: bytes, most: int = 4) -> bytes:
    """Bytes of which some are changed, missing, repeated, moved or added."""
    mutated = bytearray(data)
    for _ in range(draw(st.integers(1, most))):
        start = draw(st.integers(0, len(mutated)))
        end = min(len(mutated), start + draw(st.sampled_from((1, 1, 2, 4, 8, 64, 100_000))))
        piece = bytes(mutated[start:end])
        what = draw(st.sampled_from(("change", "delete", "repeat", "add", "flip", "extreme")))
        if what == "change":
            mutated[start:end] = draw(st.binary(max_size=8))
        elif what == "delete":
            del mutated[start:end]
        elif what == "repeat":
            mutated[start:start] = piece
        elif what == "add":
            mutated[start:start] = draw(st.binary(min_size=1, max_size=16))
        elif what == "flip" and piece:
            mutated[start] ^= 1 << draw(st.integers(0, 7))
        elif piece:
            mutated[start:end] = bytes([draw(st.sampled_from((0x00, 0x7F, 0x80, 0xFF)))]) * len(piece)
    return bytes(mutated)
