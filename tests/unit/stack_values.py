"""What a template comes to when its parameters have values: conditions decided, Fn::If chosen, absent things absent."""

from collections.abc import Mapping
from typing import Any

from deployment.databases import Database

Template = dict[str, Any]
_NOTHING = {"Ref": "AWS::NoValue"}


class Given:
    """A template with values for its parameters; its own defaults hold for the others."""

    def __init__(self, template: Template, values: Mapping[str, str]) -> None:
        defaults = {name: each["Default"] for name, each in template["Parameters"].items() if "Default" in each}
        self._values = {**defaults, **values}
        self._conditions = template["Conditions"]
        self.resources = {
            name: self._chosen(each)
            for name, each in template["Resources"].items()
            if "Condition" not in each or self.holds(each["Condition"])
        }

    def holds(self, name: str) -> bool:
        """Whether a condition does."""
        return self._decided({"Condition": name})

    def of_type(self, kind: str) -> dict[str, Any]:
        """The properties of the resources of a type that would be there."""
        return {name: each["Properties"] for name, each in self.resources.items() if each["Type"] == kind}

    def _decided(self, condition: Mapping[str, Any]) -> bool:
        ((kind, inner),) = condition.items()
        match kind:
            case "Condition":
                return self._decided(self._conditions[inner])
            case "Fn::Equals":
                first, second = (self._chosen(each) for each in inner)
                return bool(first == second)
            case "Fn::Not":
                return not self._decided(inner[0])
            case "Fn::And" | "Fn::Or":
                assert 2 <= len(inner) <= 10, "CloudFormation takes two to ten"
                return (all if kind == "Fn::And" else any)(self._decided(each) for each in inner)
        raise NotImplementedError(kind)

    def _chosen(self, value: Any) -> Any:
        if isinstance(value, dict):
            if "Fn::If" in value:
                condition, one, other = value["Fn::If"]
                return self._chosen(one if self.holds(condition) else other)
            if value.keys() == {"Ref"} and value["Ref"] in self._values:
                return self._values[value["Ref"]]
            return {key: self._chosen(inner) for key, inner in value.items() if inner != _NOTHING}
        if isinstance(value, list):
            return [each for each in map(self._chosen, value) if each != _NOTHING]
        return value


def known_of(databases: Mapping[Database, tuple[str, int]]) -> dict[str, str]:
    """Values for the parameters of databases, each with a security group and a port."""
    values: dict[str, str] = {}
    for database, (group, port) in databases.items():
        values |= {
            database.security_group: group,
            database.port: str(port),
            database.host: f"{database.identifier}.example.com",
            database.resource_id: "cluster-ABCDEFGHIJKL",
        }
    return values
