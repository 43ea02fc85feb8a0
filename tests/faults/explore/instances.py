"""EC2 and the SSM agent as far as a bastion's life goes, as values: every call gives the instances afterwards."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from tests.factories import NEW_AGENT
from tests.faults.explore.world import instant

_ALIVE = ("pending", "running")


class Instance(NamedTuple):
    instance_id: str
    token: str
    """The client token it was launched with, and with what."""
    asked: str
    state: str
    started: int
    has_agent: bool = True
    late_stops: tuple[int, ...] = ()
    """When the stops were called that have not landed yet."""

    @property
    def runs(self) -> bool:
        """Does it cost?"""
        return self.state in _ALIVE

    @property
    def is_connected(self) -> bool:
        return self.state == "running" and self.has_agent


Instances = tuple[Instance, ...]


def describe(instances: Instances, named: Mapping[str, Any]) -> Any:
    """One by its id, or all by the stage's tag, which every instance has from its launch template."""
    if "Filters" in named:
        listed = [{**_shown(each), "LaunchTime": instant(each.started)} for each in instances]
        return {"Reservations": [{"Instances": listed}]}
    (wanted,) = named["InstanceIds"]
    return {"Reservations": [{"Instances": [_shown(find(instances, wanted, "DescribeInstances"))]}]}


def agents(instances: Instances, named: Mapping[str, Any]) -> Any:
    (listed,) = named["Filters"]
    known = [each for each in instances if each.instance_id in listed["Values"] and each.state == "running"]
    return {
        "InstanceInformationList": [
            {
                "InstanceId": each.instance_id,
                "AgentVersion": NEW_AGENT,
                "PingStatus": "Online" if each.is_connected else "ConnectionLost",
            }
            for each in known
        ]
    }


def connection(instances: Instances, named: Mapping[str, Any]) -> Any:
    is_connected = any(each.is_connected for each in instances if each.instance_id == named["Target"])
    return {"Status": "connected" if is_connected else "notconnected"}


def launched(instances: Instances, named: Mapping[str, Any], now: int) -> tuple[Any, Instances]:
    """The same token is the same instance, gone or not; with other arguments it is an error."""
    token, asked = named["ClientToken"], repr(sorted((name, repr(value)) for name, value in named.items()))
    standing = next((each for each in instances if each.token == token), None)
    if standing is None:
        standing = Instance(f"i-{len(instances) + 1}", token, asked, "pending", now)
        instances = (*instances, standing)
    elif standing.asked != asked:
        return _error("IdempotentParameterMismatch", "RunInstances"), instances
    return {"Instances": [{"InstanceId": standing.instance_id}]}, instances


def is_new(instances: Instances, named: Mapping[str, Any]) -> bool:
    return all(each.token != named["ClientToken"] for each in instances)


def no_room() -> ClientError:
    return _error("InsufficientInstanceCapacity", "RunInstances")


_CHANGES = {
    "start_instances": {"stopped": "pending", "pending": "pending", "running": "running"},
    "stop_instances": {"running": "stopping", "stopping": "stopping", "stopped": "stopped"},
    "reboot_instances": {"running": "running"},
    "terminate_instances": {
        **dict.fromkeys(("pending", "running", "stopping", "stopped", "shutting-down"), "shutting-down"),
        "terminated": "terminated",
    },
}
_PASSING = {"pending": "running", "stopping": "stopped", "shutting-down": "terminated"}


def changed(instances: Instances, method: str, named: Mapping[str, Any], now: int) -> tuple[Any, Instances]:
    """Start, stop, reboot or terminate, from the states in which EC2 does so."""
    (wanted,) = named["InstanceIds"]
    try:
        instance = find(instances, wanted, method)
    except ClientError as error:
        return error, instances
    after = _CHANGES[method].get(instance.state)
    if after is None:
        return _error("IncorrectInstanceState", method), instances
    new = instance._replace(state=after)
    if method == "start_instances" and instance.state == "stopped":
        new = new._replace(started=now, has_agent=True)
    if method == "reboot_instances":
        new = new._replace(has_agent=True)
    return {}, put(instances, new)


def stopped_late(instances: Instances, named: Mapping[str, Any], now: int) -> Instances | None:
    """The stop is accepted and nothing happens yet; None where it would be refused or do nothing."""
    (wanted,) = named["InstanceIds"]
    standing = next((each for each in instances if each.instance_id == wanted), None)
    if standing is None or standing.state not in {"running", "stopping", "stopped"}:
        return None
    return put(instances, standing._replace(late_stops=(*standing.late_stops, now)))


def by_themselves(instances: Instances) -> Iterator[tuple[str, Instances]]:
    """What EC2 does next, one thing at a time."""
    for each in instances:
        if each.state in _PASSING:
            state = _PASSING[each.state]
            yield f"{each.instance_id} is {state}", put(instances, each._replace(state=state))
        if each.late_stops:
            state = "stopping" if each.runs else each.state
            new = each._replace(state=state, late_stops=each.late_stops[1:])
            yield f"a late stop of {each.instance_id} lands", put(instances, new)


def find(instances: Instances, instance_id: str, operation: str) -> Instance:
    for each in instances:
        if each.instance_id == instance_id:
            return each
    raise _error("InvalidInstanceID.NotFound", operation)


def put(instances: Instances, instance: Instance) -> Instances:
    return tuple(instance if each.instance_id == instance.instance_id else each for each in instances)


def _shown(instance: Instance) -> dict[str, Any]:
    return {"InstanceId": instance.instance_id, "State": {"Name": instance.state}}


def _error(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, operation)
