"""Which rule applies to a person, a location and a level: read from the catalogue alone."""

import pytest

from chalicelib.domain.errors import UnknownLocationError
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.policy import PolicyAnswer
from chalicelib.workflow.explain_level import explain_level
from tests.factories import ALICE, BOB, CAROL, OPERATE, READ, WRITE, a_catalogue, a_glass_rule, a_location, a_rule
from tests.fakes import World

RULES = {READ: a_rule(automatic=True, cap_seconds=600), OPERATE: a_glass_rule()}
WORLD = World(catalogue=a_catalogue(a_location(levels=RULES)))


@pytest.mark.parametrize(
    ("level", "answer"),
    [
        (READ, PolicyAnswer.ALLOWED),
        (OPERATE, PolicyAnswer.NEEDS_APPROVAL),
        (WRITE, PolicyAnswer.DENIED),
    ],
)
def test_the_rule_and_what_it_comes_to_now(level: PermissionLevel, answer: PolicyAnswer) -> None:
    """For an hour, or for as long as the cap lets anybody have it; a level that is not offered has no rule."""
    explained = WORLD.run(explain_level, person=ALICE, location="orders-prod", level=level)

    assert (answer, RULES.get(level), "orders-prod", level) == (
        explained.outcome.answer,
        explained.rule,
        explained.location.name,
        explained.level,
    )


def test_whoever_may_break_the_glass_is_told_so() -> None:
    """And only where they may."""
    told = [
        WORLD.run(explain_level, person=person, location="orders-prod", level=level).may_break_glass
        for person, level in ((ALICE, OPERATE), (BOB, OPERATE), (ALICE, READ), (ALICE, WRITE))
    ]

    assert [True, False, False, False] == told


def test_the_approvers_are_those_who_could_approve_this_person() -> None:
    """Bob does not approve himself."""
    explained = WORLD.run(explain_level, person=BOB, location="orders-prod", level=OPERATE)

    assert frozenset({CAROL}) == explained.outcome.approvers


def test_an_unknown_location_is_an_error_with_advice() -> None:
    """The nearest name."""
    with pytest.raises(UnknownLocationError, match="Did you mean 'orders-prod'"):
        WORLD.run(explain_level, person=ALICE, location="orders-prdo", level=READ)
