"""What callers of the API are answered: each field with what it means, and making it. None of them can hold a token."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from chalicelib.domain.api_bodies import About
from chalicelib.domain.endings import Outcome
from chalicelib.domain.explanations import Explanation
from chalicelib.domain.followings import Closing, Followed, FollowedState
from chalicelib.domain.grants import Grant
from chalicelib.domain.locations import LevelRule, Location, SessionDocument
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.policy import PolicyAnswer
from chalicelib.domain.receipts import KeptObject
from chalicelib.domain.session_documents import document_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whom the catalogue knows behind the signature of a call."""

    name: Annotated[str, About(text="the name in the catalogue")]
    is_machine: Annotated[bool, About(text="true for a pipeline, false for a person")]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedLevel:
    """A level that the caller may ask for."""

    is_automatic: Annotated[bool, About(text="true where nobody has to approve")]
    cap_seconds: Annotated[int, About(text="the longest access there is, extensions included")]
    explanation: Annotated[str, About(text="what asking now would come to, in a sentence")]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedLocation:
    """A database that the caller may ask for."""

    name: Annotated[str, About(text="the location's name")]
    environment: Annotated[str, About(text="which environment it is, such as prod")]
    region: Annotated[str, About(text="its AWS region")]
    database: Annotated[str, About(text="the name of the database")]
    port: Annotated[int, About(text="the usual local port")]
    levels: Annotated[Mapping[str, OfferedLevel], About(text="by their letters: r, w and o")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Locations:
    """Who calls, and what they may ask for."""

    caller: Annotated[Caller, About(text="who calls")]
    locations: Annotated[tuple[OfferedLocation, ...], About(text="only those with a level that the caller may ask for")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedRule:
    """Which rule applies to the caller, and what it comes to."""

    location: Annotated[str, About(text="the location's name")]
    level: Annotated[PermissionLevel, About(text="the level's letter")]
    outcome: Annotated[PolicyAnswer, About(text="what asking now for the usual time would come to")]
    rule: Annotated[str | None, About(text="the rule's place in the catalogue; null where none is for the caller")]
    sentence: Annotated[str, About(text="why, in a sentence")]
    approvers: Annotated[tuple[str, ...], About(text="the names of those who could approve it")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationAnswer:
    """One explanation."""

    explanation: Annotated[ExplainedRule, About(text="the rule")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How the holder reaches the database: the tunnel, and the login with a token that they sign themselves."""

    instance_id: Annotated[str, About(text="the bastion to name in ssm:StartSession")]
    document_name: Annotated[str, About(text="the Session document to name there")]
    document_parameters: Annotated[
        Mapping[str, tuple[str, ...]], About(text="its parameters; put the local port of your own into localPortNumber")
    ]
    host: Annotated[str, About(text="the database's endpoint: tokens are signed for it, and its certificate bears it")]
    port: Annotated[int, About(text="the database's port, likewise")]
    database: Annotated[str, About(text="the name of the database")]
    user: Annotated[str, About(text="the database user, who is the holder's alone")]
    region: Annotated[str, About(text="the AWS region of tunnel and token")]
    local_port: Annotated[int, About(text="the local port that was asked for, or the location's own")]
    stage: Annotated[str, About(text="the deployment's name")]
    certificate_bundle_url: Annotated[str, About(text="where the certificates of the database's authority are")]
    database_user_arn: Annotated[
        str | None, About(text="what rds-db:connect must be allowed on; null for access that an older release gave")
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptAnswer:
    """What was read back after the end."""

    read_at: Annotated[datetime, About(text="when the database was asked")]
    sessions_left: Annotated[int, About(text="the user's connections that were left: none, once it is proven")]
    can_log_in: Annotated[bool, About(text="whether the user could still log in")]
    is_dropped: Annotated[bool, About(text="whether the user is gone altogether")]
    memberships: Annotated[tuple[str, ...], About(text="the groups that the user was still in")]
    kept: Annotated[tuple[KeptObject, ...], About(text="what the user had made, and a powerless role has now")]
    unchecked: Annotated[tuple[str, ...], About(text="a sentence for each thing that could not be looked at")]
    tunnels_ended: Annotated[int, About(text="how many tunnels were ended with it")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request of the caller's."""

    request_id: Annotated[str, About(text="its id: R- and six characters")]
    location: Annotated[str, About(text="the location's name")]
    level: Annotated[PermissionLevel, About(text="the level, as approved where that is less than was asked")]
    duration_seconds: Annotated[int, About(text="for how long, likewise")]
    reason: Annotated[str, About(text="the reason that was given")]
    asked_at: Annotated[datetime, About(text="when it was asked")]
    extends: Annotated[str | None, About(text="the request whose access it prolongs; null for access of its own")]
    state: Annotated[FollowedState, About(text="waiting for people, preparing, ready, ending, or ended")]
    outcome: Annotated[Outcome | None, About(text="how it ended; null while it has not")]
    explanation: Annotated[str, About(text="the same in a sentence for people")]
    ends_at: Annotated[datetime | None, About(text="when the access ends, or ended; null before it is ready")]
    connection: Annotated[Connection | None, About(text="how to connect; null but in the state ready")]
    receipt: Annotated[ReceiptAnswer | None, About(text="the proof of the end, once there is one")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestAnswer:
    """One request."""

    request: Annotated[Request, About(text="the request")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledAnswer:
    """What an ask came to."""

    request: Annotated[Request, About(text="the request that stands")]
    standing: Annotated[
        str,
        About(
            text="whether it was asked, asked_already by another ask, or is held", pattern="asked|held|asked_already"
        ),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """The caller's own requests."""

    requests: Annotated[
        tuple[Request, ...], About(text="newest first: those that have not ended, and the last 20 that have")
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no other answer."""

    code: Annotated[str, About(text="one word for programs")]
    message: Annotated[str, About(text="a sentence for people, with the next step")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureAnswer:
    """One failure."""

    error: Annotated[Failure, About(text="the failure")]


def offered_locations(
    caller: Person,
    offers: Iterable[tuple[Location, Mapping[PermissionLevel, LevelRule], Mapping[PermissionLevel, str]]],
) -> Locations:
    """From each location with the caller's rules there, and a sentence for each level."""
    return Locations(
        caller=Caller(name=caller.name, is_machine=caller.is_machine),
        locations=tuple(
            OfferedLocation(
                name=location.name,
                environment=location.environment,
                region=location.region,
                database=location.database,
                port=location.port,
                levels={
                    level.value: OfferedLevel(
                        is_automatic=rules[level].automatic,
                        cap_seconds=rules[level].cap_seconds,
                        explanation=sentence,
                    )
                    for level, sentence in sentences.items()
                },
            )
            for location, rules, sentences in offers
        ),
    )


def explained(explanation: Explanation, caller: Person) -> ExplanationAnswer:
    """The rule, where there is one, by its place in the catalogue."""
    location, level = explanation.location.name, explanation.level
    table = f"machines.{caller.name}" if caller.is_machine else "levels"
    return ExplanationAnswer(
        explanation=ExplainedRule(
            location=location,
            level=level,
            outcome=explanation.outcome.answer,
            rule=f"locations.{location}.{table}.{level}" if explanation.rule is not None else None,
            sentence=explanation.outcome.reason,
            approvers=tuple(sorted(person.name for person in explanation.outcome.approvers)),
        )
    )


def request_answer(followed: Followed, connection: Connection | None = None) -> Request:
    """A request as its own requester sees it. ``connection`` is for the state ready alone."""
    approved = followed.record.approved
    return Request(
        request_id=approved.request_id,
        location=approved.location,
        level=approved.level,
        duration_seconds=approved.duration_seconds,
        reason=approved.reason,
        asked_at=approved.asked_at,
        extends=approved.extends,
        state=followed.state,
        outcome=followed.record.outcome,
        explanation=followed.explanation,
        ends_at=followed.ends_at,
        connection=connection if followed.state is FollowedState.READY else None,
        receipt=_receipt(followed.closing),
    )


def connection_answer(grant: Grant, *, stage: str, bundle_url: str, user_arn: str | None) -> Connection | None:
    """The delivered connection, in the parts that a program needs; None before the delivery."""
    facts, writer = grant.facts, grant.writer
    if grant.instance_id is None or writer is None:
        return None
    parameters = {"localPortNumber": (str(facts.port),)}
    if facts.document is SessionDocument.AWS:
        parameters |= {"host": (writer.host,), "portNumber": (str(writer.port),)}
    return Connection(
        instance_id=grant.instance_id,
        document_name=document_name(stage=stage, location=facts.location, document=facts.document),
        document_parameters=parameters,
        host=writer.host,
        port=writer.port,
        database=facts.database,
        user=facts.role,
        region=facts.region,
        local_port=facts.port,
        stage=stage,
        certificate_bundle_url=bundle_url,
        database_user_arn=user_arn,
    )


def _receipt(closing: Closing) -> ReceiptAnswer | None:
    receipt = closing.receipt
    if receipt is None:
        return None
    return ReceiptAnswer(
        read_at=receipt.read_at,
        sessions_left=receipt.sessions,
        can_log_in=receipt.can_log_in,
        is_dropped=receipt.is_dropped,
        memberships=receipt.memberships,
        kept=receipt.kept,
        unchecked=receipt.unchecked,
        tunnels_ended=closing.tunnels_ended,
    )
