"""The options and types that several commands share, so that each is called and explained alike everywhere."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from drawbridge.durations import parse_duration
from drawbridge.errors import InvalidInputError
from drawbridge.settings import check_api, check_level, check_port
from drawbridge.wish import Wish

_Command = TypeVar("_Command", bound=Callable[..., Any])


class _Checked(click.ParamType):  # type: ignore[type-arg]  # generic in some versions of click only
    """A value that one function reads; its sentence becomes the usage error."""

    def __init__(self, name: str, check: Callable[[str], Any]) -> None:
        self.name, self._check = name, check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._check(str(value))
        except InvalidInputError as error:
            self.fail(str(error), param, ctx)


class _Seconds(_Checked):
    def __init__(self) -> None:
        super().__init__("duration", parse_duration)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if isinstance(value, int) else super().convert(value, param, ctx)


LEVEL = _Checked("r|w|o", check_level)
PORT = _Checked("port", check_port)
DURATION = _Seconds()


def api_options(command: _Command) -> _Command:
    """Where the API is, and who asks."""
    for decorate in (
        click.option("--awsprofile", metavar="NAME", help="Your AWS profile.  [default: as AWS's tools find it]"),
        click.option(
            "--api",
            type=_Checked("address", check_api),
            metavar="ADDRESS",
            envvar="DRAWBRIDGE_API",
            help="Drawbridge's API.  [default: cfg set api, or DRAWBRIDGE_API]",
        ),
    ):
        command = decorate(command)
    return command


def level_option(command: _Command) -> _Command:
    """Which level of access."""
    return click.option(
        "-p",
        "--permission",
        type=LEVEL,
        metavar="r|w|o",
        default="o",
        show_default=True,
        help="Read, write or operate.",
    )(command)


def wish_options(*, timeout: str | None, reason: str, port: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What ``connect`` and ``run`` ask for; but for the timeout it comes, with the argument ``location``, as one ``wish``."""
    waits = f"[default: {timeout}]" if timeout else "[default: as long as the request waits]"

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        command = _with_wish(command)
        for option in (
            click.option(
                "--timeout",
                type=DURATION,
                metavar="TIME",
                default=timeout,
                help=f"How long to wait until it is ready, such as 10m.  {waits}",
            ),
            click.option(
                "--duration",
                type=DURATION,
                metavar="TIME",
                help="How long to have access, such as 30m.  [default: 1h, or the most allowed]",
            ),
            click.option("--reason", metavar="TEXT", default="", help=reason),
            click.option(
                "--env", "environment", metavar="NAME", help="Refuse when the location is of another environment."
            ),
            click.option("--region", metavar="NAME", help="Refuse when the location lies in another AWS region."),
            click.option(
                "--localport",
                type=PORT,
                metavar="PORT",
                help=f"The port on this machine.  [default: {port}]",
            ),
            level_option,
        ):
            command = option(command)
        return command

    return decorate


def _with_wish(command: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(command)
    def with_wish(
        *,
        location: str,
        permission: str,
        reason: str,
        duration: int | None,
        environment: str | None,
        region: str | None,
        localport: int | None,
        **rest: Any,
    ) -> Any:
        wish = Wish(
            location=location,
            level=permission,
            reason=reason,
            duration_seconds=duration,
            environment=environment,
            region=region,
            port=localport,
        )
        return command(wish, **rest)

    return with_wish
