"""Opens windows: reads what has to stand in one, and opens it, or says in words why there is none."""

from slack_sdk import WebClient

from chalicelib import defaults
from chalicelib.domain.decisions import Refusal
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.records import RequestRecord
from chalicelib.domain.requests import Ask
from chalicelib.slack.acts import Acts
from chalicelib.slack.blocks import Message, View
from chalicelib.slack.errors import translated
from chalicelib.slack.modals.ask import ask_modal
from chalicelib.slack.modals.decide import approve_less_modal, deny_modal
from chalicelib.slack.modals.extend import extend_modal
from chalicelib.slack.modals.first_time import first_time_modal
from chalicelib.slack.modals.gui import gui_modal
from chalicelib.slack.modals.review import not_justified_modal
from chalicelib.slack.modals.token import token_loading_modal, token_refused_modal
from chalicelib.slack.modals.who_blocks import who_blocks_modal
from chalicelib.slack.replies.answers import refused_reply


class Windows:
    """The windows that one trigger may open: one of them, within seconds of the click or command."""

    def __init__(self, *, client: WebClient, acts: Acts, trigger_id: str) -> None:
        self._client, self._acts, self._trigger_id = client, acts, trigger_id

    def ask(self, person: Person, again: str = "") -> None:
        """The form, with what an earlier request asked, or with the port and profile that were given last."""
        overview = self._acts.read_overview(person)
        record = self._acts.find_request(again) if again else None
        locations = [offer.location for offer in overview.offers]
        rules = [rule for location in locations for rule in location.find_rules(person).values()]
        self._open(
            ask_modal(
                locations=locations,
                prefilled=self._prefilled(person, record),
                may_break_glass=any(rule.break_glass and person.name in rule.break_glass.who for rule in rules),
            )
        )

    def deny(self, record: RequestRecord) -> None:
        """Why not?"""
        self._open(deny_modal(request=record.request))

    def approve_less(self, record: RequestRecord) -> None:
        """What instead?"""
        self._open(approve_less_modal(request=record.request))

    def not_justified(self, record: RequestRecord) -> None:
        """Why was it not?"""
        self._open(not_justified_modal(request=record.request))

    def extend(self, person: Person, request_id: str) -> Message | None:
        """How much longer?"""
        held = self._acts.read_overview(person).held
        own = next((each for each in held if each.grant.facts.request_id == request_id), None)
        location = self._acts.find_location(own.grant.facts.location) if own else None
        rule = location.find_rule(own.grant.facts.level, person) if own and location else None
        if own is None or rule is None:
            return refused_reply(reason=f"{request_id} is not access that you hold. Ask for new access.")
        self._open(extend_modal(grant=own.grant, cap_seconds=rule.cap_seconds))
        return None

    def token(self, person_id: str, request_id: str) -> None:
        """The window for a token, filled afterwards. It opens before anything is looked up."""
        opened = self._open(token_loading_modal(request_id=request_id))
        self._acts.issue_token(person_id=person_id, request_id=request_id, view_id=opened)

    def gui(self, person_id: str, request_id: str) -> None:
        """How other programs than psql connect."""
        found = self._acts.find_connection(person_id=person_id, request_id=request_id)
        self._open(_refused(found, request_id) if isinstance(found, Refusal) else gui_modal(connection=found))

    def first_time(self, person_id: str, request_id: str) -> None:
        """What has to be installed once."""
        found = self._acts.find_connection(person_id=person_id, request_id=request_id)
        self._open(_refused(found, request_id) if isinstance(found, Refusal) else first_time_modal(connection=found))

    def who_blocks(self, person_id: str, record: RequestRecord) -> None:
        """The query that shows who blocks whom, for who holds the access."""
        request = record.request
        found = self._acts.find_connection(person_id=person_id, request_id=request.request_id)
        refused = _refused(found, request.request_id) if isinstance(found, Refusal) else None
        self._open(refused or who_blocks_modal(request=request))

    def _open(self, view: View) -> str:
        with translated("this window"):
            return str(self._client.views_open(trigger_id=self._trigger_id, view=view)["view"]["id"])

    def _prefilled(self, person: Person, record: RequestRecord | None) -> Ask:
        if record is not None and record.request.person.person_id == person.person_id:
            asked = record.request
            return Ask(
                location=asked.location,
                level=asked.level,
                duration_seconds=asked.duration_seconds,
                reason=asked.reason,
                port=asked.port,
                profile=asked.profile,
            )
        last = self._acts.find_preferences(person)
        return Ask(
            location="",
            level=PermissionLevel(defaults.LEVEL),
            duration_seconds=None,
            reason="",
            port=last.port,
            profile=last.profile,
        )


def _refused(refusal: Refusal, request_id: str) -> View:
    return token_refused_modal(request_id=request_id, reason=refusal.reason)
