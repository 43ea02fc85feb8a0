"""What it costs to make and take away people's users, alone and many at once, beside a script that grants to each person.

Run it with ``make bench``. Both go through the same door, TLS and IAM tokens, of the cluster in small that the database tests
have: what those tests prove right and what is measured here must be one set-up. Ratios within one run are what counts.
"""

import os
import re
import statistics
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

import psycopg
from psycopg.sql import SQL, Identifier

from chalicelib.domain.errors import AccessError
from chalicelib.domain.orders import ProvisioningOrder
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.roles import PROVISIONER
from local.postgres import PostgresServer, find_bin_directory
from tests.adapters.postgres.cluster import (
    DATABASES,
    WRITER,
    Cluster,
    a_location,
    an_order,
    is_alive,
    running_cluster,
    the_end_of,
)

ROUNDS = 10
CALLS = 64
AT_ONCE = (1, 4, 16, 64)
WITH_SESSIONS = 16
SCRIPT = "scripts"
"""The login of the script: it may create roles and acts for the owners of the databases and of the tables."""
TRIPS_OF_A_CONNECTION = 5
"""TCP, asking for TLS, TLS 1.3, the startup packet, the token."""
LOGGED = re.compile(r"\[(\d+)\] LOG:  (?:statement|execute [^:]*): ")
CHANGES = re.compile(r"(?:^|;)\s*(?:CREATE|ALTER|COMMENT|GRANT|REVOKE|DROP|REASSIGN)\b")

numbers = count()


class Product:
    """Drawbridge's own code."""

    login = PROVISIONER

    def __init__(self, cluster: Cluster) -> None:
        self._admin = cluster.admin()

    def provision(self, order: ProvisioningOrder) -> None:
        """Make the user."""
        self._admin.provision(order)

    def revoke(self, order: ProvisioningOrder) -> None:
        """Take the user away."""
        self._admin.revoke(the_end_of(order))

    def user(self, order: ProvisioningOrder) -> str:
        """Their name."""
        return order.facts.role


class Script:
    """What articles show: a user for each person, granted everything by itself, and the same backwards."""

    login = SCRIPT

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        with cluster.superuser() as rdsadmin:
            rdsadmin.execute(SQL("CREATE ROLE {} LOGIN CREATEROLE").format(Identifier(SCRIPT)))
            rdsadmin.execute(SQL("GRANT rds_superuser, rds_iam, master, application TO {}").format(Identifier(SCRIPT)))

    def provision(self, order: ProvisioningOrder) -> None:
        """Make the user."""
        self._run(
            order,
            "CREATE USER {user}",
            "GRANT rds_iam TO {user}",
            "GRANT CONNECT ON DATABASE {database} TO {user}",
            "GRANT USAGE ON SCHEMA shop TO {user}",
            "GRANT SELECT ON ALL TABLES IN SCHEMA shop TO {user}",
        )

    def revoke(self, order: ProvisioningOrder) -> None:
        """Take the user away."""
        self._run(
            order,
            "REVOKE ALL ON ALL TABLES IN SCHEMA shop FROM {user}",
            "REVOKE ALL ON SCHEMA shop FROM {user}",
            "REVOKE ALL ON DATABASE {database} FROM {user}",
            "DROP USER {user}",
        )

    def user(self, order: ProvisioningOrder) -> str:
        """Their name."""
        return f"jit_{order.facts.person.name}"

    def _run(self, order: ProvisioningOrder, *statements: str) -> None:
        database = order.location.database
        with log_in(self._cluster, SCRIPT, database) as connection:
            for statement in statements:
                connection.execute(
                    SQL(statement).format(user=Identifier(self.user(order)), database=Identifier(database))
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one call sent and how long it took, in seconds."""

    connections: int
    messages: int
    changes: int
    """Messages that create, alter, comment, grant, revoke or drop."""
    seconds: float

    @property
    def trips(self) -> int:
        """How often it waited for the network: every message is answered before the next is sent."""
        return self.messages + TRIPS_OF_A_CONNECTION * self.connections


def main() -> None:
    """Measure on one cluster and print tables for benchmarks/README.md."""
    with (
        PostgresServer(find_bin_directory(os.environ)) as server,  # noqa: TID251 - says which PostgreSQL to measure
        running_cluster(server) as cluster,
    ):
        product, script = Product(cluster), Script(cluster)
        print(f"provision and revoke on PostgreSQL {cluster.version}\n")
        print_costs(cluster, product, script)
        print_rushes(cluster, product, script)
        print_sessions(cluster, product, script)


# Alone


def print_costs(cluster: Cluster, product: Product, script: Script) -> None:
    """What each call sends, and its time as a multiple of the commonest one's."""
    seen: dict[str, list[Cost]] = defaultdict(list)
    product.provision(*orders(cluster, 1))  # what a database needs once: the schema and its function
    for _ in range(ROUNDS):
        first, second = orders(cluster, 2)
        renewed = replace(second, facts=replace(second.facts, request_id="R-BBBBBB"))
        calls: list[tuple[str, str, Callable[[ProvisioningOrder], None], ProvisioningOrder]] = [
            ("provision, the first on a location", product.login, product.provision, first),
            ("provision", product.login, product.provision, second),
            ("provision, once more", product.login, product.provision, second),
            ("provision, for the next request", product.login, product.provision, renewed),
            ("revoke", product.login, product.revoke, renewed),
            ("revoke, once more", product.login, product.revoke, renewed),
            ("the script's provision", script.login, script.provision, second),
            ("the script's revoke", script.login, script.revoke, second),
        ]
        for name, login, call, order in calls:
            seen[name].append(measured(cluster, login, partial(call, order)))
    one = statistics.median(cost.seconds for cost in seen["provision"])
    print("| call | connections | messages | of them changes | round trips | time |\n|---|--:|--:|--:|--:|--:|")
    for name, costs in seen.items():
        ((sent, _),) = Counter(
            (cost.connections, cost.messages, cost.changes, cost.trips) for cost in costs
        ).most_common(1)
        share = statistics.median(cost.seconds for cost in costs) / one
        print(f"| {name} | {' | '.join(map(str, sent))} | {share:.1f} |")
    print(f"\nTime 1 is {one * 1000:.0f} ms, the median of {ROUNDS}.\n")


def measured(cluster: Cluster, login: str, call: Callable[[], None]) -> Cost:
    """What the call cost, as the server's log has it."""
    log = cluster.server.directory / "data" / "log"
    cluster.do("ALTER ROLE {} SET log_statement = 'all'", login)
    start, began_at = log.stat().st_size, time.monotonic()
    call()
    seconds = time.monotonic() - began_at
    said = log.read_bytes()[start:].decode()
    cluster.do("ALTER ROLE {} RESET log_statement", login)
    parts = LOGGED.split(said)[1:]
    processes, messages = parts[::2], parts[1::2]
    changes = sum(bool(CHANGES.search(message)) for message in messages)
    return Cost(connections=len(set(processes)), messages=len(messages), changes=changes, seconds=seconds)


# Many at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Rush:
    """Calls that began at the same moment: until all had ended, in seconds, and why some failed."""

    seconds: float
    failures: Counter[str]


def at_once(calls: Sequence[Callable[[], None]]) -> Rush:
    """Do all of it at the same moment, each in a thread of its own."""
    failures, start = list[str](), threading.Barrier(len(calls) + 1)

    def work(call: Callable[[], None]) -> None:
        start.wait()
        try:
            call()
        except (AccessError, psycopg.Error) as error:
            failures.append(name_of(error))

    threads = [threading.Thread(target=work, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    start.wait()
    began_at = time.monotonic()
    for thread in threads:
        thread.join()
    return Rush(seconds=time.monotonic() - began_at, failures=Counter(failures))


def name_of(error: AccessError | psycopg.Error) -> str:
    """Its SQLSTATE; for errors of ours our name of it and the reason in brackets."""
    if isinstance(error, psycopg.Error):
        # A refused connection has no SQLSTATE in libpq, only the server's words.
        return error.sqlstate or str(error).rpartition("FATAL:")[2].strip()
    reason = re.search(r"\(([^()]*)\)", str(error))
    return f"{type(error).__name__} ({reason[1] if reason else ''})"


def print_rushes(cluster: Cluster, product: Product, script: Script) -> None:
    """Failures of as many calls in each row, and how the time until all are served grows with their number."""
    print(f"{CALLS} calls in each row. Time: until all at once were served, as a multiple of one alone.\n")
    print("| who | at once | provision failed | time | revoke failed | time |\n|---|--:|--:|--:|--:|--:|")
    for who, databases, is_same_person in (
        ("different people, one database", DATABASES[:1], False),
        ("different people, two databases", DATABASES, False),
        ("the same person", DATABASES[:1], True),
    ):
        for name, method in (("Drawbridge", product), ("script", script)):
            alone: tuple[float, float] | None = None
            for size in AT_ONCE:
                rushes = []
                for _ in range(CALLS // size):
                    group = orders(cluster, 1 if is_same_person else size, databases)
                    group = group * size if is_same_person else group
                    rushes.append(
                        [at_once([partial(do, order) for order in group]) for do in (method.provision, method.revoke)]
                    )
                made, taken = zip(*rushes, strict=True)
                times = median_seconds(made), median_seconds(taken)
                alone = alone or times
                columns = [
                    f"{failed(phase)} | {seconds / one:.1f}"
                    for phase, seconds, one in zip((made, taken), times, alone, strict=True)
                ]
                print(f"| {name}: {who} | {size} | {' | '.join(columns)} |", flush=True)
    print()


def median_seconds(rushes: Sequence[Rush]) -> float:
    """How long it took until all were served."""
    return statistics.median(rush.seconds for rush in rushes)


def failed(rushes: Sequence[Rush]) -> str:
    """How many failed, and of what."""
    failures = sum((rush.failures for rush in rushes), Counter[str]())
    return ", ".join([str(failures.total()), *(f"{times} of {reason}" for reason, times in failures.most_common())])


# What outlives a revocation


def print_sessions(cluster: Cluster, product: Product, script: Script) -> None:
    """People with an open session each, all revoked at once."""
    print(f"{WITH_SESSIONS} people, each with an open session, revoked at once.\n")
    print(
        "| | revoke failed | sessions alive | sessions that still read | users that may log in |\n|---|--:|--:|--:|--:|"
    )
    for name, method in (("Drawbridge", product), ("script", script)):
        group = orders(cluster, WITH_SESSIONS)
        for order in group:
            method.provision(order)
        users = [method.user(order) for order in group]
        with ExitStack() as stack:
            sessions = [stack.enter_context(log_in(cluster, user, DATABASES[0])) for user in users]
            rush = at_once([partial(method.revoke, order) for order in group])
            alive, reading = sum(map(is_alive, sessions)), sum(map(may_read, sessions))
        left = cluster.ask("SELECT count(*) FROM pg_roles WHERE rolcanlogin AND rolname = ANY(%s)", users)
        print(f"| {name} | {failed([rush])} | {alive} | {reading} | {left} |")


def may_read(session: psycopg.Connection) -> bool:
    """Does the session still read the application's table?"""
    with suppress(psycopg.Error):
        return session.execute("SELECT FROM shop.orders").rowcount > 0
    return False


# The set-up


def orders(cluster: Cluster, people: int, databases: Sequence[str] = DATABASES[:1]) -> list[ProvisioningOrder]:
    """Orders for new people, spread over new locations, one in each database. They read."""
    locations = [
        a_location(f"{database}-{next(numbers)}", database=database, max_people=CALLS) for database in databases
    ]
    return [
        an_order(cluster, locations[index % len(locations)], person=f"p{next(numbers)}", level=PermissionLevel.READ)
        for index in range(people)
    ]


@contextmanager
def log_in(cluster: Cluster, user: str, database: str) -> Iterator[psycopg.Connection]:
    """A connection in autocommit mode, through the door."""
    with psycopg.connect(
        host=WRITER,
        hostaddr="127.0.0.1",
        port=cluster.proxy.port,
        dbname=database,
        user=user,
        password=cluster.sign(cluster.writer, user),
        sslmode="verify-full",
        sslrootcert=str(cluster.bundle),
        autocommit=True,
    ) as connection:
        yield connection


if __name__ == "__main__":
    main()
