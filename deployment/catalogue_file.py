"""The operator's catalogue: the option that names its file, and the reader of it."""

import argparse
import os
from pathlib import Path

from chalicelib.domain.catalogue import Catalogue, load_catalogue
from chalicelib.domain.errors import CatalogueError


def add_locations_argument(parser: argparse.ArgumentParser, *, more: str = "") -> None:
    """Which catalogue is read. ``more`` completes what its help says."""
    parser.add_argument(
        "--locations",
        metavar="FILE",
        default=os.environ.get("LOCATIONS", ""),
        help=f"the catalogue; $LOCATIONS unless it is given{more}",
    )


def read_catalogue(catalogue: str) -> Catalogue:
    """What the catalogue's file says. Raises CatalogueError."""
    if not catalogue:
        raise CatalogueError(
            file="The catalogue", key="its file", reason="is not named. Set LOCATIONS, or give --locations."
        )
    try:
        text = Path(catalogue).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogueError(file=catalogue, key="(the file)", reason=f"cannot be read: {error}") from error
    return load_catalogue(text, file=catalogue)
