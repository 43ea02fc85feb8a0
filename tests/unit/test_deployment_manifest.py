"""The manifest of the Slack app as its operator gets it: complete, and with no wider scopes than the product uses."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from slack_sdk import WebClient

from deployment.__main__ import main
from deployment.manifest import fill_in
from local import workspace

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "catalogue.toml"
ADDRESS = "https://abc123.execute-api.eu-west-1.amazonaws.com/api"
SCOPES = {
    "chat_postMessage": "chat:write",
    "chat_update": "chat:write",
    "usergroups_users_list": "usergroups:read",
    "users_info": "users:read",
    "views_open": None,
    "views_publish": None,
    "views_push": None,
    "views_update": None,
}
"""What Slack asks for each method that the product calls (Slack: each method's page)."""
COMMANDS_SCOPE = "commands"


@pytest.fixture
def catalogue_without_groups(tmp_path: Path) -> str:
    file = tmp_path / "catalogue.toml"
    file.write_text(EXAMPLE.read_text().replace('approver_groups = ["S0EXAMPLE"], ', ""))
    return str(file)


def test_all_three_request_urls_are_the_deployments(capsys: pytest.CaptureFixture[str]) -> None:
    """Commands, clicks and events go to the one endpoint."""
    status = main(["manifest", ADDRESS, "--locations", str(EXAMPLE)])

    printed = json.loads(capsys.readouterr().out)
    settings, commands = printed["settings"], printed["features"]["slash_commands"]
    assert 0 == status
    assert {f"{ADDRESS}/slack/events"} == {
        settings["event_subscriptions"]["request_url"],
        settings["interactivity"]["request_url"],
        *(command["url"] for command in commands),
    }
    assert "API/" not in json.dumps(printed)


@pytest.mark.parametrize("pasted", [f"{ADDRESS}/", f"{ADDRESS}/slack/events"])
def test_an_address_is_taken_however_it_was_copied(pasted: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With a slash at its end, or with the path that the manifest appends."""
    main(["manifest", pasted, "--locations", str(EXAMPLE)])

    assert fill_in(ADDRESS, asks_groups=True) == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://api.example.com/api", "does not begin with https://"),
        ("api.example.com/api", "does not begin with https://"),
        ("", "does not begin with https://"),
        ("https://", "is not a public host name"),
        ("https://API", "is not a public host name"),
        ("https://localhost:8000", "is not a public host name"),
        ("https://127.0.0.1/api", "is not a public host name"),
        ("https://api.example.com/api?stage=dev", "is not a public host name"),
        ("https://api.example.com/api#events", "is not a public host name"),
        ("https://somebody@api.example.com/api", "is not a public host name"),
        ('https://api.example.com/"api', "is not a public host name"),
        ("https://api.example.com/api\n", "is not a public host name"),
    ],
)
def test_another_address_is_refused_with_what_is_wrong(
    url: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error, with an example and status 1; nothing is there to be pasted."""
    status = main(["manifest", url, "--locations", str(EXAMPLE)])

    said = capsys.readouterr()
    assert (1, "") == (status, said.out)
    assert sentence in said.err
    assert "such as https://" in said.err


def test_reading_groups_is_asked_where_a_rule_names_groups(capsys: pytest.CaptureFixture[str]) -> None:
    """The catalogue's approver_groups cannot be looked up without."""
    main(["manifest", ADDRESS, "--locations", str(EXAMPLE)])

    assert "usergroups:read" in scopes_of(capsys.readouterr().out)


def test_reading_groups_is_not_asked_where_no_rule_names_groups(
    catalogue_without_groups: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A scope that is not used is not asked for."""
    main(["manifest", ADDRESS, "--locations", catalogue_without_groups])

    said = capsys.readouterr()
    assert "usergroups:read" not in scopes_of(said.out)
    assert "" == said.err


def test_without_a_catalogue_the_operator_hears_what_may_be_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error: what is printed can still be pasted."""
    status = main(["manifest", ADDRESS, "--locations", ""])

    said = capsys.readouterr()
    assert 0 == status
    assert "usergroups:read" not in scopes_of(said.out)
    assert "lacks the scope usergroups:read" in said.err


def test_a_catalogue_that_cannot_be_read_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """It is not taken for one without groups."""
    status = main(["manifest", ADDRESS, "--locations", "/nowhere.toml"])

    said = capsys.readouterr()
    assert (1, "") == (status, said.out)
    assert "/nowhere.toml: (the file): cannot be read" in said.err


def test_the_program_prints_the_manifest_alone() -> None:
    """What it prints can be piped to the clipboard as it is."""
    arguments = [sys.executable, "-m", "deployment", "manifest", ADDRESS, "--locations", str(EXAMPLE)]

    printed = subprocess.run(arguments, cwd=ROOT, env={"PATH": os.defpath}, capture_output=True, check=True, text=True)

    assert fill_in(ADDRESS, asks_groups=True) == json.loads(printed.stdout)
    assert "" == printed.stderr


def test_every_scope_is_used_and_every_method_has_its_scope() -> None:
    """No wider than used, and nothing that the product calls is refused for want of one."""
    scopes = fill_in(ADDRESS, asks_groups=True)["oauth_config"]["scopes"]

    assert SCOPES.keys() == methods_that_the_product_calls()
    assert {"bot"} == scopes.keys()
    assert sorted({COMMANDS_SCOPE} | {scope for scope in SCOPES.values() if scope}) == sorted(scopes["bot"])


def test_every_event_that_is_subscribed_to_is_listened_to() -> None:
    """Slack sends what the manifest names, and takes an unserved event for a failure of the app."""
    subscribed = fill_in(ADDRESS, asks_groups=False)["settings"]["event_subscriptions"]["bot_events"]
    source = (ROOT / "chalicelib" / "slack" / "events.py").read_text()

    assert subscribed == [
        ast.literal_eval(call.args[0])
        for call in calls_in(source)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "event"
    ]


def test_the_local_slack_has_the_app_of_the_same_manifest() -> None:
    """What is clicked through locally is what is installed: only the address differs."""
    with workspace._slack(ADDRESS) as stand_in:
        installed = stand_in.manifest

    assert fill_in(ADDRESS, asks_groups=False) == installed


def scopes_of(printed: str) -> list[str]:
    scopes: list[str] = json.loads(printed)["oauth_config"]["scopes"]["bot"]
    return scopes


def methods_that_the_product_calls() -> set[str]:
    """Slack's methods as its client names them, wherever our code calls one."""
    sources = [file.read_text() for file in (ROOT / "chalicelib").rglob("*.py")]
    attributes = {
        call.func.attr for source in sources for call in calls_in(source) if isinstance(call.func, ast.Attribute)
    }
    return {name for name in attributes & vars(WebClient).keys() if not name.startswith("_")}


def calls_in(source: str) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
