"""The metrics keep Prometheus' rules, and each is explained."""

from __future__ import annotations

import re

from prometheus_client import generate_latest

from edge.ops.metrics import Metrics, reference, table


def test_names_have_base_units_and_only_counters_end_in_total() -> None:
    for row in table():
        name = row["name"]
        assert re.fullmatch(r"edge(_[a-z]+)+", name), name
        assert name.endswith("_total") == (row["type"] == "counter"), name
        assert not re.search(r"_(ms|milliseconds|kb|mb|percent|minutes)(_|$)", name), name
        assert row["meaning"].endswith("."), name


def test_every_metric_that_is_served_is_in_the_table() -> None:
    text = generate_latest(Metrics().registry).decode()
    served = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    listed = {row["name"] for row in table()}
    assert listed <= served
    assert {name for name in served if not name.endswith("_created")} == listed


def test_two_boxes_in_one_process_do_not_meet() -> None:
    one, other = Metrics(), Metrics()
    one.bugs.inc()
    assert one.registry.get_sample_value("edge_bugs_total") == 1
    assert other.registry.get_sample_value("edge_bugs_total") == 0


def test_the_reference_has_a_row_for_every_metric() -> None:
    text = reference()
    assert all(f"| `{row['name']}` | {row['type']} |" in text for row in table())
