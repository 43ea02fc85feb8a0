"""IssueToken: made for its owner alone, while the grant is live, and shown nowhere but in the view."""

import json

import pytest

from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.grants import Grant, GrantState
from chalicelib.domain.locations import TokenSource
from chalicelib.workflow.issue_token import issue_token
from tests.factories import ALICE, BOB, FRIDAY_NOON, REQUEST_ID, WRITER, a_grant, minutes
from tests.fakes import FakeAuditTrail, World

READY = a_grant(delivered_at=FRIDAY_NOON, instance_id="i-1", writer=WRITER)


def holding(grant: Grant = READY) -> World:
    world = World()
    world.declare_request()
    world.grants.declare_grant(grant)
    return world


def issue(world: World, person_id: str = ALICE.person_id) -> None:
    assert world.run(issue_token, request_id=REQUEST_ID, view_id="V0VIEW", person_id=person_id) is None


def test_the_owner_gets_a_token_for_their_own_user() -> None:
    """Signed for the writer, and shown with when it stops opening connections."""
    world = holding()
    issue(world)

    assert [(WRITER, READY.facts.role, "eu-west-1")] == world.tokens.signed
    ((view_id, token, connection, expires_at),) = world.view.tokens
    assert ("V0VIEW", "i-1", FRIDAY_NOON + minutes(15)) == (view_id, connection.instance_id, expires_at)
    assert READY.facts.role in token


def test_each_click_makes_a_fresh_token() -> None:
    """And each is audited, by the user it is for."""
    world = holding()
    for view_id in ("V0FIRST", "V0SECOND"):
        world.run(issue_token, request_id=REQUEST_ID, view_id=view_id, person_id=ALICE.person_id)

    made = {"person": ALICE.person_id, "role": READY.facts.role, "host": WRITER.host}
    assert 2 == len({token for _, token, _, _ in world.view.tokens})
    assert [made | {"view": "V0FIRST"}, made | {"view": "V0SECOND"}] == [
        entry["facts"] for entry in world.audit.entries(REQUEST_ID)
    ]
    assert ["token made"] * 2 == world.audit.events(REQUEST_ID)


def test_the_token_is_in_no_record() -> None:
    """Neither in the audit nor anywhere else in the ledger."""
    world = holding()
    issue(world)

    written = json.dumps(world.audit.entries(REQUEST_ID)) + repr(world.requests.require_request(REQUEST_ID))
    assert "X-Amz-Signature" not in written + repr(world.grant())


def test_somebody_else_gets_a_refusal_and_no_token_is_made() -> None:
    """The view says so and the audit keeps it."""
    world = holding()
    issue(world, BOB.person_id)

    assert ([], []) == (world.tokens.signed, world.view.tokens)
    assert [("V0VIEW", REQUEST_ID)] == [refusal[:2] for refusal in world.view.refusals]
    assert [("token refused", BOB.person_id)] == [
        (entry["event"], entry["facts"]["person"]) for entry in world.audit.entries(REQUEST_ID)
    ]


@pytest.mark.parametrize(
    "grant",
    [
        a_grant(),
        a_grant(instance_id="i-1", writer=WRITER, state=GrantState.ENDING),
        a_grant(instance_id="i-1", writer=WRITER, state=GrantState.GONE),
        a_grant(instance_id="i-1", writer=WRITER, ends_at=FRIDAY_NOON),
    ],
    ids=["not delivered", "ending", "gone", "at its end"],
)
def test_no_token_is_made_for_a_grant_that_cannot_be_used(grant: Grant) -> None:
    """The view must not stay empty either."""
    world = holding(grant)
    issue(world)

    assert ([], 1) == (world.tokens.signed, len(world.view.refusals))


def test_a_location_whose_tokens_never_cross_slack_makes_none() -> None:
    """The person makes it on their own machine."""
    world = holding(a_grant(instance_id="i-1", writer=WRITER, token=TokenSource.LOCAL))
    issue(world)

    assert [] == world.tokens.signed
    assert [("orders-prod", [])] == [
        (connection.facts.location, world.view.refusals) for _, connection in world.view.local
    ]


def test_somebody_who_left_the_workspace_gets_no_token() -> None:
    """Slack knows first; the access itself ends in its time."""
    world = holding()
    world.members.declare_gone(ALICE.person_id)
    issue(world)

    assert ([], ["token refused"]) == (world.tokens.signed, world.audit.events(REQUEST_ID))
    assert "There is no token for you: your Slack user is deactivated." == world.view.refusals[0][2]


def test_a_token_that_cannot_be_audited_is_not_made() -> None:
    """First the books, then the token."""
    world = holding()
    world.audit = FailingAuditTrail()

    with pytest.raises(LedgerUnavailableError):
        issue(world)
    assert [] == world.tokens.signed


class FailingAuditTrail(FakeAuditTrail):
    """An audit that takes nothing."""

    def append(self, *_: object, **__: object) -> None:
        raise LedgerUnavailableError("The ledger did not answer.")
