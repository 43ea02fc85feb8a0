"""Home: what needs a person now stands on top, and it fits whatever there is."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.models.views import View

from chalicelib.domain.decisions import Verdict
from chalicelib.domain.locations import TokenSource
from chalicelib.domain.overviews import Held, Overview
from chalicelib.slack import blocks
from chalicelib.slack.home import home_view
from local.slack.block_checker import check_view
from tests.factories import a_location
from tests.strategies import RULE
from tests.unit.view_contents import (
    ALICE,
    BOB,
    NOON,
    ORDINARY,
    Contents,
    a_filed,
    a_grant,
    a_record,
    a_request,
    a_review,
    a_waiting,
    an_ended,
    an_extension,
    an_offer,
    an_overview,
    locations,
)
from tests.unit.view_renderings import CONTENTS, buttons_of, mrkdwn_of, parts_of_type, quotes_of

PARTS = ("to_decide", "to_review", "asked", "held", "ended")


def a_home(overview: Overview | None = None) -> blocks.View:
    return home_view(person=ALICE, overview=overview or an_overview())


def headings_of(home: blocks.View) -> list[str]:
    return [part["text"]["text"] for part in parts_of_type(home["blocks"], "header")]


@RULE
@given(
    st.sampled_from(list(CONTENTS.values())),
    st.fixed_dictionaries({part: st.integers(0, 30) for part in PARTS}),
    st.integers(0, 250),
)
def test_home_fits_whatever_there_is(c: Contents, sizes: dict[str, int], offered: int) -> None:
    """However many of each there are: at most 100 blocks, both checkers content, and one button that stands out."""
    overview = c.overview(size=30)
    cut = {part: getattr(overview, part)[:size] for part, size in sizes.items()}
    home = a_home(replace(overview, **cut, offers=tuple(map(an_offer, locations(offered)))))

    assert [] == check_view(home, "home")
    assert len(home["blocks"]) == len(View(**home).to_dict()["blocks"])
    assert ["ask"] == [b["action_id"] for b in parts_of_type(home, "button") if b.get("style") == "primary"]


def test_what_waits_for_me_comes_first() -> None:
    """Others wait for it; what has ended can wait."""
    expected = [
        "Waiting for your decision",
        "Waiting for your review",
        "Your requests",
        "Your access",
        "What you may ask for",
        "Ended lately",
    ]

    assert expected == headings_of(a_home(ORDINARY.overview(size=1)))


def test_a_quiet_home_says_so() -> None:
    """No headings over nothing, save for what people come for."""
    home = a_home()

    assert ["Your access", "What you may ask for"] == headings_of(home)
    assert "You hold no access at the moment." in mrkdwn_of(home)
    assert "No location is open to you." in mrkdwn_of(home)


def test_home_says_how_fresh_it_is() -> None:
    """It does not change by itself, so it says when it was read and can be read again."""
    home = a_home()

    assert "Updated <!date^1795176000^{time}|12:00 UTC>" == mrkdwn_of(home["blocks"][-1])
    assert "refresh" in buttons_of(home)


def test_a_decision_can_be_made_from_home() -> None:
    """The same buttons as on the card, with the version of what is shown."""
    home = a_home(an_overview(to_decide=(a_waiting(a_filed(decisions=a_record(BOB))),)))

    assert {"approve", "approve_less", "deny"} <= set(buttons_of(home))
    assert "decide:R-ABC234:2" in [row["block_id"] for row in parts_of_type(home, "actions")]
    assert "*1 of 2* approved by <@U0BOB>." in mrkdwn_of(home)
    assert ["INC-42 fix stuck order"] == quotes_of(home)


def test_whoever_decides_from_home_knows_what_the_card_says() -> None:
    """The environment, and which other databases the access opens."""
    location = a_location(environment="prod", also_readable=frozenset({"reports"}))
    home = a_home(an_overview(to_decide=(a_waiting(a_filed(decisions=a_record()), location),)))

    assert "access to *my-aurora-location* (prod) for 30 minutes." in mrkdwn_of(home)
    assert "It also opens what the catalogue lets everybody connect to: *reports*" in mrkdwn_of(home)


def test_a_review_can_be_made_from_home() -> None:
    """With who took what and by when it is due."""
    home = a_home(an_overview(to_review=(a_filed(review=a_review()),)))

    assert {"justified", "not_justified"} <= set(buttons_of(home))
    assert "broke the glass" in mrkdwn_of(home)


def test_held_access_shows_the_time_that_is_left() -> None:
    """In minutes, rounded down: nobody plans by seconds."""
    grant = a_grant(ends_at=NOON + timedelta(minutes=29, seconds=59))

    home = a_home(an_overview(held=(Held(record=a_filed(), grant=grant),)))

    assert "29 minutes left" in mrkdwn_of(home)
    assert {"show_token", "gui", "extend", "end"} <= set(buttons_of(home))


def test_the_last_minute_is_not_called_nothing() -> None:
    """Until it has ended, something is left."""
    grant = a_grant(ends_at=NOON + timedelta(seconds=30))

    home = a_home(an_overview(held=(Held(record=a_filed(), grant=grant),)))

    assert "less than a minute left" in mrkdwn_of(home)


def test_a_token_of_ones_own_has_no_button_on_home() -> None:
    """Where the token never crosses Slack there is none to show."""
    grant = a_grant(token=TokenSource.LOCAL)

    home = a_home(an_overview(held=(Held(record=a_filed(), grant=grant),)))

    assert "show_token" not in buttons_of(home)


def test_a_request_can_be_cancelled_while_it_waits() -> None:
    """Once it is decided there is nothing to cancel."""
    waiting, decided = (
        a_home(an_overview(asked=(a_filed(decisions=a_record(verdict=verdict)),)))
        for verdict in (Verdict.OPEN, Verdict.APPROVED)
    )

    assert "waits for 2 approvers until" in mrkdwn_of(waiting)
    assert "is being prepared" in mrkdwn_of(decided)
    assert [True, False] == ["cancel" in buttons_of(home) for home in (waiting, decided)]


def test_each_location_says_how_its_levels_are_given() -> None:
    """At once, with approvals, or not now."""
    home = a_home(an_overview(offers=(an_offer(),)))

    expected = "*orders-prod* (prod): read at once · write with 2 approvals · operate not now"
    assert expected in mrkdwn_of(home).splitlines()


def test_what_has_ended_can_be_asked_for_again() -> None:
    """Each of the last five has its button; an extension has none."""
    ended = (an_ended(), an_ended(an_extension()), *[an_ended()] * 5)

    home = a_home(an_overview(ended=ended))

    again = [button for button in parts_of_type(home, "button") if button["action_id"] == "ask_again"]
    assert 4 == len(again)
    assert "Write access to my-aurora-location for 30 minutes: ended <!date^" in mrkdwn_of(home)
    assert "30 minutes more of write access to my-aurora-location: ended" in mrkdwn_of(home)


def test_what_is_cut_is_counted() -> None:
    """Nobody takes the first eight for all."""
    requests = tuple(a_waiting(a_filed(a_request(request_id=f"R-{n:06}"), decisions=a_record())) for n in range(11))

    assert "and 3 more" in mrkdwn_of(a_home(an_overview(to_decide=requests)))
