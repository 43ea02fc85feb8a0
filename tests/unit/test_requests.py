"""How a request gets its id and is described, and which AWS profiles may stand in a line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.requests import PROFILE, REQUEST_ID, Origin, describe_request, request_ids
from tests.factories import WRITE, a_request
from tests.strategies import RULE


def test_the_same_origin_always_gives_the_same_ids() -> None:
    """So a repeated delivery finds what the first one filed."""
    assert list(request_ids(Origin.SLACK, "trigger-1")) == list(request_ids(Origin.SLACK, "trigger-1"))


@RULE
@given(st.lists(st.text(), unique=True, min_size=2, max_size=20))
def test_different_origins_get_different_ids(origins: list[str]) -> None:
    """And each has spare ones, for the day when two collide."""
    ids = [request_id for origin in origins for request_id in request_ids(Origin.SLACK, origin)]

    assert 5 * len(origins) == len(set(ids))


@RULE
@given(st.text())
def test_an_id_can_be_typed_by_a_person(origin: str) -> None:
    """Six characters of which none is read as another."""
    for request_id in request_ids(Origin.SLACK, origin):
        assert REQUEST_ID.fullmatch(request_id)
        assert not set("01ILOU") & set(request_id.removeprefix("R-"))


def test_a_request_is_described_without_the_person() -> None:
    """The card says who; this says what."""
    assert ("write access to orders-prod for 1 hour 30 minutes") == describe_request(
        a_request(level=WRITE, duration_seconds=5400)
    )


@pytest.mark.parametrize(
    "profile", ["dev", "AdministratorAccess-123456789012", "team/dev", "me@example.com", "a.b_c:d", "x" * 128]
)
def test_profiles_as_people_name_them_may_stand_in_a_line(profile: str) -> None:
    """As AWS's own tools make them."""
    assert PROFILE.fullmatch(profile)


@pytest.mark.parametrize(
    "profile", ["", "-x", "--endpoint-url", "@x", "a b", "a;b", "$(id)", "a\nb", "a\n", "ä", "x" * 129]
)
def test_a_profile_that_could_mean_more_may_not(profile: str) -> None:
    """Nor one that the CLI takes for an option, or PowerShell for a variable."""
    assert not PROFILE.fullmatch(profile)
