"""Draws the definition as Mermaid. Run as a program, it writes the drawing beside the definition."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.statemachines.definition import FILE, Edge, State, edges_of, load_definition

DIAGRAM = FILE.with_name("access_request.md")
COMMAND = "python -m tests.statemachines.diagram"
SHAPES = {
    "Choice": '{{"{}"}}',
    "Fail": '(["{}"])',
    "Pass": '[/"{}"/]',
    "Succeed": '(["{}"])',
    "Task": '["{}"]',
}
WAITING = '[["{}"]]'


def draw(definition: Mapping[str, Any]) -> str:
    """The whole page."""
    return "\n".join(
        [
            "# The workflow",
            "",
            f"Drawn from [the definition]({FILE.name}) by `{COMMAND}`; a test fails when the two differ.",
            "Dotted lines are errors, after the state's retries. Double-edged states wait for a person or an end.",
            "",
            "```mermaid",
            "flowchart TD",
            *(f"    {line}" for line in _lines(definition)),
            "```",
            "",
        ]
    )


def _lines(machine: Mapping[str, Any]) -> Iterator[str]:
    for name, state in machine["States"].items():
        if "Branches" in state:
            yield f"subgraph {name}"
            for branch in state["Branches"]:
                yield from (f"    {line}" for line in _lines(branch))
            yield "end"
        else:
            is_waiting = str(state.get("Resource", "")).endswith(".waitForTaskToken")
            yield name + (WAITING if is_waiting else SHAPES[state["Type"]]).format(name)
        for edge in edges_of(name, state):
            if edge.target is not None:
                yield f"{name} {_arrow(state, edge)} {edge.target}"


def _arrow(state: State, edge: Edge) -> str:
    """A solid line with the condition that leads along it, or a dotted one with the errors that do."""
    kind, _, index = edge.via.rstrip("]").partition("[")
    if kind == "Catch":
        return f'-. "{", ".join(state["Catch"][int(index)]["ErrorEquals"])}" .->'
    label = {"Default": "otherwise", "Choices": _condition(state["Choices"][int(index)]) if index else ""}.get(kind)
    return f'-- "{label}" -->' if label else "-->"


def _condition(choice: Mapping[str, Any]) -> str:
    if "And" in choice:
        return " and ".join(_condition(part) for part in choice["And"])
    value = next(value for key, value in choice.items() if key.endswith("Equals"))
    return f"{choice['Variable'].removeprefix('$.')} is {str(value).lower()}"


if __name__ == "__main__":
    DIAGRAM.write_text(draw(load_definition()), encoding="utf-8")
