"""The whole list of what a stage needs, ticked or not; the first line that is not ticked is the next step. Changes nothing."""

import argparse
import threading
from collections.abc import Iterable, Iterator
from itertools import chain

from chalicelib.domain.errors import AccessError
from chalicelib.postgres.setup_check import Finding, Mark
from deployment.aws_findings import (
    asked,
    examine_bastions,
    examine_databases,
    examine_networks,
    examine_people,
    examine_stacks,
)
from deployment.caller_findings import examine_callers
from deployment.catalogue_file import add_locations_argument, read_catalogue
from deployment.prompts import Terminal
from deployment.slack_findings import deploy_command, examine_slack
from deployment.slack_setup import SLACK_SECRET, Web, find_secrets, slack_web
from deployment.stacks import Stacks
from deployment.stage import Stage, find_home, find_stage

_SIGNS = {Mark.HOLDS: "✓", Mark.REPAIR: "✗", Mark.UNKNOWN: "?", Mark.CAUTION: "!"}
_NOT_LOOKED_AT = (
    "Not looked at: the address in the Slack app's settings, which Slack shows to its owners only; /db-access tells.\n"
    "Nor whether each person's own AWS identity may tunnel; they see it when they do."
)
EXIT_STATUS = "Exit status: 0 every line is ticked, 1 one is not or could not be looked at, 130 ended by Ctrl-C."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.epilog = EXIT_STATUS
    parser.add_argument("--stage", required=True, metavar="STAGE", help="which deployment")
    add_locations_argument(parser)


def doctor(given: argparse.Namespace) -> int:
    """Print a line for each question. Returns 0 when every one is ticked, else 1. Raises AccessError."""
    terminal = Terminal()
    account = find_home(read_catalogue(given.locations))
    stacks = Stacks(account, say=terminal.say, pause=threading.Event().wait)
    stage = find_stage(given.stage, catalogue_file=given.locations, stacks=stacks, account=account)
    return print_list(stage, terminal=terminal, web=slack_web)


def print_list(stage: Stage, *, terminal: Terminal, web: Web) -> int:
    """Print every finding as it is found, then the next step. Returns the exit status."""
    unticked: list[Finding] = []
    for finding in examine_stage(stage, web):
        terminal.say(render(finding))
        if finding.mark in {Mark.REPAIR, Mark.UNKNOWN}:
            unticked.append(finding)
    terminal.say(f"\n{_NOT_LOOKED_AT}\n")
    if not unticked:
        terminal.say("Everything is ticked. In Slack: /db-access")
        return 0
    terminal.say(f"{len(unticked)} not ticked. Next: {unticked[0].what}")
    for line in _steps(unticked[0]):
        terminal.say(f"  {line}")
    return 1


def examine_stage(stage: Stage, web: Web) -> Iterator[Finding]:
    """Everything, in the order in which a new stage needs it."""
    yield from examine_stacks(stage)
    if stage.main is None:
        return
    areas: Iterable[Iterator[Finding]] = (
        asked("whether Slack's secrets are stored", lambda: _examine_slack(stage, web)),
        examine_databases(stage),
        examine_networks(stage),
        examine_bastions(stage),
        examine_people(stage),
        examine_callers(stage),
    )
    yield from chain.from_iterable(areas)


def render(finding: Finding) -> str:
    """A finding for a terminal: a sign and one line; what repairs it, indented below."""
    repairs = [f"      {line}" for line in _steps(finding)] if finding.mark is not Mark.HOLDS else []
    first, *more = finding.what.splitlines()
    return "\n".join([f"{_SIGNS[finding.mark]} {first}", *(f"  {line}" for line in more), *repairs])


def _steps(finding: Finding) -> list[str]:
    """The lines of a repair. Those that are no command of SQL's are marked as its comments where they come from."""
    return [line.removeprefix("-- ") for line in finding.repair.splitlines()]


def _examine_slack(stage: Stage, web: Web) -> Iterator[Finding]:
    main = stage.main
    secret_id, api_url = (main.find_physical(SLACK_SECRET), main.outputs.get("ApiAddress", "")) if main else (None, "")
    if secret_id is None or not api_url:
        raise AccessError("the stack lacks them. Deploy again.")
    stored = find_secrets(stage.account, secret_id)
    if stored is None:
        yield Finding(
            mark=Mark.REPAIR,
            what="Slack's secrets are not stored, so neither the app nor the people were looked at",
            repair=f"It shows the manifest and asks for them: {deploy_command(stage)} --slack",
        )
        return
    yield Finding(mark=Mark.HOLDS, what=f"the secrets of the app {stored.app_id} are stored")
    yield from examine_slack(stage, app_id=stored.app_id, api_url=api_url, web=web(stored.bot_token))
