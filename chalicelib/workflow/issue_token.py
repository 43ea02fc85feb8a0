"""IssueToken: the only place where a person's database token is made. Checks owner and live grant itself."""

from datetime import timedelta

from chalicelib.defaults import Durations
from chalicelib.domain.decisions import Refusal
from chalicelib.domain.locations import TokenSource
from chalicelib.ports import AuditTrail, AuthTokens, Clock, GrantLedger, RequestLedger, TokenView
from chalicelib.workflow.find_connection import find_connection


def issue_token(
    *,
    request_id: str,
    view_id: str,
    person_id: str,
    certificate_bundle: str,
    durations: Durations,
    requests: RequestLedger,
    grants: GrantLedger,
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
        certificate_bundle=certificate_bundle,
        requests=requests,
        grants=grants,
        now=now,
    )
    if isinstance(connection, Refusal):
        audit.append(request_id, "token refused", {"person": person_id}, at=now)
        view.show_refusal(view_id, request_id, connection.reason)
        return
    facts = connection.facts
    if facts.token is not TokenSource.MODAL:
        reason = f"Tokens of {facts.location} are made on your own machine; the ready message shows the line."
        view.show_refusal(view_id, request_id, reason)
        return
    audit.append(request_id, "token made", {"role": facts.role}, at=now)
    token = tokens.sign(connection.writer, facts.role, facts.region)
    view.show_token(view_id, token, connection, expires_at=now + timedelta(seconds=durations.token))
