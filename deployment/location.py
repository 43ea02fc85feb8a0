"""The verbs of a location: what its owner has to run, and whether it is ready."""

import argparse
import os
import shlex
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from urllib.parse import urlsplit

import psycopg

from chalicelib import defaults
from chalicelib.aws.auth_tokens import RdsAuthTokens
from chalicelib.aws.clients import client
from chalicelib.domain.errors import SettingsError
from chalicelib.domain.instances import Endpoint
from chalicelib.domain.locations import Location
from chalicelib.domain.roles import PROVISIONER
from chalicelib.postgres.connections import Connector, is_full, is_refusal, reason_of
from chalicelib.postgres.owner_setup import isolation_setup, owner_setup
from chalicelib.postgres.setup_check import Finding, Mark, Subject, examine, judge_refused_login
from chalicelib.settings import current_settings
from deployment import user_policy
from deployment.catalogue_file import add_locations_argument, read_catalogue
from deployment.certificates import BUNDLE_URL
from deployment.hosting import Hosting, describe_hosting, examine_hosting

_CONNECT_SECONDS = 20
"""For each of the tries: a sleeping cluster goes on waking up between them."""
_MAJORS = range(14, 19)
_POLICY = """
Print the policy that lets a person or a machine of the catalogue connect to a location with tokens that they sign themselves, as
exactly their own users: with the terminal client or, where the catalogue says token = "local", by hand. Attach it to their AWS
identity; nothing is attached here.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where an endpoint is really reached. Without a port it is the endpoint's."""

    ip: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read ``HOST[:PORT]``. Raises SettingsError."""
        try:
            parts = urlsplit(f"//{text}")
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or port == 0:
            raise SettingsError(f"'{text[:80]}' is no address. Write it like 127.0.0.1:5432.")
        try:
            ip = str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
        except OSError as error:
            raise SettingsError(f"The address {host[:80]} cannot be looked up ({error.strerror}).") from error
        return cls(ip=ip, port=port)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs of a location, each with its own arguments."""
    verbs = parser.add_subparsers(dest="verb", required=True)
    common = argparse.ArgumentParser(add_help=False)
    add_locations_argument(common)
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
    policy = verbs.add_parser(
        "policy",
        parents=[common],
        help="print a person's or a machine's right to connect with tokens of their own",
        description=_POLICY,
    )
    user_policy.add_arguments(policy)
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


def location(given: argparse.Namespace) -> int:
    """Run the verb that was given. Returns its exit status. Raises AccessError."""
    catalogue = read_catalogue(given.locations)
    found = catalogue.require_location(given.name)
    if given.verb == "sql":
        return print_sql(found, major=given.postgresql, isolate=given.isolation)
    if given.verb == "policy":
        return user_policy.print_policy(found, given.person, catalogue=catalogue)
    return print_check(found, catalogue=given.locations, address=given.address, certificates=given.certificates)


def print_sql(location: Location, *, major: int, isolate: str | None) -> int:
    """Print what the owner of the location's database runs once, or the owner of another one to isolate it."""
    if isolate:
        print(isolation_setup(database=isolate), end="")
    else:
        print(owner_setup(database=location.database, server_version=major * 10_000, location=location.name), end="")
    return 0


def print_check(location: Location, *, catalogue: str, address: str, certificates: str) -> int:
    """Print a finding for each question. Returns 0 when nothing is to be repaired, else 1. Raises AccessError."""
    _require_file(certificates)
    reached_at = Address.parse(address) if address else None
    rds = partial(client, "rds")
    hosting = describe_hosting(location, rds)
    subject = Subject(
        location=location,
        writer=hosting.instances.writer,
        resource=hosting.resource,
        sql_command=f"python -m deployment location sql {location.name} --locations {shlex.quote(catalogue)}",
        connect_arn=hosting.connect_arn,
    )
    print(
        f"{location.name}: the database {location.database} of the {location.kind} {location.identifier}\n", flush=True
    )
    marks = []
    findings = (examine_hosting(location, hosting, rds), _examine_database(subject, hosting, reached_at, certificates))
    for finding in chain.from_iterable(findings):
        print(render(finding), flush=True)
        marks.append(finding.mark)
    print(f"\n{summarise(marks, location.name)}")
    return 0 if is_ready(marks) else 1


def _examine_database(
    subject: Subject, hosting: Hosting, address: Address | None, certificates: str
) -> Iterator[Finding]:
    writer, region, tokens = subject.writer, subject.location.region, RdsAuthTokens()
    reached = Endpoint(host=writer.host, port=address.port if address and address.port else writer.port)
    connector = Connector(
        # Signed for the endpoint itself: behind a tunnel the server knows of no other port.
        sign=lambda _, user: tokens.sign(writer, user, region),
        certificate_bundle=certificates,
        hostaddr=address.ip if address else None,
        connect_seconds=_CONNECT_SECONDS,
        pause=threading.Event().wait,
    )
    place = f"{address.ip if address else writer.host}:{reached.port}"
    print(f"Connecting to {place} as {PROVISIONER} ...", file=sys.stderr, flush=True)
    try:
        connection = connector.open(
            reached, database=subject.location.database, user=PROVISIONER, request_id="location check"
        )
    except psycopg.Error as error:
        yield _judge_failure(error, subject, hosting, place)
        yield Finding(
            mark=Mark.UNKNOWN,
            what="everything inside the database: nobody was let in to ask",
            repair="-- Run this check again after that.",
        )
        return
    with closing(connection):
        yield Finding(mark=Mark.HOLDS, what=f"{PROVISIONER} is let in at {place} with a token of yours")
        yield from examine(connection, subject)


def _judge_failure(error: psycopg.Error, subject: Subject, hosting: Hosting, place: str) -> Finding:
    if "authentication failed" in str(error) and not hosting.has_iam_authentication:
        what, repair = f"the login {PROVISIONER} is refused", "-- Turn IAM database authentication on first."
    elif is_refusal(error):
        return judge_refused_login(error, subject, major=hosting.major)
    elif is_full(error):
        what, repair = (
            f"the login {PROVISIONER} has no connection left",
            "-- Wait a minute: it ends people's access now.",
        )
    else:
        what, repair = f"{place} does not answer", _tunnel(subject)
    return Finding(mark=Mark.UNKNOWN, what=f"{what} ({reason_of(error)})", repair=repair)


def _tunnel(subject: Subject) -> str:
    host, port, local = subject.writer.host, subject.writer.port, defaults.LOCAL_PORT
    return (
        "-- It is private. Open a tunnel through an instance of Session Manager's that may reach it:\n"
        f"aws ssm start-session --region {subject.location.region} --target i-... \\\n"
        "  --document-name AWS-StartPortForwardingSessionToRemoteHost \\\n"
        f"  --parameters host={host},portNumber={port},localPortNumber={local}\n"
        f"-- Then run this check again with: --address 127.0.0.1:{local}"
    )


def render(finding: Finding) -> str:
    """A finding for a terminal: one line, and its repair indented below."""
    lines = [f"{finding.mark:<7}  {finding.what}", *(f"         {line}" for line in finding.repair.splitlines())]
    # Names come from other people's catalogs and must not steer the operator's terminal.
    return "\n".join("".join(sign if sign.isprintable() else "?" for sign in line) for line in lines)


def summarise(marks: list[Mark], name: str) -> str:
    """The last line of a check."""
    if is_ready(marks):
        return f"Everything is there. Next, in Slack: /db-access {name} r 15m"
    counts = {mark: marks.count(mark) for mark in (Mark.REPAIR, Mark.UNKNOWN)}
    words = {Mark.REPAIR: "to repair", Mark.UNKNOWN: "could not be checked"}
    told = ", ".join(f"{count} {words[mark]}" for mark, count in counts.items() if count)
    return f"{name} is not ready: {told}. Run this again afterwards."


def is_ready(marks: list[Mark]) -> bool:
    """Is there nothing to repair and nothing unknown?"""
    return not {Mark.REPAIR, Mark.UNKNOWN} & set(marks)


def _require_file(certificates: str) -> None:
    if not os.access(certificates, os.R_OK):
        raise SettingsError(
            f"The certificates {certificates} cannot be read. Give --certificates, or fetch them: "
            f"curl --output {shlex.quote(certificates)} {BUNDLE_URL}"
        )
