"""Whoever writes the first line of a day into the audit log has to make the day's stream: here, each function does once."""

from collections.abc import Callable

from moto.logs.models import logs_backends

from local import seed
from local.aws_calls import AwsCall


class Midnight:
    """Asks ``authorize``; but before a function's first line, a new day begins. The lines of the day before are kept."""

    def __init__(self, authorize: Callable[[AwsCall], str | None]) -> None:
        self._authorize = authorize
        self._greeted: set[str] = set()

    def __call__(self, call: AwsCall) -> str | None:
        if call.operation == "PutLogEvents" and call.access_key_id not in self._greeted:
            self._greeted.add(call.access_key_id)
            streams = logs_backends[seed.ACCOUNT][seed.REGION].groups[call.parameters["logGroupName"]].streams
            if stream := streams.pop(call.parameters["logStreamName"], None):
                streams[f"{call.parameters['logStreamName']} until {call.access_key_id}"] = stream
        return self._authorize(call)
