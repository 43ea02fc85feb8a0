"""The queries that the stack saves in CloudWatch for whoever looks something up."""

import re
from textwrap import indent

from tests.unit.stack_template import ROOT, completed

OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
RESOURCES = completed()["Resources"].values()
QUERIES = [each["Properties"] for each in RESOURCES if each["Type"] == "AWS::Logs::QueryDefinition"]


def test_every_query_is_over_all_functions() -> None:
    """The log groups are those that the functions write to."""
    groups = [
        each["Properties"]["LoggingConfig"]["LogGroup"]
        for each in RESOURCES
        if each["Type"] == "AWS::Serverless::Function"
    ]

    assert [groups] * 3 == [each["LogGroupNames"] for each in QUERIES]
    assert 1 < len(groups) <= 50  # what Logs Insights looks through at once


def test_the_operators_page_has_the_queries_that_are_saved() -> None:
    """By their names, and word for word."""
    written = re.findall(r"^\*([\w, ]+)\*.*:\n\n((?: {4}.+\n)+)", OPERATIONS, re.MULTILINE)

    assert written == [
        (each["Name"]["Fn::Sub"].removeprefix("drawbridge-${Stage}/"), indent(each["QueryString"], "    ") + "\n")
        for each in QUERIES
    ]
