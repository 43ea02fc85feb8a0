"""The drawing shows the definition as it is."""

from tests.statemachines.definition import load_definition
from tests.statemachines.diagram import COMMAND, DIAGRAM, draw


def test_the_diagram_is_the_definitions() -> None:
    """A drawing that is stale misleads worse than none."""
    drawn = DIAGRAM.read_text(encoding="utf-8") if DIAGRAM.exists() else ""

    assert draw(load_definition()) == drawn, f"{DIAGRAM.name} is stale; {COMMAND} draws it again."


def test_a_changed_definition_changes_the_diagram() -> None:
    """An edge that moves is seen in the drawing."""
    changed = load_definition()
    changed["States"]["DeliverConnection"]["Catch"][0]["Next"] = "CheckGrantEnd"

    assert draw(load_definition()) != draw(changed)
