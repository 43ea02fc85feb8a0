"""The forms: what they offer, what is read from them whatever Slack sends, and where a problem is shown."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import defaults
from chalicelib.domain.decisions import Refusal, Terms, asked_terms
from chalicelib.domain.errors import AccessError, InvalidCommandError, UnknownLocationError
from chalicelib.domain.extensions import seconds_to_extend
from chalicelib.domain.grants import Grant
from chalicelib.domain.locations import Location
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.requests import Ask
from chalicelib.slack.blocks import View
from chalicelib.slack.modals.ask import ask_modal, find_ask_errors, place_ask_problem, read_ask_form
from chalicelib.slack.modals.decide import (
    approve_less_modal,
    deny_modal,
    find_deny_errors,
    read_approve_less_form,
    read_deny_form,
)
from chalicelib.slack.modals.extend import extend_modal, read_extend_form
from chalicelib.slack.modals.review import (
    find_not_justified_errors,
    not_justified_modal,
    read_not_justified_form,
)
from local.slack.block_checker import check_view, state_values
from tests.factories import FRIDAY_NOON, a_location, a_rule
from tests.strategies import RULE
from tests.unit.view_contents import HOSTILE, a_grant, a_request, an_ask, an_extension, locations
from tests.unit.view_renderings import buttons_of, choices_of, inputs_of, mrkdwn_of, quotes_of

MINUTES = 60
HOURS = 3600
READ, WRITE, OPERATE = PermissionLevel.READ, PermissionLevel.WRITE, PermissionLevel.OPERATE
ORDERS = a_location("orders")


def an_ask_modal(prefilled: Ask | None = None, *, may_break_glass: bool = False, count: int = 3) -> View:
    return ask_modal(locations=locations(count), prefilled=prefilled or an_ask(), may_break_glass=may_break_glass)


def entered(**values: Any) -> dict[str, Any]:
    """What Slack sends for these texts and choices."""
    texts = {"reason", "port", "profile", "typed_location"}
    state: dict[str, Any] = {}
    for name, value in values.items():
        block = name.removeprefix("typed_")
        if name in texts:
            state[block] = {block: {"type": "plain_text_input", "value": value}}
        elif name == "break_glass":
            state[block] = {block: {"type": "checkboxes", "selected_options": [{"value": "yes"}] if value else []}}
        else:
            state[block] = {block: {"type": "static_select", "selected_option": {"value": value}}}
    return state


def sent(view: View, **changes: Any) -> Any:
    """What Slack sends when somebody presses the button of the form after these changes."""
    return state_values(view["blocks"], {}) | entered(**changes)


# The form to ask


def test_the_form_offers_every_location_with_what_it_is() -> None:
    """Environment and region stand beside each name."""
    view = ask_modal(locations=[ORDERS, a_location("books")], prefilled=an_ask(), may_break_glass=False)

    options = inputs_of(view)["location"]["options"]
    assert [("books", "prod · eu-west-1"), ("orders", "prod · eu-west-1")] == [
        (option["value"], option["description"]["text"]) for option in options
    ]


@pytest.mark.parametrize(("count", "kind"), [(1, "static_select"), (100, "static_select"), (101, "plain_text_input")])
def test_more_locations_than_slack_takes_are_typed(count: int, kind: str) -> None:
    """A hundred can be chosen from; of more of them none is left out, for the name is typed."""
    assert kind == inputs_of(an_ask_modal(count=count))["location"]["type"]


def test_each_level_says_what_it_is_for() -> None:
    """The three levels, each with its line."""
    options = inputs_of(an_ask_modal())["level"]["options"]

    assert [level.summary for level in PermissionLevel] == [option["description"]["text"] for option in options]


def test_no_more_time_is_offered_than_anybody_gets() -> None:
    """The longest cap of the locations is the longest choice."""
    short = a_location(levels={READ: a_rule(cap_seconds=2 * HOURS), WRITE: a_rule(cap_seconds=30 * MINUTES)})
    view = ask_modal(locations=[short], prefilled=an_ask(), may_break_glass=False)

    assert ["900", "1800", "3600", "7200"] == choices_of(inputs_of(view)["duration"])


def test_an_empty_form_starts_with_the_defaults() -> None:
    """Operate, for an hour, nothing else."""
    start = read_ask_form(sent(an_ask_modal()))

    assert (OPERATE, HOURS, "", 0, "") == (
        start.level,
        start.duration_seconds,
        start.reason,
        start.port,
        start.profile,
    )


@RULE
@given(
    st.builds(
        Ask,
        location=st.sampled_from([location.name for location in locations(3)]),
        level=st.sampled_from(PermissionLevel),
        duration_seconds=st.integers(60, 4 * HOURS),
        reason=st.text(max_size=defaults.REASON_LENGTH).map(str.strip),
        port=st.just(0) | st.integers(1024, 65535),
        profile=st.from_regex(r"[a-z][A-Za-z0-9._:/@-]{0,60}", fullmatch=True) | st.just(""),
        is_break_glass=st.booleans(),
    )
)
def test_asking_again_asks_the_same(ask: Ask) -> None:
    """A form filled with an ask and sent as it is asks exactly that."""
    view = an_ask_modal(ask, may_break_glass=True)

    assert [] == check_view(view)
    assert ask == read_ask_form(sent(view))


def test_a_remembered_profile_can_be_taken_away() -> None:
    """An emptied field says none, and one button forgets both."""
    view = an_ask_modal(an_ask(port=5433, profile="work"))

    assert ("", 0) == (read_ask_form(sent(view, profile=None, port=None)).profile, read_ask_form({}).port)
    assert ["forget_profile"] == list(buttons_of(view))


def test_nothing_remembered_leaves_nothing_to_forget() -> None:
    """A button that does nothing is not there."""
    assert {} == buttons_of(an_ask_modal())


def test_only_who_may_break_the_glass_sees_it() -> None:
    """Others are not tempted."""
    seen = ["break_glass" in inputs_of(an_ask_modal(may_break_glass=may)) for may in (False, True)]

    assert [False, True] == seen


def test_nothing_to_ask_for_is_said() -> None:
    """Slack takes no empty choice, and neither do people."""
    view = ask_modal(locations=(), prefilled=an_ask(), may_break_glass=True)

    assert {} == inputs_of(view)
    assert "There is no location that you may ask for" in mrkdwn_of(view)


def test_a_typed_location_reads_like_a_chosen_one() -> None:
    """However many locations there are, the ask is the same."""
    assert read_ask_form(entered(location="orders")) == read_ask_form(entered(typed_location=" orders "))


@pytest.mark.parametrize(
    ("values", "field"),
    [
        (entered(), "location"),
        (entered(location="orders", port="80"), "port"),
        (entered(location="orders", port="99999"), "port"),
        (entered(location="orders", port="5432x"), "port"),
        (entered(location="orders", profile="$(reboot)"), "profile"),
        (entered(location="orders", break_glass=True, reason=" "), "reason"),
    ],
)
def test_what_is_plainly_wrong_is_said_beside_its_field(values: Any, field: str) -> None:
    """Nobody has to ask anybody to see it."""
    assert [field] == list(find_ask_errors(values))


def test_a_form_in_order_has_no_errors() -> None:
    """All fields at once."""
    values = entered(location="orders", port="5433", profile="work", break_glass=True, reason="on fire")

    assert {} == find_ask_errors(values)


@pytest.mark.parametrize(
    ("problem", "ask", "location", "field"),
    [
        (UnknownLocationError("No location called 'odrers'."), an_ask(), None, "location"),
        (Refusal(reason="Too long."), an_ask(level=WRITE, duration_seconds=5 * HOURS), ORDERS, "duration"),
        (Refusal(reason="You may not."), an_ask(level=WRITE, duration_seconds=HOURS), ORDERS, "level"),
        (Refusal(reason="Not offered."), an_ask(level=WRITE), replace(ORDERS, levels={READ: a_rule()}), "level"),
        (Refusal(reason="You may not break it."), an_ask(is_break_glass=True), ORDERS, "break_glass"),
        (InvalidCommandError("?"), an_ask(), ORDERS, "location"),
    ],
)
def test_a_refusal_is_shown_beside_what_has_to_change(
    problem: Refusal | AccessError, ask: Ask, location: Location | None, field: str
) -> None:
    """The words are the refusal's own."""
    said = problem.reason if isinstance(problem, Refusal) else str(problem)

    assert {field: said} == place_ask_problem(problem, ask=ask, location=location)


# The forms to decide


def test_a_denial_shows_what_is_denied() -> None:
    """Nobody denies the wrong request."""
    assert "<@U0ALICE> asks for write access to my-aurora-location" in mrkdwn_of(deny_modal(request=a_request()))


@pytest.mark.parametrize(
    ("view", "read", "find_errors"),
    [
        (deny_modal(request=a_request()), read_deny_form, find_deny_errors),
        (not_justified_modal(request=a_request()), read_not_justified_form, find_not_justified_errors),
    ],
    ids=["deny", "not justified"],
)
@pytest.mark.parametrize(
    ("typed", "expected"),
    [(f"  {HOSTILE.strip()}  ", HOSTILE.strip()), ("x" * 600, "x" * 500), ("   ", ""), (None, "")],
)
def test_a_no_is_read_as_it_was_written(
    view: View,
    read: Callable[[Any], str],
    find_errors: Callable[[Any], dict[str, str]],
    typed: str | None,
    expected: str,
) -> None:
    """To the letter, within 500 characters; nothing but space is no reason, and that is said beside the field."""
    [field] = inputs_of(view)
    values = {field: {field: {"type": "plain_text_input", "value": typed}}}

    assert expected == read(values)
    assert [field] * (not expected) == list(find_errors(values))


def test_less_starts_with_read_for_as_long_as_asked() -> None:
    """Who opens this form wants less; it is one click away."""
    view = approve_less_modal(request=a_request(duration_seconds=2 * HOURS))

    assert Terms(level=READ, duration_seconds=2 * HOURS) == read_approve_less_form(sent(view), request=a_request())
    assert ["900", "1800", "3600", "7200"] == choices_of(inputs_of(view)["duration"])
    assert ["INC-42 fix stuck order"] == quotes_of(view)


def test_an_extension_can_only_be_shorter() -> None:
    """Its level is that of the access."""
    assert ["w"] == choices_of(inputs_of(approve_less_modal(request=an_extension()))["level"])


@RULE
@given(st.sampled_from(PermissionLevel), st.integers(1, 24 * HOURS))
def test_nothing_on_offer_is_more_than_was_asked(level: PermissionLevel, seconds: int) -> None:
    """Every choice of the form is within the request."""
    request = a_request(level=level, duration_seconds=seconds)
    inputs = inputs_of(approve_less_modal(request=request))

    terms = [
        Terms(level=PermissionLevel(chosen), duration_seconds=int(duration))
        for chosen in choices_of(inputs["level"])
        for duration in choices_of(inputs["duration"])
    ]
    assert not any(each.exceed(asked_terms(request)) for each in terms)


@pytest.mark.parametrize(
    "values",
    [
        {},
        entered(level="w"),
        entered(duration="900"),
        entered(level="o", duration="900"),
        entered(level="w", duration="0"),
    ],
)
def test_what_was_not_chosen_is_not_approved(values: Any) -> None:
    """A level that nobody asked for, or nothing at all, is no approval."""
    assert read_approve_less_form(values, request=a_request()) is None


# The form to extend


def a_delivered_grant() -> Grant:
    return a_grant(delivered_at=FRIDAY_NOON, ends_at=FRIDAY_NOON + timedelta(hours=1))


@pytest.mark.parametrize(
    ("cap_seconds", "expected"),
    [
        (4 * HOURS, ["900", "1800", "3600", "7200", "10800"]),
        (HOURS + 20 * MINUTES, ["900", "1200"]),
        (HOURS + 5 * MINUTES, ["300"]),
    ],
)
def test_more_time_is_offered_up_to_the_cap(cap_seconds: int, expected: list[str]) -> None:
    """The usual lengths that still fit, and all that is left."""
    view = extend_modal(grant=a_delivered_grant(), cap_seconds=cap_seconds)

    assert expected == choices_of(inputs_of(view)["duration"])
    assert int(expected[-1]) >= (read_extend_form(sent(view)) or 0) > 0


def test_half_an_hour_more_is_the_usual() -> None:
    """The same that the one-click button gives."""
    view = extend_modal(grant=a_delivered_grant(), cap_seconds=4 * HOURS)

    assert 30 * MINUTES == read_extend_form(sent(view))


def test_nothing_is_offered_that_would_be_refused() -> None:
    """An end that is a moment later than whole seconds leaves a second less."""
    grant = a_delivered_grant()
    grant = replace(grant, ends_at=grant.ends_at + timedelta(milliseconds=400))
    longest = max(
        int(each) for each in choices_of(inputs_of(extend_modal(grant=grant, cap_seconds=4 * HOURS))["duration"])
    )

    assert seconds_to_extend(grant, cap_seconds=4 * HOURS) == longest


def test_no_time_left_is_said_and_not_offered() -> None:
    """A form that can only be refused is not shown."""
    view = extend_modal(grant=a_delivered_grant(), cap_seconds=HOURS)

    assert {} == inputs_of(view)
    assert "1 hour is the most there is in all. Ask again when it has ended." in mrkdwn_of(view)


# What Slack, or somebody in its place, sends

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from(["yes", "w", "9" * 5000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
FIELDS = ("location", "level", "duration", "reason", "port", "profile", "break_glass", "note")
ANSWERS = st.fixed_dictionaries({}, optional={"value": JSON, "selected_option": JSON, "selected_options": JSON})
CHOSEN = st.fixed_dictionaries({"value": JSON}).map(lambda option: {"selected_option": option})
STATES = JSON | st.fixed_dictionaries(
    {},
    optional={
        name: JSON | st.fixed_dictionaries({name: JSON}) | st.fixed_dictionaries({name: ANSWERS | CHOSEN})
        for name in FIELDS
    },
)


@RULE
@given(STATES)
def test_no_state_breaks_a_form(values: Any) -> None:
    """Whatever was sent is read as something within the limits, or as nothing."""
    ask = read_ask_form(values)

    assert len(ask.reason) <= defaults.REASON_LENGTH
    assert len(ask.location) <= 63
    assert ask.port == 0 or 1024 <= (ask.port or 0) <= 65535
    assert len(read_deny_form(values)) <= defaults.ANSWER_LENGTH
    assert len(read_not_justified_form(values)) <= defaults.ANSWER_LENGTH
    assert read_extend_form(values) is None or (read_extend_form(values) or 0) > 0
    assert isinstance(find_ask_errors(values), dict)
    terms = read_approve_less_form(values, request=a_request())
    assert terms is None or terms.level in {READ, WRITE}
