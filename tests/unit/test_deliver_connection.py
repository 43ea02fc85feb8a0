"""DeliverConnection: handed over once every link holds; the clock of the grant starts here."""

from dataclasses import replace

import pytest

from chalicelib.domain.bastions import BastionState, InstanceStatus
from chalicelib.domain.cards import CardReference
from chalicelib.domain.errors import DeliveryFailedError, SlackUnavailableError
from chalicelib.domain.grants import Grant, GrantState
from chalicelib.workflow.check_grant_end import check_grant_end
from chalicelib.workflow.deliver_connection import deliver_connection
from tests.factories import (
    FRIDAY_NOON,
    REQUEST_ID,
    WRITER,
    a_bastion,
    a_connected_instance,
    a_grant,
    a_request,
    an_order,
    minutes,
)
from tests.fakes import FakeNotifier, World


def prepared(**changes: object) -> World:
    """A grant whose user and bastion are there, three minutes after it was made."""
    world = World()
    world.declare_grant(**{"is_ordered": True, **changes})  # type: ignore[arg-type]  # fields of a grant
    leases = {REQUEST_ID: FRIDAY_NOON + minutes(90)}
    world.bastions.declare_bastion(a_bastion(state=BastionState.RUNNING, instance_id="i-1", leases=leases))
    world.host.declare_instance("i-1", a_connected_instance())
    world.clock.advance(180)
    return world


def deliver(world: World, **changes: object) -> None:
    world.run(deliver_connection, request_id=REQUEST_ID, order=an_order(**changes))


def test_the_person_gets_the_connection_and_the_clock_starts() -> None:
    """Half an hour from now, not from when the grant was made."""
    world = prepared()
    deliver(world)

    ((request, grant, connection),) = world.notifier.deliveries
    assert (REQUEST_ID, FRIDAY_NOON + minutes(33), "i-1", WRITER) == (
        request.request_id,
        grant.ends_at,
        connection.instance_id,
        connection.writer,
    )
    assert grant == world.grant()
    assert ["delivered"] == world.audit.events(REQUEST_ID)


def test_the_end_is_never_set_later() -> None:
    """However late the delivery is."""
    world = prepared()
    before = world.grant().ends_at
    world.clock.advance(25 * 60)
    deliver(world)

    assert world.grant().ends_at == before


def test_delivering_again_sends_nothing_and_moves_nothing() -> None:
    """A retried state has done its work."""
    world = prepared()
    deliver(world)
    after_first = world.grant()
    world.clock.advance(60)
    deliver(world)

    assert (1, after_first) == (len(world.notifier.deliveries), world.grant())
    assert ["delivered"] == world.audit.events(REQUEST_ID)


def test_a_slack_that_fails_is_tried_again_without_starting_the_clock_anew() -> None:
    """The end was set; only the message is missing."""
    world = prepared()
    healthy, world.notifier = world.notifier, SilentNotifier()
    with pytest.raises(SlackUnavailableError):
        deliver(world)
    ends_at = world.grant().ends_at
    world.notifier = healthy
    world.clock.advance(60)
    deliver(world)

    assert (1, ends_at) == (len(healthy.deliveries), world.grant().ends_at)
    assert isinstance(world.requests.require_request(REQUEST_ID).ready_card, CardReference)


def test_a_delivery_that_slack_keeps_refusing_ends_with_the_access() -> None:
    """Tried again and again, it must not keep the end waiting."""
    world = prepared()
    world.notifier.declare_failing("deliver")
    with pytest.raises(SlackUnavailableError):
        deliver(world)
    world.clock.advance(1800)

    with pytest.raises(DeliveryFailedError, match="ended while it was being delivered"):
        deliver(world)


def test_other_cards_are_brought_up_to_date_but_hold_nothing_up() -> None:
    """The person has the connection already."""
    healthy, failing = prepared(), prepared()
    failing.notifier.declare_failing("announce_delivery")
    for world in (healthy, failing):
        deliver(world)

    assert [("announce_delivery", REQUEST_ID)] == healthy.notifier.told
    assert (1, []) == (len(failing.notifier.deliveries), failing.notifier.told)


def test_the_holder_has_been_told_the_end_that_is_on_the_message() -> None:
    """So that nobody tells it again."""
    world = prepared()
    deliver(world)

    assert world.grant().ends_at == world.requests.require_request(REQUEST_ID).told_end


@pytest.mark.parametrize(
    "grant",
    [None, a_grant(state=GrantState.ENDING), a_grant(state=GrantState.GONE), a_grant(a_request(request_id="R-NEXT22"))],
    ids=["none", "ending", "gone", "another request's"],
)
def test_nothing_is_delivered_for_a_grant_that_is_not_live(grant: Grant | None) -> None:
    """It ended while it was prepared, or is not this request's."""
    world = World()
    world.declare_request()
    if grant is not None:
        world.grants.declare_grant(grant)

    with pytest.raises(DeliveryFailedError, match="not live any more"):
        deliver(world)
    assert [] == world.notifier.deliveries


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (InstanceStatus(ec2="running"), "lost its connection"),
        (InstanceStatus(ec2="stopped"), "lost its connection"),
        (InstanceStatus(ec2=None), "lost its connection"),
        (a_connected_instance(agent_version="3.0.0.0"), r"too old \(3.0.0.0\)"),
    ],
)
def test_the_link_that_broke_since_the_preparation_is_named(status: InstanceStatus, reason: str) -> None:
    """No command is sent that cannot work, and the clock does not start."""
    world = prepared()
    world.host.declare_instance("i-1", status)

    with pytest.raises(DeliveryFailedError, match=reason):
        deliver(world)
    assert ([], None) == (world.notifier.deliveries, world.grant().delivered_at)


def test_a_bastion_without_an_instance_is_named() -> None:
    """It was forgotten in between."""
    world = prepared()
    world.bastions.declare_bastion(a_bastion())

    with pytest.raises(DeliveryFailedError, match="main"):
        deliver(world)


def test_an_order_without_instances_cannot_be_delivered() -> None:
    """There is no address to give."""
    with pytest.raises(DeliveryFailedError, match="not known"):
        deliver(prepared(), instances=None)


def test_a_grant_whose_end_was_reached_is_not_delivered() -> None:
    """Not a second of it is left."""
    world = prepared()
    world.clock.advance(24 * 3600)

    with pytest.raises(DeliveryFailedError, match="ended while it was being delivered"):
        deliver(world)
    assert [] == world.notifier.deliveries


def test_a_grant_that_is_ended_while_it_is_delivered_stays_ended() -> None:
    """Somebody wrote the end between the reading and the writing."""
    world = prepared()
    world.bastions.declare_meanwhile(
        "find_bastions", lambda: world.run(check_grant_end, request_id=REQUEST_ID, end_now=True)
    )

    with pytest.raises(DeliveryFailedError, match="ended while it was being delivered"):
        deliver(world)
    assert (GrantState.ENDING, []) == (world.grant().state, world.notifier.deliveries)


class SilentNotifier(FakeNotifier):
    """Slack takes nothing."""

    def deliver(self, *_: object) -> None:  # type: ignore[override]  # it never answers
        raise SlackUnavailableError("Slack did not take the message.")


def test_the_bastion_is_the_one_on_which_the_request_has_its_lease() -> None:
    """The first was full; the holder is told the second's instance, and that is remembered."""
    world = prepared()
    second = a_bastion(name="main.2", state=BastionState.RUNNING, instance_id="i-2")
    world.bastions.declare_bastion(replace(second, leases={REQUEST_ID: FRIDAY_NOON + minutes(90)}))
    world.bastions.release_lease("main", REQUEST_ID, at=FRIDAY_NOON)
    world.host.declare_instance("i-2", a_connected_instance())
    deliver(world)

    ((_, grant, connection),) = world.notifier.deliveries
    told = world.requests.require_request(REQUEST_ID).told_instance
    assert ("i-2", "i-2", "i-2") == (grant.instance_id, connection.instance_id, told)
