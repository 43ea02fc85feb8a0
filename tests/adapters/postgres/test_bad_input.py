"""What may be wrong with a name, a right, a server or its answer: a named error with the repair, and nothing half done."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import replace

import psycopg
import pytest

from chalicelib.domain.errors import AccessError, DatabaseSetupError, DatabaseUnavailableError
from chalicelib.domain.instances import DatabaseInstances, Endpoint
from chalicelib.domain.locations import Location
from chalicelib.domain.orders import ProvisioningOrder
from chalicelib.domain.people import Person
from chalicelib.postgres.connections import is_passing, translated
from chalicelib.postgres.database_admin import PostgresDatabaseAdmin
from chalicelib.postgres.owner_setup import owner_setup
from chalicelib.postgres.statements import find_version_objection
from tests.adapters.postgres.cluster import (
    REGION,
    SECONDS_TO_WAIT,
    Cluster,
    a_location,
    an_order,
    numbers,
    the_end_of,
    wait_until,
)
from tests.adapters.postgres.standby import Standby

OF_LOCATION = "SELECT count(*) FROM pg_roles WHERE rolname IN (%s, %s, %s, %s, %s)"


def roles_of(cluster: Cluster, order: ProvisioningOrder) -> int:
    """How many of the five roles that an order makes are there."""
    groups = order.groups
    found: int = cluster.ask(OF_LOCATION, order.facts.role, groups.read, groups.write, groups.operate, groups.attic)
    return found


def set_up_again(cluster: Cluster) -> None:
    with cluster.server.connect("orders", user="master", autocommit=True) as master:
        master.execute(owner_setup(database="orders", server_version=cluster.version * 10_000).encode())


# Names


@pytest.mark.parametrize(
    "name",
    [
        'O\'Brien "the" best',
        "zoë 🎉🔥",
        "\u202eeciLa \u05d0\u05dc\u05d9\u05e1",
        "long " * 60,
        "pg_monitor",
        '"; DROP ROLE auditor; --',
        "$$ %s {} \\",
        "",
        "x\ny\tz",
    ],
    ids=["quotes", "emoji", "right to left", "300 characters", "predefined role", "SQL", "templates", "none", "lines"],
)
@pytest.mark.parametrize("where", ["person", "location and ids"])
def test_a_hostile_label_is_only_a_label(cluster: Cluster, admin: PostgresDatabaseAdmin, name: str, where: str) -> None:
    """Whoever is called so gets a user with a plain name of at most 63 bytes, may log in, and is taken away again."""
    is_person = where == "person"
    location = a_location(f"hostile-{next(numbers)}" if is_person else f"{name}{next(numbers)}")
    order = an_order(cluster, location, request_id="R-AAAAAA" if is_person else f"R-{name}")
    person = (
        Person(name=name, team="T0EXAMPLE", slack="U0ALICE") if is_person else replace(order.facts.person, slack=name)
    )
    order = replace(order, facts=replace(order.facts, person=person))
    admin.provision(order)
    admin.try_login(order)
    receipt = admin.revoke(the_end_of(order))

    assert re.fullmatch(r"jit_[a-z2-7]{10}_w_[a-z0-9_]{1,40}", order.facts.role)
    assert (order.facts.role, True, None) == (receipt.role, receipt.is_dropped, receipt.superseded_by)
    assert 1 == cluster.ask("SELECT count(*) FROM pg_roles WHERE rolname = 'auditor'")


# Rights of our own login


@pytest.mark.parametrize(
    ("take_away", "since", "words"),
    [
        ("ALTER ROLE drawbridge NOCREATEROLE", 14, "permission denied to create role"),
        ("ALTER ROLE drawbridge NOLOGIN", 14, "not permitted to log in"),
        ("REVOKE rds_iam FROM drawbridge CASCADE", 14, "refuses the login drawbridge"),
        ("REVOKE ADMIN OPTION FOR rds_iam FROM drawbridge CASCADE", 16, 'grant role "rds_iam"'),
        ("REVOKE ADMIN OPTION FOR pg_read_all_data FROM drawbridge CASCADE", 16, 'grant role "pg_read_all_data"'),
        ("REVOKE ADMIN OPTION FOR pg_write_all_data FROM drawbridge CASCADE", 16, 'grant role "pg_write_all_data"'),
        ("REVOKE ADMIN OPTION FOR pg_monitor FROM drawbridge CASCADE", 16, 'grant role "pg_monitor"'),
        ("REVOKE CONNECT ON DATABASE orders FROM drawbridge CASCADE", 14, "permission denied for database"),
        (
            "REVOKE CREATE ON DATABASE orders FROM drawbridge CASCADE",
            14,
            'CREATE ON DATABASE "orders"|for database orders',
        ),
        ("REVOKE GRANT OPTION FOR CONNECT ON DATABASE orders FROM drawbridge CASCADE", 14, "GRANT CONNECT ON DATABASE"),
        ("REVOKE GRANT OPTION FOR CREATE ON DATABASE orders FROM drawbridge CASCADE", 14, "GRANT CREATE ON DATABASE"),
        (
            "REVOKE GRANT OPTION FOR TEMPORARY ON DATABASE orders FROM drawbridge CASCADE",
            14,
            "GRANT TEMPORARY ON DATABASE",
        ),
    ],
)
def test_a_right_that_our_login_lacks_is_named_and_the_set_up_repairs_it(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder, take_away: str, since: int, words: str
) -> None:
    """Nothing of the order stays behind, also where PostgreSQL only warned; what the message advises is enough."""
    if cluster.version < since:
        pytest.skip("up to PostgreSQL 15 CREATEROLE alone may grant these")
    with cluster.server.connect("orders", user="master", autocommit=True) as master:
        master.execute(take_away.encode())
    try:
        with pytest.raises(DatabaseSetupError, match=words) as caught:
            admin.provision(order)
        left = roles_of(cluster, order)
    finally:
        set_up_again(cluster)

    assert f"python -m deployment location sql {order.facts.location}" in str(caught.value)
    assert 0 == left
    admin.provision(order)
    admin.try_login(order)


def test_a_schema_of_our_name_that_is_somebody_elses_is_refused(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder, location: Location
) -> None:
    """A function in it would be theirs to change."""
    admin.provision(an_order(cluster, replace(location, name=f"{location.name}-earlier")))
    cluster.do("ALTER SCHEMA drawbridge OWNER TO application")
    try:
        with pytest.raises(DatabaseSetupError, match="permission denied for schema drawbridge"):
            admin.provision(order)
        left = roles_of(cluster, order)
    finally:
        cluster.do("ALTER SCHEMA drawbridge OWNER TO drawbridge")

    assert 0 == left


# Servers


@pytest.mark.parametrize(
    ("server_version", "objection"),
    [
        (130_014, "runs PostgreSQL 13. Drawbridge needs 14, the first with pg_read_all_data; upgrade it."),
        (90_624, "runs PostgreSQL 9. Drawbridge needs 14, the first with pg_read_all_data; upgrade it."),
        (140_000, None),
        (140_023, None),
        (180_004, None),
    ],
)
def test_a_server_older_than_14_is_refused(server_version: int, objection: str | None) -> None:
    """It has no pg_read_all_data."""
    assert objection == find_version_objection(server_version)


@pytest.fixture
def reader(cluster: Cluster) -> Iterator[Endpoint]:
    """A hot standby of the cluster, under an address of its own."""
    host = f"my-aurora-3.abc123.{REGION}.rds.amazonaws.com"
    with Standby(cluster.server, "my-aurora-3") as standby:
        cluster.proxy.add_server(host, standby)
        yield Endpoint(host=host, port=cluster.proxy.port)
        cluster.proxy.remove_server(host)


@pytest.mark.parametrize("act", ["provision", "revoke"])
def test_a_reader_in_the_place_of_the_writer_is_waited_for(
    cluster: Cluster, order: ProvisioningOrder, reader: Endpoint, act: str
) -> None:
    """After a failover the address of the writer leads to a reader for a while: three tries, then the workflow's."""
    pauses: list[float] = []
    order = replace(order, instances=DatabaseInstances(writer=reader))

    with pytest.raises(DatabaseUnavailableError, match=r"hot standby|read-only"):
        carry_out(cluster.admin(pause=pauses.append), act, order)
    assert 2 == len(pauses)
    assert 0 == roles_of(cluster, order)


def carry_out(admin: PostgresDatabaseAdmin, act: str, order: ProvisioningOrder) -> object:
    return admin.provision(order) if act == "provision" else admin.revoke(the_end_of(order))


def fill_every_slot(cluster: Cluster, sessions: ExitStack) -> None:
    with suppress(psycopg.OperationalError):
        while True:
            sessions.enter_context(closing(cluster.server.connect("orders", user="application")))


@pytest.mark.parametrize("act", ["provision", "revoke"])
def test_a_server_without_a_free_slot_is_unavailable(cluster: Cluster, order: ProvisioningOrder, act: str) -> None:
    """Others have all connections open; that passes."""
    cluster.admin().provision(order)
    with ExitStack() as sessions:
        fill_every_slot(cluster, sessions)
        with pytest.raises(DatabaseUnavailableError, match="connection slots are reserved"):
            carry_out(cluster.admin(pause=lambda _: None), act, order)

    carry_out(cluster.admin(), act, order)


@pytest.mark.parametrize("act", ["provision", "revoke"])
def test_our_login_with_all_its_connections_open_waits_for_one(
    cluster: Cluster, order: ProvisioningOrder, act: str
) -> None:
    """Many of us at once: ours are short, so each waits its turn."""
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            cluster.do("ALTER ROLE drawbridge CONNECTION LIMIT 20")

    cluster.admin().provision(order)
    cluster.do("ALTER ROLE drawbridge CONNECTION LIMIT 0")
    carry_out(cluster.admin(pause=pause), act, order)

    assert all(0.2 <= seconds <= 0.8 for seconds in pauses[:3])


@pytest.mark.parametrize("act", ["provision", "revoke"])
def test_our_login_waits_its_turn_for_a_bounded_time(cluster: Cluster, order: ProvisioningOrder, act: str) -> None:
    """After that the workflow tries again."""
    pauses: list[float] = []
    cluster.do("ALTER ROLE drawbridge CONNECTION LIMIT 0")
    try:
        with pytest.raises(DatabaseUnavailableError, match="too many connections for role"):
            carry_out(cluster.admin(pause=pauses.append), act, order)
    finally:
        cluster.do("ALTER ROLE drawbridge CONNECTION LIMIT 20")

    assert 20 < sum(pauses) < 120


@pytest.mark.parametrize("act", ["provision", "revoke"])
def test_a_database_that_does_not_exist_is_a_matter_of_set_up(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder, act: str
) -> None:
    """Neither act waits for it; a revocation claims nothing."""
    order = replace(
        order, facts=replace(order.facts, database="missing"), location=replace(order.location, database="missing")
    )

    with pytest.raises(AccessError, match=r'database "missing" does not exist.*location sql') as caught:
        carry_out(admin, act, order)
    assert {"provision": "DatabaseSetupError", "revoke": "RevocationIncompleteError"}[act] == type(
        caught.value
    ).__name__


# What passes


class Starting(Standby):
    """A server that never gets ready to take a connection, and says so."""

    def _copy_data(self) -> None:
        super()._copy_data()
        with (self.directory / "data" / "postgresql.auto.conf").open("a") as file:
            file.write("hot_standby = off\n")

    def _wait_until_ready(self, deadline: float) -> None:
        wait_until(lambda: "not accepting connections" in self.refusal())

    def refusal(self) -> str:
        try:
            self.connect().close()
        except psycopg.OperationalError as error:
            return str(error)
        return ""


@pytest.mark.parametrize("act", ["provision", "revoke"])
def test_a_server_that_starts_is_waited_for(cluster: Cluster, order: ProvisioningOrder, act: str) -> None:
    """Three tries, then the workflow's."""
    pauses: list[float] = []
    host = f"my-aurora-4.abc123.{REGION}.rds.amazonaws.com"
    with Starting(cluster.server, "my-aurora-4") as server:
        server.connect = cluster.server.connect  # type: ignore[method-assign]  # whose roles the door looks up
        cluster.proxy.add_server(host, server)
        writer = Endpoint(host=host, port=cluster.proxy.port)
        with pytest.raises(DatabaseUnavailableError, match="not accepting connections"):
            carry_out(
                cluster.admin(pause=pauses.append), act, replace(order, instances=DatabaseInstances(writer=writer))
            )
        cluster.proxy.remove_server(host)

    assert 2 == len(pauses)


WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE usename = 'drawbridge' AND wait_event_type = 'Lock' AND datname = %s"
)
ENDED = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'drawbridge' AND datname = %s"


@pytest.mark.parametrize("act", ["provision", "revoke"])
def test_a_connection_that_is_ended_in_the_middle_is_unavailable(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder, act: str
) -> None:
    """As by a failover or a restart; nothing of the transaction stays, and the next try completes it."""
    admin.provision(order)
    cluster.do("ALTER ROLE {} CONNECTION LIMIT 1", order.facts.role)
    with ThreadPoolExecutor(1) as pool, cluster.server.connect("stock") as holder:
        holder.execute(f"ALTER ROLE {order.facts.role} VALID UNTIL 'infinity'".encode())
        carried_out = pool.submit(carry_out, admin, act, order)
        wait_until(lambda: cluster.ask(WAITING, "orders") == 1)
        cluster.ask(ENDED, "orders")
        error = carried_out.exception(SECONDS_TO_WAIT)
        holder.rollback()

    assert isinstance(error, DatabaseUnavailableError)
    assert "terminating connection" in str(error)
    assert cluster.ask("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", order.facts.role)
    carry_out(admin, act, order)


def test_a_connection_to_a_sibling_that_is_ended_is_no_reason_to_leave_things_there(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """What passes is tried again, and only what lasts is left undone and named."""
    admin.provision(order)
    cluster.do("CREATE SCHEMA of_alice AUTHORIZATION {}", order.facts.role, database="stock")
    with ThreadPoolExecutor(1) as pool, cluster.server.connect("stock") as holder:
        holder.execute("ALTER SCHEMA of_alice OWNER TO master")
        revoked = pool.submit(admin.revoke, the_end_of(order))
        wait_until(lambda: cluster.ask(WAITING, "stock") == 1)
        cluster.ask(ENDED, "stock")
        error = revoked.exception(SECONDS_TO_WAIT)
        holder.rollback()
    receipt = admin.revoke(the_end_of(order))
    cluster.do("DROP SCHEMA of_alice", database="stock")

    assert isinstance(error, DatabaseUnavailableError)
    assert ((), True) == (receipt.unchecked, receipt.is_dropped)


@pytest.mark.parametrize(
    ("state", "error"),
    [
        *(
            (state, DatabaseUnavailableError)
            for state in ("57P01", "57P02", "57P03", "57P05", "25006", "53300", "57014")
        ),
        *(
            (state, DatabaseUnavailableError)
            for state in ("08000", "08003", "08006", "08P01", "40001", "40P01", "55P03")
        ),
        *(
            (state, DatabaseSetupError)
            for state in ("42501", "42704", "28000", "28P01", "3D000", "3F000", "2BP01", "0LP01")
        ),
    ],
)
def test_what_postgresql_says_is_something_that_passes_or_something_to_repair(
    state: str, error: type[AccessError]
) -> None:
    """The workflow tries the one again and tells people of the other."""
    with pytest.raises(error), translated(location="orders", place="The database"):
        raise psycopg.errors.lookup(state)("so it said")


@pytest.mark.parametrize(
    ("state", "passes"),
    [("57P01", True), ("57P03", True), ("08006", True), ("25006", True), ("57014", False), ("42501", False)],
)
def test_only_a_server_that_goes_away_passes_by_itself(state: str, passes: bool) -> None:
    """A statement that took too long would take too long again."""
    assert passes is is_passing(psycopg.errors.lookup(state)("so it said"))
