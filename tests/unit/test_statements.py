"""What needs no server: whose a role is, whether it may be used, and what the owner of a database is asked to run."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.grants import GrantFacts
from chalicelib.domain.locations import DatabaseKind, SessionDocument, TokenSource
from chalicelib.domain.orders import OpenGrants
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.roles import group_roles
from chalicelib.postgres.owner_setup import owner_setup
from chalicelib.postgres.parking import is_stranger
from chalicelib.postgres.statements import RoleFacts, location_steps, parking, person_comment

ENDS_AT = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
NOT_AFTER = datetime(2030, 1, 1, 10, 15, tzinfo=UTC)
FACTS = GrantFacts(
    request_id="R-ABC234",
    person=Person(name="alice", team="T0EXAMPLE", slack="U0ALICE"),
    location="my-location",
    level=PermissionLevel.WRITE,
    kind=DatabaseKind.CLUSTER,
    identifier="my-aurora",
    database="orders",
    region="eu-west-1",
    bastion="main",
    port=56789,
    document=SessionDocument.LOCATION,
    token=TokenSource.MODAL,
)
ROLE = RoleFacts(
    name=FACTS.role,
    oid=4711,
    can_log_in=True,
    is_powerful=False,
    comment=person_comment(FACTS, ends_at=ENDS_AT, not_after=NOT_AFTER),
    memberships=["rds_iam"],
    members=[],
)


@given(request_id=st.text(min_size=1), location=st.text(), slack=st.text())
def test_comment_names_the_owning_request_whatever_the_words(request_id: str, location: str, slack: str) -> None:
    """The owner is read back from the comment exactly, and the comment is plain ASCII for any server encoding."""
    facts = replace(FACTS, request_id=request_id, location=location, person=replace(FACTS.person, slack=slack))
    comment = person_comment(facts, ends_at=ENDS_AT, not_after=NOT_AFTER)

    assert request_id == replace(ROLE, comment=comment).owning_request
    assert NOT_AFTER == replace(ROLE, comment=comment).made_by
    assert comment.isascii()


@given(
    st.none()
    | st.text()
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda value: f"drawbridge {json.dumps(value)}")
)
def test_comment_of_somebody_else_names_no_request(comment: str | None) -> None:
    """A comment that is not ours is no error and names nobody."""
    assert replace(ROLE, comment=comment).owning_request is None
    assert replace(ROLE, comment=comment).made_by is None


@pytest.mark.parametrize(
    ("claims", "made_by"),
    [
        ({"not_after": "2030-01-01T10:15:00+00:00", "ends_at": "2030-01-01T12:00:00+00:00"}, NOT_AFTER),
        ({"ends_at": "2030-01-01T12:00:00+00:00"}, ENDS_AT),
        ({"ends_at": "2030-01-01T12:00:00"}, None),
        ({"ends_at": "soon"}, None),
        ({"ends_at": 17}, None),
        ({}, None),
    ],
)
def test_comment_says_by_when_the_role_was_made(claims: dict[str, object], made_by: datetime | None) -> None:
    """An older one tells only when its grant ends, which is later; an instant without a zone is none."""
    comment = f"drawbridge {json.dumps({'request': 'R-ABC234', **claims})}"

    assert made_by == replace(ROLE, comment=comment).made_by


@pytest.mark.parametrize("open_grants", [None, OpenGrants(request_ids=frozenset(), listed_at=ENDS_AT)])
@pytest.mark.parametrize(
    "comment", [None, "drawbridge {}", 'drawbridge {"location": "orders", "resource": "cluster-A"}']
)
def test_only_a_comment_that_names_a_request_can_make_a_stranger(
    comment: str | None, open_grants: OpenGrants | None
) -> None:
    """Groups, and whoever's comment is not ours, are never parked; nor is anybody without a list."""
    assert not is_stranger(replace(ROLE, comment=comment), open_grants)
    assert is_stranger(ROLE, open_grants) is (open_grants is not None)


@pytest.mark.parametrize(
    ("change", "is_usable"),
    [
        ({"can_log_in": False}, False),
        ({"can_log_in": True}, True),
        ({"can_log_in": False, "memberships": ["drawbridge_x_w", "rds_iam"]}, True),
        ({"can_log_in": False, "members": ["mallory"]}, True),
    ],
)
def test_parked_role_is_of_no_use(change: dict[str, object], is_usable: bool) -> None:
    """No login, and no membership but rds_iam in either direction."""
    role = replace(ROLE, **change)  # type: ignore[arg-type]  # the table above names fields of RoleFacts

    assert is_usable is role.is_usable


@pytest.mark.parametrize(
    ("resource_id", "comment"),
    [
        ("cluster-ABC", 'drawbridge {"location": "my-location", "resource": "cluster-ABC"}'),
        (None, 'drawbridge {"location": "my-location"}'),
    ],
)
def test_groups_name_the_cluster_that_they_were_made_for_in_one_statement(
    resource_id: str | None, comment: str
) -> None:
    """So a copy of the cluster can be told by what stands in it; an order of an older release knows of none."""
    steps = location_steps(
        location="my-location",
        groups=group_roles("my-location"),
        database="orders",
        resource_id=resource_id,
        version=160_000,
    )
    (make,) = (step.make.as_string() for step in steps if "COMMENT" in step.make.as_string())

    assert [f"IS '{comment}'"] * 4 == re.findall(r"IS '[^']*'", make)


@pytest.mark.parametrize(
    ("change", "objection"),
    [
        ({}, None),
        ({"can_log_in": False}, None),
        ({"comment": None}, "lacks the comment that Drawbridge gives its roles"),
        ({"comment": "drawbridge of a castle"}, "lacks the comment that Drawbridge gives its roles"),
        ({"is_powerful": True}, "has an attribute such as CREATEROLE or SUPERUSER"),
        ({"memberships": ["rds_iam", "b", "a"]}, "is also a member of a, b"),
    ],
)
def test_only_a_role_of_our_own_making_is_used(change: dict[str, object], objection: str | None) -> None:
    """A role is used when it is marked, without power and in no group that we did not put it in."""
    role = replace(ROLE, **change)  # type: ignore[arg-type]  # the table above names fields of RoleFacts

    assert objection == role.find_objection(allowed={"rds_iam"}, may_log_in=True)


def test_groups_may_not_log_in() -> None:
    """A login that nobody asked for is somebody's back door."""
    assert "may log in" == ROLE.find_objection(allowed={"rds_iam"}, may_log_in=False)


def test_parking_keeps_rds_iam() -> None:
    """Without it a password that the person set would work if the login ever came back."""
    role = replace(ROLE, memberships=["drawbridge_x_w", "rds_iam"], members=["mallory"])

    login, *memberships = [statement.as_string() for statement in parking(role)]

    assert login.endswith(f'; ALTER ROLE "{role.name}" NOLOGIN CONNECTION LIMIT 0')
    assert [
        f'REVOKE "drawbridge_x_w" FROM "{role.name}"',
        f'REVOKE "{role.name}" FROM "mallory"',
    ] == memberships


@pytest.mark.parametrize(
    ("server_version", "is_asked"), [(140023, False), (150018, False), (160014, True), (180004, True)]
)
def test_owner_hands_over_predefined_roles_where_createrole_is_not_enough(server_version: int, is_asked: bool) -> None:
    """From 16 on CREATEROLE alone grants nothing that it was not given with ADMIN OPTION."""
    assert is_asked == (
        "WITH ADMIN TRUE, INHERIT FALSE, SET FALSE" in owner_setup(database="orders", server_version=server_version)
    )
