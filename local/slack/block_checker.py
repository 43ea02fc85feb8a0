"""Block Kit as Slack applies it: the limits of cards and forms, the ids it fills in, the state of a form.

The table has what an app of forms and approval cards uses; whatever isn't in it is refused, not skipped.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
# Each object's name, then its fields as `name=rule`, `!` where required; N is the limit that a rule gave it.
# An object with a rule for `type` is a choice: the value's type names the object that it has to be.
TABLE = """
plain_text        text!=str:1-N emoji=flag
mrkdwn            text!=str:1-N verbatim=flag
plain             type=plain_text
words             type=plain_text|mrkdwn
dialog            title!=plain:100 text!=words:300 confirm!=plain:30 deny!=plain:30 style=one:primary|danger
option            text!=plain:75 value!=str:1-150 description=plain:75
tick              text!=words:75 value!=str:1-150 description=plain:75
item              text!=plain:75 value!=str:1-150 description=plain:75 url=web
button            action_id=id text!=plain:75 value=str:1-2000 url=web style=one:primary|danger confirm=dialog
                  accessibility_label=str:1-75
overflow          action_id=id options!=list:1-5:item confirm=dialog
static_select     action_id=id options!=list:1-100:option initial_option=option placeholder=plain:150
                  confirm=dialog focus_on_load=flag
radio_buttons     action_id=id options!=list:1-10:tick initial_option=tick focus_on_load=flag confirm=dialog
checkboxes        action_id=id options!=list:1-10:tick initial_options=list:1-10:tick focus_on_load=flag
                  confirm=dialog
plain_text_input  action_id=id placeholder=plain:150 multiline=flag focus_on_load=flag
                  initial_value=str:0-3000 min_length=int:0-3000 max_length=int:1-3000
image             image_url!=web alt_text!=str:1-2000
pressed           type=button|overflow|static_select|radio_buttons|checkboxes
beside            type=button|overflow|static_select|radio_buttons|checkboxes|image
filled            type=plain_text_input|static_select|radio_buttons|checkboxes
remark            type=plain_text|mrkdwn|image
emphasis          bold=flag italic=flag strike=flag code=flag
text              text!=str:1-12000 style=emphasis
link              url!=web text=str:1-3000 style=emphasis
user              user_id!=str:1-20 style=emphasis
run               type=text|link|user
code              type=text|link
line              type=rich_text_section
rich_text_section elements!=list:1-1000:run
rich_text_quote   elements!=list:1-1000:run
rich_text_preformatted  elements!=list:1-1000:code
rich_text_list    elements!=list:1-1000:line style!=one:bullet|ordered indent=int:0-8
rich              type=rich_text_section|rich_text_quote|rich_text_preformatted|rich_text_list
section           block_id=id text=words:3000 fields=list:1-10:words:2000 accessory=beside expand=flag
actions           block_id=id elements!=list:1-25:pressed
context           block_id=id elements!=list:1-10:remark:3000
header            block_id=id text!=plain:150
divider           block_id=id
markdown          block_id=id text!=str:1-12000
rich_text         block_id=id elements!=list:1-1000:rich
input             block_id=id label!=plain:2000 element!=filled hint=plain:2000 optional=flag
                  dispatch_action=flag
on_card           type=section|actions|context|header|divider|rich_text|input|markdown
on_form           type=section|actions|context|header|divider|rich_text|input
message           blocks=list:0-50:on_card
modal             title!=plain:24 blocks!=list:1-100:on_form submit=plain:24 close=plain:24
                  callback_id=id private_metadata=str:0-3000 notify_on_close=flag clear_on_close=flag
home              blocks!=list:1-100:on_form callback_id=id private_metadata=str:0-3000
a_modal           type=modal
a_home            type=home
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One violation; `pointer` starts at the API call's arguments (`/blocks/0/text/text`)."""

    pointer: str
    text: str

    def __str__(self) -> str:
        return f"{self.text} [json-pointer:{self.pointer}]"


def is_within(number: int, bounds: str) -> bool:
    """Whether a number lies in bounds such as `1-75`."""
    lowest, highest = map(int, bounds.split("-"))
    return lowest <= number <= highest


def differ(parts: list[Json], key: str) -> bool:
    """Whether all parts that have this key have another value there."""
    names = [part[key] for part in parts if key in part]
    return len(names) == len(set(names))


OBJECTS = {
    name: dict(field.split("=") for field in fields.split())
    for name, fields in re.findall(r"^(\w+)((?:\s+\w+!?=\S+)+)", TABLE, re.MULTILINE)
}
RULES: dict[str, Callable[[Any, str], bool]] = {
    "str": lambda value, limit: isinstance(value, str) and is_within(len(value), limit),
    "id": lambda value, _: isinstance(value, str) and is_within(len(value), "1-255"),
    "web": lambda value, _: bool(re.fullmatch(r"(?!.{3001})https?://\S+", str(value))),
    "int": lambda value, limit: type(value) is int and is_within(value, limit),
    "flag": lambda value, _: isinstance(value, bool),
    "one": lambda value, limit: value in limit.split("|"),
}
INTERACTIVE = {"plain_text_input", *OBJECTS["pressed"]["type"].split("|")}
ABSENT = "does not offer its initial_option"
WHOLE: list[tuple[str, Callable[[Json], bool], str]] = [  # asked of objects whose fields are sound
    ("section", lambda o: "text" in o or "fields" in o, "needs text or fields"),
    ("actions", lambda o: differ(o["elements"], "action_id"), "repeats an action_id"),
    ("plain_text_input", lambda o: o.get("min_length", 0) <= o.get("max_length", 3000), "min > max"),
    ("static_select radio_buttons", lambda o: o.get("initial_option") in [None, *o["options"]], ABSENT),
    ("checkboxes", lambda o: all(tick in o["options"] for tick in o.get("initial_options", [])), ABSENT),
    ("message modal home", lambda o: differ(o["blocks"], "block_id"), "repeats a block_id"),
    ("message modal home", lambda o: json.dumps(o).count('"focus_on_load": true') < 2, "repeats focus_on_load"),
    ("modal", lambda o: "submit" in o or "input" not in [b["type"] for b in o["blocks"]], "needs submit"),
]


def check(value: Any, rule: str, at: str) -> Iterator[Problem]:
    """The problems of a value under a rule of the table; `at` is its JSON pointer."""
    kind, _, limit = rule.partition(":")
    fields = OBJECTS.get(kind, {})
    if "type" in fields and isinstance(value, dict) and value.get("type") in fields["type"].split("|"):
        inside = {name: value[name] for name in value if name != "type"}
        yield from check(inside, f"{value['type']}:{limit}", at)
    elif kind == "list" and isinstance(value, list):
        bounds, _, item = limit.partition(":")
        if not is_within(len(value), bounds):
            yield Problem(pointer=at, text=f"must have {bounds} items")
        for index, entry in enumerate(value):
            yield from check(entry, item, f"{at}/{index}")
    elif fields and "type" not in fields and isinstance(value, dict):
        known = {name.rstrip("!"): rule.replace("N", limit) for name, rule in fields.items()}
        lacking = [name[:-1] for name in fields if name[-1] == "!" and name[:-1] not in value]
        found = [Problem(pointer=f"{at}/{name}", text="is required") for name in lacking]
        for name, entry in value.items():
            child = f"{at}/{name.replace('~', '~0').replace('/', '~1')}"
            found += check(entry, known.get(name, "left out"), child)
        broken = [why for kinds, holds, why in WHOLE if kind in kinds.split() and not (found or holds(value))]
        yield from [*found, *(Problem(pointer=at, text=why) for why in broken)]
    elif kind not in RULES or not RULES[kind](value, limit):
        yield Problem(pointer=at, text=f"must be {rule} {fields.get('type', '')}".strip())


def check_blocks(blocks: Any) -> list[Problem]:
    """Every violation in a message's blocks."""
    return list(check({"blocks": blocks}, "message", ""))


def check_view(view: Any, kind: str = "modal") -> list[Problem]:
    """Every violation in a view that has to be a `modal` or a `home`."""
    too_large = [Problem(pointer="/view", text="is larger than 250 KB")] if len(json.dumps(view)) > 250_000 else []
    return [*check(view, f"a_{kind}", "/view"), *too_large]


def elements(blocks: list[Json]) -> list[tuple[Json, Json]]:
    """Each (block, element) that a person can press or fill in, of blocks without problems."""
    held = [(b, [*b.get("elements", []), b.get("accessory", {}), b.get("element", {})]) for b in blocks]
    return [(block, part) for block, parts in held for part in parts if part.get("type") in INTERACTIVE]


def with_ids(blocks: list[Json]) -> list[Json]:
    """A copy in which every block and element has an id."""
    filled: list[Json] = json.loads(json.dumps(blocks))
    for block in filled:
        block.setdefault("block_id", secrets.token_urlsafe(4))
    for _, element in elements(filled):
        element.setdefault("action_id", secrets.token_urlsafe(4))
    return filled


def answer_of(field: Json, given: Any = None) -> Json:
    """A field's part of a payload: this text, option or list of options, else its initial one. Raises LookupError."""
    if field["type"] == "plain_text_input":
        if given and not field.get("min_length", 0) <= len(given) <= field.get("max_length", 3000):
            raise LookupError(f"{field['action_id']!r} takes no text of {len(given)} characters.")
        return {"value": (field.get("initial_value") if given is None else given) or None}
    offered, many = {option["value"]: option for option in field["options"]}, field["type"] == "checkboxes"
    if given is None:
        return (
            {"selected_options": field.get("initial_options", [])}
            if many
            else {"selected_option": field.get("initial_option")}
        )
    if lacking := [value for value in (given if many else [given]) if value not in offered]:
        raise LookupError(f"{field['action_id']!r} does not offer {lacking[0]!r}.")
    chosen = [option for value, option in offered.items() if value in given] if many else offered[given]
    return {"selected_options" if many else "selected_option": chosen}


def state_values(blocks: list[Json], entered: Json) -> Json:
    """A form's `state.values`: what was entered under the same ids, else what it starts with."""
    values: Json = {}
    for block, element in elements(blocks):
        if element["type"] not in ("button", "overflow"):
            start = {"type": element["type"], **answer_of(element)}
            kept = entered.get(block["block_id"], {}).get(element["action_id"], start)
            values.setdefault(block["block_id"], {})[element["action_id"]] = kept
    return values
