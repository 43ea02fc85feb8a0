"""What the Slack listeners may have done for a person. They parse and phrase; whoever implements this decides and records."""

from collections.abc import Sequence
from typing import Protocol

from chalicelib.domain.connections import ConnectionDetails
from chalicelib.domain.costs import CostReport
from chalicelib.domain.decisions import DecisionRecord, Refusal, Terms
from chalicelib.domain.explanations import Explanation
from chalicelib.domain.filings import AlreadyAsked, AlreadyHeld, Asked
from chalicelib.domain.locations import Location
from chalicelib.domain.overviews import EndedRequest, Overview
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.preferences import Preferences
from chalicelib.domain.records import RequestRecord
from chalicelib.domain.requests import Ask
from chalicelib.domain.reviews import ReviewRecord


class Acts(Protocol):
    """Every method may raise an AccessError, whose text is fit for the person."""

    @property
    def team(self) -> str:
        """The one Slack team that is served."""

    def find_person(self, slack: str) -> Person | None:
        """The listed person behind a Slack user of our team."""

    # Acts: they record and wake.

    def file_request(
        self, *, person: Person | None, ask: Ask, origin_id: str
    ) -> Asked | AlreadyHeld | AlreadyAsked | Refusal: ...

    def record_decision(
        self, *, person: Person | None, request_id: str, approves: bool, terms: Terms | None = None, reason: str = ""
    ) -> DecisionRecord | Refusal: ...

    def cancel_request(self, *, person: Person | None, request_id: str) -> Refusal | None: ...

    def ask_end(self, *, person: Person | None, request_id: str) -> Refusal | None: ...

    def ask_extension(
        self, *, person: Person | None, request_id: str, seconds: int, origin_id: str
    ) -> Asked | AlreadyAsked | Refusal: ...

    def record_review(
        self, *, person: Person | None, request_id: str, is_justified: bool, note: str
    ) -> ReviewRecord | Refusal: ...

    def issue_token(self, *, person_id: str, request_id: str, view_id: str) -> None: ...

    def forget_preferences(self, person: Person) -> None: ...

    def show_progress(self, record: DecisionRecord) -> None:
        """Bring the approval card up to date while it waits for further people."""

    def show_review(self, review: ReviewRecord) -> None:
        """Bring the review card up to date."""

    def refresh_home(self, person: Person) -> None:
        """Publish the person's Home."""

    # Views: they read.

    def find_location(self, name: str) -> Location | None: ...

    def find_request(self, request_id: str) -> RequestRecord | None: ...

    def find_connection(self, *, person_id: str, request_id: str) -> ConnectionDetails | Refusal: ...

    def find_preferences(self, person: Person) -> Preferences: ...

    def read_overview(self, person: Person) -> Overview: ...

    def read_history(self, person: Person) -> Sequence[EndedRequest]: ...

    def read_cost(self) -> CostReport: ...

    def explain_level(self, *, person: Person, location: str, level: PermissionLevel) -> Explanation: ...
