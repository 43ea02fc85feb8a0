"""Bring the Homes that a request has changed up to date, and no others: Slack takes a hundred in a minute."""

from datetime import timedelta

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.errors import SlackUnavailableError
from chalicelib.domain.people import Person
from chalicelib.domain.policy import find_reviewers, judge_request
from chalicelib.domain.requests import AccessRequest
from chalicelib.ports import Clock, GrantLedger, Homes, RequestLedger
from chalicelib.workflow.read_overview import read_overview

_LONGEST = timedelta(seconds=5)
"""Whoever has many approvers must not be kept by a slow Slack until the function is killed, and the request with it."""


def refresh_homes(
    *,
    request_id: str,
    is_for_others: bool,
    catalogue: Catalogue,
    requests: RequestLedger,
    grants: GrantLedger,
    homes: Homes,
    clock: Clock,
) -> None:
    """Publish the requester's, unless it is a machine, and with ``is_for_others`` those of whoever may decide or review it.

    Theirs change where it begins or ends to wait for somebody. A Home that Slack does not take is published when its owner
    opens it, and so is one whose turn did not come within seconds.
    """
    until = clock() + _LONGEST
    request = requests.require_request(request_id).request
    requester = [] if request.person.is_machine else [request.person]
    for person in (*requester, *(_others(request, catalogue, clock) if is_for_others else ())):
        if clock() >= until:
            return
        overview = read_overview(person=person, catalogue=catalogue, requests=requests, grants=grants, now=clock())
        try:
            homes.publish(person, overview)
        except SlackUnavailableError:
            return


def _others(request: AccessRequest, catalogue: Catalogue, clock: Clock) -> list[Person]:
    if request.location not in catalogue.locations:
        return []
    approvers = judge_request(request, catalogue=catalogue, now=clock()).approvers
    reviewers = find_reviewers(request, catalogue=catalogue) if request.is_break_glass else frozenset()
    return sorted(approvers | reviewers, key=lambda person: person.name)
