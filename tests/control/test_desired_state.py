"""What is remembered of configurations from afar: across starts, cuts, and changes of the file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge.control.desired_state import (
    GRACE_S,
    MOST_STARTS,
    NAME,
    Document,
    Fine,
    Standing,
    StandingFile,
    Trial,
    digest_of,
    merged,
)
from edge.errors import PartFailed

FILE = digest_of({"store": {"kind": "folder"}})


def document(name: str) -> Document:
    tables = {"log": {"level": name}}
    return Document(id=name, digest=digest_of(tables), tables=tables)


def trial(name: str, at: float = 0.0) -> Trial:
    one = document(name)
    return Trial(
        document=one, id=name, digest=one.digest, fine=Fine(), began=at, deadline=at + GRACE_S
    )


def kept(name: str) -> Standing:
    return Standing(file=FILE).tried(trial(name)).kept(1)


def test_a_trial_counts_until_it_has_been_started_too_often() -> None:
    standing = Standing(file=FILE).tried(trial("a"))
    for _ in range(MOST_STARTS):
        standing = standing.started(1)
        assert standing.in_force == document("a")
    standing = standing.started(1)
    assert (standing.in_force, standing.trial, standing.report.state) == (None, None, "rolled_back")
    assert (standing.report.id, standing.report.digest) == ("a", FILE)


def test_a_trial_ends_while_the_box_is_off() -> None:
    standing = kept("a").tried(trial("b")).started(GRACE_S + 1)
    assert standing.in_force == document("a")
    assert "while the box was off" in standing.report.reason


def test_a_clock_that_goes_back_does_not_make_a_trial_last() -> None:
    standing = Standing(file=FILE).tried(trial("a", at=1e9))
    for _ in range(MOST_STARTS + 1):
        standing = standing.started(0)
    assert standing.trial is None


def test_what_is_kept_is_where_the_next_one_goes_back_to() -> None:
    standing = kept("a").tried(trial("b")).kept(2)
    assert (standing.applied, standing.previous) == (document("b"), document("a"))
    assert kept("a").tried(trial("b")).back("no", 3).in_force == document("a")
    gone = standing.back("it cannot be read", 4)
    assert (gone.in_force, gone.can_go_back) == (None, False)


@pytest.mark.parametrize("standing", [kept("a"), Standing(file=FILE).tried(trial("a"))])
def test_a_file_that_is_changed_has_the_last_word(standing: Standing) -> None:
    assert standing.for_file(FILE, 5) is standing
    after = standing.for_file("another", 5)
    assert (after.in_force, after.trial, after.report.state) == (None, None, "superseded")
    assert after.file == "another"


def test_the_order_of_a_file_does_not_make_it_another_one() -> None:
    assert digest_of({"a": 1, "b": {"c": 2, "d": 3}}) == digest_of({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": "1"})


@pytest.mark.parametrize(
    ("tables", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ],
)
def test_patches_merge_as_the_rfc_says(tables: Any, patch: Any, result: Any) -> None:
    assert merged(tables, patch) == result


TABLES = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: isinstance(value, dict))


@given(TABLES, TABLES)
def test_a_patch_changes_neither_what_it_is_put_on_nor_a_second_time(
    tables: dict[str, Any], patch: dict[str, Any]
) -> None:
    before = digest_of(tables)
    once = merged(tables, patch)
    assert merged(once, patch) == once
    assert digest_of(tables) == before


# -- the file


def test_what_is_written_is_read_and_nobody_else_may(tmp_path: Path) -> None:
    file = StandingFile(tmp_path / "state")
    assert file.read() == Standing()
    standing = kept("a").tried(trial("b"))
    file.write(standing)
    assert file.read() == standing
    assert (tmp_path / "state" / NAME).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"version": 2}', b'{"x": 1}', b"\xff"])
def test_a_damaged_file_is_set_aside(tmp_path: Path, body: bytes) -> None:
    (tmp_path / NAME).write_bytes(body)
    assert StandingFile(tmp_path).read() == Standing()
    assert (tmp_path / NAME).with_suffix(".damaged").read_bytes() == body


def test_a_file_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(PartFailed, match="cannot be read"):
        StandingFile(tmp_path).read()


_WRITER = """
import sys
from pathlib import Path
from tests.control.test_desired_state import kept, trial
from edge.control.desired_state import StandingFile
file = StandingFile(Path(sys.argv[1]))
a, b = kept("a"), kept("a").tried(trial("b"))
print("ready", flush=True)
while True:
    file.write(a)
    file.write(b)
"""


def test_kill_nine_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    for _ in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, tmp_path], stdout=subprocess.PIPE, env={**os.environ}
        )
        assert writer.stdout
        writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert StandingFile(tmp_path).read() in (
            Standing(),
            kept("a"),
            kept("a").tried(trial("b")),
        )
    assert not (tmp_path / NAME).with_suffix(".damaged").exists()


# -- whatever happens


class Life(RuleBasedStateMachine):
    """Configurations come, stay, go; the box starts and stops; the file is changed."""

    def __init__(self) -> None:
        super().__init__()
        self.standing = Standing(file=FILE)
        self.now = 1.0
        self.names = 0

    @precondition(lambda self: self.standing.trial is None)
    @rule()
    def come(self) -> None:
        self.names += 1
        self.before = self.standing.digest
        self.standing = self.standing.tried(trial(f"c{self.names}", self.now))

    @rule()
    def start(self) -> None:
        self.standing = self.standing.started(self.now)

    @rule(seconds=st.floats(-1e6, 1e6))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.standing.trial is not None)
    @rule(well=st.booleans())
    def end(self, well: bool) -> None:
        before, wanted = self.standing.digest, self.standing.trial
        assert wanted
        after = self.standing.kept(self.now) if well else self.standing.back("no", self.now)
        assert after.digest == (wanted.digest if well else before)
        self.standing = after

    @rule(name=st.sampled_from([FILE, "f2"]))
    def edit(self, name: str) -> None:
        self.standing = self.standing.for_file(name, self.now)

    @invariant()
    def it_is_told_what_is_in_force(self) -> None:
        standing = self.standing
        assert Standing.model_validate_json(standing.model_dump_json()) == standing
        digest = standing.trial.digest if standing.trial else standing.digest
        if standing.report.digest:
            assert standing.report.digest == digest
        assert (standing.report.state == "probation") == (standing.trial is not None)
        document = standing.in_force
        assert (document.digest if document else standing.file) == digest


TestLife = Life.TestCase
