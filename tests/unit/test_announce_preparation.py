"""AnnouncePreparation: what is being done meanwhile, on the cards that stand."""

from dataclasses import replace

import pytest

from chalicelib.domain.errors import SlackUnavailableError
from chalicelib.workflow.announce_preparation import announce_preparation
from chalicelib.workflow.find_database_instances import DatabaseOrder
from tests.factories import INSTANCES, REQUEST_ID, an_order
from tests.fakes import World


@pytest.mark.parametrize(
    ("order", "told"),
    [
        (an_order(), "announce_preparation"),
        (an_order(instances=None), "announce_preparation"),
        (an_order(instances=replace(INSTANCES, may_sleep=True)), "announce_sleep"),
    ],
    ids=["awake", "not known", "may sleep"],
)
def test_a_database_that_may_sleep_is_said_to_be_woken(order: DatabaseOrder, told: str) -> None:
    """That takes longer."""
    world = World()
    world.declare_request()
    world.run(announce_preparation, request_id=REQUEST_ID, order=order)

    assert [(told, REQUEST_ID)] == world.notifier.told


def test_a_slack_that_fails_is_an_error_that_the_workflow_passes_over() -> None:
    """Nothing waits for it."""
    world = World()
    world.declare_request()
    world.notifier.declare_failing("announce_preparation")

    with pytest.raises(SlackUnavailableError):
        world.run(announce_preparation, request_id=REQUEST_ID, order=an_order())
