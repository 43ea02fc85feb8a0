"""Cards and modals as a terminal can show them: what a person reads in Slack, without the markup."""

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_DATE = re.compile(r"<!date\^\d+\^[^|>]*\|([^>]*)>")
_MENTION = re.compile(r"<@U0(\w+)>")
_BOLD = re.compile(r"(?<!\w)\*(\S[^*\n]*)\*(?!\w)")


def readable(blocks: Iterable[Mapping[str, Any]]) -> str:
    """The blocks as lines: buttons in brackets, what is to be copied on lines of its own."""
    return "\n".join(line for block in blocks for line in _lines(block))


def readable_text(text: str) -> str:
    """A text of Slack's markup as it is displayed."""
    named = _MENTION.sub(lambda match: f"@{match[1].lower()}", _DATE.sub(r"\1", text))
    return html.unescape(_BOLD.sub(r"\1", named).replace("`", ""))


def _lines(block: Mapping[str, Any]) -> Iterator[str]:
    match block["type"]:
        case "actions":
            yield "   ".join(f"[ {button['text']['text']} ]" for button in block["elements"])
        case "section" if "fields" in block:
            yield " · ".join(readable_text(field["text"]).replace("\n", ": ") for field in block["fields"])
        case "context":
            yield " ".join(readable_text(element["text"]) for element in block["elements"])
        case "rich_text":
            for element in block["elements"]:
                yield from _rich(element)
        case _:
            yield readable_text(block["text"]["text"])


def _rich(element: Mapping[str, Any]) -> Iterator[str]:
    """Rich text holds what people wrote, so none of it is markup."""
    match element["type"]:
        case "rich_text_list":
            for item in element["elements"]:
                yield from (f"- {line}" for line in _rich(item))
        case "rich_text_preformatted":
            yield f"    {_run(element)}"
        case "rich_text_quote":
            yield f"> {_run(element)}"
        case _:
            yield _run(element)


def _run(element: Mapping[str, Any]) -> str:
    return "".join(part.get("text", part.get("fallback", "")) for part in element["elements"])
