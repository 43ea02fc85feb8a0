"""What comes by itself while people wait: the reminder at half time, the time-out, the warning before the end."""

from datetime import timedelta

from tests.e2e.people import People, eventually, said_in

SECONDS = {"APPROVAL_WAIT": 8, "ACCESS": 8, "IDLE_GRACE": 2}


def test_approvers_are_reminded_once_and_then_it_times_out(people: People) -> None:
    """At half time in the thread of the card, to those who have not answered; afterwards no door decides any more."""
    request_id = people.ask("alice", "my-aurora-location w 30m patience")
    card = people.approval_card(request_id)
    people.slack.open_app("U0CAROL")
    people.decide("carol", request_id, "deny")
    people.decide("bob", request_id)
    late = people.click(request_id, "approve")

    assert "TimedOut" == people.wait_for_end(request_id)
    told = eventually("the end", lambda: people.direct("alice", request_id, "was not answered in time"))
    people.slack.submit("U0CAROL", {"reason": "Too late."})
    people.forge(late, lambda payload: payload["user"].update(id="U0CAROL"))
    reminders = [each for each in people.slack.messages("C0APPROVALS") if "It still waits" in str(each)]

    assert [card["ts"]] == [each.get("thread_ts") for each in reminders if request_id in str(each)]
    assert "<@U0CAROL>" in str(reminders)
    assert "has ended already (timed out)" in said_in(people.slack.view_of("U0CAROL"))
    assert people.grant(request_id) is None
    assert "'ask_again'" in str(told)
    assert "'approve'" not in str(people.approval_card(request_id)["blocks"])


def test_the_end_is_announced_and_can_be_put_off(people: People) -> None:
    """A fifth of a short grant before its end; one click there gives half an hour, and the warning has no buttons afterwards."""
    request_id = people.ask("bob", "my-reports-location r 45s")
    people.ready("bob", request_id)
    before = people.grant(request_id)
    eventually("the warning", lambda: people.direct("bob", request_id, "'extend_30'"))
    people.press_direct("bob", request_id, "extend_30")
    after = eventually("the new end", lambda: _grant_after(people, request_id, before.ends_at))

    assert timedelta(minutes=30) == after.ends_at - before.ends_at
    people.reply("bob", "/db-access end")
    assert "Finished" == people.wait_for_end(request_id)
    assert people.direct("bob", request_id, "'extend_30'") is None


def _grant_after(people: People, request_id: str, end: object) -> object:
    grant = people.grant(request_id)
    return grant if grant.ends_at > end else None
