"""What needs no server: whose a role is, whether it may be used, and what the owner of a database is asked to run."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.grants import GrantFacts
from chalicelib.domain.locations import DatabaseKind, SessionDocument, TokenSource
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.postgres.owner_setup import owner_setup
from chalicelib.postgres.statements import RoleFacts, parking, person_comment

ENDS_AT = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
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
    comment=person_comment(FACTS, ENDS_AT),
    memberships=["rds_iam"],
    members=[],
)


@given(request_id=st.text(min_size=1), location=st.text(), slack=st.text())
def test_comment_names_the_owning_request_whatever_the_words(request_id: str, location: str, slack: str) -> None:
    """The owner is read back from the comment exactly, and the comment is plain ASCII for any server encoding."""
    facts = replace(FACTS, request_id=request_id, location=location, person=replace(FACTS.person, slack=slack))
    comment = person_comment(facts, ENDS_AT)

    assert request_id == replace(ROLE, comment=comment).owning_request
    assert comment.isascii()


@given(
    st.none()
    | st.text()
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda value: f"drawbridge {json.dumps(value)}")
)
def test_comment_of_somebody_else_names_no_request(comment: str | None) -> None:
    """A comment that is not ours is no error and names nobody."""
    assert replace(ROLE, comment=comment).owning_request is None


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
