"""What the workflow needs from the world, as protocols. Adapters match them by shape and never import this file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # every function loads this file, and only few of them all of these
    from chalicelib.domain.audit import AuditEvent
    from chalicelib.domain.bastions import Bastion, InstanceStatus, Launch, ListedInstance
    from chalicelib.domain.cards import CardReference
    from chalicelib.domain.connections import ConnectionDetails
    from chalicelib.domain.decisions import DecisionRecord
    from chalicelib.domain.endings import Ending
    from chalicelib.domain.executions import Progress, TaskToken
    from chalicelib.domain.grants import Grant
    from chalicelib.domain.instances import DatabaseInstances, Endpoint
    from chalicelib.domain.locations import DatabaseKind
    from chalicelib.domain.orders import ProvisioningOrder, RevocationOrder
    from chalicelib.domain.overviews import EndedRequest, Overview
    from chalicelib.domain.people import Person
    from chalicelib.domain.policy import PolicyOutcome
    from chalicelib.domain.preferences import Preferences
    from chalicelib.domain.receipts import Receipt, Strangers
    from chalicelib.domain.records import CardName, FiledRequest, RequestRecord
    from chalicelib.domain.requests import AccessRequest, Origin
    from chalicelib.domain.reviews import ReviewRecord
    from chalicelib.domain.tunnels import Tunnel


Clock = Callable[[], datetime]
"""Now, in UTC."""


class RequestLedger(Protocol):
    """Requests and what was decided on them. Every method raises LedgerUnavailableError when the table does not answer."""

    def file_request(
        self, request: AccessRequest, *, origin: Origin = ..., origin_id: str, open_limit: int
    ) -> FiledRequest:
        """Record a request once. A repeat of the same origin returns the first; a clash of open requests says which."""

    def find_request(self, request_id: str) -> RequestRecord | None: ...

    def find_requests(self, request_ids: Sequence[str]) -> Sequence[RequestRecord]:
        """Those that there are, in the order of their ids. Not a snapshot: each request is read for itself."""

    def require_request(self, request_id: str) -> RequestRecord:
        """The request with everything recorded under it. Raises UnknownRequestError."""

    def open_decision(self, record: DecisionRecord, *, task_token: TaskToken) -> DecisionRecord:
        """Start the deciding, or find it started; either way the task token is kept, unless that of a later
        turn is known. Returns what stands.
        """

    def replace_decision(self, record: DecisionRecord) -> bool:
        """Write a record whose version is one above the one that stands; False when somebody else was faster."""

    def keep_card(self, request_id: str, card: CardName, reference: CardReference) -> None:
        """Remember where a card of the request stands."""

    def keep_hold_token(self, request_id: str, task_token: TaskToken) -> None:
        """Remember the token that the hold waits for, unless that of a later turn is known."""

    def keep_told(
        self,
        request_id: str,
        *,
        end: datetime | None = None,
        warned: datetime | None = None,
        instance_id: str | None = None,
    ) -> None:
        """Remember which end the holder was told, or warned of, and through which instance they were told to go."""

    def keep_tell_try(self, request_id: str, *, at: datetime | None) -> None:
        """Remember since when it is tried to tell the holder something; None once it is told."""

    def open_review(self, review: ReviewRecord) -> ReviewRecord:
        """Start a review, or find it started. Returns what stands."""

    def replace_review(self, review: ReviewRecord) -> bool:
        """Write a review whose version is one above the one that stands; False when somebody else was faster."""

    def keep_reviewed(self, request_id: str) -> None:
        """Note that the closing of a review was noticed: nobody needs to look after it any more."""

    def keep_review_token(self, request_id: str, task_token: TaskToken) -> None:
        """Remember the token that waits for the review, unless that of a later turn is known."""

    def ask_end(self, request_id: str, *, at: datetime) -> str | None:
        """Record that the holder wants the grant to end; the first asking stands. Returns the hold's token, if there is one."""

    def close_request(self, ended: EndedRequest) -> None:
        """Record the end of a request, once, and free the person's place among the open ones."""

    def keep_reported(self, request_id: str) -> None:
        """Remember that people were told the end; nobody needs to look after the request any more."""

    def unreported_requests(self) -> Sequence[str]:
        """Everybody's requests whose end was not told yet, the oldest first. Read from an index, so a moment old."""

    def open_request_ids(self, person_id: str) -> Sequence[str]:
        """The person's own requests that have not ended."""

    def requests_to_decide(self) -> Sequence[str]:
        """Everybody's requests that wait for a decision, soonest end first."""

    def requests_to_review(self) -> Sequence[str]:
        """Everybody's requests whose breaking of the glass waits for a review, or whose review was closed and not noticed yet."""

    def ended_requests(self, person_id: str, *, most: int) -> Sequence[EndedRequest]:
        """The person's last ended requests, newest first."""

    def ended_in(self, month: str) -> Sequence[EndedRequest]:
        """Everybody's requests that ended in a month, such as 2026-11 (UTC)."""

    def find_preferences(self, person_id: str) -> Preferences:
        """What the person gave last."""

    def keep_preferences(self, person_id: str, preferences: Preferences) -> None: ...


class GrantLedger(Protocol):
    """Grants. Conditional writes only; raises LedgerUnavailableError."""

    def create_grant(self, grant: Grant) -> Grant:
        """Write a new grant, or find the one of the same request. Raises GrantEndingError while an earlier one is ending.

        Returns the grant that stands: another request's when that one is live.
        """

    def find_grant(self, key: str) -> Grant | None: ...

    def replace_grant(self, seen: Grant, grant: Grant) -> bool:
        """Write ``grant`` if what stands is still ``seen`` (same request, state, end, order and instance); False otherwise."""

    def open_grants(self) -> Sequence[Grant]:
        """Every grant that is not gone, of everybody."""


class BastionLedger(Protocol):
    """Bastions and the leases on them. Conditional writes only; raises LedgerUnavailableError."""

    def find_bastion(self, name: str) -> Bastion: ...

    def find_bastions(self, names: Sequence[str]) -> Sequence[Bastion]:
        """Those of which the ledger knows, in the order of the names. Not a snapshot: each is read for itself."""

    def take_lease(self, name: str, request_id: str, *, until: datetime) -> bool:
        """One write; False while the bastion is going down, or full of others' leases. Renewing is taking again, and
        never shortens.
        """

    def release_lease(self, name: str, request_id: str, *, at: datetime) -> None: ...

    def expire_lease(self, name: str, request_id: str, *, seen: datetime) -> None:
        """Remove a lease if its end is still the one that was seen."""

    def mark_idle(self, name: str, *, at: datetime) -> None:
        """Note since when nobody holds a lease, unless somebody does or it is noted already."""

    def replace_bastion(self, seen: Bastion, bastion: Bastion, *, only_if_unleased: bool) -> bool:
        """Write everything but leases and idleness if state, generation, instance and last stop are as seen; False otherwise."""


class BastionHost(Protocol):
    """The instances themselves."""

    def status(self, instance_id: str) -> InstanceStatus: ...

    def list_instances(self, stage: str) -> Sequence[ListedInstance]:
        """Every instance that is tagged as the stage's, in whatever state. A moment old."""

    def find_online(self, instance_ids: Collection[str]) -> Collection[str]:
        """Those of the instances whose agents have been heard of in the last minutes."""

    def launch(self, launch: Launch) -> str:
        """Launch once per bastion and generation; returns the instance id. Raises BastionCapacityError."""

    def start(self, instance_id: str) -> None: ...

    def reboot(self, instance_id: str) -> None: ...

    def stop(self, instance_id: str) -> None: ...

    def terminate(self, instance_id: str) -> None: ...


class Tunnels(Protocol):
    """SSM sessions."""

    def open_tunnels(self, instance_id: str) -> Sequence[Tunnel]: ...

    def all_open_tunnels(self) -> Sequence[Tunnel]:
        """Those on every instance, ours or not."""

    def end_tunnel(self, session_id: str) -> None: ...


class DatabaseDirectory(Protocol):
    """Which instances a location has at the moment."""

    def find_instances(self, *, kind: DatabaseKind, identifier: str, region: str) -> DatabaseInstances:
        """Raises DatabaseNotFoundError."""


class AuthTokens(Protocol):
    """Database tokens, signed locally."""

    def sign(self, endpoint: Endpoint, user: str, region: str) -> str: ...


class Executions(Protocol):
    """The workflow engine."""

    def start(self, name: str, document: Mapping[str, Any]) -> None:
        """Start an execution once; one of that name already there is success."""

    def wake(self, task_token: str) -> None:
        """Answer a waiting state. The answer carries no facts; a token that waits no more is success."""

    def running(self) -> Collection[str]:
        """The names of all executions under way. A moment old: one that has just begun may be missing."""

    def find_progress(self, name: str) -> Progress: ...


class Notifier(Protocol):
    """People, told. Raises SlackUnavailableError. An update of a card that is gone is no error.

    A machine has nobody to be told: where its requester or holder would be, nothing is posted, and there is no card.
    """

    def ask_approvers(self, request: AccessRequest, policy: PolicyOutcome, closes_at: datetime) -> CardReference:
        """Post the approval card."""

    def remind_approvers(self, card: CardReference, request: AccessRequest, record: DecisionRecord) -> None:
        """Ask those who have not answered once more, beside the approval card."""

    def show_decision(self, card: CardReference, request: AccessRequest, record: DecisionRecord) -> None:
        """Bring the approval card up to date."""

    def follow_request(
        self, request: AccessRequest, policy: PolicyOutcome, closes_at: datetime
    ) -> CardReference | None:
        """Tell the requester in a direct message that it waits, with a way to cancel it."""

    def announce_preparation(self, record: RequestRecord, *, may_sleep: bool) -> None:
        """Say on the cards that stand that the access is being prepared, and whether a sleeping database is woken."""

    def announce_delivery(self, record: RequestRecord, grant: Grant) -> None:
        """Say on the cards that stand that the access is live, and until when."""

    def deliver(self, request: AccessRequest, grant: Grant, connection: ConnectionDetails) -> CardReference | None:
        """Post the ready message."""

    def show_end(self, record: RequestRecord, grant: Grant, connection: ConnectionDetails) -> None:
        """Bring the ready message up to date after the end has moved or the bastion was replaced, and tell the holder which."""

    def warn_of_end(self, request: AccessRequest, grant: Grant) -> CardReference | None:
        """Tell the holder that the access ends soon, with a way to extend it."""

    def ask_review(self, request: AccessRequest, review: ReviewRecord, approvers: frozenset[Person]) -> CardReference:
        """Tell every approver that access was taken by breaking the glass, and ask for the review."""

    def remind_review(self, card: CardReference, request: AccessRequest, review: ReviewRecord) -> None: ...

    def show_review(self, card: CardReference, request: AccessRequest, review: ReviewRecord) -> None: ...

    def report(self, ending: Ending) -> None:
        """Bring every card of the request to its end, and tell the requester how it ended."""


class Homes(Protocol):
    """People's Home tabs. Raises SlackUnavailableError."""

    def publish(self, person: Person, overview: Overview) -> None: ...


class Groups(Protocol):
    """Slack's user groups. Raises SlackUnavailableError."""

    def find_membership(self, person_id: str, groups: Collection[str]) -> str:
        """The first of the groups that the person belongs to; empty when it is none."""


class Members(Protocol):
    """The workspace's own word on its members. Raises SlackUnavailableError."""

    def find_objection(self, person_id: str) -> str | None:
        """Why somebody is no full member of our workspace, as in "is deactivated"; None when they are."""


class TokenView(Protocol):
    """The modal in which a person waits for a token. Raises SlackUnavailableError."""

    def show_local_token(self, view_id: str, connection: ConnectionDetails) -> None:
        """Show how the person makes the token on their own machine."""

    def show_token(self, view_id: str, token: str, connection: ConnectionDetails, *, expires_at: datetime) -> None: ...

    def show_refusal(self, view_id: str, request_id: str, reason: str) -> None: ...


class DatabaseAdmin(Protocol):
    """The control plane's own login in a location's database."""

    def provision(self, order: ProvisioningOrder) -> Strangers:
        """Make the user, or find it made; whom no grant explains is put out.

        Raises DatabaseUnavailable-, DatabaseSetup- and OrderExpiredError.
        """

    def try_login(self, order: ProvisioningOrder) -> None:
        """Log in as the person once. Raises LoginRefusedError."""

    def revoke(self, order: RevocationOrder) -> Receipt:
        """Take the user away and read back what is left. Raises DatabaseUnavailable- and RevocationIncompleteError."""


class AuditTrail(Protocol):
    """What happened, chained per request, or per bastion or person where there is no request."""

    def append(self, trail: str, event: AuditEvent, facts: Mapping[str, Any], *, at: datetime) -> None:
        """Write an entry, once however often the same happening is told. Raises LedgerUnavailableError."""


class AuditFacts(Protocol):
    """What was written down of a request, for who may read it."""

    def newest_facts(self, trail: str) -> Mapping[AuditEvent, Mapping[str, Any]]:
        """The facts of the newest entry of each event, among the newest entries. Raises LedgerUnavailableError."""
