"""Blocks of our own: every kind of element that an app of cards and forms uses."""

from typing import Any


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def options(*names: str) -> list[dict[str, Any]]:
    return [{"text": plain(name), "value": name.lower()} for name in names]


def field(label: str, kind: str, **fields: Any) -> dict[str, Any]:
    element = {"type": kind, "action_id": label.lower()} | fields
    return {"type": "input", "block_id": label.lower(), "label": plain(label), "element": element}


FORM = {
    "type": "modal",
    "title": plain("A form"),
    "submit": plain("Send"),
    "blocks": [
        field("Reason", "plain_text_input", multiline=True) | {"hint": plain("One sentence")},
        field("Place", "static_select", options=options("Here", "There"), placeholder=plain("Choose")),
        field("Level", "radio_buttons", options=options("Read", "Write"), initial_option=options("Read")[0]),
        field("Extras", "checkboxes", options=options("Tea", "Cake")) | {"optional": True},
    ],
}
CARD = [
    {"type": "header", "text": plain("A card")},
    {
        "type": "section",
        "text": {"type": "mrkdwn", "text": "*Bold* <@U0BOB> <https://example.com|a page> <http://example.com|no page>"},
        "accessory": {"type": "overflow", "action_id": "more", "options": options("One", "Two")},
    },
    {"type": "divider"},
    {
        "type": "actions",
        "elements": [
            {"type": "static_select", "action_id": "pick", "options": options("Here"), "placeholder": plain("Place")},
            {"type": "button", "action_id": "long", "text": plain("A button with quite a long name " * 2)},
        ],
    },
    {
        "type": "rich_text",
        "elements": [{"type": "rich_text_preformatted", "elements": [{"type": "text", "text": "x" * 400}]}],
    },
]
