"""The messages that stand in Slack: the approval card, the ready message and the ended message. Pure: values in, JSON out."""

from collections.abc import Collection, Iterator

from chalicelib.domain.connections import (
    ConnectionDetails,
    local_token_command,
    psql_command,
    tunnel_command,
    tunnel_is_open_line,
)
from chalicelib.domain.decisions import DecisionRecord, Verdict
from chalicelib.domain.durations import describe_duration
from chalicelib.domain.endings import Ending, Outcome
from chalicelib.domain.grants import Grant
from chalicelib.domain.locations import TokenSource
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.receipts import ClosedTunnels, Receipt
from chalicelib.domain.requests import AccessRequest, describe_request
from chalicelib.slack.blocks import (
    Block,
    Message,
    actions,
    bold,
    bullets,
    button,
    code,
    confirmation,
    context,
    day_and_time_of,
    escape,
    fields,
    header,
    literal,
    mention,
    preformatted,
    quote,
    section,
    some_of,
    time_of,
)

APPROVE = "approve"
DENY = "deny"
SHOW_TOKEN = "show_token"  # noqa: S105  # the name of a button
FIRST_TIME = "first_time"
END = "end"

_LISTED = 10
_NOT_YET_TAKEN_AWAY = "could not be taken away yet; it is tried again until it is"


def approval_card(
    *, request: AccessRequest, environment: str | None, approvers: Collection[Person], record: DecisionRecord
) -> Message:
    """Who asks for what, to the people who may decide it, with what has been decided so far.

    ``approvers`` are those by the current catalogue; ``environment`` is None when it has lost the location.
    """
    progress = [section(_progress(record))] if record.decisions else []
    small_print = [
        request.request_id,
        f"times out at {time_of(record.closes_at)}",
        f"approvals needed: {record.needed}",
    ]
    if approvers:
        people = sorted(approvers, key=lambda person: person.name)
        small_print.append(f"approvers: {some_of((mention(person.slack) for person in people), separator=' ')}")
    return Message(
        text=f"{_asks(request)}. {request.request_id} waits for an answer.",
        blocks=[
            *_asked(request, environment),
            *progress,
            actions(
                button(
                    "Approve Access",
                    action_id=APPROVE,
                    value=request.request_id,
                    primary=True,
                    confirm=_confirm_approval(request),
                ),
                button("Deny", action_id=DENY, value=request.request_id),
                block_id=f"decide:{request.request_id}:{record.version}",
            ),
            context(*small_print),
        ],
    )


def decided_card(*, request: AccessRequest, environment: str | None, record: DecisionRecord) -> Message:
    """The approval card once its record is closed: the verdict in place of the buttons."""
    return Message(
        text=f"{_asks(request)}. {request.request_id}: {_verdict(record)}",
        blocks=[*_asked(request, environment), section(_verdict(record)), context(*_filed(request, record))],
    )


def closed_card(*, ending: Ending, environment: str | None) -> Message:
    """The approval card once the request has ended: the verdict, and what became of the access."""
    request = ending.request
    said = [_verdict(ending.decisions)] if ending.decisions is not None else []
    explained: list[Block] = []
    if not _is_said_by_verdict(ending):
        said.append(_fate(ending))
        explained = _explained(ending)
    return Message(
        text=f"{_asks(request)}. {request.request_id}: {' '.join(said)}",
        blocks=[
            *_asked(request, environment),
            *map(section, said),
            *explained,
            context(*_filed(request, ending.decisions)),
        ],
    )


def ready_card(*, request: AccessRequest, grant: Grant, connection: ConnectionDetails) -> Message:
    """How the holder reaches the database, as numbered steps. Holds no token."""
    request_id = request.request_id
    is_token_local = connection.facts.token is TokenSource.LOCAL
    show_token = button("Show Token", action_id=SHOW_TOKEN, value=request_id, primary=True)
    return Message(
        text=f"Your database access is ready: {_access(request)} until {time_of(grant.ends_at)}. {request_id}",
        blocks=[
            header("Your database access is ready"),
            section(f"{_access(request)} until {time_of(grant.ends_at)}."),
            section("*1. Open the tunnel* and keep this terminal open:"),
            preformatted(tunnel_command(connection)),
            section(f"You should see {code(tunnel_is_open_line(connection))}"),
            *(_connect_with_local_token(connection) if is_token_local else _connect_with_shown_token(connection)),
            actions(
                *([] if is_token_local else [show_token]),
                button("First Time Here?", action_id=FIRST_TIME, value=request_id),
                button("End Now", action_id=END, value=request_id, confirm=_confirm_end(request)),
                block_id=f"ready:{request_id}",
            ),
            context(
                request_id,
                f"bastion {code(connection.instance_id)}",
                f"database user {code(connection.facts.role)}",
            ),
        ],
    )


def closed_ready_card(*, ending: Ending) -> Message:
    """The ready message once the access has ended: nothing left to press or to copy."""
    request = ending.request
    return Message(
        text=f"{_told_end(ending)} {request.request_id}",
        blocks=[
            section(f"{_told_end(ending)} The commands that stood here are not for use any more."),
            context(request.request_id),
        ],
    )


def ended_card(*, ending: Ending) -> Message:
    """What the requester is told at the end, with the receipt in plain words."""
    request = ending.request
    told = _told(ending)
    small_print = [request.request_id]
    if ending.grant is not None:
        small_print.append(f"database user {code(ending.grant.facts.role)}")
    return Message(
        text=f"{told} {request.request_id}",
        blocks=[section(told), *_warning(ending), *_explained(ending), *_proof(ending), context(*small_print)],
    )


def _summary(request: AccessRequest) -> str:
    return escape(describe_request(request))


def _filed(request: AccessRequest, record: DecisionRecord | None) -> list[str]:
    decided = record.decisions if record is not None else ()
    return [request.request_id, *(f"last answer {day_and_time_of(decision.at)}" for decision in decided[-1:])]


def _asks(request: AccessRequest) -> str:
    return f"{mention(request.person.slack)} asks for {_summary(request)}"


def _access(request: AccessRequest) -> str:
    return f"*{request.level.word.capitalize()}* access to {bold(request.location)}"


def _asked(request: AccessRequest, environment: str | None) -> list[Block]:
    duration = describe_duration(request.duration_seconds)
    who_wants_what = (
        f"{mention(request.person.slack)} asks for *{request.level.word}* access"
        f" to {bold(request.location)} for {duration}"
    )
    facts = {"location": escape(request.location), "level": request.level.word, "for": duration}
    if environment is not None:
        facts["environment"] = escape(environment)
    reason = quote(request.reason) if request.reason else section("_No reason given._")
    return [section(who_wants_what), fields(**facts), reason]


def _confirm_approval(request: AccessRequest) -> Block | None:
    if request.level is not PermissionLevel.WRITE:
        return None
    allows = f"This lets {mention(request.person.slack)} change data in {bold(request.location)}."
    return confirmation("Approve write access", allows, yes="Approve", no="Back")


def _confirm_end(request: AccessRequest) -> Block:
    text = f"This ends your sessions in {bold(request.location)}, your tunnel and your database user."
    return confirmation("End access now", text, yes="End Now", no="Keep Access", danger=True)


def _names(person_ids: Collection[str]) -> str:
    return some_of(map(mention, person_ids))


def _said_yes(record: DecisionRecord) -> list[str]:
    return [decision.person_id for decision in record.decisions if decision.approves]


def _said_no(record: DecisionRecord) -> list[str]:
    return [decision.person_id for decision in record.decisions if not decision.approves]


def _progress(record: DecisionRecord) -> str:
    yes = _said_yes(record)
    return f"*{len(yes)} of {record.needed}* approved by {_names(yes)}"


def _verdict(record: DecisionRecord) -> str:
    match record.verdict:
        case Verdict.APPROVED:
            return f"*Approved* by {_names(_said_yes(record))}."
        case Verdict.DENIED:
            return f"*Denied* by {_names(_said_no(record))}."
        case Verdict.TIMED_OUT:
            partly = f" ({_progress(record)})" if record.decisions else ""
            return f"*Timed out* at {day_and_time_of(record.closes_at)}{partly}; nothing was granted."
        case Verdict.OPEN:
            return _progress(record) + "." if record.decisions else "Nobody has answered yet."


def _is_said_by_verdict(ending: Ending) -> bool:
    verdicts = {Outcome.DENIED: Verdict.DENIED, Outcome.TIMED_OUT: Verdict.TIMED_OUT}
    return ending.decisions is not None and verdicts.get(ending.outcome) is ending.decisions.verdict


def _fate(ending: Ending) -> str:
    match ending.outcome:
        case Outcome.FINISHED:
            if ending.is_revoked:
                return f"*Ended*{_when(ending)}; access was taken away."
            return f"*Due to end*{_when(ending)}; access {_NOT_YET_TAKEN_AWAY}."
        case Outcome.DENIED:
            return "*Denied*; nothing was granted."
        case Outcome.TIMED_OUT:
            return "*Timed out*; nothing was granted."
        case Outcome.FAILED:
            return "*Failed*." if ending.is_revoked else f"*Failed*; access {_NOT_YET_TAKEN_AWAY}."


def _when(ending: Ending) -> str:
    return f" {day_and_time_of(ending.grant.ends_at)}" if ending.grant is not None else ""


def _explained(ending: Ending) -> list[Block]:
    return [literal(ending.explanation)] if ending.explanation else []


def _connect_with_shown_token(connection: ConnectionDetails) -> list[Block]:
    return [
        section(
            "*2. Connect* in a second terminal. *Show Token* makes the password, and has this line once more with the"
            " password taken from the clipboard:"
        ),
        preformatted(psql_command(connection)),
    ]


def _connect_with_local_token(connection: ConnectionDetails) -> list[Block]:
    return [
        section(
            "*2. Make the password* in a second terminal, with your own AWS identity. It is what this line prints:"
        ),
        preformatted(local_token_command(connection)),
        section("*3. Connect* in that terminal, and paste it when psql asks for the password:"),
        preformatted(psql_command(connection)),
    ]


def _told_end(ending: Ending) -> str:
    over = "has ended" if ending.is_revoked else "was due to end"
    return f"{_access(ending.request)} {over}{_when(ending)}."


def _warning(ending: Ending) -> list[Block]:
    return [] if ending.is_revoked else [section(f"*Your access {_NOT_YET_TAKEN_AWAY}.*")]


def _told(ending: Ending) -> str:
    request = ending.request
    asked = f"Your request for {request.level.word} access to {bold(request.location)}"
    match ending.outcome:
        case Outcome.FINISHED:
            return _told_end(ending)
        case Outcome.DENIED:
            deniers = _said_no(ending.decisions) if ending.decisions is not None else []
            by = f" by {_names(deniers)}" if deniers else ""
            return f"{asked} was denied{by}. Nothing was granted."
        case Outcome.TIMED_OUT:
            return (
                f"{asked} was not answered in time. Nothing was granted; ask again, best after a word with an approver."
            )
        case Outcome.FAILED:
            return f"{asked} could not be carried out."


def _proof(ending: Ending) -> list[Block]:
    """What is known about the end of the access; nothing when there never was a grant to take away."""
    if ending.grant is None and ending.receipt is None:
        return []
    if ending.receipt is not None:
        lines = list(_receipt_lines(ending.receipt))
    elif ending.is_revoked:
        lines = ["Nothing had been set up in the database."]
    else:
        lines = ["The database could not be asked what is left of your access."]
    return [bullets([*lines, *_tunnel_lines(ending.tunnels)])]


def _receipt_lines(receipt: Receipt) -> Iterator[str]:
    if receipt.superseded_by is not None:
        yield f"The database user belongs to your newer request {receipt.superseded_by} by now, so it was left alone."
        return
    yield f"Database sessions left: {receipt.sessions}"
    if receipt.is_dropped:
        yield "Login: off, the database user is dropped"
    else:
        yield f"Login: {'still on' if receipt.can_log_in else 'off'}"
    yield f"Memberships left: {some_of(receipt.memberships) or 'none'}"
    yield f"Objects of yours handed over to the location: {len(receipt.kept) or 'none'}"
    yield from _listed([f"{kept.kind} {kept.name} in {kept.database}" for kept in receipt.kept])
    yield from _listed([f"Could not be checked: {sentence}" for sentence in receipt.unchecked])


def _listed(lines: list[str]) -> list[str]:
    more = len(lines) - _LISTED
    return [*lines[:_LISTED], f"and {more} more"] if more > 0 else lines


def _tunnel_lines(tunnels: ClosedTunnels) -> Iterator[str]:
    yield f"Tunnels ended: {len(tunnels.ended)}"
    if tunnels.kept:
        yield f"Tunnels left open, because other access of yours covers them: {len(tunnels.kept)}"
    if tunnels.unattributed:
        yield f"Tunnels on the bastion that could not be attributed to anybody: {len(tunnels.unattributed)}"
