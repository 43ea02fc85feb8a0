"""What a piece of a template refers to, in every way that CloudFormation has of saying it."""

from typing import Any

import pytest

from deployment.references import conditions, references


@pytest.mark.parametrize(
    ("piece", "names"),
    [
        ({"Ref": "Ledger"}, {"Ledger"}),
        ({"Fn::GetAtt": ["Ledger", "Arn"]}, {"Ledger"}),
        ({"Fn::GetAtt": "Ledger.Arn"}, {"Ledger"}),
        ({"Fn::Sub": "${Ledger}/${WorkflowRole.Arn}"}, {"Ledger", "WorkflowRole"}),
        ({"Fn::Sub": ["${Here}/${Stage}", {"Here": {"Ref": "Ledger"}}]}, {"Stage", "Ledger"}),
        ({"Fn::If": ["HasAlarms", {"Ref": "Ledger"}, {"Ref": "AWS::NoValue"}]}, {"Ledger"}),
        ([{"Type": "AWS::S3::Bucket", "DependsOn": "Ledger"}, {"DependsOn": ["Workflow"]}], {"Ledger", "Workflow"}),
        ({"Ref": "AWS::Region"}, set()),
        ({"Fn::Sub": "${AWS::Region}/${!aws:userid}"}, set()),
        ("${Ledger}", set()),
    ],
)
def test_references_are_found(piece: Any, names: set[str]) -> None:
    """And nothing that only looks like one."""
    assert names == references(piece)


@pytest.mark.parametrize(
    ("piece", "names"),
    [
        ({"Condition": "HasAlarms"}, {"HasAlarms"}),
        ({"Fn::If": ["HasAlarms", {"Fn::If": ["HasSessionKey", 1, 2]}, 3]}, {"HasAlarms", "HasSessionKey"}),
        ({"Fn::Not": [{"Condition": "HasAlarms"}]}, {"HasAlarms"}),
        ({"Effect": "Deny", "Condition": {"Bool": {"ec2:AssociatePublicIpAddress": "true"}}}, set()),
    ],
)
def test_conditions_are_found(piece: Any, names: set[str]) -> None:
    """Not those of policies, which are IAM's."""
    assert names == conditions(piece)
