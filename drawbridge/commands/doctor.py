"""``drawbridge doctor``: each link from here to a database, ticked. It asks for no access and changes nothing."""

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import click

from drawbridge.api import MOST_SKEW, skew_error
from drawbridge.certificates import cache_directory, ensure_bundle
from drawbridge.connection import Connection
from drawbridge.errors import ConfigurationError, DrawbridgeError
from drawbridge.options import api_options
from drawbridge.plugin import MINIMUM_PLUGIN, find_plugin, install_advice, plugin_version
from drawbridge.requests import State
from drawbridge.settings import settings_file
from drawbridge.surroundings import Surroundings, enter_surroundings, require_address

_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One link; ``check`` returns what was found, or raises with the next step."""

    name: str
    check: Callable[[], str]


@click.command("doctor")
@api_options
def doctor_command(*, api: str | None, awsprofile: str | None) -> int:
    """Tick each link from here to a database, and say the next step for each that is broken.

    It asks for no access and changes nothing. The exit status is 0, or that of the first broken link.
    """
    status = 0
    for link in _links(api, awsprofile):
        try:
            found, is_whole = link.check(), True
        except DrawbridgeError as error:
            found, is_whole, status = str(error), False, status or error.exit_status
        click.echo(f"{_mark(is_whole=is_whole)} {link.name}: {found}")
    return status


def _links(api: str | None, awsprofile: str | None) -> Iterator[Link]:
    yield Link(name="plugin", check=_check_plugin)
    yield Link(name="psql", check=_check_psql)
    yield Link(name="configuration", check=lambda: _check_configuration(api))
    if api is None:
        return
    try:
        around = enter_surroundings(api, awsprofile)
    except DrawbridgeError as error:
        yield Link(name="credentials", check=_raising(error))
        return
    yield Link(name="credentials", check=lambda: _describe_credentials(around))
    yield Link(name="Drawbridge's API", check=lambda: _check_api(around))
    yield Link(name="clock", check=lambda: _check_clock(around))
    yield Link(name="certificates", check=lambda: _check_certificates(around))


def _check_configuration(api: str | None) -> str:
    return f"{require_address(api)} (saved defaults: {settings_file()})"


def _describe_credentials(around: Surroundings) -> str:
    credentials = around.session.get_credentials()
    return f"profile {around.session.profile_name}, by {credentials.method if credentials else 'nothing'}"


def _check_api(around: Surroundings) -> str:
    offers = around.api.read_offers()
    kind = "machine" if offers.is_machine else "person"
    return f"you are {offers.caller}, a {kind}, and may ask for {len(offers.locations)} locations"


def _check_clock(around: Surroundings) -> str:
    skew = around.api.skew
    if skew is None:
        raise ConfigurationError("Nothing answered that it could be compared with. First see to the link before.")
    if abs(skew) > MOST_SKEW:
        raise skew_error(skew)
    return f"{abs(skew.total_seconds()):.0f} s from AWS's"


def _check_plugin() -> str:
    path = find_plugin()
    version = plugin_version(path)
    said = ".".join(map(str, version)) if version else "of unknown version"
    if version is not None and version < MINIMUM_PLUGIN:
        has_packages = shutil.which("dpkg") is not None
        advice = install_advice(platform.system(), platform.machine(), has_packages=has_packages)
        least = ".".join(map(str, MINIMUM_PLUGIN))
        raise ConfigurationError(f"{path} is {said}, and AWS takes {least} or newer. {advice}")
    return f"{path}, {said}"


def _check_psql() -> str:
    path = shutil.which("psql")
    if path is None:
        raise ConfigurationError(
            "psql was not found. Install PostgreSQL's client, or use connect with --gui or a program after --."
        )
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError(f"{path} does not run. Install PostgreSQL's client anew.") from error
    return f"{path}, {done.stdout.strip()}"


def _check_certificates(around: Surroundings) -> str:
    held = next((each for each in around.api.list_requests() if each.state is State.READY), None)
    if held is None:
        return "fetched with your first connection, and then kept for a month"
    with cache_directory() as cache:
        return str(ensure_bundle(Connection.from_request(held.answer).certificate_bundle_url, cache=cache))


def _raising(error: DrawbridgeError) -> Callable[[], str]:
    def check() -> str:
        raise error

    return check


def _mark(*, is_whole: bool) -> str:
    mark, plain = ("✓", "ok") if is_whole else ("✗", "NO")
    try:
        mark.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        mark = plain
    return click.style(mark, fg="green" if is_whole else "red")
