"""How a request ended, and the sentence that says why."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.endings import Outcome, Prepared, Purpose, StepError, decide_outcome
from tests.factories import a_course
from tests.strategies import RULE

OK = Prepared(is_ok=True)
STACK = ["  File /var/task/chalicelib/workflow/x.py, line 1"]


def a_step_error(name: str, message: str) -> StepError:
    """What a Catch holds after a function raised."""
    cause = json.dumps({"errorMessage": message, "errorType": name, "stackTrace": STACK, "requestId": "0a1b"})
    return StepError(Error=name, Cause=cause)


REFUSED = a_step_error("LoginRefusedError", "The login was refused. Check IAM.")
COLD = Prepared(is_ok=False, error=a_step_error("BastionNotReadyError", "The bastion main did not connect."))
NO_LOGIN = Prepared(is_ok=False, error=REFUSED)


@pytest.mark.parametrize(
    ("changes", "outcome", "explanation"),
    [
        ({}, Outcome.FINISHED, ""),
        ({"policy_answer": "allowed", "verdict": ""}, Outcome.FINISHED, ""),
        ({"policy_answer": "denied", "policy_reason": "Too long."}, Outcome.DENIED, "Too long."),
        ({"verdict": "denied"}, Outcome.DENIED, "An approver said no."),
        ({"verdict": "timed_out"}, Outcome.TIMED_OUT, "Nobody decided in time; nothing was granted."),
        (
            {"is_confirmed": False, "confirmation_reason": "The catalogue has changed."},
            Outcome.DENIED,
            "The catalogue has changed.",
        ),
        ({"verdict": "denied", "verdict_reason": "Bob left."}, Outcome.DENIED, "Bob left."),
        ({"verdict": "cancelled"}, Outcome.CANCELLED, ""),
        ({"purpose": Purpose.EXTEND}, Outcome.FINISHED, ""),
        ({"purpose": Purpose.EXTEND, "bastion": COLD, "database_user": NO_LOGIN}, Outcome.FINISHED, ""),
        ({"purpose": Purpose.EXTEND, "is_confirmed": False, "confirmation_reason": "Late."}, Outcome.DENIED, "Late."),
        ({"bastion": COLD}, Outcome.FAILED, "The bastion main did not connect."),
        ({"database_user": NO_LOGIN}, Outcome.FAILED, "The login was refused. Check IAM."),
        ({"bastion": COLD, "database_user": NO_LOGIN}, Outcome.FAILED, "The bastion main did not connect."),
        ({"failure": REFUSED}, Outcome.FAILED, "The login was refused. Check IAM."),
        ({"failure": REFUSED, "verdict": "denied"}, Outcome.FAILED, "The login was refused. Check IAM."),
        ({"purpose": Purpose.REVOKE}, Outcome.FAILED, "The workflow of R-ABC234 stopped before its end."),
        ({"purpose": Purpose.REVOKE, "failure": REFUSED}, Outcome.FAILED, "The login was refused. Check IAM."),
    ],
)  # fmt: skip  # one case a row
def test_the_course_decides_the_outcome(changes: dict[str, Any], outcome: Outcome, explanation: str) -> None:
    """A failure first, then policy, people, confirmation and preparation; finished only when all of them went well."""
    assert (outcome, explanation) == decide_outcome(a_course(**changes), request_id="R-ABC234")


def test_what_was_taken_back_before_it_was_granted_is_cancelled() -> None:
    """Its confirmation was refused because of that; what was granted and then ended is finished all the same."""
    refused = a_course(is_confirmed=False, confirmation_reason="The request was cancelled.")

    assert (Outcome.CANCELLED, "") == decide_outcome(refused, request_id="R-ABC234", is_end_asked=True)
    assert (Outcome.FINISHED, "") == decide_outcome(a_course(), request_id="R-ABC234", is_end_asked=True)


@RULE
@given(st.builds(
    a_course,
    policy_answer=st.sampled_from(["", "allowed", "needs_approval", "denied"]),
    verdict=st.sampled_from(["", "approved", "denied", "timed_out"]),
    is_confirmed=st.booleans(),
    confirmation_reason=st.just("No."),
    purpose=st.sampled_from([Purpose.GRANT, Purpose.EXTEND, Purpose.REVOKE]),
    bastion=st.sampled_from([OK, COLD]),
    database_user=st.sampled_from([OK, NO_LOGIN]),
    failure=st.sampled_from([StepError(), REFUSED]),
))  # fmt: skip
def test_only_a_course_that_was_good_throughout_is_finished(course: Any) -> None:
    """And every other end has an explanation for the person."""
    outcome, explanation = decide_outcome(course, request_id="R-ABC234")
    is_good = (
        course.purpose in {Purpose.GRANT, Purpose.EXTEND}
        and course.policy_answer != "denied"
        and course.verdict not in {"denied", "timed_out"}
        and course.is_confirmed
        and (course.purpose is Purpose.EXTEND or (course.bastion.is_ok and course.database_user.is_ok))
        and not course.failure.Error
    )

    assert is_good == (outcome is Outcome.FINISHED) == (not explanation)


class TestExplaining:
    def test_our_own_errors_speak_for_themselves(self) -> None:
        """They are written for the requester."""
        assert REFUSED.explain("R-ABC234") == "The login was refused. Check IAM."

    @pytest.mark.parametrize(
        "error",
        [
            StepError(Error="States.Timeout", Cause=""),
            StepError(Error="States.Runtime", Cause="An error occurred at arn:aws:lambda:eu-west-1:123456789012:x"),
            StepError(
                Error="Lambda.TooManyRequestsException", Cause="Rate exceeded (Service: Lambda; Request ID: 0a1b)"
            ),
            a_step_error("Runtime.ExitError", "RequestId: 0a1b Error: Runtime exited with error: signal: killed"),
            a_step_error("KeyError", "'ends_at' in arn:aws:states"),
            a_step_error("OperationalError", "connection to 10.0.3.7 failed: password=secret"),
            a_step_error("PayloadError", "order.facts is missing"),
            a_step_error("Exception", "secret"),
            StepError(Error="LoginRefusedError", Cause="not json: secret"),
            StepError(Error="LoginRefusedError", Cause='["secret"]'),
            StepError(Error="LoginRefusedError", Cause='{"errorMessage": ""}'),
            StepError(Error="LoginRefusedError", Cause=""),
        ],
        ids=lambda error: error.Error,
    )
    def test_everything_else_is_named_and_not_quoted(self, error: StepError) -> None:
        """Neither a vendor's text nor a stack reaches a Slack channel."""
        assert error.explain("R-ABC234") == (
            f"A step did not answer ({error.Error}). Ask again; if it stays so, report R-ABC234."
        )

    @RULE
    @given(st.text(), st.text())
    def test_a_stack_is_never_told(self, name: str, message: str) -> None:
        """Whatever the error is called."""
        assert STACK[0] not in a_step_error(name, message).explain("R-ABC234")

    @RULE
    @given(st.text(), st.text())
    def test_no_cause_upsets_the_explaining(self, name: str, cause: str) -> None:
        """The end is reported whatever the failure looks like."""
        assert StepError(Error=name, Cause=cause).explain("R-ABC234")


class TestAnswers:
    @pytest.mark.parametrize(
        ("name", "is_answer"),
        [
            ("LoginRefusedError", True),
            ("KeyError", True),
            ("States.Timeout", False),
            ("Lambda.AWSLambdaException", False),
            ("Sandbox.Timedout", False),
            ("Runtime.ExitError", False),
            ("", False),
        ],
    )
    def test_only_a_function_that_raised_has_answered(self, name: str, is_answer: bool) -> None:
        """One that was killed or never heard of may have done its work, and may be doing it still."""
        assert is_answer == StepError(Error=name).is_answer

    @pytest.mark.parametrize(
        ("provisioned", "is_answered"),
        [
            (OK, True),
            (Prepared(is_ok=False, error=REFUSED), True),
            (Prepared(is_ok=False, error=StepError(Error="States.Timeout")), False),
            (Prepared(is_ok=False), False),
        ],
    )
    def test_provisioning_is_over_once_it_said_how_it_went(self, provisioned: Prepared, is_answered: bool) -> None:
        """Until then a receipt is not the last word; how the bastion fared does not matter."""
        silent_bastion = Prepared(is_ok=False, error=StepError(Error="States.Timeout"))

        assert is_answered == a_course(bastion=silent_bastion, database_user=provisioned).is_order_answered
