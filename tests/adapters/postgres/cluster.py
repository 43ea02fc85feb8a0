"""An Aurora cluster in small on a real PostgreSQL, reached as on RDS: TLS with a checked name, IAM tokens, no password."""

import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from chalicelib.domain.grants import GrantFacts
from chalicelib.domain.instances import DatabaseInstances, Endpoint
from chalicelib.domain.locations import (
    Location,
)
from chalicelib.domain.orders import ProvisioningOrder, RevocationOrder
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.postgres.database_admin import PostgresDatabaseAdmin
from chalicelib.postgres.owner_setup import owner_setup
from local.iam_proxy import CertificateAuthority, Credentials
from local.postgres import PostgresServer, create_database, create_rds_roles
from tests import factories
from tests.adapters.postgres.standby import ClusterProxy
from tests.waiting import eventually

READ, WRITE, OPERATE = PermissionLevel
REGION = "eu-west-1"
WRITER = f"my-aurora.cluster-abc123.{REGION}.rds.amazonaws.com"
READER = f"my-aurora-2.abc123.{REGION}.rds.amazonaws.com"
ACCESS_KEY, SECRET_KEY = "AKIAEXAMPLE", "example-secret"
DATABASES = ("orders", "stock")
NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
SECONDS_TO_WAIT = 10


class Cluster:
    """An Aurora cluster in small: two databases that master owns, tables of an application, and Drawbridge's login."""

    def __init__(self, server: PostgresServer, directory: Path) -> None:
        self.server = server
        self.bundle = directory / "bundle.pem"
        authority = CertificateAuthority()
        authority.write(self.bundle)
        credentials = Credentials(secret_access_key=SECRET_KEY, session_token=None, may_connect=lambda _: True)
        self.proxy = ClusterProxy(
            server=server,
            region=REGION,
            authority=authority,
            find_credentials={ACCESS_KEY: credentials}.get,
            clock=lambda: datetime.now(UTC),
        )
        for host in (WRITER, READER):
            self.proxy.add_host(host)
        self.rds = boto3.client(
            "rds", region_name=REGION, aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY
        )
        self._seed()

    def _seed(self) -> None:
        with self.server.connect(autocommit=True) as rdsadmin:
            create_rds_roles(rdsadmin)
            for database in DATABASES:
                create_database(rdsadmin, database, "master")
            rdsadmin.execute("CREATE ROLE application LOGIN; CREATE ROLE auditor")
            for database in (*DATABASES, "postgres", "template1"):
                rdsadmin.execute(SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(Identifier(database)))
                rdsadmin.execute(SQL("GRANT CONNECT ON DATABASE {} TO application").format(Identifier(database)))
        for database in DATABASES:
            with self.server.connect(database, autocommit=True) as rdsadmin:
                rdsadmin.execute(
                    "CREATE SCHEMA shop AUTHORIZATION application; SET ROLE application;"
                    "CREATE TABLE shop.orders (id serial PRIMARY KEY, state text); INSERT INTO shop.orders (state) VALUES ('new')"
                )
            with self.server.connect(database, user="master", autocommit=True) as master:
                master.execute(owner_setup(database=database, server_version=self.version * 10_000).encode())

    @property
    def version(self) -> int:
        return self.server.version

    @property
    def writer(self) -> Endpoint:
        return Endpoint(host=WRITER, port=self.proxy.port)

    @property
    def reader(self) -> Endpoint:
        """A second address of the same server: enough to see that every instance is visited."""
        return Endpoint(host=READER, port=self.proxy.port)

    def sign(self, endpoint: Endpoint, user: str) -> str:
        token: str = self.rds.generate_db_auth_token(
            DBHostname=endpoint.host, Port=endpoint.port, DBUsername=user, Region=REGION
        )
        return token

    def admin(self, **changes: Any) -> PostgresDatabaseAdmin:
        settings: dict[str, Any] = {
            "sign": self.sign,
            "certificate_bundle": str(self.bundle),
            "hostaddr": "127.0.0.1",
            "clock": lambda: NOW,
            "connect_seconds": 10,
            "pause": threading.Event().wait,
        }
        return PostgresDatabaseAdmin(**settings | changes)

    def log_in(self, order: ProvisioningOrder, endpoint: Endpoint | None = None, **options: Any) -> psycopg.Connection:
        """The person's own connection, through the door that people use; to the writer unless another is named."""
        return psycopg.connect(self.door(order, endpoint), autocommit=True, **options)

    def door(self, order: ProvisioningOrder, endpoint: Endpoint | None = None) -> str:
        """The connection string that the person uses, with a token that is good for a quarter of an hour."""
        endpoint = endpoint or self.writer
        return make_conninfo(
            host=endpoint.host,
            hostaddr="127.0.0.1",
            port=endpoint.port,
            dbname=order.location.database,
            user=order.facts.role,
            password=self.sign(endpoint, order.facts.role),
            sslmode="verify-full",
            sslrootcert=str(self.bundle),
        )

    def superuser(self, database: str = "orders") -> Any:
        return self.server.connect(database, autocommit=True)

    def ask(self, question: str, *values: Any, database: str = "orders") -> Any:
        """The first column of the first row, or None."""
        with self.superuser(database) as rdsadmin:
            row = rdsadmin.execute(question, values).fetchone()
        return row[0] if row else None

    def do(self, statement: str, *names: str, database: str = "orders") -> None:
        with self.superuser(database) as rdsadmin:
            rdsadmin.execute(SQL(statement).format(*map(Identifier, names)))

    @contextmanager
    def watch_statements(self) -> Iterator[list[str]]:
        """Collects what Drawbridge's login changes meanwhile, from the server's own log."""
        log = self.server.directory / "data" / "log"
        self.do("ALTER ROLE drawbridge SET log_statement = 'ddl'")
        start, statements = log.stat().st_size, list[str]()
        yield statements
        self.do("ALTER ROLE drawbridge RESET log_statement")
        lines = log.read_bytes()[start:].decode().splitlines()
        statements += [line for line in lines if "statement:" in line and "log_statement" not in line]


@contextmanager
def running_cluster(server: PostgresServer) -> Iterator[Cluster]:
    """A cluster of that server, whose door is open as long as this is entered."""
    with tempfile.TemporaryDirectory(prefix="db-", dir="/tmp") as directory:
        cluster = Cluster(server, Path(directory))
        cluster.proxy.start()
        try:
            yield cluster
        finally:
            cluster.proxy.stop()


def a_location(name: str, **changes: Any) -> Location:
    return factories.a_location(name, identifier="my-aurora", **changes)


def an_order(
    cluster: Cluster,
    location: Location,
    *,
    person: str = "alice",
    level: PermissionLevel = WRITE,
    request_id: str = "R-AAAAAA",
    **changes: Any,
) -> ProvisioningOrder:
    facts = GrantFacts(
        request_id=request_id,
        person=Person(name=person, team="T0EXAMPLE", slack=f"U0{person.upper()}"),
        location=location.name,
        level=level,
        kind=location.kind,
        identifier=location.identifier,
        database=location.database,
        region=location.region,
        bastion=location.bastion.name,
        port=location.port,
        document=location.document,
        token=location.token,
    )
    order = ProvisioningOrder(
        facts=facts,
        location=location,
        instances=DatabaseInstances(writer=cluster.writer),
        ends_at=NOW + timedelta(hours=1),
        not_after=NOW + timedelta(minutes=5),
    )
    return replace(order, **changes)


def the_end_of(order: ProvisioningOrder, **changes: Any) -> RevocationOrder:
    return replace(RevocationOrder(facts=order.facts, instances=order.instances), **changes)


def a_closed_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
    return port


numbers = count()
"""What tells the names of one test from those of another."""


def may(connection: psycopg.Connection, *statements: str) -> bool:
    """Are these statements allowed? Nothing of them stays."""
    try:
        with connection.transaction(force_rollback=True):
            for statement in statements:
                connection.execute(statement.encode())
    except (
        psycopg.errors.InsufficientPrivilege,
        psycopg.errors.ReadOnlySqlTransaction,
        psycopg.errors.UndefinedFunction,
    ):
        return False
    return True


def is_alive(connection: psycopg.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def wait_until(is_so: Callable[[], bool]) -> None:
    assert eventually(is_so), "it did not come to pass"


# What each level may do
