"""What each level may do, and what it may not."""

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from chalicelib.defaults import CONNECTION_LIMIT
from chalicelib.domain.locations import (
    Location,
)
from chalicelib.domain.orders import ProvisioningOrder
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.postgres.database_admin import PostgresDatabaseAdmin
from tests.adapters.postgres.cluster import (
    OPERATE,
    READ,
    WRITE,
    Cluster,
    a_location,
    an_order,
    is_alive,
    may,
    wait_until,
)


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
