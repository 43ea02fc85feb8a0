"""HoldAccess: waits, unless there is nothing left to wait for."""

from dataclasses import replace

import pytest

from chalicelib.domain.grants import Grant, GrantState
from chalicelib.workflow.ask_end import ask_end
from chalicelib.workflow.hold_access import hold_access
from tests.factories import (
    ALICE,
    FRIDAY_NOON,
    REQUEST_ID,
    a_grant,
    a_request,
    a_task_token,
    minutes,
    seconds,
)
from tests.fakes import World


def hold(world: World, token: str = "token-2") -> None:
    world.run(hold_access, request_id=REQUEST_ID, task_token=a_task_token(token))


def delivered() -> World:
    """A grant of whose end its holder was told."""
    world = World()
    world.requests.keep_told(REQUEST_ID, end=world.declare_grant().ends_at)
    return world


def test_a_live_grant_is_held() -> None:
    """The token is kept for whoever ends it; nobody is woken."""
    world = delivered()
    hold(world)

    assert ("token-2", []) == (world.requests.require_request(REQUEST_ID).hold_token, world.executions.woken)


def test_holding_again_waits_with_the_newest_token() -> None:
    """Each look at the end begins a new wait."""
    world = World()
    world.declare_grant()
    for token in ("token-2", "token-3"):
        hold(world, token)

    assert "token-3" == world.requests.require_request(REQUEST_ID).hold_token


def test_an_end_that_was_moved_before_the_token_was_kept_wakes_at_once() -> None:
    """Whoever moved it could wake an older token only, and the holder shall hear of it now."""
    world = delivered()
    world.grants.declare_grant(replace(world.grant(), ends_at=world.grant().ends_at + minutes(30)))
    hold(world)

    assert ["token-2"] == world.executions.woken


def test_news_that_slack_did_not_take_just_now_wakes_nobody() -> None:
    """Else the workflow would turn in circles."""
    world = delivered()
    world.grants.declare_grant(replace(world.grant(), ends_at=world.grant().ends_at + minutes(30)))
    world.requests.keep_tell_try(REQUEST_ID, at=world.clock())
    hold(world)

    assert [] == world.executions.woken


def test_an_end_that_was_asked_for_before_the_token_was_kept_wakes_at_once() -> None:
    """Nobody could wake this token then."""
    world = World()
    world.declare_grant()
    world.run(ask_end, request_id=REQUEST_ID, person=ALICE)
    woken_before = list(world.executions.woken)
    hold(world)

    assert ([], ["token-2"]) == (woken_before, world.executions.woken)


def test_an_end_that_is_asked_for_right_after_the_token_was_kept_wakes_too() -> None:
    """By the asker or by the holder, whoever sees it; both may."""
    world = World()
    world.declare_grant()
    world.requests.declare_meanwhile("keep_hold_token", lambda: world.run(ask_end, request_id=REQUEST_ID, person=ALICE))
    hold(world)

    assert {"token-2"} == set(world.executions.woken)


@pytest.mark.parametrize(
    "grant",
    [
        None,
        a_grant(state=GrantState.ENDING),
        a_grant(state=GrantState.GONE),
        a_grant(ends_at=FRIDAY_NOON + seconds(0.5)),
        a_grant(a_request(request_id="R-NEXT22")),
    ],
    ids=["none", "ending", "gone", "at its end", "another request's"],
)
def test_what_has_ended_is_not_held(grant: Grant | None) -> None:
    """The workflow goes on to look at the ledger."""
    world = World()
    world.declare_request()
    if grant is not None:
        world.grants.declare_grant(grant)
    hold(world)

    assert ["token-2"] == world.executions.woken
