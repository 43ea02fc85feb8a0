"""Every button there is, once: its words, the id by which a click is known, and the question it asks first."""

from enum import StrEnum

from chalicelib.domain.decisions import lesser_levels
from chalicelib.domain.durations import shorter_choices
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.requests import AccessRequest
from chalicelib.slack.blocks import Block, actions, bold, button, confirmation, mention


class Press(StrEnum):
    """What a click says. The value of its button is a request id, or nothing where none is meant."""

    APPROVE = "approve"
    APPROVE_LESS = "approve_less"
    DENY = "deny"
    CANCEL = "cancel"
    SHOW_TOKEN = "show_token"  # noqa: S105  # the name of a button
    NEW_TOKEN = "new_token"  # noqa: S105  # the name of a button
    GUI = "gui"
    WHO_BLOCKS = "who_blocks"
    FIRST_TIME = "first_time"
    EXTEND = "extend"
    EXTEND_30 = "extend_30"
    END = "end"
    ASK = "ask"
    ASK_AGAIN = "ask_again"
    JUSTIFIED = "justified"
    NOT_JUSTIFIED = "not_justified"
    FORGET_PROFILE = "forget_profile"
    REFRESH = "refresh"


def row(card: str, request_id: str, version: int, *buttons: Block) -> Block:
    """The buttons of one version of a card. Each update that changes what a click means has another version."""
    return actions(*buttons, block_id=f"{card}:{request_id}:{version}")


def decide_buttons(request: AccessRequest, *, primary: bool = True) -> list[Block]:
    """Yes, less and no. Only write access asks back: a question that comes every time is clicked away."""
    request_id = request.request_id
    confirm = _confirm_write(request) if request.level is PermissionLevel.WRITE else None
    approve = "Approve Extension" if request.extends else "Approve Access"
    less = _less_label(request)
    return [
        button(approve, action_id=Press.APPROVE, value=request_id, primary=primary, confirm=confirm),
        *([button(less, action_id=Press.APPROVE_LESS, value=request_id)] if less else []),
        button("Deny…", action_id=Press.DENY, value=request_id),
    ]


def review_buttons(request_id: str, *, primary: bool = True) -> list[Block]:
    """Was it justified to break the glass?"""
    return [
        button("Justified", action_id=Press.JUSTIFIED, value=request_id, primary=primary),
        button("Not Justified…", action_id=Press.NOT_JUSTIFIED, value=request_id),
    ]


def cancel_button(request_id: str) -> Block:
    """Take back what was asked."""
    return button("Cancel Request", action_id=Press.CANCEL, value=request_id)


def show_token_button(request_id: str, *, primary: bool = True) -> Block:
    """Open the modal with a fresh token."""
    return button("Show Token", action_id=Press.SHOW_TOKEN, value=request_id, primary=primary)


def new_token_button(request_id: str) -> Block:
    """Make another token in the modal that is open."""
    return button("New Token", action_id=Press.NEW_TOKEN, value=request_id)


def gui_button(request_id: str) -> Block:
    """Open the help for programs with windows."""
    return button("Connect With a GUI…", action_id=Press.GUI, value=request_id)


def who_blocks_button(request_id: str) -> Block:
    """Open the query that shows who blocks whom."""
    return button("Who Blocks Whom…", action_id=Press.WHO_BLOCKS, value=request_id)


def first_time_button(request_id: str) -> Block:
    """Open what somebody needs who has never done it."""
    return button("First Time Here?", action_id=Press.FIRST_TIME, value=request_id)


def extend_button(request_id: str) -> Block:
    """Open the choice of how much longer."""
    return button("Extend…", action_id=Press.EXTEND, value=request_id)


def extend_30_button(request_id: str) -> Block:
    """Half an hour more, by one click."""
    return button("Extend 30 Minutes", action_id=Press.EXTEND_30, value=request_id, primary=True)


def end_button(request_id: str, location: str) -> Block:
    """End the access before its time."""
    text = f"This ends your sessions in {bold(location)}, your tunnel and your database user."
    confirm = confirmation("End access now", text, yes="End Now", no="Keep Access", danger=True)
    return button("End Now", action_id=Press.END, value=request_id, confirm=confirm)


def ask_button() -> Block:
    """Open the empty form."""
    return button("Ask for Access", action_id=Press.ASK, primary=True)


def ask_again_button(request_id: str) -> Block:
    """Open the form with what was asked."""
    return button("Ask Again", action_id=Press.ASK_AGAIN, value=request_id)


def forget_profile_button() -> Block:
    """Forget the AWS profile and the port that were given last."""
    return button("Forget Profile and Port", action_id=Press.FORGET_PROFILE)


def refresh_button() -> Block:
    """Read everything anew."""
    return button("Refresh", action_id=Press.REFRESH)


def _confirm_write(request: AccessRequest) -> Block:
    who = mention(request.person.person_id)
    if request.extends:
        allows = f"This lets {who} change data in {bold(request.location)} for longer."
        return confirmation("Extend write access", allows, yes="Approve", no="Back")
    allows = f"This lets {who} change data in {bold(request.location)}."
    return confirmation("Approve write access", allows, yes="Approve", no="Back")


def _less_label(request: AccessRequest) -> str:
    """What less there is to approve; an extension never changes the level."""
    may_be_shorter = bool(shorter_choices(request.duration_seconds))
    if request.extends or len(lesser_levels(request.level)) == 1:
        return "Approve Shorter…" if may_be_shorter else ""
    return "Approve as Read or Shorter…" if may_be_shorter else "Approve as Read…"
