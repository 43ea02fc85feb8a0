"""The Block Kit checker refuses what is just over a limit, names its place, and accepts what is just inside."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from local.slack.block_checker import Problem, answer_of, check_blocks, check_view, state_values, with_ids

Json = dict[str, Any]


def plain(length: int = 5) -> Json:
    return {"type": "plain_text", "text": "x" * length}


def mrkdwn(length: int = 5) -> Json:
    return {"type": "mrkdwn", "text": "x" * length}


def section(**fields: Any) -> Json:
    return {"type": "section", "text": mrkdwn()} | fields


def button(**fields: Any) -> Json:
    return {"type": "button", "text": plain()} | fields


def actions(*elements: Json) -> Json:
    return {"type": "actions", "elements": list(elements)}


def context(*elements: Json) -> Json:
    return {"type": "context", "elements": list(elements)}


def options(count: int, **fields: Any) -> list[Json]:
    return [{"text": plain(), "value": f"v{number}"} | fields for number in range(count)]


def select(**fields: Any) -> Json:
    return {"type": "static_select", "options": options(2)} | fields


def radio(**fields: Any) -> Json:
    return {"type": "radio_buttons", "options": options(2)} | fields


def overflow(count: int) -> Json:
    return {"type": "overflow", "options": options(count)}


def ticks(**fields: Any) -> Json:
    return {"type": "checkboxes", "options": options(2)} | fields


def typing(**fields: Any) -> Json:
    return {"type": "plain_text_input"} | fields


def field(element: Json, **fields: Any) -> Json:
    return {"type": "input", "label": plain(), "element": element} | fields


def confirm(**fields: Any) -> Json:
    texts = {"title": plain(), "text": mrkdwn(), "confirm": plain(), "deny": plain()}
    return button(confirm=texts | fields)


def rich(*elements: Json) -> Json:
    return {"type": "rich_text", "elements": list(elements)}


def quote(*elements: Json) -> Json:
    return {"type": "rich_text_quote", "elements": list(elements)}


def web_address(length: int) -> str:
    return "https://example.com/".ljust(length, "x")


def modal(*blocks: Json, **fields: Any) -> Json:
    return {"type": "modal", "title": plain(), "submit": plain(), "blocks": list(blocks)} | fields


def home(*blocks: Json, **fields: Any) -> Json:
    return {"type": "home", "blocks": list(blocks)} | fields


def without(given: Json, *names: str) -> Json:
    return {name: given[name] for name in given if name not in names}


def of_size(length: int) -> Json:
    """A modal whose JSON has this many characters."""
    most = [section(text=mrkdwn(3000))] * 80
    missing = length - len(json.dumps(modal(*most, *[section(text=mrkdwn(0))] * 4)))
    sizes = [missing // 4] * 3 + [missing - 3 * (missing // 4)]
    return modal(*most, *[section(text=mrkdwn(size)) for size in sizes])


IMAGE = {"type": "image", "image_url": "https://example.com/a.png", "alt_text": "a chart"}

# What is wrong, the blocks of a message, where the checker has to point.
IN_MESSAGES: list[tuple[str, Any, str]] = [
    ("blocks are no array", {"type": "divider"}, "/blocks"),
    ("51 blocks", [{"type": "divider"}] * 51, "/blocks"),
    ("a block is a string", ["divider"], "/blocks/0"),
    ("a block without type", [{"text": mrkdwn()}], "/blocks/0"),
    ("an unknown block type", [{"type": "carousel"}], "/blocks/0"),
    ("an unknown field", [section(colour="red")], "/blocks/0/colour"),
    ("an unknown field with a slash in its name", [section(**{"a/b~c": 1})], "/blocks/0/a~1b~0c"),
    ("a block_id of 256", [section(block_id="x" * 256)], "/blocks/0/block_id"),
    ("an empty block_id", [section(block_id="")], "/blocks/0/block_id"),
    ("a block_id that is a number", [section(block_id=7)], "/blocks/0/block_id"),
    ("two blocks with one id", [section(block_id="a"), section(block_id="a")], ""),
    ("a section with nothing", [{"type": "section"}], "/blocks/0"),
    ("a section text of 3001", [section(text=mrkdwn(3001))], "/blocks/0/text/text"),
    ("an empty section text", [section(text=mrkdwn(0))], "/blocks/0/text/text"),
    ("a section text that is a string", [section(text="hello")], "/blocks/0/text"),
    ("a text object of unknown type", [section(text={"type": "html", "text": "x"})], "/blocks/0/text"),
    ("a text object without text", [section(text={"type": "mrkdwn"})], "/blocks/0/text/text"),
    ("emoji on mrkdwn", [section(text=mrkdwn() | {"emoji": True})], "/blocks/0/text/emoji"),
    ("verbatim on plain_text", [section(text=plain() | {"verbatim": True})], "/blocks/0/text/verbatim"),
    ("a flag that is a number", [section(text=mrkdwn() | {"verbatim": 1})], "/blocks/0/text/verbatim"),
    ("11 fields", [section(fields=[mrkdwn()] * 11)], "/blocks/0/fields"),
    ("no fields in fields", [section(fields=[])], "/blocks/0/fields"),
    ("a field of 2001", [section(fields=[mrkdwn(), mrkdwn(2001)])], "/blocks/0/fields/1/text"),
    ("an empty field", [section(fields=[plain(0)])], "/blocks/0/fields/0/text"),
    ("an input as accessory", [section(accessory=typing())], "/blocks/0/accessory"),
    ("a header of 151", [{"type": "header", "text": plain(151)}], "/blocks/0/text/text"),
    ("a header as mrkdwn", [{"type": "header", "text": mrkdwn()}], "/blocks/0/text"),
    ("a header without text", [{"type": "header"}], "/blocks/0/text"),
    ("11 context elements", [context(*[mrkdwn()] * 11)], "/blocks/0/elements"),
    ("an empty context", [context()], "/blocks/0/elements"),
    ("a button in context", [context(button())], "/blocks/0/elements/0"),
    ("an image without alt text", [context(without(IMAGE, "alt_text"))], "/blocks/0/elements/0/alt_text"),
    ("an image from a file", [context(IMAGE | {"image_url": "file:///a"})], "/blocks/0/elements/0/image_url"),
    ("26 actions", [actions(*[button()] * 26)], "/blocks/0/elements"),
    ("no actions", [actions()], "/blocks/0/elements"),
    ("an input among actions", [actions(typing())], "/blocks/0/elements/0"),
    ("an image among actions", [actions(IMAGE)], "/blocks/0/elements/0"),
    ("two buttons with one id", [actions(button(action_id="a"), button(action_id="a"))], "/blocks/0"),
    ("a button text of 76", [actions(button(text=plain(76)))], "/blocks/0/elements/0/text/text"),
    ("a button text as mrkdwn", [actions(button(text=mrkdwn()))], "/blocks/0/elements/0/text"),
    ("a button value of 2001", [actions(button(value="x" * 2001))], "/blocks/0/elements/0/value"),
    ("a button url of 3001", [actions(button(url=web_address(3001)))], "/blocks/0/elements/0/url"),
    ("a button url of a script", [actions(button(url="javascript:x()"))], "/blocks/0/elements/0/url"),
    ("a button of unknown style", [actions(button(style="green"))], "/blocks/0/elements/0/style"),
    ("an action_id of 256", [actions(button(action_id="x" * 256))], "/blocks/0/elements/0/action_id"),
    ("a button that can be disabled", [actions(button(disabled=True))], "/blocks/0/elements/0/disabled"),
    ("a dialog of 101", [actions(confirm(title=plain(101)))], "/blocks/0/elements/0/confirm/title/text"),
    ("a dialog text of 301", [actions(confirm(text=plain(301)))], "/blocks/0/elements/0/confirm/text/text"),
    ("a yes of 31", [actions(confirm(confirm=plain(31)))], "/blocks/0/elements/0/confirm/confirm/text"),
    ("a no of 31", [actions(confirm(deny=plain(31)))], "/blocks/0/elements/0/confirm/deny/text"),
    ("a dialog title as mrkdwn", [actions(confirm(title=mrkdwn()))], "/blocks/0/elements/0/confirm/title"),
    ("a dialog of unknown style", [actions(confirm(style="red"))], "/blocks/0/elements/0/confirm/style"),
    ("a dialog without no", [actions(button(confirm=without(confirm()["confirm"], "deny")))],
     "/blocks/0/elements/0/confirm/deny"),
    ("101 options", [actions(select(options=options(101)))], "/blocks/0/elements/0/options"),
    ("no options", [actions(select(options=[]))], "/blocks/0/elements/0/options"),
    ("an option text of 76", [actions(select(options=options(1, text=plain(76))))],
     "/blocks/0/elements/0/options/0/text/text"),
    ("an option text as mrkdwn", [actions(select(options=options(1, text=mrkdwn())))],
     "/blocks/0/elements/0/options/0/text"),
    ("an option value of 151", [actions(select(options=options(1, value="x" * 151)))],
     "/blocks/0/elements/0/options/0/value"),
    ("an option description of 76", [actions(radio(options=options(1, description=plain(76))))],
     "/blocks/0/elements/0/options/0/description/text"),
    ("a placeholder of 151", [actions(select(placeholder=plain(151)))],
     "/blocks/0/elements/0/placeholder/text"),
    ("an initial option that isn't offered", [actions(select(initial_option=options(3)[2]))],
     "/blocks/0/elements/0"),
    ("a radio button's too", [actions(radio(initial_option=options(3)[2]))], "/blocks/0/elements/0"),
    ("11 radio buttons", [actions(radio(options=options(11)))], "/blocks/0/elements/0/options"),
    ("6 options in an overflow menu", [actions(overflow(6))], "/blocks/0/elements/0/options"),
    ("an address of an option that is a script", [actions(overflow(2) | {"options": options(1, url="javascript:x()")})],
     "/blocks/0/elements/0/options/0/url"),
    ("an option with an address in a select", [actions(select(options=options(1, url="https://example.com/")))],
     "/blocks/0/elements/0/options/0/url"),
    ("a spoken label of 76", [actions(button(accessibility_label="x" * 76))],
     "/blocks/0/elements/0/accessibility_label"),
    ("11 checkboxes", [actions(ticks(options=options(11)))], "/blocks/0/elements/0/options"),
    ("no checkboxes", [actions(ticks(options=[]))], "/blocks/0/elements/0/options"),
    ("a checkbox text of 76", [actions(ticks(options=options(1, text=mrkdwn(76))))],
     "/blocks/0/elements/0/options/0/text/text"),
    ("ticks that aren't offered", [actions(ticks(initial_options=options(3)[2:]))], "/blocks/0/elements/0"),
    ("no ticks among initial ticks", [actions(ticks(initial_options=[]))],
     "/blocks/0/elements/0/initial_options"),
    ("one initial option for checkboxes", [actions(ticks(initial_option=options(1)[0]))],
     "/blocks/0/elements/0/initial_option"),
    ("an element that isn't known here", [actions({"type": "datepicker"})], "/blocks/0/elements/0"),
    ("a rich text list that is indented by 9", [rich({"type": "rich_text_list", "style": "bullet", "indent": 9,
     "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": "x"}]}]})],
     "/blocks/0/elements/0/indent"),
    ("a markdown block of 12,001", [{"type": "markdown", "text": "x" * 12_001}], "/blocks/0/text"),
    ("rich text without elements", [rich()], "/blocks/0/elements"),
    ("a section in rich text", [rich(section())], "/blocks/0/elements/0"),
    ("an empty text in rich text", [rich(quote({"type": "text", "text": ""}))],
     "/blocks/0/elements/0/elements/0/text"),
    ("an unknown style in rich text", [rich(quote({"type": "text", "text": "x", "style": {"red": True}}))],
     "/blocks/0/elements/0/elements/0/style/red"),
    ("a mention in preformatted text",
     [rich({"type": "rich_text_preformatted", "elements": [{"type": "user", "user_id": "U0BOB"}]})],
     "/blocks/0/elements/0/elements/0"),
    ("a list of quotes", [rich({"type": "rich_text_list", "style": "bullet", "elements": [quote()]})],
     "/blocks/0/elements/0/elements/0"),
    ("a list without style", [rich({"type": "rich_text_list", "elements": [
        {"type": "rich_text_section", "elements": [{"type": "text", "text": "x"}]}]})],
     "/blocks/0/elements/0/style"),
]  # fmt: skip

IN_MODALS: list[tuple[str, Any, str]] = [
    ("a view that is a list", [], "/view"),
    ("a view of unknown type", modal(section(), type="dialog"), "/view"),
    ("no title", without(modal(section()), "title"), "/view/title"),
    ("a title of 25", modal(section(), title=plain(25)), "/view/title/text"),
    ("a title as mrkdwn", modal(section(), title=mrkdwn()), "/view/title"),
    ("a submit of 25", modal(section(), submit=plain(25)), "/view/submit/text"),
    ("a close of 25", modal(section(), close=plain(25)), "/view/close/text"),
    ("no blocks", without(modal(), "blocks"), "/view/blocks"),
    ("empty blocks", modal(), "/view/blocks"),
    ("101 blocks", modal(*[section()] * 101), "/view/blocks"),
    ("a block that only messages have", modal({"type": "markdown", "text": "x"}), "/view/blocks/0"),
    ("private_metadata of 3001", modal(section(), private_metadata="x" * 3001), "/view/private_metadata"),
    ("a callback_id of 256", modal(section(), callback_id="x" * 256), "/view/callback_id"),
    ("an input without submit", without(modal(field(typing())), "submit"), "/view"),
    ("a label of 2001", modal(field(typing(), label=plain(2001))), "/view/blocks/0/label/text"),
    ("a label as mrkdwn", modal(field(typing(), label=mrkdwn())), "/view/blocks/0/label"),
    ("a field without label", modal(without(field(typing()), "label")), "/view/blocks/0/label"),
    ("a hint of 2001", modal(field(typing(), hint=plain(2001))), "/view/blocks/0/hint/text"),
    ("a button as field", modal(field(button())), "/view/blocks/0/element"),
    ("a field without element", modal(without(field(typing()), "element")), "/view/blocks/0/element"),
    ("a max_length of 3001", modal(field(typing(max_length=3001))), "/view/blocks/0/element/max_length"),
    ("a max_length of 0", modal(field(typing(max_length=0))), "/view/blocks/0/element/max_length"),
    ("a min_length that is true", modal(field(typing(min_length=True))), "/view/blocks/0/element/min_length"),
    ("min over max_length", modal(field(typing(min_length=9, max_length=8))), "/view/blocks/0/element"),
    ("an input's placeholder of 151", modal(field(typing(placeholder=plain(151)))),
     "/view/blocks/0/element/placeholder/text"),
    ("two fields with focus", modal(field(typing(focus_on_load=True)), field(select(focus_on_load=True))),
     "/view"),
    ("a home view as modal", home(section()), "/view"),
    ("a flag of a modal that is a number", modal(section(), notify_on_close=1), "/view/notify_on_close"),
    ("checkboxes' placeholder", modal(field(ticks(placeholder=plain()))), "/view/blocks/0/element/placeholder"),
    ("an overflow menu as field", modal(field(overflow(2))), "/view/blocks/0/element"),
    ("an initial text of 3001", modal(field(typing(initial_value="x" * 3001))),
     "/view/blocks/0/element/initial_value"),
    ("two fields with one id", modal(field(typing(), block_id="a"), field(select(), block_id="a")), "/view"),
    ("one more than 250 KB", of_size(250_001), "/view"),
]  # fmt: skip

IN_HOMES: list[tuple[str, Any, str]] = [
    ("a modal as home", modal(section()), "/view"),
    ("no blocks", {"type": "home"}, "/view/blocks"),
    ("empty blocks", home(), "/view/blocks"),
    ("101 blocks", home(*[section()] * 101), "/view/blocks"),
    ("a title", home(section(), title=plain()), "/view/title"),
    ("a submit button", home(section(), submit=plain()), "/view/submit"),
    ("a callback_id of 256", home(section(), callback_id="x" * 256), "/view/callback_id"),
    ("private_metadata of 3001", home(section(), private_metadata="x" * 3001), "/view/private_metadata"),
    ("two blocks with one id", home(section(block_id="a"), section(block_id="a")), "/view"),
    ("a block that only messages have", home({"type": "markdown", "text": "x"}), "/view/blocks/0"),
]


@pytest.mark.parametrize(("blocks", "pointer"), [pytest.param(b, p, id=name) for name, b, p in IN_MESSAGES])
def test_a_violation_in_a_message_is_pointed_at(blocks: Any, pointer: str) -> None:
    """One wrong thing in a message gives one problem, at its place."""
    assert [pointer] == [problem.pointer for problem in check_blocks(blocks)]


@pytest.mark.parametrize(("view", "pointer"), [pytest.param(v, p, id=name) for name, v, p in IN_MODALS])
def test_a_violation_in_a_modal_is_pointed_at(view: Any, pointer: str) -> None:
    """One wrong thing in a modal gives one problem, at its place."""
    assert [pointer] == [problem.pointer for problem in check_view(view)]


@pytest.mark.parametrize(("view", "pointer"), [pytest.param(v, p, id=name) for name, v, p in IN_HOMES])
def test_a_violation_in_a_home_tab_is_pointed_at(view: Any, pointer: str) -> None:
    """One wrong thing in a Home tab gives one problem, at its place."""
    assert [pointer] == [problem.pointer for problem in check_view(view, "home")]


def test_a_home_tab_at_its_limits_is_allowed() -> None:
    """A hundred blocks, a form among them, and no submit button for it."""
    blocks = [field(ticks(options=options(10, text=mrkdwn(75))), dispatch_action=True), *[section()] * 99]

    assert [] == check_view(home(*blocks, callback_id="x" * 255, private_metadata="x" * 3000), "home")


def test_a_view_of_250_kilobytes_is_allowed() -> None:
    """The size is that of its JSON."""
    view = of_size(250_000)

    assert 250_000 == len(json.dumps(view))
    assert [] == check_view(view)


def test_every_limit_itself_is_allowed() -> None:
    """A card and a form that exhaust every limit are without problems."""
    dialog = confirm(title=plain(100), text=mrkdwn(300), confirm=plain(30), deny=plain(30), style="danger")
    widest = button(text=plain(75), value="x" * 2000, url=web_address(3000), style="primary", action_id="x" * 255)
    menu = select(options=options(100, text=plain(75), description=plain(75)), placeholder=plain(150))
    full = [
        section(text=mrkdwn(3000), fields=[mrkdwn(2000)] * 10, accessory=overflow(5), block_id="x" * 255),
        {"type": "header", "text": plain(150)},
        context(*[mrkdwn(3000)] * 9, IMAGE),
        actions(*[button()] * 22, dialog, widest, menu),
        actions(radio(options=options(10, text=mrkdwn(75)), initial_option=options(1, text=mrkdwn(75))[0])),
        actions(ticks(options=options(10), initial_options=options(10)), button(accessibility_label="x" * 75)),
        actions(overflow(1) | {"options": options(5, description=plain(75), url=web_address(3000))}),
        {"type": "markdown", "text": "x" * 12_000},
        *[{"type": "divider"}] * 42,
    ]
    form = modal(
        field(typing(min_length=3000, max_length=3000), label=plain(2000), hint=plain(2000), optional=True),
        *[{"type": "divider"}] * 99,
        title=plain(24),
        submit=plain(24),
        close=plain(24),
        callback_id="x" * 255,
        private_metadata="x" * 3000,
    )

    assert ([], []) == (check_blocks(full), check_view(form))


def test_a_card_that_slacks_own_library_accepts_is_accepted() -> None:
    """A realistic approval card passes here and in slack_sdk's models."""
    card = [
        section(text={"type": "mrkdwn", "text": "<@U0ALICE> asks for *write* access", "verbatim": True}),
        section(fields=[mrkdwn(), mrkdwn()]),
        rich(quote({"type": "text", "text": "INC-42 <!channel> *stuck*"})),
        actions(confirm() | {"action_id": "approve", "style": "primary"}, button(action_id="deny")),
        context(mrkdwn()),
    ]
    for block in Block.parse_all(card):
        block.validate_json()

    assert [] == check_blocks(card)


def test_fields_that_slacks_own_library_accepts_are_accepted() -> None:
    """Every kind of field and menu passes here and in slack_sdk's models."""
    blocks = [
        field(typing(multiline=True, action_id="a")),
        field(select(action_id="b", placeholder=plain())),
        field(radio(action_id="c", initial_option=options(1)[0]), hint=plain()),
        field(ticks(action_id="d", initial_options=options(1)), optional=True, dispatch_action=True),
        section(accessory=overflow(5) | {"action_id": "e"}),
        actions(ticks(action_id="f"), confirm() | {"action_id": "g", "accessibility_label": "Approve"}),
    ]
    for block in Block.parse_all(blocks):
        block.validate_json()

    assert ([], []) == (check_blocks(blocks), check_view(modal(*blocks)))


@pytest.mark.parametrize(
    ("element", "given", "answer"),
    [
        (ticks(), None, {"selected_options": []}),
        (ticks(initial_options=options(1)), None, {"selected_options": options(1)}),
        (ticks(), ["v1", "v0"], {"selected_options": options(2)}),
        (ticks(initial_options=options(1)), [], {"selected_options": []}),
        (radio(), "v1", {"selected_option": options(2)[1]}),
        (overflow(2), "v0", {"selected_option": options(2)[0]}),
        (typing(initial_value="x"), "", {"value": None}),
    ],
)
def test_an_answer_has_the_form_of_its_field(element: Json, given: Any, answer: Json) -> None:
    """Checkboxes answer with a list, in the order in which they are offered."""
    assert answer == answer_of(element, given)


@pytest.mark.parametrize(
    ("element", "given"),
    [(ticks(), ["v0", "v2"]), (radio(), "v2"), (typing(min_length=3), "xx"), (typing(max_length=3), "xxxx")],
)
def test_an_answer_that_is_not_offered_cannot_be_given(element: Json, given: Any) -> None:
    """A text of the wrong length and options that aren't there."""
    with pytest.raises(LookupError):
        answer_of(element | {"action_id": "a"}, given)


def test_every_problem_is_reported_at_once() -> None:
    """A card with three mistakes is answered with three pointers."""
    blocks = [section(text=mrkdwn(3001)), {"type": "nothing"}, actions(button(text=plain(76), style="green"))]

    assert {
        "/blocks/0/text/text",
        "/blocks/1",
        "/blocks/2/elements/0/text/text",
        "/blocks/2/elements/0/style",
    } == {problem.pointer for problem in check_blocks(blocks)}


def test_a_problem_reads_as_slack_writes_it() -> None:
    """The pointer follows the complaint in brackets, as in Slack's response_metadata."""
    assert "is required [json-pointer:/view/title]" == str(Problem(pointer="/view/title", text="is required"))


@settings(max_examples=200, deadline=None, database=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["type", "text", "elements", "blocks", "options", "element", "style", "title"]),
                inner | st.sampled_from(["section", "actions", "button", "input", "modal", "plain_text"]),
                max_size=4,
            )
        ),
    )
)
def test_nonsense_is_refused_without_a_crash(nonsense: Any) -> None:
    """Whatever JSON an app sends, the checker answers with problems and not with an exception."""
    assert check_view(nonsense)
    assert all(problem.pointer.startswith("/blocks") for problem in check_blocks(nonsense))


def test_missing_ids_are_filled_in_and_given_ones_kept() -> None:
    """Every block and element has an id afterwards, all different; the app's own object is untouched."""
    given_blocks = [section(accessory=button()), actions(button(action_id="mine"), button())]
    filled = with_ids(given_blocks)
    ids = [filled[0]["accessory"]["action_id"], *(element["action_id"] for element in filled[1]["elements"])]

    assert "mine" == ids[1]
    assert 3 == len({*ids})
    assert 2 == len({block["block_id"] for block in filled})
    assert "block_id" not in given_blocks[0]


def test_a_form_keeps_what_was_entered_under_the_same_ids_only() -> None:
    """An app that rewrites its form resets a field only by giving it another id."""
    before = {"reason": {"text": {"type": "plain_text_input", "value": "INC-42"}}}
    rewritten = [
        field(typing(action_id="text", initial_value="new"), block_id="reason"),
        field(typing(action_id="text", initial_value="new"), block_id="other"),
    ]

    assert ["INC-42", "new"] == [field["text"]["value"] for field in state_values(rewritten, before).values()]
