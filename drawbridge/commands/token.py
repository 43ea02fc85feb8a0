"""``drawbridge token``: a database token for tools that open their own tunnel. A terminal never shows one."""

import os
import sys

import click

from drawbridge.clipboard import copy
from drawbridge.connection import Connection
from drawbridge.errors import ConfigurationError
from drawbridge.options import api_options
from drawbridge.surroundings import enter_surroundings, find_request
from drawbridge.tokens import make_token


@click.command("token")
@click.argument("request", required=False)
@click.option(
    "--stdout",
    "is_piped",
    is_flag=True,
    help="Write it to a pipe or file instead; refused on a terminal and in CI, whose logs are kept.",
)
@api_options
def token_command(request: str | None, *, is_piped: bool, api: str | None, awsprofile: str | None) -> None:
    """Put a fresh token for REQUEST (its id or its location), or for the only access that you hold, on the clipboard.

    It is signed here with your own AWS identity, is the password for a tunnel that you opened yourself, and opens
    connections for 15 minutes. drawbridge connect and run need none.
    """
    if is_piped and sys.stdout.isatty():
        raise click.UsageError("A terminal keeps what it shows. Leave out --stdout to have the token on the clipboard.")
    if is_piped and os.environ.get("CI"):
        raise click.UsageError(
            "A pipeline's log keeps what it is told. Use drawbridge run, whose command needs no token."
        )
    around = enter_surroundings(api, awsprofile)
    connection = Connection.from_request(find_request(around.api, request, only_ready=True).answer)
    around.api.require_clock()
    token = make_token(around.session, connection)
    if is_piped:
        click.echo(token)
        return
    try:
        copy(token)
    except ConfigurationError as error:
        raise ConfigurationError(f"{error} Or take the token from a pipe: drawbridge token --stdout | …") from error
    click.echo(
        f"A token for {connection.user} is on the clipboard. It opens connections to {connection.host} for 15 minutes.",
        err=True,
    )
