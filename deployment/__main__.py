"""`python -m deployment`: the operator's program. Only the module of the verb that is asked for is loaded."""

import argparse
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module

from chalicelib.domain.errors import AccessError
from deployment.programs import require_interpreter

_VERBS = {
    "package": "build what a deployment puts on AWS, and check it; nothing is deployed",
    "deploy": "put a stage on AWS, or bring it up to date",
    "destroy": "end every grant, then remove a stage from AWS",
    "doctor": "tick what a stage needs, and say the next step",
    "location": "what a location needs",
    "manifest": "print the Slack app's manifest, ready to be pasted",
    "audit": "prove or hand out what happened",
    "openapi": "write the description of the API anew, into docs/",
}
"""Each has a module of its name, with ``add_arguments`` and a function of its name."""
_ACTIONS = {
    "audit": {
        "verify": "say whether every trail is whole, and as it was witnessed when it was written",
        "export": "print every entry as a line of JSON",
    }
}
"""Where the module has a function for each of several."""
_COMPILING = {"package", "deploy"}
_HELP = {"-h", "--help"}
_OURS = {"chalicelib", "deployment", "drawbridge"}


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status: 0 done, 1 with what to correct, 130 ended by Ctrl-C."""
    try:
        given = _parser(arguments).parse_args(arguments)
        status: int = given.run(given)
    except AccessError as error:
        print(error, file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in _OURS:
            raise
        print(
            f"{error.name} is not installed for this Python ({sys.executable}). `make .venv-deploy/.deploy` installs what is "
            f"needed, once. Then: .venv-deploy/bin/python -m deployment {shlex.join(arguments)}",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("\nEnded by you; nothing was changed.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read along has gone; Python would complain once more at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The whole program's parser. Only the verb that is asked for gets its arguments, for they come with its module."""
    asked = next((each for each in arguments if not each.startswith("-")), "")
    parser = argparse.ArgumentParser(prog="python -m deployment", description="Run Drawbridge.")
    verbs = parser.add_subparsers(dest="area", required=True)
    for name, summary in _VERBS.items():
        verb = verbs.add_parser(name, help=summary)
        if name == asked:
            if name in _COMPILING and not _HELP.intersection(arguments):
                require_interpreter()  # before a module is missed that only the right one has
            module = import_module(f"deployment.{name}")
            for run, given in _actions(name, verb):
                given.set_defaults(run=getattr(module, run))
                module.add_arguments(given)
    return parser


def _actions(name: str, verb: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The functions that a verb's module runs, and the parser of each."""
    if name not in _ACTIONS:
        yield name, verb
        return
    actions = verb.add_subparsers(dest="verb", required=True)
    for action, summary in _ACTIONS[name].items():
        yield action, actions.add_parser(action, help=summary)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
