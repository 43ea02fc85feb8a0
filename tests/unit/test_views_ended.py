"""What the requester is told at the end: how, why, what was read back, and how to go on."""

import pytest

from chalicelib.domain.decisions import Verdict
from chalicelib.domain.endings import Ending, Outcome
from chalicelib.domain.receipts import ClosedTunnels, KeptObject
from chalicelib.slack.cards.ended import ended_card
from tests.unit.view_contents import BOB, EXTENSION_ID, a_no, a_receipt, a_record, an_ending, an_extension
from tests.unit.view_renderings import buttons_of, literals_of, mrkdwn_of, parts_of_type, quotes_of


def lines_of(ending: Ending) -> list[str]:
    """The lines of the receipt."""
    listed = parts_of_type(ended_card(ending=ending), "rich_text_list")
    return [literals_of(item) for part in listed for item in part["elements"]]


def test_the_receipt_is_read_out() -> None:
    """The holder sees what was found after the end, in plain words."""
    expected = [
        "Database sessions left: 0",
        "Login: off, the database user is dropped",
        "Memberships left: none",
        "Objects of yours handed over to the location: none",
        "Tunnels ended: 2",
    ]

    assert expected == lines_of(an_ending(tunnels=ClosedTunnels(ended=("a", "b"))))


def test_what_is_left_is_not_glossed_over() -> None:
    """A receipt that proves nothing says so line by line, and that it goes on."""
    ending = an_ending(
        is_revoked=False, receipt=a_receipt(is_dropped=False, can_log_in=True, sessions=1, memberships=("a", "b"))
    )

    expected = ["Database sessions left: 1", "Login: still on", "Memberships left: a, b"]
    assert expected == lines_of(ending)[:3]
    assert "could not be taken away yet; it is tried again until it is" in mrkdwn_of(ended_card(ending=ending))


def test_objects_are_listed_up_to_ten() -> None:
    """A long list ends with how many more there are."""
    kept = tuple(KeptObject(database="depot", kind="table", name=f"public.t{n}") for n in range(12))
    lines = lines_of(an_ending(receipt=a_receipt(kept=kept)))

    assert "Objects of yours handed over to the location: 12" in lines
    assert ["table public.t9 in depot", "and 2 more"] == lines[lines.index("and 2 more") - 1 :][:2]
    assert "table public.t10 in depot" not in lines


def test_what_could_not_be_checked_is_said() -> None:
    """Nobody takes silence for proof."""
    lines = lines_of(
        an_ending(
            receipt=a_receipt(unchecked=("Reader 2 did not answer.",)), tunnels=ClosedTunnels(unattributed=("s",))
        )
    )

    assert "Could not be checked: Reader 2 did not answer." in lines
    assert "Tunnels on the bastion that could not be attributed to anybody: 1" in lines


def test_users_whom_nothing_explained_are_counted_not_named() -> None:
    """The holder learns that it happened; whose users they were is not theirs to know."""
    receipt = a_receipt(parked_strangers=("jit_0123_w_bob", "jit_4567_r_carol"))

    lines = lines_of(an_ending(receipt=receipt))

    assert "Users of others that no grant explained, ended on this occasion: 2" in lines
    assert "carol" not in "".join(lines)


def test_other_peoples_session_names_stay_out_of_the_receipt() -> None:
    """A session id holds its owner's name, and an unattributed one is mostly somebody else's."""
    ending = an_ending(tunnels=ClosedTunnels(unattributed=("bob@example.com-0abc",)))

    assert "bob@example.com" not in str(ended_card(ending=ending))


def test_nothing_set_up_is_said_to_be_nothing() -> None:
    """A request that failed before anything was made says so."""
    assert "Nothing had been set up in the database." in lines_of(an_ending(outcome=Outcome.FAILED, receipt=None))


def test_access_that_could_not_be_taken_away_is_said_first() -> None:
    """The holder is not told that it is over while it is not."""
    ending = an_ending(is_revoked=False, receipt=None, explanation="The database did not answer.")
    card = ended_card(ending=ending)

    assert "*Your access could not be taken away yet; it is tried again until it is.*" in mrkdwn_of(card)
    assert "The database did not answer." in literals_of(card)


def test_a_newer_request_keeps_the_user() -> None:
    """When the user belongs to a newer request, the receipt says that nothing was done, even without a grant."""
    expected = "The database user belongs to your newer request R-DEF567 by now, so it was left alone."

    assert expected == lines_of(an_ending(grant=None, receipt=a_receipt(superseded_by="R-DEF567")))[0]


def test_a_request_without_a_grant_has_no_receipt() -> None:
    """Where nothing was granted, nothing is proved."""
    assert [] == lines_of(an_ending(outcome=Outcome.TIMED_OUT, grant=None, receipt=None))


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (
            an_ending(outcome=Outcome.DENIED, grant=None, decisions=a_record(a_no(BOB), verdict=Verdict.DENIED)),
            "Your request for write access to *my-aurora-location* was denied by <@U0BOB>. Nothing was granted.",
        ),
        (
            an_ending(outcome=Outcome.TIMED_OUT, grant=None, decisions=a_record(verdict=Verdict.TIMED_OUT)),
            (
                "Your request for write access to *my-aurora-location* was not answered in time. Nothing was granted;"
                " ask again, best after a word with an approver."
            ),
        ),
        (
            an_ending(outcome=Outcome.CANCELLED, grant=None, decisions=None),
            "Your request for write access to *my-aurora-location* was cancelled. Nothing was granted.",
        ),
        (
            an_ending(outcome=Outcome.FAILED, explanation="No room in any subnet."),
            "Your request for write access to *my-aurora-location* could not be carried out.",
        ),
        (
            an_ending(),
            (
                "*Write* access to *my-aurora-location* ended"
                " <!date^1795211520^{date_short_pretty} at {time}|2026-11-20 21:52 UTC>."
            ),
        ),
        (
            an_ending(outcome=Outcome.TIMED_OUT, grant=None, request=an_extension()),
            (
                "Your request to extend write access to *my-aurora-location* by 30 minutes was not answered in time."
                " The access ends when it would have; ask again, best after a word with an approver."
            ),
        ),
        (
            an_ending(grant=None, receipt=None, request=an_extension()),
            "Your write access to *my-aurora-location* was extended by 30 minutes.",
        ),
    ],
    ids=["denied", "timed out", "cancelled", "failed", "finished", "extension timed out", "extended"],
)
def test_each_end_is_told_in_a_sentence(ending: Ending, expected: str) -> None:
    """The first line says how the request ended; an explanation stands below as it is."""
    card = ended_card(ending=ending)

    assert expected == card["blocks"][0]["text"]["text"]
    assert ending.explanation in literals_of(card)


def test_a_denial_is_explained_by_who_denied() -> None:
    """Their words stand there, not ours about them."""
    record = a_record(a_no(BOB, "Use the copy."), verdict=Verdict.DENIED)
    ending = an_ending(outcome=Outcome.DENIED, explanation="An approver said no.", grant=None, decisions=record)

    card = ended_card(ending=ending)

    assert ["Use the copy."] == quotes_of(card)
    assert "An approver said no." not in str(card)


@pytest.mark.parametrize("outcome", Outcome)
def test_every_end_offers_to_ask_again(outcome: Outcome) -> None:
    """The form opens with what was asked."""
    assert ["ask_again"] == list(buttons_of(ended_card(ending=an_ending(outcome=outcome))))


def test_the_end_of_an_extension_offers_another_one() -> None:
    """What is extended is the access, not the extension."""
    card = ended_card(ending=an_ending(outcome=Outcome.DENIED, request=an_extension(), grant=None))

    assert {"extend": EXTENSION_ID} == {name: button["value"] for name, button in buttons_of(card).items()}
