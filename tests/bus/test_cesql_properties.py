"""CESQL by property: texts read back, nothing raises, integers are 32 bits wide."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bus.cesql import Expression
from edge.bus.cesql_parse import parse
from edge.bus.cesql_tokens import quoted, unquoted
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
    text_of,
)
from edge.bus.cesql_values import KINDS, LARGEST, SMALLEST, CesqlError, wrap

INT32 = st.integers(SMALLEST, LARGEST)
WORDS = st.text("ab'\"%_ é\n", max_size=6)
NAMES = st.sampled_from(["id", "hop", "a1", "1a", "missing"])
COMPARISONS = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
FUNCTIONS = st.sampled_from(["LENGTH", "CONCAT_WS", "LEFT", "ABS", "SUBSTRING", "NOWHERE"])


def _larger(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(nodes, min_size=1, max_size=3).map(tuple)
    two = st.lists(nodes, min_size=2, max_size=3).map(tuple)
    chains = [
        st.builds(
            Arithmetic,
            nodes,
            st.lists(st.tuples(st.sampled_from(signs), nodes), min_size=1, max_size=3).map(tuple),
        )
        for signs in ("+-", "*/%")
    ]
    return st.one_of(
        st.builds(Not, nodes),
        st.builds(Minus, nodes),
        st.builds(Like, nodes, WORDS),
        st.builds(In, nodes, several),
        st.builds(Comparison, COMPARISONS, nodes, nodes),
        st.builds(Logic, st.sampled_from(["AND", "OR", "XOR"]), two),
        st.builds(Call, FUNCTIONS, st.lists(nodes, max_size=3).map(tuple)),
        *chains,
    )


LEAVES: st.SearchStrategy[Node] = st.one_of(
    st.builds(Literal, st.one_of(st.booleans(), INT32, WORDS)),
    st.builds(Attribute, NAMES),
    st.builds(Exists, NAMES),
)
NODES = st.recursive(LEAVES, _larger, max_leaves=8)
EVENTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"id": st.text(max_size=5)},
    optional={"hop": st.one_of(INT32, st.booleans(), st.text("0123456789+-", max_size=4))},
)


@settings(max_examples=200, deadline=None)
@given(node=NODES)
def test_the_text_of_a_tree_reads_back_as_the_same_tree(node: Node) -> None:
    assert parse(text_of(node)) == node


@settings(max_examples=200, deadline=None)
@given(node=NODES, event=EVENTS)
def test_every_expression_comes_to_a_value_of_the_three_types(
    node: Node, event: dict[str, Any]
) -> None:
    result = Expression(text_of(node)).evaluate(event)
    assert type(result.value) in (bool, int, str)
    assert result.error is None or result.error in KINDS
    if type(result.value) is int:
        assert SMALLEST <= result.value <= LARGEST


WORD = st.sampled_from(
    ["NOT", "AND", "LIKE", "IN", "EXISTS", "'a'", "(", ")", ",", "-", "1", "a", "=", "f("]
)


@settings(max_examples=200, deadline=None)
@given(text=st.one_of(st.text(max_size=40), st.lists(WORD, max_size=14).map(" ".join)))
def test_any_text_is_an_expression_or_a_parse_error(text: str) -> None:
    expression = kind = None
    try:
        expression = Expression(text)
    except CesqlError as error:
        kind = error.kind
    assert (expression is None) == (kind == "parse")
    if expression is not None:
        expression.evaluate({"a": "1"})
        assert parse(str(expression)) == parse(text)


@settings(max_examples=200, deadline=None)
@given(left=INT32, right=INT32)
def test_integers_wrap_as_32_bits_do(left: int, right: int) -> None:
    def value(operator: str) -> object:
        return Expression(f"({left}) {operator} ({right})").evaluate({}).value

    def signed(number: int) -> int:
        return int.from_bytes((number & 0xFFFFFFFF).to_bytes(4, "big"), "big", signed=True)

    assert value("+") == signed(left + right)
    assert value("-") == signed(left - right)
    assert value("*") == signed(left * right)
    assert wrap(left * right) == signed(left * right)
    if right:
        quotient, rest = value("/"), value("%")
        assert isinstance(quotient, int)
        assert isinstance(rest, int)
        assert signed(quotient * right + rest) == left
        assert abs(rest) < abs(right)
        assert rest == 0 or (rest < 0) == (left < 0)


@settings(max_examples=200, deadline=None)
@given(value=st.text("ab'\"\\", max_size=8))
def test_a_quoted_string_stands_for_itself_or_cannot_be_written(value: str) -> None:
    try:
        word = quoted(value)
    except ValueError:
        assert "\\" in value
    else:
        assert unquoted(word) == value
        assert parse(word) == Literal(value)
