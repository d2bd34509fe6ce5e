"""Which CEL expressions are let in, judged by their text alone.

The library evaluates without a limit and cannot be stopped. Measured with 0.10.0: ``map`` copies
the whole list for each member (minutes for 100,000, and 8 s for 150 where each becomes a copy of
the data), ``x.matches(x)`` takes seconds, because a regular expression is compiled at each call,
and each ``+`` of lists copies them. So there is no ``map``, macros may not stand in each other and
look at a path, a pattern is a literal outside of every macro, sums are few, and what costs the
square of the data is marked ``heavy``, for which less data is allowed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

MOST_BYTES = 1024
DEEPEST = 24
"""How deep brackets may stand in each other. The library's own parser gives up near 100."""

MOST_MACROS = 4
MOST_PATTERNS = 4
MOST_SUMS = 16
MOST_SUMS_HEAVY = 4

VARIABLES = frozenset({"ce", "data"})

MACROS = frozenset({"all", "exists", "exists_one", "existsOne", "filter", "map"})

FUNCTIONS = frozenset(
    """bytes contains double duration dyn endsWith getDate getDayOfMonth getDayOfWeek getDayOfYear
    getFullYear getHours getMilliseconds getMinutes getMonth getSeconds int matches size startsWith
    string timestamp uint""".split()  # noqa: SIM905 (reads best so)
)
"""What the library has. What it does not know fails only when it is called."""


class Word(NamedTuple):
    """A token: ``string``, ``name``, ``number`` or ``sign``."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Admission:
    """What the text of an expression says about it."""

    #: why it is not let in; empty: it is
    faults: tuple[str, ...]
    #: it may cost the square of the size of the data
    heavy: bool
    #: how many words its macros evaluate for each element
    body: int
    #: names that its macros give to what they look at
    names: frozenset[str]
    #: the attributes that it looks at; None: it may look at any
    attributes: frozenset[str] | None
    #: the literals after ``matches``, as they are written
    patterns: tuple[str, ...]


_WORDS = re.compile(
    r"""(?P<space>\s+ | //[^\n]*)
      | (?P<string>[bB]?[rR](?:"[^"\r\n]*" | '[^'\r\n]*')
                 | [bB]?(?:"(?:\\.|[^"\\\r\n])*" | '(?:\\.|[^'\\\r\n])*'))
      | (?P<number>\.?[0-9][0-9A-Za-z.]*)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)


def words(text: str) -> list[Word]:
    """Return the tokens of an expression; whatever is none comes as single signs."""
    return [
        Word(str(match.lastgroup), match[0])
        for match in _WORDS.finditer(text)
        if match.lastgroup != "space"
    ]


def admission(text: str) -> Admission:
    """Judge the text of an expression."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MOST_BYTES:
        fault = f"{size} bytes, expected at most {MOST_BYTES}"
        none: frozenset[str] = frozenset()
        return Admission((fault,), heavy=True, body=0, names=none, attributes=none, patterns=())
    walk = _Walk(words(text))
    walk.run()
    faults = walk.faults()
    if any(quotes in text for quotes in ("'''", '"""', "`")):
        # read differently here and there, they would hide a macro
        faults.append("three quotes or a backtick, expected strings in single quotes")
    return Admission(
        faults=tuple(faults),
        heavy=walk.heavy,
        body=walk.body,
        names=frozenset(walk.names),
        attributes=None if "" in walk.attributes else frozenset(walk.attributes),
        patterns=tuple(walk.patterns),
    )


class _Walk:
    """Goes over the tokens once, and knows the brackets that are open."""

    def __init__(self, found: list[Word]) -> None:
        self.words = found
        #: of each open bracket, whether it is a macro's
        self.open: list[bool] = []
        #: where brackets of macros were closed
        self.results: set[int] = set()
        self.deepest = 0
        self.macros = 0
        self.sums = 0
        self.body = 0
        self.heavy = False
        self.names: set[str] = set()
        #: "" stands for all of them
        self.attributes: set[str] = set()
        self.patterns: list[str] = []
        self.bad: list[str] = []

    def run(self) -> None:
        for at, word in enumerate(self.words):
            self.body += any(self.open)
            self.sums += word.text == "+"
            if word.kind == "name":
                # looking at everything for each element
                root = word.text in VARIABLES and self._text(at - 1) != "."
                self.heavy = self.heavy or (root and any(self.open))
                if root and word.text == "ce":
                    self.attributes.add(self._attribute(at + 1))
            elif word.text in {"(", "[", "{"}:
                self._opened(at)
            elif word.text in {")", "]", "}"} and self.open and self.open.pop():
                self.results.add(at)

    def faults(self) -> list[str]:
        """Return what is wrong, in words."""
        sums = MOST_SUMS_HEAVY if self.heavy else MOST_SUMS
        limits = (
            ("brackets in each other", self.deepest, DEEPEST),
            ("macros", self.macros, MOST_MACROS),
            ("calls of matches()", len(self.patterns), MOST_PATTERNS),
            ("sums", self.sums, sums),
        )
        many = [
            f"{count} {what}, expected at most {most}"
            for what, count, most in limits
            if count > most
        ]
        return [*dict.fromkeys(self.bad), *many]

    def _text(self, at: int) -> str:
        return self.words[at].text if 0 <= at < len(self.words) else ""

    def _kind(self, at: int) -> str:
        return self.words[at].kind if 0 <= at < len(self.words) else ""

    def _attribute(self, at: int) -> str:
        """Return the name in ``.name`` or ``['name']``; empty where it is neither."""
        called = self._text(at + 2) == "("
        if self._text(at) == "." and self._kind(at + 1) == "name" and not called:
            return self._text(at + 1)
        name = self._text(at + 1)[1:-1]
        if self._text(at) == "[" and self._text(at + 2) == "]" and name.isalnum():
            return name
        return ""

    def _opened(self, at: int) -> None:
        name = self._text(at - 1) if self._text(at) == "(" else ""
        macro = name in MACROS
        if macro:
            self._macro(at, name)
        elif name == "matches":
            self._pattern(at + 1)
        self.open.append(macro)
        self.deepest = max(self.deepest, len(self.open))

    def _macro(self, at: int, name: str) -> None:
        self.macros += 1
        self.heavy = self.heavy or name == "filter"
        self.names.add(self._text(at + 1))
        if name == "map":
            self.bad.append("map() copies too much, expected exists(), all() or filter()")
        if any(self.open):
            self.bad.append(f"{name}() within a macro, expected none in another")
        if not self._is_path(at - 3):
            self.bad.append(f"{name}() of something made up, expected a path like data.objects")

    def _is_path(self, at: int) -> bool:
        """Say whether a path, literals in brackets, or what a macro made ends at this token."""
        while self._text(at) == "]":
            at -= 1
            while self._kind(at) in {"string", "number"} or self._text(at) in {",", "-"}:
                at -= 1
            if self._text(at) != "[":
                return False
            at -= 1
            if self._kind(at) != "name" and self._text(at) not in {"]", ")"}:
                return True
        if at in self.results:
            return True
        if self._kind(at) != "name":
            return False
        return self._text(at - 1) != "." or self._is_path(at - 2)

    def _pattern(self, at: int) -> None:
        if self._kind(at) != "string" or self._text(at + 1) != ")" or any(self.open):
            self.bad.append("matches() expects one literal string, and not within a macro")
        else:
            self.patterns.append(self._text(at))
