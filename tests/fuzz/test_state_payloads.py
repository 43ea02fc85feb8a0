"""What states hand to functions, and Slack to the endpoint, with something wrong in it.

Each function does its work or ends in an error of ours by name; the endpoint answers.
"""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain import errors
from chalicelib.domain.payloads import PayloadError
from local import stack
from local.workspace import SHORT, Workspace
from tests.e2e.people import People
from tests.fuzz.mutations import json_values, mutated_documents, tries

NAMED = {kind.__name__ for kind in (*errors.AccessError.__subclasses__(), PayloadError)}
FUNCTIONS = (
    *("CheckPolicy", "WarmBastion", "RequestApproval", "CloseApproval", "ConfirmApproval", "FindDatabaseInstances"),
    *("EnsureBastionRunning", f"{stack.STACK}-main-ProvisionDatabaseUser", "AnnouncePreparation", "DeliverConnection"),
    *("CheckGrantEnd", "TellHolder", "HoldAccess", f"{stack.STACK}-main-RevokeAccess", "CloseTunnels", "ReportOutcome"),
    *("CheckReview", "RequestReview", "GrantExtension", "RemindApprovers", "IssueToken"),
)
Payloads = dict[str, list[Any]]
words = st.text(st.characters(codec="utf-8"), max_size=20)


@pytest.fixture(scope="module")
def workspace() -> Iterator[Workspace]:
    """A workspace in which some access was had and has ended, and some is going on."""
    with Workspace(seconds=SHORT | {"ACCESS": 600, "APPROVAL_WAIT": 600}) as running:
        yield running


@pytest.fixture(scope="module")
def payloads(workspace: Workspace) -> Payloads:
    """What each function was really handed, by its name."""
    people = People(workspace)
    ended = people.ask("alice", "my-aurora-location w 5m because")
    people.decide("carol", ended)
    people.press_ready("alice", ended, "end")
    people.wait_for_end(ended)
    open_ = people.ask("bob", "my-aurora-location w 5m because --break-glass")
    people.ready("bob", open_)
    handed: Payloads = {}
    for name in (ended, open_):
        arn = workspace.state_machine.replace(":stateMachine:", ":execution:") + f":{name}"
        for event in boto3.client("stepfunctions").get_execution_history(executionArn=arn, maxResults=1000)["events"]:
            if "taskScheduledEventDetails" in event:
                parameters = json.loads(event["taskScheduledEventDetails"]["parameters"])
                handed.setdefault(parameters["FunctionName"].rpartition(":function:")[2], []).append(
                    parameters["Payload"]
                )
    only = {"request_id": open_, "execution": open_}
    waiting = only | {"task_token": "not-given-out"}
    more: Payloads = {
        "TellHolder": [only],
        "HoldAccess": [waiting],
        "GrantExtension": [only],
        "RemindApprovers": [waiting],
        "RequestReview": [waiting],
        "CheckReview": [only],
    }
    more["IssueToken"] = [{"request_id": open_, "view_id": "V0EXAMPLE", "person_id": "T0EXAMPLE-U0BOB"}]
    return more | handed


def said_by_slack(workspace: Workspace) -> list[tuple[str, str, dict[str, Any]]]:
    """One of each kind of thing that Slack has told us: where, how, and what."""
    workspace.slack.open_app("U0ALICE")
    found = {}
    for sent in workspace.slack.requests:
        how = next((name for name in ("payload", "event", "command") if name in sent.arguments), "")
        content = json.loads(sent.arguments["payload"]) if how == "payload" else sent.arguments
        action = (content.get("actions") or [{}])[0].get("action_id")
        found[how, content.get("type"), action] = (sent.name, how, content)
    return list(found.values())


def error_of(workspace: Workspace, function: str, payload: Any) -> str:
    """The name of the error in which a function ends; empty when it does not."""
    try:
        workspace.aws.invoke(function, payload)
    except Exception as error:  # noqa: BLE001 - whatever a function raises is what this looks at
        return type(error).__name__
    return ""


def test_every_function_of_the_workflow_is_tried(payloads: Payloads) -> None:
    """And what it is handed here is what it was handed there."""
    assert set(FUNCTIONS) == set(payloads)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_payload_breaks_a_function(workspace: Workspace, payloads: Payloads, function: str) -> None:
    """Whatever is missing, of another kind or in another's place."""
    broken: dict[str, Any] = {}

    @tries(25)
    @given(st.sampled_from(payloads[function]).flatmap(mutated_documents) | json_values)
    def attempt(payload: Any) -> None:
        error = error_of(workspace, function, payload)
        if error and error not in NAMED:
            broken.setdefault(error, payload)

    attempt()

    assert {} == broken


def test_nothing_that_slack_signs_breaks_the_endpoint(workspace: Workspace, payloads: Payloads) -> None:
    """Commands, clicks and events as they really came, with something missing, of another kind or in another's place."""
    said, errors = said_by_slack(workspace), len(workspace.aws.errors)

    @tries(150)
    @given(st.data())
    def tell(data: st.DataObject) -> None:
        where, how, content = data.draw(st.sampled_from(said))
        if how == "command":
            told = {name: data.draw(st.just(text) | words) for name, text in content.items()}
        else:
            told = data.draw(mutated_documents(content))
        given_as = {"payload": json.dumps(told)} if how == "payload" else told
        answer = workspace.slack.send(where, given_as, is_json=how == "event")

        assert answer["status"] in {200, 400, 404}, answer

    tell()

    assert {"payload", "event", "command"} == {how for _, how, _ in said}
    assert [] == workspace.aws.errors[errors:]
