"""What answers the API's routes: the calls of the terminal client and of pipelines, by the same verbs as Slack's.

API Gateway has verified the caller's signature; whom the catalogue knows behind it is asked here. No route makes a token.
"""

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from chalice import Response

from chalicelib.domain import api_answers as answers
from chalicelib.domain.api_bodies import AskBody, BodyError, ExtensionBody, read_body, read_level
from chalicelib.domain.decisions import Refusal
from chalicelib.domain.errors import AccessError, UnknownLocationError
from chalicelib.domain.filings import AlreadyAsked, AlreadyHeld, Asked
from chalicelib.domain.followings import Followed, FollowedState, user_arn
from chalicelib.domain.payloads import PayloadError, to_payload
from chalicelib.domain.people import Person
from chalicelib.domain.requests import REQUEST_ID, Origin
from chalicelib.functions import endpoint_collaborators as aws
from chalicelib.functions.clock import now
from chalicelib.functions.endpoint_acts import EndpointActs, audited
from chalicelib.functions.packed_catalogue import packed_catalogue
from chalicelib.observability import logger, redacted
from chalicelib.settings import current_settings
from chalicelib.workflow.follow_requests import follow_request, follow_requests

_ACTS = EndpointActs(Origin.API)


class _FailedError(Exception):
    """The call ends here, with this answer."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


def _answering(view: Callable[..., Response]) -> Callable[..., Response]:
    """Whatever happens is answered in the one shape."""

    def answer(request: Any, **parameters: str) -> Response:
        logger.append_keys(request_id=parameters.get("request_id", "")[:16], function="api")
        try:
            answered = view(_require_caller(request), request, **parameters)
        except _FailedError as failed:
            answered = _failure(failed.status, failed.code, str(failed))
        except BodyError as error:
            answered = _failure(HTTPStatus.BAD_REQUEST, "bad_request", str(error))
        except UnknownLocationError as error:
            answered = _failure(HTTPStatus.NOT_FOUND, "not_found", str(error))
        except (AccessError, PayloadError) as error:
            logger.error("not answered", extra={"error": redacted(str(error))})
            answered = _failure(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "unavailable",
                "Drawbridge cannot answer at the moment. Try again; the same origin_id asks for nothing twice.",
            )
        logger.info("answered", extra={"status": int(answered.status_code), "route": view.__name__})
        return answered

    return answer


@_answering
def list_locations(caller: Person, _: Any) -> Response:
    """What the caller may ask for."""
    offers = []
    for location in packed_catalogue().locations.values():
        rules = {level: rule for level, rule in location.find_rules(caller).items() if rule.admits(caller.name)}
        if rules:
            sentences = {
                level: _ACTS.explain_level(person=caller, location=location.name, level=level).outcome.reason
                for level in rules
            }
            offers.append((location, rules, sentences))
    return _answered(answers.offered_locations(caller, offers))


@_answering
def explain_location(caller: Person, request: Any, location: str) -> Response:
    """Which rule applies to the caller, and what it comes to."""
    level = read_level((request.query_params or {}).get("level"))
    return _answered(answers.explained(_ACTS.explain_level(person=caller, location=location, level=level), caller))


@_answering
def list_requests(caller: Person, _: Any) -> Response:
    """The caller's own."""
    followed = follow_requests(
        person=caller, requests=aws.requests(), grants=aws.grants(), audit=aws.audit(), now=now()
    )
    return _answered(answers.Requests(requests=tuple(_shown(each) for each in followed)))


@_answering
def ask_access(caller: Person, request: Any) -> Response:
    """Ask for access. Whoever repeats an ask by its origin_id is told the same request again."""
    body = read_body(AskBody, request.raw_body)
    filed = _ACTS.file_request(person=caller, ask=body.ask, origin_id=_once_only(caller, body.origin_id))
    match filed:
        case Refusal():
            raise _FailedError(HTTPStatus.FORBIDDEN, "refused", filed.reason)
        case Asked():
            return _filed(caller, filed.request.request_id, "asked", HTTPStatus.CREATED)
        case AlreadyHeld():
            return _filed(caller, filed.grant.facts.request_id, "held", HTTPStatus.OK)
        case AlreadyAsked(is_same_ask=True):
            return _filed(caller, filed.request_ids[0], "asked_already", HTTPStatus.OK)
        case AlreadyAsked():
            raise _too_many(filed)


@_answering
def show_request(caller: Person, _: Any, request_id: str) -> Response:
    """Where one of the caller's requests stands."""
    return _answered(answers.RequestAnswer(request=_shown(_require_own(caller, request_id))))


@_answering
def ask_extension(caller: Person, request: Any, request_id: str) -> Response:
    """Ask for a later end of what the caller holds; it is a request of its own."""
    body = read_body(ExtensionBody, request.raw_body)
    _require_own(caller, request_id, act="extend")
    filed = _ACTS.ask_extension(
        person=caller,
        request_id=request_id,
        seconds=body.duration_seconds,
        origin_id=_once_only(caller, body.origin_id),
    )
    if isinstance(filed, Refusal):
        raise _FailedError(HTTPStatus.FORBIDDEN, "refused", filed.reason)
    if isinstance(filed, Asked):
        extension, status = filed.request.request_id, HTTPStatus.CREATED
    elif filed.is_same_ask:
        extension, status = filed.request_ids[0], HTTPStatus.OK
    else:
        raise _too_many(filed)
    return _answered(answers.RequestAnswer(request=_shown(_require_own(caller, extension))), status)


@_answering
def end_request(caller: Person, _: Any, request_id: str) -> Response:
    """Cancel what waits, end what is held; what is over stays so."""
    followed = _require_own(caller, request_id, act="end")
    if followed.record.outcome is None:
        _ACTS.cancel_request(person=caller, request_id=request_id)
        followed = _require_own(caller, request_id)
    return _answered(answers.RequestAnswer(request=_shown(followed)), HTTPStatus.ACCEPTED)


def _require_caller(request: Any) -> Person:
    arn = str((request.context.get("identity") or {}).get("userArn") or "")
    caller = packed_catalogue().find_caller(arn) if arn else None
    if caller is None:
        # Nobody's trail could hold this: anybody in the account could fill it.
        logger.info("act", extra={"act": "call", "is_refused": True})
        raise _FailedError(
            HTTPStatus.FORBIDDEN,
            "unknown_caller",
            f"Drawbridge's catalogue knows nobody behind {arn[:200] or 'this call'}. Ask the people who keep it to add this to"
            " 'aws' of your entry under [people], or, for a pipeline, its role under [machines]. People are known by roles of"
            " Identity Center, or by one that [api] fixed_session_names lists.",
        )
    return caller


def _require_own(caller: Person, request_id: str, *, act: str = "") -> Followed:
    """The caller's own request. The attempt at an act on another's is written down; the answer is that there is none."""
    is_id = REQUEST_ID.fullmatch(request_id) is not None
    followed = (
        follow_request(
            request_id=request_id,
            person=caller,
            requests=aws.requests(),
            grants=aws.grants(),
            audit=aws.audit(),
            now=now(),
        )
        if is_id
        else None
    )
    if followed is not None:
        return followed
    if act and is_id and aws.requests().find_request(request_id) is not None:
        audited(Refusal(reason=f"{request_id} is not theirs to {act}."), act, caller, request_id)
    raise _FailedError(
        HTTPStatus.NOT_FOUND,
        "not_found",
        "None of your requests has this id. GET /v1/requests lists those that there are.",
    )


def _shown(followed: Followed) -> answers.Request:
    settings, grant = current_settings(), followed.grant
    if grant is None or followed.state is not FollowedState.READY:
        return answers.request_answer(followed)
    connection = answers.connection_answer(
        grant,
        stage=settings.stage,
        bundle_url=settings.certificate_bundle_url,
        user_arn=user_arn(grant, settings.state_machine),
    )
    return answers.request_answer(followed, connection)


def _filed(caller: Person, request_id: str, standing: str, status: HTTPStatus) -> Response:
    return _answered(answers.FiledAnswer(request=_shown(_require_own(caller, request_id)), standing=standing), status)


def _too_many(filed: AlreadyAsked) -> _FailedError:
    return _FailedError(
        HTTPStatus.CONFLICT,
        "too_many",
        f"Too many of your requests are open: {', '.join(filed.request_ids)}. End one of them, then ask again.",
    )


def _once_only(caller: Person, origin_id: str) -> str:
    """Nobody can meet another's ask by its origin."""
    return f"{caller.person_id}/{origin_id}"


def _answered(answer: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(
        body=json.dumps(to_payload(answer), ensure_ascii=False),
        status_code=status,
        headers={"Content-Type": "application/json", "Cache-Control": "no-store"},
    )


def _failure(status: HTTPStatus, code: str, message: str) -> Response:
    return _answered(answers.FailureAnswer(error=answers.Failure(code=code, message=message)), status)
