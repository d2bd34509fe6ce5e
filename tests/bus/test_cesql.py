"""CESQL against tables of cases: the facts of the specification and of its conformance tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from edge.bus.candidate import Candidate
from edge.bus.cesql import Expression, Result
from edge.bus.cesql_parse import DEEPEST
from edge.bus.cesql_tokens import MOST_CHARACTERS
from edge.bus.cesql_values import KINDS, CesqlError

EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "42",
    "source": "/site/gate",
    "type": "io.edge.frame.taken.v1",
    "hop": 5,
    "ttl": "10",
    "flag": True,
    "word": "ab%c_d",
}

VALUES: list[tuple[str, object]] = [
    # literals
    ("tRuE", True),
    ("FALSE", False),
    ("0", 0),
    ("+7", 7),
    ("-2147483648", -2147483648),
    ("2147483647", 2147483647),
    ("'aBc'", "aBc"),
    ('"AbC"', "AbC"),
    (r"""'a"b\'c'""", "a\"b'c"),
    (r'''"a'b\"c"''', "a'b\"c"),
    ("'it''s'", "it's"),
    ('"a""b"', 'a"b'),
    (r"'a\b'", r"a\b"),
    ("'a\nb'", "a\nb"),
    ("''", ""),
    # attributes, in any case, each with the type that it has
    ("source", "/site/gate"),
    ("SOURCE", "/site/gate"),
    ("hop", 5),
    ("flag", True),
    # arithmetic
    ("4 * 2 + 4 / 2", 10),
    ("4 * (2 + 4) / 2", 12),
    ("10 - 3 - 2", 5),
    ("100 / 10 / 5", 2),
    ("5 / 3", 1),
    ("-5 / 3", -1),
    ("5 / -3", -1),
    ("5 % 2", 1),
    ("-5 % 2", -1),
    ("5 % -2", 1),
    ("4-1", 3),
    ("4 -1", 3),
    ("-4 + -1", -5),
    ("'5' + '3'", 8),
    ("5 + TRUE", 6),
    ("ttl * hop", 50),
    ("--10", 10),
    ("-'10'", -10),
    ("-TRUE", -1),
    ("-hop * 2", -10),
    # 32 bits hold it
    ("2147483647 + 1", -2147483648),
    ("-2147483648 - 1", 2147483647),
    ("65536 * 65536", 0),
    ("-(-2147483648)", -2147483648),
    ("-2147483648 / -1", -2147483648),
    ("-2147483648 % -1", 0),
    # comparison
    ("2 = 2", True),
    ("1 != 2", True),
    ("1 <> 1", False),
    ("'abc' = '123'", False),
    ("2 <= 2", True),
    ("3 <= 2", False),
    ("2 < 2", False),
    ("2 >= 3", False),
    ("2 > 1", True),
    ("hop < ttl", True),
    ("'10' > '9'", True),
    ("1 < 2 = TRUE", True),
    ("TRUE = 'TRUE'", False),
    ("TRUE = 'true'", True),
    ("'TRUE' = TRUE", True),
    ("hop = '5'", True),
    ("ttl = 10", True),
    ("hop != ttl", True),
    ("10 = TRUE", True),
    # logic
    ("TRUE AND TRUE AND FALSE", False),
    ("FALSE OR FALSE OR TRUE", True),
    ("TRUE XOR TRUE XOR TRUE", True),
    ("TRUE XOR TRUE", False),
    ("TRUE AND 1", True),
    ("NOT TRUE", False),
    ("NOT 'false'", True),
    ("NOT 10", False),
    ("NOT NOT TRUE", True),
    ("NOT TRUE = FALSE", True),
    ("(FALSE AND TRUE) OR TRUE", True),
    ("FALSE AND (1 != 1 / 0)", False),
    ("TRUE OR (1 != 1 / 0)", True),
    # LIKE, IN, EXISTS
    ("'abc' LIKE 'a%c'", True),
    ("'abc' NOT LIKE 'a%c'", False),
    (r"word LIKE 'ab\%c\_d'", True),
    (r"'abxc_d' LIKE 'ab\%c\_d'", False),
    (r"'ab\c' LIKE 'ab\c'", True),
    ("'Abc' LIKE 'abc'", False),
    ("2344 LIKE '23%'", True),
    ("TRUE LIKE 'tr%'", True),
    ("NOT FALSE LIKE 'tr%'", True),
    ("123 IN (1, 2, 123)", True),
    ("123 NOT IN (1, 2, 123)", False),
    ("'1' IN (1, 2)", True),
    ("1 IN ('1', '2')", True),
    ("'true' IN ('TRUE', 'false')", False),
    ("TRUE IN ('TRUE')", True),
    ("source IN (id, '/site/gate')", True),
    ("hop IN (ttl, 5)", True),
    ("EXISTS hop", True),
    ("EXISTS time", False),
    ("NOT EXISTS time", True),
    ("exists Source AND EXISTS ID", True),
    # functions
    ("length('abc')", 3),
    ("LENGTH(TRUE)", 4),
    ("CONCAT()", ""),
    ("CONCAT('a', 1, TRUE)", "a1true"),
    ("CONCAT_WS(',')", ""),
    ("concat_ws('-', 'a', 'b', hop)", "a-b-5"),
    ("LOWER('AbC')", "abc"),
    ("UPPER('AbC')", "ABC"),
    ("TRIM('\u2003 a b\u00a0')", "a b"),
    ("LENGTH(TRIM('\x1fa\x1f'))", 3),
    ("LEFT('abc', 2)", "ab"),
    ("LEFT('abc', 10)", "abc"),
    ("RIGHT('abc', 2)", "bc"),
    ("RIGHT('abc', 0)", ""),
    ("SUBSTRING('Quadratically', 5)", "ratically"),
    ("SUBSTRING('Sakila', -3)", "ila"),
    ("SUBSTRING('Sakila', -5, 3)", "aki"),
    ("SUBSTRING('abcdef', 2, 400)", "bcdef"),
    ("SUBSTRING('abcdef', 0, 1)", ""),
    ("ABS(-10)", 10),
    ("INT('-1')", -1),
    ("INT('+0000000000007')", 7),
    ("INT(FALSE)", 0),
    ("BOOL('TRUE')", True),
    ("BOOL(-50)", True),
    ("STRING(-1)", "-1"),
    ("STRING(TRUE)", "true"),
    ("IS_INT('12')", True),
    ("IS_INT('1 2')", False),
    ("IS_BOOL('False')", True),
    ("IS_BOOL('yes')", False),
]

FAILURES: list[tuple[str, object, str]] = [
    ("5 / 0", 0, "math"),
    ("5 % 0", 0, "math"),
    ("missing / 0", 0, "missingAttribute"),
    ("1 / missing", 0, "missingAttribute"),
    ("-missing", 0, "missingAttribute"),
    ("missing", False, "missingAttribute"),
    ("missing = 2", False, "missingAttribute"),
    ("missing != 2", False, "missingAttribute"),
    ("missing <= 2", False, "missingAttribute"),
    ("NOT missing", False, "missingAttribute"),
    ("missing LIKE 'missing'", False, "missingAttribute"),
    ("missing NOT LIKE 'missing'", False, "missingAttribute"),
    ("missing NOT IN ('a')", False, "missingAttribute"),
    ("1 IN (missing)", False, "missingAttribute"),
    ("TRUE AND (1 != 1 / 0)", False, "math"),
    ("FALSE OR (1 != 1 / 0)", False, "math"),
    ("missing OR TRUE", False, "missingAttribute"),
    ("NOT (1 / 0 = 0)", False, "math"),
    ("1 / 0 + missing", 0, "math"),
    ("LENGTH(missing)", 0, "missingAttribute"),
    ("UPPER(missing)", "", "missingAttribute"),
    ("'abc' + 1", 0, "cast"),
    ("'abc' = 1", False, "cast"),
    ("'abc' != 1", False, "cast"),
    ("NOT 'abc'", False, "cast"),
    ("1 IN ('abc', 1)", False, "cast"),
    ("INT('ABC')", 0, "cast"),
    ("INT('2147483648')", 0, "cast"),
    ("INT('1_0')", 0, "cast"),
    ("INT(' 1')", 0, "cast"),
    ("INT('٣')", 0, "cast"),
    ("BOOL('ABC')", False, "cast"),
    ("ABS(-2147483648)", 2147483647, "math"),
    ("ABS(-2147483648) + 1", 0, "math"),
    ("LEFT('abc', -2)", "abc", "functionEvaluation"),
    ("RIGHT('abc', -2)", "abc", "functionEvaluation"),
    ("(LEFT('abc', -2))", "abc", "functionEvaluation"),
    ("UPPER(LEFT('abc', -2))", "", "functionEvaluation"),
    ("LEFT(LEFT('abc', -2), 1)", "", "functionEvaluation"),
    ("LENGTH(LEFT('abc', -2))", 0, "functionEvaluation"),
    ("SUBSTRING('abcdef', 10)", "", "functionEvaluation"),
    ("SUBSTRING('abcdef', -10, 10)", "", "functionEvaluation"),
    ("SUBSTRING('abcdef', 1, -1)", "", "functionEvaluation"),
    ("CONCAT_WS()", False, "missingFunction"),
    ("NOWHERE(1, 2)", False, "missingFunction"),
    ("NOWHERE() = FALSE", False, "missingFunction"),
    ("ABS(1, 2)", False, "missingFunction"),
]

NO_EXPRESSIONS = [
    "",
    "ABC(",
    "x LIKE 123",
    "x LIKE y",
    "x IN ()",
    "x IN 1",
    "1 +",
    "+ 1 +",
    "(1",
    "1)",
    "1 2",
    "a b",
    "'open",
    r"'open\'",
    "2147483648",
    "- 2147483648",
    "-2147483649",
    "99999999999999999999999999",
    "EXISTS 'a'",
    "EXISTS TRUE",
    "EXISTS (a)",
    "a_b",
    "abc1(2)",
    "TRUE(1)",
    "a == b",
    "a & b",
    "NOT",
    "a NOT b",
    "a NOT NOT LIKE 'b'",
    "+a",
    "a AND b OR c",
    "a OR b XOR c",
    "a ! = b",
    "été = 1",
    "f(1,)",
    "f(,1)",
    "a\u00a0= 1",
]


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_an_expression_comes_to_its_value(text: str, value: object) -> None:
    result = Expression(text).evaluate(EVENT)
    assert result == Result(value)  # type: ignore[arg-type]
    assert type(result.value) is type(value)


@pytest.mark.parametrize(("text", "value", "kind"), FAILURES)
def test_an_error_leaves_the_zero_of_its_type_and_its_kind(
    text: str, value: object, kind: str
) -> None:
    result = Expression(text).evaluate(EVENT)
    assert (result.value, result.error) == (value, kind)
    assert type(result.value) is type(value)
    assert kind in KINDS
    assert result.message


@pytest.mark.parametrize("text", NO_EXPRESSIONS)
def test_what_is_no_expression_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(CesqlError, match="at character") as refused:
        Expression(text)
    assert refused.value.kind == "parse"


def test_other_values_of_an_event_are_strings() -> None:
    event = {"time": datetime(2026, 11, 1, tzinfo=UTC), "bytes": b"abc", "big": 2**31, "half": 0.5}
    found = {name: Expression(name).evaluate(event).value for name in event}
    assert found == {
        "time": "2026-11-01T00:00:00Z",
        "bytes": "YWJj",
        "big": "2147483648",
        "half": "0.5",
    }


def test_a_null_attribute_is_absent() -> None:
    assert Expression("EXISTS a").evaluate({"a": None}).value is False
    assert Expression("a").evaluate({"a": None}).error == "missingAttribute"


@pytest.mark.parametrize(
    ("text", "passes", "fault"),
    [
        ("hop = 5", True, None),
        ("hop = 6", False, None),
        ("hop", False, "cast"),
        ("'true'", False, "cast"),
        ("missing = 1", False, "missingAttribute"),
        ("1 / 0 = 0", False, "math"),
    ],
)
def test_as_a_filter_only_the_boolean_true_without_an_error_passes(
    text: str, passes: bool, fault: str | None
) -> None:
    candidate = Candidate(EVENT)
    assert Expression(text).passes(candidate) is passes
    assert candidate.fault == fault


@pytest.mark.parametrize(
    ("start", "end"),
    [("(", ")"), ("NOT ", ""), ("-", ""), ("ABS(", ")"), ("1 IN (", ")")],
    ids=["brackets", "not", "minus", "calls", "members"],
)
def test_nesting_has_an_end(start: str, end: str) -> None:
    few, many = DEEPEST // 4, DEEPEST + 1
    assert Expression(start * few + "1" + end * few).evaluate({}).error is None
    with pytest.raises(CesqlError, match="deeper"):
        Expression(start * many + "1" + end * many)


@pytest.mark.parametrize("link", [" = 1", " LIKE 'a'", " NOT IN (1)"])
def test_a_long_chain_that_leans_to_one_side_has_an_end(link: str) -> None:
    Expression("1" + link * 20).evaluate({})
    with pytest.raises(CesqlError, match="deeper"):
        Expression("1" + link * 300)


@pytest.mark.parametrize(("link", "value"), [(" + 1", 501), (" AND 1", True), (" * 1", 1)])
def test_long_sums_and_lists_of_conditions_are_fine(link: str, value: object) -> None:
    assert Expression("1" + link * 500).evaluate({}) == Result(value)  # type: ignore[arg-type]


def test_a_text_that_is_too_long_is_refused() -> None:
    Expression("'" + "a" * (MOST_CHARACTERS - 2) + "'")
    with pytest.raises(CesqlError, match="at most"):
        Expression("'" + "a" * (MOST_CHARACTERS - 1) + "'")


def test_strings_that_functions_make_have_an_end() -> None:
    event = {"a": "x" * 65_536}
    result = Expression(f"CONCAT({', '.join(['a'] * 20)})").evaluate(event)
    assert (result.value, result.error) == ("", "generic")
    assert Expression(f"LENGTH(CONCAT({', '.join(['a'] * 16)}))").evaluate(event) == Result(2**20)
