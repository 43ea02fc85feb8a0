"""`python -m deployment`: the operator's program. It prints what somebody else has to run, and never runs it itself."""

import argparse
import os
import sys
from collections.abc import Sequence

from chalicelib.domain.errors import AccessError
from chalicelib.settings import current_settings
from deployment import location, manifest

_MAJORS = range(14, 19)
_MANIFEST = """
Print the manifest of the Slack app, with the API's address filled in and no scope that this catalogue does not need. Paste it
where Slack's "Create an app" offers "From an app manifest".
"""
_CHECK = """
Connect to the location's database as Drawbridge's login, with your own AWS identity, and print for each right whether it is
there. What is missing is followed by the statement or command that repairs it. Nothing is changed. Connecting wakes a
cluster that sleeps.
"""
_CHECK_ENDS = """
Your AWS identity needs rds:DescribeDBClusters, rds:DescribeDBInstances, rds:DescribeBlueGreenDeployments, and rds-db:connect
as the login drawbridge. Exit status: 0 ready, 1 not ready or not to be checked.
"""


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status: 0 done, 1 with what to correct, 130 ended by Ctrl-C."""
    given = _parser().parse_args(arguments)
    try:
        if given.area == "manifest":
            return manifest.print_manifest(given.url, catalogue=given.locations)
        found = location.find_location(given.name, catalogue=given.locations)
        if given.verb == "sql":
            return location.print_sql(found, major=given.postgresql, isolate=given.isolation)
        return location.print_check(
            found, catalogue=given.locations, address=given.address, certificates=given.certificates
        )
    except AccessError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nEnded by you; nothing was changed.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read along has gone; Python would complain once more at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deployment", description="Run Drawbridge.")
    areas = parser.add_subparsers(dest="area", required=True)
    verbs = areas.add_parser("location", help="what a location needs").add_subparsers(dest="verb", required=True)
    reading = argparse.ArgumentParser(add_help=False)
    reading.add_argument(
        "--locations",
        metavar="FILE",
        default=os.environ.get("LOCATIONS", ""),
        help="the catalogue; $LOCATIONS unless it is given",
    )
    app = areas.add_parser(
        "manifest",
        parents=[reading],
        help="print the Slack app's manifest, ready to be pasted",
        description=_MANIFEST,
    )
    app.add_argument("url", metavar="URL", help="where the API is, as the deployment printed it")
    common = argparse.ArgumentParser(add_help=False, parents=[reading])
    common.add_argument("name", metavar="NAME", help="the location's name in the catalogue")
    sql = verbs.add_parser(
        "sql",
        parents=[common],
        help="print the SQL that the owner of a location's database runs once",
        description="Print the SQL that the owner of a location's database runs once. Nothing is run.",
    )
    sql.add_argument("--postgresql", type=int, choices=_MAJORS, default=16, help="the server's major version (16)")
    sql.add_argument(
        "--isolation",
        metavar="DATABASE",
        help="print instead what the owner of this other database of the server runs, so that not everybody may connect to it",
    )
    check = verbs.add_parser(
        "check",
        parents=[common],
        help="say which rights a location lacks, and what repairs each",
        description=_CHECK,
        epilog=_CHECK_ENDS,
    )
    check.add_argument(
        "--address",
        metavar="HOST[:PORT]",
        default="",
        help="where the endpoint is really reached, such as 127.0.0.1:56789 for a tunnel; the certificate must still bear "
        "the endpoint's name",
    )
    check.add_argument(
        "--certificates",
        metavar="FILE",
        default=os.path.expandvars(current_settings().certificate_bundle),
        help="the RDS certificate bundle (%(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
