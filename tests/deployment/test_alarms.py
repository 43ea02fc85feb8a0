"""Who is told when something needs a person."""

import re

from deployment.package import Package
from tests.deployment.conftest import ROOT


def test_what_each_function_writes_is_watched_by_one_alarm(example: Package) -> None:
    """Each log group has the same filter, all of them count into one metric, and one alarm reads it."""
    resources = example.stack["Resources"]
    groups = {
        each["Properties"]["LoggingConfig"]["LogGroup"]["Ref"]
        for each in resources.values()
        if each["Type"] == "AWS::Lambda::Function"
    }
    filters = [each["Properties"] for each in resources.values() if each["Type"] == "AWS::Logs::MetricFilter"]
    metrics = [
        (each["MetricTransformations"][0]["MetricNamespace"], each["MetricTransformations"][0]["MetricName"])
        for each in filters
    ]
    alarms = [
        (each["Properties"].get("Namespace"), each["Properties"]["MetricName"])
        for each in resources.values()
        if each["Type"] == "AWS::CloudWatch::Alarm"
    ]

    assert groups == {each["LogGroupName"]["Ref"] for each in filters}
    assert 1 == len({each["FilterPattern"] for each in filters})
    assert [metrics[0]] * len(groups) == metrics
    assert 1 == alarms.count(metrics[0])


def test_what_is_watched_for_is_what_functions_write(example: Package) -> None:
    """A line that is worded anew would be watched for in vain."""
    filters = [each for each in example.stack["Resources"].values() if each["Type"] == "AWS::Logs::MetricFilter"]
    watched = re.findall(r'\$\.message = "([^"*]+)\*?"', filters[0]["Properties"]["FilterPattern"])
    written = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "chalicelib").rglob("*.py"))

    assert watched
    assert [] == [words for words in watched if f'"{words}' not in written]


def test_every_alarm_says_what_it_means_and_is_explained(example: Package) -> None:
    """In its own description, and in the operator's table."""
    alarms = [each for each in example.stack["Resources"].values() if each["Type"] == "AWS::CloudWatch::Alarm"]
    section = (
        (ROOT / "docs" / "operations.md")
        .read_text(encoding="utf-8")
        .partition("\n## Alarms\n")[2]
        .partition("\n## ")[0]
    )
    table = section.partition("| alarm |")[2].partition("\n\n")[0]
    rows = table.splitlines()[2:]

    assert all(each["Properties"]["AlarmDescription"] for each in alarms)
    assert len(alarms) == len(rows)
