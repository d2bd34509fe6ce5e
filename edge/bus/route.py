"""Route: rules that look at subject, type and source, and set the type and extensions.

What a camera or a bucket names its pictures is not this box's doing, so a key may be anything. The
expressions are RE2's: the time that one takes grows with the length of the text, never faster, and
the sizes of both are bounded here. What remains is asked in pieces, so that the loop goes on.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import re2

from edge.cloudevents.attributes import check_name, check_text
from edge.cloudevents.faults import Malformed
from edge.config.handlers import RouteConfig, RouteRule
from edge.errors import Fatal, Rejected
from edge.event import NAMED, Event, WireEvent

LONGEST_TEXT: Final = 1024
"""Characters of an attribute that a rule looks at or makes. A key of S3 has at most 1024 bytes."""

LONGEST_PATTERN: Final = 1024
"""Characters of an expression, and of a template."""

MOST_PATTERNS: Final = 256
"""Expressions of one handler."""

MOST_RULES: Final = 1000

MOST_MEMORY: Final = 256 * 2**10
"""Bytes that RE2 may use for one expression, what it remembers of texts included."""

MOST_STEPS: Final = 2000
"""Instructions of one expression. The worst known takes 7 ns for each, and each character."""

TURN: Final = 0.005
"""Seconds after which others get their turn."""

_LOOKED_AT = ("subject", "type", "source")
# data: never an attribute; knativebrokerttl: the bus's own
_TAKEN = frozenset({*NAMED, "data", "knativebrokerttl"})
_PIECE = re.compile(r"(?P<brace>\{\{|\}\})|\{(?P<group>\w+)\}|(?P<stray>[{}])")
# what of an expression is no plain text; RE2 itself takes a group's name twice
_TOKEN = re.compile(
    r"\\Q.*?(?:\\E|$)|(?P<byte>\\C)|\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|\(\?P?<(?P<name>\w+)>",
    re.DOTALL,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFault:
    """One thing that is wrong with a rule: where, what was given, and what was expected."""

    #: from 1; 0: all rules together
    rule: int
    #: ``subject``, ``set_type``, ``set.NAME`` …
    key: str
    given: str
    message: str
    #: the character of ``given`` where it begins, from 1; 0: all of it, or not known
    position: int = 0

    @property
    def path(self) -> str:
        """Where it stands, as the configuration counts: ``rules[0].subject``."""
        return f"rules[{self.rule - 1}].{self.key}" if self.rule else "rules"

    def __str__(self) -> str:
        at = f" at character {self.position}" if self.position else ""
        which = f"rule {self.rule}, {self.key}" if self.rule else "rules"
        return f"{which} = {self.given!r}{at}: {self.message}"


class BadRules(Fatal):
    """Rules that are none. ``faults`` has everything that is wrong with them."""

    default_reason = "bad_rules"

    def __init__(self, where: str, faults: Sequence[RuleFault]) -> None:
        super().__init__(
            f"{where}: " + "; ".join(map(str, faults)),
            hint="edge route test KEY tries the rules of a configuration file",
        )
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What the rules make of an event."""

    #: numbers of the rules that matched, from 1, in their order
    matched: tuple[int, ...]
    #: the event with its new type and extensions
    event: WireEvent
    #: False: it is as it came
    changed: bool


class Route:
    """Keeps ``contracts.Handler``: gives an event a new type and extensions by rules.

    A rule matches where each of its expressions is found, and where every group that ``set_type``
    names took part with at least one character. An extension whose groups took no part is left as
    it is. A rule that does not end the search hands the event on as it is by then.

    The event keeps its id and source. One that no rule matches, or that is as it was before,
    comes to nothing: so an event that comes by twice does not go round for ever.

    Args:
        config: ``[handlers.NAME]`` with ``kind = "route"``.
        where: the handler's name for dead letters and status.

    Raises:
        BadRules: with every fault.

    """

    sees_pictures = False

    def __init__(self, config: RouteConfig, where: str = "edge:route") -> None:
        self.where = where
        compiler = _Compiler()
        self._rules = compiler.rules(config.rules)
        if compiler.faults:
            raise BadRules(where, compiler.faults)

    async def __call__(self, event: Event[Any]) -> WireEvent | None:
        """Return the event as the rules want it; None where they change nothing.

        Raises:
            Rejected: ``too_long``, ``bad_text``: an attribute that no rule can look at.

        """
        trial = await self.trial(event)
        if not trial.matched:
            _log.debug("no rule of %s matches an event of type %r", self.where, event.type)
        return trial.event if trial.changed else None

    async def close(self) -> None:
        pass

    async def trial(self, event: WireEvent) -> Trial:
        """Try the rules on an event. Raises as a call does."""
        matched: list[int] = []
        now, turn = event, time.perf_counter() + TURN
        for number, rule in enumerate(self._rules, 1):
            after = rule.applied(now)
            if after is not None:
                matched.append(number)
                now = after
                if rule.stop:
                    break
            if time.perf_counter() > turn:
                await asyncio.sleep(0)
                turn = time.perf_counter() + TURN
        changed = now.type != event.type or now.extensions != event.extensions
        return Trial(matched=tuple(matched), event=now, changed=changed)


def faults_of(config: RouteConfig) -> list[RuleFault]:
    """Return everything that is wrong with the rules, in their order; none: they can be used."""
    compiler = _Compiler()
    compiler.rules(config.rules)
    return compiler.faults


@dataclass(frozen=True, slots=True)
class _Template:
    """Text with the names of groups in it."""

    #: text and the group behind it; empty: none
    pieces: tuple[tuple[str, str], ...]

    @property
    def groups(self) -> list[str]:
        return [group for _, group in self.pieces if group]

    def text(self, groups: Mapping[str, str]) -> str:
        """Return the text; empty where one of its groups took no part, or without a character."""
        if not all(map(groups.get, self.groups)):
            return ""
        text = "".join(plain + groups.get(group, "") for plain, group in self.pieces)
        if len(text) > LONGEST_TEXT:
            raise _too_long("what a rule makes of it", text)
        return text


@dataclass(frozen=True, slots=True)
class _Rule:
    patterns: tuple[tuple[str, Any], ...]
    set_type: _Template | None
    extensions: tuple[tuple[str, _Template], ...]
    stop: bool

    def applied(self, event: WireEvent) -> WireEvent | None:
        """Return what it makes of the event; None where it does not match."""
        groups = self._groups(event)
        if groups is None:
            return None
        kind = event.type
        if self.set_type is not None:
            kind = self.set_type.text(groups)
            if not kind:
                return None
        texts = {name: template.text(groups) for name, template in self.extensions}
        found = {name: text for name, text in texts.items() if text}
        return replace(event, type=kind, extensions={**event.extensions, **found})

    def _groups(self, event: WireEvent) -> dict[str, str] | None:
        groups: dict[str, str] = {}
        for attribute, pattern in self.patterns:
            match = _found(pattern, attribute, getattr(event, attribute))
            if match is None:
                return None
            groups |= {name: text for name, text in match.groupdict().items() if text}
        return groups


def _found(pattern: Any, attribute: str, text: str) -> Any:
    if len(text) > LONGEST_TEXT:
        raise _too_long(f"the {attribute}", text)
    try:
        return pattern.search(text)
    except UnicodeEncodeError as error:
        raise Rejected(
            f"the {attribute} has half a character at {error.start + 1}; expected UTF-8",
            reason="bad_text",
        ) from error


def _too_long(what: str, text: str) -> Rejected:
    return Rejected(
        f"{what} has {len(text)} characters; a rule handles at most {LONGEST_TEXT}",
        hint="keep such events from the trigger, with a filter",
        reason="too_long",
    )


class _Compiler:
    """Compiles rules and gathers what is wrong with them."""

    def __init__(self) -> None:
        self.faults: list[RuleFault] = []
        self._number = 0
        self._options = re2.Options()
        self._options.max_mem = MOST_MEMORY
        self._options.log_errors = False

    def rules(self, given: Sequence[RouteRule]) -> list[_Rule]:
        patterns = sum(bool(getattr(rule, key)) for rule in given for key in _LOOKED_AT)
        for count, most, what in (
            (len(given), MOST_RULES, "rules"),
            (patterns, MOST_PATTERNS, "expressions"),
        ):
            if count > most:
                text = f"expected at most {most} in one handler; use groups, or several handlers"
                self._fault("", f"{count} {what}", text)
        if self.faults:
            return []
        return [self._rule(number, rule) for number, rule in enumerate(given, 1)]

    def _fault(self, key: str, given: str, message: str, position: int = 0) -> None:
        self.faults.append(
            RuleFault(
                rule=self._number, key=key, given=given[:80], message=message, position=position
            )
        )

    def _rule(self, number: int, rule: RouteRule) -> _Rule:
        self._number = number
        known: dict[str, str] = {}
        patterns = []
        for key in _LOOKED_AT:
            text = getattr(rule, key)
            if text:
                patterns.append((key, self._pattern(key, text, known)))
        kind = self._template("set_type", rule.set_type, known) if rule.set_type else None
        extensions = []
        for name, text in rule.set.items():
            self._check_name(name)
            extensions.append((name, self._template(f"set.{name}", text, known)))
        return _Rule(tuple(patterns), kind, tuple(extensions), rule.stop)

    def _pattern(self, key: str, text: str, known: dict[str, str]) -> Any:
        """Compile an expression; ``known`` learns its groups, also where it is faulty."""
        for name, position in self._names(key, text):
            if name in known:
                self._fault(key, text, f"the group {name} is there twice", position)
            known[name] = key
        if len(text) > LONGEST_PATTERN:
            expected = f"expected at most {LONGEST_PATTERN} characters, got {len(text)}"
            return self._fault(key, text, expected)
        try:
            pattern = re2.compile(text, self._options)
        except re2.error as error:
            return self._fault(key, text, *self._refusal(text, error))
        except UnicodeEncodeError as error:
            return self._fault(key, text, "half a character; expected UTF-8", error.start + 1)
        if pattern.programsize > MOST_STEPS:
            expected = f"expected at most {MOST_STEPS} steps, got {pattern.programsize}"
            self._fault(key, text, f"{expected}: repeat less, or be less exact")
        return pattern

    def _names(self, key: str, text: str) -> Iterator[tuple[str, int]]:
        for token in _TOKEN.finditer(text[:LONGEST_PATTERN]):
            if token["byte"]:
                expected = r"\C is a piece of a character; expected . for a whole one"
                self._fault(key, text, expected, token.start() + 1)
            if token["name"]:
                yield token["name"], token.start() + 1

    def _refusal(self, text: str, error: re2.error) -> tuple[str, int]:
        """Return RE2's words, and the first place where it says the same of what stands before."""
        said = error.args[0].decode(errors="replace")
        what, _, piece = said.partition(": ")
        unlike = what in {"invalid perl operator", "invalid escape sequence"}
        hint = ": no look-around, no back-reference" if unlike else ""
        words = f"{said}; expected an expression of RE2{hint}"
        at = text.find(piece) if piece else -1
        while at >= 0:
            try:
                re2.compile(text[: at + len(piece)], self._options)
            except re2.error as again:
                if again.args == error.args:
                    return words, at + 1
            at = text.find(piece, at + 1)
        return words, 0

    def _check_name(self, name: str) -> None:
        if name in _TAKEN:
            self._fault(f"set.{name}", name, "expected an extension; this one is not free to set")
            return
        try:
            check_name(name)
        except Malformed as error:
            self._fault(f"set.{name}", name, str(error))

    def _template(self, key: str, text: str, known: Mapping[str, str]) -> _Template:
        if not text or len(text) > LONGEST_PATTERN:
            expected = f"expected 1 to {LONGEST_PATTERN} characters, got {len(text)}"
            self._fault(key, text, expected)
            return _Template(())
        try:
            check_text(key, text)
        except Malformed as error:
            self._fault(key, text, str(error))
        pieces, plain, end = [], "", 0
        for piece in _PIECE.finditer(text):
            plain += text[end : piece.start()] + (piece["brace"] or "")[:1]
            end = piece.end()
            if piece["stray"]:
                expected = "expected the name of a group between braces; {{ and }} are braces"
                self._fault(key, text, expected, piece.start() + 1)
            elif group := piece["group"]:
                if group not in known:
                    names = ", ".join(known) or "none: write (?P<name>…) in an expression"
                    expected = f"no group {group} in this rule; there are: {names}"
                    self._fault(key, text, expected, piece.start() + 1)
                pieces.append((plain, group))
                plain = ""
        return _Template((*pieces, (plain + text[end:], "")))
