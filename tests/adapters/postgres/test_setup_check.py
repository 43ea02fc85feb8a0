"""The check of a location's set-up: each right is taken away in turn, and its printed repair gives exactly it back."""

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
from moto import mock_aws

from chalicelib.aws.clients import client as shared_client
from chalicelib.domain.locations import Isolation, Location
from chalicelib.domain.orders import ProvisioningOrder
from chalicelib.domain.roles import PROVISIONER, group_roles
from chalicelib.postgres.connections import Connector
from chalicelib.postgres.database_admin import PostgresDatabaseAdmin
from chalicelib.postgres.setup_check import Finding, Mark, Subject, examine
from deployment.__main__ import main
from local.functions import environment
from local.iam_proxy import IamProxy
from local.postgres import PostgresServer, find_bin_directory
from tests.adapters.postgres.cluster import (
    ACCESS_KEY,
    REGION,
    SECRET_KEY,
    Cluster,
    a_closed_port,
    numbers,
    the_end_of,
    wait_until,
)

RESOURCE = "cluster-EXAMPLE"
CATALOGUE = """
[slack]
team = "T0EXAMPLE"
approvals_channel = "C0APPROVALS"
[people]
alice = {{ slack = "U0ALICE" }}
[bastions.main]
subnets = ["subnet-a"]
[locations.{name}]
cluster = "{name}"
database = "orders"
region = "eu-west-1"
environment = "prod"
bastion = "main"
[locations.{name}.levels]
r = {{ who = "*", automatic = true }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """A way to lose a right: what a superuser runs, what the check then says, and who runs the repair."""

    statements: tuple[str, ...]
    says: str
    repaired_by: str = "master"
    since: int = 14
    until: int = 99


REVOKE = "REVOKE {right} ON DATABASE orders FROM drawbridge CASCADE"
BREAKS = {
    "LOGIN": Break(statements=("ALTER ROLE drawbridge NOLOGIN",), says="drawbridge lacks LOGIN"),
    "CREATEROLE": Break(statements=("ALTER ROLE drawbridge NOCREATEROLE",), says="drawbridge lacks CREATEROLE"),
    "pg_signal_backend": Break(
        statements=("membership pg_signal_backend",), says="drawbridge cannot use pg_signal_backend"
    ),
    "use of pg_signal_backend": Break(
        statements=("GRANT pg_signal_backend TO drawbridge WITH INHERIT FALSE GRANTED BY rds_superuser",),
        says="drawbridge cannot use pg_signal_backend",
        since=16,
    ),
    "ADMIN of rds_iam": Break(
        statements=("REVOKE ADMIN OPTION FOR rds_iam FROM drawbridge GRANTED BY rds_superuser CASCADE",),
        says="drawbridge may not hand out rds_iam",
        since=16,
    ),
    **{
        f"ADMIN of {role}": Break(
            statements=(f"membership {role}",), says=f"drawbridge may not hand out {role}", since=16
        )
        for role in ("pg_read_all_data", "pg_write_all_data", "pg_monitor")
    },
    **{
        right: Break(statements=(REVOKE.format(right=right),), says=f"drawbridge may not grant {right} on orders")
        for right in ("CREATE", "CONNECT", "TEMPORARY")
    },
    "grant option": Break(
        statements=(REVOKE.format(right="GRANT OPTION FOR CREATE, CONNECT"),),
        says="drawbridge may not grant CREATE, CONNECT on orders",
    ),
    "a role of before an upgrade": Break(
        statements=(
            "DROP ROLE IF EXISTS jit_old_r_bob",
            "CREATE ROLE jit_old_r_bob",
            "COMMENT ON ROLE jit_old_r_bob IS 'drawbridge {}'",
        ),
        says="cannot change or end them: jit_old_r_bob",
        repaired_by="rdsadmin",
        since=16,
    ),
    "the schema": Break(
        statements=("ALTER SCHEMA drawbridge OWNER TO master",), says="the schema drawbridge belongs to master"
    ),
}


@pytest.fixture
def connection(cluster: Cluster) -> Iterator[psycopg.Connection]:
    with closing(open_connection(cluster)) as connection:
        yield connection


@pytest.fixture(autouse=True)
def access(admin: PostgresDatabaseAdmin, order: ProvisioningOrder) -> Iterator[ProvisioningOrder]:
    """Somebody had access, so that everything which Drawbridge makes is there."""
    order = replace(order, instances=replace(order.instances, resource_id=RESOURCE))
    admin.provision(order)
    yield order
    admin.revoke(the_end_of(order))


def open_connection(cluster: Cluster) -> psycopg.Connection:
    return Connector(
        sign=cluster.sign,
        certificate_bundle=str(cluster.bundle),
        hostaddr="127.0.0.1",
        connect_seconds=10,
        pause=lambda _: None,
    ).open(cluster.writer, database="orders", user=PROVISIONER, request_id="location check")


def a_subject(cluster: Cluster, location: Location, resource: str = RESOURCE) -> Subject:
    return Subject(
        location=location,
        writer=cluster.writer,
        resource=resource,
        sql_command=f"python -m deployment location sql {location.name}",
        connect_arn=f"arn:aws:rds-db:{REGION}:123456789012:dbuser:{resource}/drawbridge",
    )


def objections(connection: psycopg.Connection, subject: Subject) -> list[Finding]:
    """What is not well, whether or not it counts; but master made our login, and that is so from 16 on."""
    return [
        finding
        for finding in examine(connection, subject)
        if finding.mark is not Mark.HOLDS and "since master made that role" not in finding.what
    ]


def break_it(cluster: Cluster, statement: str) -> None:
    """As a superuser; ``membership ROLE`` takes the role from our login, whoever granted it."""
    if statement.startswith("membership "):
        by = "|| format(' GRANTED BY %%I CASCADE', pg_get_userbyid(grantor))" if cluster.version >= 16 else ""
        statement = cluster.ask(
            f"SELECT format('REVOKE %%I FROM drawbridge', pg_get_userbyid(roleid)) {by} FROM pg_auth_members"
            " WHERE roleid = %s::regrole AND member = 'drawbridge'::regrole",
            statement.removeprefix("membership "),
        )
    with cluster.superuser() as rdsadmin:
        rdsadmin.execute(statement.encode())


def run_repair(cluster: Cluster, repair: str, *, user: str, database: str = "orders") -> None:
    """As it would be pasted into psql."""
    with cluster.server.connect(database, user=user, autocommit=True) as connection:
        connection.execute(repair.encode())


def test_a_complete_set_up_has_nothing_to_repair(
    connection: psycopg.Connection, cluster: Cluster, location: Location
) -> None:
    """Every question is answered, and well."""
    findings = list(examine(connection, a_subject(cluster, location)))

    assert {Mark.HOLDS} == {finding.mark for finding in findings} - {Mark.CAUTION}
    assert 11 == len(findings)


@pytest.mark.parametrize("name", BREAKS)
def test_each_right_is_missed_and_its_repair_repairs(
    name: str, connection: psycopg.Connection, cluster: Cluster, location: Location
) -> None:
    """Exactly the right that was taken is named; what is printed for it, run as printed, leaves nothing to repair."""
    broken, subject = BREAKS[name], a_subject(cluster, location)
    if not broken.since <= cluster.version <= broken.until:
        pytest.skip("this version has no such right")
    for statement in broken.statements:
        break_it(cluster, statement)
    (found,) = objections(connection, subject)
    run_repair(cluster, found.repair, user=broken.repaired_by)

    assert Mark.REPAIR is found.mark
    assert broken.says in found.what
    assert [] == objections(connection, subject)


def test_an_older_server_can_switch_inheritance_off_for_good(
    connection: psycopg.Connection, cluster: Cluster, location: Location
) -> None:
    """Before 16 a login inherits everything or nothing."""
    if cluster.version >= 16:
        pytest.skip("each membership says for itself whether it is inherited")
    break_it(cluster, "ALTER ROLE drawbridge NOINHERIT")
    found = objections(connection, a_subject(cluster, location))
    run_repair(cluster, found[0].repair, user="master")

    assert ["drawbridge cannot use rds_iam", "drawbridge cannot use pg_signal_backend"] == [
        finding.what for finding in found
    ]
    assert [] == objections(connection, a_subject(cluster, location))


def test_a_database_open_to_everybody_is_isolated_by_its_owner(
    connection: psycopg.Connection,
    cluster: Cluster,
    location: Location,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The repair is a command that prints SQL for that owner; the application of that database stays let in."""
    break_it(cluster, "REVOKE CONNECT ON DATABASE stock FROM application; GRANT CONNECT ON DATABASE stock TO PUBLIC")
    (found,) = objections(connection, a_subject(cluster, location))
    catalogue = tmp_path / "catalogue.toml"
    catalogue.write_text(CATALOGUE.format(name=location.name))
    (command,) = [line for line in found.repair.splitlines() if line.startswith("python -m deployment ")]
    status = main([*command.split()[3:], "--locations", str(catalogue)])
    run_repair(cluster, capsys.readouterr().out, user="master", database="stock")

    assert (0, Mark.REPAIR) == (status, found.mark)
    assert "stock: everybody may connect there" in found.what
    assert [] == objections(connection, a_subject(cluster, location))
    assert cluster.ask("SELECT has_database_privilege('application', 'stock', 'CONNECT')")


def test_a_name_cannot_leave_its_comment(connection: psycopg.Connection, cluster: Cluster, location: Location) -> None:
    """Whoever may make a database may give it a name that would be a statement on a line of its own."""
    name = "x\nDROP DATABASE orders; --"
    cluster.do("CREATE DATABASE {}", name)
    (found,) = objections(connection, a_subject(cluster, location))
    cluster.do("DROP DATABASE {}", name)

    assert [] == [line for line in found.repair.splitlines() if not line.startswith(("--", "python -m deployment "))]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"also_readable": frozenset({"stock"})}, []),
        ({"isolation": Isolation.WARN}, [Mark.CAUTION]),
        ({}, [Mark.REPAIR]),
    ],
)
def test_the_catalogue_says_how_much_isolation_matters(
    changes: dict[str, object],
    expected: list[Mark],
    connection: psycopg.Connection,
    cluster: Cluster,
    location: Location,
) -> None:
    """A database may be meant to be readable, or its being open may be only worth a word."""
    break_it(cluster, "GRANT CONNECT ON DATABASE stock TO PUBLIC")
    found = objections(connection, a_subject(cluster, replace(location, **changes)))  # type: ignore[arg-type]  # by name
    break_it(cluster, "REVOKE CONNECT ON DATABASE stock FROM PUBLIC")

    assert expected == [finding.mark for finding in found]


def test_a_restored_copy_is_noticed(
    connection: psycopg.Connection, cluster: Cluster, location: Location, access: ProvisioningOrder
) -> None:
    """Its groups name the cluster they were made on. The next access notes the new one."""
    moved = a_subject(cluster, location, "cluster-COPY")
    (found,) = objections(connection, moved)
    cluster.admin().provision(replace(access, instances=replace(access.instances, resource_id="cluster-COPY")))

    assert "RDS called this cluster-EXAMPLE, and it is cluster-COPY now" in found.what
    assert "put dbuser:cluster-COPY/ for dbuser:cluster-EXAMPLE/" in found.repair
    assert [] == objections(connection, moved)


def test_groups_of_before_ids_were_noted_are_no_copy(
    connection: psycopg.Connection, cluster: Cluster, location: Location
) -> None:
    """Nothing can be said of them."""
    for group in ("read", "write", "operate", "attic"):
        break_it(cluster, f"COMMENT ON ROLE {getattr(group_roles(location.name), group)} IS 'drawbridge {{}}'")

    assert [] == objections(connection, a_subject(cluster, location))


def test_a_password_login_that_became_an_iam_login_is_named(
    connection: psycopg.Connection, cluster: Cluster, location: Location, access: ProvisioningOrder
) -> None:
    """Whoever is granted a person's role is a member of rds_iam with it, also at second hand."""
    cluster.do("GRANT {} TO auditor", access.facts.role)
    break_it(cluster, "GRANT auditor TO application")
    (found,) = objections(connection, a_subject(cluster, location))
    run_repair(cluster, found.repair, user="rdsadmin")
    left = objections(connection, a_subject(cluster, location))
    break_it(cluster, "REVOKE auditor FROM application")

    assert f"the password of application may be refused: by way of {access.facts.role}" in found.what
    assert [] == left


def test_a_login_that_is_meant_to_use_iam_is_in_no_danger(
    connection: psycopg.Connection, cluster: Cluster, location: Location, access: ProvisioningOrder
) -> None:
    """It was granted rds_iam itself."""
    cluster.do("GRANT {} TO application", access.facts.role)
    break_it(cluster, "GRANT rds_iam TO application")
    found = objections(connection, a_subject(cluster, location))
    break_it(cluster, "REVOKE rds_iam FROM application")
    cluster.do("REVOKE {} FROM application", access.facts.role)

    assert [] == found


def test_a_role_that_only_looks_like_ours_is_not_ours(
    connection: psycopg.Connection, cluster: Cluster, location: Location
) -> None:
    """Neither the comment alone nor the name alone makes it one, so nobody is told to hand it to Drawbridge."""
    break_it(cluster, "CREATE ROLE jit_of_others; CREATE ROLE others; COMMENT ON ROLE others IS 'drawbridge {}'")
    found = objections(connection, a_subject(cluster, location))
    break_it(cluster, "DROP ROLE jit_of_others; DROP ROLE others")

    assert [] == found


def test_whoever_made_our_login_is_told_to_try_their_password(
    connection: psycopg.Connection, cluster: Cluster, location: Location
) -> None:
    """From 16 on that makes them a member of it, which nobody but a superuser can undo; so it does not count."""
    found = [each for each in examine(connection, a_subject(cluster, location)) if each.mark is Mark.CAUTION]
    expected = ["the password of master may be refused: by way of drawbridge"] if cluster.version >= 16 else []

    assert expected == [
        finding.what[: len("the password of master may be refused: by way of drawbridge")] for finding in found
    ]


def test_questions_that_cannot_be_asked_are_unknown(
    connection: psycopg.Connection, cluster: Cluster, location: Location
) -> None:
    """A connection that ends meanwhile hides none of them."""
    questions = examine(connection, a_subject(cluster, location))
    next(questions)
    cluster.ask("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'drawbridge'")
    rest = list(questions)

    assert [Mark.UNKNOWN] * 10 == [finding.mark for finding in rest]
    assert all("could not be asked" in finding.what for finding in rest)


def test_nothing_is_changed(connection: psycopg.Connection, cluster: Cluster, location: Location) -> None:
    """The server itself would refuse it."""
    list(examine(connection, a_subject(cluster, location)))

    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), connection.transaction():
        connection.execute("CREATE ROLE jit_never")


def test_a_standby_is_not_the_writer(location: Location) -> None:
    """A tunnel may lead to a reader, whose certificate bears the same names."""
    with (
        PostgresServer(find_bin_directory(os.environ)) as server,
        tempfile.TemporaryDirectory(prefix="db-") as directory,
    ):
        cluster = Cluster(server, Path(directory))
        server.directory.joinpath("data", "standby.signal").touch(mode=0o644)
        with server.connect("orders", autocommit=True) as victim:
            os.kill(victim.info.backend_pid, signal.SIGKILL)
        wait_until(lambda: recovers(server))
        with server.connect("orders", user=PROVISIONER, autocommit=True) as connection:
            found = objections(connection, a_subject(cluster, location))
            with server.connect(autocommit=True) as rdsadmin:
                rdsadmin.execute("SELECT pg_promote()")
            left = objections(connection, a_subject(cluster, location))

    assert ["a reader answered, where nothing can be granted"] == [finding.what for finding in found]
    assert [] == left


def recovers(server: PostgresServer) -> bool:
    try:
        with server.connect() as connection:
            return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
    except psycopg.OperationalError:
        return False


# The whole command: AWS in this process, PostgreSQL behind TLS and IAM.


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Somebody at a terminal, with a catalogue of one location on a cluster that RDS knows."""

    cluster: Cluster
    name: str
    endpoint: str
    catalogue: Path

    def check(self, *options: str) -> int:
        certificates = ["--certificates", str(self.cluster.bundle)]
        return main(["location", "check", self.name, "--locations", str(self.catalogue), *certificates, *options])


@pytest.fixture
def hire(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., Operator]]:
    def operator(**changes: object) -> Operator:
        name = f"orders-{next(numbers)}"
        rds: Any = boto3.client("rds", region_name=REGION)
        rds.create_db_cluster(
            **{
                "DBClusterIdentifier": name,
                "Engine": "aurora-postgresql",
                "EngineVersion": f"{cluster.version}.4",
                "MasterUsername": "master",
                "MasterUserPassword": "not-used-here",
                "Port": cluster.proxy.port,
                "EnableIAMDatabaseAuthentication": True,
            }
            | changes
        )
        found = rds.describe_db_clusters(DBClusterIdentifier=name)["DBClusters"][0]
        cluster.proxy.add_host(found["Endpoint"])
        catalogue = tmp_path / f"{name}.toml"
        catalogue.write_text(CATALOGUE.format(name=name))
        return Operator(cluster=cluster, name=name, endpoint=found["Endpoint"], catalogue=catalogue)

    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_SESSION_TOKEN": None}
    shared_client.cache_clear()
    with mock_aws(), environment(keys):
        yield operator
    shared_client.cache_clear()


@pytest.fixture
def tunnel(cluster: Cluster) -> Iterator[IamProxy]:
    """The cluster's door behind another port."""
    door = replace(cluster.proxy, port=0)
    door.start()
    try:
        yield door
    finally:
        door.stop()


def test_a_ready_location_ends_with_what_is_next(
    hire: Callable[..., Operator], capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 0, and only findings that hold."""
    operator = hire()
    status = operator.check("--address", "localhost")

    printed = capsys.readouterr().out.splitlines()
    assert 0 == status
    assert f"Everything is there. Next, in Slack: /db-access {operator.name} r 15m" == printed[-1]
    assert 15 == len([line for line in printed if line.startswith("ok ")]) + (operator.cluster.version >= 16)


def test_a_server_without_our_login_is_set_up_by_what_is_printed(
    hire: Callable[..., Operator], cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first check of all: nobody is let in, and the owner gets the SQL of the server's own version."""
    operator = hire()
    break_it(cluster, "ALTER ROLE drawbridge RENAME TO drawbridge_put_aside")
    status = operator.check("--address", "127.0.0.1")
    printed = capsys.readouterr().out
    repair = "\n".join(line for line in printed.splitlines() if line.startswith("  "))
    run_repair(cluster, repair, user="master")
    repaired = operator.check("--address", "127.0.0.1")
    break_it(cluster, "DROP OWNED BY drawbridge; DROP ROLE drawbridge")
    break_it(cluster, "ALTER ROLE drawbridge_put_aside RENAME TO drawbridge")

    assert 1 == status
    assert "REPAIR   the login drawbridge is refused (PAM authentication failed" in printed
    assert (cluster.version >= 16) == ("WITH ADMIN TRUE" in printed)
    assert 1 == repaired
    assert "belongs to drawbridge_put_aside" in capsys.readouterr().out


@pytest.mark.parametrize(
    "lost",
    [
        "ALTER ROLE drawbridge NOLOGIN",
        "membership rds_iam",
        "REVOKE CONNECT ON DATABASE orders FROM drawbridge CASCADE",
    ],
)
def test_a_login_that_is_refused_is_let_in_again(
    lost: str, hire: Callable[..., Operator], cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever it is refused for, what is printed repairs it."""
    operator = hire()
    break_it(cluster, lost)
    status = operator.check("--address", "127.0.0.1")
    printed = capsys.readouterr().out
    run_repair(cluster, "\n".join(line for line in printed.splitlines() if line.startswith("  ")), user="master")

    assert (1, 0) == (status, operator.check("--address", "127.0.0.1"))
    assert "REPAIR   the login drawbridge is refused (" in printed
    assert "UNKNOWN  everything inside the database" in printed


def test_a_login_is_refused_as_long_as_iam_authentication_is_off(
    hire: Callable[..., Operator], cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing can be said of the login before that is repaired."""
    operator = hire(EnableIAMDatabaseAuthentication=False)
    break_it(cluster, "ALTER ROLE drawbridge RENAME TO drawbridge_put_aside")
    status = operator.check("--address", "127.0.0.1")
    break_it(cluster, "ALTER ROLE drawbridge_put_aside RENAME TO drawbridge")

    printed = capsys.readouterr().out
    assert 1 == status
    assert "UNKNOWN  the login drawbridge is refused" in printed
    assert "CREATE ROLE" not in printed


def test_a_database_that_does_not_answer_is_unknown_and_the_rest_is_said(
    hire: Callable[..., Operator], capsys: pytest.CaptureFixture[str]
) -> None:
    """What RDS says is printed before; then how to open a tunnel."""
    operator = hire(EnableIAMDatabaseAuthentication=False)
    status = operator.check("--address", f"127.0.0.1:{a_closed_port()}")

    printed = capsys.readouterr().out
    assert 1 == status
    assert f"aws rds modify-db-cluster --region {REGION} --db-cluster-identifier {operator.name} --enable" in printed
    assert "UNKNOWN  127.0.0.1:" in printed
    assert "AWS-StartPortForwardingSessionToRemoteHost" in printed
    assert "is not ready: 1 to repair, 2 could not be checked." in printed.splitlines()[-1]


def test_a_tunnel_on_another_port_needs_a_token_for_the_endpoints_own(
    hire: Callable[..., Operator], tunnel: IamProxy, cluster: Cluster
) -> None:
    """The server checks the port that RDS lists, not the one that was dialled."""
    operator = hire()
    tunnel.add_host(operator.endpoint)
    dialled, tunnel.port = tunnel.port, cluster.proxy.port

    assert 0 == operator.check("--address", f"127.0.0.1:{dialled}")


@pytest.mark.parametrize("has_iam_authentication", [True, False])
def test_a_certificate_of_somebody_else_is_refused(
    has_iam_authentication: bool, hire: Callable[..., Operator], capsys: pytest.CaptureFixture[str]
) -> None:
    """The token would have gone to them."""
    operator = hire(EnableIAMDatabaseAuthentication=has_iam_authentication)
    status = operator.check("--address", "127.0.0.1", "--certificates", str(Path(__file__)))

    assert 1 == status
    assert "the server could not prove that it is" in capsys.readouterr().out
