"""Where a request stands, as whoever asked follows it: one state, one sentence, and nobody else's request."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.api_answers import connection_answer, request_answer
from chalicelib.domain.audit import AuditEvent
from chalicelib.domain.decisions import Decision, DecisionRecord, Verdict
from chalicelib.domain.endings import Outcome
from chalicelib.domain.followings import Closing, Followed, FollowedState, user_arn
from chalicelib.domain.grants import Grant, GrantState
from chalicelib.domain.locations import SessionDocument
from chalicelib.domain.overviews import EndedRequest
from chalicelib.domain.people import Person
from chalicelib.domain.receipts import Receipt
from chalicelib.domain.records import RequestRecord
from chalicelib.workflow.ask_end import ask_end
from chalicelib.workflow.cancel_request import cancel_request
from chalicelib.workflow.follow_requests import follow_request, follow_requests
from tests.factories import ALICE, BOB, FRIDAY_NOON, REQUEST_ID, WRITER, a_grant, a_person, a_request, minutes
from tests.fakes import World

MACHINE = Person.machine("release-pipeline")
STATE_MACHINE = "arn:aws-us-gov:states:eu-west-1:123456789012:stateMachine:drawbridge-prod-access-request"
RECEIPT = Receipt(role="jit_x", read_at=FRIDAY_NOON, is_dropped=True)
DELIVERED = a_grant(
    delivered_at=FRIDAY_NOON, instance_id="i-1", writer=WRITER, is_ordered=True, resource_id="cluster-X"
)
OVER = replace(DELIVERED, state=GrantState.GONE)
DECISIONS = DecisionRecord(
    request_id=REQUEST_ID, verdict=Verdict.OPEN, needed=2, closes_at=FRIDAY_NOON + minutes(60), decisions=(), version=1
)
NO = Decision(person_id=BOB.person_id, approves=False, at=FRIDAY_NOON, reason="Not on a Friday.")


def followed(grant: Grant | None = None, closing: Closing | None = None, **record: Any) -> Followed:
    return Followed(
        record=RequestRecord(request=a_request(), **record),
        grant=grant,
        closing=closing or Closing(),
        read_at=FRIDAY_NOON,
    )


@pytest.mark.parametrize(
    ("given", "state", "sentence"),
    [
        (followed(), "preparing", "It is being prepared"),
        (followed(decisions=DECISIONS), "waiting", "It waits for 2 more approvals, until 2026-"),
        (followed(decisions=replace(DECISIONS, verdict=Verdict.APPROVED)), "preparing", "It is being prepared"),
        (followed(decisions=replace(DECISIONS, verdict=Verdict.DENIED)), "ending", "It is ending"),
        (followed(decisions=DECISIONS, end_asked_at=FRIDAY_NOON), "ending", "It is ending"),
        (followed(a_grant()), "preparing", "It is being prepared"),
        (followed(DELIVERED), "ready", "It is ready, until 2026-"),
        (followed(DELIVERED, end_asked_at=FRIDAY_NOON), "ending", "It is ending"),
        (followed(replace(DELIVERED, ends_at=FRIDAY_NOON)), "ending", "It is ending"),
        (followed(replace(DELIVERED, state=GrantState.ENDING)), "ending", "It is ending"),
        (followed(OVER, Closing(receipt=RECEIPT), outcome=Outcome.FINISHED), "ended", "The access has ended."),
        (followed(OVER, outcome=Outcome.FINISHED), "ending", "not everything is taken away yet"),
        (
            followed(replace(DELIVERED, state=GrantState.ENDING), outcome=Outcome.FAILED),
            "ending",
            "tried until a receipt",
        ),
        (followed(outcome=Outcome.TIMED_OUT), "ended", "Nobody decided in time"),
        (followed(outcome=Outcome.CANCELLED), "ended", "It was cancelled"),
        (followed(outcome=Outcome.FAILED), "ended", f"report {REQUEST_ID}"),
        (followed(closing=Closing(explanation="The bastion is full."), outcome=Outcome.FAILED), "ended", "is full."),
        (
            followed(decisions=replace(DECISIONS, decisions=(NO,), verdict=Verdict.DENIED), outcome=Outcome.DENIED),
            "ended",
            "It was denied. The reason given: Not on a Friday.",
        ),
    ],
)
def test_a_state_and_its_sentence(given: Followed, state: str, sentence: str) -> None:
    """One of five words for programs, and a sentence for people."""
    assert state == given.state
    assert sentence in given.explanation


def test_an_extension_is_followed_like_any_request() -> None:
    """It has no grant of its own."""
    record = RequestRecord(request=a_request(extends="R-OLD222"))
    open_one = Followed(record=record, grant=None, closing=Closing(), read_at=FRIDAY_NOON)
    moved = replace(open_one, record=replace(record, outcome=Outcome.FINISHED))

    assert ("preparing", "It is being judged; nobody else has to decide.") == (open_one.state, open_one.explanation)
    assert ("ended", "The end of R-OLD222 was moved.") == (moved.state, moved.explanation)


def test_the_end_is_known_from_the_delivery_on() -> None:
    """Before it, the latest possible one would be taken for it."""
    assert followed(a_grant()).ends_at is None
    assert DELIVERED.ends_at == followed(DELIVERED).ends_at


class TestConnecting:
    """What a program needs, and nothing in any other state."""

    def test_a_location_s_own_document_asks_for_the_local_port(self) -> None:
        """Which the caller replaces by one of their own."""
        answer = connection_answer(DELIVERED, stage="prod", bundle_url="https://example.com/b.pem", user_arn=None)

        assert answer is not None
        assert {"localPortNumber": (str(DELIVERED.facts.port),)} == answer.document_parameters
        assert "drawbridge-prod-orders-prod" == answer.document_name

    def test_aws_s_document_asks_for_the_place_too(self) -> None:
        """As texts, which is all that SSM takes."""
        facts = replace(DELIVERED.facts, document=SessionDocument.AWS)
        grant = replace(DELIVERED, facts=facts)
        answer = connection_answer(grant, stage="prod", bundle_url="https://example.com/b.pem", user_arn=None)

        expected = {"host": (WRITER.host,), "portNumber": (str(WRITER.port),), "localPortNumber": (str(facts.port),)}
        assert answer is not None
        assert expected == answer.document_parameters

    def test_before_the_delivery_there_is_none(self) -> None:
        """Neither an instance nor a writer is known."""
        assert connection_answer(a_grant(), stage="prod", bundle_url="https://example.com", user_arn=None) is None

    @pytest.mark.parametrize("grant", [a_grant(), OVER, replace(DELIVERED, ends_at=FRIDAY_NOON)])
    def test_only_what_is_ready_shows_it(self, grant: Grant) -> None:
        """Even to whoever hands one in."""
        answer = connection_answer(DELIVERED, stage="prod", bundle_url="https://example.com/b.pem", user_arn=None)

        assert request_answer(followed(grant), answer).connection is None
        assert answer == request_answer(followed(DELIVERED), answer).connection

    def test_the_arn_names_exactly_the_user_of_the_database(self) -> None:
        """In the account and partition of the workflow; a grant of an older release does not know the database's id."""
        expected = f"arn:aws-us-gov:rds-db:eu-west-1:123456789012:dbuser:cluster-X/{DELIVERED.facts.role}"

        assert expected == user_arn(DELIVERED, STATE_MACHINE)
        assert user_arn(replace(DELIVERED, resource_id=None), STATE_MACHINE) is None


class TestReading:
    """The ledger and the trail of the request, and nothing of anybody else."""

    def test_one_s_own_with_its_receipt(self) -> None:
        """From the entries of the audit trail."""
        world = World()
        world.declare_request()
        world.requests.close_request(_ended(world))
        world.audit.append(REQUEST_ID, AuditEvent.ENDED, {"outcome": "failed", "explanation": "Why."}, at=FRIDAY_NOON)
        world.audit.append(REQUEST_ID, AuditEvent.TUNNELS_CLOSED, {"ended": ["a", "b"]}, at=FRIDAY_NOON)
        world.audit.append(REQUEST_ID, AuditEvent.RECEIPT, {"receipt": RECEIPT, "is_revoked": True}, at=FRIDAY_NOON)

        found = world.run(follow_request, request_id=REQUEST_ID, person=ALICE)

        assert found is not None
        assert Closing(explanation="Why.", receipt=RECEIPT, tunnels_ended=2) == found.closing

    @pytest.mark.parametrize("person", [BOB, MACHINE, replace(ALICE, team="T0OTHER"), a_person("alicia")])
    def test_nobody_else_s(self, person: Person) -> None:
        """As if there were none, and it is in nobody else's list."""
        world = World()
        world.declare_grant()

        assert world.run(follow_request, request_id=REQUEST_ID, person=person) is None
        assert [] == list(world.run(follow_requests, person=person))

    def test_an_unknown_one(self) -> None:
        """Is none."""
        assert World().run(follow_request, request_id="R-222222", person=ALICE) is None

    def test_open_and_ended_ones_newest_first(self) -> None:
        """Once each."""
        world = World()
        for number, name in enumerate(("R-AAAAAA", "R-BBBBBB", "R-CCCCCC")):
            asked_at = FRIDAY_NOON + timedelta(minutes=number)
            world.requests.declare_request(a_request(request_id=name, location=f"place-{number}", asked_at=asked_at))
        world.requests.close_request(replace(_ended(world, "R-AAAAAA")))

        found = world.run(follow_requests, person=ALICE)

        assert ["R-CCCCCC", "R-BBBBBB", "R-AAAAAA"] == [each.record.request.request_id for each in found]
        assert ["preparing", "preparing", "ended"] == [each.state for each in found]

    @given(
        asking=st.lists(st.sampled_from([ALICE, BOB, MACHINE]), max_size=6),
        looking=st.sampled_from([ALICE, BOB, MACHINE]),
    )
    def test_no_identity_ever_reads_anothers(self, asking: list[Person], looking: Person) -> None:
        """Whoever has asked whatever: everybody finds exactly their own."""
        world = World()
        ids = [f"R-{number:06d}" for number in range(len(asking))]
        for request_id, person in zip(ids, asking, strict=True):
            request = a_request(request_id=request_id, person=person, location=f"place-{request_id[-1]}")
            world.requests.declare_request(request)
        own = {request_id for request_id, person in zip(ids, asking, strict=True) if person == looking}

        listed = {each.record.request.request_id for each in world.run(follow_requests, person=looking)}
        shown = {each for each in ids if world.run(follow_request, request_id=each, person=looking) is not None}

        assert own == listed == shown

    @given(
        asking=st.lists(st.sampled_from([ALICE, BOB, MACHINE]), max_size=6),
        ending=st.sampled_from([ALICE, BOB, MACHINE]),
        verb=st.sampled_from([ask_end, cancel_request]),
    )
    def test_no_identity_ever_ends_anothers(self, asking: list[Person], ending: Person, verb: Any) -> None:
        """Whoever tries every request that there is has asked for the end of exactly their own."""
        world = World()
        ids = [f"R-{number:06d}" for number in range(len(asking))]
        for request_id, person in zip(ids, asking, strict=True):
            request = a_request(request_id=request_id, person=person, location=f"place-{request_id[-1]}")
            world.requests.declare_request(request)
        for request_id in ids:
            world.run(verb, request_id=request_id, person=ending)

        own = {request_id for request_id, person in zip(ids, asking, strict=True) if person == ending}
        ended = {each for each in ids if world.requests.require_request(each).end_asked_at is not None}
        assert own == ended


def _ended(world: World, request_id: str = REQUEST_ID) -> EndedRequest:
    request = world.requests.require_request(request_id).request
    return EndedRequest(request=request, outcome=Outcome.FAILED, ended_at=FRIDAY_NOON)


def test_every_state_is_one_of_five() -> None:
    """The client waits for the last, or for people."""
    assert ["waiting", "preparing", "ready", "ending", "ended"] == [str(state) for state in FollowedState]
