"""Callers: whom the AWS principal that signed a call stands for. Nobody, where its holder could have chosen the name. Pure."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import combinations

from chalicelib.domain.people import Person

IDENTITY_CENTER = "AWSReservedSSO_"
"""What the names of Identity Center's roles begin with. It alone lets people into them, under their own user name."""
_WILDCARDS = "*?["
_ACCOUNT = r"arn:(?P<partition>aws[a-z-]{0,16}):%s::(?P<account>[0-9]{12})"
_SESSION = re.compile(_ACCOUNT % "sts" + r":assumed-role/(?P<role>[^/:]{1,128})/(?P<session>[^/:*?\[\]]{2,64})")
_USER = re.compile(_ACCOUNT % "iam" + r":user/(?:[^:*?\[\]]{1,512}/)?[^/:*?\[\]]{1,64}")
ROLE = re.compile(_ACCOUNT % "iam" + r":role/(?:[!-9;-~]{1,510}/)?(?P<role>[A-Za-z0-9_+=,.@-]{1,64})")
"""A role's own ARN. Calls name only the last part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A pipeline of the catalogue, and the ARN of the role that it signs with. Its sessions may have any name."""

    person: Person
    role: str

    @property
    def sessions(self) -> str:
        """The pattern of its sessions' ARNs."""
        match = ROLE.fullmatch(self.role)
        return f"arn:{match['partition']}:sts::{match['account']}:assumed-role/{match['role']}/*" if match else ""


def find_caller(
    arn: str, *, people: Iterable[Person], machines: Iterable[Machine], fixed_session_names: Collection[str]
) -> Person | None:
    """The one listed person or machine behind a verified principal. None for everybody else, and for two.

    A person is known by an IAM user of theirs, or by the session name of a role that lets nobody choose it: Identity Center's,
    or one that the catalogue says so of. Their pattern must name the account and the session.
    """
    is_session = _SESSION.fullmatch(arn) is not None
    found = [machine.person for machine in machines if is_session and fnmatchcase(arn, machine.sessions)]
    found += [person for person in people if any(_vouches(entry, arn, fixed_session_names) for entry in person.aws)]
    return found[0] if len(found) == 1 else None


def find_session(pattern: str) -> tuple[str, str] | None:
    """The account and the pattern of the role of a person's pattern, where it names the session; None for any other."""
    match = _SESSION.fullmatch(pattern)
    return (match["account"], match["role"]) if match else None


def find_overlaps(people: Iterable[Person]) -> Iterator[tuple[Person, Person, str]]:
    """Which two people one call could stand for, with the second one's pattern."""
    named: dict[tuple[str, ...], list[tuple[Person, str, str]]] = defaultdict(list)
    for person in people:
        for entry in person.aws:
            if match := _SESSION.fullmatch(entry):
                key = (match["partition"], match["account"], match["session"])
                named[key].append((person, match["role"], entry))
            elif _USER.fullmatch(entry):
                named[(entry,)].append((person, "", entry))
    for entries in named.values():
        for (first, one, _), (second, other, entry) in combinations(entries, 2):
            if first is not second and can_both_match(one, other):
                yield first, second, entry


def find_owner(machine: Machine, people: Iterable[Person]) -> Person | None:
    """The person, if there is one, of whose patterns one covers sessions of the machine's role."""
    return next((each for each in people if any(can_both_match(entry, machine.sessions) for entry in each.aws)), None)


def can_both_match(one: str, other: str) -> bool:
    """Is there a text that two patterns, as of `fnmatch`, match? Where they hold ``[``, rather yes than no."""
    if "[" in one + other:
        return can_both_match(_without_sets(one), _without_sets(other))
    seen, waiting = {(0, 0)}, [(0, 0)]
    while waiting:
        at, there = waiting.pop()
        left, right = one[at : at + 1], other[there : there + 1]
        if not left and not right:
            return True
        following = []
        if left == "*" or right == "*":
            following += [(at + 1, there)] if left else []
            following += [(at, there + 1)] if right else []
        elif left and right and (left == right or "?" in {left, right}):
            following = [(at + 1, there + 1)]
        for step in following:
            if step not in seen:
                seen.add(step)
                waiting.append(step)
    return False


def _vouches(entry: str, arn: str, fixed_session_names: Collection[str]) -> bool:
    """Does a person's pattern say for certain that the principal is theirs?"""
    pattern, session = _SESSION.fullmatch(entry), _SESSION.fullmatch(arn)
    if pattern is None or session is None:
        return _USER.fullmatch(entry) is not None and entry == arn
    return (
        all(pattern[part] == session[part] for part in ("partition", "account", "session"))
        and fnmatchcase(session["role"], pattern["role"])
        and (session["role"].startswith(IDENTITY_CENTER) or session["role"] in fixed_session_names)
    )


def _without_sets(pattern: str) -> str:
    return pattern.partition("[")[0] + "*" if "[" in pattern else pattern
