"""The workflow's definition as a graph: its states, the edges between them and the tasks among them. Judges nothing."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[2] / "statemachines" / "access_request.asl.json"
RELEASED = Path(__file__).parent / "released" / "access_request.asl.json"
"""As it was in the last release: executions that began then go on with it, and call the functions of this one. Until there is a
release: as it was before functions were told the name of their execution, and with the retries of then.
"""
State = Mapping[str, Any]
ROUTED = re.compile(r"States\.Format\('\$\{DatabaseFunctions}-\{}-(\w+)', \$\.database\.provisioner\)")
"""How a task names a function of which every provisioner has its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One way out of a state. ``via`` is ``Next``, ``Default``, ``End``, ``Choices[i]`` or ``Catch[i]``; an end has no target."""

    source: str
    via: str
    target: str | None


@cache
def load_text() -> str:
    """The file as it is."""
    return FILE.read_text(encoding="utf-8")


def load_definition() -> dict[str, Any]:
    """The definition, fresh for each caller, who may change it."""
    return dict(json.loads(load_text()))


def all_states(machine: Mapping[str, Any]) -> Iterator[tuple[str, State]]:
    """Every state by name, those of parallel branches too."""
    for name, state in machine["States"].items():
        yield name, state
        for branch in state.get("Branches", ()):
            yield from all_states(branch)


def all_edges(machine: Mapping[str, Any]) -> Iterator[Edge]:
    """Every edge, those inside parallel branches too."""
    for name, state in all_states(machine):
        yield from edges_of(name, state)


def edges_of(name: str, state: State) -> Iterator[Edge]:
    """The ways out of one state."""
    for index, choice in enumerate(state.get("Choices", ())):
        yield Edge(source=name, via=f"Choices[{index}]", target=choice["Next"])
    for index, catch in enumerate(state.get("Catch", ())):
        yield Edge(source=name, via=f"Catch[{index}]", target=catch["Next"])
    if "Default" in state:
        yield Edge(source=name, via="Default", target=state["Default"])
    if "Next" in state:
        yield Edge(source=name, via="Next", target=state["Next"])
    if state.get("End") or state["Type"] in {"Succeed", "Fail"}:
        yield Edge(source=name, via="End", target=None)


def function_of(state: State) -> str | None:
    """``CheckPolicy`` for a task that invokes ``${CheckPolicyArn}`` or every provisioner's own; None for what is no task."""
    if state["Type"] != "Task":
        return None
    if routed := ROUTED.fullmatch(state["Parameters"].get("FunctionName.$", "")):
        return routed[1]
    return str(state["Parameters"]["FunctionName"]).removeprefix("${").removesuffix("Arn}")


def snake_case(name: str) -> str:
    """``check_policy`` for ``CheckPolicy``."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
