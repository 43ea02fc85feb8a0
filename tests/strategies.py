"""Hypothesis strategies for domain values, and the settings that every property here runs with."""

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st

from chalicelib.domain.bastions import Bastion
from chalicelib.domain.cards import CardReference
from chalicelib.domain.decisions import Decision, DecisionRecord
from chalicelib.domain.endings import Prepared, StepError
from chalicelib.domain.grants import Grant, GrantFacts
from chalicelib.domain.instances import DatabaseInstances, Endpoint
from chalicelib.domain.locations import LevelRule
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.receipts import ClosedTunnels, KeptObject, Receipt
from chalicelib.domain.requests import AccessRequest
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
    Decision,
    DecisionRecord,
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
