"""Every branch of the definition, run once in the interpreter: the exact states in their order, and the named end.

Functions do as the scripts say. The end is named by the product's own rule from what the document holds by then.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from chalicelib.domain.endings import Course, Prepared, Purpose, StepError, decide_outcome
from chalicelib.domain.errors import (
    BastionCapacityError,
    DatabaseNotFoundError,
    DatabaseSetupError,
    DatabaseUnavailableError,
    DeliveryFailedError,
    GrantEndingError,
    LedgerUnavailableError,
    SlackUnavailableError,
    UnknownLocationError,
    UnknownRequestError,
)
from chalicelib.domain.payloads import from_payload
from tests.statemachines.definition import Edge, all_edges, load_definition
from tests.statemachines.stage import Play, Script, Stage, brisk_definition

ALLOWED = {"answer": "allowed", "reason": "r is automatic", "remind_seconds": 60, "wait_seconds": 60}
NEEDS_APPROVAL = {"answer": "needs_approval", "reason": "w needs 2", "remind_seconds": 60, "wait_seconds": 60}
APPROVED = {"verdict": "approved", "reason": ""}
LIVE = {"is_ending": False, "has_news": False, "wait_seconds": 60}
NEWS = {"is_ending": False, "has_news": True, "wait_seconds": 60}
ENDING = {"is_ending": True, "has_news": False, "wait_seconds": 0}
UNREVIEWED = {"is_closed": False, "wait_seconds": 60}
REVIEWED = {"is_closed": True, "wait_seconds": 0}
EARLIER_ORDER, ORDER = {"is_ordered": True, "instances": "one"}, {"is_ordered": True, "instances": "two"}
FOUND_EARLIER, FOUND = ({"order": order, "provisioner": "main"} for order in (EARLIER_ORDER, ORDER))
FOUND_FAR = {"order": ORDER, "provisioner": "far"}
RECEIPT = {"sessions": 0}


def _name_outcome(_: Play, event: Mapping[str, Any]) -> dict[str, Any]:
    purpose = Purpose(event["purpose"])
    confirmation = event["extension"] if purpose is Purpose.EXTEND else event["confirmation"]
    course = Course(
        purpose=purpose,
        policy_answer=event["policy"]["answer"],
        policy_reason=event["policy"]["reason"],
        verdict=event["approval"]["verdict"],
        verdict_reason=event["approval"]["reason"],
        is_confirmed=confirmation["is_confirmed"],
        confirmation_reason=confirmation["reason"],
        bastion=from_payload(Prepared, event["prepared"]["bastion"], path="prepared.bastion"),
        database_user=from_payload(Prepared, event["prepared"]["database_user"], path="prepared.database_user"),
        failure=from_payload(StepError, event["failure"], path="failure"),
    )
    return {"outcome": str(decide_outcome(course, request_id=event["request_id"])[0])}


def _slow_answer(play: Play, _: Any) -> dict[str, Any]:
    """An answer that comes only after an execution that does not wait for it has gone on."""
    play.calls["check_grant_end"].wait(0.5)
    return {}


GOES_WELL: Script = {
    "check_policy": [ALLOWED],
    "warm_bastion": [{"is_warming": True}],
    "request_approval": [{}],
    "remind_approvers": [{}],
    "close_approval": [APPROVED],
    "confirm_approval": [{"is_confirmed": True, "reason": ""}],
    "grant_extension": [{"is_confirmed": True, "reason": ""}],
    "find_database_instances": [FOUND_EARLIER, FOUND],
    "ensure_bastion_running": [{"instance_id": "i-0example"}],
    "provision_database_user": [{}],
    "announce_preparation": [{}],
    "deliver_connection": [{}],
    "check_grant_end": [LIVE, ENDING],
    "tell_holder": [{}],
    "hold_access": [{}],
    "revoke_access": [{"receipt": RECEIPT}],
    "close_tunnels": [{"tunnels": {"ended": [], "kept": [], "unattributed": []}}],
    "report_outcome": [_name_outcome],
    "check_review": [UNREVIEWED, REVIEWED],
    "request_review": [{}],
}
"""A request that policy allows, held until its end and revoked."""

JUDGED = "WhichPurpose CheckPolicy IsApprovalNeeded"
CLOSED_APPROVAL = "CloseApproval IsApproved"
ALLOWED_AT_ONCE = f"{JUDGED} {CLOSED_APPROVAL}"
ASKED = f"{JUDGED} WarmBastion RequestApproval {CLOSED_APPROVAL}"
REMINDED = f"{JUDGED} WarmBastion RequestApproval RemindApprovers"
CONFIRMED = "ConfirmApproval IsConfirmed FindDatabaseInstances"
PREPARED = "PrepareAccess EnsureBastionRunning ProvisionDatabaseUser AnnouncePreparation IsPrepared"
DELIVERED = f"{CONFIRMED} {PREPARED} DeliverConnection CheckGrantEnd IsEnding"
HELD = "HoldAccess CheckGrantEnd IsEnding"
TOLD = "TellHolder CheckGrantEnd IsEnding"
CLOSED = "CloseTunnels ReportOutcome"
REVOKED = f"FindInstancesToRevoke RevokeAccess {CLOSED}"
EXTENDED = f"GrantExtension {CLOSED}"
CHECKED = "WhichPurpose CheckReview IsReviewed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How one execution differs from one that goes well, and the states that it has to enter; the last names its end."""

    states: str
    script: Script = field(default_factory=dict)
    wakes: Sequence[str] = ()
    purpose: Purpose = Purpose.GRANT


SCENARIOS = {
    "allowed by policy, ended by its holder": Scenario(
        wakes=["hold_access"],
        states=f"{ALLOWED_AT_ONCE} {DELIVERED} {HELD} {REVOKED} WhichOutcome Finished",
    ),
    "approved by people, ended by its holder": Scenario(
        script={"check_policy": [NEEDS_APPROVAL]},
        wakes=["request_approval", "hold_access"],
        states=f"{ASKED} {DELIVERED} {HELD} {REVOKED} WhichOutcome Finished",
    ),
    "ended by the clock": Scenario(
        script={"check_grant_end": [LIVE | {"wait_seconds": 1}, ENDING]},
        states=f"{ALLOWED_AT_ONCE} {DELIVERED} {HELD} {REVOKED} WhichOutcome Finished",
    ),
    "extended while it is held": Scenario(
        script={"check_grant_end": [LIVE, LIVE, ENDING]},
        wakes=["hold_access", "hold_access"],
        states=f"{ALLOWED_AT_ONCE} {DELIVERED} {HELD} {HELD} {REVOKED} WhichOutcome Finished",
    ),
    "over before it is held": Scenario(
        script={"check_grant_end": [ENDING]},
        states=f"{ALLOWED_AT_ONCE} {DELIVERED} {REVOKED} WhichOutcome Finished",
    ),
    "denied by people": Scenario(
        script={"check_policy": [NEEDS_APPROVAL], "close_approval": [APPROVED | {"verdict": "denied"}]},
        wakes=["request_approval"],
        states=f"{ASKED} {CLOSED} WhichOutcome Denied",
    ),
    "decided by nobody": Scenario(
        script={
            "check_policy": [NEEDS_APPROVAL | {"remind_seconds": 1, "wait_seconds": 1}],
            "close_approval": [APPROVED | {"verdict": "timed_out"}],
        },
        states=f"{REMINDED} {CLOSED_APPROVAL} {CLOSED} WhichOutcome TimedOut",
    ),
    "approved after the reminder": Scenario(
        script={"check_policy": [NEEDS_APPROVAL | {"remind_seconds": 1}], "check_grant_end": [ENDING]},
        wakes=["remind_approvers"],
        states=f"{REMINDED} {CLOSED_APPROVAL} {DELIVERED} {REVOKED} WhichOutcome Finished",
    ),
    "reminding fails": Scenario(
        script={
            "check_policy": [NEEDS_APPROVAL | {"remind_seconds": 1}],
            "remind_approvers": [UnknownRequestError("no such request")],
        },
        states=f"{REMINDED} {CLOSED} WhichOutcome Failed",
    ),
    "taken back by the requester": Scenario(
        script={"check_policy": [NEEDS_APPROVAL], "close_approval": [APPROVED | {"verdict": "cancelled"}]},
        wakes=["request_approval"],
        states=f"{ASKED} {CLOSED} WhichOutcome Cancelled",
    ),
    "told of its end while it is held": Scenario(
        script={"check_grant_end": [NEWS, LIVE, ENDING]},
        wakes=["hold_access"],
        states=f"{ALLOWED_AT_ONCE} {DELIVERED} {TOLD} {HELD} {REVOKED} WhichOutcome Finished",
    ),
    "telling fails": Scenario(
        script={"check_grant_end": [NEWS, LIVE, ENDING], "tell_holder": [SlackUnavailableError("Slack is down")]},
        wakes=["hold_access"],
        states=f"{ALLOWED_AT_ONCE} {DELIVERED} {TOLD} {HELD} {REVOKED} WhichOutcome Finished",
    ),
    "announcing fails": Scenario(
        script={"announce_preparation": [SlackUnavailableError("Slack is down")], "check_grant_end": [ENDING]},
        states=f"{ALLOWED_AT_ONCE} {CONFIRMED} PrepareAccess EnsureBastionRunning ProvisionDatabaseUser "
        f"AnnouncePreparation AnnouncementFailed IsPrepared DeliverConnection CheckGrantEnd IsEnding {REVOKED} "
        "WhichOutcome Finished",
    ),
    "an extension that needs nobody": Scenario(
        purpose=Purpose.EXTEND,
        states=f"{ALLOWED_AT_ONCE} {EXTENDED} WhichOutcome Finished",
    ),
    "an extension that people approve": Scenario(
        purpose=Purpose.EXTEND,
        script={"check_policy": [NEEDS_APPROVAL]},
        wakes=["request_approval"],
        states=f"{JUDGED} RequestApproval {CLOSED_APPROVAL} {EXTENDED} WhichOutcome Finished",
    ),
    "an extension that is denied": Scenario(
        purpose=Purpose.EXTEND,
        script={"close_approval": [APPROVED | {"verdict": "denied"}]},
        states=f"{ALLOWED_AT_ONCE} {CLOSED} WhichOutcome Denied",
    ),
    "an extension that comes too late": Scenario(
        purpose=Purpose.EXTEND,
        script={"grant_extension": [{"is_confirmed": False, "reason": "it has ended"}]},
        states=f"{ALLOWED_AT_ONCE} {EXTENDED} WhichOutcome Denied",
    ),
    "extending fails": Scenario(
        purpose=Purpose.EXTEND,
        script={"grant_extension": [UnknownRequestError("no such request")]},
        states=f"{ALLOWED_AT_ONCE} {EXTENDED} WhichOutcome Failed",
    ),
    "a review that an approver closes": Scenario(
        purpose=Purpose.REVIEW,
        wakes=["request_review"],
        states=f"{CHECKED} RequestReview CheckReview IsReviewed Finished",
    ),
    "a review that is asked for again": Scenario(
        purpose=Purpose.REVIEW,
        script={"check_review": [UNREVIEWED | {"wait_seconds": 1}] * 2 + [REVIEWED]},
        states=f"{CHECKED} RequestReview CheckReview IsReviewed RequestReview CheckReview IsReviewed Finished",
    ),
    "checking the review fails": Scenario(
        purpose=Purpose.REVIEW,
        script={"check_review": [UnknownLocationError("no such location")]},
        states="WhichPurpose CheckReview Failed",
    ),
    "asking for the review fails": Scenario(
        purpose=Purpose.REVIEW,
        script={"request_review": [SlackUnavailableError("Slack is down")]},
        states=f"{CHECKED} RequestReview Failed",
    ),
    "denied by policy": Scenario(
        script={"check_policy": [ALLOWED | {"answer": "denied", "reason": "not for you"}]},
        states=f"{JUDGED} {CLOSED} WhichOutcome Denied",
    ),
    "warming fails": Scenario(
        script={
            "check_policy": [NEEDS_APPROVAL],
            "warm_bastion": [BastionCapacityError("no room")],
            "check_grant_end": [ENDING],
        },
        wakes=["request_approval"],
        states=f"{ASKED} {DELIVERED} {REVOKED} WhichOutcome Finished",
    ),
    "judging the policy fails": Scenario(
        script={"check_policy": [UnknownLocationError("no such location")]},
        states=f"WhichPurpose CheckPolicy {CLOSED} WhichOutcome Failed",
    ),
    "asking people fails": Scenario(
        script={"check_policy": [NEEDS_APPROVAL], "request_approval": [SlackUnavailableError("Slack is down")]},
        states=f"{JUDGED} WarmBastion RequestApproval {CLOSED} WhichOutcome Failed",
    ),
    "closing the approval fails": Scenario(
        script={"check_policy": [NEEDS_APPROVAL], "close_approval": [UnknownRequestError("no such request")]},
        wakes=["request_approval"],
        states=f"{JUDGED} WarmBastion RequestApproval CloseApproval {CLOSED} WhichOutcome Failed",
    ),
    "confirmation refuses": Scenario(
        script={"confirm_approval": [{"is_confirmed": False, "reason": "the rule has changed"}]},
        states=f"{ALLOWED_AT_ONCE} ConfirmApproval IsConfirmed EndGrant {REVOKED} WhichOutcome Denied",
    ),
    "confirmation fails": Scenario(
        script={"confirm_approval": [UnknownRequestError("no such request")]},
        states=f"{ALLOWED_AT_ONCE} ConfirmApproval EndGrant {REVOKED} WhichOutcome Failed",
    ),
    "an earlier grant is still ending": Scenario(
        script={
            "confirm_approval": [GrantEndingError("still ending"), {"is_confirmed": True, "reason": ""}],
            "check_grant_end": [ENDING],
        },
        states=f"{ALLOWED_AT_ONCE} {DELIVERED} {REVOKED} WhichOutcome Finished",
    ),
    "finding the instances fails": Scenario(
        script={"find_database_instances": [DatabaseNotFoundError("no such cluster")]},
        states=f"{ALLOWED_AT_ONCE} {CONFIRMED} EndGrant {REVOKED} WhichOutcome Failed",
    ),
    "the bastion fails": Scenario(
        script={
            "ensure_bastion_running": [DeliveryFailedError("the agent is too old")],
            "provision_database_user": [_slow_answer],
        },
        states=f"{ALLOWED_AT_ONCE} {CONFIRMED} PrepareAccess EnsureBastionRunning BastionFailed ProvisionDatabaseUser "
        f"AnnouncePreparation IsPrepared EndGrant {REVOKED} WhichOutcome Failed",
    ),
    "provisioning fails": Scenario(
        script={
            "ensure_bastion_running": [_slow_answer],
            "provision_database_user": [DatabaseSetupError("no group")],
        },
        states=f"{ALLOWED_AT_ONCE} {CONFIRMED} PrepareAccess EnsureBastionRunning ProvisionDatabaseUser "
        f"ProvisioningFailed AnnouncePreparation IsPrepared EndGrant {REVOKED} WhichOutcome Failed",
    ),
    "delivery fails": Scenario(
        script={"deliver_connection": [DeliveryFailedError("the bastion is gone")], "check_grant_end": [ENDING]},
        states=f"{ALLOWED_AT_ONCE} {CONFIRMED} {PREPARED} DeliverConnection EndGrant {REVOKED} WhichOutcome Failed",
    ),
    "reading the end fails": Scenario(
        script={"check_grant_end": [UnknownRequestError("no such request"), ENDING]},
        states=f"{ALLOWED_AT_ONCE} {CONFIRMED} {PREPARED} DeliverConnection CheckGrantEnd EndGrant {REVOKED} "
        "WhichOutcome Failed",
    ),
    "holding fails": Scenario(
        script={"hold_access": [LedgerUnavailableError("no answer")]},
        states=f"{ALLOWED_AT_ONCE} {DELIVERED} HoldAccess EndGrant {REVOKED} WhichOutcome Failed",
    ),
    "ending the grant fails": Scenario(
        script={
            "deliver_connection": [DeliveryFailedError("the bastion is gone")],
            "check_grant_end": [UnknownRequestError("no such request")],
        },
        states=f"{ALLOWED_AT_ONCE} {CONFIRMED} {PREPARED} DeliverConnection EndGrant {REVOKED} WhichOutcome Failed",
    ),
    "finding the instances to revoke fails": Scenario(
        script={
            "find_database_instances": [FOUND_EARLIER, DatabaseNotFoundError("no such cluster")],
            "check_grant_end": [ENDING],
        },
        states=f"{ALLOWED_AT_ONCE} {DELIVERED} {REVOKED} WhichOutcome Finished",
    ),
    "a database in another VPC": Scenario(
        script={"find_database_instances": [FOUND_FAR], "check_grant_end": [ENDING]},
        states=f"{ALLOWED_AT_ONCE} {DELIVERED} {REVOKED} WhichOutcome Finished",
    ),
    "a database in another VPC, not found any more": Scenario(
        script={
            "find_database_instances": [FOUND_FAR, DatabaseNotFoundError("no such cluster")],
            "check_grant_end": [ENDING],
        },
        states=f"{ALLOWED_AT_ONCE} {DELIVERED} {REVOKED} WhichOutcome Finished",
    ),
    "revoking fails once": Scenario(
        script={
            "revoke_access": [DatabaseUnavailableError("failing over"), {"receipt": RECEIPT}],
            "check_grant_end": [ENDING],
        },
        states=f"{ALLOWED_AT_ONCE} {DELIVERED} {REVOKED} WhichOutcome Finished",
    ),
    "revoking fails for good": Scenario(
        script={"revoke_access": [DatabaseUnavailableError("gone")], "check_grant_end": [ENDING]},
        states=f"{ALLOWED_AT_ONCE} {DELIVERED} {REVOKED} WhichOutcome Failed",
    ),
    "closing the tunnels fails": Scenario(
        script={"close_tunnels": [UnknownRequestError("no such request")], "check_grant_end": [ENDING]},
        states=f"{ALLOWED_AT_ONCE} {DELIVERED} {REVOKED} WhichOutcome Failed",
    ),
    "reporting fails": Scenario(
        script={"report_outcome": [UnknownRequestError("no such request")], "check_grant_end": [ENDING]},
        states=f"{ALLOWED_AT_ONCE} {DELIVERED} {REVOKED} Failed",
    ),
    "a revocation is seen through": Scenario(
        purpose=Purpose.REVOKE,
        script={"check_grant_end": [ENDING]},
        states=f"WhichPurpose EndGrant {REVOKED} WhichOutcome Failed",
    ),
}

BEYOND_REACH = {Edge(source="PrepareAccess", via="Catch[0]", target="EndGrant")}
"""Both branches end in a value whatever happens, so that this Catch is a second lock on a door that is closed already."""


class _Theatre:
    """Plays each scenario once, when it is first asked for, so that no test depends on another."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._plays: dict[str, Play] = {}

    def play(self, name: str) -> Play:
        if name not in self._plays:
            scenario = SCENARIOS[name]
            self._plays[name] = self._stage.play(
                {**GOES_WELL, **scenario.script}, wakes=scenario.wakes, purpose=scenario.purpose
            )
        return self._plays[name]


@pytest.fixture(scope="module")
def theatre() -> Iterator[_Theatre]:
    with Stage() as stage:
        yield _Theatre(stage)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_request_takes_its_path_to_its_named_end(theatre: _Theatre, name: str) -> None:
    """From ask to end, these states and no others."""
    play = theatre.play(name)

    assert SCENARIOS[name].states.split() == play.entered
    assert ("FAILED" if play.entered[-1] == "Failed" else "SUCCEEDED") == play.status


def test_the_scenarios_take_every_edge_of_the_definition(theatre: _Theatre) -> None:
    """An edge that no test has seen taken may lead anywhere."""
    taken = {edge for name in SCENARIOS for edge in theatre.play(name).edges}

    assert set(all_edges(load_definition())) - BEYOND_REACH == taken


def test_only_the_patience_of_retries_differs_from_the_file() -> None:
    """What is proven here is proven of the definition that is deployed."""
    assert list(all_edges(load_definition())) == list(all_edges(brisk_definition()))


@pytest.mark.parametrize(
    "name",
    [
        "denied by people",
        "decided by nobody",
        "denied by policy",
        "asking people fails",
        "taken back by the requester",
        "reminding fails",
        "an extension that people approve",
    ],
)
def test_a_request_that_is_not_approved_never_touches_the_database(theatre: _Theatre, name: str) -> None:
    """Nobody connects to a database for somebody who may not."""
    called = {function for function, events in theatre.play(name).events.items() if events}

    assert set() == called & {"confirm_approval", "find_database_instances", "provision_database_user", "revoke_access"}


@pytest.mark.parametrize("name", ["a review that an approver closes", "asking for the review fails"])
def test_a_review_touches_nothing_but_itself(theatre: _Theatre, name: str) -> None:
    """Whatever becomes of it, the access that it is about goes its own way."""
    called = {function for function, events in theatre.play(name).events.items() if events}

    assert {"check_review", "request_review"} == called


@pytest.mark.parametrize(
    ("name", "slow"),
    [("the bastion fails", "ProvisionDatabaseUser"), ("provisioning fails", "EnsureBastionRunning")],
)
def test_both_branches_of_the_preparation_are_waited_for(theatre: _Theatre, name: str, slow: str) -> None:
    """Nothing is revoked while provisioning may still commit."""
    steps = theatre.play(name).steps

    assert steps.index(f"left {slow}") < steps.index("entered EndGrant")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("judging the policy fails", "UnknownLocationError"),
        ("asking people fails", "SlackUnavailableError"),
        ("confirmation fails", "UnknownRequestError"),
        ("finding the instances fails", "DatabaseNotFoundError"),
        ("delivery fails", "DeliveryFailedError"),
        ("holding fails", "LedgerUnavailableError"),
        ("revoking fails for good", "DatabaseUnavailableError"),
        ("closing the tunnels fails", "UnknownRequestError"),
        ("warming fails", ""),
        ("revoking fails once", ""),
        ("ended by the clock", ""),
        ("announcing fails", ""),
        ("telling fails", ""),
        ("extending fails", "UnknownRequestError"),
        ("reminding fails", "UnknownRequestError"),
    ],
)
def test_the_report_names_the_error_that_ended_the_request(theatre: _Theatre, name: str, error: str) -> None:
    """People are told which step failed; what was got over is no failure."""
    assert error == theatre.play(name).events["report_outcome"][-1]["failure"]["Error"]


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("ended by the clock", ORDER),
        ("finding the instances to revoke fails", EARLIER_ORDER),
        ("finding the instances fails", None),
    ],
)
def test_revocation_is_given_the_newest_order_there_is(theatre: _Theatre, name: str, order: Any) -> None:
    """Instances are listed anew; failing that the earlier list does, and failing that nothing is claimed."""
    assert order == theatre.play(name).events["revoke_access"][0]["order"]


@pytest.mark.parametrize(
    ("name", "provisioner"),
    [
        ("ended by the clock", "main"),
        ("a database in another VPC", "far"),
        ("a database in another VPC, not found any more", "far"),
    ],
)
def test_the_functions_that_reach_the_database_are_those_of_its_provisioner(
    theatre: _Theatre, name: str, provisioner: str
) -> None:
    """In its own VPC, to make the user and to take it away again, also where it cannot be looked up any more."""
    assert {"provision_database_user": [provisioner], "revoke_access": [provisioner]} == theatre.play(name).provisioners


def test_who_knows_no_provisioner_asks_the_main_one(theatre: _Theatre) -> None:
    """It gets no order with which it could do anything; the attempt must not end the workflow."""
    called = theatre.play("finding the instances fails").provisioners["revoke_access"]

    assert {"main"} == set(called)


@pytest.mark.parametrize(
    ("name", "receipt"),
    [("revoking fails once", RECEIPT), ("revoking fails for good", None), ("denied by people", None)],
)
def test_only_revocation_brings_a_receipt(theatre: _Theatre, name: str, receipt: Any) -> None:
    """What could not be read back is not claimed."""
    assert receipt == theatre.play(name).events["report_outcome"][-1]["receipt"]


@pytest.mark.parametrize(
    ("name", "function", "calls"),
    [
        ("an earlier grant is still ending", "confirm_approval", 2),
        ("asking people fails", "request_approval", 2),
        ("revoking fails for good", "revoke_access", 2),
        ("holding fails", "hold_access", 1),
        ("warming fails", "warm_bastion", 1),
        ("telling fails", "tell_holder", 1),
        ("announcing fails", "announce_preparation", 1),
        ("extending fails", "grant_extension", 1),
    ],
)
def test_what_may_pass_is_tried_again(theatre: _Theatre, name: str, function: str, calls: int) -> None:
    """With retries cut down to one; the hold and the warming are never tried again."""
    assert calls == len(theatre.play(name).events[function])


def test_a_grant_is_ended_at_once_when_something_failed(theatre: _Theatre) -> None:
    """The state that only looks at the ledger ends nothing by itself; the one after a failure ends whatever there is."""
    asked = [event["end_now"] for event in theatre.play("holding fails").events["check_grant_end"]]

    assert [False, True] == asked


def test_each_wait_has_a_token_of_its_own(theatre: _Theatre) -> None:
    """An answer to an earlier wait can never end a later one."""
    tokens = [event["task_token"] for event in theatre.play("extended while it is held").events["hold_access"]]

    assert 2 == len(set(tokens))
