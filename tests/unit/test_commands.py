"""The grammar of the command: what people and their phones type, what they are told instead, and that it is read back."""

import random
import re
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chalicelib import defaults
from chalicelib.domain.command_grammar import command_help
from chalicelib.domain.command_texts import command_text, find_similar_command, parse_command
from chalicelib.domain.commands import (
    COMMAND,
    EVERY_ACCESS,
    USAGE,
    CancelRequest,
    Command,
    EndAccess,
    ExplainLevel,
    ExtendAccess,
    OpenForm,
    ShowCost,
    ShowHelp,
    ShowHistory,
    ShowLocations,
    ShowMine,
    ShowToken,
)
from chalicelib.domain.errors import InvalidCommandError
from chalicelib.domain.requests import Ask
from tests.factories import OPERATE, READ, REQUEST_ID, WRITE
from tests.strategies import RULE, command_texts, commands, pieces_of_commands

LONGEST_ANSWER = 2 * defaults.COMMAND_LENGTH + 700
"""Slack takes 3000 characters."""


def ask(location: str = "orders", **words: Any) -> Ask:
    plain: dict[str, Any] = {"level": OPERATE, "duration_seconds": None, "reason": ""}
    return Ask(location=location, **{**plain, **words})


def refusal_of(text: str) -> str:
    """What is said of a text that is refused."""
    with pytest.raises(InvalidCommandError) as caught:
        parse_command(text)
    return str(caught.value)


class TestAsking:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("orders", ask()),
            ("  orders  ", ask()),
            ("Orders", ask()),
            ("orders r", ask(level=READ)),
            ("orders W", ask(level=WRITE)),
            ("orders write", ask(level=WRITE)),
            ("orders Operate", ask(level=OPERATE)),
            ("orders 2h", ask(duration_seconds=7200)),
            ("orders w 2h", ask(level=WRITE, duration_seconds=7200)),
            ("orders 2h w", ask(level=WRITE, duration_seconds=7200)),
            ("orders 1H30M read", ask(level=READ, duration_seconds=5400)),
            ("orders w 2h fix the stuck order", ask(level=WRITE, duration_seconds=7200, reason="fix the stuck order")),
            ("orders fix w 2h", ask(reason="fix w 2h")),
            ("orders w fix 2h", ask(level=WRITE, reason="fix 2h")),
            ("orders w r 2h", ask(level=WRITE, reason="r 2h")),
            ("orders 2h 30m", ask(duration_seconds=7200, reason="30m")),
            ("orders w w", ask(level=WRITE, reason="w")),
            ("orders INC-42 stuck", ask(reason="INC-42 stuck")),
            ("orders\tw\n2h   two  words", ask(level=WRITE, duration_seconds=7200, reason="two words")),
            ("orders reads are slow", ask(reason="reads are slow")),
            ("orders " + "y" * 800, ask(reason="y" * defaults.REASON_LENGTH)),
        ],
    )
    def test_a_command_is_read_as_people_type_it(self, text: str, expected: Ask) -> None:
        """Location first; level and duration in either order; the rest is the reason."""
        assert expected == parse_command(text)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("orders --for 2h", ask(duration_seconds=7200)),
            ("orders --permission w", ask(level=WRITE)),
            ("orders --permission READ", ask(level=READ)),
            ('orders --reason "fix it"', ask(reason="fix it")),
            ("orders --reason fix it --for 2h", ask(reason="fix it", duration_seconds=7200)),
            ("orders fix it --for 2h", ask(reason="fix it", duration_seconds=7200)),
            ("orders fix --for 2h it", ask(reason="fix it", duration_seconds=7200)),
            ('orders fix --reason "it now"', ask(reason="fix it now")),
            ("orders --env prod", ask(environment="prod")),
            ("orders --env Prod", ask(environment="prod")),
            ("orders --region eu-west-1", ask(region="eu-west-1")),
            ("orders --port 56790", ask(port=56790)),
            ("orders --localport 56790", ask(port=56790)),
            ("orders --profile dev/me@example.com", ask(profile="dev/me@example.com")),
            ("orders --awsprofile Dev", ask(profile="Dev")),
            ("--location orders r", ask(level=READ)),
            ("r --location orders", ask(level=READ)),
            ("--location list r", ask("list", level=READ)),
            ("--location=list", ask("list")),
            ('"list" r', ask("list", level=READ)),
            ("orders --break-glass it is on fire", ask(is_break_glass=True, reason="it is on fire")),
            ("orders --BREAK_GLASS", ask(is_break_glass=True)),
            ("orders --for=2h --reason='a b'", ask(duration_seconds=7200, reason="a b")),
            ("orders -for 2h", ask(duration_seconds=7200)),
            ("orders fix the -f flag", ask(reason="fix the -f flag")),
            ("orders r --permission r", ask(level=READ)),
        ],
    )
    def test_options_may_stand_anywhere(self, text: str, expected: Ask) -> None:
        """Under today's names and those of the tool before; a reason without quotes goes on to the next option."""
        assert expected == parse_command(text)


class TestPhones:
    @pytest.mark.parametrize("dash", ["—", "–", "−", "‒", "―", "-–", "——", "--"])
    def test_a_dash_that_a_phone_made_begins_an_option(self, dash: str) -> None:
        """Two hyphens become one long dash as one types."""
        expected = ask(duration_seconds=7200, is_break_glass=True)

        assert expected == parse_command(f"orders {dash}for 2h {dash}break{dash[0]}glass")

    @pytest.mark.parametrize("dash", ["—", "–", "-"])
    def test_a_dash_between_words_is_text(self, dash: str) -> None:
        """People write with dashes."""
        assert ask(reason=f"stuck {dash} now") == parse_command(f"orders stuck {dash} now")

    @pytest.mark.parametrize(
        "quoted", ["“it is stuck”", "„it is stuck“", "«it is stuck»", '"it is stuck"', "'it is stuck'", "‘it is stuck’"]
    )
    def test_quotes_that_a_phone_made_hold_a_value_together(self, quoted: str) -> None:
        """Whatever the language of the keyboard."""
        assert ask(reason="it is stuck", port=2000) == parse_command(f"orders --reason {quoted} --port 2000")

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("it’s stuck", "it’s stuck"),
            ("don't --for 2h", "don't"),
            ('a 5" disk', 'a 5" disk'),
            ("'til noon", "'til noon"),
            ('--reason "never closed', "never closed"),
            ('"never closed --for 2h', "never closed"),
            ('the "big" table', 'the "big" table'),
            (r'--reason "say \"hi\" \\ now"', r'say "hi" \ now'),
            (r"--reason 'C:\temp'", r"C:\temp"),
            ('""', ""),
        ],
    )
    def test_other_quotes_are_text(self, text: str, reason: str) -> None:
        """An apostrophe, an inch mark and a quote that never closes swallow nothing."""
        read = parse_command(f"orders {text}")

        assert isinstance(read, Ask)
        assert reason == read.reason

    @pytest.mark.parametrize(
        ("typed", "reason"), [("a &amp; b", "a & b"), ("&lt;b&gt;", "<b>"), ("&amp;lt;", "&lt;"), ("a & b", "a & b")]
    )
    def test_what_slacks_clients_escape_is_undone_once(self, typed: str, reason: str) -> None:
        """Some send the signs as they are, some as entities."""
        assert ask(reason=reason) == parse_command(f"orders {typed}")


class TestSubcommands:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", OpenForm()),
            (" \n ", OpenForm()),
            ("list", ShowLocations()),
            ("LIST", ShowLocations()),
            ("mine", ShowMine()),
            ("help", ShowHelp()),
            ("-h", ShowHelp()),
            ("--help", ShowHelp()),
            ("—help", ShowHelp()),
            ("?", ShowHelp()),
            ("history", ShowHistory()),
            ("Cost", ShowCost()),
            ("token", ShowToken()),
            ("token r-abc234", ShowToken(request_id=REQUEST_ID)),
            ("token R–ABC234", ShowToken(request_id=REQUEST_ID)),
            ("extend", ExtendAccess()),
            ("extend 30m", ExtendAccess(seconds=1800)),
            ("extend R-ABC234", ExtendAccess(request_id=REQUEST_ID)),
            ("extend R-ABC234 30m", ExtendAccess(request_id=REQUEST_ID, seconds=1800)),
            ("extend 30M r-abc234", ExtendAccess(request_id=REQUEST_ID, seconds=1800)),
            ("end", EndAccess()),
            ("end All", EndAccess(request_ids=EVERY_ACCESS)),
            ("end R-ABC234", EndAccess(request_ids=REQUEST_ID)),
            ("cancel", CancelRequest()),
            ("cancel r-abc234", CancelRequest(request_id=REQUEST_ID)),
            ("explain orders", ExplainLevel(location="orders")),
            ("explain Orders W", ExplainLevel(location="orders", level=WRITE)),
            ("explain write orders", ExplainLevel(location="orders", level=WRITE)),
            ("explain list", ExplainLevel(location="list")),
        ],
    )
    def test_the_first_word_wins_as_a_subcommand(self, text: str, expected: Command) -> None:
        """In any case; ids and durations in any order."""
        assert expected == parse_command(text)


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "said", "corrected"),
        [
            ("orders w 2", "'2' is no duration. Write it like 30m, 2h or 1h30m.", "orders w 2h"),
            ("orders 42", "'42' is no duration", "orders 42m"),
            ("orders 0m", "'0m' is no duration", "orders 1h"),
            ("orders 1.5h r", "'1.5h' is no duration", "orders r 1h30m"),
            ("orders 1,5h", "'1,5h' is no duration", "orders 1h30m"),
            ("orders -2h", "'-2h' is no duration", "orders 2h"),
            ("orders 2weeks", "'2weeks' is no duration", "orders 8h"),
            ("orders 2hours x", "'2hours' is no duration", "orders 2h x"),
            ("orders 30min", "'30min' is no duration", "orders 30m"),
            ("orders 99999999h", "'99999999h' is no duration", "orders 8h"),
            ("orders --for soon", "'soon' is no duration", "orders 1h"),
            ("orders --for '2 hours'", "'2 hours' is no duration", "orders 2h"),
            ("orders --fro 2h", "There is no option --fro.", "orders 2h"),
            ("orders --reson stuck", "There is no option --reson.", "orders stuck"),
            ("orders --breakglass x", "There is no option --breakglass.", "orders --break-glass x"),
            (
                "orders w fix --force it",
                "There is no option --force. Within a reason",
                'orders w --reason "fix --force it"',
            ),
            ("orders —xyzzy", "There is no option --xyzzy.", 'orders --reason "—xyzzy"'),
            ("orders --break-glass=no", "--break-glass takes no value.", "orders --break-glass no"),
            ("orders --for", "--for needs a value: --for 2h.", "orders 1h"),
            ("orders --for --port 2000", "--for needs a value", "orders 1h --port 2000"),
            ("orders --reason", "--reason needs a value", "orders"),
            ("orders --port 80", "'80' is no local port. It is a number from 1024 to 65535.", "orders --port 56789"),
            ("orders --port 65536", "'65536' is no local port", "orders --port 56789"),
            ("orders --profile $(id) x", "'$(id)' is no AWS profile", "orders x"),
            ("orders --profile -x", "'-x' is no AWS profile", "orders"),
            ("orders --profile @x", "'@x' is no AWS profile", "orders"),
            (
                "orders --permission wrtie",
                "'wrtie' is no level. There are r (read), w (write) and o (operate).",
                "orders w",
            ),
            ("orders --permission admin", "'admin' is no level", "orders"),
            ("orders wrtie 2h", "'wrtie' is no level", "orders w 2h"),
            ("orders w --permission r", "The level is said twice.", "orders r"),
            ("orders --for 2h --for 3h", "The duration is said twice.", "orders 2h"),
            ("w 2h orders", "The location comes first.", "orders w 2h"),
            ("w 2h", "Which location?", "LOCATION w 2h"),
            ('""', "Which location?", "LOCATION"),
            ("--for 2h", "Which location?", "LOCATION 2h"),
            ("explain", "Which location?", "explain LOCATION"),
            ("explain w", "Which location?", "explain LOCATION w"),
            ("explain orders now", "'now' has no place in /db-access explain LOCATION [r|w|o].", "explain orders"),
            ("token R-ABC230", "'R-ABC230' is no request id. One is R- and six characters", "token"),
            ("token R-ABC234 now", "'now' has no place in /db-access token [R-…].", "token R-ABC234"),
            ("extend 30", "'30' is no duration", "extend 30m"),
            ("extend R-ABC234 1.5h", "'1.5h' is no duration", "extend R-ABC234 1h30m"),
            ("end everything", "'everything' has no place in /db-access end [R-…|all].", "end"),
            ("help me", "'me' has no place in /db-access help.", "help"),
            ("mine R-ABC234", "'R-ABC234' has no place in /db-access mine.", "mine"),
        ],
    )
    def test_a_mistake_is_answered_with_the_corrected_command(self, text: str, said: str, corrected: str) -> None:
        """What is wrong, and the person's own words where they were right."""
        refusal = refusal_of(text)

        assert refusal.startswith(said)
        assert refusal.endswith(f"Type {COMMAND} {corrected}")

    @pytest.mark.parametrize(
        ("text", "subcommand", "location"),
        [
            ("list r 2h", "list", "--location list r 2h"),
            ("cost --for 2h", "cost", "--location cost 2h"),
            ("history w fix it", "history", "--location history w fix it"),
        ],
    )
    def test_a_location_that_is_called_like_a_subcommand_is_asked_for_by_option(
        self, text: str, subcommand: str, location: str
    ) -> None:
        """Both readings are offered, each as it has to be typed."""
        assert refusal_of(text).endswith(
            f"Type {COMMAND} {subcommand} or, for a location called '{subcommand}', {COMMAND} {location}"
        )

    def test_three_thousand_characters_are_refused_with_their_number(self) -> None:
        """Slack lets people paste that much; nothing of it is echoed."""
        refusal = refusal_of("orders " + "x" * 2993)

        assert f"That is 3000 characters long; 1000 is the most. Type {USAGE}" == refusal

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("lst", "/db-access list"),
            ("tokne R-ABC234", "/db-access token R-ABC234"),
            ("extnd 30m", "/db-access extend 30m"),
            ("Histroy", "/db-access history"),
            ("exlpain orders w", "/db-access explain orders w"),
            ("orders-prod", None),
            ("", None),
        ],
    )
    def test_a_first_word_that_is_no_location_may_be_a_misspelt_subcommand(
        self, text: str, expected: str | None
    ) -> None:
        """For whoever knows the locations: a location that is nearly called so must stay reachable."""
        assert expected == find_similar_command(text)

    @RULE
    @given(command_texts)
    def test_every_correction_can_be_typed(self, text: str) -> None:
        """Nobody is sent from one mistake to the next."""
        outcome = outcome_of(text)
        if isinstance(outcome, InvalidCommandError):
            correction = str(outcome).partition(f" Type {COMMAND} ")[2]
            for command in correction.split(f"', {COMMAND} "):
                parse_command(command.partition(" or, for a location called '")[0])


class TestRoundTrip:
    @pytest.mark.parametrize(
        ("command", "expected"),
        [
            (OpenForm(), ""),
            (ask(), "orders"),
            (ask(level=WRITE, duration_seconds=5400, reason="fix it"), "orders w 1h30m fix it"),
            (ask(reason="w is slow"), "orders o w is slow"),
            (ask(reason="2h ago it broke"), 'orders --reason "2h ago it broke"'),
            (ask(reason='say "hi" & go'), 'orders say "hi" & go'),
            (ask(reason="a &lt; b"), "orders a &amp;lt; b"),
            (ask("list"), "--location list"),
            (ask(port=2000, profile="dev", environment="prod"), "orders --env prod --port 2000 --profile dev"),
            (ask(is_break_glass=True, reason="fire"), "orders --break-glass fire"),
            (ExplainLevel(location="orders", level=READ), "explain orders r"),
            (ExplainLevel(location="r"), 'explain "r"'),
            (ExtendAccess(request_id=REQUEST_ID, seconds=90), "extend R-ABC234 1m30s"),
            (EndAccess(request_ids=EVERY_ACCESS), "end all"),
        ],
    )
    def test_a_command_is_written_as_plainly_as_it_can_be(self, command: Command, expected: str) -> None:
        """Quotes and options only where they are needed."""
        assert expected == command_text(command)

    @settings(RULE, max_examples=1000)
    @given(commands)
    @example(ask(reason='"'))
    @example(ask(reason='”" \\'))
    @example(ask(reason="&amp;amp;"))
    @example(ask("r", reason="--for"))
    @example(ask(duration_seconds=9_999 * 86_400 + 99_999 * 3_600))
    def test_what_is_written_is_read_back(self, command: Command) -> None:
        """Every command, whatever stands in its names and its reason."""
        assert command == parse_command(command_text(command))


class TestWhateverIsTyped:
    @settings(RULE, max_examples=300)
    @given(st.one_of(command_texts, st.text(max_size=1200)))
    def test_it_is_read_or_refused(self, text: str) -> None:
        """No text fails in another way; what is read is bounded, and is read again from what is written of it."""
        assert_read_or_refused(text)

    @pytest.mark.parametrize("seed", range(4))
    def test_thousands_of_texts_are_read_or_refused(self, seed: int) -> None:
        """Made of what commands are made of, in any order, by a seed that names the failing one."""
        source = random.Random(seed)
        for _ in range(5000):
            pieces = source.choices(pieces_of_commands, k=source.randrange(1, 9))
            assert_read_or_refused(
                source.choice(["", " ", "  ", "="]).join(pieces) if source.random() < 0.3 else " ".join(pieces)
            )

    @pytest.mark.parametrize("piece", ['"a', "'a", '\\"', '"\\', "—a=", "&amp;", "“”", '" '])
    def test_the_longest_texts_take_no_longer(self, piece: str) -> None:
        """Quotes that never close do not make reading slow."""
        started = time.thread_time()
        for glue in ("", " "):
            assert_read_or_refused("orders " + glue.join([piece] * 1000)[:990])

        assert time.thread_time() - started < 1


def outcome_of(text: str) -> Command | InvalidCommandError:
    """What is read, or the refusal; anything else that is raised is a failure."""
    try:
        return parse_command(text)
    except InvalidCommandError as refusal:
        return refusal


def assert_read_or_refused(text: str) -> None:
    outcome = outcome_of(text)

    if isinstance(outcome, InvalidCommandError):
        assert len(str(outcome)) <= LONGEST_ANSWER
        return
    assert outcome == parse_command(command_text(outcome))
    if isinstance(outcome, Ask):
        assert len(outcome.reason) <= defaults.REASON_LENGTH
        assert outcome.location
        assert outcome.duration_seconds is None or outcome.duration_seconds > 0


class TestHelp:
    def test_every_command_is_explained_once(self) -> None:
        """Usage and what it does, fit for a table."""
        lines = command_help()

        assert len(lines) == len({usage for usage, _ in lines})
        assert all(usage and does and does == does.strip() for usage, does in lines)

    @pytest.mark.parametrize(
        "word", ["list", "mine", "token", "extend", "end", "cancel", "explain", "history", "cost", "help"]
    )
    def test_each_subcommand_is_in_it(self, word: str) -> None:
        """By its whole usage."""
        assert [word] == [usage.split()[1] for usage, _ in command_help() if usage.startswith(f"{COMMAND} {word}")]

    @pytest.mark.parametrize("name", ["for", "reason", "permission", "location", "env", "region", "port", "profile"])
    def test_each_option_is_in_it(self, name: str) -> None:
        """By today's name alone."""
        assert 1 == len([usage for usage, _ in command_help() if re.match(rf"--{name}\b", usage)])

    @pytest.mark.parametrize(("usage", "_does"), command_help())
    def test_what_it_shows_can_be_typed(self, usage: str, _does: str) -> None:
        """With a value in place of each placeholder, and one of each choice."""
        text = usage.removeprefix(COMMAND).strip()
        for shown, typed in {
            "r|w|o": "r",
            "30m|2h|1h30m": "2h",
            "R-…|all": "all",
            "R-…": REQUEST_ID,
            "reason…": "x",
        }.items():
            text = text.replace(shown, typed)
        text = text.replace("[", "").replace("]", "").replace("…", "x")

        parse_command(f"orders {text}" if text.startswith("--") and "location" not in text else text)
