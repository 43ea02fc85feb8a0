"""A process that logs in and queries as people who are losing their access, as fast as it can, and says what worked.

For each line of input, a JSON object of role → list of connection strings, it hammers until the next line comes and then
answers with one line: a Report as JSON. It first answers "ready" once it has knocked at every door.
"""

import json
import select
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import cycle

import psycopg

SECONDS_AFTER_A_REFUSAL = 0.03


@dataclass(kw_only=True)
class Report:
    """Moments are those of the monotonic clock, which all processes of a machine share: when the last success *began*."""

    logins: int = 0
    queries: int = 0
    refusals: int = 0
    last_login: dict[str, float] = field(default_factory=dict)
    last_query: dict[str, float] = field(default_factory=dict)
    survivors: list[str] = field(default_factory=list)


class Hammer:
    """Holds a session at every door of every role, and tries another login at each."""

    def __init__(self, doors: dict[str, list[str]]) -> None:
        self.report = Report()
        self._doors = [(role, door) for role, doors in doors.items() for door in doors]
        self._held: dict[tuple[str, str], psycopg.Connection] = {}

    def blows(self) -> Iterator[bool]:
        """At each door in turn, again and again: did anything work?"""
        for role, door in cycle(self._doors):
            has_answered = self._query(role, door)
            yield self._log_in(role, door) or has_answered

    @property
    def door_count(self) -> int:
        return len(self._doors)

    def finish(self) -> Report:
        """Ask every session that is still held whether it lives."""
        for (role, _), session in self._held.items():
            with suppress(psycopg.OperationalError):
                session.execute("SELECT 1")
                self.report.survivors.append(role)
            session.close()
        return self.report

    def _log_in(self, role: str, door: str) -> bool:
        began = time.monotonic()
        try:
            session = psycopg.connect(door, autocommit=True)
        except psycopg.OperationalError:
            self.report.refusals += 1
            return False
        self.report.logins += 1
        self.report.last_login[role] = began
        if (role, door) in self._held:
            session.close()
        else:
            self._held[role, door] = session
        return True

    def _query(self, role: str, door: str) -> bool:
        session = self._held.get((role, door))
        if session is None:
            return False
        began = time.monotonic()
        try:
            session.execute("SELECT count(*) FROM shop.orders")
        except psycopg.OperationalError:
            self._held.pop((role, door)).close()
        except psycopg.Error:
            pass  # the rights are gone, the session is not
        else:
            self.report.queries += 1
            self.report.last_query[role] = began
            return True
        return False


def main() -> None:
    """Serve until the input ends."""
    for line in sys.stdin:
        hammer = Hammer(json.loads(line))
        if hammer.door_count:
            for number, is_answered in enumerate(hammer.blows(), 1):
                if number == hammer.door_count:
                    print("ready", flush=True)
                # Full speed while anything works; knocking in vain leaves the processor to those who lock the doors.
                seconds = 0 if is_answered else SECONDS_AFTER_A_REFUSAL
                if number >= hammer.door_count and select.select([sys.stdin], [], [], seconds)[0]:
                    break
        print(json.dumps(asdict(hammer.finish())), flush=True)


if __name__ == "__main__":
    main()
