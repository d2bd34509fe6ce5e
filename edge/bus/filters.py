"""Filters: which events a trigger takes. Knative's dialects, and the two that came before them.

A filter is a pure function of an event. It is compiled once, with every fault told at once, and
evaluated often. An attribute that is absent, an expression that fails or comes to no boolean: no
match. ``not`` turns just that round, so it passes an event that lacks what it looks for.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge.bus.candidate import Candidate, canonical_text
from edge.bus.cel import BadExpression, Cel
from edge.bus.cesql import Expression
from edge.bus.cesql_values import CesqlError
from edge.errors import Rejected

Predicate = Callable[[Candidate], bool]

DEEPEST = 16
"""How deep ``all``, ``any`` and ``not`` may stand in each other."""

MOST_FILTERS = 256
"""Filters in one trigger, those within others included."""

_NAME = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a filter: where, what was given, and what was expected.

    ``kind`` is ``invalid``, or for an expression ``parse`` or ``limit``.
    """

    path: str
    given: str
    message: str
    kind: str = "invalid"

    def __str__(self) -> str:
        return f"{self.path}: {self.message}, got {self.given}"


class BadFilter(Rejected):
    """A filter that is none. ``faults`` has everything that is wrong with it."""

    default_reason = "bad_filter"

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = tuple(faults)


class Filter:
    """A compiled filter; ``matches`` is the plain function, for whoever calls it often."""

    __slots__ = ("_expressions", "matches")

    def __init__(self, matches: Predicate, expressions: Sequence[Cel] = ()) -> None:
        self.matches = matches
        self._expressions = tuple(expressions)

    def __call__(self, candidate: Candidate) -> bool:
        return self.matches(candidate)

    @property
    def off(self) -> str:
        """Say which expression was switched off for being slow, and why; empty: none was."""
        return "; ".join(f"{cel.text}: {cel.off}" for cel in self._expressions if cel.off)


def compile_filter(spec: object, path: str = "filters") -> Filter:
    """Return the filter that a list of filters (all must match), or a single one, stands for.

    Each is a table with one dialect as its key: ``exact``, ``prefix``, ``suffix``, ``all``,
    ``any``, ``not``, ``source-and-type``, ``attributes``, ``cesql`` or ``cel``. An empty list and
    an empty table match everything.

    Args:
        spec: plain lists, tables and values, as JSON or TOML gives them.
        path: where it stands, for the faults.

    Raises:
        BadFilter: it is none, with every fault.

    """
    compiler = _Compiler()
    if isinstance(spec, list | tuple):
        matches = _every(compiler.several(spec, path))
    else:
        matches = compiler.one(spec, path)
    if compiler.faults:
        raise BadFilter(compiler.faults)
    return Filter(matches, compiler.expressions)


class _Compiler:
    """Compiles one trigger's filters and gathers what is wrong with them."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.expressions: list[Cel] = []
        self.count = 0
        self.depth = 0
        self.dialects: dict[str, Callable[[Any, str], Predicate]] = {
            "exact": lambda given, path: _of_texts(_exact, self.texts(given, path)),
            "prefix": lambda given, path: _of_texts(_prefix, self.texts(given, path)),
            "suffix": lambda given, path: _of_texts(_suffix, self.texts(given, path)),
            "attributes": self.attributes,
            "source-and-type": self.source_and_type,
            "all": lambda given, path: _every(self.inner(given, path)),
            "any": lambda given, path: _some(self.inner(given, path)),
            "not": lambda given, path: _negated(self.one(given, path)),
            "cesql": self.cesql,
            "cel": self.cel,
        }
        # as configurations of other systems spell it
        self.dialects["source_and_type"] = self.dialects["source-and-type"]
        self.dialects["sourceAndType"] = self.dialects["source-and-type"]

    def fault(self, path: str, given: object, expected: str, kind: str = "invalid") -> Predicate:
        """Note what is wrong; return a filter that takes the place of the one that is none."""
        # reprlib: what is given may be of any size and depth
        self.faults.append(Fault(path, reprlib.repr(given), expected, kind))
        return _never

    def several(self, given: Sequence[object], path: str) -> list[Predicate]:
        return [self.one(item, f"{path}[{index}]") for index, item in enumerate(given)]

    def one(self, given: object, path: str) -> Predicate:
        """Compile a table with one dialect."""
        self.count += 1
        if self.count > MOST_FILTERS:
            if self.count == MOST_FILTERS + 1:
                self.fault(path, given, f"expected at most {MOST_FILTERS} filters", "limit")
            return _never
        if not isinstance(given, Mapping):
            return self.fault(path, given, "expected a table with one dialect")
        if not given:
            return _always
        if len(given) > 1:
            expected = "expected one dialect in each table: put them in a list, or in all"
            return self.fault(path, list(given), expected)
        dialect, value = next(iter(given.items()))
        if dialect not in self.dialects:
            known = ", ".join(name for name in self.dialects if name.islower() and "_" not in name)
            return self.fault(path, dialect, f"unknown dialect, expected one of {known}")
        return self.nested(str(dialect), value, f"{path}.{dialect}")

    def nested(self, dialect: str, value: object, path: str) -> Predicate:
        if self.depth >= DEEPEST:
            return self.fault(path, value, f"expected at most {DEEPEST} in each other", "limit")
        self.depth += 1
        matches = self.dialects[dialect](value, path)
        self.depth -= 1
        return matches

    def inner(self, given: object, path: str) -> list[Predicate]:
        if not isinstance(given, list | tuple):
            return [self.fault(path, given, "expected a list of filters")]
        return self.several(given, path)

    def texts(self, given: object, path: str, *, empty: bool = False) -> dict[str, str]:
        """Return a table of attributes and texts; ``empty``: a text may be."""
        if not isinstance(given, Mapping):
            self.fault(path, given, "expected a table of attributes and texts")
            return {}
        for name, value in given.items():
            at = f"{path}.{name}"
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                self.fault(at, name, "expected the name of an attribute: a-z and 0-9")
            elif not isinstance(value, str | bool | int):
                self.fault(at, value, "expected text")
            elif value == "" and not empty:
                self.fault(at, value, "expected text that is not empty")
        return {str(name): canonical_text(value) for name, value in given.items()}

    def attributes(self, given: object, path: str) -> Predicate:
        return _of_texts(_legacy, self.texts(given, path, empty=True))

    def source_and_type(self, given: object, path: str) -> Predicate:
        wanted = self.texts(given, path, empty=True)
        for name in wanted.keys() - {"source", "type"}:
            self.fault(f"{path}.{name}", name, "expected source or type")
        return _of_texts(_exact, {name: text for name, text in wanted.items() if text})

    def cesql(self, given: object, path: str) -> Predicate:
        if not isinstance(given, str):
            return self.fault(path, given, "expected an expression")
        if not given.strip():
            return _always
        try:
            return Expression(given).passes
        except CesqlError as error:
            return self.fault(path, given, str(error), "parse")

    def cel(self, given: object, path: str) -> Predicate:
        if not isinstance(given, str) or not given.strip():
            return self.fault(path, given, "expected an expression")
        try:
            expression = Cel(given)
        except BadExpression as error:
            return self.fault(path, given, str(error), error.kind)
        self.expressions.append(expression)
        return expression.passes


def _always(_: Candidate) -> bool:
    return True


def _never(_: Candidate) -> bool:
    return False


def _every(filters: Sequence[Predicate]) -> Predicate:
    if len(filters) < 2:
        return filters[0] if filters else _always

    def every(candidate: Candidate) -> bool:
        for matches in filters:  # noqa: SIM110 (this is evaluated for every event, a generator costs)
            if not matches(candidate):
                return False
        return True

    return every


def _some(filters: Sequence[Predicate]) -> Predicate:
    if len(filters) < 2:
        return filters[0] if filters else _always

    def some(candidate: Candidate) -> bool:
        for matches in filters:  # noqa: SIM110 (as above)
            if matches(candidate):
                return True
        return False

    return some


def _negated(matches: Predicate) -> Predicate:
    return lambda candidate: not matches(candidate)


def _of_texts(dialect: Callable[[str, str], Predicate], wanted: Mapping[str, str]) -> Predicate:
    """Return the filter that demands something of each of several attributes."""
    return _every([dialect(name, text) for name, text in wanted.items()])


def _text(candidate: Candidate, name: str) -> str | None:
    value = candidate.attributes.get(name)
    return value if value is None or type(value) is str else canonical_text(value)


def _exact(name: str, wanted: str) -> Predicate:
    return lambda candidate: _text(candidate, name) == wanted


def _prefix(name: str, wanted: str) -> Predicate:
    def starts(candidate: Candidate) -> bool:
        text = _text(candidate, name)
        return text is not None and text.startswith(wanted)

    return starts


def _suffix(name: str, wanted: str) -> Predicate:
    def ends(candidate: Candidate) -> bool:
        text = _text(candidate, name)
        return text is not None and text.endswith(wanted)

    return ends


def _legacy(name: str, wanted: str) -> Predicate:
    """Match exactly; an empty text stands for any that is not."""
    return _exact(name, wanted) if wanted else lambda candidate: bool(_text(candidate, name))
