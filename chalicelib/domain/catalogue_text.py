"""The catalogue as people write it, in TOML, and as functions are packed with it. No function on AWS reads TOML: parsing fifty
people and twenty locations would be a part of every cold start.
"""

import json
import tomllib
from typing import Any

from chalicelib.domain.catalogue import Catalogue, read_document
from chalicelib.domain.errors import CatalogueError


def load_catalogue(text: str, *, file: str) -> Catalogue:
    """Read a catalogue from TOML. ``file`` names it in errors. Raises CatalogueError, as read_document does, and for bad TOML."""
    return read_document(_parse(text, file), file=file)


def pack_catalogue(text: str, *, file: str) -> str:
    """The JSON with which functions are packed. Raises CatalogueError for what cannot be loaded."""
    document = _parse(text, file)
    read_document(document, file=file)
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _parse(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # what is too long or too deep for the parser is no error of its own
        raise CatalogueError(file=file, key="(the file)", reason=f"is not TOML: {error}") from error
