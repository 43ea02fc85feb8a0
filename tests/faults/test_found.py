"""What the campaign has found once, each as the run that showed it."""

from tests.faults.gate import Fault, Place
from tests.faults.ground import Ground
from tests.faults.play import play


def test_an_order_that_is_still_under_way_does_not_outlive_the_revocation(ground: Ground) -> None:
    """Lambda did not say whether it ran, another try did; the access failed and was revoked before the first came through."""
    plan = {Place("EnsureBastionRunning Task"): Fault.KILLED_BEFORE, Place("ProvisionDatabaseUser Task"): Fault.LATE}

    run = play(ground, "brief", plan)

    assert (True, ()) == (run.is_met, run.violations)
