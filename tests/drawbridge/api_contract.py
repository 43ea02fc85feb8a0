"""What the client relies on in Drawbridge's API: expectations that the fake and the real one meet alike."""

import threading
import time
from collections.abc import Iterator

import pytest

from drawbridge.api import Api
from drawbridge.connection import Connection
from drawbridge.errors import InvalidInputError, RefusedError
from drawbridge.requests import AccessRequest, Outcome, State

LOCATION = "my-aurora-location"
MOST_SECONDS = 60.0


def look_until(api: Api, request_id: str, state: State) -> AccessRequest:
    """The request once it is in this state."""
    deadline, pause = time.monotonic() + MOST_SECONDS, threading.Event()
    while (request := api.watch(request_id)).state is not state:
        assert time.monotonic() < deadline, f"{request_id} is {request.state}: {request.explanation}"
        pause.wait(0.05)
    return request


class ApiContract:
    """Subclasses have a fixture ``api``: alice's, where r is automatic and carol approves w. Each test leaves nothing open."""

    @pytest.fixture(autouse=True)
    def _nothing_left_open(self, api: Api) -> Iterator[None]:
        yield
        for request in api.list_requests():
            api.end(request.request_id)
        for request in api.list_requests():
            look_until(api, request.request_id, State.ENDED)

    def test_the_api_says_who_one_is_and_what_one_may_ask_for(self, api: Api) -> None:
        """A person by their name in the catalogue, and each level with how it is given."""
        offers = api.read_offers()
        offered = {each.name: each for each in offers.locations}[LOCATION]

        assert ("alice", False) == (offers.caller, offers.is_machine)
        assert {"r": True, "w": False, "o": False} == {
            name: level.is_automatic for name, level in offered.levels.items()
        }
        assert 2 * 3600 == offered.levels["w"].cap_seconds
        assert ("prod", "eu-west-1", "depotpostgres") == (offered.environment, offered.region, offered.database)

    def test_a_rule_is_explained(self, api: Api) -> None:
        """With those who may approve, where somebody must."""
        assert (("carol",), ()) == (api.explain(LOCATION, "w").approvers, api.explain(LOCATION, "r").approvers)

    def test_an_unknown_location_is_refused_by_its_name(self, api: Api) -> None:
        """The sentence says which name was not found."""
        with pytest.raises(RefusedError, match="nowhere"):
            api.explain("nowhere", "r")
        with pytest.raises(RefusedError, match="nowhere"):
            api.ask({"location": "nowhere", "level": "r", "reason": ""})

    def test_a_field_that_is_not_known_is_bad_input(self, api: Api) -> None:
        """The sentence names it."""
        with pytest.raises(InvalidInputError, match="colour"):
            api.ask({"location": LOCATION, "level": "r", "reason": "", "colour": "red"})

    def test_an_unknown_request_is_refused(self, api: Api) -> None:
        """Whatever one would do to it."""
        for act in (api.watch, api.end, lambda request_id: api.extend(request_id, 60)):
            with pytest.raises(RefusedError, match="drawbridge mine"):
                act("R-ZZZZZZ")

    def test_more_than_the_cap_is_refused(self, api: Api) -> None:
        """As a rule's answer, not as bad input."""
        with pytest.raises(RefusedError):
            api.ask({"location": LOCATION, "level": "w", "reason": "", "duration_seconds": 3 * 3600})

    def test_what_needs_approval_waits_until_it_is_withdrawn(self, api: Api) -> None:
        """A second ask meets the first; withdrawing it again changes nothing."""
        request, standing = api.ask({"location": LOCATION, "level": "w", "reason": "a test"})
        waiting = look_until(api, request.request_id, State.WAITING)
        again, standing_again = api.ask({"location": LOCATION, "level": "w", "reason": "a test"})
        api.end(request.request_id)
        ended = look_until(api, request.request_id, State.ENDED)

        assert (request.request_id, "asked") == (waiting.request_id, standing)
        assert (request.request_id, "asked_already") == (again.request_id, standing_again)
        assert Outcome.CANCELLED is ended.outcome is api.end(request.request_id).outcome

    def test_automatic_access_is_ready_held_extended_and_ended(self, api: Api) -> None:
        """Its connection can be read while it is ready; its receipt stays."""
        wish = {"location": LOCATION, "level": "r", "reason": "a test", "duration_seconds": 600, "port": 50001}
        asked, standing = api.ask(wish)
        ready = look_until(api, asked.request_id, State.READY)
        connection = Connection.from_request(ready.answer)
        held, standing_again = api.ask({"location": LOCATION, "level": "r", "reason": ""})
        extension = look_until(api, api.extend(asked.request_id, 300).request_id, State.ENDED)
        moved = api.watch(asked.request_id).ends_at
        api.end(asked.request_id)
        ended = look_until(api, asked.request_id, State.ENDED)

        assert ("asked", "held") == (standing, standing_again)
        assert (asked.request_id, 50001) == (held.request_id, connection.local_port)
        assert (asked.request_id, Outcome.FINISHED) == (extension.extends, extension.outcome)
        assert ready.ends_at is not None
        assert moved is not None
        assert 300 == (moved - ready.ends_at).total_seconds()
        assert Outcome.FINISHED is ended.outcome
        assert (0, False) == (ended.answer["receipt"]["sessions_left"], ended.answer["receipt"]["can_log_in"])

    def test_ones_own_requests_are_listed_newest_first(self, api: Api) -> None:
        """Ended ones too."""
        first, _ = api.ask({"location": LOCATION, "level": "w", "reason": "first"})
        second, _ = api.ask({"location": LOCATION, "level": "o", "reason": "second"})

        listed = [each.request_id for each in api.list_requests() if each.extends is None]
        assert [second.request_id, first.request_id] == listed[:2]
