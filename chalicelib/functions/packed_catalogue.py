"""The catalogue that a function was packed with, loaded once."""

import json
from functools import cache
from pathlib import Path

from chalicelib.domain.catalogue import Catalogue, read_document
from chalicelib.domain.errors import CatalogueError
from chalicelib.settings import current_settings


def packed_catalogue() -> Catalogue:
    """The catalogue of this stage. Raises CatalogueError."""
    return _load(current_settings().catalogue_file)


@cache
def _load(file: Path) -> Catalogue:
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not what is packed"
        raise CatalogueError(file=file.name, key="(the file)", reason=f"cannot be read: {why}") from error
    return read_document(document, file=file.name)
