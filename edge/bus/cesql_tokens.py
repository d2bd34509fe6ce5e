"""CESQL text into tokens. The keywords know no case; identifiers are taken in lower case."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from edge.bus.cesql_values import LARGEST, SMALLEST, CesqlError, Value

MOST_CHARACTERS = 4096
"""Longest expression that is read."""

KEYWORDS = frozenset(["AND", "OR", "XOR", "NOT", "LIKE", "EXISTS", "IN", "TRUE", "FALSE"])


class Token(NamedTuple):
    """A word of an expression.

    ``kind`` is ``string``, ``integer``, ``name`` or ``end``; operators, brackets and keywords
    (in upper case) are their own kind.
    """

    kind: str
    value: Value
    #: where it begins, counted from 0
    at: int


_WORDS = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<string>'(?:\\.|''|[^'\\])*' | "(?:\\.|""|[^"\\])*")
      | (?P<integer>[0-9]+(?![A-Za-z0-9_]))
      | (?P<name>[A-Za-z0-9][A-Za-z0-9_]*)
      | (?P<operator><>|<=|>=|!=|[-+*/%=<>(),])
    """,
    re.VERBOSE | re.DOTALL,
)
_OPERAND_ENDS = frozenset({"string", "integer", "name", "TRUE", "FALSE", ")"})


def parse_error(message: str, at: int) -> CesqlError:
    """Return the error of a text that is no expression; ``at`` counts from 0."""
    return CesqlError("parse", f"at character {at + 1}: {message}")


def tokens(text: str) -> list[Token]:
    """Return the tokens of ``text``, closed by one of kind ``end``.

    Raises:
        CesqlError: (parse) too long, an unknown character, an open string, a number that 32 bits
            do not hold.

    """
    if len(text) > MOST_CHARACTERS:
        message = f"{len(text)} characters, expected at most {MOST_CHARACTERS}"
        raise parse_error(message, MOST_CHARACTERS)
    found = list(_signed(list(_words(text))))
    found.append(Token("end", "", len(text)))
    return found


def _words(text: str) -> Iterator[Token]:
    at = 0
    while at < len(text):
        match = _WORDS.match(text, at)
        if match is None:
            what = "the string is not closed" if text[at] in "'\"" else f"unexpected {text[at]!r}"
            raise parse_error(what, at)
        if match.lastgroup != "space":
            yield _token(str(match.lastgroup), match[0], at)
        at = match.end()


def _token(group: str, word: str, at: int) -> Token:
    if group == "string":
        return Token(group, unquoted(word), at)
    if group == "operator":
        return Token(word, word, at)
    if group == "integer":
        return Token(group, word, at)
    keyword = word.upper()
    return Token(keyword, word, at) if keyword in KEYWORDS else Token(group, word, at)


def unquoted(word: str) -> str:
    r"""Return what a quoted string stands for: ``\'`` and ``''`` are ``'`` within ``'…'``.

    Every other backslash stays as it is, because ``LIKE`` has a use for it.
    """
    quote = word[0]
    pair = re.compile(rf"\\.|{quote}{quote}", re.DOTALL)
    return pair.sub(lambda found: quote if found[0][1] == quote else found[0], word[1:-1])


def quoted(value: str) -> str:
    """Return a string literal that stands for ``value``.

    Raises:
        ValueError: no literal does: the language cannot write a backslash at the very end, nor
            every mixture of backslashes and both quotes.

    """
    for quote in "'\"":
        escaped = value.replace(quote, "\\" + quote)
        word = f"{quote}{escaped}{quote}"
        match = _WORDS.match(word)
        if match and match.end() == len(word) and unquoted(word) == value:
            return word
    raise ValueError(f"no CESQL literal stands for {value!r}")


def _signed(words: list[Token]) -> Iterator[Token]:
    """Join a sign with the number right behind it, where no operand stands before the sign."""
    sign = None
    for index, word in enumerate(words):
        before = words[index - 1].kind if index else ""
        following = words[index + 1] if index + 1 < len(words) else word
        touches = following.kind == "integer" and following.at == word.at + 1
        if word.kind in {"+", "-"} and touches and before not in _OPERAND_ENDS:
            sign = word
        elif word.kind == "integer":
            yield _integer(word, sign)
            sign = None
        else:
            yield word


def _integer(word: Token, sign: Token | None) -> Token:
    at = sign.at if sign else word.at
    digits = str(word.value).lstrip("0") or "0"
    number = int(digits[:11]) * (-1 if sign and sign.kind == "-" else 1)
    if not SMALLEST <= number <= LARGEST:
        raise parse_error(f"{digits[:20]} is no 32-bit integer", at)
    return Token("integer", number, at)
