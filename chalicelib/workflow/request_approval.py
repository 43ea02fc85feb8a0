"""RequestApproval: open the deciding, ask the approvers, and wait. The waiting is answered by whoever closes the deciding."""

from datetime import timedelta

from chalicelib.defaults import Durations
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.decisions import DecisionRecord, Verdict
from chalicelib.domain.policy import PolicyAnswer, decide_policy
from chalicelib.ports import Clock, Executions, Notifier, RequestLedger


def request_approval(
    *,
    request_id: str,
    task_token: str,
    catalogue: Catalogue,
    durations: Durations,
    requests: RequestLedger,
    executions: Executions,
    notifier: Notifier,
    clock: Clock,
) -> None:
    """Ask, once. The token is stored first and the ledger read again last, so that no decision falls between the two."""
    now = clock()
    record = requests.require_request(request_id)
    request = record.request
    policy = decide_policy(
        person=request.person,
        location=catalogue.require_location(request.location),
        level=request.level,
        duration_seconds=request.duration_seconds,
        catalogue=catalogue,
        now=now,
    )
    if policy.answer is not PolicyAnswer.NEEDS_APPROVAL:
        executions.wake(task_token)
        return
    decisions = requests.open_decision(
        DecisionRecord(
            request_id=request_id,
            verdict=Verdict.OPEN,
            needed=policy.needed,
            closes_at=now + timedelta(seconds=durations.approval_wait),
            decisions=(),
            version=1,
        ),
        task_token=task_token,
    )
    if record.approval_card is None:
        card = notifier.ask_approvers(request, policy, decisions.closes_at)
        requests.keep_approval_card(request_id, card)
    standing = requests.require_request(request_id).decisions
    if standing is not None and standing.verdict is not Verdict.OPEN:
        executions.wake(task_token)
