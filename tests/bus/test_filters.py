"""The dialects of filters, and the faults of what is none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bus.candidate import Candidate, candidate_of
from edge.bus.filters import DEEPEST, MOST_FILTERS, BadFilter, compile_filter
from edge.errors import Rejected

EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "42",
    "source": "/site/gate",
    "type": "io.edge.frame.taken.v1",
    "subject": "gate",
    "hop": 5,
    "flag": True,
    "blank": "",
}


def passes(spec: object, event: dict[str, Any] = EVENT) -> bool:
    return compile_filter(spec)(Candidate(event))


MATCHES: list[object] = [
    [],
    {},
    [{}],
    {"exact": {"type": "io.edge.frame.taken.v1", "subject": "gate"}},
    {"exact": {"hop": "5"}},
    {"exact": {"hop": 5, "flag": True}},
    {"exact": {"flag": "true"}},
    {"exact": {}},
    {"prefix": {"type": "io.edge.", "hop": "5"}},
    {"suffix": {"type": ".v1", "flag": "ue"}},
    {"all": []},
    {"any": []},
    {"all": [{"exact": {"id": "42"}}]},
    {"any": [{"exact": {"id": "1"}}, {"exact": {"id": "42"}}]},
    {"all": [{"exact": {"id": "42"}}, {"prefix": {"source": "/site"}}]},
    {"not": {"exact": {"id": "1"}}},
    # surprising, and so: whatever does not match, for whatever reason, is let through by not
    {"not": {"exact": {"missing": "x"}}},
    {"not": {"cesql": "missing = 1"}},
    {"not": {"cesql": "hop"}},
    {"not": {"cel": "ce.missing == 1"}},
    {"not": {"not": {"exact": {"id": "42"}}}},
    {"source-and-type": {"type": "io.edge.frame.taken.v1", "source": "/site/gate"}},
    {"source-and-type": {"type": "", "source": "/site/gate"}},
    {"source-and-type": {}},
    {"source_and_type": {"type": "io.edge.frame.taken.v1"}},
    {"sourceAndType": {"source": "/site/gate"}},
    {"attributes": {"type": "io.edge.frame.taken.v1", "subject": ""}},
    {"attributes": {"hop": "", "flag": ""}},
    {"attributes": {}},
    {"cesql": "type LIKE 'io.edge.%' AND hop < 10"},
    {"cesql": ""},
    {"cesql": "  \n"},
    {"cel": "ce.type.startsWith('io.') && ce.hop == 5"},
    [{"exact": {"id": "42"}}, {"prefix": {"source": "/site"}}, {"cesql": "flag"}],
]

MISSES: list[object] = [
    {"exact": {"type": "IO.EDGE.FRAME.TAKEN.V1"}},
    {"exact": {"type": "io.edge.frame.taken.v1", "subject": "yard"}},
    {"exact": {"missing": "x"}},
    {"exact": {"flag": "True"}},
    {"prefix": {"source": "site"}},
    {"prefix": {"missing": "x"}},
    {"suffix": {"type": ".v2"}},
    {"suffix": {"missing": "x"}},
    {"all": [{"exact": {"id": "42"}}, {"exact": {"id": "1"}}]},
    {"any": [{"exact": {"id": "2"}}, {"exact": {"id": "1"}}]},
    {"any": [{"exact": {"id": "2"}}]},
    {"not": {"exact": {"id": "42"}}},
    {"not": {}},
    {"source-and-type": {"type": "io.edge", "source": "/site/gate"}},
    {"attributes": {"blank": ""}},
    {"attributes": {"missing": ""}},
    {"cesql": "hop"},
    {"cesql": "1 / 0 = 0"},
    {"cesql": "missing != 1"},
    {"cel": "ce.hop"},
    {"cel": "ce.missing != 1"},
    {"cel": "data.a == 1"},
    [{"exact": {"id": "42"}}, {"cesql": "NOT flag"}],
]


@pytest.mark.parametrize("spec", MATCHES, ids=str)
def test_a_filter_matches(spec: object) -> None:
    assert passes(spec)


@pytest.mark.parametrize("spec", MISSES, ids=str)
def test_a_filter_does_not_match(spec: object) -> None:
    assert not passes(spec)


@pytest.mark.parametrize(
    ("spec", "path", "words"),
    [
        ("type", "filters", "a table with one dialect"),
        (None, "filters", "a table with one dialect"),
        ([{"exact": {"id": "1"}, "prefix": {"id": "1"}}], "filters[0]", "one dialect"),
        ([{}, {"regex": {}}], "filters[1]", "unknown dialect"),
        ({"exact": {"id": ""}}, "filters.exact.id", "not empty"),
        ({"prefix": {"": "x"}}, "filters.prefix.", "name of an attribute"),
        ({"suffix": {"Type": "x"}}, "filters.suffix.Type", "name of an attribute"),
        ({"exact": {"id": None}}, "filters.exact.id", "expected text"),
        ({"exact": {"id": 1.5}}, "filters.exact.id", "expected text"),
        ({"exact": []}, "filters.exact", "table of attributes"),
        ({"all": {}}, "filters.all", "list of filters"),
        ({"any": [{"not": []}]}, "filters.any[0].not", "a table"),
        ({"source-and-type": {"subject": "x"}}, "filters.source-and-type.subject", "source or"),
        ({"cesql": "ABC("}, "filters.cesql", "at character"),
        ({"cesql": 1}, "filters.cesql", "an expression"),
        ({"cel": ""}, "filters.cel", "an expression"),
        ({"cel": "ce.type =="}, "filters.cel", "expecting"),
    ],
)
def test_what_is_no_filter_is_refused(spec: object, path: str, words: str) -> None:
    with pytest.raises(BadFilter) as refused:
        compile_filter(spec)
    (fault,) = refused.value.faults
    assert fault.path == path
    assert words in fault.message


def test_every_fault_is_named_at_once() -> None:
    spec = [
        {"exact": {"id": "", "X": "1"}},
        {"all": [{"cesql": "1 +"}, {"nothing": 1}]},
        {"cel": "a.b.c.match("},
    ]
    with pytest.raises(BadFilter) as refused:
        compile_filter(spec, path="triggers.night.filters")
    assert [
        (fault.path.removeprefix("triggers.night."), fault.kind) for fault in refused.value.faults
    ] == [
        ("filters[0].exact.id", "invalid"),
        ("filters[0].exact.X", "invalid"),
        ("filters[1].all[0].cesql", "parse"),
        ("filters[1].all[1]", "invalid"),
        ("filters[2].cel", "parse"),
    ]
    assert str(refused.value).count("; triggers.night.") == 4
    assert isinstance(refused.value, Rejected)


def test_filters_in_each_other_have_an_end() -> None:
    spec: object = {"exact": {"id": "42"}}
    for _ in range(DEEPEST - 2):
        spec = {"all": [spec]}
    assert passes(spec)
    for _ in range(5000):
        spec = {"not": spec}
    with pytest.raises(BadFilter, match="in each other"):
        compile_filter(spec)


def test_the_number_of_filters_has_an_end() -> None:
    assert passes([{}] * MOST_FILTERS)
    with pytest.raises(BadFilter) as refused:
        compile_filter([{}] * (MOST_FILTERS + 500))
    assert len(refused.value.faults) == 1


def test_why_an_expression_did_not_pass_stays_with_the_candidate() -> None:
    candidate = Candidate(EVENT)
    spec = [{"any": [{"cesql": "missing = 1"}, {"cel": "ce.hop / 0 == 1"}]}]
    assert not compile_filter(spec)(candidate)
    assert candidate.fault == "missingAttribute"


def test_a_filter_says_which_expression_was_switched_off() -> None:
    made = compile_filter([{"cel": "ce.hop == 5"}, {"not": {"cel": "ce.hop == 6"}}])
    assert made.off == ""
    made._expressions[1].off = "switched off: took 9 ms"
    assert made.off == "ce.hop == 6: switched off: took 9 ms"


NAMES = st.sampled_from(["type", "source", "hop", "missing"])
TEXTS = st.sampled_from(["a", "5", "io.", ".v1", "true", ""])
SPECS = st.recursive(
    st.one_of(
        st.just({}),
        st.builds(
            lambda dialect, table: {dialect: table},
            st.sampled_from(
                ["exact", "prefix", "suffix", "attributes", "source-and-type", "regex"]
            ),
            st.dictionaries(NAMES, TEXTS, max_size=2),
        ),
        st.builds(
            lambda text: {"cesql": text}, st.sampled_from(["", "hop", "hop = 5", "missing", "("])
        ),
    ),
    lambda inner: st.one_of(
        st.builds(
            lambda dialect, many: {dialect: many},
            st.sampled_from(["all", "any"]),
            st.lists(inner, max_size=3),
        ),
        st.builds(lambda one: {"not": one}, inner),
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(spec=SPECS)
def test_not_turns_every_filter_round_and_lists_are_all_of_them(spec: dict[str, Any]) -> None:
    try:
        plain = passes(spec)
    except BadFilter:
        with pytest.raises(BadFilter):
            compile_filter({"not": spec})
        return
    assert passes({"not": spec}) is not plain
    assert passes([spec, spec]) is plain
    assert passes({"all": [spec]}) is plain
    assert passes({"any": [spec]}) is plain


def test_a_candidate_is_made_of_an_event_in_json_form() -> None:
    candidate = candidate_of({"id": "1", "hop": 2, "gone": None, "data": {"a": [1]}})
    assert candidate.attributes == {"id": "1", "hop": 2}
    assert candidate.data() == {"a": [1]}
    assert candidate_of({"data_base64": "eyJhIjogMX0="}).data() == {"a": 1}
    assert candidate_of({"data_base64": "/9j/"}).data() is None
    assert candidate_of({"datacontenttype": "text/plain", "data": "{}"}).data() is None
    kind = "Application/Problem+JSON ; charset=utf-8"
    assert candidate_of({"datacontenttype": kind, "data": [1]}).data() == [1]


@pytest.mark.parametrize(
    "event",
    [
        [],
        "x",
        {"Id": "1"},
        {"a_b": "1"},
        {"a": 1.5},
        {"a": 2**31},
        {"a": ["x"]},
        {"data": 1, "data_base64": "MQ=="},
        {"data_base64": "%"},
    ],
)
def test_what_is_no_event_is_refused(event: object) -> None:
    with pytest.raises(Rejected):
        candidate_of(event)
