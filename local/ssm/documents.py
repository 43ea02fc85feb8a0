"""Session documents for port forwarding: which AWS would take, and what a session by one of them may do and for how long."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

AWS_DOCUMENT = "AWS-StartPortForwardingSessionToRemoteHost"
_PARTS = {"inputs", "parameters", "properties"}
_FIELDS = {"schemaVersion", "description", "sessionType", *_PARTS}
_MOST_MINUTES = {"idleSessionTimeout": 60, "maxSessionDuration": 1440}
_IDLE_MINUTES = "20"  # where neither the document nor the account says otherwise
_REFERENCE = re.compile(r"\{\{ *(\w+) *}}")
_OWN_NAME = re.compile(r"(?!(?i:aws|amazon|amzn))[\w.-]{3,128}")


@dataclass(eq=False)
class SsmError(Exception):
    """A refusal as AWS answers it: HTTP 400 with this code and message."""

    code: str
    message: str


def require(holds: object, code: str, message: str) -> None:
    """Refuse what does not hold."""
    if not holds:
        raise SsmError(code, message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document, checked when it is made. Raises SsmError for what AWS would not take."""

    name: str
    content: Mapping[str, Any]

    def __post_init__(self) -> None:
        content, parameters = self.content, self.content.get("parameters", {})
        fields = (content.keys() <= _FIELDS, content.get("schemaVersion"), content.get("sessionType"))
        self._require(fields == (True, "1.0", "Port") and "properties" in content, "is no document of a port session")
        texts = [text for part in _PARTS - {"parameters"} for text in content.get(part, {}).values()]
        texts += [text for rules in parameters.values() for text in rules.values()]
        self._require(all(isinstance(text, str) for text in texts), "has values that are no texts")
        for name, minutes in content.get("inputs", {}).items():
            fits = re.fullmatch("[1-9][0-9]{0,3}", minutes) and int(minutes) <= _MOST_MINUTES.get(name, 0)
            self._require(fits, f"cannot have {name} {minutes}")
        for name, rules in parameters.items():
            fits = "default" not in rules or re.fullmatch(_pattern(rules), rules["default"])
            self._require(fits and rules.get("type") == "String", f"declares {name} so that it could not be used")
        referenced = _REFERENCE.findall(" ".join(content["properties"].values()))
        self._require(set(referenced) <= parameters.keys(), "refers to a parameter that it does not declare")

    def _require(self, holds: object, complaint: str) -> None:
        require(holds, "InvalidDocumentContent", f"{self.name} {complaint}.")

    def fill(self, given: Mapping[str, list[str]]) -> dict[str, str]:
        """The properties with what was given, or else the defaults, put in. SsmError for what it does not take."""
        parameters = self.content.get("parameters", {})
        values = {name: rules["default"] for name, rules in parameters.items() if "default" in rules}
        for name, texts in given.items():
            fits = name in parameters and len(texts) == 1 and re.fullmatch(_pattern(parameters[name]), texts[0])
            require(fits, "InvalidParameters", f"{self.name} does not take {name}={texts}.")
            values[name] = texts[0]
        require(values.keys() == parameters.keys(), "InvalidParameters", f"{self.name} needs {', '.join(parameters)}.")
        properties = self.content["properties"].items()
        return {name: _REFERENCE.sub(lambda found: values[found[1]], text) for name, text in properties}

    def minutes(self, limit: str) -> str | None:
        """One of its limits as it says it, or as an account has it that has set none."""
        text: str | None = self.content.get("inputs", {}).get(limit)
        return text or (_IDLE_MINUTES if limit == "idleSessionTimeout" else None)

    def is_over(self, *, lasted: timedelta, idle: timedelta) -> bool:
        """Does a session end that has lasted so long, and for so long has not been used?"""
        longest, longest_idle = self.minutes("maxSessionDuration"), self.minutes("idleSessionTimeout")
        is_too_old = longest is not None and lasted >= timedelta(minutes=int(longest))
        return is_too_old or (longest_idle is not None and idle > timedelta(minutes=int(longest_idle)))


def own_document(name: str, content: Mapping[str, Any]) -> Document:
    """A document of the account. AWS's names are its own."""
    require(_OWN_NAME.fullmatch(name), "InvalidDocument", f"{name} is no name for a document of yours.")
    return Document(name=name, content=content)


def aws_document() -> Document:
    """The one that AWS owns, from the file of its name."""
    file = Path(__file__).with_name(f"{AWS_DOCUMENT}.json")
    return Document(name=AWS_DOCUMENT, content=json.loads(file.read_text(encoding="utf-8")))


def _pattern(rules: Mapping[str, str]) -> str:
    return rules.get("allowedPattern", "(?s:.*)")
