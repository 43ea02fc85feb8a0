"""The reviewed file and the policies say the same, action by action, and every difference is found."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.privileges.calls import by_lambda, differences, objections, read_calls, union
from tests.privileges.evaluator import Request, Statement, is_allowed
from tests.privileges.world import FUNCTIONS, ROOT, arn_of, policy_of, read_document

REVIEWED = read_calls()
POLICIES = {function: policy_of(read_document(function)) for function in FUNCTIONS}
ACTIONS = sorted(
    {action for policy in POLICIES.values() for statement in policy for action in statement.actions}
    | {"dynamodb:DeleteItem", "dynamodb:Scan", "iam:CreateRole", "states:StopExecution", "ssm:StartSession"}
)
GRANTED = [
    (function, place, action)
    for function, policy in POLICIES.items()
    for place, statement in enumerate(policy)
    for action in statement.actions
]
MINTING = arn_of("rds-db", "dbuser:cluster-LOCAL/jit_abcdefghij_r_alice")


def test_every_function_has_its_policy_and_nobody_else() -> None:
    """One file for each function that is configured."""
    names = {file.name for file in (ROOT / ".chalice").glob("policy-*.json")}

    assert {f"policy-{function}.json" for function in FUNCTIONS} == names
    assert set(FUNCTIONS) == set(REVIEWED)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_policy_is_equal_to_the_calls(function: str) -> None:
    """It lacks nothing that was recorded, and grants nothing that was not."""
    assert [] == objections(function, POLICIES[function], REVIEWED)


@pytest.mark.parametrize(("function", "place", "action"), GRANTED)
def test_an_action_that_is_taken_away_is_missed(function: str, place: int, action: str) -> None:
    """Each of each statement, those that only Lambda needs and those that are denied included."""
    policy = list(POLICIES[function])
    policy[place] = replace(policy[place], actions=tuple(each for each in policy[place].actions if each != action))

    assert objections(function, policy, REVIEWED)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_action_that_is_added_is_noticed(function: str) -> None:
    """Any that the policy does not have, in any of its statements."""
    policy = POLICIES[function]
    held = {action for statement in policy for action in statement.actions}
    unnoticed = [
        (action, place)
        for action in ACTIONS
        for place, statement in enumerate(policy)
        if action not in held and not objections(function, _with(policy, place, action), REVIEWED)
    ]

    assert [] == unnoticed


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_wider_statement_is_noticed(function: str) -> None:
    """One more prefix of keys, or one more resource, that no call has."""
    policy = POLICIES[function]
    unnoticed = [
        wider
        for place in range(len(policy))
        for wider in _wider(policy, place)
        if not objections(function, wider, REVIEWED)
    ]

    assert [] == unnoticed


def test_the_endpoint_can_neither_mint_nor_grant() -> None:
    """What faces the internet connects to no database, and writes no grant, no lease and nobody's history."""
    table, endpoint = arn_of("dynamodb", "table/drawbridge"), POLICIES["api_handler"]
    writes = [
        Request(action=f"dynamodb:{action}Item", resource=table, context={"dynamodb:LeadingKeys": (f"{prefix}#x",)})
        for action in ("Put", "Update", "Delete", "BatchWrite")
        for prefix in ("GRANT", "BASTION", "HISTORY")
    ]

    assert [] == [request for request in writes if is_allowed(endpoint, request)]
    assert not {"rds-db:connect", "ec2:RunInstances", "iam:PassRole"} & _actions("api_handler")


def test_only_two_functions_sign_for_people() -> None:
    """The one that shows tokens, and the one that tries each new login (docs/adr/0004)."""
    signing = [
        name for name in FUNCTIONS if is_allowed(POLICIES[name], Request(action="rds-db:connect", resource=MINTING))
    ]

    assert ["provision_database_user", "issue_token"] == signing


@pytest.mark.parametrize("function", ["provision_database_user", "revoke_access"])
def test_the_database_functions_call_nothing(function: str) -> None:
    """In the VPC nothing of ours asks AWS: what is left is Lambda's own, and the right to connect."""
    of_lambda = {each.request.action for each in by_lambda(function)}

    assert {"rds-db:connect"} == _actions(function) - of_lambda


def test_everybody_s_resource_has_its_reason() -> None:
    """``*`` stands only with actions for which AWS knows no resource (Service Authorization Reference), or for Lambda's own."""
    without_resource = {
        "ec2:DescribeInstances",
        "ssm:DescribeInstanceInformation",
        "ssm:DescribeSessions",
        "xray:PutTraceSegments",
    }
    found = {
        action
        for function, policy in POLICIES.items()
        for statement in policy
        if "*" in statement.resources
        for action in statement.actions
        if action not in {each.request.action for each in by_lambda(function) if each.is_code_denied}
    }

    assert without_resource == found


def test_what_two_runs_saw_is_compared_in_both_directions() -> None:
    """A new call and one that is gone are both told."""
    reviewed = {"one": frozenset({"a", "b"}), "two": frozenset({"c"})}
    seen = union([{"one": frozenset({"b"})}, {"one": frozenset({"d"})}])

    assert 3 == len(differences(reviewed, seen))
    assert [] == differences(reviewed, union([reviewed, {"one": frozenset({"a"})}]))


def _with(policy: tuple[Statement, ...], place: int, action: str) -> list[Statement]:
    changed = list(policy)
    changed[place] = replace(changed[place], actions=(*changed[place].actions, action))
    return changed


def _wider(policy: tuple[Statement, ...], place: int) -> Iterator[list[Statement]]:
    statement = policy[place]
    if not statement.allows:
        return
    wider = [replace(statement, resources=(*statement.resources, arn_of("dynamodb", "table/another")))]
    operator, key = "ForAllValues:StringLike", "dynamodb:LeadingKeys"
    if operator in statement.conditions:
        keys = (*statement.conditions[operator][key], "SECRET#*")
        wider.append(replace(statement, conditions={**statement.conditions, operator: {key: keys}}))
    for each in wider:
        yield [*policy[:place], each, *policy[place + 1 :]]


def _actions(function: str) -> set[str]:
    return {action for statement in POLICIES[function] if statement.allows for action in statement.actions}
