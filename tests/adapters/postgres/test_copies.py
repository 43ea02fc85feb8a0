"""A copy of a cluster brings people's users along. Those whom no grant explains are put out by whoever of us connects next."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier, Literal

from chalicelib.domain.errors import RevocationIncompleteError
from chalicelib.domain.instances import DatabaseInstances, Endpoint
from chalicelib.domain.locations import Location
from chalicelib.domain.orders import OpenGrants, ProvisioningOrder
from chalicelib.domain.receipts import Receipt, Strangers
from chalicelib.postgres import statements
from chalicelib.postgres.database_admin import PostgresDatabaseAdmin
from chalicelib.postgres.parking import park_strangers
from tests.adapters.postgres.cluster import (
    NOW,
    READ,
    REGION,
    SECONDS_TO_WAIT,
    Cluster,
    an_order,
    is_alive,
    the_end_of,
    wait_until,
)
from tests.adapters.postgres.standby import Standby

LATER = NOW + timedelta(hours=1)
"""When the ledger was listed; by then every user of these tests had been made."""
OPERATORS_SQL = re.findall(
    r"```sql\n(.*?)```", (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8"), re.DOTALL
)
USABLE = (
    "SELECT rolcanlogin OR EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid"
    " WHERE m.member = p.oid AND g.rolname <> 'rds_iam') FROM pg_roles p WHERE rolname = %s"
)


def listed(*orders: ProvisioningOrder, at: datetime = LATER) -> OpenGrants:
    return OpenGrants(request_ids=frozenset(order.facts.request_id for order in orders), listed_at=at)


def mark(cluster: Cluster, role: str, comment: str) -> None:
    with cluster.superuser() as rdsadmin:
        rdsadmin.execute(SQL("COMMENT ON ROLE {} IS {}").format(Identifier(role), Literal(comment)))


@pytest.fixture(autouse=True)
def _nobody_stays(cluster: Cluster) -> Iterator[None]:
    """Strangers belong to the cluster, so no test may find those of another."""
    yield
    with cluster.superuser() as rdsadmin:
        for (role,) in rdsadmin.execute("SELECT rolname FROM pg_roles WHERE starts_with(rolname, 'jit_')").fetchall():
            rdsadmin.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')


@pytest.fixture
def alice(cluster: Cluster, admin: PostgresDatabaseAdmin, location: Location) -> ProvisioningOrder:
    """Somebody who has a user here. On a copy, the ledger knows nothing of it."""
    order = an_order(cluster, location, person="alice", request_id="R-OFCOPY")
    admin.provision(order)
    return order


@pytest.fixture
def bob(cluster: Cluster, location: Location) -> ProvisioningOrder:
    """Somebody of whom the ledger knows, and of nobody else."""
    order = an_order(cluster, location, person="bob", request_id="R-BBBBBB", level=READ)
    return replace(order, open_grants=listed(order))


def test_stranger_is_parked_by_the_next_provisioning(
    cluster: Cluster, admin: PostgresDatabaseAdmin, alice: ProvisioningOrder, bob: ProvisioningOrder
) -> None:
    """No login, no membership but rds_iam and no session; the role itself stays, and it is named."""
    with closing(cluster.log_in(alice)) as session:
        strangers = admin.provision(bob)

        assert Strangers(parked=(alice.facts.role,)) == strangers
        assert not is_alive(session)
    assert cluster.ask(USABLE, alice.facts.role) is False
    assert cluster.ask("SELECT pg_has_role(%s, 'rds_iam', 'USAGE')", alice.facts.role)
    admin.try_login(bob)


def test_stranger_is_parked_by_the_next_revocation(
    cluster: Cluster, admin: PostgresDatabaseAdmin, alice: ProvisioningOrder, bob: ProvisioningOrder
) -> None:
    """The receipt names the role; on every other account it is the receipt of bob alone."""
    admin.provision(replace(bob, open_grants=None))
    instances = DatabaseInstances(writer=cluster.writer, readers=(cluster.reader,))
    with closing(cluster.log_in(alice)) as session:
        receipt = admin.revoke(the_end_of(bob, instances=instances, open_grants=bob.open_grants))

        assert not is_alive(session)
    assert Receipt(role=bob.facts.role, read_at=NOW, is_dropped=True, parked_strangers=(alice.facts.role,)) == receipt
    assert cluster.ask(USABLE, alice.facts.role) is False


def test_stranger_is_parked_once(
    admin: PostgresDatabaseAdmin, alice: ProvisioningOrder, bob: ProvisioningOrder
) -> None:
    """Whoever is parked is not spoken of again."""
    assert (alice.facts.role,) == admin.provision(bob).parked
    assert Strangers() == admin.provision(bob)


@pytest.mark.parametrize("how", ["listed", "made after the listing", "not listed at all"])
def test_user_who_may_have_a_grant_is_left_alone(
    cluster: Cluster, admin: PostgresDatabaseAdmin, alice: ProvisioningOrder, bob: ProvisioningOrder, how: str
) -> None:
    """A list that is older than the last moment at which somebody was let in proves nothing about them."""
    one_moment_too_old = alice.not_after - timedelta(microseconds=1)
    open_grants = {
        "listed": listed(alice, bob),
        "made after the listing": listed(bob, at=one_moment_too_old),
        "not listed at all": None,
    }[how]
    with closing(cluster.log_in(alice)) as session:
        strangers = admin.provision(replace(bob, open_grants=open_grants))
        receipt = admin.revoke(the_end_of(bob, open_grants=open_grants))

        assert is_alive(session)
    assert Strangers() == strangers
    assert ((), True) == (receipt.parked_strangers, receipt.is_dropped)
    admin.try_login(alice)


def test_user_of_an_older_release_is_judged_by_the_end_of_their_grant(
    cluster: Cluster, admin: PostgresDatabaseAdmin, alice: ProvisioningOrder, bob: ProvisioningOrder
) -> None:
    """Its comment does not say by when the user was made."""
    comment = statements.person_comment(alice.facts, ends_at=LATER, not_after=LATER)
    mark(cluster, alice.facts.role, comment.replace("not_after", "nothing"))
    early, late = (
        admin.provision(replace(bob, open_grants=listed(bob, at=at))) for at in (LATER - timedelta(seconds=1), LATER)
    )

    assert [(), (alice.facts.role,)] == [early.parked, late.parked]


def test_second_run_and_renewal_change_as_little_as_without_a_list(
    cluster: Cluster, admin: PostgresDatabaseAdmin, bob: ProvisioningOrder
) -> None:
    """A repeated order issues no statement, whenever it is repeated; a renewal issues one."""
    admin.provision(bob)
    renewal = replace(
        bob, facts=replace(bob.facts, request_id="R-CCCCCC"), not_after=bob.not_after + timedelta(minutes=1)
    )
    with cluster.watch_statements() as again:
        cluster.admin(clock=lambda: NOW + timedelta(minutes=4)).provision(bob)
    with cluster.watch_statements() as renewed:
        admin.provision(replace(renewal, open_grants=listed(renewal)))

    assert [] == again
    (statement,) = renewed
    assert "COMMENT ON ROLE" in statement


def test_ones_own_user_of_an_earlier_grant_is_renewed_and_not_parked(
    cluster: Cluster, admin: PostgresDatabaseAdmin, alice: ProvisioningOrder
) -> None:
    """After a switch to a copy the person's user bears an older request's name; their sessions go on."""
    renewal = replace(alice, facts=replace(alice.facts, request_id="R-DDDDDD"))
    with closing(cluster.log_in(alice)) as session:
        strangers = admin.provision(replace(renewal, open_grants=listed(renewal)))

        assert is_alive(session)
    assert Strangers() == strangers


def test_end_of_a_grant_whose_user_bears_an_older_name_is_no_mere_claim(
    cluster: Cluster, admin: PostgresDatabaseAdmin, alice: ProvisioningOrder
) -> None:
    """A user that an older, ended request owns belongs to no newer one, so it goes now."""
    renewed = replace(alice.facts, request_id="R-DDDDDD")
    order = replace(the_end_of(alice), facts=renewed)
    superseded = admin.revoke(replace(order, open_grants=listed(alice)))
    receipt = admin.revoke(replace(order, open_grants=listed()))

    assert "R-OFCOPY" == superseded.superseded_by
    assert (None, True) == (receipt.superseded_by, receipt.is_dropped)
    assert cluster.ask(USABLE, alice.facts.role) is None


def test_parked_stranger_can_be_given_access_again(
    admin: PostgresDatabaseAdmin, alice: ProvisioningOrder, bob: ProvisioningOrder
) -> None:
    """A grant at the copy wakes the user."""
    admin.provision(bob)
    granted = replace(alice, facts=replace(alice.facts, request_id="R-EEEEEE"))
    admin.provision(granted)

    admin.try_login(granted)


def test_stranger_takes_nobodys_place(
    admin: PostgresDatabaseAdmin, alice: ProvisioningOrder, bob: ProvisioningOrder
) -> None:
    """Who only came along does not count against max_people."""
    admin.provision(replace(bob, location=replace(bob.location, max_people=1)))

    admin.try_login(bob)


@pytest.mark.parametrize("act", ["provision", "revoke"])
def test_stranger_out_of_reach_delays_nobody(
    cluster: Cluster, admin: PostgresDatabaseAdmin, alice: ProvisioningOrder, bob: ProvisioningOrder, act: str
) -> None:
    """Somebody else's transaction holds the role: that is named, and bob gets what is his. The next connection parks it."""
    role = alice.facts.role
    with cluster.server.connect("orders") as rdsadmin:
        rdsadmin.execute(f"ALTER ROLE {role} VALID UNTIL 'infinity'".encode())
        began = time.monotonic()
        if act == "provision":
            (failure,) = admin.provision(bob).failures
            admin.try_login(bob)
        else:
            receipt = admin.revoke(the_end_of(bob, open_grants=bob.open_grants))
            (failure,) = receipt.unchecked
            assert receipt.is_dropped
        seconds = time.monotonic() - began
        rdsadmin.rollback()

    assert f"{role} was not parked (canceling statement due to lock timeout" in failure
    assert seconds < 4
    assert (role,) == admin.provision(bob).parked


def test_strangers_for_whom_there_is_no_time_are_named(
    cluster: Cluster, alice: ProvisioningOrder, bob: ProvisioningOrder
) -> None:
    """However many there are, bob does not wait for long; the next connection goes on."""
    with cluster.server.connect("orders", user="drawbridge", autocommit=True) as ours:
        in_no_time = park_strangers(ours, bob.open_grants, besides=bob.facts.role, seconds=-1)
        next_time = park_strangers(ours, bob.open_grants, besides=bob.facts.role)

    assert Strangers(failures=(f"There was no time to park {alice.facts.role}.",)) == in_no_time
    assert Strangers(parked=(alice.facts.role,)) == next_time


def test_connection_that_is_lost_while_strangers_are_looked_for_is_named(
    cluster: Cluster, bob: ProvisioningOrder
) -> None:
    """The end that was proved before stays proved."""
    with closing(cluster.server.connect("orders", user="drawbridge", autocommit=True)) as ours:
        cluster.ask("SELECT pg_terminate_backend(%s)", ours.info.backend_pid)
        (failure,) = park_strangers(ours, bob.open_grants, besides=bob.facts.role).failures

    assert failure.startswith("Users without a grant could not be looked for (")


def test_strangers_that_somebody_else_administers_are_named(
    cluster: Cluster, admin: PostgresDatabaseAdmin, alice: ProvisioningOrder, bob: ProvisioningOrder
) -> None:
    """Without ADMIN OPTION nothing can be done, and nothing is claimed; the other stranger is parked all the same."""
    if cluster.version < 16:
        pytest.skip("up to PostgreSQL 15 CREATEROLE reaches every role but superusers")
    comment = statements.person_comment(alice.facts, ends_at=NOW, not_after=NOW)
    cluster.do("CREATE ROLE {} LOGIN", "jit_foreign")
    mark(cluster, "jit_foreign", comment)
    strangers = admin.provision(bob)

    assert (alice.facts.role,) == strangers.parked
    (failure,) = strangers.failures
    assert "jit_foreign was not parked (permission denied" in failure


def test_membership_that_somebody_else_gave_is_named(
    cluster: Cluster, admin: PostgresDatabaseAdmin, alice: ProvisioningOrder, bob: ProvisioningOrder
) -> None:
    """From 16 on a REVOKE of somebody else's grant only warns, so it is looked whether it worked."""
    cluster.do("GRANT application TO {}", alice.facts.role)
    strangers = admin.provision(bob)

    if cluster.version < 16:
        assert Strangers(parked=(alice.facts.role,)) == strangers
    else:
        (failure,) = strangers.failures
        assert f"{alice.facts.role} was not parked" in failure
        with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
            cluster.log_in(alice)


def test_grant_that_is_renewed_past_our_lock_is_left_alone(
    cluster: Cluster, admin: PostgresDatabaseAdmin, alice: ProvisioningOrder, bob: ProvisioningOrder
) -> None:
    """Advisory locks are per database and roles per cluster: who is renewed from a sibling at the same time stays in."""
    role = alice.facts.role
    renewed = statements.person_comment(
        replace(alice.facts, request_id="R-FFFFFF"), ends_at=LATER, not_after=LATER + timedelta(seconds=1)
    )
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'drawbridge' AND wait_event_type = 'Lock'"
    with (
        ThreadPoolExecutor(1) as pool,
        cluster.server.connect("stock") as holder,
        cluster.server.connect("stock") as renewer,
    ):
        holder.execute(f"ALTER ROLE {role} VALID UNTIL 'infinity'".encode())
        renewer.execute(f"COMMENT ON ROLE {role} IS '{renewed}'".encode())
        provisioning = pool.submit(admin.provision, bob)
        wait_until(lambda: cluster.ask(waiting) == 1)
        renewer.commit()
        holder.rollback()
        strangers = provisioning.result(SECONDS_TO_WAIT)

    assert Strangers(failures=(f"{role} was not parked (It has a grant by now.).",)) == strangers
    admin.try_login(alice)


def test_session_that_slipped_in_while_its_role_was_parked_ends(
    cluster: Cluster, admin: PostgresDatabaseAdmin, alice: ProvisioningOrder, bob: ProvisioningOrder
) -> None:
    """A parked role has no session, on whichever instance we come by."""
    with closing(cluster.log_in(alice)) as session:
        cluster.do("ALTER ROLE {} NOLOGIN", alice.facts.role)
        cluster.do("REVOKE {} FROM {} GRANTED BY drawbridge", alice.groups.write, alice.facts.role)
        strangers = admin.provision(bob)

        assert not is_alive(session)
    assert Strangers() == strangers


def test_everybody_who_is_no_persons_user_is_left_alone(
    cluster: Cluster, admin: PostgresDatabaseAdmin, bob: ProvisioningOrder
) -> None:
    """Groups bear our comment and name no request; the application's login bears none."""
    before = cluster.ask("SELECT array_agg(r.rolname::text || r.rolcanlogin ORDER BY 1) FROM pg_roles r")
    strangers = admin.provision(replace(bob, open_grants=listed()))
    admin.revoke(the_end_of(bob, open_grants=listed()))
    after = cluster.ask("SELECT array_agg(r.rolname::text || r.rolcanlogin ORDER BY 1) FROM pg_roles r")

    assert Strangers() == strangers
    assert set(before) <= set(after)
    assert not [role for role in set(after) - set(before) if not role.endswith("false")]


def test_page_for_operators_shows_who_is_there(
    cluster: Cluster, admin: PostgresDatabaseAdmin, alice: ProvisioningOrder, bob: ProvisioningOrder
) -> None:
    """Anybody may ask, and sees people, parked ones and groups."""
    with closing(cluster.log_in(alice)):
        admin.provision(replace(bob, open_grants=None))
        cluster.do("ALTER ROLE {} NOLOGIN", bob.facts.role)
        with cluster.server.connect("orders", user="application", row_factory=dict_row) as application:
            rows = {row["rolname"]: row for row in application.execute(OPERATORS_SQL[0].encode()).fetchall()}

    told = {name: (rows[name]["may_log_in"], rows[name]["request"], rows[name]["sessions"]) for name in rows}
    assert (True, "R-OFCOPY", 1) == told[alice.facts.role]
    assert (False, "R-BBBBBB", 0) == told[bob.facts.role]
    assert (False, None, 0) == told[alice.groups.attic]


def test_page_for_operators_repairs_roles_from_before_an_upgrade(
    cluster: Cluster, admin: PostgresDatabaseAdmin, alice: ProvisioningOrder
) -> None:
    """Without ADMIN OPTION the end of a grant is refused and says so; with it, everything is done."""
    if cluster.version < 16:
        pytest.skip("up to PostgreSQL 15 nobody needs it")
    roles = [alice.facts.role, *statements.group_memberships(alice.groups)]
    for role in roles:
        cluster.do("REVOKE {} FROM drawbridge GRANTED BY rdsadmin CASCADE", role)
    with pytest.raises(RevocationIncompleteError, match="ADMIN OPTION"):
        cluster.admin(pause=lambda _: None).revoke(the_end_of(alice))
    for role in roles:
        cluster.do(OPERATORS_SQL[1].replace('"…"', "{}"), role)

    assert admin.revoke(the_end_of(alice)).is_dropped
    admin.provision(alice)
    admin.try_login(alice)


def test_real_copy_is_cleared_and_the_original_is_not(
    cluster: Cluster, admin: PostgresDatabaseAdmin, alice: ProvisioningOrder, location: Location
) -> None:
    """A location at a restored cluster: the grants of the original are none there, and go on where they were made."""
    host = f"my-restored.cluster-abc123.{REGION}.rds.amazonaws.com"
    with Standby(cluster.server, "my-restored") as restored:
        with restored.connect(autocommit=True) as rdsadmin:
            rdsadmin.execute("SELECT pg_promote()")
        cluster.proxy.add_server(host, restored)
        at_copy = an_order(
            cluster,
            replace(location, name=f"{location.name}-restored", identifier="my-restored"),
            person="bob",
            request_id="R-BBBBBB",
            instances=DatabaseInstances(writer=Endpoint(host=host, port=cluster.proxy.port)),
        )
        strangers = admin.provision(replace(at_copy, open_grants=listed(at_copy)))
        with restored.connect(autocommit=True) as rdsadmin:
            (is_usable,) = rdsadmin.execute(USABLE.encode(), [alice.facts.role]).fetchone() or (None,)
        cluster.proxy.remove_server(host)

    assert (Strangers(parked=(alice.facts.role,)), False) == (strangers, is_usable)
    assert cluster.ask(USABLE, alice.facts.role)
    admin.try_login(alice)


def test_names_of_many_strangers_are_bounded(
    cluster: Cluster, admin: PostgresDatabaseAdmin, alice: ProvisioningOrder, bob: ProvisioningOrder
) -> None:
    """A receipt travels through the workflow; all of them are parked, fifty are named."""
    comment = statements.person_comment(alice.facts, ends_at=NOW, not_after=NOW)
    with cluster.server.connect("orders", user="drawbridge", autocommit=True) as ours:
        for number in range(59):
            ours.execute(f"CREATE ROLE jit_n{number} LOGIN; COMMENT ON ROLE jit_n{number} IS '{comment}'".encode())
    receipt = admin.revoke(the_end_of(bob, open_grants=bob.open_grants))

    assert 51 == len(receipt.parked_strangers)
    assert "and 10 more" == receipt.parked_strangers[-1]
    assert 0 == cluster.ask("SELECT count(*) FROM pg_roles WHERE starts_with(rolname, 'jit_') AND rolcanlogin")
