"""CESQL tokens into a tree: the grammar of CloudEvents SQL 1.0, by recursive descent.

From the tightest binding to the loosest: calls, ``NOT`` and minus, ``LIKE`` / ``EXISTS`` / ``IN``,
``* / %``, ``+ -``, comparisons, ``AND OR XOR``. The last three share one level, and grammar and
prose of the specification disagree on how a mixture of them is read, so a mixture needs brackets.
"""

from __future__ import annotations

from collections.abc import Callable

from edge.bus.cesql_tokens import Token, parse_error, tokens
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

DEEPEST = 40
"""How deep operations and brackets may stand in each other: a bound for the stack."""

_COMPARISONS = frozenset({"=", "!=", "<>", "<", "<=", ">", ">="})
_LOGIC = frozenset({"AND", "OR", "XOR"})


def parse(text: str) -> Node:
    """Return the tree of an expression.

    Raises:
        CesqlError: (parse) the text is no expression, or longer or deeper than is read.

    """
    parser = _Parser(tokens(text))
    node = parser.logic()
    parser.take("end")
    return node


class _Parser:
    """Reads one expression. ``depth`` counts what stands around the token being read."""

    def __init__(self, words: list[Token]) -> None:
        self.words = words
        self.next = 0
        self.depth = 0

    @property
    def kind(self) -> str:
        return self.words[self.next].kind

    def take(self, kind: str = "") -> Token:
        """Return the next token and step over it; it has to be of the kind named."""
        word = self.words[self.next]
        if kind and word.kind != kind:
            expected = "the end" if kind == "end" else kind
            raise self.unexpected(f"expected {expected}")
        self.next += 1
        return word

    def unexpected(self, expected: str) -> Exception:
        word = self.words[self.next]
        found = "the end" if word.kind == "end" else repr(word.value)
        return parse_error(f"{expected}, got {found}", word.at)

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise parse_error(f"nested deeper than {DEEPEST}", self.words[self.next].at)

    def logic(self) -> Node:
        self.deeper()
        operands = [self.comparison()]
        operator = self.kind
        while self.kind in _LOGIC:
            if self.kind != operator:
                message = f"{operator} and {self.kind} on one level, expected brackets"
                raise parse_error(message, self.words[self.next].at)
            self.take()
            operands.append(self.comparison())
        self.depth -= 1
        return Logic(operator, tuple(operands)) if len(operands) > 1 else operands[0]

    def comparison(self) -> Node:
        node = self.additive()
        chained = 0
        while self.kind in _COMPARISONS:
            # a chain is a tree that leans to the left: each link is one level more to walk
            self.deeper()
            chained += 1
            operator = self.take().kind
            node = Comparison("!=" if operator == "<>" else operator, node, self.additive())
        self.depth -= chained
        return node

    def additive(self) -> Node:
        return self._chain(frozenset("+-"), self.multiplicative)

    def multiplicative(self) -> Node:
        return self._chain(frozenset("*/%"), self.postfix)

    def _chain(self, operators: frozenset[str], operand: Callable[[], Node]) -> Node:
        first = operand()
        rest: list[tuple[str, Node]] = []
        while self.kind in operators:
            rest.append((self.take().kind, operand()))
        return Arithmetic(first, tuple(rest)) if rest else first

    def postfix(self) -> Node:
        node = self.unary()
        chained = 0
        while self.kind in {"LIKE", "IN", "NOT"}:
            self.deeper()
            chained += 1
            negated = self.kind == "NOT" and bool(self.take())
            if self.kind == "LIKE":
                self.take()
                node = Like(node, str(self.take("string").value))
            elif self.kind == "IN":
                self.take()
                node = In(node, self.members())
            else:
                raise self.unexpected("expected LIKE or IN")
            node = Not(node) if negated else node
        self.depth -= chained
        return node

    def members(self) -> tuple[Node, ...]:
        """Read ``(expression, …)`` with at least one."""
        self.take("(")
        found = [self.logic()]
        while self.kind == ",":
            self.take()
            found.append(self.logic())
        self.take(")")
        return tuple(found)

    def unary(self) -> Node:
        if self.kind not in {"NOT", "-"}:
            return self.primary()
        self.deeper()
        operation = Not if self.take().kind == "NOT" else Minus
        node = operation(self.unary())
        self.depth -= 1
        return node

    def primary(self) -> Node:
        if self.kind in {"string", "integer"}:
            return Literal(self.take().value)
        if self.kind in {"TRUE", "FALSE"}:
            return Literal(self.take().kind == "TRUE")
        if self.kind == "EXISTS":
            self.take()
            return Exists(self.attribute(self.take("name")))
        if self.kind == "(":
            self.take()
            node = self.logic()
            self.take(")")
            return node
        if self.kind == "name":
            return self.named(self.take())
        raise self.unexpected("expected an expression")

    def named(self, word: Token) -> Node:
        """Read a call or an attribute."""
        name = str(word.value)
        if self.kind != "(":
            return Attribute(self.attribute(word))
        if not name.replace("_", "").isalpha():
            raise parse_error(f"{name!r} is no name of a function", word.at)
        if self.words[self.next + 1].kind == ")":
            self.next += 2
            return Call(name.upper(), ())
        return Call(name.upper(), self.members())

    def attribute(self, word: Token) -> str:
        name = str(word.value).lower()
        if "_" in name:
            raise parse_error(f"{name!r} is no name of an attribute", word.at)
        return name
