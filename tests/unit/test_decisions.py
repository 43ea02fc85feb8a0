"""Who may decide, what several decisions amount to, and what is left of them when the catalogue has changed."""

from dataclasses import dataclass, replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.decisions import (
    Decision,
    DecisionRecord,
    Refusal,
    Terms,
    Verdict,
    approved_request,
    asked_terms,
    close_cancelled,
    close_unanswered,
    confirm_approval,
    judge_cancelling,
    judge_decision,
    lesser_levels,
    without_void,
)
from chalicelib.domain.locations import Hours, LevelRule
from chalicelib.domain.people import Person
from chalicelib.domain.policy import PolicyAnswer, PolicyOutcome, judge_request
from chalicelib.domain.requests import AccessRequest
from tests.factories import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    FRIDAY_NOON,
    OPERATE,
    READ,
    WRITE,
    a_catalogue,
    a_decision,
    a_location,
    a_person,
    a_policy,
    a_record,
    a_request,
    minutes,
    seconds,
)
from tests.strategies import RULE, any_value, level_rules

APPROVERS = tuple(a_person(name) for name in ("bob", "carol", "dave", "erin"))


def judge(
    record: DecisionRecord | None = None,
    *,
    person: Person | None = BOB,
    approves: bool = True,
    policy: PolicyOutcome | None = None,
    now: datetime = FRIDAY_NOON,
    request: AccessRequest | None = None,
    terms: Terms | None = None,
    policy_of_terms: PolicyOutcome | None = None,
) -> DecisionRecord | Refusal:
    """Alice's request, decided by bob unless said otherwise."""
    policy = policy or a_policy()
    return judge_decision(
        record=record or a_record(),
        request=request or a_request(),
        person=person,
        decision=a_decision(person, approves=approves, at=now, terms=terms),
        policy=policy,
        policy_of_terms=policy_of_terms or policy,
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


READ_BRIEFLY = Terms(level=READ, duration_seconds=600)


class TestApprovingLess:
    """Alice asked to write for half an hour."""

    @pytest.mark.parametrize(
        "terms",
        [
            Terms(level=READ, duration_seconds=1800),
            Terms(level=WRITE, duration_seconds=1),
            READ_BRIEFLY,
            asked_terms(a_request(level=WRITE)),
        ],
    )
    def test_a_yes_may_be_to_less(self, terms: Terms) -> None:
        """To reading, or to less time, or to both."""
        outcome = decided(judge(request=a_request(level=WRITE), terms=terms))

        assert (Verdict.APPROVED, terms) == (outcome.verdict, outcome.decisions[-1].terms)

    @pytest.mark.parametrize(
        "terms",
        [
            Terms(level=OPERATE, duration_seconds=60),
            Terms(level=WRITE, duration_seconds=1801),
            Terms(level=READ, duration_seconds=1801),
            Terms(level=WRITE, duration_seconds=0),
            Terms(level=WRITE, duration_seconds=-5),
        ],
    )
    def test_a_yes_to_more_or_to_something_else_is_refused(self, terms: Terms) -> None:
        """A forged modal changes nothing."""
        outcome = judge(request=a_request(level=WRITE), terms=terms)

        assert isinstance(outcome, Refusal)
        assert "for what was asked or for less, not for more" in outcome.reason

    def test_terms_that_policy_denies_the_requester_are_refused(self) -> None:
        """Whoever may write need not be allowed to read."""
        outcome = judge(request=a_request(level=WRITE), terms=READ_BRIEFLY, policy_of_terms=DENIED)

        assert isinstance(outcome, Refusal)
        assert "R-ABC234 cannot be approved like that: Outside hours." == outcome.reason

    def test_terms_that_are_others_to_approve_are_refused(self) -> None:
        """Bob approves writing; reading is carol's to give."""
        outcome = judge(
            request=a_request(level=WRITE), terms=READ_BRIEFLY, policy_of_terms=a_policy(approvers=frozenset({CAROL}))
        )

        assert isinstance(outcome, Refusal)
        assert "not an approver of read access" in outcome.reason

    def test_an_extension_is_never_approved_as_another_level(self) -> None:
        """The access that it prolongs is there already; time is all that can be less."""
        extension = a_request(level=WRITE, extends="R-HELD22")
        as_read, shorter = (
            judge(request=extension, terms=Terms(level=level, duration_seconds=600)) for level in (READ, WRITE)
        )

        assert isinstance(as_read, Refusal)
        assert "as asked, or shorter" in as_read.reason
        assert isinstance(shorter, DecisionRecord)

    def test_a_no_carries_no_terms_of_the_request(self) -> None:
        """What is denied is not made smaller."""
        record = a_record(BOB, decisions=(a_decision(approves=False, terms=READ_BRIEFLY),), verdict=Verdict.DENIED)

        assert a_request() == approved_request(a_request(), record)

    def test_the_least_of_all_terms_is_approved(self) -> None:
        """Bob says ten minutes, carol says reading: both must agree to what is given."""
        record = a_record(
            decisions=(
                a_decision(BOB, terms=Terms(level=WRITE, duration_seconds=600)),
                a_decision(CAROL, terms=Terms(level=READ, duration_seconds=1200)),
            )
        )

        approved = approved_request(a_request(level=WRITE), record)

        assert (READ, 600) == (approved.level, approved.duration_seconds)

    @RULE
    @given(st.lists(any_value(Decision), max_size=4), st.sampled_from([READ, WRITE, OPERATE]), st.integers(1, 9999))
    def test_nothing_that_stands_in_a_record_gives_more_than_was_asked(
        self, decisions: list[Decision], level: object, asked_seconds: int
    ) -> None:
        """Not even terms that could never have been recorded."""
        request = a_request(level=level, duration_seconds=asked_seconds)
        approved = approved_request(request, a_record(decisions=tuple(decisions)))

        assert approved.level in lesser_levels(request.level)
        assert approved.duration_seconds <= asked_seconds
        assert replace(request, level=approved.level, duration_seconds=approved.duration_seconds) == approved


class TestGroups:
    """Members of a Slack user group may decide where the rule says so."""

    policy = a_policy(approvers=frozenset({CAROL}), approver_groups=frozenset({"S0ADMINS"}))

    def judge(self, person: Person, group: str) -> DecisionRecord | Refusal:
        return judge_decision(
            record=a_record(),
            request=a_request(),
            person=person,
            decision=a_decision(person, group=group),
            policy=self.policy,
            policy_of_terms=self.policy,
        )

    def test_a_member_of_the_rules_group_decides(self) -> None:
        """And nobody of another group, or of none."""
        outcomes = [isinstance(self.judge(DAVE, group), DecisionRecord) for group in ("S0ADMINS", "S0OTHERS", "")]

        assert [True, False, False] == outcomes

    def test_a_requester_in_the_group_decides_nothing_of_their_own(self) -> None:
        """Membership is no way round."""
        assert isinstance(self.judge(ALICE, "S0ADMINS"), Refusal)

    def test_a_yes_by_a_group_counts_while_the_catalogue_lists_the_group(self) -> None:
        """A group that was taken off the rule takes its members' yes with it; so does being the requester."""
        by_group = a_record(decisions=(a_decision(DAVE, group="S0ADMINS"),), verdict=Verdict.APPROVED)
        by_requester = replace(by_group, decisions=(a_decision(ALICE, group="S0ADMINS"),))

        assert confirm_approval(policy=self.policy, record=by_group, requester=ALICE) is None
        assert confirm_approval(policy=a_policy(), record=by_group, requester=ALICE) is not None
        assert confirm_approval(policy=self.policy, record=by_requester, requester=ALICE) is not None


class TestCancelling:
    def test_the_requester_takes_it_back(self) -> None:
        """As long as nobody has closed it."""
        cancelled = decided(judge_cancelling(record=a_record(), request=a_request(), person=ALICE))

        assert (Verdict.CANCELLED, 2) == (cancelled.verdict, cancelled.version)
        assert cancelled is close_cancelled(cancelled) is close_unanswered(cancelled)

    @pytest.mark.parametrize("person", [BOB, None])
    def test_nobody_else_does(self, person: Person | None) -> None:
        """Approvers deny."""
        outcome = judge_cancelling(record=a_record(), request=a_request(), person=person)

        assert Refusal(reason="R-ABC234 is not yours to cancel.") == outcome

    @pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict is not Verdict.OPEN])
    def test_what_is_closed_stays_as_it_is(self, verdict: Verdict) -> None:
        """The answer says how."""
        record = a_record(verdict=verdict)
        outcome = judge_cancelling(record=record, request=a_request(), person=ALICE)

        assert Refusal(reason=f"R-ABC234 was {verdict.replace('_', ' ')} already.") == outcome
        assert record is close_cancelled(record)

    def test_what_was_cancelled_is_never_granted(self) -> None:
        """Not even when the level has become automatic."""
        for policy in (a_policy(), ALLOWED):
            refusal = confirm_approval(policy=policy, record=a_record(BOB, verdict=Verdict.CANCELLED), requester=ALICE)
            assert Refusal(reason="The request was cancelled.") == refusal


class TestVoid:
    """People who are no members of the workspace any more."""

    def test_too_few_left_is_a_no(self) -> None:
        """Fails closed."""
        checked = without_void(a_record(BOB, CAROL, needed=2, verdict=Verdict.APPROVED), {BOB.person_id})

        assert (Verdict.DENIED, (BOB.person_id,), 4) == (checked.verdict, checked.void, checked.version)

    def test_enough_left_stays_approved(self) -> None:
        """Three said yes and two were needed."""
        approved = a_record(BOB, CAROL, DAVE, needed=2, verdict=Verdict.APPROVED)
        checked = without_void(approved, {BOB.person_id})

        assert (Verdict.APPROVED, {CAROL.person_id, DAVE.person_id}) == (checked.verdict, checked.approvers())

    @pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict is not Verdict.APPROVED])
    def test_what_is_not_approved_does_not_change(self, verdict: Verdict) -> None:
        """There is nothing to take away."""
        record = a_record(BOB, verdict=verdict)

        assert record is without_void(record, {BOB.person_id})

    @RULE
    @given(
        st.sets(st.sampled_from(APPROVERS)),
        st.lists(st.sets(st.sampled_from([person.person_id for person in APPROVERS])), max_size=3),
        st.integers(1, 3),
        st.sampled_from(Verdict),
    )
    def test_taking_votes_away_never_approves_anything(
        self, yes: set[Person], void: list[set[str]], needed: int, verdict: Verdict
    ) -> None:
        """However often they are looked at: approved afterwards means approved before, by enough who count."""
        before = after = a_record(*yes, needed=needed, verdict=verdict)
        for people in void:
            after = without_void(after, people)
            assert not after.approvers() & people or verdict is not Verdict.APPROVED or after.verdict is Verdict.DENIED

        if after.verdict is Verdict.APPROVED:
            assert before.verdict is Verdict.APPROVED
            assert after == before or len(after.approvers()) >= needed


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
    terms: Terms | None = None


any_terms = st.builds(Terms, level=st.sampled_from([READ, WRITE, OPERATE]), duration_seconds=st.integers(-5, 4000))
clicks = st.lists(
    st.builds(
        Click,
        person=st.sampled_from([None, ALICE, *APPROVERS]),
        approves=st.sampled_from([True, True, True, False]),
        minute=st.integers(0, 70),
        approvers=st.frozensets(st.sampled_from([ALICE, *APPROVERS]), min_size=2),
        terms=st.none() | any_terms,
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
            terms=click.terms,
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


@RULE
@given(
    rule=level_rules(),
    tighter=level_rules(),
    of_read=level_rules(),
    yes=st.lists(st.sampled_from([ALICE, *APPROVERS]), max_size=4, unique=True),
    terms=st.none() | any_terms,
    which=st.sampled_from(["who", "approvers", "needed", "cap", "hours", "automatic"]),
)
def test_a_tightened_rule_never_confirms_what_the_rule_before_did_not(
    rule: LevelRule, tighter: LevelRule, of_read: LevelRule, yes: list[Person], terms: Terms | None, which: str
) -> None:
    """Whatever was recorded, and on whatever terms: taking somebody off a list, a lower cap or hours only refuse more."""
    tightened = {
        "who": replace(rule, who=frozenset(name for name in tighter.who if rule.admits(name))),
        "approvers": replace(rule, approvers=rule.approvers & tighter.approvers),
        "needed": replace(rule, needed=max(rule.needed, tighter.needed)),
        "cap": replace(rule, cap_seconds=min(rule.cap_seconds, tighter.cap_seconds)),
        "hours": replace(rule, hours=Hours.parse("Sat-Sun 00:00-23:59 UTC")),
        "automatic": replace(rule, automatic=False),
    }[which]
    record = a_record(*yes, verdict=Verdict.APPROVED)
    record = replace(record, decisions=tuple(replace(each, terms=terms) for each in record.decisions))
    request = approved_request(a_request(level=WRITE), record)
    refusals = [
        confirm_approval(
            policy=judge_request(request, catalogue=a_catalogue_of(each, of_read), now=FRIDAY_NOON),
            record=record,
            requester=ALICE,
        )
        for each in (rule, tightened)
    ]

    assert refusals[0] is None or refusals[1] is not None


def a_catalogue_of(write: LevelRule, read: LevelRule) -> Catalogue:
    return a_catalogue(a_location(levels={WRITE: write, READ: read}), people=(ALICE, *APPROVERS))
