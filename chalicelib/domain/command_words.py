"""The words of a command as people and their phones type them, and how a text is written so that it is read back as it is."""

import re
from collections.abc import Collection
from dataclasses import dataclass

_ANY_DASH = "[-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d]"
_DOUBLE = '["\u201c\u201d\u201e\u201f\u00ab\u00bb\uff02]'
_SINGLE = "['\u2018\u2019\u201a\u201b\uff07]"
_AT_END = r"(?=\s|$)"
_OPTION = rf"(?P<dashes>{_ANY_DASH}{{1,3}})(?P<name>[A-Za-z](?:[A-Za-z_]|{_ANY_DASH})*)"
# A quote opens at the beginning of a word and closes at the end of one: an apostrophe or an inch mark within is just text,
# and so is a quote that never closes. Within double quotes a backslash takes its meaning from a quote or another backslash.
_WORD = re.compile(
    rf"{_OPTION}="
    rf"|{_DOUBLE}(?P<double>(?:\\[\s\S]|(?!\\|{_DOUBLE})[\s\S]|{_DOUBLE}(?!\s|$))*){_DOUBLE}{_AT_END}"
    rf"|{_SINGLE}(?P<single>(?:(?!{_SINGLE})[\s\S]|{_SINGLE}(?!\s|$))*){_SINGLE}{_AT_END}"
    r"|\S+"
)
_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">"}
_NEEDS_NO_QUOTES = re.compile(r"[\w.:/@](?:[\w.:/@-]*[\w.:/@])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word, or everything between two quotes. ``raw`` is how it was typed."""

    text: str
    raw: str
    is_quoted: bool = False


def split_words(text: str) -> list[Word]:
    """The words of a text, after undoing, once, what Slack's clients do to ``&``, ``<`` and ``>``. ``--a=b`` is two words."""
    decoded = re.sub("|".join(_ENTITIES), lambda match: _ENTITIES[match[0]], text)
    return [_word(match) for match in _WORD.finditer(decoded)]


def find_option(word: Word, known: Collection[str]) -> str | None:
    """The name of the option that a word is, known or not; after a single dash, of a known one only."""
    match = None if word.is_quoted else re.fullmatch(_OPTION, word.text)
    if match is None:
        return None
    name = re.sub(f"{_ANY_DASH}|_", "-", match["name"].lower())
    return name if match["dashes"] != "-" or name in known else None


def with_plain_dashes(text: str) -> str:
    """The text with each typographic dash as a hyphen."""
    return re.sub(_ANY_DASH, "-", text)


def join_words(words: list[Word]) -> str:
    """Words as they were typed, one space apart; quotes around all of them, or one that never closes, are left out."""
    if len(words) == 1 and words[0].is_quoted:
        text = words[0].text
    else:
        text = " ".join(word.raw for word in words)
        is_left_open = re.match(_DOUBLE, text) and len(re.findall(_DOUBLE, text)) == 1
        text = text[1:] if is_left_open else text
    return " ".join(text.split())


def quote_word(text: str) -> str:
    """The text as one quoted word."""
    return '"' + re.sub(rf"({_DOUBLE}|\\)", r"\\\1", text) + '"'


def plain_or_quoted_word(text: str) -> str:
    """The text as one word, quoted if it has to be."""
    return text if _NEEDS_NO_QUOTES.fullmatch(text) else quote_word(text)


def escape_entities(text: str) -> str:
    """The text so that undoing what Slack's clients do leaves it as it is."""
    return re.sub("&(?=(?:amp|lt|gt);)", "&amp;", text)


def _word(match: re.Match[str]) -> Word:
    if (double := match["double"]) is not None:
        return Word(text=re.sub(rf"\\({_DOUBLE}|\\)", r"\1", double), raw=match[0], is_quoted=True)
    if (single := match["single"]) is not None:
        return Word(text=single, raw=match[0], is_quoted=True)
    return Word(text=match[0].removesuffix("=") if match["name"] else match[0], raw=match[0])
