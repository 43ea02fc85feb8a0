"""What the Slack listeners may have done for a person. They parse and phrase; whoever implements this decides and records."""

from collections.abc import Collection
from typing import Protocol

from chalicelib.domain.connections import ConnectionDetails
from chalicelib.domain.decisions import DecisionRecord, Refusal
from chalicelib.domain.filings import AlreadyAsked, AlreadyHeld, Asked
from chalicelib.domain.people import Person


class Acts(Protocol):
    """Every method may raise an AccessError, whose text is fit for the person."""

    @property
    def team(self) -> str:
        """The one Slack team that is served."""

    @property
    def locations(self) -> Collection[str]:
        """The names of all locations."""

    def find_person(self, slack: str) -> Person | None:
        """The listed person behind a Slack user of our team."""

    def file_request(
        self, *, person: Person | None, text: str, origin_id: str
    ) -> Asked | AlreadyHeld | AlreadyAsked | Refusal: ...

    def record_decision(
        self, *, person: Person | None, request_id: str, approves: bool
    ) -> DecisionRecord | Refusal: ...

    def show_progress(self, record: DecisionRecord) -> None:
        """Bring the approval card up to date while it waits for further people."""

    def ask_end(self, *, person: Person | None, request_id: str) -> Refusal | None: ...

    def find_connection(self, *, person_id: str, request_id: str) -> ConnectionDetails | Refusal: ...

    def issue_token(self, *, person_id: str, request_id: str, view_id: str) -> None: ...
