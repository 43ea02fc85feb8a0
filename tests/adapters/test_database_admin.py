"""People's database users on a real PostgreSQL, reached as on RDS: TLS with a checked name, IAM tokens, no password anywhere."""

import os
import socket
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from chalicelib import ports
from chalicelib.defaults import CONNECTION_LIMIT
from chalicelib.domain.errors import (
    AccessError,
    DatabaseSetupError,
    DatabaseUnavailableError,
    LoginRefusedError,
    OrderExpiredError,
    RevocationIncompleteError,
)
from chalicelib.domain.grants import GrantFacts
from chalicelib.domain.instances import DatabaseInstances, Endpoint
from chalicelib.domain.locations import (
    BastionGroup,
    DatabaseKind,
    Isolation,
    Location,
    SessionDocument,
    TokenSource,
)
from chalicelib.domain.orders import ProvisioningOrder, RevocationOrder
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.receipts import KeptObject, Receipt
from chalicelib.postgres.database_admin import PostgresDatabaseAdmin
from chalicelib.postgres.owner_setup import owner_setup
from local.iam_proxy import CertificateAuthority, Credentials, IamProxy
from local.postgres import PostgresServer, create_database, create_rds_roles, find_bin_directory

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
        self.proxy = IamProxy(
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

    def log_in(self, order: ProvisioningOrder, **options: Any) -> psycopg.Connection:
        """The person's own connection, through the door that people use."""
        return psycopg.connect(
            host=WRITER,
            hostaddr="127.0.0.1",
            port=self.proxy.port,
            dbname=order.location.database,
            user=order.facts.role,
            password=self.sign(self.writer, order.facts.role),
            sslmode="verify-full",
            sslrootcert=str(self.bundle),
            autocommit=True,
            **options,
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


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with (
        tempfile.TemporaryDirectory(prefix="db-") as directory,
        PostgresServer(find_bin_directory(os.environ)) as server,
    ):
        cluster = Cluster(server, Path(directory))
        cluster.proxy.start()
        try:
            yield cluster
        finally:
            cluster.proxy.stop()


@pytest.fixture
def admin(cluster: Cluster) -> PostgresDatabaseAdmin:
    return cluster.admin()


_numbers = count()


@pytest.fixture
def location() -> Location:
    """Every test has a location of its own, hence groups and people of its own."""
    return a_location(f"orders-{next(_numbers)}")


@pytest.fixture
def order(cluster: Cluster, location: Location) -> ProvisioningOrder:
    return an_order(cluster, location)


def a_location(name: str, **changes: Any) -> Location:
    location = Location(
        name=name,
        kind=DatabaseKind.CLUSTER,
        identifier="my-aurora",
        database="orders",
        region=REGION,
        environment="prod",
        bastion=BastionGroup(name="main", subnets=("subnet-a",)),
        port=56789,
        isolation=Isolation.STRICT,
        also_readable=frozenset(),
        token=TokenSource.MODAL,
        document=SessionDocument.LOCATION,
        warm_up=True,
        max_people=10,
        levels={},
    )
    return replace(location, **changes)


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
    deadline = time.monotonic() + SECONDS_TO_WAIT
    poll = threading.Event()
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to pass"
        poll.wait(0.01)


# What each level may do


@pytest.fixture(scope="module")
def people(cluster: Cluster) -> Iterator[dict[PermissionLevel, psycopg.Connection]]:
    """One person of each level, logged in."""
    orders = [an_order(cluster, a_location("levels"), level=level) for level in PermissionLevel]
    for order in orders:
        cluster.admin().provision(order)
    connections = {order.facts.level: cluster.log_in(order) for order in orders}
    yield connections
    for connection in connections.values():
        connection.close()


@pytest.mark.parametrize(
    ("levels", "statements"),
    [
        ("rw", ["SELECT * FROM shop.orders"]),
        ("w", ["INSERT INTO shop.orders (state) VALUES ('odd')"]),
        ("w", ["UPDATE shop.orders SET state = 'done'"]),
        ("w", ["DELETE FROM shop.orders"]),
        ("w", ["SET TRANSACTION READ WRITE", "UPDATE shop.orders SET state = 'done'"]),
        ("", ["SET TRANSACTION READ WRITE", "TRUNCATE shop.orders"]),
        ("", ["SET TRANSACTION READ WRITE", "ALTER TABLE shop.orders ADD note text"]),
        ("", ["SET TRANSACTION READ WRITE", "CREATE TABLE shop.mine (id int)"]),
        ("w", ["SET TRANSACTION READ WRITE", "CREATE SCHEMA mine", "CREATE TABLE mine.things (id int)"]),
        ("", ["SET TRANSACTION READ WRITE", "CREATE ROLE mallory"]),
        ("", ["SET TRANSACTION READ WRITE", "GRANT pg_write_all_data TO CURRENT_USER"]),
        ("", ["SET TRANSACTION READ WRITE", "COPY shop.orders FROM PROGRAM 'true'"]),
        ("", ["SET ROLE drawbridge"]),
        ("", ["SELECT pg_read_file('PG_VERSION')"]),
        ("", ["SET log_statement = 'none'"]),
        ("o", ["SHOW data_directory"]),
        ("o", ["SELECT pg_kill_connection(0)"]),
        ("o", ["SELECT drawbridge.pg_kill_connection(0)"]),
        (
            "",
            ["SET TRANSACTION READ WRITE", "CREATE FUNCTION drawbridge.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'"],
        ),
    ],
)
def test_level_allows_exactly_this(
    people: dict[PermissionLevel, psycopg.Connection], levels: str, statements: list[str]
) -> None:
    """Reading reads, writing writes and makes schemas of its own, operating sees and ends sessions."""
    allowed = {level for level, connection in people.items() if may(connection, *statements)}

    assert set(levels) == allowed


def test_operator_sees_what_others_run_and_nobody_else_does(
    people: dict[PermissionLevel, psycopg.Connection], cluster: Cluster
) -> None:
    """Only operating shows the statements of other sessions."""
    with cluster.server.connect("orders", user="application") as application:
        pid = application.info.backend_pid
        application.execute("SELECT 'of the application'")
        shown = {
            level: connection.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
            for level, connection in people.items()
        }

    assert {READ, WRITE} == {level for level, row in shown.items() if row == ("<insufficient privilege>",)}
    assert ("SELECT 'of the application'",) == shown[OPERATE]


def test_operator_ends_a_session_of_the_own_database(
    people: dict[PermissionLevel, psycopg.Connection], cluster: Cluster
) -> None:
    """pg_kill_connection ends the session that blocks others."""
    with closing(cluster.server.connect("orders", user="application", autocommit=True)) as blocker:
        pid = blocker.info.backend_pid

        assert (True,) == people[OPERATE].execute(f"SELECT pg_kill_connection({pid})".encode()).fetchone()
        wait_until(lambda: not is_alive(blocker))


@pytest.mark.parametrize(
    ("database", "user"), [("stock", "application"), ("orders", "drawbridge"), ("orders", "rdsadmin")]
)
def test_operator_cannot_end_what_is_not_theirs(
    people: dict[PermissionLevel, psycopg.Connection], cluster: Cluster, database: str, user: str
) -> None:
    """Another database, the control plane and superusers are out of reach of pg_kill_connection."""
    with closing(cluster.server.connect(database, user=user, autocommit=True)) as other:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            people[OPERATE].execute(f"SELECT pg_kill_connection({other.info.backend_pid})".encode())

        assert is_alive(other)


def test_people_cannot_become_their_group(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """What a person makes is their own and ends with them; in the name of a group it would outlive them."""
    if cluster.version < 16:
        pytest.skip("PostgreSQL 15 and older cannot withhold SET ROLE from a member")
    admin.provision(order)
    with cluster.log_in(order) as alice:
        assert not may(alice, f"SET ROLE {order.groups.write}")
        assert not may(alice, f"SET ROLE {order.groups.attic}")


def test_guard_rails_stand_at_login(cluster: Cluster, admin: PostgresDatabaseAdmin, location: Location) -> None:
    """A session starts with time limits, and a reader's read-only."""
    order = an_order(cluster, location, level=READ)
    admin.provision(order)
    names = ("statement_timeout", "lock_timeout", "idle_session_timeout", "default_transaction_read_only")
    with cluster.log_in(order) as alice:
        settings = [alice.execute(f"SHOW {name}".encode()).fetchone() for name in names]

    assert [("15min",), ("30s",), ("30min",), ("on",)] == settings
    assert CONNECTION_LIMIT == cluster.ask("SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", order.facts.role)


# Provisioning


def test_adapter_has_the_shape_of_its_port() -> None:
    """The workflow knows the port only."""
    wanted = {name for name in vars(ports.DatabaseAdmin) if not name.startswith("_")}

    assert wanted == {name for name in vars(PostgresDatabaseAdmin) if not name.startswith("_")}


def test_provisioned_user_can_log_in(admin: PostgresDatabaseAdmin, order: ProvisioningOrder) -> None:
    """The very login that the person will use works."""
    admin.provision(order)

    admin.try_login(order)


def test_second_run_changes_nothing(cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder) -> None:
    """A repeated order finds everything made."""
    admin.provision(order)
    with cluster.watch_statements() as statements:
        admin.provision(order)

    assert [] == statements


def test_renewal_changes_the_owner_only(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """A new request for the same access changes the comment that names it, and nothing else."""
    admin.provision(order)
    with cluster.watch_statements() as statements:
        admin.provision(replace(order, facts=replace(order.facts, request_id="R-BBBBBB")))

    (statement,) = statements
    assert "COMMENT ON ROLE" in statement


def test_changed_settings_are_put_back(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """People may change their own guard rails; the next provisioning restores them all."""
    admin.provision(order)
    role = order.facts.role
    with cluster.log_in(order) as alice:
        alice.execute(f"ALTER ROLE {role} SET statement_timeout = 0; ALTER ROLE {role} SET work_mem = '1GB'".encode())
        alice.execute(f"ALTER ROLE {role} IN DATABASE orders SET lock_timeout = 0".encode())
    admin.provision(order)
    with cluster.log_in(order) as alice:
        settings = [alice.execute(f"SHOW {name}".encode()).fetchone() for name in ("statement_timeout", "lock_timeout")]

    assert [("15min",), ("30s",)] == settings
    assert 0 == cluster.ask(
        "SELECT count(*) FROM pg_db_role_setting WHERE setrole = to_regrole(%s) AND 'work_mem=1GB' = ANY(setconfig)",
        role,
    )


@pytest.mark.parametrize("is_same_person", [True, False])
def test_sixteen_at_once(
    cluster: Cluster, admin: PostgresDatabaseAdmin, location: Location, is_same_person: bool
) -> None:
    """Orders for two databases of one cluster that arrive together all succeed, although roles are shared by both."""
    locations = [location, replace(location, name=f"{location.name}-stock", database="stock")]
    orders = [
        an_order(cluster, replace(there, max_people=8), person="alice" if is_same_person else f"person{number}")
        for number in range(8)
        for there in locations
    ]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(admin.provision, orders))

    for order in orders[:2]:
        admin.try_login(order)


def test_last_place_goes_to_one_of_many(cluster: Cluster, admin: PostgresDatabaseAdmin, location: Location) -> None:
    """Orders that arrive together are counted one after the other."""
    orders = [an_order(cluster, replace(location, max_people=3), person=f"person{number}") for number in range(12)]

    def is_admitted(order: ProvisioningOrder) -> bool:
        try:
            admin.provision(order)
        except DatabaseSetupError:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        admitted = list(pool.map(is_admitted, orders))

    assert 3 == sum(admitted)


def test_order_that_crosses_another_change_is_carried_out_all_the_same(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """Roles can be changed from every database of the cluster, past any lock; PostgreSQL then fails one of the two."""
    admin.provision(order)
    cluster.do("ALTER ROLE {} CONNECTION LIMIT 1", order.facts.role)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'drawbridge' AND wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as pool, cluster.server.connect("stock") as elsewhere:
        elsewhere.execute(f"ALTER ROLE {order.facts.role} CONNECTION LIMIT 2".encode())
        crossing = pool.submit(admin.provision, order)
        wait_until(lambda: cluster.ask(waiting) == 1)
        elsewhere.commit()
        crossing.result(SECONDS_TO_WAIT)

    assert CONNECTION_LIMIT == cluster.ask("SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", order.facts.role)


def test_sixteen_revocations_at_once(cluster: Cluster, admin: PostgresDatabaseAdmin, location: Location) -> None:
    """People who leave together, with things they made, are all gone afterwards."""
    orders = [an_order(cluster, replace(location, max_people=16), person=f"person{number}") for number in range(16)]
    for number, order in enumerate(orders):
        admin.provision(order)
        with cluster.server.connect("orders", user=order.facts.role) as person:
            person.execute(f"CREATE SCHEMA left_{location.name.replace('-', '_')}_{number}".encode())
    with ThreadPoolExecutor(16) as pool:
        receipts = list(pool.map(admin.revoke, map(the_end_of, orders)))

    assert [True] * 16 == [receipt.is_dropped for receipt in receipts]


def test_order_too_late_makes_nothing(cluster: Cluster, order: ProvisioningOrder) -> None:
    """An order that would commit after its time is rolled back whole."""
    late = cluster.admin(clock=lambda: order.not_after + timedelta(microseconds=1))

    with pytest.raises(OrderExpiredError):
        late.provision(order)

    assert 0 == cluster.ask(
        "SELECT count(*) FROM pg_roles WHERE rolname IN (%s, %s)", order.facts.role, order.groups.read
    )


def test_order_just_in_time_is_carried_out(cluster: Cluster, order: ProvisioningOrder) -> None:
    """The moment itself is not too late."""
    cluster.admin(clock=lambda: order.not_after).provision(order)

    cluster.admin().try_login(order)


def test_defaults_of_the_database_do_not_matter(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """A database whose transactions are read-only or serializable by default is provisioned like any other."""
    cluster.do("ALTER DATABASE stock SET default_transaction_read_only = on")
    cluster.do("ALTER DATABASE stock SET default_transaction_isolation = 'serializable'")
    stock = replace(
        order, facts=replace(order.facts, database="stock"), location=replace(order.location, database="stock")
    )
    admin.provision(stock)
    receipt = admin.revoke(the_end_of(stock))
    with cluster.server.connect("postgres", autocommit=True) as rdsadmin:
        rdsadmin.execute("ALTER DATABASE stock RESET ALL")

    assert receipt.is_dropped


@pytest.fixture
def open_sibling(cluster: Cluster) -> Iterator[str]:
    """A database beside the location's that everybody may connect to."""
    cluster.do("GRANT CONNECT ON DATABASE {} TO PUBLIC", "stock")
    yield "stock"
    cluster.do("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", "stock")


def test_strict_location_refuses_an_open_sibling(
    admin: PostgresDatabaseAdmin, order: ProvisioningOrder, open_sibling: str
) -> None:
    """Reading rights hold for the whole cluster, so a sibling that everybody may enter would be given away too."""
    with pytest.raises(DatabaseSetupError, match=rf"could also read {open_sibling}:"):
        admin.provision(order)


@pytest.mark.parametrize("change", [{"also_readable": frozenset({"stock"})}, {"isolation": Isolation.WARN}])
def test_open_sibling_is_accepted_where_the_catalogue_says_so(
    admin: PostgresDatabaseAdmin, order: ProvisioningOrder, open_sibling: str, change: dict[str, Any]
) -> None:
    """Who owns the catalogue may decide that a sibling is no secret."""
    order = replace(order, location=replace(order.location, **change))

    admin.provision(order)


@pytest.mark.parametrize(
    ("make_foreign", "reason"),
    [
        ("COMMENT ON ROLE {} IS 'the nightly export'", "lacks the comment"),
        ("ALTER ROLE {} CREATEDB", "CREATEROLE or SUPERUSER"),
        ("GRANT application TO {}", "member of application"),
    ],
)
@pytest.mark.parametrize("whose", ["person", "group"])
def test_strange_role_of_our_name_is_refused(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder, make_foreign: str, reason: str, whose: str
) -> None:
    """A role that somebody else made or made more of is not handed to anybody."""
    admin.provision(order)
    cluster.do(make_foreign, order.facts.role if whose == "person" else order.groups.attic)

    with pytest.raises(DatabaseSetupError, match=reason):
        admin.provision(order)


def test_group_that_may_log_in_is_refused(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """Nobody logs in as a group."""
    admin.provision(order)
    cluster.do("ALTER ROLE {} LOGIN", order.groups.write)

    with pytest.raises(DatabaseSetupError, match="may log in"):
        admin.provision(order)


def test_location_admits_so_many_people(cluster: Cluster, admin: PostgresDatabaseAdmin, location: Location) -> None:
    """One more than max_people is refused, a renewal is not, and who left makes room."""
    location = replace(location, max_people=1)
    alice, bob = (an_order(cluster, location, person=name) for name in ("alice", "bob"))
    admin.provision(alice)
    admin.provision(alice)
    with pytest.raises(DatabaseSetupError, match="admits 1 user"):
        admin.provision(bob)
    admin.revoke(the_end_of(alice))

    admin.provision(bob)


def test_missing_set_up_names_its_repair(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """Where the owner has not run the set-up, a GRANT only warns; the person learns who has to do what."""
    cluster.do("REVOKE ALL ON DATABASE {} FROM drawbridge CASCADE", "stock")
    cluster.do("GRANT CONNECT, CREATE ON DATABASE {} TO drawbridge", "stock")
    stock = replace(order.location, database="stock")
    try:
        with pytest.raises(DatabaseSetupError, match=f"location sql {stock.name}"):
            admin.provision(replace(order, location=stock))
    finally:
        with cluster.server.connect("stock", user="master", autocommit=True) as master:
            master.execute(owner_setup(database="stock", server_version=cluster.version * 10_000).encode())


def test_nobody_is_let_in_who_could_not_be_put_out(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """Without the right to end sessions Drawbridge makes no user, unless it can give itself that right."""
    cluster.do("REVOKE pg_signal_backend FROM drawbridge")
    try:
        admin.provision(order)
    except DatabaseSetupError as error:
        assert "pg_signal_backend" in str(error)  # noqa: PT017 - from 16 on it is refused, before it is repaired
    else:
        assert cluster.ask("SELECT pg_has_role('drawbridge', 'pg_signal_backend', 'USAGE')")
    finally:
        cluster.do("GRANT pg_signal_backend TO drawbridge")


@pytest.mark.parametrize(
    ("database", "reason"), [("missing", "does not exist"), ("postgres", "permission denied for database")]
)
def test_database_that_refuses_is_a_matter_of_set_up(
    admin: PostgresDatabaseAdmin, order: ProvisioningOrder, database: str, reason: str
) -> None:
    """Trying again would not help, so the error says what would."""
    with pytest.raises(DatabaseSetupError, match=rf"{reason}.*location sql"):
        admin.provision(replace(order, location=replace(order.location, database=database)))


def test_token_that_the_database_refuses_is_a_matter_of_set_up(cluster: Cluster, order: ProvisioningOrder) -> None:
    """A login that is refused once is not tried twice: that would only fill the logs of the database."""
    tokens = []

    def sign_for_another(endpoint: Endpoint, user: str) -> str:
        tokens.append(cluster.sign(endpoint, "somebody"))
        return tokens[-1]

    with pytest.raises(DatabaseSetupError, match="refuses the login drawbridge"):
        cluster.admin(sign=sign_for_another).provision(order)

    assert 1 == len(tokens)


def test_certificate_of_another_authority_is_refused(cluster: Cluster, order: ProvisioningOrder) -> None:
    """Nobody but the database ever gets a token: the certificate is checked first."""
    with tempfile.NamedTemporaryFile(prefix="db-") as bundle:
        CertificateAuthority().write(Path(bundle.name))
        with pytest.raises(DatabaseSetupError, match="certificate"):
            cluster.admin(certificate_bundle=bundle.name).provision(order)


def test_certificate_of_another_host_is_refused(cluster: Cluster, order: ProvisioningOrder) -> None:
    """A database that answers under a name which is not its own gets no token either."""
    elsewhere = Endpoint(host=WRITER.replace("my-aurora", "another"), port=cluster.proxy.port)

    with pytest.raises(DatabaseSetupError, match=r"certificate.*does not match host name"):
        cluster.admin().provision(replace(order, instances=DatabaseInstances(writer=elsewhere)))


def test_unreachable_database_is_tried_three_times(cluster: Cluster, order: ProvisioningOrder) -> None:
    """A database that does not answer may be waking up."""
    pauses: list[float] = []
    nowhere = DatabaseInstances(writer=Endpoint(host=WRITER, port=a_closed_port()))

    with pytest.raises(DatabaseUnavailableError):
        cluster.admin(pause=pauses.append).provision(replace(order, instances=nowhere))

    assert 2 == len(pauses)


def test_sleeping_database_is_waited_for(cluster: Cluster, order: ProvisioningOrder) -> None:
    """One that takes the connection and says nothing may be waking up: the next try finds it awake."""
    cluster.proxy.pause()
    # libpq waits for 2 seconds at least, whatever is asked of it.
    cluster.admin(connect_seconds=1, pause=lambda _: cluster.proxy.resume()).provision(order)

    cluster.admin().try_login(order)


def a_closed_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
    return port


# The person's own login


def test_login_that_is_refused_says_so(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """Better the control plane finds out than the person."""
    admin.provision(order)
    cluster.do("REVOKE rds_iam FROM {} GRANTED BY {}", order.facts.role, "drawbridge")

    with pytest.raises(LoginRefusedError, match="PAM authentication failed"):
        admin.try_login(order)


def test_user_that_was_never_made_is_refused(admin: PostgresDatabaseAdmin, order: ProvisioningOrder) -> None:
    """No user, no login."""
    with pytest.raises(LoginRefusedError):
        admin.try_login(order)


def test_login_of_somebody_with_all_connections_open_counts(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """Who renews while working must not be told that their login is broken."""
    admin.provision(order)
    sessions = [cluster.log_in(order) for _ in range(CONNECTION_LIMIT)]
    try:
        admin.try_login(order)
    finally:
        for session in sessions:
            session.close()


# Revocation


def test_receipt_proves_the_end(cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder) -> None:
    """Afterwards there is no user, and the receipt says when that was read."""
    admin.provision(order)

    receipt = admin.revoke(the_end_of(order))

    assert Receipt(role=order.facts.role, read_at=NOW, is_dropped=True) == receipt
    assert receipt.proves_end
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        cluster.log_in(order)


def test_open_sessions_end(cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder) -> None:
    """Whoever is connected is so no longer, and what others run goes on."""
    admin.provision(order)
    with closing(cluster.log_in(order)) as alice, closing(cluster.superuser()) as somebody_else:
        admin.revoke(the_end_of(order))

        assert not is_alive(alice)
        assert is_alive(somebody_else)


def test_session_in_the_guise_of_another_role_ends(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """SET ROLE changes what a session may do, not whose it is."""
    admin.provision(order)
    cluster.do("GRANT application TO {}", order.facts.role)
    with closing(cluster.log_in(order)) as alice:
        alice.execute("SET ROLE application")
        receipt = admin.revoke(the_end_of(order))

        assert receipt.proves_end
        assert not is_alive(alice)


def test_running_statement_ends(cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder) -> None:
    """A long statement does not keep its rights until it is done."""
    admin.provision(order)
    with closing(cluster.log_in(order)) as alice, ThreadPoolExecutor(1) as pool:
        running = pool.submit(alice.execute, "SELECT pg_sleep(60)")
        sleepers = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND wait_event = 'PgSleep'"
        wait_until(lambda: cluster.ask(sleepers, order.facts.role) == 1)
        admin.revoke(the_end_of(order))

        assert isinstance(running.exception(SECONDS_TO_WAIT), psycopg.errors.AdminShutdown)


def test_logins_under_way_end_too(cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder) -> None:
    """Somebody who logs in again and again while access ends is out in the end."""
    admin.provision(order)
    is_over, sessions = threading.Event(), list[psycopg.Connection]()

    def log_in_until_over() -> None:
        while not is_over.is_set():
            try:
                sessions.append(cluster.server.connect("orders", user=order.facts.role, autocommit=True))
            except psycopg.OperationalError:
                is_over.wait(0.001)

    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            pool.submit(log_in_until_over)
        wait_until(lambda: bool(sessions))
        receipt = admin.revoke(the_end_of(order))
        is_over.set()

    assert receipt.proves_end
    assert [] == [session for session in sessions if is_alive(session)]
    for session in sessions:
        session.close()


@pytest.mark.parametrize(
    "in_the_way",
    [
        "SELECT pg_advisory_lock(hashtextextended('drawbridge:provision', 0))",
        "BEGIN; ALTER ROLE CURRENT_USER PASSWORD 'open-transaction'",
        "BEGIN; ALTER ROLE CURRENT_USER SET work_mem = '1MB'; CREATE SCHEMA never_committed",
    ],
)
def test_nobody_can_lock_their_way_out_of_the_end(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder, in_the_way: str
) -> None:
    """Everybody may take locks, also the one that the control plane takes, and also on their own user."""
    admin.provision(order)
    with closing(cluster.log_in(order)) as alice:
        alice.execute(in_the_way.encode())
        began = time.monotonic()
        receipt = admin.revoke(the_end_of(order))

        assert receipt.is_dropped
        assert not is_alive(alice)
        assert time.monotonic() - began < 3


def test_rights_go_even_where_the_login_is_out_of_reach(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """A transaction that nobody of ours may end holds the login for a while; the rights and the sessions go at once."""
    admin.provision(order)
    with closing(cluster.log_in(order)) as alice, cluster.server.connect("orders") as rdsadmin:
        rdsadmin.execute(f"ALTER ROLE {order.facts.role} VALID UNTIL 'infinity'".encode())
        with pytest.raises(RevocationIncompleteError, match=r"may still log in.*lock timeout"):
            cluster.admin(pause=lambda _: None).revoke(the_end_of(order))

        assert not is_alive(alice)
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            cluster.log_in(order)
        rdsadmin.rollback()

    assert admin.revoke(the_end_of(order)).is_dropped


def test_lock_of_the_control_plane_is_nobody_elses(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """Somebody else who holds it, or waits for it in line, is disconnected and not waited for."""
    take = "SELECT pg_advisory_lock(hashtextextended('drawbridge:provision', 0))"
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with (
        closing(cluster.server.connect("orders", user="application", autocommit=True)) as holder,
        closing(cluster.server.connect("orders", user="application", autocommit=True)) as waiter,
        ThreadPoolExecutor(1) as pool,
    ):
        holder.execute(take.encode())
        in_line = pool.submit(waiter.execute, take.encode())
        wait_until(lambda: cluster.ask(waiting) == 1)
        admin.provision(order)

        in_line.exception(SECONDS_TO_WAIT)
        assert not is_alive(holder)
        wait_until(lambda: not is_alive(waiter))


def test_every_instance_is_visited(cluster: Cluster, order: ProvisioningOrder) -> None:
    """Readers hold sessions that the writer does not see."""
    visited = []

    def sign(endpoint: Endpoint, user: str) -> str:
        visited.append(endpoint.host)
        return cluster.sign(endpoint, user)

    cluster.admin().provision(order)
    instances = DatabaseInstances(writer=cluster.writer, readers=(cluster.reader,))
    receipt = cluster.admin(sign=sign).revoke(the_end_of(order, instances=instances))

    assert receipt.is_dropped
    assert [WRITER, READER] == visited


def test_unreachable_reader_is_no_receipt_but_the_writer_is_cleared(cluster: Cluster, order: ProvisioningOrder) -> None:
    """What can be ended is ended before anybody complains."""
    cluster.admin().provision(order)
    instances = replace(order.instances, readers=(Endpoint(host=READER, port=a_closed_port()),))
    with closing(cluster.log_in(order)) as alice:
        with pytest.raises(DatabaseUnavailableError, match="my-aurora-2"):
            cluster.admin(pause=lambda _: None).revoke(the_end_of(order, instances=instances))

        assert not is_alive(alice)
        with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
            cluster.log_in(order)


def test_unreachable_writer_is_no_receipt(cluster: Cluster, order: ProvisioningOrder) -> None:
    """Nothing was read, so nothing is claimed."""
    nowhere = DatabaseInstances(writer=Endpoint(host=WRITER, port=a_closed_port()))

    with pytest.raises(DatabaseUnavailableError):
        cluster.admin(pause=lambda _: None).revoke(the_end_of(order, instances=nowhere))


def test_user_that_is_gone_gets_a_receipt(admin: PostgresDatabaseAdmin, order: ProvisioningOrder) -> None:
    """Revoking twice, or what was never made, is no error."""
    assert admin.revoke(the_end_of(order)).is_dropped


def test_older_request_does_not_end_the_newer_one(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """After a renewal the end of the first request is nobody's end."""
    admin.provision(order)
    admin.provision(replace(order, facts=replace(order.facts, request_id="R-BBBBBB")))
    with closing(cluster.log_in(order)) as alice:
        receipt = admin.revoke(the_end_of(order))

        assert Receipt(role=order.facts.role, read_at=NOW, superseded_by="R-BBBBBB") == receipt
        assert is_alive(alice)
    admin.try_login(order)


def test_renewal_during_a_revocation_wins(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """A revocation that is overtaken stops where it is, and the new session lives."""
    renewed = replace(order, facts=replace(order.facts, request_id="R-BBBBBB"))
    sessions: list[psycopg.Connection] = []

    def renew(_: float) -> None:
        if not sessions:
            admin.provision(renewed)
            sessions.append(cluster.log_in(renewed))

    admin.provision(order)
    receipt = cluster.admin(pause=renew).revoke(the_end_of(order))

    assert "R-BBBBBB" == receipt.superseded_by
    assert is_alive(sessions[0])
    sessions[0].close()


class KilledError(Exception):
    """What the end of a process looks like from within."""


@pytest.mark.parametrize("moment", ["sign 1", "pause 1", "pause 2", "sign 2", "sign 3", "clock 1"])
def test_interrupted_revocation_is_completed_by_the_next(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder, moment: str
) -> None:
    """Before parking, while sessions end, between databases or before the receipt: the next one finds its way."""
    admin.provision(order)
    with cluster.log_in(order) as alice:
        alice.execute("CREATE SCHEMA things_of_alice; CREATE TABLE things_of_alice.notes (id int)")
    cluster.do("CREATE SCHEMA notes_of_alice AUTHORIZATION {}", order.facts.role, database="stock")
    calls = count(1)

    def interrupt(name: str, action: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any) -> Any:
            if moment.startswith(name) and moment == f"{name} {next(calls)}":
                raise KilledError
            return action(*values)

        return call

    interrupted = cluster.admin(
        sign=interrupt("sign", cluster.sign),
        pause=interrupt("pause", threading.Event().wait),
        clock=interrupt("clock", lambda: NOW),
    )
    instances = DatabaseInstances(writer=cluster.writer, readers=(cluster.reader,))
    with pytest.raises(KilledError):
        interrupted.revoke(the_end_of(order, instances=instances))

    assert admin.revoke(the_end_of(order, instances=instances)).is_dropped
    assert order.groups.attic == cluster.ask(
        "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'things_of_alice'"
    )
    cluster.do("DROP SCHEMA things_of_alice CASCADE")
    cluster.do("DROP SCHEMA notes_of_alice CASCADE", database="stock")


def test_connection_that_breaks_is_no_receipt(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """A database that goes away in the middle may be back for the next try, which completes the work."""
    admin.provision(order)

    def fail_over(_: float) -> None:
        cluster.ask("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'drawbridge'")

    with pytest.raises(DatabaseUnavailableError, match="terminating connection"):
        cluster.admin(pause=fail_over).revoke(the_end_of(order))

    assert admin.revoke(the_end_of(order)).is_dropped


# What people leave behind

LEFT_BEHIND = """
    CREATE SCHEMA {0};
    CREATE TABLE {0}.notes (id serial, note text);
    INSERT INTO {0}.notes (note) VALUES ('still here');
    CREATE VIEW {0}.orders AS SELECT * FROM shop.orders;
    CREATE TYPE {0}.mood AS ENUM ('fine');
    CREATE DOMAIN {0}.percentage AS int;
    CREATE TYPE {0}.span AS RANGE (subtype = int);
    CREATE FUNCTION {0}.spy() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM {0}.notes';
    CREATE PROCEDURE {0}.act() LANGUAGE sql AS '';
    CREATE AGGREGATE {0}.total(int) (sfunc = int4pl, stype = int);
    CREATE PUBLICATION {0};
    ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;
    GRANT ALL ON SCHEMA {0} TO PUBLIC;
    GRANT SELECT (note) ON {0}.notes TO auditor;
    GRANT SELECT ON {0}.notes TO application WITH GRANT OPTION;
    GRANT USAGE ON SEQUENCE {0}.notes_id_seq TO application;
"""
GRANTEES = """
    SELECT DISTINCT o.identity, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
      FROM (
            SELECT 'pg_class'::regclass, oid, 0, coalesce(relacl, acldefault('r', relowner)), relowner FROM pg_class
            WHERE relkind IN ('r', 'v')
            UNION ALL SELECT 'pg_class'::regclass, oid, 0, relacl, relowner FROM pg_class WHERE relkind = 'S'
            UNION ALL SELECT 'pg_class'::regclass, attrelid, attnum, attacl, 0 FROM pg_attribute
            UNION ALL SELECT 'pg_proc'::regclass, oid, 0, coalesce(proacl, acldefault('f', proowner)), proowner FROM pg_proc
            UNION ALL SELECT 'pg_namespace'::regclass, oid, 0, nspacl, nspowner FROM pg_namespace
            UNION ALL SELECT 'pg_type'::regclass, oid, 0, coalesce(typacl, acldefault('T', typowner)), typowner FROM pg_type
            WHERE typtype IN ('d', 'e', 'r')
           ) s (class, object, part, acl, owner),
           aclexplode(s.acl) a, pg_identify_object(s.class, s.object, s.part) o
     WHERE (o.schema = %(schema)s AND o.name NOT LIKE 'span%%' OR o.identity ~ %(schema)s) AND a.grantee <> s.owner
       AND s.owner <> 10
"""


@pytest.fixture
def left_behind(cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder) -> Iterator[str]:
    """The name of the schema and publication that a person made, opened to everybody, and left."""
    name = f"of_alice_{next(_numbers)}"
    admin.provision(order)
    with cluster.log_in(order) as alice:
        alice.execute(LEFT_BEHIND.format(name).encode())
    with cluster.server.connect("orders", user="application", autocommit=True) as application:
        application.execute(f"GRANT SELECT ON {name}.notes TO master".encode())
    yield name
    cluster.do("DROP SCHEMA {0} CASCADE; DROP PUBLICATION IF EXISTS {0}", name)


def test_what_people_made_survives_them(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder, left_behind: str
) -> None:
    """Nothing that a person made is lost, and the receipt lists all of it."""
    receipt = admin.revoke(the_end_of(order))

    assert receipt.is_dropped
    assert {
        ("schema", left_behind),
        ("publication", left_behind),
        ("table", f"{left_behind}.notes"),
        ("sequence", f"{left_behind}.notes_id_seq"),
        ("view", f"{left_behind}.orders"),
        ("type", f"{left_behind}.mood"),
        ("type", f"{left_behind}.percentage"),
        ("type", f"{left_behind}.span"),
        ("function", f"{left_behind}.spy()"),
        ("procedure", f"{left_behind}.act()"),
        ("aggregate", f"{left_behind}.total(integer)"),
    } <= {(kept.kind, kept.name) for kept in receipt.kept}
    assert "still here" == cluster.ask(f"SELECT note FROM {left_behind}.notes")


def test_nobody_is_granted_what_people_left(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder, left_behind: str
) -> None:
    """A way in that a person left open, for everybody or through a friend, is closed with their access."""
    with cluster.superuser() as rdsadmin:
        before = rdsadmin.execute(GRANTEES, {"schema": left_behind}).fetchall()
    admin.revoke(the_end_of(order))
    with cluster.superuser() as rdsadmin:
        after = rdsadmin.execute(GRANTEES, {"schema": left_behind}).fetchall()

    assert {"PUBLIC", "application", "auditor", "master"} == {grantee for _, grantee in before}
    assert [] == after
    assert 0 == cluster.ask("SELECT count(*) FROM pg_default_acl")


def test_definer_function_is_dead(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder, left_behind: str
) -> None:
    """A function that runs with its maker's rights worked for everybody before, and for nobody after."""
    call = f"SELECT {left_behind}.spy()"
    with cluster.server.connect("orders", user="application", autocommit=True) as application:
        assert may(application, call)
        admin.revoke(the_end_of(order))

        assert not may(application, call)


def test_later_writer_uses_what_was_left(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder, left_behind: str
) -> None:
    """The next person with write access can read, change and remove it; a reader can only read."""
    admin.revoke(the_end_of(order))
    bob = an_order(cluster, order.location, person="bob")
    carol = an_order(cluster, order.location, person="carol", level=READ)
    for someone in (bob, carol):
        admin.provision(someone)

    with cluster.log_in(bob) as session:
        assert may(
            session, f"INSERT INTO {left_behind}.notes (note) VALUES ('more')", f"DROP TABLE {left_behind}.notes"
        )
        assert may(session, f"CREATE TABLE {left_behind}.more (id int)", f"SELECT {left_behind}.spy()")
    with cluster.log_in(carol) as session:
        assert may(session, f"SELECT * FROM {left_behind}.notes")
        assert not may(session, f"SELECT {left_behind}.spy()")


def test_view_left_behind_shows_nothing_of_the_application(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder, left_behind: str
) -> None:
    """A view reads with its owner's rights, and the attic has none."""
    admin.revoke(the_end_of(order))
    bob = an_order(cluster, order.location, person="bob")
    admin.provision(bob)

    with cluster.log_in(bob) as session:
        assert not may(session, f"SELECT * FROM {left_behind}.orders")


def test_large_objects_are_kept_and_closed(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """Large objects have grants too."""
    admin.provision(order)
    with cluster.log_in(order) as alice:
        row = alice.execute("SELECT lo_create(0)").fetchone()
        oid = row[0] if row else 0
        alice.execute(f"GRANT SELECT ON LARGE OBJECT {oid} TO PUBLIC".encode())
    receipt = admin.revoke(the_end_of(order))

    assert (KeptObject(database="orders", kind="large object", name=str(oid)),) == receipt.kept
    with cluster.server.connect("orders", user="application", autocommit=True) as application:
        assert not may(application, f"SELECT lo_get({oid})")
    cluster.ask("SELECT lo_unlink(%s)", oid)


def test_own_schema_that_the_person_closed_to_themselves_is_kept(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """Nobody can stay by making their things hard to move."""
    admin.provision(order)
    role = order.facts.role
    with cluster.log_in(order) as alice:
        alice.execute(
            f"CREATE SCHEMA first; CREATE FUNCTION first.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE SCHEMA second;"
            f"ALTER FUNCTION first.f() SET SCHEMA second; REVOKE ALL ON SCHEMA second FROM {role}".encode()
        )

    assert admin.revoke(the_end_of(order)).is_dropped
    cluster.do("DROP SCHEMA first, second CASCADE")


def test_things_in_the_name_of_a_group_are_taken_too(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """Where PostgreSQL lets people act as their group, what they made so would keep the rights of the group."""
    admin.provision(order)
    group = order.groups.write
    cluster.do("CREATE SCHEMA back_door AUTHORIZATION {}", group)
    cluster.do("GRANT USAGE ON SCHEMA {} TO PUBLIC", "back_door")
    cluster.do(
        "SET ROLE {}; CREATE FUNCTION back_door.open() RETURNS bigint LANGUAGE sql SECURITY DEFINER"
        " AS 'SELECT count(*) FROM shop.orders'",
        group,
    )
    with cluster.server.connect("orders", user="application", autocommit=True) as application:
        assert may(application, "SELECT back_door.open()")
        receipt = admin.revoke(the_end_of(order))

        assert not may(application, "SELECT back_door.open()")
    assert KeptObject(database="orders", kind="function", name="back_door.open()") in receipt.kept
    cluster.do("DROP SCHEMA back_door CASCADE")


def test_names_stay_names(cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder) -> None:
    """A database or a schema may be called anything; nothing of that is ever read as a statement."""
    name = 'x\'; DROP ROLE "auditor"; --'
    hostile = replace(order, facts=replace(order.facts, database=name), location=replace(order.location, database=name))
    with cluster.superuser() as rdsadmin:
        create_database(rdsadmin, name, "master")
    cluster.do("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", name)
    with cluster.server.connect(name, user="master", autocommit=True) as master:
        master.execute(owner_setup(database=name, server_version=cluster.version * 10_000).encode())
    admin.provision(hostile)
    with cluster.server.connect(name, user=order.facts.role, autocommit=True) as alice:
        alice.execute(SQL("CREATE SCHEMA {0}; CREATE TABLE {0}.{0} ()").format(Identifier(name)))
        alice.execute(SQL("GRANT ALL ON SCHEMA {0} TO PUBLIC; GRANT ALL ON {0}.{0} TO PUBLIC").format(Identifier(name)))
    receipt = admin.revoke(the_end_of(hostile))
    cluster.do("DROP DATABASE {}", name)

    assert receipt.is_dropped
    assert {"schema", "table"} == {kept.kind for kept in receipt.kept}
    assert 1 == cluster.ask("SELECT count(*) FROM pg_roles WHERE rolname = 'auditor'")


def test_things_in_a_sibling_database_are_kept(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """Roles belong to the cluster, so what they own is looked for in every database of it."""
    admin.provision(order)
    cluster.do("CREATE SCHEMA of_alice AUTHORIZATION {}", order.facts.role, database="stock")
    receipt = admin.revoke(the_end_of(order))

    assert receipt.is_dropped
    assert (KeptObject(database="stock", kind="schema", name="of_alice"),) == receipt.kept
    cluster.do("DROP SCHEMA of_alice", database="stock")


def test_database_that_cannot_be_entered_is_named_and_the_user_stays_without_login(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """Access is over all the same, and the receipt says what is left to do."""
    admin.provision(order)
    cluster.do("CREATE SCHEMA of_alice AUTHORIZATION {}", order.facts.role, database="postgres")
    receipt = admin.revoke(the_end_of(order))
    cluster.do("DROP SCHEMA of_alice", database="postgres")

    (sentence,) = receipt.unchecked
    assert "the database postgres" in sentence
    assert receipt.proves_end
    assert not receipt.is_dropped
    assert admin.revoke(the_end_of(order)).is_dropped


def test_privilege_that_somebody_else_gave_keeps_the_user_but_not_the_login(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """Only who granted it can take it back; the receipt names it."""
    admin.provision(order)
    cluster.do("SET ROLE application; GRANT SELECT ON shop.orders TO {}", order.facts.role)
    receipt = admin.revoke(the_end_of(order))
    cluster.do("SET ROLE application; REVOKE SELECT ON shop.orders FROM {}", order.facts.role)

    (sentence,) = receipt.unchecked
    assert "privileges for table shop.orders" in sentence
    assert receipt.proves_end
    assert admin.revoke(the_end_of(order)).is_dropped


def test_user_that_stayed_without_login_can_be_given_access_again(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """A parked user is woken by the next grant."""
    admin.provision(order)
    cluster.do("SET ROLE application; GRANT SELECT ON shop.orders TO {}", order.facts.role)
    admin.revoke(the_end_of(order))
    again = replace(order, facts=replace(order.facts, request_id="R-BBBBBB"))
    admin.provision(again)

    admin.try_login(again)
    cluster.do("SET ROLE application; REVOKE SELECT ON shop.orders FROM {}", order.facts.role)


def test_receipt_of_somebody_busy_stays_small(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """A receipt travels through the workflow, so it names two hundred things and counts the rest."""
    admin.provision(order)
    with cluster.log_in(order) as alice:
        alice.execute("CREATE SCHEMA busy")
        alice.execute(" ".join(f"CREATE TABLE busy.t{number} ();" for number in range(250)).encode())
    receipt = admin.revoke(the_end_of(order))
    cluster.do("DROP SCHEMA busy CASCADE")

    assert receipt.is_dropped
    assert 201 == len(receipt.kept)
    assert "and 51 more" == receipt.kept[-1].name


def test_login_that_cannot_be_ended_is_no_receipt(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """A user that somebody else made may be out of reach; that is said, with the repair, and never passed over."""
    if cluster.version < 16:
        pytest.skip("up to PostgreSQL 15 CREATEROLE reaches every role but superusers")
    cluster.do("CREATE ROLE {} LOGIN", order.facts.role)

    with pytest.raises(RevocationIncompleteError, match=r"may still log in.*ADMIN OPTION"):
        cluster.admin(pause=lambda _: None).revoke(the_end_of(order))

    cluster.do("DROP ROLE {}", order.facts.role)


# Secrets


def test_errors_hold_no_token(cluster: Cluster, order: ProvisioningOrder) -> None:
    """Whatever goes wrong, neither the text nor the trace of it holds a token."""
    tokens: list[str] = []

    def sign(endpoint: Endpoint, user: str) -> str:
        tokens.append(cluster.sign(endpoint, "somebody"))
        return tokens[-1]

    admin = cluster.admin(sign=sign, pause=lambda _: None)
    nowhere = replace(order, instances=DatabaseInstances(writer=Endpoint(host=WRITER, port=a_closed_port())))
    traces = []
    for act, given in [
        (admin.provision, order),
        (admin.provision, nowhere),
        (admin.try_login, order),
        (admin.try_login, nowhere),
        (admin.revoke, the_end_of(order)),
        (admin.revoke, the_end_of(nowhere)),
    ]:
        with pytest.raises(AccessError) as caught:
            act(given)  # type: ignore[operator]  # each act is paired with its own kind of order
        traces.append("".join(traceback.format_exception(caught.value)) + repr(caught.value))

    assert 10 < len(tokens)
    assert not [trace for trace in traces for token in tokens if token in trace or token.partition("?")[2] in trace]
    assert not [trace for trace in traces if "X-Amz" in trace]
