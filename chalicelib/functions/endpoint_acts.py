"""What the endpoint has done for whoever asks, in Slack or by the API: one verb of the workflow each, and refusals audited."""

from typing import TypeVar

from chalicelib.domain.decisions import Refusal
from chalicelib.domain.explanations import Explanation
from chalicelib.domain.filings import AlreadyAsked, AlreadyHeld, Asked
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.requests import Ask, Origin
from chalicelib.functions import endpoint_collaborators as aws
from chalicelib.functions.clock import now
from chalicelib.functions.packed_catalogue import packed_catalogue
from chalicelib.observability import logger
from chalicelib.settings import current_settings
from chalicelib.workflow import ask_end as ask_end_verb
from chalicelib.workflow import ask_extension as ask_extension_verb
from chalicelib.workflow import audit_refusal as audit_refusal_verb
from chalicelib.workflow import cancel_request as cancel_request_verb
from chalicelib.workflow import explain_level as explain_level_verb
from chalicelib.workflow import file_request as file_request_verb

_Answer = TypeVar("_Answer")


def audited(answer: _Answer, act: str, person: Person | None, request_id: str) -> _Answer:
    """The answer to an act on a request; one that is a refusal is written down."""
    logger.info("act", extra={"act": act, "request_id": request_id, "is_refused": isinstance(answer, Refusal)})
    if isinstance(answer, Refusal):
        audit_refusal_verb.audit_refusal(
            answer, act=act, person=person, request_id=request_id, audit=aws.audit(), now=now()
        )
    return answer


class EndpointActs:
    """The acts and views that do not depend on how somebody asks. ``origin`` says how."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def file_request(
        self, *, person: Person | None, ask: Ask, origin_id: str
    ) -> Asked | AlreadyHeld | AlreadyAsked | Refusal:
        """Raises UnknownLocationError."""
        answer = file_request_verb.file_request(
            person=person,
            ask=ask,
            origin=self._origin,
            origin_id=origin_id,
            catalogue=packed_catalogue(),
            durations=current_settings().durations,
            requests=aws.requests(),
            grants=aws.grants(),
            executions=aws.executions(),
            now=now(),
        )
        filed = answer.request.request_id if isinstance(answer, Asked) else ""
        logger.info("act", extra={"act": "ask", "request_id": filed, "is_refused": isinstance(answer, Refusal)})
        if isinstance(answer, Refusal):
            audit_refusal_verb.audit_refused_ask(
                answer,
                ask=ask,
                person=person,
                origin=self._origin,
                origin_id=origin_id,
                audit=aws.audit(),
                now=now(),
            )
        return answer

    def cancel_request(self, *, person: Person | None, request_id: str) -> Refusal | None:
        """Raises UnknownRequestError."""
        answer = cancel_request_verb.cancel_request(
            request_id=request_id, person=person, requests=aws.requests(), executions=aws.executions(), clock=now
        )
        return audited(answer, "cancel", person, request_id)

    def ask_end(self, *, person: Person | None, request_id: str) -> Refusal | None:
        """Raises UnknownRequestError."""
        answer = ask_end_verb.ask_end(
            request_id=request_id, person=person, requests=aws.requests(), executions=aws.executions(), clock=now
        )
        return audited(answer, "end", person, request_id)

    def ask_extension(
        self, *, person: Person | None, request_id: str, seconds: int, origin_id: str
    ) -> Asked | AlreadyAsked | Refusal:
        """Raises UnknownRequestError and UnknownLocationError."""
        answer = ask_extension_verb.ask_extension(
            request_id=request_id,
            seconds=seconds,
            person=person,
            origin=self._origin,
            origin_id=origin_id,
            catalogue=packed_catalogue(),
            durations=current_settings().durations,
            requests=aws.requests(),
            grants=aws.grants(),
            executions=aws.executions(),
            now=now(),
        )
        return audited(answer, "extend", person, request_id)

    def explain_level(self, *, person: Person, location: str, level: PermissionLevel) -> Explanation:
        """Raises UnknownLocationError."""
        return explain_level_verb.explain_level(
            person=person,
            location=location,
            level=level,
            catalogue=packed_catalogue(),
            durations=current_settings().durations,
            now=now(),
        )
