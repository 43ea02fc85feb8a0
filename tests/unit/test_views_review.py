"""The review card of access that was taken by breaking the glass."""

from chalicelib.domain.people import Person
from chalicelib.domain.reviews import ReviewVerdict
from chalicelib.slack.cards.review import review_card, review_reminder, reviewed_card
from local.slack.block_checker import check_blocks
from tests.unit.view_contents import BOB, CAROL, CROWD, NOON, a_request, a_review
from tests.unit.view_renderings import buttons_of, mrkdwn_of, parts_of_type, quotes_of


def test_every_approver_is_told() -> None:
    """All of them are mentioned, however many there are: whoever is not mentioned is not told."""
    crowd = tuple(Person(name=f"p{n:03}", team="T0EXAMPLE", slack=f"U0{n:09}") for n in range(250))

    card = review_card(request=a_request(), review=a_review(), approvers=crowd)

    assert [] == [person.slack for person in crowd if f"<@{person.slack}>" not in mrkdwn_of(card)]
    assert [] == check_blocks(card["blocks"])


def test_the_announcement_says_who_took_what_and_why() -> None:
    """Approvers judge by it."""
    card = review_card(request=a_request(), review=a_review(), approvers=CROWD)

    expected = "<@U0ALICE> broke the glass: *write* access to *my-aurora-location* for 30 minutes, without waiting."
    assert expected == card["blocks"][0]["text"]["text"]
    assert ["INC-42 fix stuck order"] == quotes_of(card)


def test_a_review_has_two_answers() -> None:
    """Yes by one click; no with a note."""
    buttons = buttons_of(review_card(request=a_request(), review=a_review(), approvers=(BOB,)))

    assert ["Justified", "Not Justified…"] == [button["text"]["text"] for button in buttons.values()]


def test_each_version_of_a_review_is_told_apart() -> None:
    """A click on a card that was reviewed meanwhile can be recognised."""
    card = review_card(request=a_request(), review=a_review(version=3), approvers=(BOB,))

    assert "review:R-ABC234:3" == parts_of_type(card, "actions")[0]["block_id"]


def test_the_reminder_calls_everybody_again() -> None:
    """Until somebody has judged, all may."""
    words = mrkdwn_of(review_reminder(request=a_request(), review=a_review(), approvers=(CAROL, BOB)))

    assert "<@U0BOB> <@U0CAROL>" in words
    assert "due <!date^1795262400^" in words


def test_a_closed_review_says_who_judged_and_how() -> None:
    """The note stands there as it was written, and nothing is left to press."""
    closed = a_review(
        verdict=ReviewVerdict.NOT_JUSTIFIED, reviewer_id=BOB.person_id, note="Wake <@U0ONCALL>.", closed_at=NOON
    )

    card = reviewed_card(request=a_request(), review=closed)

    assert "*Not justified*, says <@U0BOB>." in mrkdwn_of(card)
    assert ["INC-42 fix stuck order", "Wake <@U0ONCALL>."] == quotes_of(card)
    assert {} == buttons_of(card)
