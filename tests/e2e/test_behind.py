"""What the page shows behind Slack is what AWS and the database say at that moment."""

from local.workspace import Workspace
from tests.e2e.people import People, eventually


def test_a_request_is_followed_to_its_end(people: People, workspace: Workspace) -> None:
    """While access lasts there are an execution, a leased bastion, a user who may log in, and a price; afterwards no user."""
    request_id = people.ask("alice", "my-aurora-location r look behind")
    during = eventually("access", lambda: _rows_in_state(workspace, request_id, ["HoldAccess", "running"]))
    after = eventually("the end", lambda: _rows_in_state(workspace, request_id, ["Finished", "succeeded"]))

    assert ["running", f"leased to {request_id}"] == during["Bastion"]["main, by the ledger"]
    assert [["login on", "0 sessions"]] == [
        each for name, each in during["Database users"].items() if "_r_alice" in name
    ]
    assert [] == [name for name in after["Database users"] if "_r_alice" in name]
    assert "$0.000000" < next(
        amount for name, (amount, _) in after["Money so far, estimated"].items() if "of bastion" in name
    )


def _rows_in_state(workspace: Workspace, request_id: str, state: list[str]) -> dict[str, dict[str, list[str]]] | None:
    rows = _rows(workspace)
    return rows if rows["Executions"].get(request_id) == state else None


def _rows(workspace: Workspace) -> dict[str, dict[str, list[str]]]:
    sections = workspace.slack.behind()["sections"]
    return {section["title"]: {name: rest for name, *rest in section["rows"]} for section in sections}
