"""Every card, form, Home and reply, rendered from plain and from extreme contents, and how to read one."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from chalicelib.domain.decisions import Verdict
from chalicelib.domain.endings import Outcome
from chalicelib.domain.locations import TokenSource
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.policy import PolicyAnswer
from chalicelib.domain.reviews import ReviewVerdict
from chalicelib.slack.blocks import Message, View, joined
from chalicelib.slack.cards import approval, asked, ended, holder, review
from chalicelib.slack.home import home_view
from chalicelib.slack.modals.ask import ask_modal
from chalicelib.slack.modals.decide import approve_less_modal, deny_modal
from chalicelib.slack.modals.extend import extend_modal
from chalicelib.slack.modals.first_time import first_time_modal
from chalicelib.slack.modals.gui import gui_modal
from chalicelib.slack.modals.review import not_justified_modal
from chalicelib.slack.modals.said import said_modal
from chalicelib.slack.modals.token import local_token_modal, token_loading_modal, token_modal, token_refused_modal
from chalicelib.slack.modals.who_blocks import who_blocks_modal
from chalicelib.slack.replies import answers
from chalicelib.slack.replies.cost import cost_reply
from chalicelib.slack.replies.explanation import explain_reply
from chalicelib.slack.replies.help import help_reply
from chalicelib.slack.replies.lists import history_reply, list_reply, mine_reply
from tests.factories import REQUEST_ID
from tests.unit.view_contents import (
    BOB,
    EXTENSION_ID,
    HOUR,
    NOON,
    ORDINARY,
    TOKEN,
    Contents,
    a_cost_report,
    a_filed,
    a_policy,
    a_receipt,
    a_record,
    a_review,
    an_ask,
    an_explanation,
    an_offer,
    an_open_location,
    an_overview,
    extreme,
    locations,
)


def cards_of(c: Contents) -> dict[str, Message]:
    """Every card there is, in every shape."""
    return _approval_cards(c) | _asked_cards(c) | _holders_cards(c) | _review_cards(c) | _closed_cards(c)


def _approval_cards(c: Contents) -> dict[str, Message]:
    of: dict[str, Any] = {"request": c.request, "environment": c.environment}
    asked: dict[str, Any] = {"request": c.request, "location": an_open_location(environment=c.environment)}
    longer = replace(c.request, extends=EXTENSION_ID)
    some = c.approvers[:-1]
    filed = {each: a_filed(c.request, decisions=record) for each, record in (("", c.approved()), ("x", None))}
    return {
        "asked": approval.approval_card(**asked, approvers=c.approvers, record=a_record(needed=10)),
        "partly approved": approval.approval_card(**asked, approvers=c.approvers, record=a_record(*some, needed=10)),
        "asked elsewhere": approval.approval_card(
            request=c.request, location=None, approvers=(), record=a_record(needed=1)
        ),
        "asked to extend": approval.approval_card(
            request=longer, location=asked["location"], approvers=c.approvers, record=a_record()
        ),
        "reminder": approval.reminder(request=c.request, record=a_record(BOB), approvers=c.approvers),
        "approved": approval.decided_card(**of, record=c.approved()),
        "approved for less": approval.decided_card(**of, record=c.approved_less()),
        "denied": approval.decided_card(**of, record=c.denied()),
        "timed out": approval.decided_card(**of, record=a_record(verdict=Verdict.TIMED_OUT)),
        "partly timed out": approval.decided_card(**of, record=a_record(*some, verdict=Verdict.TIMED_OUT)),
        "cancelled": approval.decided_card(**of, record=a_record(verdict=Verdict.CANCELLED)),
        "preparing": approval.preparing_card(record=filed[""], environment=c.environment, may_sleep=True),
        "preparing at once": approval.preparing_card(record=filed["x"], environment=None, may_sleep=False),
        "live": approval.live_card(record=filed[""], environment=c.environment, grant=c.grant),
    }


def _asked_cards(c: Contents) -> dict[str, Message]:
    policy = a_policy(approvers=frozenset(c.approvers))
    filed = a_filed(c.request, decisions=c.approved_less())
    longer = replace(c.request, extends=EXTENSION_ID)
    return {
        "own, waiting": asked.asked_card(request=c.request, policy=policy, closes_at=NOON),
        "own, waiting to extend": asked.asked_card(request=longer, policy=policy, closes_at=NOON),
        "own, preparing": asked.asked_card_preparing(record=filed, may_sleep=True),
        "own, ready": asked.asked_card_ready(record=filed, grant=c.grant),
    }


def _holders_cards(c: Contents) -> dict[str, Message]:
    local = replace(c.grant, facts=replace(c.grant.facts, token=TokenSource.LOCAL))
    operate = replace(c.grant, facts=replace(c.grant.facts, level=PermissionLevel.OPERATE))
    shapes = {"ready": c.grant, "ready, own token": local, "ready to operate": operate}
    made = {
        name: holder.ready_card(request=c.request, grant=grant, connection=replace(c.connection, facts=grant.facts))
        for name, grant in shapes.items()
    }
    return made | {
        "moved end": holder.moved_end_message(request=c.request, grant=c.grant),
        "replaced bastion": holder.replaced_bastion_message(request=c.request, connection=c.connection),
        "ends soon": holder.soon_card(request=c.request, grant=c.grant),
        "ended later": holder.outdated_soon_card(request=c.request, grant=c.grant),
    }


def _review_cards(c: Contents) -> dict[str, Message]:
    closed = {"reviewer_id": BOB.person_id, "note": c.answer, "closed_at": NOON}
    of: dict[str, Any] = {"request": c.request}
    return {
        "review": review.review_card(**of, review=a_review(), approvers=c.approvers),
        "review reminder": review.review_reminder(**of, review=a_review(), approvers=c.approvers),
        "justified": review.reviewed_card(**of, review=a_review(verdict=ReviewVerdict.JUSTIFIED, reviewer_id="T/U")),
        "not justified": review.reviewed_card(**of, review=a_review(verdict=ReviewVerdict.NOT_JUSTIFIED, **closed)),
    }


def _closed_cards(c: Contents) -> dict[str, Message]:
    longer = replace(c.request, extends=EXTENSION_ID)
    endings = {str(outcome): c.ending(outcome=outcome) for outcome in Outcome}
    endings |= {f"{outcome} extension": c.ending(outcome=outcome, request=longer, grant=None) for outcome in Outcome}
    endings |= {
        "not revoked": c.ending(is_revoked=False, receipt=None),
        "half revoked": c.ending(is_revoked=False),
        "nothing granted": c.ending(outcome=Outcome.FAILED, grant=None, receipt=None, decisions=None),
        "nothing set up": c.ending(outcome=Outcome.FAILED, receipt=None),
        "denied by somebody": c.ending(outcome=Outcome.DENIED, grant=None, receipt=None, decisions=c.denied()),
        "superseded": c.ending(receipt=a_receipt(superseded_by="R-DEF567")),
    }
    made = {}
    for name, ending in endings.items():
        made[f"{name}: approval card"] = approval.closed_card(ending=ending, environment=c.environment)
        made[f"{name}: own card"] = asked.closed_asked_card(ending=ending)
        made[f"{name}: ready message"] = holder.closed_ready_card(ending=ending)
        made[f"{name}: warning"] = holder.closed_soon_card(ending=ending)
        made[f"{name}: report"] = ended.ended_card(ending=ending)
    return made


def replies_of(c: Contents) -> dict[str, Message]:
    """Every reply there is."""
    waits = a_policy(approvers=frozenset(c.approvers))
    at_once = replace(waits, answer=PolicyAnswer.ALLOWED)
    offers = [an_offer(location) for location in c.locations]
    overview = c.overview(size=len(c.approvers))
    explanation = an_explanation(location=c.locations[0], outcome=waits)
    refused = a_policy(answer=PolicyAnswer.DENIED, reason=c.explanation)
    costs = a_cost_report(grants=a_cost_report().grants * len(c.locations), budget_dollars=3.0)
    return {
        "asked": answers.asked_reply(request=c.request, policy=waits),
        "asked one": answers.asked_reply(request=c.request, policy=replace(waits, needed=1)),
        "automatic": answers.asked_reply(request=c.request, policy=at_once),
        "glass broken": answers.asked_reply(request=replace(c.request, is_break_glass=True), policy=at_once),
        "held": answers.held_reply(grant=c.grant),
        "asked already": answers.asked_already_reply(request_id=REQUEST_ID),
        "too many": answers.too_many_reply(open_request_ids=[REQUEST_ID] * 3),
        "refused": answers.refused_reply(reason=c.explanation),
        "outdated": answers.outdated_reply(),
        "broken": answers.broken_reply(error_id="1-5759e988-bd862e3fe1be46a994272793"),
        "which one": answers.which_reply(verb="extend", request_ids=[REQUEST_ID] * 100),
        "none": answers.which_reply(verb="extend", request_ids=[]),
        "extension asked": answers.extension_asked_reply(
            request=replace(c.request, extends=EXTENSION_ID), policy=waits
        ),
        "ending": answers.ending_reply(request_ids=[REQUEST_ID] * 100),
        "extension at once": answers.extension_asked_reply(
            request=replace(c.request, extends=EXTENSION_ID), policy=at_once
        ),
        "cancelled": answers.cancelled_reply(request_id=REQUEST_ID),
        "forgotten": answers.forgotten_reply(),
        "reviewed": answers.reviewed_reply(request_id=REQUEST_ID),
        "help": help_reply(locations=[location.name for location in c.locations]),
        "help without locations": help_reply(locations=[]),
        "list": list_reply(offers=offers),
        "empty list": list_reply(offers=[]),
        "mine": mine_reply(overview=overview),
        "nothing of mine": mine_reply(overview=an_overview()),
        "history": history_reply(ended=overview.ended * 20),
        "no history": history_reply(ended=[]),
        "explanation": explain_reply(explanation=explanation),
        "explained refusal": explain_reply(explanation=replace(explanation, rule=None, outcome=refused)),
        "explanation of every level": joined(
            [explain_reply(explanation=replace(explanation, level=level)) for level in PermissionLevel]
        ),
        "cost": cost_reply(report=costs),
        "cost of nothing": cost_reply(report=a_cost_report(dollars=0.0, parts=(), grants=())),
    }


def modals_of(c: Contents) -> dict[str, View]:
    """Every modal there is."""
    local = replace(c.connection, facts=replace(c.connection.facts, token=TokenSource.LOCAL))
    again = an_ask(
        location=c.locations[-1].name,
        level=PermissionLevel.WRITE,
        duration_seconds=c.request.duration_seconds,
        reason=c.request.reason,
        port=65535,
        profile=c.request.profile,
        is_break_glass=True,
    )
    read = replace(c.request, level=PermissionLevel.READ, duration_seconds=600)
    delivered = replace(c.grant, delivered_at=NOON, ends_at=NOON + HOUR)
    return {
        "loading": token_loading_modal(request_id=REQUEST_ID),
        "token": token_modal(token=TOKEN, connection=c.connection, expires_at=NOON),
        "refused": token_refused_modal(request_id=REQUEST_ID, reason=c.explanation),
        "own token": local_token_modal(connection=local),
        "first time": first_time_modal(connection=c.connection),
        "gui": gui_modal(connection=c.connection),
        "gui, own token": gui_modal(connection=local),
        "who blocks": who_blocks_modal(request=c.request),
        "deny": deny_modal(request=c.request),
        "approve less": approve_less_modal(request=c.request),
        "approve less of little": approve_less_modal(request=read),
        "extend": extend_modal(grant=delivered, cap_seconds=86_400),
        "extend no more": extend_modal(grant=delivered, cap_seconds=3600),
        "not justified": not_justified_modal(request=c.request),
        "ask": ask_modal(locations=c.locations, prefilled=an_ask(), may_break_glass=False),
        "ask again": ask_modal(locations=c.locations, prefilled=again, may_break_glass=True),
        "ask among many": ask_modal(locations=locations(250), prefilled=again, may_break_glass=True),
        "said": said_modal(reason=c.explanation),
        "said what": said_modal(message=answers.asked_reply(request=c.request, policy=a_policy())),
        "ask for nothing": ask_modal(locations=(), prefilled=an_ask(), may_break_glass=False),
    }


def homes_of(c: Contents, *sizes: int) -> dict[str, View]:
    """Home with so many of each thing."""
    person = c.request.person
    return {f"{size} of each": home_view(person=person, overview=c.overview(size=size)) for size in sizes}


CONTENTS = {"ordinary": ORDINARY, "extreme": extreme()}
CARDS = {f"{size} card, {name}": card for size, c in CONTENTS.items() for name, card in cards_of(c).items()}
REPLIES = {f"{size} reply, {name}": reply for size, c in CONTENTS.items() for name, reply in replies_of(c).items()}
MODALS = {f"{size} modal, {name}": view for size, c in CONTENTS.items() for name, view in modals_of(c).items()}
HOMES = {
    f"{size} home, {name}": view for size, c in CONTENTS.items() for name, view in homes_of(c, 0, 1, 9, 100).items()
}


def parts_of(value: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object in a message or a view, outermost first."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from parts_of(part)


def parts_of_type(value: Any, *kinds: str) -> list[dict[str, Any]]:
    return [part for part in parts_of(value) if part.get("type") in kinds]


def mrkdwn_of(value: Any) -> str:
    return "\n".join(part["text"] for part in parts_of_type(value, "mrkdwn"))


def literals_of(value: Any) -> str:
    return "\n".join(part["text"] for part in parts_of_type(value, "text"))


def quotes_of(value: Any) -> list[str]:
    return [literals_of(part) for part in parts_of_type(value, "rich_text_quote")]


def boxes_of(value: Any) -> list[str]:
    return [literals_of(part) for part in parts_of_type(value, "rich_text_preformatted")]


def buttons_of(value: Any) -> dict[str, dict[str, Any]]:
    return {button["action_id"]: button for button in parts_of_type(value, "button")}


def inputs_of(view: View) -> dict[str, dict[str, Any]]:
    """The elements of a form, by block id."""
    return {block["block_id"]: block["element"] for block in parts_of_type(view, "input")}


def choices_of(element: dict[str, Any]) -> list[str]:
    return [option["value"] for option in element["options"]]
