"""The windows that are only read: the token, connection help, what to install, who blocks whom."""

import subprocess

import pytest

from chalicelib.domain.blocking import WHO_BLOCKS_WHOM
from chalicelib.domain.connections import (
    MINIMUM_PLUGIN_VERSION,
    local_token_command,
    local_token_lines,
    password_lines,
    port_in_use_lines,
    psql_command,
)
from chalicelib.domain.gui_settings import WHY_SSL, gui_settings
from chalicelib.domain.locations import TokenSource
from chalicelib.slack.modals.gui import gui_modal
from chalicelib.slack.modals.token import local_token_modal, token_refused_modal
from tests.factories import REQUEST_ID
from tests.unit.view_contents import SECRET, TOKEN, a_connection, a_grant
from tests.unit.view_renderings import MODALS, boxes_of, buttons_of, literals_of, mrkdwn_of, parts_of_type

LOCAL = a_connection(a_grant(token=TokenSource.LOCAL))


def test_the_token_stands_alone_in_its_box() -> None:
    """One triple click copies the token and nothing else."""
    view = MODALS["extreme modal, token"]

    assert TOKEN == boxes_of(view)[0]
    assert 1 == str(view).count(SECRET)


def test_the_token_modal_says_how_long_and_for_what() -> None:
    """The token opens new connections for a while; open ones stay."""
    words = mrkdwn_of(MODALS["ordinary modal, token"])

    assert "*new* connections until <!date^1795176000^{time}|12:00 UTC>" in words
    assert "stays open until your access ends" in words


def test_the_token_modal_has_a_line_for_each_system() -> None:
    """The password comes from the clipboard, so it lands in no shell history."""
    assert [line for _, line in password_lines(a_connection())] == boxes_of(MODALS["ordinary modal, token"])[1:]


def test_a_new_token_is_one_click_away() -> None:
    """The modal makes the next token itself."""
    assert ["new_token"] == list(buttons_of(MODALS["ordinary modal, token"]))


def test_a_refused_token_is_explained() -> None:
    """The reason stands in the modal."""
    view = token_refused_modal(request_id=REQUEST_ID, reason="Your access ended at 12:00.")

    assert "Your access ended at 12:00." == literals_of(view)


def test_a_token_of_ones_own_is_made_by_ones_own_lines() -> None:
    """For each system the line that makes it and connects, then the token alone; nothing to press."""
    view = local_token_modal(connection=LOCAL)

    assert [*(line for _, line in local_token_lines(LOCAL)), local_token_command(LOCAL)] == boxes_of(view)
    assert {} == buttons_of(view)


def test_each_tool_gets_its_settings() -> None:
    """Every tool is named, with the lines for its fields in one box and the note below."""
    view = gui_modal(connection=a_connection())
    words = literals_of(view)

    for setting in gui_settings(a_connection()):
        assert f"*{setting.name}*" in mrkdwn_of(view)
        assert "\n".join(setting.lines) in boxes_of(view)
        assert setting.note in words


def test_ssl_is_not_to_be_switched_off() -> None:
    """The advice that is found everywhere is answered."""
    assert WHY_SSL in literals_of(gui_modal(connection=a_connection()))


def test_a_taken_port_has_a_way_out() -> None:
    """What holds it, and the same by another port."""
    boxes = boxes_of(gui_modal(connection=a_connection()))

    assert [line for _, line in port_in_use_lines(a_connection())] == boxes[-4:]


def test_gui_help_offers_show_token_only_where_there_is_one() -> None:
    """Locations whose token never crosses Slack have no such button."""
    mentioned = ["Show Token" in mrkdwn_of(gui_modal(connection=each)) for each in (a_connection(), LOCAL)]

    assert [True, False] == mentioned


def test_who_blocks_whom_can_be_copied_whole() -> None:
    """The query, then the line that ends a connection."""
    boxes = boxes_of(MODALS["ordinary modal, who blocks"])

    assert [WHO_BLOCKS_WHOM.strip(), "SELECT pg_kill_connection(BLOCKING_PID);"] == boxes


def expand(line: str) -> list[str]:
    """The arguments that a shell makes of a line, as a program of that name would get them."""
    stubs = 'curl() { printf \'%s\\0\' "$@"; }; psql() { curl "$@"; }'
    ran = subprocess.run(
        ["/bin/sh", "-c", f"{stubs}; {line}"],
        env={"HOME": "/home/alice"},
        capture_output=True,
        check=True,
        text=True,
        timeout=10,
    )
    return ran.stdout.split("\0")[:-1]


def test_the_certificates_are_saved_where_psql_looks_for_them() -> None:
    """Both lines, as a shell reads them, name the same file."""
    box = next(
        box for box in boxes_of(MODALS["ordinary modal, first time"]) if box.startswith("curl -") and "pem" in box
    )
    download, connect = expand(box), expand(psql_command(a_connection()))[0]

    assert "/home/alice/.drawbridge/rds-global-bundle.pem" == download[download.index("-o") + 1]
    assert connect.endswith(" sslrootcert=/home/alice/.drawbridge/rds-global-bundle.pem")


@pytest.mark.parametrize(
    "words",
    [MINIMUM_PLUGIN_VERSION, "DrawbridgeUser", "*AccessDenied*", "*TargetNotConnected*", "*address already in use*"],
)
def test_first_timers_read_what_they_need(words: str) -> None:
    """The plugin's least version and the usual errors are explained."""
    assert words in mrkdwn_of(MODALS["ordinary modal, first time"])


@pytest.mark.parametrize("tool", ["awscli", "session-manager-plugin", "libpq", "Amazon.AWSCLI", "aws sso login"])
def test_first_timers_can_copy_every_install_line(tool: str) -> None:
    """Each tool has a line in a box."""
    assert any(tool in box for box in boxes_of(MODALS["ordinary modal, first time"]))


@pytest.mark.parametrize("view", MODALS.values(), ids=MODALS)
def test_a_window_without_fields_has_nothing_to_send(view: dict[str, object]) -> None:
    """Send stands where there is something to send, and only there."""
    assert bool(parts_of_type(view, "input")) == ("submit" in view)
