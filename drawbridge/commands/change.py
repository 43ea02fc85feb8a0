"""``drawbridge extend`` and ``end``: a later end, or an earlier one."""

import time

import click

from drawbridge.api import Api
from drawbridge.durations import describe_duration
from drawbridge.errors import DeadlineError, DrawbridgeError
from drawbridge.options import DURATION, api_options
from drawbridge.progress import Progress
from drawbridge.requests import AccessRequest, Outcome, State, clock_time
from drawbridge.surroundings import enter_surroundings, find_request, open_progress
from drawbridge.waiting import end_of, wait_until_over

_RECEIPT_SECONDS = 120.0


@click.command("extend")
@click.argument("request", required=False)
@click.option("--by", type=DURATION, default="30m", show_default=True, metavar="TIME", help="How much later.")
@click.option(
    "--timeout", type=DURATION, default="1h", show_default=True, metavar="TIME", help="How long to wait for approval."
)
@api_options
def extend_command(request: str | None, *, by: int, timeout: int, api: str | None, awsprofile: str | None) -> None:
    """Ask for a later end of REQUEST (its id or its location), or of the only access that you hold.

    The same rule holds as for asking; where somebody has to approve it, that is waited for. Ctrl-C stops the waiting and
    leaves the question open.
    """
    calls, progress = enter_surroundings(api, awsprofile).api, open_progress()
    held = find_request(calls, request, only_ready=True)
    extension = calls.extend(held.request_id, by)
    try:
        extension = _wait(calls, extension, progress, timeout)
    except KeyboardInterrupt:
        progress.done()
        click.echo(
            f"{extension.request_id} stays asked for. To withdraw it: drawbridge end {extension.request_id}", err=True
        )
        raise
    if extension.state is not State.ENDED:
        raise DeadlineError(
            f"{extension.request_id} is still open after {describe_duration(timeout)}: {extension.explanation}"
        )
    if extension.outcome is not Outcome.FINISHED:
        raise end_of(extension)
    click.echo(f"{held.request_id} now ends at {clock_time(calls.watch(held.request_id))}.")


@click.command("end")
@click.argument("request", required=False)
@api_options
def end_command(request: str | None, *, api: str | None, awsprofile: str | None) -> None:
    """End REQUEST (its id or its location), the only one that is open, or all.

    What waits is withdrawn, what is held is taken away; then the receipt is waited for.
    """
    calls, progress = enter_surroundings(api, awsprofile).api, open_progress()
    if request == "all":
        wanted = [each for each in calls.list_requests() if not each.is_over]
        if not wanted:
            click.echo("There is nothing to end.", err=True)
    else:
        wanted = [find_request(calls, request)]
    asked = [calls.end(each.request_id) for each in wanted]
    for each in asked:
        _tell_end(calls, each, progress)


def _tell_end(calls: Api, request: AccessRequest, progress: Progress) -> None:
    ended = _wait(calls, request, progress, _RECEIPT_SECONDS)
    click.echo(f"{ended.request_id} ({ended.location} {ended.level}): {ended.explanation}{_proof(ended)}")
    if ended.state is not State.ENDED:
        raise click.exceptions.Exit(DrawbridgeError.exit_status)


def _proof(request: AccessRequest) -> str:
    receipt = request.answer.get("receipt")
    if not isinstance(receipt, dict):
        return ""
    login = "on" if receipt.get("can_log_in") else "off"
    return f" Sessions left: {receipt.get('sessions_left', '?')}, login: {login}."


def _wait(calls: Api, request: AccessRequest, progress: Progress, seconds: float) -> AccessRequest:
    deadline = time.monotonic() + seconds
    return wait_until_over(request, watch=lambda: calls.watch(request.request_id), progress=progress, deadline=deadline)
