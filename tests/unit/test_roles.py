"""The names of PostgreSQL roles."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.roles import group_roles, person_role
from tests.strategies import RULE, levels

LEGAL = re.compile(r"jit_[a-z2-7]{10}_[rwo]_[a-z0-9_]+")
PLAIN = {"location": "orders-prod", "person_id": "T0EXAMPLE/U0ALICE", "level": PermissionLevel.READ, "name": "alice"}


@RULE
@given(location=st.text(), person_id=st.text(), level=levels, name=st.text(max_size=200))
def test_any_person_gets_a_legal_name(location: str, person_id: str, level: PermissionLevel, name: str) -> None:
    """PostgreSQL would cut a longer name, and need quotes for any other letter."""
    role = person_role(location=location, person_id=person_id, level=level, name=name)

    assert LEGAL.fullmatch(role)
    assert len(role.encode()) <= 63


@RULE
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["orders", "orders-prod", "users"]),
            st.sampled_from(["T0EXAMPLE/U0A", "T0EXAMPLE/U0B"]),
            levels,
        ),
        unique=True,
    )
)
def test_different_grants_have_different_roles(identities: list[tuple[str, str, PermissionLevel]]) -> None:
    """Even for people of the same display name: the identity is hashed, the name only decorates."""
    roles = {
        person_role(location=location, person_id=person, level=level, name="alice")
        for location, person, level in identities
    }

    assert len(identities) == len(roles)


def test_the_same_grant_has_the_same_role_for_ever() -> None:
    """Revocation recomputes the name that provisioning used; it may not change between two releases."""
    assert "jit_6fks56fl4i_r_alice" == person_role(**PLAIN)


def test_no_ones_name_is_the_beginning_of_anothers() -> None:
    """An IAM wildcard on one person's user must not match somebody else's, so the hash stands first."""
    alice, alice_smith = (
        person_role(**{**PLAIN, "person_id": f"T0EXAMPLE/{slack}", "name": name})
        for slack, name in (("U0ALICE", "alice"), ("U0SMITH", "alice-smith"))
    )

    assert not alice_smith.startswith(alice)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Zoë Müller", "zoe_muller"),
        ("alice-smith", "alice_smith"),
        ("王", "user"),
        ("__", "user"),
        ("a" * 90, "a" * 40),
    ],
)
def test_the_name_is_readable_where_it_can_be(name: str, slug: str) -> None:
    """Whoever looks into pg_stat_activity should see a person."""
    assert person_role(**{**PLAIN, "name": name}).endswith(f"_r_{slug}")


def test_a_location_has_four_groups() -> None:
    """One per level, and the attic that has no level."""
    groups = group_roles("orders-prod")
    stem = groups.read.removesuffix("_r")

    assert re.fullmatch(r"drawbridge_[a-z2-7]{8}", stem)
    assert [f"{stem}_r", f"{stem}_w", f"{stem}_o"] == [groups.of_level(level) for level in PermissionLevel]
    assert f"{stem}_attic" == groups.attic


@RULE
@given(st.lists(st.text(), unique=True, max_size=20))
def test_no_two_locations_share_groups(locations: list[str]) -> None:
    """Sharing would give one location's people the other's data where both live in one cluster."""
    assert len(locations) == len({group_roles(location).read for location in locations})
