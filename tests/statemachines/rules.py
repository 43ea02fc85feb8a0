"""Rules of the definition that no linter has. Each takes a definition and yields a sentence for every break of the rule."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from itertools import pairwise
from typing import Any

from chalicelib.domain.documents import new_document
from chalicelib.domain.endings import Purpose
from tests.statemachines.definition import Edge, State, all_states, edges_of, function_of

Machine = Mapping[str, Any]
Rule = Callable[[Machine], Iterator[str]]
Shape = Any
"""What is known of a value: its keys, its items, or nothing (None)."""

INVOKE = "arn:aws:states:::lambda:invoke"
INVOKE_AND_WAIT = f"{INVOKE}.waitForTaskToken"
FIELDS = {
    "machine": {"Comment", "StartAt", "States"},
    "Choice": {"Choices", "Default"},
    "Fail": {"Error", "Cause"},
    "Parallel": {"Branches", "ResultSelector", "ResultPath", "Catch", "Next"},
    "Pass": {"Parameters", "Next", "End"},
    "Succeed": set(),
    "Task": {"Resource", "Parameters", "TimeoutSeconds", "TimeoutSecondsPath", "ResultSelector", "ResultPath"}
    | {"Retry", "Catch", "Next", "End"},
}
"""Every field that the definition may use. An execution timeout is not among them: it would skip every Catch."""
FAILURE = "$.failure"
EXECUTION = "$$.Execution.Name"
TOKEN = ["$$.Task.Token", "$$.State.EnteredTime", "$$.State.RetryCount"]
GRANTS, REVOKES = "ConfirmApproval", ("RevokeAccess", "CloseTunnels", "ReportOutcome")
NEEDS_GRANT = ("FindDatabaseInstances", "PrepareAccess", "DeliverConnection", "HoldAccess")
LONGEST_TELLING_SECONDS = 15
"""How much later than its end access may be taken away because its holder is being told something."""
DID_NOT_RUN = {
    "Lambda.TooManyRequestsException",
    "Lambda.ENINotReadyException",
    "Lambda.ResourceNotReadyException",
    "Lambda.EC2ThrottledException",
    "Lambda.SubnetIPAddressLimitReachedException",
    "DatabaseUnavailableError",
}
"""After these it is known that no order is under way: Lambda did not begin, or the function itself said how it ended."""
DOCUMENT = new_document("R-ABC234", Purpose.GRANT)


def uses_only_known_fields(machine: Machine) -> Iterator[str]:
    """The other rules know what these fields do to a document and to the ways through it, and of no others."""
    for field in machine.keys() - FIELDS["machine"]:
        yield f"The definition has a field {field}"
    for name, state in all_states(machine):
        for field in state.keys() - FIELDS.get(state["Type"], set()) - {"Type", "Comment"}:
            yield f"{name} has a field {field}"


def leads_every_edge_somewhere(machine: Machine) -> Iterator[str]:
    """Targets stand beside their sources, and every state can be reached."""
    states = machine["States"]
    for name, state in states.items():
        for edge in edges_of(name, state):
            if edge.target is not None and edge.target not in states:
                yield f"{name} leads to {edge.target}, which is not there"
        for branch in state.get("Branches", ()):
            yield from leads_every_edge_somewhere(branch)
    for name in states.keys() - _reachable(machine, machine["StartAt"]):
        yield f"{name} cannot be reached"


def has_every_task_a_timeout(machine: Machine) -> Iterator[str]:
    """Without one a task may take a year. How long people are waited for comes from the document, never from here."""
    for name, task in _tasks(machine):
        expected = "TimeoutSecondsPath" if _is_callback(task) else "TimeoutSeconds"
        if {expected} != task.keys() & {"TimeoutSeconds", "TimeoutSecondsPath"}:
            yield f"{name} has no {expected}, or another timeout"


def invokes_only_functions(machine: Machine) -> Iterator[str]:
    """AWS is called by functions, under their own roles; the workflow itself may do nothing but invoke them."""
    for name, task in _tasks(machine):
        if task["Resource"] not in {INVOKE, INVOKE_AND_WAIT}:
            yield f"{name} uses {task['Resource']}"


def passes_tokens_to_callbacks_alone(machine: Machine) -> Iterator[str]:
    """A callback without its token, and the turn that orders it among others, waits for nobody; any other function has no use
    for one.
    """
    for name, state in all_states(machine):
        passed = [path for path in _paths(state) if path.startswith("$$") and path != EXECUTION]
        if passed != (TOKEN if _is_callback(state) else []):
            yield f"{name} passes {passed or 'no token'}"


def tells_every_function_its_execution(machine: Machine) -> Iterator[str]:
    """A request has several: its own, one for its review, one for each later revocation. Logs name which one it was."""
    for name, state in _tasks(machine):
        if state["Parameters"]["Payload"].get("execution.$") != EXECUTION:
            yield f"{name} does not pass its execution"


def keeps_its_input_in_every_catch(machine: Machine) -> Iterator[str]:
    """A Catch may add to the document; one without ResultPath would put the error in its place, null would lose it."""
    written = set(_writers(machine))
    for name, state in all_states(machine):
        for catch in state.get("Catch", ()):
            path = catch.get("ResultPath", "$")
            is_fresh = bool(path) and re.fullmatch(r"\$\.\w+", path) and path[2:] not in DOCUMENT.keys() | written
            if path != FAILURE and not is_fresh:
                yield f"A Catch of {name} writes {path}"


def catches_everything_last(machine: Machine) -> Iterator[str]:
    """Every task catches all errors, in an entry of its own after the others."""
    for name, state in all_states(machine):
        names = [catch["ErrorEquals"] for catch in state.get("Catch", ())]
        if state["Type"] in {"Task", "Parallel"} and names[-1:] != [["States.ALL"]]:
            yield f"{name} does not catch States.ALL last"
        for entries in [names[:-1], [retrier["ErrorEquals"] for retrier in state.get("Retry", ())]]:
            if any("States.ALL" in entry for entry in entries):
                yield f"{name} matches States.ALL too early"


def never_retries_the_hold(machine: Machine) -> Iterator[str]:
    """A retried wait would start over, past the end of the grant."""
    if "Retry" in machine["States"]["HoldAccess"]:
        yield "HoldAccess has a Retry"


def provisions_again_only_what_did_not_run(machine: Machine) -> Iterator[str]:
    """Where Lambda leaves open whether an order ran, a second one may be answered and revoked before the first comes through."""
    for name, state in all_states(machine):
        if function_of(state) == "ProvisionDatabaseUser":
            for error in sorted(_retried(state) - DID_NOT_RUN):
                yield f"{name} retries {error}, after which the order may be under way"


def retries_no_death(machine: Machine) -> Iterator[str]:
    """What killed a process, such as its want of memory, kills the next one too; and nobody knows how far it came."""
    for name, state in all_states(machine):
        for error in sorted(_retried(state) & {"Runtime.ExitError", "Sandbox.Timedout", "States.TaskFailed"}):
            yield f"{name} retries {error}"


def revokes_whatever_it_may_have_granted(machine: Machine) -> Iterator[str]:
    """No way leads from ConfirmApproval to an end but through revocation, closing and report, in this order."""
    for passage, later in pairwise([*REVOKES, None]):
        reached = _reachable(machine, GRANTS, without=passage)
        for name in sorted(reached):
            if any(edge.target is None for edge in _ways_out(name, machine["States"][name])):
                yield f"{name} can end an execution that passed {GRANTS} but not {passage}"
        if later in reached:
            yield f"{later} can be reached from {GRANTS} without {passage}"


def gives_nothing_without_confirmation(machine: Machine) -> Iterator[str]:
    """Whatever gives access comes after ConfirmApproval."""
    for name in sorted(_reachable(machine, machine["StartAt"], without=GRANTS) & set(NEEDS_GRANT)):
        yield f"{name} can be reached without {GRANTS}"


def writes_every_key_from_one_place(machine: Machine) -> Iterator[str]:
    """A task says which key it writes, or null; no two functions write the same."""
    for key, writers in _writers(machine).items():
        if len(writers) > 1:
            yield f"{key} is written by {' and '.join(sorted(writers))}"
    for name, state in machine["States"].items():
        if state["Type"] in {"Task", "Parallel"} and not _is_key_or_null(state.get("ResultPath", "$")):
            yield f"{name} does not keep its input"


def reads_only_what_is_always_there(machine: Machine, document: Shape = DOCUMENT) -> Iterator[str]:
    """Every path that a state reads exists in the input, or was written on all ways to that state."""
    found = _documents(machine, document)
    for name, shape in found.items():
        state = machine["States"][name]
        for path in _paths(state):
            if not path.startswith("$$") and not _exists(shape, path):
                yield f"{name} reads {path}, which is not always there"
        for branch in state.get("Branches", ()):
            yield from reads_only_what_is_always_there(branch, shape)


def reads_nothing_late_that_the_input_lacks(machine: Machine) -> Iterator[str]:
    """From FindDatabaseInstances on, no path depends on what an earlier state managed to write."""
    for name in sorted(_reachable(machine, "FindDatabaseInstances")):
        for path in _paths(machine["States"][name]):
            if not path.startswith("$$") and not _exists(DOCUMENT, path):
                yield f"{name} reads {path}, which the input lacks"


def keeps_purposes_apart(machine: Machine) -> Iterator[str]:
    """An extension and a review make no grant, a request prolongs none, and a review ends none."""
    forbidden = {
        Purpose.GRANT: {"GrantExtension", "CheckReview"},
        Purpose.EXTEND: {"WarmBastion", GRANTS, *NEEDS_GRANT, "RevokeAccess", "CheckReview"},
        Purpose.REVOKE: {GRANTS, *NEEDS_GRANT, "GrantExtension", "CheckReview"},
        Purpose.REVIEW: {GRANTS, *NEEDS_GRANT, *REVOKES, "GrantExtension"},
    }
    for purpose, names in forbidden.items():
        for name in sorted(_entered_by(machine, purpose) & names):
            yield f"{name} can be entered for the purpose {purpose}"


def tells_in_passing(machine: Machine) -> Iterator[str]:
    """Whether or not Slack takes it, the end is looked at again, and soon: people who are told never get more time by it."""
    state = machine["States"]["TellHolder"]
    for edge in edges_of("TellHolder", state):
        if edge.target != "CheckGrantEnd":
            yield f"TellHolder leads to {edge.target}"
    if state["TimeoutSeconds"] > LONGEST_TELLING_SECONDS:
        yield f"TellHolder may take {state['TimeoutSeconds']} seconds"


RULES: tuple[Rule, ...] = (
    uses_only_known_fields,
    leads_every_edge_somewhere,
    has_every_task_a_timeout,
    invokes_only_functions,
    passes_tokens_to_callbacks_alone,
    tells_every_function_its_execution,
    keeps_its_input_in_every_catch,
    catches_everything_last,
    never_retries_the_hold,
    provisions_again_only_what_did_not_run,
    retries_no_death,
    revokes_whatever_it_may_have_granted,
    gives_nothing_without_confirmation,
    writes_every_key_from_one_place,
    reads_only_what_is_always_there,
    reads_nothing_late_that_the_input_lacks,
    keeps_purposes_apart,
    tells_in_passing,
)


def _tasks(machine: Machine) -> Iterator[tuple[str, State]]:
    return ((name, state) for name, state in all_states(machine) if state["Type"] == "Task")


def _retried(state: State) -> set[str]:
    return {error for retrier in state.get("Retry", ()) for error in retrier["ErrorEquals"]}


def _is_callback(state: State) -> bool:
    return str(state.get("Resource", "")).endswith(".waitForTaskToken")


def _is_key_or_null(path: str | None) -> bool:
    return path is None or re.fullmatch(r"\$\.\w+", path) is not None


def _writers(machine: Machine) -> dict[str, set[str]]:
    """The keys of the document and the functions, or the parallel state, that write them."""
    writers: dict[str, set[str]] = {}
    for name, state in machine["States"].items():
        path = state.get("ResultPath")
        if path is not None and path != "$":
            writers.setdefault(path.removeprefix("$."), set()).add(function_of(state) or name)
    return writers


def _ways_out(name: str, state: State) -> Iterator[Edge]:
    """The edges of a state, and the end of the execution where it may fail without being caught."""
    yield from edges_of(name, state)
    caught = [error for catch in state.get("Catch", ()) for error in catch["ErrorEquals"]]
    if state["Type"] in {"Task", "Parallel"} and "States.ALL" not in caught:
        yield Edge(source=name, via="(not caught)", target=None)
    if state["Type"] == "Choice" and "Default" not in state:
        yield Edge(source=name, via="(no choice)", target=None)


def _reachable(machine: Machine, start: str, *, without: str | None = None) -> set[str]:
    """The states that can be entered from ``start`` on, itself included, if one were not there."""
    reached: set[str] = set()
    pending = [start]
    while pending:
        name = pending.pop()
        if name != without and name in machine["States"] and name not in reached:
            reached.add(name)
            pending += [edge.target for edge in edges_of(name, machine["States"][name]) if edge.target is not None]
    return reached


def _entered_by(machine: Machine, purpose: Purpose) -> set[str]:
    """The states that an execution of this purpose can enter, if everything but its purpose can be anything."""
    reached: set[str] = set()
    pending = [machine["StartAt"]]
    while pending:
        name = pending.pop()
        if name in machine["States"] and name not in reached:
            reached.add(name)
            pending += _ways_of(machine["States"][name], purpose)
    return reached


def _ways_of(state: State, purpose: Purpose) -> Iterator[str]:
    if state["Type"] != "Choice":
        yield from (edge.target for edge in edges_of("", state) if edge.target is not None)
        return
    taken: list[list[State]] = []
    for choice in state["Choices"]:
        tests = choice.get("And") or [{field: value for field, value in choice.items() if field != "Next"}]
        others = [test for test in tests if test["Variable"] != "$.purpose"]
        is_for_it = all(test in others or test["StringEquals"] == purpose for test in tests)
        is_left_over = not any(all(test in others for test in before) for before in taken)
        if is_for_it and is_left_over:
            yield choice["Next"]
            taken.append(others)
    if [] in taken:
        return
    if "Default" in state:
        yield state["Default"]


def _paths(state: State) -> list[str]:
    """Every path that a state reads from the document or the context; its ResultSelector reads the result instead."""

    def walk(key: str, value: Any) -> Iterator[str]:
        if isinstance(value, Mapping):
            for inner, item in value.items():
                yield from walk(inner, item)
        elif isinstance(value, list):
            for item in value:
                yield from walk("", item)
        elif key == "Variable" or key.endswith((".$", "Path")):
            yield from re.findall(r"\$\$?(?:\.\w+|\[\d+\])+", value) if value.startswith("States.") else [str(value)]

    read = {field: value for field, value in state.items() if field in {"Parameters", "Choices", "TimeoutSecondsPath"}}
    return list(walk("", read))


def _documents(machine: Machine, document: Shape) -> dict[str, Shape]:
    """What each state is sure to find: of all ways that lead to it, what their documents have in common."""
    found = {machine["StartAt"]: document}
    pending = [machine["StartAt"]]
    while pending:
        name = pending.pop()
        state = machine["States"][name]
        for edge in edges_of(name, state):
            if edge.target is None:
                continue
            left = _left(state, edge, found[name])
            common = _common(found[edge.target], left) if edge.target in found else left
            if edge.target not in found or common != found[edge.target]:
                found[edge.target] = common
                pending.append(edge.target)
    return found


def _left(state: State, edge: Edge, document: Shape) -> Shape:
    """The document as a state leaves it by one of its edges."""
    if edge.via.startswith("Catch"):
        catch = state["Catch"][int(edge.via[len("Catch[") : -1])]
        return _written(document, catch.get("ResultPath", "$"), {"Error": None, "Cause": None})
    if state["Type"] == "Task":
        return _written(document, state.get("ResultPath", "$"), _filled(state.get("ResultSelector"), None))
    if state["Type"] == "Pass":
        return _filled(state["Parameters"], document) if "Parameters" in state else document
    if state["Type"] == "Parallel":
        result = [_end(branch, document) for branch in state["Branches"]]
        selected = _filled(state["ResultSelector"], result) if "ResultSelector" in state else result
        return _written(document, state.get("ResultPath", "$"), selected)
    return document


def _end(machine: Machine, document: Shape) -> Shape:
    """What all ends of a branch have in common."""
    found = _documents(machine, document)
    ends = [
        _left(machine["States"][edge.source], edge, found[edge.source])
        for name in found
        for edge in edges_of(name, machine["States"][name])
        if edge.target is None
    ]
    return reduce(_common, ends)


def _filled(template: Any, document: Shape) -> Shape:
    """The shape that Parameters or a ResultSelector makes."""
    if isinstance(template, Mapping):
        return {
            key.removesuffix(".$"): _inside(document, value)[1] if key.endswith(".$") else _filled(value, document)
            for key, value in template.items()
        }
    return [_filled(item, document) for item in template] if isinstance(template, list) else None


def _written(document: Shape, path: str | None, value: Shape) -> Shape:
    if path is None:
        return document
    return value if path == "$" else {**(document or {}), path.removeprefix("$."): value}


def _common(one: Shape, other: Shape) -> Shape:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return {key: _common(one[key], other[key]) for key in one if key in other}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [_common(*pair) for pair in zip(one, other, strict=True)]
    return None


def _exists(document: Shape, path: str) -> bool:
    return _inside(document, path)[0]


def _inside(shape: Shape, path: str) -> tuple[bool, Shape]:
    """Whether a path is sure to be there, and what is known of it. Only plain paths are understood."""
    if not re.fullmatch(r"\$(\.\w+|\[\d+\])*", path):
        return False, None
    for key, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        if isinstance(shape, Mapping) and key in shape:
            shape = shape[key]
        elif isinstance(shape, list) and index and int(index) < len(shape):
            shape = shape[int(index)]
        else:
            return False, None
    return True, shape
