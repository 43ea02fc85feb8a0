"""Nothing that was not thought of is allowed, and only whole runs are compared with the file."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from local.aws_calls import AwsCall
from local.identities import WORKSPACE_KEY, access_key_of
from tests.privileges.judge import Judge
from tests.privileges.suite import is_whole

ROOT = Path(__file__).parents[2]
GRANT = {"TableName": "drawbridge", "Key": {"pk": {"S": "GRANT#g"}, "sk": {"S": "GRANT"}}}
OPTIONS: dict[str, Any] = dict.fromkeys(("keyword", "markexpr"), "") | {"collectonly": False}
OPTIONS |= dict.fromkeys(("deselect", "ignore", "ignore_glob"))


def judge(key: str, operation: str, parameters: dict[str, Any], service: str = "dynamodb") -> tuple[str | None, Judge]:
    judging = Judge()
    call = AwsCall(access_key_id=key, service=service, operation=operation, parameters=parameters)
    return judging(call), judging


def test_what_a_policy_grants_is_allowed_and_noted() -> None:
    """By the function's own policy."""
    refusal, judging = judge(access_key_of("CheckGrantEnd"), "UpdateItem", GRANT)

    assert refusal is None
    assert judging.has_seen("check_grant_end", "dynamodb:UpdateItem", "GRANT#*")


@pytest.mark.parametrize(
    ("key", "operation", "service"),
    [
        (access_key_of("APIHandler"), "UpdateItem", "dynamodb"),
        (access_key_of("CheckGrantEnd"), "DeleteItem", "dynamodb"),
        (access_key_of("CheckGrantEnd"), "Scan", "dynamodb"),
        (access_key_of("CheckGrantEnd"), "GetCallerIdentity", "sts"),
        (access_key_of("NoFunction"), "UpdateItem", "dynamodb"),
        ("AKIALOCALALICE000000", "UpdateItem", "dynamodb"),
        ("AKIAEXAMPLESTRANGER0", "UpdateItem", "dynamodb"),
    ],
)
def test_everything_else_is_refused_and_kept(key: str, operation: str, service: str) -> None:
    """The endpoint and grants, an action too many, a call that nobody thought of, and keys of people and strangers."""
    refusal, judging = judge(key, operation, GRANT, service)

    assert [refusal] == judging.refusals
    assert refusal


def test_whoever_drives_the_workspace_may_do_everything() -> None:
    """Tests and the workspace itself are nobody's function."""
    refusal, judging = judge(WORKSPACE_KEY, "DeleteItem", GRANT)

    assert (None, []) == (refusal, judging.refusals)


@pytest.mark.parametrize(
    ("args", "options", "expected"),
    [
        (["tests"], {}, True),
        (["tests/e2e"], {}, True),
        (["tests/unit", "tests/e2e"], {"ignore": ["tests/browser"]}, True),
        (["tests/unit"], {}, False),
        (["tests/e2e/test_flows.py"], {}, False),
        (["tests"], {"keyword": "journey"}, False),
        (["tests"], {"deselect": ["tests/e2e/test_demo.py::test_x"]}, False),
        (["tests"], {"ignore": ["tests/e2e"]}, False),
        (["tests"], {"ignore": ["tests/e2e/test_demo.py"]}, False),
        (["tests"], {"collectonly": True}, False),
    ],
)
def test_a_whole_run_is_one_that_leaves_nothing_out(args: list[str], options: dict[str, Any], expected: bool) -> None:
    """Anything less says nothing about calls that were not made."""
    config: Any = SimpleNamespace(
        args=args, option=SimpleNamespace(**OPTIONS | options), invocation_params=SimpleNamespace(dir=ROOT)
    )

    assert expected is is_whole(config)
