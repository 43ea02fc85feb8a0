"""The other commands, as they are typed: what they print, and the sentence and status of each mistake."""

import json
import re
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from drawbridge.program import drawbridge
from tests.drawbridge.conftest import Invoke, Start
from tests.drawbridge.fake_api import LOCATION, FakeApi
from tests.drawbridge_network.world import KEY
from tests.waiting import eventually

COMMANDS = ("connect", "run", "list", "mine", "explain", "extend", "end", "token", "doctor", "cfg")
OF_CFG = ("show", "set", "unset")


@pytest.fixture
def ready(api: FakeApi) -> str:
    """Read access that is held; its id."""
    return _make_ready(api, "r")


@pytest.fixture
def ready_to_write(api: FakeApi) -> str:
    """Write access that is held; its id."""
    return _make_ready(api, "w")


def _make_ready(api: FakeApi, level: str) -> str:
    wish = {"location": LOCATION, "level": level, "reason": "", "origin_id": "1"}
    status, _ = api.answer("POST", "/api/v1/requests", _signed(), json.dumps(wish).encode())
    assert 201 == status
    (request_id,) = api.states()
    api.decide(request_id)
    for _ in range(2):
        api.answer("GET", f"/api/v1/requests/{request_id}", _signed(), b"")
    api.calls.clear()
    return request_id


def _signed() -> dict[str, str]:
    return {"Authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/20260302/eu-west-1/execute-api/aws4_request"}


@pytest.mark.parametrize("command", [[], *([each] for each in COMMANDS), *(["cfg", each] for each in OF_CFG)])
def test_help_fits_a_terminal(invoke: Invoke, command: list[str]) -> None:
    """Every command explains itself in 80 columns, and needs neither address nor credentials for it."""
    told = invoke(*command, "--help", COLUMNS="80", DRAWBRIDGE_API="", AWS_ACCESS_KEY_ID="")

    assert 0 == told.exit_code, told.output
    assert all(len(line) <= 80 for line in told.output.splitlines()), told.output


def test_the_list_of_commands_is_whole(invoke: Invoke) -> None:
    """A command that is listed is there, and the other way round."""
    listed = re.findall(r"^  (\w+) ", invoke("--help").output.partition("Commands:")[2], flags=re.MULTILINE)

    assert list(COMMANDS) == listed
    assert all(drawbridge.get_command(drawbridge.make_context("x", ["cfg"]), name) for name in listed)


def test_list_says_how_each_level_is_given(invoke: Invoke) -> None:
    """On standard output, so that it can be searched."""
    told = invoke("list")

    assert (
        "my-aurora-location  prod, eu-west-1, database depotpostgres, port 56789\n"
        "  r  read     at once, up to 8 h\n"
        "  w  write    after approval, up to 2 h\n"
        "  o  operate  after approval, up to 4 h\n"
    ) == told.stdout
    assert (0, "") == (told.exit_code, told.stderr)


def test_mine_says_how_each_request_stands(invoke: Invoke, ready: str) -> None:
    """Ended ones are shown when asked for."""
    told = invoke("mine")

    assert re.fullmatch(
        rf"{ready}  {LOCATION} r  ready, asked \d{{4}}-\d\d-\d\d \d\d:\d\d, until \d\d:\d\d\n  It is ready\.\n",
        told.stdout,
    )


def test_mine_without_anything_says_so(invoke: Invoke) -> None:
    """On standard error: standard output is for what there is."""
    told = invoke("mine")

    assert (0, "", "You hold nothing and have asked for nothing.\n") == (told.exit_code, told.stdout, told.stderr)


def test_explain_names_the_rule_and_who_may_approve(invoke: Invoke) -> None:
    """For the usual level unless another is named, in full words too."""
    assert "my-aurora-location o: o: needs approval\nMay approve: carol\n" == invoke("explain", LOCATION).stdout
    assert "my-aurora-location r: r: allowed\n" == invoke("explain", LOCATION, "-p", "read").stdout


def test_extend_says_the_new_end(api: FakeApi, invoke: Invoke, ready: str) -> None:
    """The only access that is held needs no name."""
    told = invoke("extend", "--by", "15m")
    body = next(body for method, path, body in api.calls if path.endswith("/extensions"))

    assert (0, 900) == (told.exit_code, body["duration_seconds"])
    assert re.fullmatch(rf"{ready} now ends at \d\d:\d\d\.\n", told.stdout)


@pytest.mark.parametrize(
    ("outcome", "status", "words"),
    [(None, 0, " now ends at "), ("denied", 4, "It was denied."), ("timed_out", 5, "It was timed_out.")],
)
def test_extend_waits_for_who_may_approve_it(
    api: FakeApi, ready_to_write: str, start: Start, outcome: str | None, status: int, words: str
) -> None:
    """The same rule holds as for asking, and the same statuses."""
    process = start(["extend", LOCATION])
    assert eventually(lambda: "waiting" in api.states().values())
    extension = next(each for each, state in api.states().items() if state == "waiting")
    api.decide(extension, outcome, f"It was {outcome}." if outcome else "")
    output, errors = process.communicate(timeout=40)

    assert status == process.returncode
    assert words in output + errors


def test_an_extension_that_nobody_decides_is_left_open(api: FakeApi, ready_to_write: str, invoke: Invoke) -> None:
    """The access stays as long as it was; the question is still there."""
    told = invoke("extend", "--timeout", "1s")

    assert 5 == told.exit_code
    assert "is still open after 1 s: It waits for 1 more approval." in told.stderr
    assert "waiting" in api.states().values()


@pytest.mark.parametrize("named", [[], [LOCATION], ["all"], ["r-abc234"]])
def test_end_waits_for_the_receipt(invoke: Invoke, ready: str, named: list[str]) -> None:
    """By its id, its location, all, or as the only one."""
    told = invoke("end", *named)

    assert 0 == told.exit_code
    assert f"{ready} ({LOCATION} r): The access has ended. Sessions left: 0, login: off.\n" == told.stdout


def test_ending_nothing_says_so(invoke: Invoke) -> None:
    """For all that is no mistake, for one it is."""
    assert (0, "There is nothing to end.\n") == (invoke("end", "all").exit_code, invoke("end", "all").stderr)
    assert 4 == invoke("end").exit_code


def test_a_token_goes_to_the_clipboard(invoke: Invoke, ready: str, directory: Path) -> None:
    """And nowhere else."""
    clipboard = directory / "bin" / "wl-copy"
    clipboard.write_text(f"#!/bin/sh\ncat >{directory}/clipboard\n", encoding="utf-8")
    clipboard.chmod(0o755)
    told = invoke("token", WAYLAND_DISPLAY="wayland-0")

    assert (0, "") == (told.exit_code, told.stdout)
    assert "A token for jit_abcdefghij_r_alice is on the clipboard." in told.stderr
    assert "X-Amz-Signature=" in (directory / "clipboard").read_text()
    assert "X-Amz" not in told.output


def test_without_a_clipboard_no_token_is_shown(invoke: Invoke, ready: str) -> None:
    """The sentence says what to do instead."""
    told = invoke("token")

    assert 3 == told.exit_code
    assert "There is no clipboard here: this session has no display." in told.stderr
    assert "drawbridge token --stdout |" in told.stderr
    assert "X-Amz" not in told.output


def test_a_pipe_gets_the_token_when_asked(ready: str, start: Start) -> None:
    """And nothing besides."""
    process = start(["token", "--stdout"])
    output, errors = process.communicate(timeout=40)

    assert (0, "") == (process.returncode, errors)
    assert re.fullmatch(
        r"my-aurora\S+:5432/\?Action=connect&DBUser=jit_abcdefghij_r_alice&\S+X-Amz-Signature=\w+\n", output
    )


def test_a_pipeline_gets_no_token(invoke: Invoke, ready: str) -> None:
    """Its log keeps what it is told."""
    told = invoke("token", "--stdout", CI="true")

    assert (2, "") == (told.exit_code, told.stdout)
    assert "Use drawbridge run" in told.stderr


def test_the_doctor_ticks_each_link(invoke: Invoke, shell: dict[str, str]) -> None:
    """Who one is, and what was found."""
    told = invoke("doctor")
    links = [line.partition(":")[0] for line in told.stdout.splitlines()]

    assert 0 == told.exit_code, told.output
    assert [
        f"✓ {name}"
        for name in ("plugin", "psql", "configuration", "credentials", "Drawbridge's API", "clock", "certificates")
    ] == links
    assert "you are alice, a person, and may ask for 1 locations" in told.stdout


@pytest.mark.parametrize(
    ("broken", "link", "words"),
    [
        ("old plugin", "plugin", "is 1.2.650.0, and AWS takes 1.2.764.0 or newer. "),
        ("no psql", "psql", "psql was not found. Install"),
        ("no address", "configuration", "drawbridge cfg set api ADDRESS"),
        ("no credentials", "credentials", "Sign in"),
        ("no API", "Drawbridge's API", "AWS does not accept these credentials"),
        ("clock", "clock", "This machine's clock is 10 min behind"),
    ],
)
def test_the_doctor_names_the_broken_link_and_its_repair(
    api: FakeApi, invoke: Invoke, directory: Path, broken: str, link: str, words: str
) -> None:
    """One line for it, and a status that is not 0; the links beside it are still ticked."""
    more = {}
    if broken == "old plugin":
        (directory / "bin" / "session-manager-plugin").write_text("#!/bin/sh\necho 1.2.650.0\n", encoding="utf-8")
    elif broken == "no psql":
        (directory / "bin" / "psql").unlink()
        more = {"PATH": str(directory / "bin")}
    elif broken == "no address":
        more = {"DRAWBRIDGE_API": ""}
    elif broken == "no credentials":
        more = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    elif broken == "no API":
        api.broken = [(403, b'{"message": "The security token included in the request is expired"}')]
    else:
        api.ahead = timedelta(minutes=10)
    told = invoke("doctor", **more)
    line = next(line for line in told.stdout.splitlines() if line.startswith("✗"))

    assert line.startswith(f"✗ {link}: ")
    assert words in line
    assert 3 == told.exit_code
    assert 1 == told.stdout.count("✗")


def test_defaults_are_saved_shown_used_and_forgotten(api: FakeApi, invoke: Invoke, directory: Path) -> None:
    """An option goes before the saved default of its name."""
    invoke("cfg", "set", "api", api.address)
    invoke("cfg", "set", "permission", "read")
    shown = invoke("cfg").stdout
    saved = invoke("explain", LOCATION, DRAWBRIDGE_API="").stdout
    chosen = invoke("explain", LOCATION, "-p", "w").stdout
    invoke("cfg", "unset", "permission")
    forgotten = invoke("explain", LOCATION).stdout

    assert f"# {directory}/config.toml\napi = {api.address}\n" in shown
    assert "permission = r\n" in shown
    assert ["r: allowed", "w: needs approval", "o: needs approval"] == [
        text.splitlines()[0].partition(": ")[2] for text in (saved, chosen, forgotten)
    ]


def test_saved_environment_and_region_are_asked_with(api: FakeApi, invoke: Invoke) -> None:
    """They guard against the wrong location of a like name."""
    for key, value in {"env": "prod", "region": "eu-west-1", "duration": "20m", "localport": "50123"}.items():
        assert 0 == invoke("cfg", "set", key, value).exit_code
    invoke("run", LOCATION, "-p", "w", "--timeout", "1s", "--", "true")
    body = next(body for method, _, body in api.calls if method == "POST")

    assert {
        "environment": "prod",
        "region": "eu-west-1",
        "duration_seconds": 1200,
        "port": 50123,
    }.items() <= body.items()


def test_help_shows_the_saved_default(invoke: Invoke) -> None:
    """Whoever wonders why sees it."""
    invoke("cfg", "set", "permission", "r")

    assert re.search(r"Read, write or operate\.\s+\[default: r\]", invoke("connect", "--help").output)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["cfg", "set", "colour", "red"], "'colour' is no setting. There are: api, awsprofile, "),
        (["cfg", "set", "api", "http://example.com/api"], "must be an address that begins with https://"),
        (["cfg", "set", "api", "https://alice@example.com/api"], "must be an address like"),
        (["cfg", "set", "localport", "80"], "a number from 1024 to 65535"),
        (["cfg", "set", "duration", "soon"], "'soon' is no duration"),
        (["cfg", "unset", "colour"], "'colour' is no setting"),
        (["connect", LOCATION, "-p", "x"], "permission is r (read), w (write) or o (operate), not 'x'."),
        (["connect", LOCATION, "--localport", "70000"], "a number from 1024 to 65535"),
        (["connect", LOCATION, "--duration", "0m"], "'0m' is no duration. Write it like 30m, 2h or 1h30m."),
        (["connect", LOCATION, "--gui", "--", "true"], "--gui starts nothing"),
        (["run", LOCATION], "Missing argument '-- COMMAND...'"),
        (["conect", LOCATION], "No such command 'conect'."),
    ],
)
def test_a_typing_mistake_is_status_2_and_asks_for_nothing(
    api: FakeApi, invoke: Invoke, typed: list[str], words: str
) -> None:
    """The sentence says what can be typed."""
    told = invoke(*typed)

    assert (2, []) == (told.exit_code, api.calls)
    assert words in " ".join(told.stderr.split())


def test_saved_defaults_that_cannot_be_read_are_told(invoke: Invoke, directory: Path) -> None:
    """By the file's name; help and cfg go on working."""
    (directory / "config.toml").write_text("api = ", encoding="utf-8")
    told = invoke("list")

    assert 3 == told.exit_code
    assert f"{directory}/config.toml cannot be read" in told.stderr
    assert 0 == invoke("cfg", "unset", "all").exit_code
    assert 0 == invoke("list").exit_code


def test_a_place_that_cannot_be_written_is_told(invoke: Invoke) -> None:
    """A home may be read-only."""
    told = invoke("cfg", "set", "region", "eu-west-1", DRAWBRIDGE_CONFIG="/proc/nowhere/config.toml")

    assert 3 == told.exit_code
    assert "cannot be written" in told.stderr


def test_saved_defaults_are_for_their_owner(invoke: Invoke, directory: Path) -> None:
    """They hold no secret, but nobody else needs them."""
    invoke("cfg", "set", "region", "eu-west-1")

    assert 0o600 == stat.S_IMODE((directory / "config.toml").stat().st_mode)


@pytest.mark.parametrize(
    ("typed", "status", "words"),
    [
        (["explain", "nowhere"], 4, "No location called 'nowhere'. There is: my-aurora-location."),
        (["end", "R-ZZZZZZ"], 4, "None of your requests has this id. See those that there are: drawbridge mine --all"),
        (["token"], 4, "You hold no access. Ask for it: drawbridge connect LOCATION"),
        (["extend", LOCATION], 4, f"You hold no access to {LOCATION}."),
        (["list", "--awsprofile", "nobody"], 3, "no AWS profile called 'nobody'"),
        (["list", "--api", "http://127.0.0.1:9/other"], 8, "127.0.0.1:9 is not reached: the connection is refused."),
    ],
)
def test_each_mistake_is_one_sentence_with_its_status(
    invoke: Invoke, typed: list[str], status: int, words: str
) -> None:
    """On standard error, with the program's name and without a stack."""
    told = invoke(*typed)

    assert status == told.exit_code
    assert told.stderr.startswith("drawbridge: ")
    assert words in told.stderr
    assert 1 == told.stderr.count("\n")
    assert "" == told.stdout
