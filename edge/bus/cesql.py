"""CloudEvents SQL 1.0: an expression over the attributes of an event. Parsed once, evaluated often.

Stricter than the grammar in two places: AND, OR and XOR may not be mixed without brackets, because
there are two readings of that, and an expression has a greatest length and depth.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.bus.candidate import Attributes, Candidate
from edge.bus.cesql_compile import Evaluate, compiled, result_type
from edge.bus.cesql_parse import parse
from edge.bus.cesql_tree import Call, Node, text_of
from edge.bus.cesql_values import ZERO, CesqlError, Value


@dataclass(frozen=True, slots=True)
class Result:
    """What an expression comes to, and the kind and words of the first error, if any."""

    value: Value
    error: str | None = None
    message: str = ""


class Expression:
    """A CESQL expression, ready to be evaluated.

    Args:
        text: the expression.

    Raises:
        CesqlError: (parse) it is none.

    """

    __slots__ = ("_evaluate", "_failed", "_root", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._root: Node = parse(text)
        self._evaluate: Evaluate = compiled(self._root)
        self._failed = ZERO[result_type(self._root)]

    def __str__(self) -> str:
        return text_of(self._root)

    def evaluate(self, attributes: Attributes) -> Result:
        """Return value and error; never raises, and takes no longer than its length allows."""
        try:
            return Result(self._evaluate(attributes))
        except CesqlError as error:
            # only a call that failed itself says what it comes to
            own = error.value if isinstance(self._root, Call) else None
            value = self._failed if own is None else own
            return Result(value, error.kind, str(error))

    def passes(self, candidate: Candidate) -> bool:
        """Return True where the value is the boolean true, without any error."""
        try:
            value = self._evaluate(candidate.attributes)
        except CesqlError as error:
            candidate.fault = candidate.fault or error.kind
            return False
        if type(value) is not bool:
            candidate.fault = candidate.fault or "cast"
            return False
        return value
