"""What each level may do, and what it may not: every ability that the project speaks of is tried on the server."""

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import psycopg
import pytest

from chalicelib.defaults import CONNECTION_LIMIT
from chalicelib.domain.blocking import WHO_BLOCKS_WHOM
from chalicelib.domain.locations import Location
from chalicelib.domain.orders import ProvisioningOrder
from chalicelib.domain.permissions import Ability, PermissionLevel
from chalicelib.domain.roles import group_roles
from chalicelib.postgres.database_admin import PostgresDatabaseAdmin
from tests.adapters.postgres.cluster import (
    OPERATE,
    READ,
    SECONDS_TO_WAIT,
    Cluster,
    a_location,
    an_order,
    is_alive,
    may,
    wait_until,
)

UPDATE = "UPDATE shop.orders SET state = state"
SWITCH_OFF_READ_ONLY = "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"
REFUSED_ENTRY = re.compile(r"permission denied for database|REPLICATION|replication role")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Statements that need an ability. It shows when none is refused and the last one does not answer false."""

    script: str
    database: str = "orders"
    in_transaction: bool = True
    replication: str = "false"

    def __str__(self) -> str:
        return " ".join(self.script.split())[:60]


def tries(*scripts: str) -> list[Trial]:
    return [Trial(script=script) for script in scripts]


# {curly} names are those of the fixture `names`.
TRIALS: dict[Ability, list[Trial]] = {
    Ability.READ_TABLES: tries("SELECT * FROM shop.orders", "SELECT * FROM shop.open_orders"),
    Ability.CHANGE_ROWS: tries(
        "INSERT INTO shop.orders (state) VALUES ('odd')",
        "UPDATE shop.orders SET state = 'done'",
        "DELETE FROM shop.orders",
        "SELECT nextval('shop.orders_id_seq') IS NOT NULL",
    ),
    Ability.MAKE_SCHEMAS: tries(
        "CREATE SCHEMA mine; CREATE TABLE mine.things (id serial, thing text); ALTER TABLE mine.things ADD note text;"
        " INSERT INTO mine.things (thing) VALUES ('one'); TRUNCATE mine.things; DROP TABLE mine.things",
        "CREATE SCHEMA mine; CREATE VIEW mine.orders AS SELECT * FROM shop.orders; SELECT count(*) >= 0 FROM mine.orders",
        "CREATE SCHEMA mine; CREATE FUNCTION mine.one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ),
    Ability.TAKE_OVER: tries(
        "UPDATE left_over.notes SET note = 'seen'",
        "ALTER TABLE left_over.notes ADD more text",
        "DROP SCHEMA left_over CASCADE",
    ),
    Ability.ADD_EXTENSIONS: [Trial(script="CREATE EXTENSION plpgsql", database="bare")],
    Ability.SEE_QUERIES: tries(
        "SELECT query <> '<insufficient privilege>' FROM pg_stat_activity WHERE pid = {here}",
        "SELECT query <> '<insufficient privilege>' FROM pg_stat_activity WHERE pid = {elsewhere}",
        "SHOW data_directory",
    ),
    Ability.END_CONNECTIONS: tries("SELECT drawbridge.pg_kill_connection({here})"),
    Ability.END_OTHER_CONNECTIONS: tries(
        "SELECT drawbridge.pg_kill_connection({elsewhere})",
        "SELECT drawbridge.pg_kill_connection({superuser})",
        "SELECT drawbridge.pg_kill_connection({control_plane})",
        *(f"SELECT pg_terminate_backend({{{pid}}})" for pid in ("here", "elsewhere", "superuser", "control_plane")),
        "SELECT pg_cancel_backend({here})",
    ),
    Ability.READ_OPEN_SIBLINGS: [Trial(script="SELECT * FROM public.things", database="open")],
    Ability.ENTER_CLOSED_SIBLINGS: [Trial(script="SELECT 1", database=name) for name in ("stock", "postgres")],
    Ability.READ_CATALOGS: tries(
        "SELECT rolpassword FROM pg_authid",
        "SELECT umoptions FROM pg_user_mapping",
        "SELECT count(*) > 0 FROM pg_statistic WHERE starelid = {hidden_table}",
        "SELECT data FROM pg_largeobject",
    ),
    Ability.MAKE_TEMPORARY: tries(
        "CREATE TEMPORARY TABLE mine (id int); INSERT INTO mine VALUES (1)",
        "SELECT lo_create(0) > 0",
        "NOTIFY everybody",
        "SELECT pg_advisory_xact_lock(1)",
    ),
    Ability.SEE_HIDDEN_ROWS: tries(
        "SELECT count(*) > 0 FROM shop.hidden", "SET row_security = off; SELECT * FROM shop.hidden"
    ),
    Ability.CHANGE_SCHEMAS: tries(
        "TRUNCATE shop.orders",
        "ALTER TABLE shop.orders ADD note text",
        "ALTER TABLE shop.hidden DISABLE ROW LEVEL SECURITY",
        "DROP TABLE shop.orders CASCADE",
        "CREATE INDEX ON shop.orders (state)",
        "CREATE TRIGGER mine BEFORE INSERT ON shop.orders FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE RULE mine AS ON INSERT TO shop.orders DO INSTEAD NOTHING",
        "CREATE POLICY mine ON shop.hidden USING (true)",
        "CREATE PUBLICATION mine FOR TABLE shop.orders",
        "CREATE TEMPORARY TABLE child () INHERITS (shop.orders)",
        "CREATE SCHEMA mine; CREATE TABLE mine.things (id int REFERENCES shop.orders)",
        "CREATE TABLE shop.mine (id int)",
        "CREATE FUNCTION shop.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION drawbridge.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER SCHEMA shop RENAME TO mine",
    ),
    Ability.CREATE_IN_PUBLIC: tries("CREATE TABLE public.mine (id int)"),
    Ability.MANAGE_ROLES: [
        Trial(script="CREATE DATABASE mine", in_transaction=False),
        *tries(
            "CREATE ROLE mallory",
            "ALTER ROLE application NOLOGIN",
            "ALTER ROLE {role} CONNECTION LIMIT 100",
            "ALTER ROLE {role} BYPASSRLS",
            "DROP ROLE auditor",
            "COMMENT ON ROLE {role} IS 'nobody''s'",
            "SET ROLE drawbridge",
            "SET ROLE application",
            "SET SESSION AUTHORIZATION application",
            "GRANT pg_write_all_data TO CURRENT_USER",
            "GRANT {write_group} TO {role} WITH ADMIN OPTION",
            "GRANT drawbridge TO CURRENT_USER",
            "GRANT rds_superuser TO CURRENT_USER",
            "ALTER DATABASE orders RENAME TO mine",
            "ALTER DEFAULT PRIVILEGES FOR ROLE application GRANT ALL ON TABLES TO PUBLIC",
        ),
    ],
    Ability.REACH_SERVER: tries(
        "COPY shop.orders FROM PROGRAM 'true'",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "COPY (SELECT 1) TO '/dev/null'",
        "CREATE TEMPORARY TABLE lines (line text); COPY lines FROM '/etc/hostname'",
        "SELECT pg_read_file('PG_VERSION')",
        "SELECT pg_ls_dir('.')",
        "SELECT lo_import('/etc/hostname')",
    ),
    Ability.ADD_CODE: tries(
        "CREATE EXTENSION {untrusted_extension}",
        "CREATE FUNCTION pg_temp.mine() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        " CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION pg_temp.mine()",
        "CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE c AS 'mine'",
        "CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE internal AS 'pg_backend_pid'",
        "CREATE LANGUAGE mine HANDLER plpgsql_call_handler",
        "CREATE FOREIGN DATA WRAPPER mine",
        "CREATE CAST (int AS xid) WITHOUT FUNCTION",
        "LOAD 'plpgsql'; LOAD '/tmp/mine'",
    ),
    Ability.CHANGE_LOG: [
        *tries(
            "SET log_statement = 'none'",
            "SET log_min_duration_statement = -1",
            "SET temp_file_limit = -1",
            "ALTER ROLE {role} SET log_statement = 'none'",
            "SELECT pg_reload_conf()",
            "SELECT pg_create_physical_replication_slot('mine')",
            "SELECT pg_create_logical_replication_slot('mine', 'pgoutput')",
            "CREATE SUBSCRIPTION mine CONNECTION 'dbname=stock' PUBLICATION mine WITH (connect = false)",
        ),
        Trial(script="ALTER SYSTEM SET log_statement = 'none'", in_transaction=False),
        Trial(script="IDENTIFY_SYSTEM", in_transaction=False, replication="database"),
        Trial(script="IDENTIFY_SYSTEM", in_transaction=False, replication="true"),
    ],
}
EXCEPTIONS: dict[tuple[Ability, int], str] = {(Ability.CREATE_IN_PUBLIC, 14): "rwo"}
"""The levels that have an ability on one major version of PostgreSQL, where that differs from what the project says of all."""


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


@pytest.fixture(scope="module")
def scene(cluster: Cluster, people: dict[PermissionLevel, psycopg.Connection]) -> Iterator[dict[str, object]]:
    """What the trials need to be there: rows that a policy hides, sibling databases, and something that a writer left."""
    groups = group_roles("levels")
    cluster.do(
        "SET ROLE application; CREATE TABLE shop.hidden (id int); INSERT INTO shop.hidden VALUES (1), (1);"
        "ANALYZE shop.hidden; ALTER TABLE shop.hidden ENABLE ROW LEVEL SECURITY;"
        "CREATE VIEW shop.open_orders AS SELECT * FROM shop.orders;"
        "RESET ROLE; CREATE SCHEMA left_over; CREATE TABLE left_over.notes AS SELECT 'still here' AS note;"
        "ALTER SCHEMA left_over OWNER TO {0}; ALTER TABLE left_over.notes OWNER TO {0}",
        groups.attic,
    )
    with cluster.superuser() as rdsadmin:
        rdsadmin.execute("CREATE DATABASE open")
        rdsadmin.execute("CREATE DATABASE bare")
        rdsadmin.execute("REVOKE CONNECT ON DATABASE open, bare FROM PUBLIC")
        # As on the database of the location.
        rdsadmin.execute(f"GRANT CONNECT, CREATE ON DATABASE bare TO {groups.write}")
        rdsadmin.execute(f"GRANT CONNECT ON DATABASE bare TO {groups.read}, {groups.operate}")
    cluster.do("CREATE TABLE public.things (id int)", database="open")
    cluster.do("DROP EXTENSION plpgsql", database="bare")
    untrusted = cluster.ask(
        "SELECT name FROM pg_available_extension_versions WHERE NOT trusted AND NOT installed AND requires IS NULL"
    )
    hidden = cluster.ask("SELECT 'shop.hidden'::regclass::oid")
    yield {"untrusted_extension": untrusted, "write_group": groups.write, "hidden_table": hidden}
    cluster.do("DROP TABLE shop.hidden; DROP VIEW shop.open_orders; DROP SCHEMA left_over CASCADE")
    for database in ("open", "bare"):
        cluster.do("DROP DATABASE {}", database)


@pytest.fixture
def names(cluster: Cluster, scene: dict[str, object]) -> Iterator[dict[str, object]]:
    """What the trials name: the scene, and connections of others to be seen or ended."""
    others = {
        "here": ("orders", "application"),
        "elsewhere": ("stock", "application"),
        "superuser": ("orders", "rdsadmin"),
        "control_plane": ("orders", "drawbridge"),
    }
    with ExitStack() as stack:
        # For as long as a trial takes: where it stands open, no location of the cluster is isolated.
        cluster.do("GRANT CONNECT ON DATABASE open TO PUBLIC")
        stack.callback(cluster.do, "REVOKE CONNECT ON DATABASE open FROM PUBLIC")
        pids = {
            name: stack.enter_context(closing(cluster.server.connect(database, user=user))).info.backend_pid
            for name, (database, user) in others.items()
        }
        yield {**scene, **pids}


def test_every_ability_has_a_trial() -> None:
    """Nothing is said of a level that is not tried."""
    assert set(Ability) == {ability for ability, trials in TRIALS.items() if trials}


@pytest.mark.parametrize("level", PermissionLevel)
@pytest.mark.parametrize(
    ("ability", "trial"),
    [
        pytest.param(ability, trial, id=f"{ability.name}: {trial}")
        for ability, trials in TRIALS.items()
        for trial in trials
    ],
)
def test_level_has_exactly_the_abilities_that_are_said(
    cluster: Cluster, names: dict[str, object], ability: Ability, trial: Trial, level: PermissionLevel
) -> None:
    """A level can what the words say and no more, also for somebody who switches their guard rails off."""
    role = an_order(cluster, a_location("levels"), level=level).facts.role
    holders = EXCEPTIONS.get((ability, cluster.version))
    expected = level.has(ability) if holders is None else level in holders

    assert expected == shows(cluster, trial, role, {**names, "role": role})


def shows(cluster: Cluster, trial: Trial, role: str, names: dict[str, object]) -> bool:
    """Does the trial succeed for this role? Nothing of it stays."""
    try:
        connection = cluster.server.connect(trial.database, role, autocommit=True, replication=trial.replication)
    except psycopg.OperationalError as error:
        if not REFUSED_ENTRY.search(str(error)):
            raise
        return False
    with closing(connection):
        try:
            if trial.replication == "false":
                connection.execute(SWITCH_OFF_READ_ONLY)
            if not trial.in_transaction:
                connection.execute(trial.script.encode())
                return True
            with connection.transaction(force_rollback=True):
                cursor = connection.cursor()
                for statement in trial.script.format(**names).split("; "):
                    cursor.execute(statement.encode())
                return cursor.description is None or cursor.fetchone() != (False,)
        except psycopg.errors.InsufficientPrivilege:
            return False


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


def test_guard_rails_are_no_walls(cluster: Cluster, admin: PostgresDatabaseAdmin, location: Location) -> None:
    """Whoever has a login can switch its time limits and its read-only off, so nothing is said to rest on them."""
    order = an_order(cluster, location, level=READ)
    admin.provision(order)
    with cluster.log_in(order) as alice:
        for setting, value in {"default_transaction_read_only": "off", "statement_timeout": "0"}.items():
            alice.execute(f"SET {setting} = {value}".encode())
            alice.execute(f"ALTER ROLE {order.facts.role} SET {setting} = {value}".encode())

        assert may(alice, "CREATE TEMPORARY TABLE mine (id int)")
    with cluster.log_in(order) as alice:
        assert ("off", "0") == tuple(
            alice.execute(f"SHOW {name}".encode()).fetchone()[0]  # type: ignore[index]  # SHOW answers with a row
            for name in ("default_transaction_read_only", "statement_timeout")
        )


def test_operator_sees_who_blocks_whom_and_ends_it(
    people: dict[PermissionLevel, psycopg.Connection], cluster: Cluster
) -> None:
    """The query of the documentation names the waiting and the blocking connection; ending the latter lets the former go on."""
    with two_in_each_others_way(cluster, "orders", "orders", UPDATE, user="application") as pair:
        cursor = people[OPERATE].execute(WHO_BLOCKS_WHOM.encode())
        (row,) = cursor.fetchall()
        seen = dict(zip([column.name for column in cursor.description or ()], row, strict=True))
        ended = people[OPERATE].execute(f"SELECT pg_kill_connection({seen['blocking_pid']})".encode()).fetchone()
        wait_until(lambda: not pair.waiter.is_alive())

    assert (True,) == ended
    assert seen.pop("waiting_since") is not None
    assert {
        "blocked_pid": pair.blocked_pid,
        "blocked_user": "application",
        "blocked_query": UPDATE,
        "blocking_pid": pair.blocking_pid,
        "blocking_user": "application",
        "blocking_state": "idle in transaction",
        "blocking_query": UPDATE,
    } == seen


def test_blocking_in_other_databases_is_not_listed(
    people: dict[PermissionLevel, psycopg.Connection], cluster: Cluster
) -> None:
    """The query is about connections of this database, which are those that pg_kill_connection ends."""
    with two_in_each_others_way(cluster, "stock", "stock", UPDATE, user="application"):
        assert [] == people[OPERATE].execute(WHO_BLOCKS_WHOM.encode()).fetchall()


def test_blocker_of_another_database_is_a_pid_without_details(
    people: dict[PermissionLevel, psycopg.Connection], cluster: Cluster
) -> None:
    """Roles are the cluster's, so a wait can have its cause elsewhere: that is said and nothing is made up."""
    with two_in_each_others_way(cluster, "stock", "orders", "COMMENT ON ROLE auditor IS NULL") as pair:
        (row,) = people[OPERATE].execute(WHO_BLOCKS_WHOM.encode()).fetchall()

    assert (pair.blocked_pid, pair.blocking_pid, None, None, None) == (row[0], *row[4:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A connection that holds a lock in its open transaction, and one whose thread waits for it."""

    blocking_pid: int
    blocked_pid: int
    waiter: threading.Thread


@contextmanager
def two_in_each_others_way(
    cluster: Cluster, database_of_blocker: str, database_of_blocked: str, statement: str, user: str = "rdsadmin"
) -> Iterator[Pair]:
    """One did something and stays in its transaction; the other waits to do it too, until the first one is gone."""
    with (
        closing(cluster.server.connect(database_of_blocker, user)) as blocker,
        closing(cluster.server.connect(database_of_blocked, user, autocommit=True)) as blocked,
    ):
        blocker.execute(statement.encode())
        waiter = threading.Thread(target=blocked.execute, args=[statement.encode()])
        pair = Pair(blocking_pid=blocker.info.backend_pid, blocked_pid=blocked.info.backend_pid, waiter=waiter)
        waiter.start()
        try:
            wait_until(lambda: cluster.ask("SELECT pg_blocking_pids(%s)", pair.blocked_pid) == [pair.blocking_pid])
            yield pair
        finally:
            blocker.close()
            waiter.join(SECONDS_TO_WAIT)
