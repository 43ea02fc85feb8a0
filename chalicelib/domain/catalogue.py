"""The catalogue: which locations there are, who people are and what the rules say. One reader, named errors, every key."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, NoReturn, Self, TypeVar

from chalicelib import defaults
from chalicelib.domain.callers import ROLE, Machine, find_caller, find_overlaps, find_owner
from chalicelib.domain.durations import find_duration
from chalicelib.domain.errors import CatalogueError, UnknownLocationError
from chalicelib.domain.locations import (
    EVERYBODY,
    MAIN_PROVISIONER,
    BastionGroup,
    BreakGlass,
    DatabaseKind,
    Hours,
    Isolation,
    LevelRule,
    Location,
    SessionDocument,
    TokenSource,
)
from chalicelib.domain.nearest import find_nearest
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel

# These end up in shell commands, AWS names and Slack texts: nothing that any of them would interpret.
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SLACK_ID = re.compile(r"[A-Z][A-Z0-9]{2,20}")
_VPC = re.compile(r"vpc-[0-9a-f]{8,17}")
_ROLE_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{1,64}")
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d")
_DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
_MAXIMUM_CAP_SECONDS = 24 * 3600
_MAXIMUM_BUDGET = 10_000

_Choice = TypeVar("_Choice", bound=StrEnum)
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """One stage's locations, people and rules."""

    team: str
    approvals_channel: str
    people: Mapping[str, Person]
    locations: Mapping[str, Location]
    bastions: Mapping[str, BastionGroup]
    budget_dollars: float | None = None
    """A month's; beyond it nothing is given that nobody approved."""
    machines: Mapping[str, Machine] = field(default_factory=dict)
    fixed_session_names: frozenset[str] = frozenset()
    """Roles that let nobody choose the name of their session, besides Identity Center's."""

    def find_person(self, *, team: str, slack: str) -> Person | None:
        """The listed person behind a Slack team and user; None for everybody else."""
        return next((p for p in self.people.values() if (p.team, p.slack) == (team, slack)), None)

    def find_caller(self, arn: str) -> Person | None:
        """The listed person or machine behind the verified AWS principal of a call; None for everybody else."""
        return find_caller(
            arn,
            people=self.people.values(),
            machines=self.machines.values(),
            fixed_session_names=self.fixed_session_names,
        )

    def find_listed(self, person: Person) -> Person | None:
        """What the catalogue says now about a person or machine of before; None for whoever has left it."""
        if person.is_machine:
            machine = self.machines.get(person.name)
            return machine.person if machine and machine.person.person_id == person.person_id else None
        return self.find_person(team=person.team, slack=person.slack)

    def require_location(self, name: str) -> Location:
        """The location of that name. Raises UnknownLocationError with the nearest names."""
        if (location := self.locations.get(name)) is not None:
            return location
        nearest = find_nearest(name, self.locations, cutoff=0.5)
        suggestion = f"Did you mean '{nearest}'? " if nearest else ""
        known = ", ".join(sorted(self.locations)) or "none"
        raise UnknownLocationError(
            f"No location called '{name[:63]}'. {suggestion}There are: {known}.", nearest=nearest
        )


def read_document(document: Mapping[str, Any], *, file: str) -> Catalogue:
    """Read a catalogue from the tables that it was written as. ``file`` names it in errors.

    Raises CatalogueError with the file, the key and the reason: a missing, unknown or mistyped key, a name that nothing else
    lists, or a rule under which nobody who may ask could ever be approved.
    """
    with _Table(document, file, "") as top:
        budget = top.dollars("budget") if top.has("budget") else None
        with top.table("slack") as slack:
            team = slack.text("team", _SLACK_ID)
            channel = slack.text("approvals_channel", _SLACK_ID)
        people = {table.name: _read_person(table, team) for table in top.tables("people")}
        bastions = {table.name: _read_bastion(table) for table in top.tables("bastions")}
        _refuse_provisioners_in_two_vpcs(top, bastions)
        machines = {table.name: _read_machine(table) for table in top.tables("machines")} if top.has("machines") else {}
        listed = _Listed(people=people, machines=machines)
        locations = {table.name: _read_location(table, listed, bastions) for table in top.tables("locations")}
        fixed_session_names = _read_api(top.table("api")) if top.has("api") else frozenset()
        _refuse_twins(top, people)
        _refuse_two_callers(top, people, machines)
    return Catalogue(
        team=team,
        approvals_channel=channel,
        people=people,
        locations=locations,
        bastions=bastions,
        budget_dollars=budget,
        machines=machines,
        fixed_session_names=fixed_session_names,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    """Whom rules may name."""

    people: Mapping[str, Person]
    machines: Mapping[str, Machine]


def _read_person(table: "_Table", team: str) -> Person:
    with table:
        return Person(
            name=table.checked_name(),
            team=team,
            slack=table.text("slack", _SLACK_ID),
            aws=tuple(table.texts("aws", default=())),
        )


def _read_machine(table: "_Table") -> Machine:
    with table:
        return Machine(person=Person.machine(table.checked_name()), role=table.text("role", ROLE))


def _read_api(table: "_Table") -> frozenset[str]:
    """The roles that the catalogue vouches for. What it says of each is checked on AWS, by the deployment's doctor."""
    with table:
        names = table.texts("fixed_session_names")
        for name in names:
            if not _ROLE_NAME.fullmatch(name):
                table.fail("fixed_session_names", f"'{name[:80]}' is no role's name, without path and account")
        return frozenset(names)


def _read_bastion(table: "_Table") -> BastionGroup:
    with table:
        subnets = tuple(table.texts("subnets"))
        if not subnets:
            table.fail("subnets", "lists no subnet; name at least one private subnet with a route out")
        return BastionGroup(
            name=table.checked_name(),
            subnets=subnets,
            vpc=table.text("vpc", _VPC) if table.has("vpc") else None,
            provisioner=table.text("provisioner", _NAME) if table.has("provisioner") else MAIN_PROVISIONER,
        )


def _refuse_provisioners_in_two_vpcs(top: "_Table", bastions: Mapping[str, BastionGroup]) -> None:
    """A function is in one VPC: groups in several need a provisioner for each."""
    seen: dict[str, BastionGroup] = {}
    for group in bastions.values():
        first = seen.setdefault(group.provisioner, group) if group.vpc else group
        if first.vpc != group.vpc:
            top.fail(
                f"bastions.{group.name}.provisioner",
                f"'{group.provisioner}' is in {first.vpc}, by [bastions.{first.name}]; name another one for {group.vpc}",
            )


def _read_location(table: "_Table", listed: _Listed, bastions: Mapping[str, BastionGroup]) -> Location:
    with table:
        named = [kind for kind in DatabaseKind if table.has(kind.value)]
        if len(named) != 1:
            table.fail("cluster", "name either a cluster or an instance")
        bastion = table.text("bastion", _NAME)
        if bastion not in bastions:
            table.fail("bastion", f"no bastion is called '{bastion}'")
        rules = _read_levels(table.table("levels"), partial(_read_rule, people=listed.people))
        machines = {}
        for each in table.tables("machines") if table.has("machines") else ():
            if each.name not in listed.machines:
                table.fail(f"machines.{each.name[:63]}", "is no machine of [machines]; list it there with its role")
            machines[each.name] = _read_levels(each, partial(_read_rule, people=listed.people, machine=each.name))
        return Location(
            name=table.checked_name(),
            kind=named[0],
            identifier=table.text(named[0].value, _NAME),
            database=table.text("database", _DATABASE),
            region=table.text("region", _REGION),
            environment=table.text("environment", _NAME),
            bastion=bastions[bastion],
            port=table.number("port", default=defaults.LOCAL_PORT, least=1024, most=65535),
            isolation=table.choice("isolation", Isolation, default=Isolation.STRICT),
            also_readable=frozenset(table.texts("also_readable", default=())),
            token=table.choice("token", TokenSource, default=TokenSource.MODAL),
            document=table.choice("document", SessionDocument, default=SessionDocument.LOCATION),
            warm_up=table.flag("warm_up", default=True),
            max_people=table.number("max_people", default=defaults.MAX_PEOPLE, least=1, most=1000),
            levels=rules,
            machines=machines,
        )


def _read_levels(table: "_Table", read: Callable[["_Table"], LevelRule]) -> dict[PermissionLevel, LevelRule]:
    with table:
        rules = {level: read(table.table(level)) for level in PermissionLevel if table.has(level)}
    if not rules:
        table.fail("", "offers no level; give at least one of r, w and o")
    return rules


def _read_rule(table: "_Table", people: Mapping[str, Person], *, machine: str = "") -> LevelRule:
    """One level's rule: for those that it names, or for the machine under whose name it stands."""
    with table:
        rule = LevelRule(
            who=frozenset({machine}) if machine else table.names("who", people, everybody=True),
            automatic=table.flag("automatic", default=False),
            approvers=table.names("approvers", people) if table.has("approvers") else frozenset(),
            needed=table.number("needed", default=1, least=1, most=10),
            cap_seconds=table.duration("cap", default=defaults.DURATIONS.cap, most=_MAXIMUM_CAP_SECONDS),
            hours=table.hours("hours") if table.has("hours") else None,
            break_glass=(
                _read_break_glass(table.table("break_glass"), people)
                if table.has("break_glass") and not machine
                else None
            ),
            approver_groups=frozenset(table.slack_ids("approver_groups")),
        )
        if rule.break_glass is not None:
            _check_break_glass(table, rule, rule.break_glass)
        askers = people if EVERYBODY in rule.who else rule.who
        is_left_to_groups = bool(rule.approver_groups)
        if (
            not rule.automatic
            and not is_left_to_groups
            and not any(len(rule.approvers - {name}) >= rule.needed for name in askers)
        ):
            table.fail("approvers", "nobody who may ask could ever be approved: list more approvers or need fewer")
        return rule


def _check_break_glass(table: "_Table", rule: LevelRule, break_glass: BreakGlass) -> None:
    """Whoever may take access at once must be one of those who may have it, and others must be there to review it."""
    for name in sorted(break_glass.who):
        if not rule.admits(name):
            table.fail("break_glass", f"lets {name} take what 'who' does not let them have")
        if not rule.approvers - {name}:
            table.fail("break_glass", f"nobody in 'approvers' could review what {name} takes")


def _read_break_glass(table: "_Table", people: Mapping[str, Person]) -> BreakGlass:
    with table:
        return BreakGlass(
            who=table.names("who", people),
            review_within_seconds=table.duration("review_within", default=86_400, most=30 * 86_400),
        )


def _refuse_twins(top: "_Table", people: Mapping[str, Person]) -> None:
    """Two names for one Slack user would let a person approve themselves."""
    seen: dict[str, str] = {}
    for name, person in people.items():
        if person.slack in seen:
            top.fail(f"people.{name}.slack", f"is the Slack user of '{seen[person.slack]}' already")
        seen[person.slack] = name


def _refuse_two_callers(top: "_Table", people: Mapping[str, Person], machines: Mapping[str, Machine]) -> None:
    """One call, one caller: else somebody could ask as one and approve as the other."""
    for first, second, entry in find_overlaps(people.values()):
        top.fail(f"people.{second.name}.aws", f"'{entry[:200]}' could be '{first.name}' as well; tell the two apart")
    seen: dict[str, str] = {}
    for name, machine in machines.items():
        if name in people:
            top.fail(f"machines.{name}", "is the name of somebody in [people]; cards would not tell the two apart")
        if (first_name := seen.setdefault(machine.sessions, name)) != name:
            top.fail(f"machines.{name}.role", f"is the role of '{first_name}' already; a call names no role's path")
        if owner := find_owner(machine, people.values()):
            top.fail(
                f"machines.{name}.role", f"is a role of '{owner.name}' too, by [people]; it must be one or the other"
            )


class _Table:
    """One TOML table that knows its place in the file and which of its keys nobody has read."""

    def __init__(self, values: Mapping[str, Any], file: str, path: str, name: str = "") -> None:
        self.name = name
        self._values = values
        self._file = file
        self._path = path
        self._read: set[str] = set()

    def checked_name(self) -> str:
        if not _NAME.fullmatch(self.name):
            raise CatalogueError(
                file=self._file,
                key=self._path,
                reason="is no name; use small letters, digits and inner hyphens, at most 63",
            )
        return self.name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        unread = sorted(set(self._values) - self._read)
        if error is None and unread:
            self.fail(unread[0], "is not a key of the catalogue")

    def fail(self, key: str, reason: str) -> NoReturn:
        path = ".".join(part for part in (self._path, key) if part)
        raise CatalogueError(file=self._file, key=path, reason=reason)

    def has(self, key: str) -> bool:
        return key in self._values

    def _value(self, key: str, kind: type | tuple[type, ...], words: str) -> Any:
        self._read.add(key)
        if key not in self._values:
            self.fail(key, f"is missing; it must be {words}")
        value = self._values[key]
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            self.fail(key, f"must be {words}, not {type(value).__name__}")
        return value

    def table(self, key: str) -> "_Table":
        path = f"{self._path}.{key}" if self._path else key
        return _Table(self._value(key, dict, "a table"), self._file, path, key)

    def tables(self, key: str) -> Iterator["_Table"]:
        with self.table(key) as group:
            names = list(self._values[key])
            if not names:
                self.fail(key, "is empty")
            for name in names:
                yield group.table(name)

    def text(self, key: str, pattern: re.Pattern[str]) -> str:
        value: str = self._value(key, str, "text")
        if not pattern.fullmatch(value):
            self.fail(key, f"'{value[:80]}' does not look like one; it must match {pattern.pattern}")
        return value

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> list[str]:
        if default is not None and key not in self._values:
            return list(default)
        values: list[Any] = self._value(key, list, "a list of texts")
        if not all(isinstance(value, str) and value for value in values):
            self.fail(key, "must be a list of texts")
        return values

    def slack_ids(self, key: str) -> list[str]:
        """Slack ids, none where the key is missing."""
        ids = self.texts(key, default=())
        for each in ids:
            if not _SLACK_ID.fullmatch(each):
                self.fail(key, f"'{each[:80]}' is no Slack id; one looks like S0EXAMPLE")
        return ids

    def names(self, key: str, people: Mapping[str, Person], *, everybody: bool = False) -> frozenset[str]:
        if everybody and self._values.get(key) == EVERYBODY:
            self._read.add(key)
            return frozenset({EVERYBODY})
        names = self.texts(key)
        for name in names:
            if name not in people:
                self.fail(key, f"nobody in [people] is called '{name[:63]}'")
        return frozenset(names)

    def flag(self, key: str, *, default: bool) -> bool:
        return bool(self._value(key, bool, "true or false")) if self.has(key) else default

    def number(self, key: str, *, default: int, least: int, most: int) -> int:
        value: int = self._value(key, int, "a whole number") if self.has(key) else default
        if not least <= value <= most:
            self.fail(key, f"must lie between {least} and {most}")
        return value

    def dollars(self, key: str) -> float:
        value: int | float = self._value(key, (int, float), "a number of dollars a month, such as 3")
        if not 0 < value <= _MAXIMUM_BUDGET:
            self.fail(key, f"must lie above 0 and up to {_MAXIMUM_BUDGET}")
        return float(value)

    def choice(self, key: str, kind: type[_Choice], *, default: _Choice) -> _Choice:
        return self._convert(key, kind, f"must be one of {', '.join(kind)}") if self.has(key) else default

    def duration(self, key: str, *, default: int, most: int) -> int:
        if not self.has(key):
            return default
        seconds = find_duration(self._value(key, str, "a duration such as '2h'"))
        if seconds is None or seconds > most:
            self.fail(key, "must be a duration such as '30m', '2h' or '1h30m', and not too long")
        return seconds

    def hours(self, key: str) -> Hours:
        return self._convert(key, Hours.parse, "")

    def _convert(self, key: str, parse: Callable[[str], _Value], reason: str) -> _Value:
        text: str = self._value(key, str, "text")
        try:
            return parse(text)
        except ValueError as error:
            self.fail(key, reason or str(error))
