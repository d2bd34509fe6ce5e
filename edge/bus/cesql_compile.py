"""A CESQL tree into one function of an event's attributes.

Every operator whose operand met an error comes to the zero value of its own type, and so does what
stands around it, up to the root. So an error ends the evaluation at once: the value of the whole is
the zero of the root's type, unless the root itself failed and says what it comes to.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from edge.bus.candidate import Attributes
from edge.bus.cesql_functions import find
from edge.bus.cesql_like import like
from edge.bus.cesql_tree import (
    Arithmetic,
    Attribute,
    Call,
    Comparison,
    Exists,
    In,
    Like,
    Literal,
    Logic,
    Minus,
    Node,
    Not,
)
from edge.bus.cesql_values import (
    ANY,
    BOOLEAN,
    CASTS,
    INTEGER,
    STRING,
    CesqlError,
    Value,
    of_attribute,
    type_of,
    wrap,
)

Evaluate = Callable[[Attributes], Any]
"""Returns a value, or raises CesqlError."""

ALWAYS_THERE = frozenset({"id", "source", "specversion", "type"})
"""What every valid event has: ``EXISTS`` does not look."""


def result_type(node: Node) -> str:
    """Return the type of what a node comes to; ``ANY`` where only the event can tell."""
    match node:
        case Literal(value):
            return type_of(value)
        case Attribute():
            return ANY
        case Call(name, arguments):
            function = find(name, len(arguments))
            return function.result if function else BOOLEAN
        case Minus() | Arithmetic():
            return INTEGER
        case _:
            return BOOLEAN


def compiled(node: Node) -> Evaluate:
    """Return the function that evaluates ``node``."""
    match node:
        case Literal(value):
            return lambda _: value
        case Attribute(name):
            return _attribute(name)
        case Exists(name):
            return _exists(name)
        case Not() | Minus() | Like():
            return _unary(node)
        case _:
            return _many(node)


def _unary(node: Not | Minus | Like) -> Evaluate:
    match node:
        case Not(operand):
            truth = _cast(operand, BOOLEAN)
            return lambda attributes: not truth(attributes)
        case Minus(operand):
            number = _cast(operand, INTEGER)
            return lambda attributes: wrap(-number(attributes))
        case Like(operand, pattern):
            text, matches = _cast(operand, STRING), like(pattern)
            return lambda attributes: matches(text(attributes))


def _many(node: In | Comparison | Arithmetic | Logic | Call) -> Evaluate:
    match node:
        case In(operand, members):
            return _in(compiled(operand), [compiled(member) for member in members])
        case Comparison():
            return _comparison(node)
        case Arithmetic(first, rest):
            steps = [(_ARITHMETIC[sign], _cast(number, INTEGER)) for sign, number in rest]
            return _arithmetic(_cast(first, INTEGER), steps)
        case Logic(name, operands):
            return _LOGIC[name]([_cast(operand, BOOLEAN) for operand in operands])
        case Call():
            return _call(node)


def _cast(node: Node, wanted: str) -> Evaluate:
    """Return the function that evaluates ``node`` and casts what it comes to."""
    evaluate = compiled(node)
    if wanted in (ANY, result_type(node)):
        return evaluate
    cast = CASTS[wanted]
    return lambda attributes: cast(evaluate(attributes))


def _attribute(name: str) -> Evaluate:
    def attribute(attributes: Attributes) -> Value:
        value = attributes.get(name)
        if type(value) is str:
            return value
        if value is None:
            raise CesqlError("missingAttribute", f"the event has no {name}")
        return of_attribute(value)

    return attribute


def _exists(name: str) -> Evaluate:
    if name in ALWAYS_THERE:
        return lambda _: True
    return lambda attributes: attributes.get(name) is not None


def _in(operand: Evaluate, members: list[Evaluate]) -> Evaluate:
    def among(attributes: Attributes) -> bool:
        value = operand(attributes)
        cast = CASTS[type_of(value)]
        return any(cast(member(attributes)) == value for member in members)

    return among


def _comparison(node: Comparison) -> Evaluate:
    if node.operator not in ("=", "!="):
        order = _ORDER[node.operator]
        first, second = _cast(node.left, INTEGER), _cast(node.right, INTEGER)
        return lambda attributes: order(first(attributes), second(attributes))
    left, right = compiled(node.left), compiled(node.right)
    equal = node.operator == "="
    if isinstance(node.right, Literal):
        return _compared_to(left, node.right.value, equal=equal)

    def compare(attributes: Attributes) -> bool:
        # left first: of two errors the leftmost is told
        value, wanted = left(attributes), right(attributes)
        return (CASTS[type_of(wanted)](value) == wanted) is equal

    return compare


def _compared_to(left: Evaluate, wanted: Value, *, equal: bool) -> Evaluate:
    cast = CASTS[type_of(wanted)]
    if equal:
        return lambda attributes: cast(left(attributes)) == wanted
    return lambda attributes: cast(left(attributes)) != wanted


def _arithmetic(
    first: Evaluate, steps: list[tuple[Callable[[int, int], int], Evaluate]]
) -> Evaluate:
    def fold(attributes: Attributes) -> int:
        number: int = first(attributes)
        for step, operand in steps:
            number = wrap(step(number, operand(attributes)))
        return number

    return fold


def _divide(dividend: int, divisor: int) -> int:
    """Divide, rounded towards zero."""
    if divisor == 0:
        raise CesqlError("math", f"{dividend} divided by 0")
    quotient = abs(dividend) // abs(divisor)
    return quotient if (dividend < 0) == (divisor < 0) else -quotient


def _remainder(dividend: int, divisor: int) -> int:
    """Return what the division leaves, with the sign of the dividend."""
    if divisor == 0:
        raise CesqlError("math", f"{dividend} modulo 0")
    rest = abs(dividend) % abs(divisor)
    return -rest if dividend < 0 else rest


def _and(operands: list[Evaluate]) -> Evaluate:
    return lambda attributes: all(operand(attributes) for operand in operands)


def _or(operands: list[Evaluate]) -> Evaluate:
    return lambda attributes: any(operand(attributes) for operand in operands)


def _xor(operands: list[Evaluate]) -> Evaluate:
    return lambda attributes: sum(operand(attributes) for operand in operands) % 2 == 1


def _call(node: Call) -> Evaluate:
    function = find(node.name, len(node.arguments))
    if function is None:
        return _no_function(node)
    call = function.call
    types = function.types(len(node.arguments)) or ()
    arguments = [
        _cast(argument, kind) for argument, kind in zip(node.arguments, types, strict=True)
    ]

    def invoke(attributes: Attributes) -> Value:
        try:
            values = [argument(attributes) for argument in arguments]
        except CesqlError as error:
            # what the argument would have come to is not what this call comes to
            error.value = None
            raise
        return call(*values)

    return invoke


def _no_function(node: Call) -> Evaluate:
    message = f"no function {node.name} takes {len(node.arguments)} arguments"

    def missing(_: Attributes) -> Value:
        raise CesqlError("missingFunction", message)

    return missing


_ORDER: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "%": _remainder,
}
_LOGIC: dict[str, Callable[[list[Evaluate]], Evaluate]] = {"AND": _and, "OR": _or, "XOR": _xor}
