"""RemindApprovers: half of the time is over. Ask those who have not answered once more, and wait for the other half."""

from chalicelib.domain.decisions import Verdict
from chalicelib.domain.errors import SlackUnavailableError
from chalicelib.domain.executions import TaskToken
from chalicelib.ports import Executions, Notifier, RequestLedger
from chalicelib.workflow.request_approval import answer_if_closed


def remind_approvers(
    *, request_id: str, task_token: TaskToken, requests: RequestLedger, executions: Executions, notifier: Notifier
) -> bool:
    """Was the reminder posted? The token is stored first and the ledger read again last, as in RequestApproval.

    A reminder that Slack does not take is left out: the card still stands, and the wait must not end for it.
    """
    record = requests.require_request(request_id)
    if record.decisions is None:
        executions.wake(task_token.text)
        return False
    requests.open_decision(record.decisions, task_token=task_token)
    is_reminded = False
    if record.decisions.verdict is Verdict.OPEN and record.approval_card is not None:
        try:
            notifier.remind_approvers(record.approval_card, record.request, record.decisions)
            is_reminded = True
        except SlackUnavailableError:
            is_reminded = False
    answer_if_closed(request_id, task_token, requests, executions)
    return is_reminded
