"""What people leave behind survives them, and nobody gains by it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from psycopg.sql import SQL, Identifier

from chalicelib.domain.errors import (
    RevocationIncompleteError,
)
from chalicelib.domain.orders import ProvisioningOrder
from chalicelib.domain.receipts import KeptObject
from chalicelib.postgres.database_admin import PostgresDatabaseAdmin
from chalicelib.postgres.owner_setup import owner_setup
from local.postgres import create_database
from tests.adapters.postgres.cluster import READ, Cluster, an_order, may, numbers, the_end_of

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
    name = f"of_alice_{next(numbers)}"
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
