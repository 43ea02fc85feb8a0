"""Who may decide, what several decisions amount to, and what is left of them when the catalogue has changed."""

from dataclasses import dataclass, replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.decisions import (
    DecisionRecord,
    Refusal,
    Verdict,
    close_unanswered,
    confirm_approval,
    judge_decision,
)
from chalicelib.domain.people import Person
from chalicelib.domain.policy import PolicyAnswer, PolicyOutcome
from tests.factories import ALICE, BOB, CAROL, DAVE, FRIDAY_NOON, a_person, a_policy, a_record, minutes, seconds
from tests.strategies import RULE

APPROVERS = tuple(a_person(name) for name in ("bob", "carol", "dave", "erin"))


def judge(
    record: DecisionRecord | None = None,
    *,
    person: Person | None = BOB,
    approves: bool = True,
    policy: PolicyOutcome | None = None,
    now: datetime = FRIDAY_NOON,
) -> DecisionRecord | Refusal:
    """Alice's request, decided by bob unless said otherwise."""
    return judge_decision(
        record=record or a_record(),
        requester=ALICE,
        person=person,
        approves=approves,
        policy=policy or a_policy(),
        now=now,
    )


def decided(outcome: DecisionRecord | Refusal) -> DecisionRecord:
    """The outcome, which must be a record."""
    assert isinstance(outcome, DecisionRecord)
    return outcome


def test_the_needed_number_of_approvals_approves() -> None:
    """One is needed and one has said yes."""
    assert a_record(BOB, verdict=Verdict.APPROVED) == decided(judge())


def test_one_of_two_approvals_leaves_the_request_open() -> None:
    """Until the second."""
    after_one = decided(judge(a_record(needed=2)))
    after_two = decided(judge(after_one, person=CAROL))

    assert (Verdict.OPEN, Verdict.APPROVED) == (after_one.verdict, after_two.verdict)


def test_the_first_no_denies() -> None:
    """However many have agreed before."""
    after_no = decided(judge(a_record(BOB, needed=3), person=CAROL, approves=False))

    assert after_no.verdict is Verdict.DENIED
    assert frozenset({BOB.person_id}) == after_no.approvers()


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (judge(a_record(verdict=Verdict.APPROVED)), "R-ABC234 was approved already."),
        (judge(a_record(verdict=Verdict.DENIED)), "R-ABC234 was denied already."),
        (judge(a_record(verdict=Verdict.TIMED_OUT)), "R-ABC234 was timed out already."),
        (judge(now=FRIDAY_NOON + minutes(60)), "timed out unanswered"),
        (judge(person=None), "You are not listed"),
        (judge(person=ALICE), "You cannot decide your own request."),
        (judge(person=replace(ALICE, name="alice-2")), "You cannot decide your own request."),
        (judge(person=ALICE, approves=False), "You cannot decide your own request."),
        (judge(person=DAVE), "You are not an approver of R-ABC234"),
        (judge(person=DAVE, approves=False), "You are not an approver of R-ABC234"),
        (judge(policy=a_policy(answer=PolicyAnswer.DENIED, approvers=frozenset())), "R-ABC234 cannot be decided now: "),
        (judge(policy=a_policy(answer=PolicyAnswer.ALLOWED)), "You are not an approver"),
        (judge(a_record(BOB, needed=2)), "You have decided R-ABC234 already."),
        (judge(a_record(BOB, needed=2), approves=False), "You have decided R-ABC234 already."),
    ],
)
def test_a_decision_that_may_not_be_is_refused_with_the_reason(outcome: object, reason: str) -> None:
    """And is recorded nowhere."""
    assert isinstance(outcome, Refusal)
    assert reason in outcome.reason


def test_the_last_moment_before_the_end_still_counts() -> None:
    """The wait ends at its end and not before."""
    assert isinstance(judge(now=FRIDAY_NOON + minutes(60) - seconds(0.001)), DecisionRecord)


def test_an_unanswered_request_times_out_and_an_answered_one_stays() -> None:
    """Closing is safe to repeat."""
    timed_out = close_unanswered(a_record())

    assert (Verdict.TIMED_OUT, 2) == (timed_out.verdict, timed_out.version)
    assert timed_out is close_unanswered(timed_out)
    assert Verdict.APPROVED is close_unanswered(a_record(BOB, verdict=Verdict.APPROVED)).verdict


APPROVED = a_record(BOB, verdict=Verdict.APPROVED)
ALLOWED = a_policy(answer=PolicyAnswer.ALLOWED, approvers=frozenset(), needed=0)
DENIED = a_policy(answer=PolicyAnswer.DENIED, reason="Outside hours.", approvers=frozenset(), needed=0)


@pytest.mark.parametrize(
    ("policy", "record", "reason"),
    [
        (a_policy(), APPROVED, None),
        (ALLOWED, None, None),
        (ALLOWED, APPROVED, None),
        (DENIED, APPROVED, "Outside hours."),
        (DENIED, None, "Outside hours."),
        (a_policy(), None, "was not approved"),
        (a_policy(), a_record(BOB), "was not approved"),
        (a_policy(), a_record(BOB, verdict=Verdict.DENIED), "was not approved"),
        (a_policy(), a_record(BOB, verdict=Verdict.TIMED_OUT), "was not approved"),
        (ALLOWED, a_record(BOB, verdict=Verdict.DENIED), "was not approved"),
        (a_policy(approvers=frozenset({CAROL, DAVE})), APPROVED, "The catalogue has changed"),
        (a_policy(needed=2), APPROVED, "The catalogue has changed"),
        (a_policy(approvers=frozenset({ALICE, BOB}), needed=2), a_record(ALICE, BOB, verdict=Verdict.APPROVED), "changed"),
    ],
)  # fmt: skip  # one case a line
def test_a_grant_is_confirmed_by_the_current_catalogue(
    policy: PolicyOutcome, record: DecisionRecord | None, reason: str | None
) -> None:
    """Approved is not enough: those who approved must be approvers still, and a no stays a no."""
    refusal = confirm_approval(policy=policy, record=record, requester=ALICE)

    assert (reason is None) == (refusal is None)
    assert refusal is None or (reason or "") in refusal.reason


@dataclass(frozen=True)
class Click:
    """Somebody presses a button, some minutes after the card was posted, while these people are the approvers."""

    person: Person | None
    approves: bool
    minute: int
    approvers: frozenset[Person]


clicks = st.lists(
    st.builds(
        Click,
        person=st.sampled_from([None, ALICE, *APPROVERS]),
        approves=st.sampled_from([True, True, True, False]),
        minute=st.integers(0, 70),
        approvers=st.frozensets(st.sampled_from([ALICE, *APPROVERS]), min_size=2),
    ),
    max_size=12,
)


def play(needed: int, presses: list[Click]) -> list[tuple[Click, DecisionRecord, DecisionRecord | Refusal]]:
    """Each press with the record before it and what came of it."""
    record, history = a_record(needed=needed), []
    for click in sorted(presses, key=lambda click: click.minute):
        outcome = judge(
            record,
            person=click.person,
            approves=click.approves,
            policy=a_policy(approvers=click.approvers, needed=needed),
            now=FRIDAY_NOON + minutes(click.minute),
        )
        history.append((click, record, outcome))
        record = outcome if isinstance(outcome, DecisionRecord) else record
    return history


def end_of(needed: int, presses: list[Click]) -> DecisionRecord:
    """The record after all of it."""
    return next(
        (outcome for *_, outcome in reversed(play(needed, presses)) if isinstance(outcome, DecisionRecord)),
        a_record(needed=needed),
    )


@RULE
@given(st.integers(1, 3), clicks)
def test_nobody_ever_decides_their_own_request(needed: int, presses: list[Click]) -> None:
    """Not even when the catalogue, wrongly, lists them as an approver."""
    assert ALICE.person_id not in {decision.person_id for decision in end_of(needed, presses).decisions}


@RULE
@given(st.integers(1, 3), clicks)
def test_every_decision_is_an_approvers_and_each_persons_only_one(needed: int, presses: list[Click]) -> None:
    """One person, one vote; and only of those who were approvers when they pressed."""
    for click, before, outcome in play(needed, presses):
        if isinstance(outcome, DecisionRecord):
            assert click.person in click.approvers
            assert click.person is not None
            assert click.person.person_id not in {decision.person_id for decision in before.decisions}
            assert (len(before.decisions) + 1, before.version + 1) == (len(outcome.decisions), outcome.version)
            assert before.decisions == outcome.decisions[:-1]


@RULE
@given(st.integers(1, 3), clicks)
def test_a_verdict_follows_from_the_decisions(needed: int, presses: list[Click]) -> None:
    """Denied by a no, approved by enough different people's yes, open otherwise."""
    record = end_of(needed, presses)
    has_no = any(not decision.approves for decision in record.decisions)
    expected = Verdict.DENIED if has_no else Verdict.APPROVED if len(record.approvers()) >= needed else Verdict.OPEN

    assert expected is record.verdict


@RULE
@given(st.integers(1, 3), clicks)
def test_nothing_is_recorded_after_the_closing_or_the_end_of_the_wait(needed: int, presses: list[Click]) -> None:
    """A late click is told so."""
    for click, before, outcome in play(needed, presses):
        if before.verdict is not Verdict.OPEN or click.minute >= 60:
            assert isinstance(outcome, Refusal)


@RULE
@given(st.integers(1, 3), clicks, st.frozensets(st.sampled_from([ALICE, *APPROVERS])), st.integers(1, 3))
def test_a_confirmation_counts_only_those_who_are_entitled_now(
    needed: int, presses: list[Click], approvers: frozenset[Person], needed_now: int
) -> None:
    """Whatever was decided then: enough of today's approvers, none of them the requester, said yes and nobody said no."""
    record = end_of(needed, presses)
    refusal = confirm_approval(policy=a_policy(approvers=approvers, needed=needed_now), record=record, requester=ALICE)
    entitled = {person.person_id for person in approvers if person != ALICE}

    if refusal is None:
        assert record.verdict is Verdict.APPROVED
        assert len(record.approvers() & entitled) >= needed_now
        assert all(decision.approves for decision in record.decisions)
