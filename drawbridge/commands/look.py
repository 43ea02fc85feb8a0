"""``drawbridge list``, ``mine`` and ``explain``: what may be asked for, what is held, and why. They change nothing."""

import click

from drawbridge.durations import describe_duration
from drawbridge.options import api_options, level_option
from drawbridge.requests import AccessRequest, State
from drawbridge.settings import LEVELS
from drawbridge.surroundings import enter_surroundings


@click.command("list")
@api_options
def list_command(*, api: str | None, awsprofile: str | None) -> None:
    """Print the locations that you may ask for, and for each level how access is given and how long at most."""
    offers = enter_surroundings(api, awsprofile).api.read_offers()
    if not offers.locations:
        click.echo(
            f"There is no location that {offers.caller} may ask for. The catalogue decides; ask whoever keeps it.",
            err=True,
        )
        return
    for location in offers.locations:
        place = f"{location.environment}, {location.region}, database {location.database}, port {location.port}"
        click.echo(f"{click.style(location.name, bold=True)}  {place}")
        for level, offer in location.levels.items():
            how = "at once" if offer.is_automatic else "after approval"
            click.echo(f"  {level}  {LEVELS.get(level, level):<8} {how}, up to {describe_duration(offer.cap_seconds)}")


@click.command("mine")
@click.option("--all", "is_all", is_flag=True, help="Also what has ended lately.")
@api_options
def mine_command(*, is_all: bool, api: str | None, awsprofile: str | None) -> None:
    """Print what you asked for and hold, newest first."""
    found = enter_surroundings(api, awsprofile).api.list_requests()
    shown = [each for each in found if is_all or each.state is not State.ENDED]
    if not shown:
        more = " See what has ended: drawbridge mine --all" if found else ""
        click.echo(f"You hold nothing and have asked for nothing.{more}", err=True)
    for request in shown:
        click.echo(f"{click.style(request.request_id, bold=True)}  {_place(request)}  {_standing(request)}")
        click.echo(f"  {request.explanation}")


@click.command("explain")
@click.argument("location")
@level_option
@api_options
def explain_command(location: str, *, permission: str, api: str | None, awsprofile: str | None) -> None:
    """Print which rule holds if you ask for LOCATION now, and who may approve it."""
    explained = enter_surroundings(api, awsprofile).api.explain(location, permission)
    click.echo(f"{explained.location} {explained.level}: {explained.sentence}")
    if explained.approvers:
        click.echo(f"May approve: {', '.join(explained.approvers)}")


def _place(request: AccessRequest) -> str:
    return f"later end of {request.extends}" if request.extends else f"{request.location} {request.level}"


def _standing(request: AccessRequest) -> str:
    said = request.outcome.value.replace("_", " ") if request.outcome is not None else request.state.value
    asked = f"asked {request.asked_at.astimezone():%Y-%m-%d %H:%M}"
    return f"{said}, {asked}" + (f", until {request.ends_at.astimezone():%H:%M}" if request.ends_at else "")
