"""The definition keeps every rule, and each rule notices a definition that does not."""

from collections.abc import Callable
from typing import Any

import pytest
from statelint.linter import Linter  # type: ignore[import-untyped]  # ships no types

from tests.statemachines import rules
from tests.statemachines.definition import load_definition, load_text
from tests.statemachines.rules import RULES, Rule

Break = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_definition_keeps_the_rule(rule: Rule) -> None:
    """Its docstring says why."""
    assert [] == list(rule(load_definition()))


def test_the_linter_has_nothing_to_say() -> None:
    """The grammar of the language itself is somebody else's to check."""
    assert [] == Linter.validate(load_text())


BREAKS: list[tuple[Rule, Break, str]] = [
    (
        rules.uses_only_known_fields,
        lambda states: states["PrepareAccess"].update(OutputPath="$.prepared"),
        "PrepareAccess has a field OutputPath",
    ),
    (
        rules.leads_every_edge_somewhere,
        lambda states: states["DeliverConnection"].update(Next="CheckEnd"),
        "DeliverConnection leads to CheckEnd, which is not there",
    ),
    (
        rules.leads_every_edge_somewhere,
        lambda states: states["IsEnding"].update(Default="FindInstancesToRevoke"),
        "HoldAccess cannot be reached",
    ),
    (
        rules.leads_every_edge_somewhere,
        lambda states: states["PrepareAccess"]["Branches"][0]["States"].pop("BastionFailed"),
        "EnsureBastionRunning leads to BastionFailed, which is not there",
    ),
    (
        rules.has_every_task_a_timeout,
        lambda states: states["RevokeAccess"].pop("TimeoutSeconds"),
        "RevokeAccess has no TimeoutSeconds, or another timeout",
    ),
    (
        rules.has_every_task_a_timeout,
        lambda states: states["HoldAccess"].update(TimeoutSeconds=3600),
        "HoldAccess has no TimeoutSecondsPath, or another timeout",
    ),
    (
        rules.reads_only_what_is_always_there,
        lambda states: states["FindDatabaseInstances"]["ResultSelector"].pop("provisioner.$"),
        "ProvisionDatabaseUser reads $.database.provisioner, which is not always there",
    ),
    (
        rules.invokes_only_functions,
        lambda states: states["CloseTunnels"].update(Resource="arn:aws:states:::aws-sdk:ssm:terminateSession"),
        "CloseTunnels uses arn:aws:states:::aws-sdk:ssm:terminateSession",
    ),
    (
        rules.passes_tokens_to_callbacks_alone,
        lambda states: states["HoldAccess"]["Parameters"]["Payload"].pop("task_token.$"),
        "HoldAccess passes ['$$.State.EnteredTime', '$$.State.RetryCount']",
    ),
    (
        rules.passes_tokens_to_callbacks_alone,
        lambda states: states["HoldAccess"]["Parameters"]["Payload"].update({"task_token.$": "$$.Task.Tokn"}),
        "HoldAccess passes ['$$.Task.Tokn', '$$.State.EnteredTime', '$$.State.RetryCount']",
    ),
    (
        rules.passes_tokens_to_callbacks_alone,
        lambda states: states["RequestReview"]["Parameters"]["Payload"].pop("retries.$"),
        "RequestReview passes ['$$.Task.Token', '$$.State.EnteredTime']",
    ),
    (
        rules.passes_tokens_to_callbacks_alone,
        lambda states: states["CheckPolicy"]["Parameters"]["Payload"].update({"task_token.$": "$$.Task.Token"}),
        "CheckPolicy passes ['$$.Task.Token']",
    ),
    (
        rules.tells_every_function_its_execution,
        lambda states: states["CloseTunnels"]["Parameters"]["Payload"].pop("execution.$"),
        "CloseTunnels does not pass its execution",
    ),
    (
        rules.keeps_its_input_in_every_catch,
        lambda states: states["CheckGrantEnd"]["Catch"][0].pop("ResultPath"),
        "A Catch of CheckGrantEnd writes $",
    ),
    (
        rules.keeps_its_input_in_every_catch,
        lambda states: states["RevokeAccess"]["Catch"][0].update(ResultPath=None),
        "A Catch of RevokeAccess writes None",
    ),
    (
        rules.keeps_its_input_in_every_catch,
        lambda states: states["FindInstancesToRevoke"]["Catch"][0].update(ResultPath="$.database"),
        "A Catch of FindInstancesToRevoke writes $.database",
    ),
    (
        rules.catches_everything_last,
        lambda states: states["RequestApproval"]["Catch"].reverse(),
        "RequestApproval does not catch States.ALL last",
    ),
    (
        rules.catches_everything_last,
        lambda states: states["RevokeAccess"]["Retry"][0].update(ErrorEquals=["States.ALL"]),
        "RevokeAccess matches States.ALL too early",
    ),
    (
        rules.never_retries_the_hold,
        lambda states: states["HoldAccess"].update(Retry=[{"ErrorEquals": ["States.Timeout"]}]),
        "HoldAccess has a Retry",
    ),
    (
        rules.provisions_again_only_what_did_not_run,
        lambda states: states["PrepareAccess"]["Branches"][1]["States"]["ProvisionDatabaseUser"]["Retry"][0][
            "ErrorEquals"
        ].append("Lambda.ServiceException"),
        "ProvisionDatabaseUser retries Lambda.ServiceException, after which the order may be under way",
    ),
    (
        rules.retries_no_death,
        lambda states: states["RevokeAccess"]["Retry"][0]["ErrorEquals"].append("Runtime.ExitError"),
        "RevokeAccess retries Runtime.ExitError",
    ),
    (
        rules.revokes_whatever_it_may_have_granted,
        lambda states: states["ConfirmApproval"]["Catch"][0].update(Next="Failed"),
        "Failed can end an execution that passed ConfirmApproval but not RevokeAccess",
    ),
    (
        rules.revokes_whatever_it_may_have_granted,
        lambda states: states["IsConfirmed"].pop("Default"),
        "IsConfirmed can end an execution that passed ConfirmApproval but not RevokeAccess",
    ),
    (
        rules.revokes_whatever_it_may_have_granted,
        lambda states: states["DeliverConnection"].pop("Catch"),
        "DeliverConnection can end an execution that passed ConfirmApproval but not RevokeAccess",
    ),
    (
        rules.revokes_whatever_it_may_have_granted,
        lambda states: states["IsPrepared"].update(Default="CloseTunnels"),
        "CloseTunnels can be reached from ConfirmApproval without RevokeAccess",
    ),
    (
        rules.revokes_whatever_it_may_have_granted,
        lambda states: states["RevokeAccess"]["Catch"][0].update(Next="ReportOutcome"),
        "ReportOutcome can be reached from ConfirmApproval without CloseTunnels",
    ),
    (
        rules.revokes_whatever_it_may_have_granted,
        lambda states: states["CloseTunnels"].update(Next="Finished"),
        "Finished can end an execution that passed ConfirmApproval but not ReportOutcome",
    ),
    (
        rules.gives_nothing_without_confirmation,
        lambda states: states["IsApproved"]["Choices"][0].update(Next="FindDatabaseInstances"),
        "PrepareAccess can be reached without ConfirmApproval",
    ),
    (
        rules.writes_every_key_from_one_place,
        lambda states: states["CloseTunnels"].update(ResultPath="$.revocation"),
        "revocation is written by CloseTunnels and RevokeAccess",
    ),
    (
        rules.writes_every_key_from_one_place,
        lambda states: states["EndGrant"].pop("ResultPath"),
        "EndGrant does not keep its input",
    ),
    (
        rules.reads_only_what_is_always_there,
        lambda states: states["IsApproved"]["Choices"][0].update(Variable="$.approval.verdikt"),
        "IsApproved reads $.approval.verdikt, which is not always there",
    ),
    (
        rules.reads_only_what_is_always_there,
        lambda states: states["CheckPolicy"]["ResultSelector"].pop("remind_seconds.$"),
        "RequestApproval reads $.policy.remind_seconds, which is not always there",
    ),
    (
        rules.reads_only_what_is_always_there,
        lambda states: states["PrepareAccess"]["Branches"][1]["States"]["ProvisionDatabaseUser"]["Catch"][0].update(
            ResultPath="$.eror"
        ),
        "ProvisioningFailed reads $.error, which is not always there",
    ),
    (
        rules.reads_only_what_is_always_there,
        lambda states: states["PrepareAccess"]["Branches"][0]["States"]["BastionFailed"]["Parameters"].pop("is_ok"),
        "IsPrepared reads $.prepared.bastion.is_ok, which is not always there",
    ),
    (
        rules.keeps_purposes_apart,
        lambda states: states["IsApproved"]["Choices"].pop(0),
        "ConfirmApproval can be entered for the purpose extend",
    ),
    (
        rules.keeps_purposes_apart,
        lambda states: states["IsApproved"]["Choices"][0]["And"].pop(),
        "GrantExtension can be entered for the purpose grant",
    ),
    (
        rules.keeps_purposes_apart,
        lambda states: states["WhichPurpose"]["Choices"].pop(1),
        "ConfirmApproval can be entered for the purpose review",
    ),
    (
        rules.keeps_purposes_apart,
        lambda states: states["CheckReview"]["Catch"][0].update(Next="EndGrant"),
        "RevokeAccess can be entered for the purpose review",
    ),
    (
        rules.tells_in_passing,
        lambda states: states["TellHolder"]["Catch"][0].update(Next="EndGrant"),
        "TellHolder leads to EndGrant",
    ),
    (
        rules.tells_in_passing,
        lambda states: states["TellHolder"].update(TimeoutSeconds=45),
        "TellHolder may take 45 seconds",
    ),
    (
        rules.reads_nothing_late_that_the_input_lacks,
        lambda states: states["ReportOutcome"]["Parameters"]["Payload"].update({"waited.$": "$.waited"}),
        "ReportOutcome reads $.waited, which the input lacks",
    ),
]


@pytest.mark.parametrize(("rule", "break_it", "sentence"), BREAKS, ids=[sentence for _, _, sentence in BREAKS])
def test_a_deliberate_break_is_named(rule: Rule, break_it: Break, sentence: str) -> None:
    """A rule that cannot fail protects nothing."""
    broken = load_definition()
    break_it(broken["States"])

    assert sentence in list(rule(broken))


def test_every_rule_has_been_seen_to_fail() -> None:
    """No rule joins the list without a break that it names."""
    assert set(RULES) == {rule for rule, _, _ in BREAKS}
