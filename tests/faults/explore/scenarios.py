"""Where the explorations begin: the moments at which those who use a bastion, or end a grant, meet."""

from dataclasses import replace

from chalicelib.domain.bastions import Bastion, BastionState
from tests.factories import BOB, CAROL
from tests.faults.explore import bastion_model, grant_model
from tests.faults.explore.instances import Instance
from tests.faults.explore.world import instant

_UP = Instance("i-1", "token", "asked", "running", -3600)
_RUNNING = Bastion(
    name="main", state=BastionState.RUNNING, instance_id="i-1", launched_at=instant(-3600), idle_since=instant(-700)
)
_STOPPING = replace(_RUNNING, state=BastionState.STOPPING, idle_since=instant(-1000), stop_called_at=instant(0))
_STOPPED = replace(_RUNNING, state=BastionState.STOPPED, idle_since=instant(-20_000), stopped_at=instant(-14_400))
_EXPIRING = replace(_RUNNING, idle_since=None, leases={"R-GONE22": instant(10)})
_WEEK_OLD = replace(_RUNNING, launched_at=instant(-7 * 24 * 3600), idle_since=instant(-10))

BASTIONS = (
    bastion_model.Scenario(
        name="two people at a bastion that there is not, with no room at first", requests=("A", "B"), refusals=1
    ),
    bastion_model.Scenario(
        name="a warm-up and its request, one killed while the bastion is launched", warm_ups=("C",), kills=1
    ),
    bastion_model.Scenario(
        name="an idle bastion, housekeeping twice, a stop landing late",
        bastion=_RUNNING,
        instances=(_UP,),
        turns=2,
        late_stops=1,
    ),
    bastion_model.Scenario(
        name="an idle bastion, housekeeping twice, one killed", bastion=_RUNNING, instances=(_UP,), turns=2, kills=1
    ),
    bastion_model.Scenario(
        name="an idle bastion, housekeeping, two people",
        bastion=_RUNNING,
        instances=(_UP,),
        turns=1,
        requests=("A", "B"),
    ),
    bastion_model.Scenario(
        name="the instance is gone, two people",
        bastion=_RUNNING,
        instances=(_UP._replace(state="terminated"),),
        requests=("A", "B"),
    ),
    bastion_model.Scenario(
        name="a stopping bastion, housekeeping twice",
        bastion=_STOPPING,
        instances=(_UP._replace(late_stops=(0,)),),
        turns=2,
        ticks=(50, 61),
    ),
    bastion_model.Scenario(
        name="a lease that nobody gave up runs out, housekeeping twice",
        bastion=_EXPIRING,
        instances=(_UP,),
        turns=2,
        ticks=(11, 600),
    ),
    bastion_model.Scenario(
        name="a warm-up's lease runs out while its request renews it",
        bastion=_RUNNING,
        instances=(_UP,),
        expiring=(("A", 10),),
        turns=2,
        ticks=(11, 600),
    ),
    bastion_model.Scenario(
        name="a stopped bastion is ended for its age, housekeeping twice",
        bastion=_STOPPED,
        instances=(_UP._replace(state="stopped"),),
        turns=2,
        tries=3,
    ),
    bastion_model.Scenario(
        name="a running bastion is ended for its age, one killed",
        bastion=_WEEK_OLD,
        instances=(_UP,),
        turns=2,
        tries=3,
        kills=1,
    ),
    bastion_model.Scenario(
        name="the agent is lost under two people, housekeeping twice",
        bastion=_RUNNING,
        instances=(_UP,),
        requests=("A", "B"),
        is_delivered=True,
        turns=2,
        ticks=(300,),
        losses=1,
    ),
    bastion_model.Scenario(
        name="the agent is lost before anybody is told of it, housekeeping twice",
        bastion=_RUNNING,
        instances=(_UP,),
        requests=("A",),
        turns=2,
        ticks=(300,),
        losses=1,
    ),
    bastion_model.Scenario(
        name="a stop comes far too late, and is made good",
        bastion=_RUNNING,
        instances=(_UP,),
        turns=2,
        ticks=(61, 61),
        late_stops=1,
        may_stall=True,
    ),
)

GRANTS = (
    grant_model.Scenario(name="End Now meets the end", end_now=1, ticks=(1500, 300)),
    grant_model.Scenario(name="End Now twice, one killed", end_now=2, kills=1),
    grant_model.Scenario(name="an extension meets the end", extension=3600, ticks=(1800,)),
    grant_model.Scenario(name="an extension, one killed, meets the end", extension=3600, ticks=(1800,), kills=1),
    grant_model.Scenario(name="an extension meets End Now and the end", extension=3600, end_now=1, ticks=(1800,)),
    grant_model.Scenario(
        name="two yeses to an extension at once", extension=3600, approvers=(BOB, CAROL), ticks=(1800,)
    ),
    grant_model.Scenario(
        name="the second yes to an extension meets End Now", extension=3600, approvers=(BOB, CAROL), needed=2, end_now=1
    ),
    grant_model.Scenario(name="an extension twice at once meets the end", extension=3600, repeats=1, ticks=(1800,)),
    grant_model.Scenario(
        name="an extension twice at once with room for one", extension=3600, repeats=1, cap_seconds=1800 + 3600
    ),
    grant_model.Scenario(
        name="the end, one killed, and reconciliation by an old index",
        reconciliations=1,
        ticks=(1800, 120),
        kills=1,
        lags=True,
    ),
    grant_model.Scenario(
        name="End Now, one killed, and reconciliation by an old index",
        reconciliations=1,
        end_now=1,
        ticks=(1920,),
        kills=1,
        lags=True,
    ),
)


def all_models() -> list[bastion_model.BastionModel | grant_model.GrantModel]:
    """A model of each, new."""
    return [
        *(bastion_model.BastionModel(each) for each in BASTIONS),
        *(grant_model.GrantModel(each) for each in GRANTS),
    ]
