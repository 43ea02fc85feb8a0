"""The life of a grant: its ends, its states and who sees to an end that is late."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chalicelib.defaults import DURATIONS
from chalicelib.domain.grants import (
    Grant,
    GrantFacts,
    GrantState,
    delivered,
    ensure_ending,
    freeze_facts,
    grant_key,
    may_be_gone,
    new_grant,
    revocation_attempt,
    seconds_left,
)
from chalicelib.domain.locations import BastionGroup, DatabaseKind, SessionDocument, TokenSource
from chalicelib.domain.payloads import from_payload, to_payload
from tests.factories import (
    BOB,
    FRIDAY_NOON,
    OPERATE,
    READ,
    WRITER,
    a_grant,
    a_location,
    a_request,
    minutes,
    seconds,
)
from tests.strategies import LIFE, RULE

moments = st.floats(-100_000, 100_000).map(lambda late: FRIDAY_NOON + timedelta(seconds=round(late, 3)))


def make(duration_seconds: int = 1800) -> Grant:
    return new_grant(
        request=a_request(duration_seconds=duration_seconds),
        location=a_location(),
        durations=DURATIONS,
        now=FRIDAY_NOON,
    )


def deliver(grant: Grant, now: datetime) -> Grant:
    return delivered(grant, instance_id="i-1", writer=WRITER, now=now)


class TestMaking:
    def test_a_new_grant_is_live_and_has_its_latest_possible_end(self) -> None:
        """That end stands in the ledger before anything is made in a database."""
        grant = make(1800)

        assert grant.state is GrantState.LIVE
        assert (FRIDAY_NOON + minutes(15), FRIDAY_NOON + minutes(45)) == (grant.provision_by, grant.ends_at)
        assert (False, None, None, None) == (grant.is_ordered, grant.delivered_at, grant.instance_id, grant.writer)

    def test_the_facts_are_the_locations_as_they_are_now(self) -> None:
        """Frozen: revocation must work when the location has left the catalogue."""
        location = a_location(
            kind=DatabaseKind.INSTANCE,
            identifier="orders-db",
            port=60001,
            document=SessionDocument.AWS,
            token=TokenSource.LOCAL,
            bastion=BastionGroup(name="far-away", subnets=("subnet-f",), vpc="vpc-0a1b2c3d", provisioner="far"),
        )
        facts = new_grant(request=a_request(person=BOB), location=location, durations=DURATIONS, now=FRIDAY_NOON).facts

        assert (
            "R-ABC234",
            BOB,
            "orders-prod",
            OPERATE,
            DatabaseKind.INSTANCE,
            "orders-db",
            "orders",
            "eu-west-1",
            "far-away",
            60001,
            SessionDocument.AWS,
            TokenSource.LOCAL,
            60001,
            "far",
        ) == (
            facts.request_id,
            facts.person,
            facts.location,
            facts.level,
            facts.kind,
            facts.identifier,
            facts.database,
            facts.region,
            facts.bastion,
            facts.port,
            facts.document,
            facts.token,
            facts.document_port,
            facts.provisioner,
        )

    def test_facts_of_an_earlier_release_are_read(self) -> None:
        """Their database functions were the main stack's, and which port their document has was not kept."""
        written = to_payload(a_grant().facts)
        del written["provisioner"], written["document_port"]
        facts = from_payload(GrantFacts, written)

        assert ("main", None) == (facts.provisioner, facts.document_port)

    def test_the_documents_port_is_the_locations_whatever_the_person_wants(self) -> None:
        """By comparing the two it is known what has to be said to the document."""
        facts = freeze_facts(
            request_id="R-ABC234", person=BOB, location=a_location(port=60001), level=OPERATE, port=50000
        )

        assert (50000, 60001) == (facts.port, facts.document_port)

    def test_a_grants_key_is_location_person_and_level(self) -> None:
        """The identity by which there is only one."""
        facts = a_grant().facts

        assert facts.key == grant_key("orders-prod", facts.person, OPERATE) == "orders-prod#T0EXAMPLE/U0ALICE#o"
        assert 3 == len({facts.key, a_grant(a_request(level=READ)).facts.key, a_grant(a_request(person=BOB)).facts.key})


class TestDelivering:
    def test_the_clock_starts_with_the_delivery(self) -> None:
        """Whoever waited three minutes for the bastion does not lose them."""
        grant = deliver(make(1800), FRIDAY_NOON + minutes(3))

        assert (FRIDAY_NOON + minutes(33), FRIDAY_NOON + minutes(3)) == (grant.ends_at, grant.delivered_at)
        assert ("i-1", WRITER) == (grant.instance_id, grant.writer)

    @RULE
    @given(st.integers(1, 86_400), moments)
    def test_a_delivery_never_moves_the_end_later(self, duration: int, now: datetime) -> None:
        """The end that stood before the role was made is the latest there is."""
        grant = make(duration)

        assert deliver(grant, now).ends_at <= grant.ends_at

    @RULE
    @given(st.integers(1, 86_400), moments, moments)
    def test_delivering_again_never_moves_the_end_later_either(
        self, duration: int, first: datetime, second: datetime
    ) -> None:
        """Nor does a retry give more time."""
        once = deliver(make(duration), first)

        assert deliver(once, second).ends_at <= once.ends_at


class TestSecondsLeft:
    @pytest.mark.parametrize(
        ("left", "whole"), [(1800, 1800), (1.999, 1), (1, 1), (0.999, 0), (0.001, 0), (0, 0), (-5, 0)]
    )
    def test_only_whole_seconds_count_and_never_less_than_none(self, left: float, whole: int) -> None:
        """A wait must not run over the end; less than a second is no wait."""
        assert whole == seconds_left(a_grant(ends_at=FRIDAY_NOON + seconds(left)), FRIDAY_NOON)

    @pytest.mark.parametrize("state", [GrantState.ENDING, GrantState.GONE])
    def test_a_grant_that_is_not_live_has_nothing_left(self, state: GrantState) -> None:
        """Whatever its end says."""
        assert 0 == seconds_left(a_grant(state=state), FRIDAY_NOON)

    @RULE
    @given(moments, moments)
    def test_waiting_for_the_seconds_left_never_runs_over(self, end: datetime, now: datetime) -> None:
        """And what is left out is less than a second."""
        left = seconds_left(a_grant(ends_at=end), now)

        assert left >= 0
        assert left == 0 or now + timedelta(seconds=left) <= end < now + timedelta(seconds=left + 1)


class TestEnding:
    def test_a_grant_with_time_left_stays_as_it_is(self) -> None:
        """Looking changes nothing."""
        grant = a_grant(ends_at=FRIDAY_NOON + seconds(1))

        assert grant is ensure_ending(grant, now=FRIDAY_NOON, end_asked=False)

    def test_a_grant_whose_end_is_reached_is_ending(self) -> None:
        """Within the last second already, for no wait can be that short."""
        grant = ensure_ending(a_grant(ends_at=FRIDAY_NOON + seconds(0.9)), now=FRIDAY_NOON, end_asked=False)

        assert (GrantState.ENDING, FRIDAY_NOON) == (grant.state, grant.ends_at)

    def test_a_late_look_keeps_the_end_that_was(self) -> None:
        """An end in the past is not moved to now: lateness counts from there."""
        grant = ensure_ending(a_grant(ends_at=FRIDAY_NOON), now=FRIDAY_NOON + minutes(5), end_asked=False)

        assert (GrantState.ENDING, FRIDAY_NOON) == (grant.state, grant.ends_at)

    def test_an_end_that_is_asked_for_is_now(self) -> None:
        """Nobody waits for the rest of the time."""
        grant = ensure_ending(a_grant(), now=FRIDAY_NOON + minutes(1), end_asked=True)

        assert (GrantState.ENDING, FRIDAY_NOON + minutes(1)) == (grant.state, grant.ends_at)

    @pytest.mark.parametrize("state", [GrantState.ENDING, GrantState.GONE])
    def test_what_has_left_life_does_not_change(self, state: GrantState) -> None:
        """Only a receipt makes a grant gone, and nothing brings one back."""
        grant = a_grant(state=state)

        assert grant is ensure_ending(grant, now=FRIDAY_NOON + minutes(999), end_asked=True)


class TestMayBeGone:
    @pytest.mark.parametrize(
        ("is_ordered", "is_order_answered", "late", "may_be"),
        [
            (False, False, -60, True),
            (True, True, -60, True),
            (True, False, -60, False),
            (True, False, 0, False),
            (True, False, 0.001, True),
        ],
    )
    def test_an_unanswered_order_is_waited_out(
        self, is_ordered: bool, is_order_answered: bool, late: float, may_be: bool
    ) -> None:
        """It may still commit until its time is over, after a receipt that saw nothing of it."""
        grant = a_grant(is_ordered=is_ordered)
        revoked_at = grant.provision_by + seconds(late)

        assert may_be == may_be_gone(grant, revoked_at=revoked_at, is_order_answered=is_order_answered)


class TestRevocationAttempt:
    @pytest.mark.parametrize(
        ("late_minutes", "attempt"),
        [
            (-60, 0),
            (0, 0),
            (1.99, 0),
            (2, 1),
            (3.99, 1),
            (4, 2),
            (8, 3),
            (16, 4),
            (32, 5),
            (59.9, 5),
            (60, 6),
            (119, 6),
            (120, 7),
            (24 * 60, 29),
        ],
    )
    def test_attempts_become_seldom_but_never_more_than_an_hour_apart(self, late_minutes: float, attempt: int) -> None:
        """At 2, 4, 8, 16, 32 minutes and then every hour."""
        assert attempt == revocation_attempt(a_grant(ends_at=FRIDAY_NOON), FRIDAY_NOON + minutes(late_minutes))

    @RULE
    @given(moments, st.floats(0, 100_000))
    def test_the_number_of_the_attempt_only_grows(self, now: datetime, later: float) -> None:
        """A number that came back would name an execution that has ended, and nothing would be started."""
        grant = a_grant(ends_at=FRIDAY_NOON)

        assert revocation_attempt(grant, now) <= revocation_attempt(grant, now + timedelta(seconds=later))

    @RULE
    @given(moments, st.sampled_from(GrantState), st.booleans())
    def test_the_number_depends_on_the_lateness_alone(self, end: datetime, state: GrantState, is_ordered: bool) -> None:
        """So that whoever asks at the same time names the same execution."""
        grants = [
            a_grant(ends_at=end),
            a_grant(a_request(request_id="R-NEXT22"), ends_at=end, is_ordered=is_ordered, state=state),
        ]

        assert 1 == len({revocation_attempt(grant, end + minutes(7)) for grant in grants})

    @RULE
    @given(moments)
    def test_another_attempt_is_due_within_every_hour(self, now: datetime) -> None:
        """Until there is a receipt."""
        grant = a_grant(ends_at=FRIDAY_NOON)
        late = max(now, FRIDAY_NOON + minutes(2))

        assert revocation_attempt(grant, late) < revocation_attempt(grant, late + minutes(60))


class GrantLife(RuleBasedStateMachine):
    """Everything that can happen to one grant, in any order and at any time."""

    @initialize(duration=st.integers(1, 7200))
    def make(self, duration: int) -> None:
        self.now = FRIDAY_NOON
        self.grant = make(duration)
        self.seen = [self.grant]
        self.was_looked_at_late = False

    @rule(later=st.integers(0, 3000))
    def time_passes(self, later: int) -> None:
        self.now += timedelta(seconds=later)

    @precondition(lambda self: self.grant.state is GrantState.LIVE)
    @rule()
    def deliver(self) -> None:
        self._change(deliver(self.grant, self.now))

    @rule(end_asked=st.booleans())
    def look(self, end_asked: bool) -> None:
        self.was_looked_at_late |= self.now >= self.grant.ends_at or end_asked
        self._change(ensure_ending(self.grant, now=self.now, end_asked=end_asked))

    def _change(self, grant: Grant) -> None:
        self.grant = grant
        self.seen.append(grant)

    @invariant()
    def its_end_never_moves_later(self) -> None:
        ends = [grant.ends_at for grant in self.seen]
        assert sorted(ends, reverse=True) == ends

    @invariant()
    def it_is_never_live_once_its_end_was_looked_at(self) -> None:
        assert not (self.was_looked_at_late and self.grant.state is GrantState.LIVE)
        assert not (self.was_looked_at_late and seconds_left(self.grant, self.now))

    @invariant()
    def its_state_never_goes_back(self) -> None:
        order = [list(GrantState).index(grant.state) for grant in self.seen]
        assert sorted(order) == order


TestGrantLife = GrantLife.TestCase
TestGrantLife.settings = LIFE
