"""CEL expressions over ``ce`` (the attributes) and ``data`` (the parsed JSON, or null).

The library is compiled code that holds the interpreter while it runs, so nothing can stop it. What
may stall the loop is kept out by the text (``cel_admission``), by the size of what it is shown, and
by the clock: an expression that is slow again and again is switched off, and then no event passes.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from edge.bus.candidate import Candidate
from edge.bus.cel_admission import FUNCTIONS, VARIABLES, admission
from edge.bus.cel_shown import MOST_NODES, PLAIN, Sizes, TooMuch, attributes_of, sizes_of
from edge.errors import Rejected

BUDGET: Final = 0.002
"""Seconds of processor time that one evaluation may take."""

MOST_STRIKES: Final = 3
"""How often an expression may be slow before it is switched off. Ten budgets at once are enough."""

MOST_WORK: Final = 50_000
"""Members of the longest list, times the words of an expression that look at each of them."""

MOST_WORK_HEAVY: Final = 1_000_000
"""The same, times all values of the data, for what looks at all of them for each member."""

MOST_KEPT: Final = 1024
"""Characters of attributes that are remembered together with what CEL made of them."""

_PROBES = ("a" * 64, "Aé_1 .-/" * 64, "a" * 8192, "Aé_1 .-/" * 1024)
"""Texts on which the patterns of an expression are timed before it is let in, short ones first."""

Clock = Callable[[], float]


class BadExpression(Rejected):
    """An expression that is not let in. ``kind`` is ``parse`` or ``limit``."""

    default_reason = "bad_expression"

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@functools.cache
def _library() -> ModuleType:
    import cel  # noqa: PLC0415 (0.2 s and 17 MB that only a box with such filters pays)

    return cel


class Cel:
    """A CEL expression, compiled once.

    Args:
        text: the expression.
        clock: seconds that pass.
        worked: seconds of processor time of this thread.

    Raises:
        BadExpression: it is none, or is not let in.

    """

    __slots__ = (
        "_admitted",
        "_clock",
        "_names",
        "_program",
        "_strikes",
        "_worked",
        "needs_data",
        "off",
        "text",
    )

    def __init__(
        self, text: str, clock: Clock = time.perf_counter, worked: Clock = time.thread_time
    ) -> None:
        admitted = admission(text)
        if admitted.faults:
            raise BadExpression("limit", "; ".join(admitted.faults))
        try:
            self._program = _library().compile(text)
        except ValueError as error:
            raise BadExpression("parse", _first_line(error)) from error
        self._check_names(admitted.names)
        _time_patterns(admitted.patterns, worked)
        self.text = text
        self.needs_data = "data" in self._program.variables()
        #: why it is switched off; empty: it is not
        self.off = ""
        self._admitted = admitted
        names = admitted.attributes
        self._names = None if names is None else tuple(sorted(names))
        self._strikes = 0
        self._clock = clock
        self._worked = worked

    def passes(self, candidate: Candidate) -> bool:
        """Return True where the expression comes to true; an error or no boolean does not pass."""
        value, fault = self.evaluate(candidate)
        if fault is None and type(value) is not bool:
            value, fault = False, "cast"
        if fault is not None:
            candidate.fault = candidate.fault or fault
            return False
        return bool(value)

    def evaluate(self, candidate: Candidate) -> tuple[Any, str | None]:
        """Return the value and None, or None and the kind of error. Never raises."""
        if self.off:
            return None, "limit"
        try:
            context = self._context(candidate)
        except (ValueError, OverflowError, TypeError, RuntimeError):
            return None, "generic"
        except TooMuch:
            return None, "limit"
        started = self._clock()
        value, fault = self._run(context)
        if self._clock() - started > BUDGET:
            self._slow(context)
        return value, fault

    def _run(self, context: Any) -> tuple[Any, str | None]:
        try:
            return self._program.execute(context), None
        except LookupError:
            return None, "missingAttribute"
        except ArithmeticError:
            return None, "math"
        except TypeError:
            return None, "cast"
        except (RuntimeError, ValueError):
            return None, "functionEvaluation"

    def _slow(self, context: Any) -> None:
        """Evaluate once more by processor time: the clock also counts what others did."""
        started = self._worked()
        self._run(context)
        took = self._worked() - started
        if took > BUDGET:
            self._strikes += 10 if took > 10 * BUDGET else 1
        if self._strikes >= MOST_STRIKES:
            self.off = f"switched off: took {took * 1000:.0f} ms, allowed are {BUDGET * 1000:.0f}"

    def _context(self, candidate: Candidate) -> Any:
        if not self.needs_data:
            return self._plain(candidate)
        if candidate.data_context is None:
            candidate.data_context = _with_data(candidate)
        context, (nodes, longest) = candidate.data_context
        work = self._admitted.body * longest
        heavy = self._admitted.heavy and work * nodes > MOST_WORK_HEAVY
        if context is None or heavy or work > MOST_WORK:
            raise TooMuch(f"{nodes} values, {longest} in one list: too many for {self.text}")
        return context

    def _plain(self, candidate: Candidate) -> Any:
        """Return the attributes as values of CEL, which costs more than the evaluation itself.

        Where the text names the attributes that it looks at, only those are handed over, and
        what was made of the same values before is used again.
        """
        if self._names is None:
            if candidate.plain_context is None:
                candidate.plain_context = _library().Context({"ce": attributes_of(candidate)})
            return candidate.plain_context
        given = candidate.attributes
        values = [given.get(name) for name in self._names]
        length = 0
        for value in values:
            if type(value) is str:
                length += len(value)
            elif value is not None and type(value) not in PLAIN:
                return _library().Context({"ce": attributes_of(candidate, self._names)})
        if length > MOST_KEPT:
            return _library().Context({"ce": attributes_of(candidate, self._names)})
        return _context_of(self._names, *values)

    def _check_names(self, own: frozenset[str]) -> None:
        unknown = set(self._program.variables()) - own - VARIABLES
        if unknown:
            names = ", ".join(sorted(unknown))
            raise BadExpression("parse", f"unknown variable {names}, expected ce or data")
        called = {name for name in self._program.functions() if name[0].isalpha()}
        if called - FUNCTIONS:
            names = ", ".join(sorted(called - FUNCTIONS))
            known = ", ".join(sorted(FUNCTIONS))
            raise BadExpression("parse", f"unknown function {names}, expected one of {known}")


# typed: to CEL, true and 1 are not the same
@functools.lru_cache(maxsize=256, typed=True)
def _context_of(names: tuple[str, ...], *values: str | bool | int | None) -> Any:
    """Return the attributes as values of CEL; None stands for one that is absent."""
    pairs = zip(names, values, strict=True)
    return _library().Context({"ce": {name: value for name, value in pairs if value is not None}})


def _with_data(candidate: Candidate) -> tuple[Any, Sizes]:
    """Return the values that CEL sees, and their sizes: too large where they are not shown."""
    data = candidate.data()
    sizes = sizes_of(data)
    if sizes is None:
        return None, (MOST_NODES + 1, MOST_WORK + 1)
    return _library().Context({"ce": attributes_of(candidate), "data": data}), sizes


def _time_patterns(patterns: tuple[str, ...], worked: Clock) -> None:
    """Try each pattern of ``matches`` on long texts: what is slow there is not let in."""
    for pattern in patterns:
        program = _library().compile(f"text.matches({pattern})")
        for probe in _PROBES:
            context = _library().Context({"text": probe})
            took = _seconds(program, context, pattern, worked)
            if took > BUDGET:
                # once more: the first call of all fills caches
                took = _seconds(program, context, pattern, worked)
            if took > BUDGET:
                message = f"the pattern {pattern} takes {took * 1000:.0f} ms on a long text"
                raise BadExpression("limit", f"{message}, expected at most {BUDGET * 1000:.0f}")


def _seconds(program: Any, context: Any, pattern: str, worked: Clock) -> float:
    started = worked()
    try:
        program.execute(context)
    except (RuntimeError, ValueError, TypeError) as error:
        raise BadExpression("parse", f"{pattern} is no pattern, or too large a one") from error
    return worked() - started


def _first_line(error: Exception) -> str:
    text = str(error)
    return text.partition("ERROR: ")[2].partition("\n")[0] or text.partition("\n")[0]
