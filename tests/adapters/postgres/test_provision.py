"""Making a person's user, and the person's first login."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from chalicelib import ports
from chalicelib.defaults import CONNECTION_LIMIT
from chalicelib.domain.errors import (
    DatabaseSetupError,
    DatabaseUnavailableError,
    LoginRefusedError,
    OrderExpiredError,
)
from chalicelib.domain.instances import DatabaseInstances, Endpoint, require_own_endpoints
from chalicelib.domain.locations import (
    DatabaseKind,
    Isolation,
    Location,
)
from chalicelib.domain.orders import ProvisioningOrder
from chalicelib.postgres.database_admin import PostgresDatabaseAdmin
from chalicelib.postgres.owner_setup import owner_setup
from local.iam_proxy import CertificateAuthority
from tests.adapters.postgres.cluster import (
    REGION,
    SECONDS_TO_WAIT,
    WRITER,
    Cluster,
    a_closed_port,
    an_order,
    the_end_of,
    wait_until,
)

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


def test_database_that_was_restored_elsewhere_is_told_by_its_groups(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """Their comment names the cluster they were made for; at another one, one statement puts that right."""
    groups = order.groups
    named = (
        "SELECT array_agg(DISTINCT substr(shobj_description(oid, 'pg_authid'), 12)::json ->> 'resource') FROM pg_roles"
        " WHERE rolname IN (%s, %s, %s, %s)"
    )
    names = (groups.read, groups.write, groups.operate, groups.attic)
    there, elsewhere = (
        replace(order, instances=replace(order.instances, resource_id=resource_id))
        for resource_id in ("cluster-ABC", "cluster-XYZ")
    )
    admin.provision(there)
    before = cluster.ask(named, *names)
    with cluster.watch_statements() as again:
        admin.provision(there)
    with cluster.watch_statements() as moved:
        admin.provision(elsewhere)

    assert (["cluster-ABC"], ["cluster-XYZ"]) == (before, cluster.ask(named, *names))
    assert [] == again
    (statement,) = moved
    assert 4 == statement.count("COMMENT ON ROLE")


def test_single_instance_is_a_place_like_a_cluster(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """It has one endpoint, also when a standby in another zone waits to take it over."""
    host = f"my-db.abc123.{REGION}.rds.amazonaws.com"
    cluster.proxy.add_host(host)
    instances = DatabaseInstances(writer=Endpoint(host=host, port=cluster.proxy.port), resource_id="db-ABC")
    changes: dict[str, Any] = {"kind": DatabaseKind.INSTANCE, "identifier": "my-db"}
    order = replace(
        order,
        facts=replace(order.facts, **changes),
        location=replace(order.location, **changes),
        instances=instances,
    )
    require_own_endpoints(instances, kind=DatabaseKind.INSTANCE, identifier="my-db", region=REGION)
    admin.provision(order)
    admin.try_login(order)

    assert admin.revoke(the_end_of(order)).is_dropped


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


def test_user_who_is_parked_past_our_lock_while_they_are_renewed_may_log_in(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """From another database of the cluster, after it was seen that they may and before they were renewed."""
    admin.provision(order)
    renewal = replace(order, facts=replace(order.facts, request_id="R-BBBBBB"))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'drawbridge' AND wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as pool, cluster.server.connect("stock") as holder:
        holder.execute(f"COMMENT ON ROLE {order.facts.role} IS 'never seen'".encode())
        renewing = pool.submit(admin.provision, renewal)
        wait_until(lambda: cluster.ask(waiting) == 1)
        cluster.do("ALTER ROLE {} NOLOGIN", order.facts.role)
        holder.rollback()
        renewing.result(SECONDS_TO_WAIT)

    admin.try_login(renewal)


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
