"""RequestApproval: open the deciding, ask the approvers, and wait. The waiting is answered by whoever closes the deciding."""

from datetime import timedelta

from chalicelib.defaults import Durations
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.decisions import DecisionRecord, Verdict
from chalicelib.domain.executions import TaskToken
from chalicelib.domain.policy import PolicyAnswer, judge_request
from chalicelib.ports import Clock, Executions, Notifier, RequestLedger


def request_approval(
    *,
    request_id: str,
    task_token: TaskToken,
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
    policy = judge_request(request, catalogue=catalogue, now=now)
    if policy.answer is not PolicyAnswer.NEEDS_APPROVAL:
        executions.wake(task_token.text)
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
        requests.keep_card(request_id, "approval", notifier.ask_approvers(request, policy, decisions.closes_at))
    if record.asked_card is None and (card := notifier.follow_request(request, policy, decisions.closes_at)):
        requests.keep_card(request_id, "asked", card)
    answer_if_closed(request_id, task_token, requests, executions)


def answer_if_closed(request_id: str, task_token: TaskToken, requests: RequestLedger, executions: Executions) -> None:
    """Read the ledger again, after the token is stored: somebody may have decided by now, or the requester cancelled."""
    standing = requests.require_request(request_id)
    is_open = standing.decisions is not None and standing.decisions.verdict is Verdict.OPEN
    if not is_open or standing.end_asked_at is not None:
        executions.wake(task_token.text)
