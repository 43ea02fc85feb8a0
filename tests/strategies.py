"""Hypothesis strategies for domain values, and the settings that every property here runs with."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st

from chalicelib import defaults
from chalicelib.domain import commands as grammar
from chalicelib.domain.bastions import Bastion
from chalicelib.domain.cards import CardReference
from chalicelib.domain.connections import ConnectionDetails
from chalicelib.domain.decisions import Decision, DecisionRecord, Terms
from chalicelib.domain.endings import Prepared, StepError
from chalicelib.domain.grants import Grant, GrantFacts
from chalicelib.domain.instances import DatabaseInstances, Endpoint
from chalicelib.domain.locations import LevelRule, SessionDocument
from chalicelib.domain.overviews import EndedRequest
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.preferences import Preferences
from chalicelib.domain.receipts import ClosedTunnels, KeptObject, Receipt
from chalicelib.domain.requests import LOCAL_PORTS, PROFILE, REQUEST_ID, AccessRequest, Ask
from chalicelib.domain.reviews import ReviewRecord
from chalicelib.domain.tunnels import Tunnel
from chalicelib.workflow.find_database_instances import DatabaseOrder

_Value = TypeVar("_Value")

RULE = settings(max_examples=40, deadline=None, database=None)
"""For properties: no deadline on a shared machine, nothing written to disk."""
LIFE = settings(RULE, max_examples=30, stateful_step_count=20)
"""For everything that can happen to one thing, in any order."""

DOCUMENT_KINDS: tuple[type[Any], ...] = (
    Person,
    Endpoint,
    DatabaseInstances,
    GrantFacts,
    Grant,
    AccessRequest,
    Terms,
    Decision,
    DecisionRecord,
    ReviewRecord,
    EndedRequest,
    Preferences,
    CardReference,
    KeptObject,
    Receipt,
    ClosedTunnels,
    Bastion,
    Tunnel,
    DatabaseOrder,
    StepError,
    Prepared,
)
"""Every domain type that stands in a state document or a ledger item; a later one is made of earlier ones."""

instants = st.datetimes(
    min_value=datetime(2020, 1, 1),  # noqa: DTZ001  the zone is added below
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000))
"""Instants as the ledger keeps them: in UTC, with milliseconds."""

levels = st.sampled_from(PermissionLevel)
names = st.sampled_from(["alice", "bob", "carol", "dave", "erin"])


def any_value(kind: type[_Value]) -> st.SearchStrategy[_Value]:
    """Any value of a domain type, with every field filled in."""
    return st.builds(kind, **{field.name: ... for field in fields(kind)})  # type: ignore[arg-type]  # ... means infer


st.register_type_strategy(datetime, instants)
for _kind in DOCUMENT_KINDS:
    st.register_type_strategy(_kind, any_value(_kind))


@st.composite
def level_rules(draw: st.DrawFn) -> LevelRule:
    """Any rule for one level that the loader could have read."""
    return LevelRule(
        who=draw(st.one_of(st.just(frozenset({"*"})), st.frozensets(names))),
        automatic=draw(st.booleans()),
        approvers=draw(st.frozensets(names)),
        needed=draw(st.integers(1, 3)),
        cap_seconds=draw(st.integers(60, 8 * 3600)),
    )


pieces_of_commands = (
    *(
        "list",
        "mine",
        "token",
        "extend",
        "end",
        "all",
        "cancel",
        "explain",
        "history",
        "cost",
        "help",
        "lst",
        "orders-prod",
    ),
    *(
        "r",
        "w",
        "o",
        "Read",
        "wrtie",
        "30m",
        "2h",
        "1h30m",
        "2",
        "0m",
        "2weeks",
        "R-ABC234",
        "r-abc234",
        "R-ABC230",
        "R–",
    ),
    *("--for", "—for", "–reason", "--reason", "--port", "--profile", "--permission", "--location", "--env", "--region"),
    *(
        "--break-glass",
        "—break—glass",
        "-for",
        "--fro",
        "--force",
        "--",
        "—",
        "-",
        "--for=",
        "--reason=“",
        "=",
        "56789",
    ),
    *(
        '"',
        "'",
        "“",
        "”",
        "’",
        "«",
        "»",
        "\\",
        '\\"',
        '"a b"',
        "'a b'",
        "“c d”",
        "it’s",
        "&amp;",
        "&lt;",
        "&",
        "<!channel>",
    ),
    *("$(id)", "`id`", "\u202e", "\u200b", "\x00", "\ud800", "İ", "ß", "٣h", "LOCATION", "x" * 70, "y" * 301),
)
"""What commands, and mistakes in them, are made of."""
command_texts = st.lists(
    st.one_of(st.sampled_from(pieces_of_commands), st.sampled_from([" ", "  ", "\n", "\u00a0"]), st.text(max_size=8)),
    max_size=16,
).map("".join) | st.lists(st.sampled_from(pieces_of_commands), max_size=8).map(" ".join)
"""Texts that come near to commands."""

_names_in_commands = st.one_of(
    st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True),
    st.sampled_from(pieces_of_commands).map(str.lower),
    st.text(min_size=1, max_size=12).map(str.lower),
)
_request_ids = st.from_regex(REQUEST_ID, fullmatch=True)
_durations = st.integers(1, 60 * 86_400)
_reasons = (
    st.one_of(
        st.text(max_size=320), st.lists(st.sampled_from(pieces_of_commands), max_size=8).map(" ".join), command_texts
    )
    .map(lambda text: " ".join(text.split())[: defaults.REASON_LENGTH].rstrip())
    .filter(lambda reason: len(reason) <= defaults.REASON_LENGTH)
)
asks = st.builds(
    Ask,
    location=_names_in_commands,
    level=levels,
    duration_seconds=st.none() | _durations,
    reason=_reasons,
    environment=st.none() | _names_in_commands,
    region=st.none() | _names_in_commands,
    port=st.none() | st.sampled_from(LOCAL_PORTS),
    profile=st.none() | st.from_regex(PROFILE, fullmatch=True),
    is_break_glass=st.booleans(),
)
commands = st.one_of(
    *(
        st.just(kind())
        for kind in (
            grammar.OpenForm,
            grammar.ShowLocations,
            grammar.ShowMine,
            grammar.ShowHelp,
            grammar.ShowHistory,
            grammar.ShowCost,
        )
    ),
    st.builds(grammar.ShowToken, request_id=st.none() | _request_ids),
    st.builds(grammar.ExtendAccess, request_id=st.none() | _request_ids, seconds=st.none() | _durations),
    st.builds(grammar.EndAccess, request_ids=st.none() | st.just(grammar.EVERY_ACCESS) | _request_ids),
    st.builds(grammar.CancelRequest, request_id=st.none() | _request_ids),
    st.builds(grammar.ExplainLevel, location=_names_in_commands, level=st.none() | levels),
    asks,
)
"""Any command, with hostile names and reasons in it."""

_shell_words = st.from_regex(r"[A-Za-z0-9._:/][A-Za-z0-9._:/@-]{0,30}", fullmatch=True)


@st.composite
def _connections(draw: st.DrawFn) -> ConnectionDetails:
    facts, port = draw(any_value(GrantFacts)), draw(st.sampled_from(LOCAL_PORTS))
    return ConnectionDetails(
        facts=replace(
            facts,
            request_id=draw(_request_ids),
            person=replace(facts.person, name=draw(names)),
            location=draw(_shell_words),
            database=draw(_shell_words),
            region=draw(_shell_words),
            port=port,
            document_port=draw(st.none() | st.just(port) | st.sampled_from(LOCAL_PORTS)),
            document=draw(st.sampled_from(SessionDocument)),
            profile=draw(st.just("") | st.from_regex(PROFILE, fullmatch=True)),
        ),
        instance_id=draw(_shell_words),
        writer=Endpoint(host=draw(_shell_words), port=draw(st.integers(1, 65535))),
        stage=draw(_shell_words),
        certificate_bundle=draw(st.sampled_from(["", "$HOME/"])) + draw(_shell_words),
    )


connections = _connections()
"""Connections of whose values each is as odd as the allow-lists let it be."""
