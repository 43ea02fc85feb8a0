"""The slash command: reads who typed what, has it done, and answers that person alone."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from slack_bolt import Ack, App
from slack_sdk import WebClient

from chalicelib.domain import commands
from chalicelib.domain.command_texts import command_text, find_similar_command, parse_command
from chalicelib.domain.decisions import Refusal
from chalicelib.domain.errors import AccessError, UnknownLocationError
from chalicelib.domain.filings import AlreadyAsked, AlreadyHeld, Asked
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.requests import Ask
from chalicelib.slack.acts import Acts
from chalicelib.slack.blocks import Message, joined
from chalicelib.slack.replies.answers import (
    asked_already_reply,
    asked_reply,
    cancelled_reply,
    ending_reply,
    extension_asked_reply,
    held_reply,
    refused_reply,
    too_many_reply,
    which_reply,
)
from chalicelib.slack.replies.cost import cost_reply
from chalicelib.slack.replies.explanation import explain_reply
from chalicelib.slack.replies.help import help_reply
from chalicelib.slack.replies.lists import history_reply, list_reply, mine_reply
from chalicelib.slack.windows import Windows

NOT_LISTED = "You are not listed in Drawbridge's catalogue. Ask the people who keep it to add you."
_USUAL_EXTENSION = 30 * 60


def register_commands(app: App, acts: Acts) -> None:
    """Listen to ``/db-access``."""

    @app.command(commands.COMMAND)
    def db_access(ack: Ack, body: dict[str, Any], client: WebClient) -> None:
        answer = _answer(body, client, acts)
        if answer is None:
            ack()
        else:
            ack(response_type="ephemeral", **answer)


def say_what_was_asked(filed: Asked | AlreadyHeld | AlreadyAsked | Refusal) -> Message:
    """What an ask came to, whichever way it was asked."""
    match filed:
        case Asked():
            return asked_reply(request=filed.request, policy=filed.policy)
        case AlreadyHeld():
            return held_reply(grant=filed.grant)
        case AlreadyAsked(is_same_ask=True):
            return asked_already_reply(request_id=filed.request_ids[0])
        case AlreadyAsked():
            return too_many_reply(open_request_ids=filed.request_ids)
        case Refusal():
            return refused_reply(reason=filed.reason)


def say_what_was_extended(filed: Asked | AlreadyAsked | Refusal) -> Message:
    """What asking for more time came to."""
    if isinstance(filed, Asked):
        return extension_asked_reply(request=filed.request, policy=filed.policy)
    return say_what_was_asked(filed)


def _answer(body: dict[str, Any], client: WebClient, acts: Acts) -> Message | None:
    try:
        command = parse_command(body.get("text", ""))
        person = acts.find_person(body["user_id"])
        if isinstance(command, commands.ShowHelp):
            offers = acts.read_overview(person).offers if person else ()
            return help_reply(locations=[offer.location.name for offer in offers])
        if person is None:
            return refused_reply(reason=NOT_LISTED)
        return _Speaker(person=person, trigger_id=body["trigger_id"], client=client, acts=acts).answer(command)
    except UnknownLocationError as error:
        return refused_reply(reason=" ".join([str(error), *_corrections(body.get("text", ""), error)]))
    except AccessError as error:
        return refused_reply(reason=str(error))


def _corrections(text: str, error: UnknownLocationError) -> Iterator[str]:
    """The whole command as it was probably meant: for the nearest location, or as a subcommand that was mistyped."""
    command = parse_command(text)
    if error.nearest is not None and isinstance(command, Ask | commands.ExplainLevel):
        yield f"Type {commands.COMMAND} {command_text(replace(command, location=error.nearest))}"
    if similar := find_similar_command(text):
        yield f"Or did you mean {similar}?"


class _Speaker:
    """One person's one command. Every method answers it, or opens a window and answers nothing."""

    def __init__(self, *, person: Person, trigger_id: str, client: WebClient, acts: Acts) -> None:
        self._person, self._trigger_id, self._acts = person, trigger_id, acts
        self._windows = Windows(client=client, acts=acts, trigger_id=trigger_id)

    def answer(self, command: commands.Command) -> Message | None:
        match command:
            case Ask():
                return say_what_was_asked(
                    self._acts.file_request(person=self._person, ask=command, origin_id=self._trigger_id)
                )
            case commands.OpenForm():
                self._windows.ask(self._person)
                return None
            case commands.ShowToken() | commands.ExtendAccess() | commands.EndAccess() | commands.CancelRequest():
                return self._act_on_own(command)
            case _:
                return self._show(command)

    def _show(self, command: commands.Command) -> Message:
        match command:
            case commands.ExplainLevel():
                return self._explain(command)
            case commands.ShowHistory():
                return history_reply(ended=self._acts.read_history(self._person))
            case commands.ShowCost():
                return cost_reply(report=self._acts.read_cost())
            case commands.ShowLocations():
                return list_reply(offers=self._acts.read_overview(self._person).offers)
            case _:
                return mine_reply(overview=self._acts.read_overview(self._person))

    def _explain(self, command: commands.ExplainLevel) -> Message:
        levels = [command.level] if command.level is not None else list(PermissionLevel)
        return joined(
            [
                explain_reply(
                    explanation=self._acts.explain_level(person=self._person, location=command.location, level=level)
                )
                for level in levels
            ]
        )

    def _act_on_own(
        self, command: commands.ShowToken | commands.ExtendAccess | commands.EndAccess | commands.CancelRequest
    ) -> Message | None:
        """Without an id the one that can be meant; more than one have to be told apart."""
        overview = self._acts.read_overview(self._person)
        held = [each.record.request.request_id for each in overview.held]
        match command:
            case commands.ShowToken():
                return self._one("token", command.request_id, held, self._show_token)
            case commands.ExtendAccess():
                seconds = command.seconds or _USUAL_EXTENSION
                return self._one("extend", command.request_id, held, lambda one: self._extend(one, seconds))
            case commands.EndAccess(request_ids=commands.EVERY_ACCESS):
                return self._end(held)
            case commands.EndAccess():
                return self._one("end", command.request_ids, held, lambda one: self._end([one]))
            case commands.CancelRequest():
                asked = [record.request.request_id for record in overview.asked]
                return self._one("cancel", command.request_id, asked, self._cancel)

    def _one(
        self, verb: str, named: str | None, candidates: list[str], act: Callable[[str], Message | None]
    ) -> Message | None:
        if named is None and len(candidates) != 1:
            return which_reply(verb=verb, request_ids=candidates)
        return act(named or candidates[0])

    def _show_token(self, request_id: str) -> None:
        self._windows.token(self._person.person_id, request_id)

    def _extend(self, request_id: str, seconds: int) -> Message:
        return say_what_was_extended(
            self._acts.ask_extension(
                person=self._person, request_id=request_id, seconds=seconds, origin_id=self._trigger_id
            )
        )

    def _end(self, request_ids: list[str]) -> Message:
        if not request_ids:
            return which_reply(verb="end", request_ids=[])
        for request_id in request_ids:
            if refusal := self._acts.ask_end(person=self._person, request_id=request_id):
                return refused_reply(reason=refusal.reason)
        return ending_reply(request_ids=request_ids)

    def _cancel(self, request_id: str) -> Message:
        if refusal := self._acts.cancel_request(person=self._person, request_id=request_id):
            return refused_reply(reason=refusal.reason)
        return cancelled_reply(request_id=request_id)
