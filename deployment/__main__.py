"""`python -m deployment`: the operator's program. It prints what somebody else has to run, and never runs it itself."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from chalicelib.domain.catalogue import load_catalogue
from chalicelib.domain.errors import CatalogueError, UnknownLocationError
from chalicelib.postgres.owner_setup import owner_setup

_MAJORS = range(14, 19)


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status: 0 done, 1 with one sentence that says what to correct."""
    parser = argparse.ArgumentParser(prog="python -m deployment", description="Run Drawbridge.")
    areas = parser.add_subparsers(dest="area", required=True)
    verbs = areas.add_parser("location", help="what a location needs").add_subparsers(dest="verb", required=True)
    sql = verbs.add_parser("sql", help="print the SQL that the owner of a location's database runs once")
    sql.add_argument("name", help="the location's name in the catalogue")
    sql.add_argument(
        "--locations",
        default=os.environ.get("LOCATIONS", ""),
        help="the catalogue; $LOCATIONS unless it is given",
    )
    sql.add_argument("--postgresql", type=int, choices=_MAJORS, default=16, help="the server's major version (16)")
    given = parser.parse_args(arguments)
    try:
        print(_location_sql(given.name, given.locations, given.postgresql))
    except (CatalogueError, UnknownLocationError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _location_sql(name: str, file: str, major: int) -> str:
    if not file:
        raise CatalogueError(
            file="The catalogue", key="its file", reason="is not named. Set LOCATIONS, or give --locations."
        )
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogueError(file=file, key="(the file)", reason=f"cannot be read: {error}") from error
    location = load_catalogue(text, file=file).require_location(name)
    return owner_setup(database=location.database, server_version=major * 10_000)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
