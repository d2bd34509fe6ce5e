"""The tree of a CESQL expression, and its text."""

from __future__ import annotations

from dataclasses import dataclass

from edge.bus.cesql_tokens import quoted
from edge.bus.cesql_values import Value


@dataclass(frozen=True, slots=True)
class Literal:
    """A boolean, an integer or a string."""

    value: Value


@dataclass(frozen=True, slots=True)
class Attribute:
    """The value of an attribute of the event."""

    name: str


@dataclass(frozen=True, slots=True)
class Exists:
    """``EXISTS name``."""

    name: str


@dataclass(frozen=True, slots=True)
class Not:
    """``NOT operand``."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Minus:
    """``-operand``."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Like:
    """``operand LIKE 'pattern'``."""

    operand: Node
    pattern: str


@dataclass(frozen=True, slots=True)
class In:
    """``operand IN (member, …)``."""

    operand: Node
    members: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """``left = right`` and its like; ``!=`` and ``<>`` are both ``!=``."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """``first + operand - operand …``: a chain of one precedence, from left to right."""

    first: Node
    rest: tuple[tuple[str, Node], ...]


@dataclass(frozen=True, slots=True)
class Logic:
    """``a AND b AND …``: a chain of one operator."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """``NAME(argument, …)``, the name in upper case."""

    name: str
    arguments: tuple[Node, ...]


Node = (
    Literal | Attribute | Exists | Not | Minus | Like | In | Comparison | Arithmetic | Logic | Call
)


def text_of(node: Node) -> str:
    """Return an expression that reads back as ``node``, with a bracket around every operand.

    Raises:
        ValueError: a string that no literal stands for; no parsed tree has one.

    """
    match node:
        case Literal(value):
            return quoted(value) if isinstance(value, str) else str(value).upper()
        case Attribute(name):
            return name
        case Exists(name):
            return f"EXISTS {name}"
        case Call(name, arguments):
            return f"{name}({', '.join(map(text_of, arguments))})"
        case _:
            return _operation(node)


def _operation(node: Not | Minus | Like | In | Comparison | Arithmetic | Logic) -> str:
    match node:
        case Not() | Minus():
            return ("NOT " if isinstance(node, Not) else "-") + _bracketed(node.operand)
        case Like(operand, pattern):
            return f"{_operand(operand)} LIKE {quoted(pattern)}"
        case In(operand, members):
            return f"{_operand(operand)} IN ({', '.join(map(text_of, members))})"
        case Comparison(operator, left, right):
            return f"{_operand(left)} {operator} {_operand(right)}"
        case Arithmetic(first, rest):
            return " ".join(
                [_operand(first), *(f"{operator} {_operand(node)}" for operator, node in rest)]
            )
        case Logic(operator, operands):
            return f" {operator} ".join(map(_operand, operands))


def _operand(node: Node) -> str:
    return text_of(node) if isinstance(node, Literal | Attribute | Call) else _bracketed(node)


def _bracketed(node: Node) -> str:
    return f"({text_of(node)})"
