"""Ends every access of a stage, each with its receipt, through the workflow itself; nobody can ask for more meanwhile."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from chalicelib.aws.executions import StepFunctionsExecutions
from chalicelib.aws.grant_ledger import DynamoGrantLedger
from chalicelib.aws.request_ledger import DynamoRequestLedger
from chalicelib.aws.table import Table
from chalicelib.domain.documents import new_document
from chalicelib.domain.endings import Purpose
from chalicelib.domain.errors import UnknownRequestError
from chalicelib.domain.grants import Grant, GrantState
from chalicelib.domain.reconciliation import is_seen_to
from chalicelib.workflow.ask_end import ask_end
from deployment.account import Account, DeploymentError, explained
from deployment.grants import describe
from deployment.stacks import Pause, Say

_LOOK_SECONDS = 5.0
_FRONT_SECONDS = 15
"""How long the Slack function may still be at a request that came before its door was closed."""
_REVOCATION, _REVIEW = "-revoke-", "-review"
_TRY_SECONDS = 20
"""How long a revocation is left to itself before the next one is started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """What of a stage it takes to end access."""

    account: Account
    table: str
    state_machine: str
    front: str | None
    """The function that answers Slack."""


class Ending:
    """Asks for the end of everything that is open, and waits for the receipts."""

    def __init__(self, workflow: Workflow, *, say: Say, pause: Pause, clock: Callable[[], datetime]) -> None:
        table = Table(workflow.account.client("dynamodb"), workflow.table)
        self._workflow, self._say, self._pause, self._clock = workflow, say, pause, clock
        self._grants, self._requests = DynamoGrantLedger(table), DynamoRequestLedger(table)
        self._stepfunctions = workflow.account.client("stepfunctions")
        self._executions = StepFunctionsExecutions(self._stepfunctions, workflow.state_machine)
        self._seen: dict[str, Grant] = {}
        self._started: dict[str, datetime] = {}

    @property
    def receipts(self) -> int:
        """How many grants have come to their end since."""
        return len(self._seen)

    @contextmanager
    def closed_front(self) -> Iterator[None]:
        """Nobody asks, approves or extends meanwhile. Opened again if what is done within does not succeed."""
        self._close_front()
        try:
            yield
        except BaseException:
            self._open_front()
            raise

    def end_all(self, *, seconds: int) -> Sequence[Grant]:
        """Returns the grants that have no receipt by then. Raises LedgerUnavailableError and DeploymentError."""
        begun = self._clock()
        told = ""
        while True:
            left, running = self._turn()
            now = self._clock()
            if not left and not running and now >= begun + timedelta(seconds=_FRONT_SECONDS):
                self._require_receipts()
                return ()
            if now >= begun + timedelta(seconds=seconds):
                return left
            words = f"  {len(left)} without a receipt, {len(running)} executions under way"
            if words != told and (left or running or told):
                self._say(words)
                told = words
            self._pause(_LOOK_SECONDS)

    def stop_the_rest(self) -> int:
        """Stop what runs for nobody's access, such as a review; else the state machine would wait for it. Returns how many."""
        running = self._executions.running()
        with explained("stop what is still running"):
            for name in running:
                self._stepfunctions.stop_execution(
                    executionArn=self._workflow.state_machine.replace(":stateMachine:", ":execution:") + f":{name}",
                    cause="The stage is being destroyed.",
                )
        return len(running)

    def _turn(self) -> tuple[Sequence[Grant], Sequence[str]]:
        """Ask for every end that nobody has asked for, and see to those that nobody sees to. Returns what is still open."""
        running = sorted(self._executions.running())
        grants = self._grants.open_grants()
        self._seen |= {grant.facts.key: grant for grant in grants}
        own = [name for name in running if _REVOCATION not in name and _REVIEW not in name]
        for request_id in dict.fromkeys([*(grant.facts.request_id for grant in grants), *own]):
            self._ask(request_id)
        for grant in grants:
            if not is_seen_to(grant.facts.request_id, running):
                self._revoke(grant.facts.request_id)
        return grants, [name for name in running if _REVIEW not in name]

    def _ask(self, request_id: str) -> None:
        """In its requester's name, as their End Now does. A state that began to wait since is woken by the next turn."""
        try:
            record = self._requests.require_request(request_id)
        except UnknownRequestError:
            return
        ask_end(
            request_id=request_id,
            person=record.request.person,
            requests=self._requests,
            executions=self._executions,
            clock=self._clock,
        )

    def _revoke(self, request_id: str) -> None:
        """Start a revocation of our own, now and then. Its name counts the times, by numbers beyond reconciliation's."""
        now = self._clock()
        if request_id in self._started and now < self._started[request_id] + timedelta(seconds=_TRY_SECONDS):
            return
        self._started[request_id] = now
        name = f"{request_id}{_REVOCATION}{int(now.timestamp()) // _TRY_SECONDS}"
        self._executions.start(name, new_document(request_id, Purpose.REVOKE))
        self._say(f"  {request_id}: started {name}")

    def _require_receipts(self) -> None:
        """What is listed comes from an index; what is gone is read from the items themselves."""
        for key, seen in self._seen.items():
            standing = self._grants.find_grant(key)
            if standing is not None and standing.state is not GrantState.GONE:
                raise DeploymentError(
                    f"{describe(seen)}: the ledger holds no receipt of it. Destroy again to look again."
                )

    def _close_front(self) -> None:
        if self._workflow.front:
            with explained("close the function that answers Slack"):
                self._workflow.account.client("lambda").put_function_concurrency(
                    FunctionName=self._workflow.front, ReservedConcurrentExecutions=0
                )

    def _open_front(self) -> None:
        if self._workflow.front:
            with explained("open the function that answers Slack again"):
                self._workflow.account.client("lambda").delete_function_concurrency(FunctionName=self._workflow.front)


def explain_missing(left: Sequence[Grant]) -> str:
    """What the operator is told when a receipt is missing."""
    lines = "\n  ".join(describe(grant) for grant in left)
    return (
        f"There is no receipt yet for:\n  {lines}\n"
        "Nothing was destroyed, Slack is answered again, and it goes on being tried. In Step Functions, the executions of these "
        "names say why; often the database cannot be reached. Repair that, or let its owner drop the user and note it, and "
        "destroy again."
    )
