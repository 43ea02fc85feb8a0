"""Which tunnels belong to which grant, and which to nobody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.grants import Grant, GrantState
from chalicelib.domain.tunnels import Tunnel, is_explained, is_tunnel_of, tunnels_to_end
from tests.factories import READ, REQUEST_ID, a_grant, a_person, a_request, a_tunnel
from tests.strategies import RULE

ROLE = "arn:aws:sts::123456789012:assumed-role/Developer"
BOB = a_person("bob", aws=(f"{ROLE}/bob@example.com",))
BOBS_REQUEST = a_request(request_id="R-BBB222", person=BOB)
BOBS = f"{ROLE}/bob@example.com"
ALICES_OTHER = a_grant(a_request(request_id="R-READ22", level=READ))


class TestBelonging:
    @pytest.mark.parametrize(("reason", "belongs"), [(REQUEST_ID, True), ("R-NEXT22", False), ("", False)])
    def test_without_known_principals_the_reason_decides(self, reason: str, belongs: bool) -> None:
        """The delivered command carries the request's id."""
        assert belongs == is_tunnel_of(a_tunnel(reason=reason), a_grant())

    @pytest.mark.parametrize(
        ("owner", "reason", "belongs"),
        [
            (BOBS, "", True),
            (BOBS, "R-OTHER2", True),
            (f"{ROLE}/mallory@example.com", "R-BBB222", False),
            ("", "R-BBB222", False),
        ],
    )
    def test_with_known_principals_the_owner_decides(self, owner: str, reason: str, belongs: bool) -> None:
        """A reason can be typed by anybody; who opened a session is AWS's own word."""
        assert belongs == is_tunnel_of(a_tunnel(owner=owner, reason=reason), a_grant(BOBS_REQUEST))

    @pytest.mark.parametrize(
        ("document", "belongs"),
        [
            ("drawbridge-prod-orders-prod", True),
            ("drawbridge-eu-prod-orders-prod", True),
            ("drawbridge-prod-reports-prod", False),
            ("drawbridge-prod-orders-prod-2", False),
            ("AWS-StartPortForwardingSessionToRemoteHost", True),
            ("", True),
        ],
    )
    @pytest.mark.parametrize(("owner", "grant"), [(BOBS, a_grant(BOBS_REQUEST)), ("", a_grant())])
    def test_a_tunnel_to_another_location_belongs_to_no_grant_of_this_one(
        self, owner: str, grant: Grant, document: str, belongs: bool
    ) -> None:
        """Each location's own document leads to its database alone; where another one leads, it does not say."""
        assert belongs == is_tunnel_of(a_tunnel(owner=owner, document=document), grant)

    @pytest.mark.parametrize(
        ("state", "explains"), [(GrantState.LIVE, True), (GrantState.ENDING, False), (GrantState.GONE, False)]
    )
    def test_only_a_live_grant_explains_a_tunnel(self, state: GrantState, explains: bool) -> None:
        """An ending one explains nothing any more."""
        assert explains == is_explained(a_tunnel(), [a_grant(BOBS_REQUEST), a_grant(state=state)])


def sort(*tunnels: Tunnel, ended: Grant, others: list[Grant] | None = None) -> tuple[list[str], list[str], list[str]]:
    """The session ids of the tunnels to end, kept and unexplained."""
    to_end, kept, unexplained = tunnels_to_end(tunnels, ended=ended, others=[ended, *(others or [])])
    return ids(to_end), ids(kept), ids(unexplained)


def ids(tunnels: list[Tunnel]) -> list[str]:
    return [tunnel.session_id for tunnel in tunnels]


ENDED = a_grant(state=GrantState.ENDING)
BOBS_ENDED = a_grant(BOBS_REQUEST, state=GrantState.ENDING)


class TestSorting:
    def test_the_grants_own_tunnels_are_ended(self) -> None:
        """By the reason that its command carried."""
        assert (["mine"], [], []) == sort(a_tunnel(session_id="mine"), ended=ENDED)

    def test_other_peoples_explained_tunnels_are_left_alone(self) -> None:
        """They share the bastion."""
        other = a_tunnel(session_id="bobs", owner=BOBS, reason="")

        assert ([], [], []) == sort(other, ended=ENDED, others=[a_grant(BOBS_REQUEST)])

    def test_an_owners_tunnel_is_kept_while_another_live_grant_of_theirs_covers_it(self) -> None:
        """It cannot be told for which of the two grants it was opened."""
        still = a_grant(a_request(request_id="R-READ22", person=BOB, level=READ))

        assert ([], ["bobs"], []) == sort(a_tunnel(session_id="bobs", owner=BOBS), ended=BOBS_ENDED, others=[still])

    @pytest.mark.parametrize(
        "other",
        [
            a_grant(a_request(request_id="R-READ22", person=BOB, level=READ), state=GrantState.ENDING),
            a_grant(a_request(request_id="R-READ22", person=BOB, level=READ), bastion="other"),
            ALICES_OTHER,
        ],
        ids=["ending itself", "through another bastion", "somebody else's"],
    )
    def test_it_is_ended_when_nothing_live_of_theirs_covers_it_here(self, other: Grant) -> None:
        """A grant that is not live, not through this bastion or not theirs covers nothing."""
        assert (["bobs"], []) == sort(a_tunnel(session_id="bobs", owner=BOBS), ended=BOBS_ENDED, others=[other])[:2]

    def test_access_to_one_location_keeps_no_tunnel_to_another(self) -> None:
        """Else whoever may read one database could stay at the door of every other one of its bastion."""
        elsewhere = a_grant(a_request(request_id="R-READ22", person=BOB, location="reports-prod"))
        tunnel = a_tunnel(session_id="bobs", owner=BOBS, document="drawbridge-prod-orders-prod")

        assert (["bobs"], [], []) == sort(tunnel, ended=BOBS_ENDED, others=[elsewhere])

    def test_a_reason_covers_only_its_own_request(self) -> None:
        """Alice's other grant has a command of its own."""
        assert (["mine"], [], []) == sort(a_tunnel(session_id="mine"), ended=ENDED, others=[ALICES_OTHER])

    def test_a_tunnel_that_nobody_explains_is_named(self) -> None:
        """It is housekeeping's to end; the receipt says that it was seen."""
        strange = a_tunnel(session_id="strange", reason="just looking")

        assert ([], [], ["strange"]) == sort(strange, ended=ENDED)

    def test_a_live_grant_through_another_bastion_explains_nothing_here(self) -> None:
        """Bastions keep groups of locations apart; a grant for one opens no way through the other."""
        elsewhere = a_grant(BOBS_REQUEST, bastion="other")

        assert ([], [], ["bobs"]) == sort(
            a_tunnel(session_id="bobs", owner=BOBS, reason=""), ended=ENDED, others=[elsewhere]
        )


PEOPLE = [a_person("alice"), BOB]
grants = st.lists(
    st.builds(
        lambda number, person, state, bastion: a_grant(
            a_request(request_id=f"R-AAA22{number}", person=person), state=state, bastion=bastion
        ),
        st.integers(2, 5),
        st.sampled_from(PEOPLE),
        st.sampled_from(GrantState),
        st.sampled_from(["main", "other"]),
    ),
    max_size=4,
)
tunnels = st.lists(
    st.builds(
        a_tunnel,
        session_id=st.uuids().map(str),
        owner=st.sampled_from([BOBS, f"{ROLE}/alice@example.com"]),
        reason=st.sampled_from(["", "R-AAA222", "R-AAA223", REQUEST_ID]),
    ),
    max_size=5,
)


@RULE
@given(tunnels, grants, st.sampled_from(PEOPLE))
def test_every_tunnel_of_the_ended_grant_is_ended_or_kept_for_a_reason(
    found: list[Tunnel], others: list[Grant], person: object
) -> None:
    """And no tunnel is in two places, and none of somebody else's is ended."""
    ended = a_grant(a_request(person=person), state=GrantState.ENDING)
    to_end, kept, unexplained = tunnels_to_end(found, ended=ended, others=others)

    sorted_ids = ids(to_end) + ids(kept) + ids(unexplained)
    assert len(sorted_ids) == len(set(sorted_ids))
    assert all(is_tunnel_of(tunnel, ended) for tunnel in to_end)
    assert {tunnel.session_id for tunnel in found if is_tunnel_of(tunnel, ended)} == set(ids(to_end) + ids(kept))
    assert all(is_explained(tunnel, others) for tunnel in kept)
