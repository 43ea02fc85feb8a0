"""IssueToken: the only place where a person's database token is made. Checks owner and live grant itself."""

from datetime import timedelta

from chalicelib.defaults import Durations
from chalicelib.domain.audit import AuditEvent
from chalicelib.domain.decisions import Refusal
from chalicelib.domain.locations import TokenSource
from chalicelib.ports import AuditTrail, AuthTokens, Clock, GrantLedger, Members, RequestLedger, TokenView
from chalicelib.workflow.find_connection import find_connection


def issue_token(
    *,
    request_id: str,
    view_id: str,
    person_id: str,
    stage: str,
    certificate_bundle: str,
    durations: Durations,
    requests: RequestLedger,
    grants: GrantLedger,
    members: Members,
    tokens: AuthTokens,
    view: TokenView,
    audit: AuditTrail,
    clock: Clock,
) -> None:
    """Fill the open view with a fresh token, or with the reason why there is none. Returns nothing, so nothing can leak."""
    now = clock()
    connection = find_connection(
        request_id=request_id,
        person_id=person_id,
        stage=stage,
        certificate_bundle=certificate_bundle,
        requests=requests,
        grants=grants,
        now=now,
    )
    refusal = connection.reason if isinstance(connection, Refusal) else _find_refusal(person_id, members)
    if isinstance(connection, Refusal) or refusal:
        refused = {"person": person_id, "reason": refusal, "view": view_id}
        audit.append(request_id, AuditEvent.TOKEN_REFUSED, refused, at=now)
        view.show_refusal(view_id, request_id, refusal)
        return
    facts = connection.facts
    if facts.token is not TokenSource.MODAL:
        view.show_local_token(view_id, connection)
        return
    made = {"person": person_id, "role": facts.role, "host": connection.writer.host, "view": view_id}
    audit.append(request_id, AuditEvent.TOKEN_MADE, made, at=now)
    token = tokens.sign(connection.writer, facts.role, facts.region)
    view.show_token(view_id, token, connection, expires_at=now + timedelta(seconds=durations.token))


def _find_refusal(person_id: str, members: Members) -> str:
    objection = members.find_objection(person_id)
    return f"There is no token for you: your Slack user {objection}." if objection else ""
