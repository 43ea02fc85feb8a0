"""A whole request as its audit trail tells it: one entry for each thing that happened, also when every step is repeated."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.domain.bastions import BastionState
from chalicelib.domain.decisions import Refusal
from chalicelib.domain.endings import Purpose
from chalicelib.domain.filings import Asked
from chalicelib.domain.locations import DatabaseKind
from chalicelib.domain.people import Person
from chalicelib.domain.requests import Ask
from chalicelib.workflow.ask_end import ask_end
from chalicelib.workflow.ask_extension import ask_extension
from chalicelib.workflow.audit_refusal import audit_refusal
from chalicelib.workflow.check_grant_end import check_grant_end
from chalicelib.workflow.check_policy import check_policy
from chalicelib.workflow.close_approval import close_approval
from chalicelib.workflow.close_tunnels import close_tunnels
from chalicelib.workflow.confirm_approval import confirm_approval
from chalicelib.workflow.deliver_connection import deliver_connection
from chalicelib.workflow.file_request import file_request
from chalicelib.workflow.find_database_instances import find_database_instances
from chalicelib.workflow.grant_extension import grant_extension
from chalicelib.workflow.issue_token import issue_token
from chalicelib.workflow.record_decision import record_decision
from chalicelib.workflow.report_outcome import report_outcome
from chalicelib.workflow.request_approval import request_approval
from tests.factories import (
    ALICE,
    BOB,
    CAROL,
    INSTANCES,
    OPERATE,
    a_bastion,
    a_connected_instance,
    a_course,
    a_receipt,
    a_task_token,
    a_tunnel,
    minutes,
)
from tests.fakes import World

EXPECTED = [
    ("refused", "2026-11-20T12:00:20.000Z"),
    ("asked", "2026-11-20T12:00:00.000Z"),
    ("decided", "2026-11-20T12:00:30.000Z"),
    ("approval closed", "2026-11-20T12:00:30.000Z"),
    ("granted", "2026-11-20T12:00:40.000Z"),
    ("delivered", "2026-11-20T12:02:40.000Z"),
    ("token made", "2026-11-20T12:03:40.000Z"),
    ("token made", "2026-11-20T12:04:40.000Z"),
    ("token refused", "2026-11-20T12:04:50.000Z"),
    ("extended", "2026-11-20T12:05:30.000Z"),
    ("end asked", "2026-11-20T12:10:30.000Z"),
    ("ending", "2026-11-20T12:10:31.000Z"),
    ("tunnels closed", "2026-11-20T12:10:32.000Z"),
    ("ended", "2026-11-20T12:10:33.000Z"),
    ("receipt", "2026-11-20T12:10:33.000Z"),
]
"""What a request comes to, and when it happened: not when it was written down."""


class Story:
    """Alice asks, bob agrees, she works, wants more time and ends it. ``times`` is how often each step of the workflow runs."""

    def __init__(self, times: int) -> None:
        self.world, self.times = World(), times
        self.world.directory.declare_instances(DatabaseKind.CLUSTER, "orders-cluster", INSTANCES)
        self.world.bastions.declare_bastion(a_bastion(state=BastionState.RUNNING, instance_id="i-1"))
        self.world.host.declare_instance("i-1", a_connected_instance())

    def step(self, verb: Callable[..., Any], **given: Any) -> Any:
        """One state of the workflow, told as often as it may be told; the clock stands meanwhile."""
        return [self.world.run(verb, **given) for _ in range(self.times)][-1]

    def decide(self, request_id: str, person: Person, *, approves: bool) -> None:
        answer = self.world.run(record_decision, request_id=request_id, person=person, approves=approves)
        if isinstance(answer, Refusal):
            self.world.run(audit_refusal, refusal=answer, act="approve", person=person, request_id=request_id)

    def approve(self, request_id: str) -> None:
        """From the asking to the verdict; the requester tries first."""
        self.world.clock.advance(10)
        self.step(request_approval, request_id=request_id, task_token=a_task_token("task-token-1"))
        self.world.clock.advance(10)
        self.decide(request_id, ALICE, approves=True)
        self.step(check_policy, request_id=request_id)
        self.world.clock.advance(10)
        self.decide(request_id, BOB, approves=True)
        self.step(close_approval, request_id=request_id)

    def play(self) -> str:
        world = self.world
        ask = Ask(location="orders-prod", level=OPERATE, duration_seconds=1800, reason="fix a stuck order")
        asked = world.run(file_request, person=ALICE, ask=ask, origin_id="trigger-1")
        assert isinstance(asked, Asked)
        request_id = asked.request.request_id
        self.approve(request_id)
        world.clock.advance(10)
        self.step(confirm_approval, request_id=request_id)
        order = self.step(find_database_instances, request_id=request_id, for_provisioning=True)
        world.clock.advance(120)
        world.bastions.take_lease("main", request_id, until=world.clock() + minutes(60))
        self.step(deliver_connection, request_id=request_id, order=order)
        for view_id in ("V0FIRST", "V0SECOND"):
            world.clock.advance(60)
            self.step(issue_token, request_id=request_id, view_id=view_id, person_id=ALICE.person_id)
        world.clock.advance(10)
        self.step(issue_token, request_id=request_id, view_id="V0CAROL", person_id=CAROL.person_id)
        world.clock.advance(10)
        self.extension_id = self.extend(request_id)
        world.clock.advance(300)
        world.run(ask_end, request_id=request_id, person=ALICE)
        world.clock.advance(1)
        self.step(check_grant_end, request_id=request_id, end_now=False)
        world.clock.advance(1)
        world.tunnels.declare_tunnel("i-1", a_tunnel(session_id="alice-0a1b", reason=request_id))
        tunnels = world.run(close_tunnels, request_id=request_id)
        world.clock.advance(1)
        receipt = a_receipt(read_at=world.clock())
        self.step(report_outcome, request_id=request_id, course=a_course(), receipt=receipt, tunnels=tunnels)
        return request_id

    def extend(self, request_id: str) -> str:
        asked = self.world.run(ask_extension, request_id=request_id, seconds=1800, person=ALICE, origin_id="trigger-2")
        assert isinstance(asked, Asked)
        extension_id = asked.request.request_id
        self.approve(extension_id)
        self.step(grant_extension, request_id=extension_id)
        course = a_course(purpose=Purpose.EXTEND)
        tunnels = self.world.run(close_tunnels, request_id=extension_id)
        self.step(report_outcome, request_id=extension_id, course=course, receipt=None, tunnels=tunnels)
        return extension_id


@pytest.fixture(params=[1, 3], ids=["each step once", "each step three times"])
def story(request: pytest.FixtureRequest) -> Story:
    return Story(request.param)


def test_every_happening_has_one_entry(story: Story) -> None:
    """In order, with the moment at which it happened, however often its step is repeated."""
    request_id = story.play()

    assert EXPECTED == [(entry["event"], entry["at"]) for entry in story.world.audit.entries(request_id)]


def test_an_extension_has_a_trail_of_its_own(story: Story) -> None:
    """It is a request; the access that it prolongs names it."""
    request_id = story.play()

    (extended,) = [entry for entry in story.world.audit.entries(request_id) if entry["event"] == "extended"]
    assert {"by": story.extension_id, "seconds": 1800} == extended["facts"]
    assert ["refused", "asked", "decided", "approval closed", "ended"] == story.world.audit.events(story.extension_id)


def test_the_trail_can_be_joined_with_cloudtrail_and_with_the_databases_log(story: Story) -> None:
    """By instance and session, by the principal that opened the tunnel, and by the database user."""
    request_id = story.play()
    facts = {entry["event"]: entry["facts"] for entry in story.world.audit.entries(request_id)}

    role, (tunnel,) = facts["granted"]["role"], facts["tunnels closed"]["ended"]
    assert {role} == {facts[event]["role"] for event in ("delivered", "token made", "ending")}
    assert role.startswith("jit_")
    assert ("i-1", ["i-1"], INSTANCES.writer.host) == (
        facts["delivered"]["bastion"],
        facts["tunnels closed"]["bastions"],
        facts["token made"]["host"],
    )
    assert ("alice-0a1b", a_tunnel().owner, request_id) == (tunnel["session_id"], tunnel["owner"], tunnel["reason"])


def test_the_trail_holds_no_secret(story: Story) -> None:
    """No token of the database, of the workflow or of Slack."""
    request_id = story.play()

    written = json.dumps([story.world.audit.entries(each) for each in (request_id, story.extension_id)])
    for secret in ("X-Amz-", "task-token-1", "trigger-1", "trigger-2"):
        assert secret not in written
