"""The manifest of a deployment's Slack app: its own address filled in, and no scope that it does not use."""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from chalicelib import slack
from chalicelib.domain.errors import SettingsError
from deployment.catalogue_file import add_locations_argument, read_catalogue

_MANIFEST = Path(slack.__path__[0]) / "manifest.json"
_PLACE, _EVENTS = "https://API", "/slack/events"
_ADDRESS = re.compile(r"https://(?:[a-z0-9-]+\.)+[a-z]{2,}(?::\d+)?(?:/[\w.~-]+)*", re.ASCII | re.IGNORECASE)
_GROUPS_SCOPE = "usergroups:read"
_USAGE = "Give the address that the deployment printed, such as https://abc123.execute-api.eu-west-1.amazonaws.com/api."
_ABOUT = """
Print the manifest of the Slack app, with the API's address filled in and no scope that this catalogue does not need. Paste it
where Slack's "Create an app" offers "From an app manifest".
"""
_NO_CATALOGUE = (
    "No catalogue is named, so the manifest lacks the scope usergroups:read. If yours has approver_groups, set LOCATIONS or "
    "give --locations."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the API is, and whose manifest."""
    parser.description = _ABOUT
    add_locations_argument(parser)
    parser.add_argument("url", metavar="URL", help="where the API is, as the deployment printed it")


def manifest(given: argparse.Namespace) -> int:
    """Print the manifest. Returns the exit status. Raises SettingsError and CatalogueError."""
    return print_manifest(given.url, catalogue=given.locations)


def print_manifest(url: str, *, catalogue: str) -> int:
    """Print what "Create app from manifest" takes, and nothing else. Raises SettingsError and CatalogueError."""
    address = _require_address(url)
    if not catalogue:
        print(_NO_CATALOGUE, file=sys.stderr)
    asks_groups = bool(catalogue) and any(
        rule.approver_groups for location in read_catalogue(catalogue).locations.values() for rule in location.all_rules
    )
    print(json.dumps(fill_in(address, asks_groups=asks_groups), indent=2))
    return 0


def fill_in(address: str, *, asks_groups: bool) -> dict[str, Any]:
    """The manifest for the API at this address, such as ``https://api.example.com/api``."""
    text = _MANIFEST.read_text(encoding="utf-8")
    manifest: dict[str, Any] = json.loads(text.replace(_PLACE, address))
    if asks_groups:
        manifest["oauth_config"]["scopes"]["bot"].append(_GROUPS_SCOPE)
    return manifest


def _require_address(url: str) -> str:
    """The address without what the manifest appends to it; people paste either."""
    address = url.removesuffix("/").removesuffix(_EVENTS)
    if not url.lower().startswith("https://"):
        raise SettingsError(
            f"'{url[:200]}' does not begin with https://, and Slack sends requests nowhere else. {_USAGE}"
        )
    if not _ADDRESS.fullmatch(address):
        raise SettingsError(
            f"'{url[:200]}' is not a public host name, with a path at most: Slack could not reach it. {_USAGE}"
        )
    return address
