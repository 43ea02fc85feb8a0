"""The file in which a stage's catalogue is kept: the option that names it, what it says, and what functions are packed with."""

import argparse
import hashlib
import os
from pathlib import Path

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.catalogue_text import load_catalogue, pack_catalogue
from chalicelib.domain.errors import CatalogueError


def add_locations_argument(parser: argparse.ArgumentParser, *, more: str = "") -> None:
    """Which catalogue is read. ``more`` completes what its help says."""
    parser.add_argument(
        "--locations",
        metavar="FILE",
        default=os.environ.get("LOCATIONS", ""),
        help=f"the catalogue; $LOCATIONS unless it is given{more}",
    )


def read_catalogue(file: str) -> Catalogue:
    """What the file says. Raises CatalogueError."""
    return load_catalogue(_read_text(file), file=file)


def packed_catalogue(file: str) -> str:
    """What the file says, as functions are packed with it. Raises CatalogueError."""
    return pack_catalogue(_read_text(file), file=file)


def catalogue_hash(file: str) -> str:
    """Of what is packed: comments make no difference. Raises CatalogueError."""
    return hashlib.sha256(packed_catalogue(file).encode()).hexdigest()


def _read_text(file: str) -> str:
    if not file:
        raise CatalogueError(
            file="The catalogue", key="its file", reason="is not named. Set LOCATIONS, or give --locations."
        )
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogueError(file=file, key="(the file)", reason=f"cannot be read: {error}") from error
