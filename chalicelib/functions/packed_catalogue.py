"""The catalogue that a function was packed with, loaded once."""

from functools import cache
from pathlib import Path

from chalicelib.domain.catalogue import Catalogue, load_catalogue
from chalicelib.domain.errors import CatalogueError
from chalicelib.settings import current_settings


def packed_catalogue() -> Catalogue:
    """The catalogue of this stage. Raises CatalogueError."""
    return _load(current_settings().catalogue_file)


@cache
def _load(file: Path) -> Catalogue:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error.reason
        raise CatalogueError(file=str(file.name), key="(the file)", reason=f"cannot be read: {why}") from error
    return load_catalogue(text, file=file.name)
