"""One name everywhere: state, substitution, deployed function, file. Errors and time limits agree as well."""

import ast
import inspect
import json
import re
from functools import reduce
from operator import getitem
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

from app import app
from chalicelib.domain import errors
from chalicelib.domain.documents import new_document
from chalicelib.domain.endings import Purpose
from chalicelib.domain.executions import read_task_token
from tests.statemachines.definition import RELEASED, all_states, function_of, load_definition, snake_case

ROOT = Path(__file__).parents[2]
STAGES = json.loads((ROOT / ".chalice" / "config.json").read_text())["stages"]
TASKS = {name: state for name, state in all_states(load_definition()) if state["Type"] == "Task"}
DEPLOYED: list[Any] = [*app.pure_lambda_functions, *app.event_sources]
HANDLERS: dict[str, str] = {function.name: function.handler_string for function in DEPLOYED}

FUNCTIONS_OF_TWO_STATES = {"EndGrant": "CheckGrantEnd", "FindInstancesToRevoke": "FindDatabaseInstances"}
OUTSIDE_THE_WORKFLOW = {"issue_token", "reconcile_grants", "stop_idle_bastions"}
VERBS_OF_THE_ENDPOINT = {
    "ask_end",
    "ask_extension",
    "audit_refusal",
    "cancel_request",
    "explain_level",
    "file_request",
    "find_connection",
    "follow_requests",
} | {
    "read_cost",
    "read_overview",
    "record_decision",
    "record_review",
}
STEPS_OF_OTHER_VERBS = {"drive_bastion", "judge_within_budget", "lease_bastion", "own_grant", "refresh_homes"}
API_HANDLER = "api_handler"
"""As Chalice calls the function behind its routes."""

STATES_ERRORS = {"States.ALL", "States.Timeout"}
LAMBDA_ERRORS = {
    "Lambda.AWSLambdaException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.SdkClientException",
    "Lambda.ServiceException",
    "Lambda.TooManyRequestsException",
}
"""What Lambda may answer for a moment (Step Functions guide: handle transient Lambda service exceptions)."""
VPC_ERRORS = {
    "Lambda.EC2ThrottledException",
    "Lambda.ENINotReadyException",
    "Lambda.ResourceNotReadyException",
    "Lambda.SubnetIPAddressLimitReachedException",
}
"""What a function in a VPC may answer besides, after weeks without a call (Lambda API: Invoke, errors)."""
FUNCTIONS_IN_THE_VPC = {"ProvisionDatabaseUser", "RevokeAccess"}
"""Each VPC has its own, so the workflow names them by the provisioner of the grant."""
PERHAPS_RUN = LAMBDA_ERRORS - {"Lambda.TooManyRequestsException"}
"""After these nobody knows whether the function ran."""
NEVER_RETRIED = {"WarmBastion", "HoldAccess"}
"""Warming is a convenience; a retried hold would start its wait anew."""


def test_a_task_invokes_the_function_of_its_own_name() -> None:
    """A state that repeats another one's function is listed, so that no slip of the pen is taken for one."""
    assert FUNCTIONS_OF_TWO_STATES == {
        name: function_of(state) for name, state in TASKS.items() if function_of(state) != name
    }


def test_the_functions_in_a_vpc_are_the_ones_that_are_routed() -> None:
    """Every other function exists once."""
    assert FUNCTIONS_IN_THE_VPC == {name for name, state in TASKS.items() if "FunctionName" not in state["Parameters"]}


def test_the_functions_are_those_of_the_workflow_and_three_more() -> None:
    """Nothing is deployed that nobody invokes, and nothing invoked that is not deployed."""
    invoked = {snake_case(str(function_of(state))) for state in TASKS.values()}

    assert invoked | OUTSIDE_THE_WORKFLOW == set(HANDLERS)


@pytest.mark.parametrize("name", HANDLERS)
def test_the_runtime_finds_a_function_by_its_name(name: str) -> None:
    """A function is deployed by the name that it has in the module of its own profile."""
    module, _, function = HANDLERS[name].rpartition(".")

    assert name == function
    assert module.startswith("chalicelib.functions.")
    assert callable(resolve_name(f"{module}:{function}"))


def test_every_verb_has_its_file() -> None:
    """One file of the workflow per function and of the same name; the others are listed by whom they serve."""
    files = {file.stem for file in (ROOT / "chalicelib" / "workflow").glob("*.py")} - {"__init__"}

    assert set(HANDLERS) | VERBS_OF_THE_ENDPOINT | STEPS_OF_OTHER_VERBS == files


@pytest.mark.parametrize("state", TASKS)
def test_a_task_passes_exactly_what_its_function_reads(state: str) -> None:
    """A misspelt key would show itself only as the failure of a deployed function. The log needs two of all."""
    passed = {key.removesuffix(".$") for key in TASKS[state]["Parameters"]["Payload"]}
    read = {keys[0] for keys in _event_keys(snake_case(str(function_of(TASKS[state]))))}

    assert {"request_id", "execution"} | read == passed


@pytest.mark.parametrize("state", TASKS)
def test_a_function_finds_every_key_that_it_reads_of_the_document(state: str) -> None:
    """What a function takes out of a part of the document is in that part from the start."""
    payload, document = TASKS[state]["Parameters"]["Payload"], new_document("R-ABC234", Purpose.GRANT)
    for first, *rest in _event_keys(snake_case(str(function_of(TASKS[state])))):
        if rest:
            found = reduce(getitem, payload[f"{first}.$"].split(".")[1:], document)

            assert reduce(getitem, rest, found) is not None


def test_every_error_that_is_retried_or_caught_exists() -> None:
    """Step Functions matches bare names: one that no class bears would silently never match."""
    ours = {
        name for name, member in inspect.getmembers(errors, inspect.isclass) if member.__module__ == errors.__name__
    }

    assert set() == (_matched("Retry") | _matched("Catch")) - ours - STATES_ERRORS - LAMBDA_ERRORS - VPC_ERRORS


def test_every_error_that_the_tree_calls_retried_is_retried() -> None:
    """The drawing at the top of the error tree and the definition say the same."""
    drawn = set(re.findall(r"[├└]── (\w+Error) .*\bretried$", str(errors.__doc__), flags=re.MULTILINE))

    assert drawn == {name for name in _matched("Retry") if "." not in name}


@pytest.mark.parametrize("state", sorted(TASKS.keys() - NEVER_RETRIED))
def test_a_task_outlives_the_bad_moments_of_lambda(state: str) -> None:
    """A request is not lost to a moment in which Lambda, or the network of a function in the VPC, is not ready."""
    expected = LAMBDA_ERRORS | (VPC_ERRORS if state in FUNCTIONS_IN_THE_VPC else set())
    if state == "ProvisionDatabaseUser":
        # A lost run may still commit, after the revocation, and the answer of a second one would speak for it.
        expected -= PERHAPS_RUN
    retried = {error for retrier in TASKS[state]["Retry"] for error in retrier["ErrorEquals"]}

    assert expected == {error for error in retried if error.startswith("Lambda.")}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_configures_exactly_the_functions_that_are_deployed(stage: str) -> None:
    """A function without a line would get Chalice's default of 60 s; a line without a function is a wrong name."""
    assert {*HANDLERS, API_HANDLER} == set(STAGES[stage]["lambda_functions"])


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("state", TASKS)
def test_a_function_gives_up_before_its_task_does(stage: str, state: str) -> None:
    """A function that runs on after its state was left could provision while another state revokes."""
    limit = STAGES[stage]["lambda_functions"][snake_case(str(function_of(TASKS[state])))]["lambda_timeout"]

    assert limit < TASKS[state].get("TimeoutSeconds", float("inf"))


def _event_keys(function: str) -> set[tuple[str, ...]]:
    """The keys, one after the other, by which a deployed function takes values from its event; read from its source."""
    module = resolve_name(HANDLERS[function].rpartition(".")[0])
    source = ast.parse(inspect.getsource(module))
    definition = next(node for node in source.body if isinstance(node, ast.FunctionDef) and node.name == function)
    taken = _calls(definition)
    if any(text.startswith("read_task_token(event, ") for text in taken):
        taken += _calls(ast.parse(inspect.getsource(read_task_token)))
    assert not [text for text in taken if text.startswith("event[")]
    fields = [re.fullmatch(r"(?:read|find)_field\(\w+, event, '([\w.]+)'\)", text) for text in taken]
    return {tuple(field[1].split(".")) for field in fields if field}


def _calls(source: ast.AST) -> list[str]:
    return [ast.unparse(node) for node in ast.walk(source) if isinstance(node, ast.Call | ast.Subscript)]


def _matched(kind: str) -> set[str]:
    """The names that the definition's Retry or Catch entries match."""
    states = dict(all_states(load_definition())).values()
    return {name for state in states for entry in state.get(kind, ()) for name in entry["ErrorEquals"]}


def test_whatever_the_last_release_calls_is_still_there() -> None:
    """Its executions go on for as long as somebody holds access, and revoke by the functions of the new release."""
    released = json.loads(RELEASED.read_text(encoding="utf-8"))
    called = {snake_case(name) for _, state in all_states(released) if (name := function_of(state))}

    assert set() == called - set(HANDLERS)


def test_every_error_that_the_last_release_waits_for_is_still_raised() -> None:
    """A retry on a name that is gone would be no retry."""
    released = json.loads(RELEASED.read_text(encoding="utf-8"))
    caught = {
        error
        for _, state in all_states(released)
        for handler in (*state.get("Retry", ()), *state.get("Catch", ()))
        for error in handler["ErrorEquals"]
    }
    ours = {error for error in caught if "." not in error}

    assert set() == {error for error in ours if not hasattr(errors, error)}
