"""`python -m local`: play the story, or drive a workspace that is open in another terminal."""

import argparse
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import closing, suppress

from chalicelib import defaults
from chalicelib.domain.errors import AccessError
from local import remote
from local.postgres import PostgresError
from local.shells import PEOPLE
from local.story import LOCATION, Story, StoryError
from local.workspace import Workspace

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BY_HAND = """
The workspace stays open until Ctrl-C. Use it in a browser:

  {page}

or from another terminal, in this folder:

  .venv/bin/python -m local slack bob "/db-access my-reports-location r 15m"
  .venv/bin/python -m local press carol approve
  .venv/bin/python -m local status alice

To paste what alice is delivered, make a shell hers first:  . {shell}
"""


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status: 0 done, 1 failed with one plain sentence, 130 ended by Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m local", description="The local workspace of Drawbridge.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("demo", help="start a workspace, play the story, stay open while there is a terminal")
    slack = verbs.add_parser("slack", help="type a command as somebody")
    slack.add_argument("person", choices=PEOPLE)
    slack.add_argument("text", help='for example "/db-access my-aurora-location r"')
    press = verbs.add_parser("press", help="press a button as somebody, on the newest card that has it")
    press.add_argument("person", choices=PEOPLE)
    press.add_argument("action", help="approve, deny, show_token, extend_30, end and so on, as its button is called")
    press.add_argument("request", nargs="?", default="", help="the id of a request, when there are several")
    fill = verbs.add_parser("fill", help="fill in the form that somebody has open, and send it")
    fill.add_argument("person", choices=PEOPLE)
    fill.add_argument("fields", nargs="*", metavar="NAME=VALUE", help='for example reason="Not now"')
    status = verbs.add_parser("status", help="what somebody sees in Slack, and what runs behind it")
    status.add_argument("person", nargs="?", choices=PEOPLE, default="alice")
    given = parser.parse_args(arguments)
    for name in _ENDING_SIGNALS:
        signal.signal(name, _interrupt)
    try:
        if given.verb == "demo":
            _demo(os.environ.get("PORT", ""))
        elif given.verb == "slack":
            print(remote.type_command(given.person, given.text))
        elif given.verb == "press":
            print(remote.press(given.person, given.action, given.request))
        elif given.verb == "fill":
            print(remote.fill(given.person, given.fields))
        else:
            print(remote.describe(given.person))
    except (AccessError, StoryError, PostgresError, remote.NoWorkspaceError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nEnded by you; nothing is left running.", file=sys.stderr)
        return 130
    return 0


def _demo(wanted_port: str) -> None:
    ports = _choose_ports(wanted_port)
    print("Drawbridge on this machine: real functions, real PostgreSQL, stand-ins for AWS and Slack. Starting", end="")
    with Workspace(ports=ports, tell=lambda part: print(f" · {part}", end="", flush=True)) as workspace:
        print(f"\n\nLook at it, and join in: {workspace.slack.page_url}")
        story = Story(workspace)
        story.play()
        print(f"\nThe story is over after {max(story.marks.values()):.1f} s.")
        if sys.stdin.isatty():
            with remote.registered(workspace):
                print(BY_HAND.format(page=workspace.slack.page_url, shell=workspace.shells.directory / "alice"))
                _stay(workspace)
    print("Everything is closed; nothing is left running.")


def _stay(workspace: Workspace) -> None:
    pause = threading.Event()
    with suppress(KeyboardInterrupt):
        while not pause.wait(0.5):
            if failure := workspace.find_failure():
                raise StoryError(failure)


def _choose_ports(wanted: str) -> dict[str, int]:
    """The wanted local port or none; without a wish the catalogue's, or a free one where that is taken."""
    if wanted and not (wanted.isdecimal() and 1024 <= int(wanted) <= 65535):
        raise StoryError(f"PORT must be a number from 1024 to 65535, not '{wanted[:20]}'.")
    port = int(wanted) if wanted else defaults.LOCAL_PORT
    with closing(socket.socket()) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("127.0.0.1", port))
        except OSError as error:
            if wanted:
                sentence = (
                    f"Port {port} is in use on this machine. Free it, or choose another one: make demo PORT=57000"
                )
                raise StoryError(sentence) from error
            attempt.bind(("127.0.0.1", 0))
            port = attempt.getsockname()[1]
            print(f"Port {defaults.LOCAL_PORT} is in use on this machine, so alice's tunnel uses {port}.")
    return {LOCATION: port}


def _interrupt(*_: object) -> None:
    for name in _ENDING_SIGNALS:
        signal.signal(name, signal.SIG_IGN)  # everything is being ended already
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
