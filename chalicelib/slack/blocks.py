"""The few Block Kit parts that every card, modal and reply is made of. They choose no words.

Two kinds of text, never mixed: ``mrkdwn`` strings are our own words with escaped values in them; whatever a person wrote goes
through `literal`, `quote`, `bullets` or `preformatted`, which Slack shows as it stands.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TypedDict

from chalicelib.domain.people import find_machine_name

Block = dict[str, Any]
View = dict[str, Any]

_LITERAL_LENGTH = 1000
_LINE_LENGTH = 200
_LIST_LENGTH = 20
_PARAGRAPH_LENGTH = 2900
_LISTING_LENGTH = 8000


class Message(TypedDict):
    """What a message consists of. ``text`` is what notifications and screen readers get; Slack reads it as mrkdwn too."""

    text: str
    blocks: list[Block]


def said(text: str) -> Message:
    """A message of one paragraph."""
    return Message(text=text, blocks=[section(text)])


def joined(messages: Iterable[Message]) -> Message:
    """Several messages as one."""
    messages = list(messages)
    return Message(
        text="\n".join(message["text"] for message in messages),
        blocks=[block for message in messages for block in message["blocks"]],
    )


def escape(text: str) -> str:
    """``text`` with the three characters that control mrkdwn made harmless: no mention, link or date can start in it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def bold(text: str) -> str:
    """A value in mrkdwn that must be seen."""
    return f"*{escape(text)}*"


def code(text: str) -> str:
    """A name in mrkdwn that is read letter by letter."""
    return f"`{escape(text)}`"


def mention(person_id: str) -> str:
    """A person, by team and user; Slack shows the name they have today. A machine, which no Slack user stands for, in words."""
    machine = find_machine_name(person_id)
    return f"<@{person_id.rpartition('/')[2]}>" if machine is None else f"the pipeline {escape(machine)}"


def as_start(text: str) -> str:
    """Words as the start of a sentence."""
    return text[:1].upper() + text[1:]


def time_of(at: datetime) -> str:
    """A time of the day in mrkdwn, in the reader's zone; in UTC where Slack cannot tell."""
    return _date(at, "{time}", f"{at.astimezone(UTC):%H:%M} UTC")


def day_and_time_of(at: datetime) -> str:
    """The same with the day, for what is still read later."""
    return _date(at, "{date_short_pretty} at {time}", f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC")


def count_of(number: int, one: str, many: str = "") -> str:
    """So many things in words."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def some_of(parts: Iterable[str], *, most: int = _LIST_LENGTH, separator: str = ", ") -> str:
    """The first parts in one line, and how many more there are."""
    parts = list(parts)
    more = [f"and {len(parts) - most} more"] if len(parts) > most else []
    return separator.join([*parts[:most], *more])


def shorten(text: str, most: int = _LITERAL_LENGTH) -> str:
    """``text``, cut to fit; never empty, which Slack refuses."""
    return (text if len(text) <= most else text[: most - 1] + "…") or "-"


def mrkdwn(text: str) -> Block:
    """A text object of our own words; Slack adds no links of its own."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def plain_text(text: str) -> Block:
    """A text object without markup."""
    return {"type": "plain_text", "text": text}


def header(text: str) -> Block:
    """The title of a message."""
    return {"type": "header", "text": plain_text(text)}


def section(text: str, beside: Block | None = None) -> Block:
    """A paragraph of mrkdwn, with a button beside it where one is given."""
    made: Block = {"type": "section", "text": mrkdwn(text)}
    return made if beside is None else {**made, "accessory": beside}


def paragraphs(lines: Iterable[str], *, most: int = _LISTING_LENGTH) -> list[Block]:
    """Lines of mrkdwn in as few paragraphs as Slack allows; cut at ``most`` characters in all, saying how many more there are."""
    lines, made, length = list(lines), [""], 0
    for index, line in enumerate(lines):
        length += len(line) + 1
        if length > most:
            made.append(f"and {len(lines) - index} more")
            break
        if len(made[-1]) + len(line) >= _PARAGRAPH_LENGTH:
            made.append("")
        made[-1] += f"\n{line}" if made[-1] else line
    return [section(text) for text in made if text]


def fields(**values: str) -> Block:
    """Named mrkdwn values side by side."""
    named = [mrkdwn(f"*{name.replace('_', ' ').capitalize()}*\n{value}") for name, value in values.items()]
    return {"type": "section", "fields": named}


def context(*parts: str) -> Block:
    """The small print, in mrkdwn."""
    return {"type": "context", "elements": [mrkdwn(" · ".join(parts))]}


def literal(text: str) -> Block:
    """A paragraph shown exactly as it stands, cut to fit."""
    return _rich_text({"type": "rich_text_section", "elements": [_run(shorten(text))]})


def quote(text: str) -> Block:
    """Words of a person, shown exactly as they stand and as theirs."""
    return _rich_text({"type": "rich_text_quote", "elements": [_run(shorten(text))]})


def bullets(lines: Iterable[str]) -> Block:
    """A list whose lines are shown exactly as they stand, each cut to fit."""
    items = [{"type": "rich_text_section", "elements": [_run(shorten(line, _LINE_LENGTH))]} for line in lines]
    return _rich_text({"type": "rich_text_list", "style": "bullet", "elements": items})


def preformatted(text: str, *, label: str = "") -> Block:
    """Something to copy, alone in its box and never cut; the label stands above it."""
    run = _run(label)
    run["style"] = {"bold": True}
    above = [{"type": "rich_text_section", "elements": [run]}] if label else []
    return _rich_text(*above, {"type": "rich_text_preformatted", "elements": [_run(text)]})


def actions(*elements: Block, block_id: str) -> Block:
    """A row of buttons. The block id tells a click on an old card from one on a new one."""
    return {"type": "actions", "block_id": block_id, "elements": list(elements)}


def version_of(at: datetime) -> int:
    """The version of a card that changes with an end: that end."""
    return int(at.timestamp())


def button(text: str, *, action_id: str, value: str = "", primary: bool = False, confirm: Block | None = None) -> Block:
    """A button. ``value`` is a request id or nothing: all other facts come from the ledger."""
    made: Block = {"type": "button", "text": plain_text(text), "action_id": action_id}
    if value:
        made["value"] = value
    if primary:
        made["style"] = "primary"
    if confirm is not None:
        made["confirm"] = confirm
    return made


def confirmation(title: str, text: str, *, yes: str, no: str, danger: bool = False) -> Block:
    """The question before a button acts; ``text`` is mrkdwn."""
    made = {"title": plain_text(title), "text": mrkdwn(text), "confirm": plain_text(yes), "deny": plain_text(no)}
    return {**made, "style": "danger"} if danger else made


def modal(title: str, *blocks: Block, callback_id: str, request_id: str, close: str = "Done") -> View:
    """A view without anything to submit. Its private metadata is the request id and nothing else."""
    return {
        "type": "modal",
        "callback_id": callback_id,
        "title": plain_text(title),
        "close": plain_text(close),
        "private_metadata": request_id,
        "blocks": list(blocks),
    }


def _rich_text(*elements: Block) -> Block:
    return {"type": "rich_text", "elements": list(elements)}


def _run(text: str) -> Block:
    return {"type": "text", "text": text}


def _date(at: datetime, shape: str, fallback: str) -> str:
    return f"<!date^{int(at.timestamp())}^{shape}|{fallback}>"
