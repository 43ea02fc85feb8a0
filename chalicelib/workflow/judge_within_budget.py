"""The judgement of a request by policy and by the month's budget, the same for the endpoint and the workflow."""

from datetime import datetime

from chalicelib.defaults import Durations
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.policy import PolicyAnswer, PolicyOutcome, judge_request, within_budget
from chalicelib.domain.requests import AccessRequest
from chalicelib.ports import GrantLedger, RequestLedger
from chalicelib.workflow.read_cost import read_cost


def judge_within_budget(
    request: AccessRequest,
    *,
    catalogue: Catalogue,
    durations: Durations,
    requests: RequestLedger,
    grants: GrantLedger,
    now: datetime,
) -> PolicyOutcome:
    """What policy says. The costs are read only where there is a budget and nobody has to approve."""
    outcome = judge_request(request, catalogue=catalogue, now=now)
    if catalogue.budget_dollars is None or outcome.answer is not PolicyAnswer.ALLOWED:
        return outcome
    costs = read_cost(catalogue=catalogue, durations=durations, requests=requests, grants=grants, now=now)
    return within_budget(outcome, costs)
