"""Refusals by the endpoint, written down: whom, what they tried, and why not."""

from chalicelib.domain.decisions import Refusal
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.requests import Ask
from chalicelib.workflow.audit_refusal import audit_refusal, audit_refused_ask
from tests.factories import BOB, FRIDAY_NOON, REQUEST_ID, minutes
from tests.fakes import World

REFUSAL = Refusal(reason="You may not decide on your own request.")
ASK = Ask(location="orders-prod", level=PermissionLevel.WRITE, duration_seconds=None, reason="fix it")
PERSON_TRAIL = f"person {BOB.person_id}"


def test_a_refused_act_stands_in_the_requests_trail() -> None:
    """With what they tried."""
    world = World()
    world.run(audit_refusal, refusal=REFUSAL, act="approve", person=BOB, request_id=REQUEST_ID)

    (entry,) = world.audit.entries(REQUEST_ID)
    assert ("refused", {"act": "approve", "person": BOB.person_id, "reason": REFUSAL.reason}) == (
        entry["event"],
        entry["facts"],
    )


def test_somebody_who_is_not_listed_is_refused_on_the_books_too() -> None:
    """A request has its own trail, whoever presses."""
    world = World()
    world.run(audit_refusal, refusal=REFUSAL, act="approve", person=None, request_id=REQUEST_ID)

    assert [""] == [entry["facts"]["person"] for entry in world.audit.entries(REQUEST_ID)]


def test_pressing_again_adds_nothing() -> None:
    """Nobody fills a trail with their clicks."""
    world = World()
    for _ in range(3):
        world.run(audit_refusal, refusal=REFUSAL, act="approve", person=BOB, request_id=REQUEST_ID)
        world.clock.advance(60)

    assert ["refused"] == world.audit.events(REQUEST_ID)


def test_each_refused_ask_stands_in_the_persons_own_trail() -> None:
    """It has no request; Slack's repeated delivery of the same ask is one, and asking again tomorrow is another."""
    world = World()
    for origin_id in ("trigger-1", "trigger-1", "trigger-2"):
        world.run(audit_refused_ask, refusal=REFUSAL, ask=ASK, person=BOB, origin_id=origin_id)

    entries = world.audit.entries(PERSON_TRAIL)
    assert [("orders-prod", "w")] * 2 == [
        (entry["facts"]["ask"]["location"], entry["facts"]["ask"]["level"]) for entry in entries
    ]
    assert 2 == len({entry["facts"]["instead_of"] for entry in entries})


def test_the_trigger_of_an_ask_is_in_no_entry() -> None:
    """With it, for a few seconds, anybody could open a window before the person."""
    world = World()
    world.run(audit_refused_ask, refusal=REFUSAL, ask=ASK, person=BOB, origin_id="trigger-1")

    assert "trigger-1" not in repr(world.audit.entries(PERSON_TRAIL))


def test_whoever_is_not_listed_has_no_trail() -> None:
    """Anybody in the workspace could fill it."""
    world = World()
    world.run(
        audit_refused_ask, refusal=REFUSAL, ask=ASK, person=None, origin_id="trigger-1", now=FRIDAY_NOON + minutes(1)
    )

    assert not world.audit.events("person ")
