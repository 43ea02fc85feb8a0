"""Gives moto's EC2 time and scarcity: states are passed through, launch tokens count, capacity runs out on demand."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import instances
from moto.ec2.responses.instances import InstanceResponse

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
PASSED = {"running": "pending", "stopped": "stopping", "terminated": "shutting-down"}
ALLOWED = {"running": {"stopped"}, "stopped": {"running"}, "terminated": set(CODES)}
NO_CAPACITY = "<Response><Errors><Error><Code>InsufficientInstanceCapacity</Code></Error></Errors></Response>"


class TimedState:
    """The state of one instance: what moto sets is reached `seconds` later, and only from where EC2 allows it."""

    def __init__(self, seconds: Mapping[str, float], clock: Callable[[], float], name: str, _: int) -> None:
        self._seconds, self._clock, self._settled, self._settles_at = seconds, clock, name, clock() + seconds[name]

    @property
    def name(self) -> str:
        return PASSED[self._settled] if self._clock() < self._settles_at else self._settled

    @name.setter
    def name(self, wanted: str) -> None:
        if wanted != self._settled:
            if self.name not in ALLOWED[wanted]:
                raise EC2ClientError("IncorrectInstanceState", f"What is {self.name} cannot become {wanted} now.")
            self._settled, self._settles_at = wanted, self._clock() + self._seconds[wanted]

    code = property(lambda self: CODES[self.name], lambda *_: None)


class Ec2Delays:
    """With its `mends` in place, instances take `pending_seconds` to run and `stopping_seconds` to stop or terminate."""

    def __init__(self, pending_seconds: float, stopping_seconds: float, clock: Callable[[], float]) -> None:
        seconds = {"running": pending_seconds, "stopped": stopping_seconds, "terminated": stopping_seconds}
        run = InstanceResponse.run_instances
        self.mends: list[tuple[Any, str, Any]] = [
            (instances, "InstanceState", partial(TimedState, seconds, clock)),
            (InstanceResponse, "run_instances", lambda response: self._launch(run, response)),
        ]
        self._launched, self._missing, self._refused_calls = dict[Any, Any](), list[str](), set[str]()

    def fail_capacity(self, name: str, times: int) -> None:
        """Refuse the next `times` RunInstances calls, each with its own retries, that name this subnet or type."""
        self._missing += [name] * times

    def _launch(self, run: Callable[[Any], Any], response: Any) -> Any:
        asked = {name: value for name, value in response.params.items() if name != "ClientToken"}
        token, call = response.params["ClientToken"], response.headers["amz-sdk-invocation-id"]
        before, reservation = self._launched.get(token, (asked, None))
        if before != asked:
            raise EC2ClientError("IdempotentParameterMismatch", "This client token came with other parameters before.")
        if reservation is not None:
            return ActionResult(reservation)
        missing = next((name for name in self._missing if repr(name) in repr(asked)), None)
        if missing and call not in self._refused_calls:
            self._missing.remove(missing)
            self._refused_calls.add(call)
        if call in self._refused_calls:  # a server's error, as on AWS: boto3 tries again by itself
            return 500, {"status": 500}, NO_CAPACITY
        answer = run(response)
        self._launched[token] = (asked, answer.result)
        return answer
