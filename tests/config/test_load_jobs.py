"""Where uploads wait, in the operator's file."""

from __future__ import annotations

import pytest

from edge.config.load import loads
from tests.config.test_load import STORE, faults
from tests.config.test_load_buckets import SECRETS, source

FOLDER = '[sources.drop]\nkind = "folder"\npath = "/drop"\n'


def test_uploads_may_wait_in_the_bucket_of_a_source() -> None:
    text = source() + FOLDER + STORE + '[jobs]\nbucket = "in"\n'
    assert loads(text, "edge.toml", environ={"HOME": "/", **SECRETS}).jobs.bucket == "in"


@pytest.mark.parametrize(
    ("name", "known"), [("inn", "there are in"), ("drop", "there are in"), ("frames", "in")]
)
def test_what_is_no_bucket_source_is_a_fault(name: str, known: str) -> None:
    text = source() + FOLDER + STORE + f'[jobs]\nbucket = "{name}"\n'
    found = faults(text, **SECRETS)
    assert set(found) == {"jobs.bucket"}
    assert "source of kind bucket" in found["jobs.bucket"]
    assert known in found["jobs.bucket"]


def test_without_any_bucket_that_is_said() -> None:
    found = faults(FOLDER + STORE + '[jobs]\nbucket = "in"\n')
    assert "there is none" in found["jobs.bucket"]


@pytest.mark.parametrize(
    ("suffixes", "good"),
    [("[]", True), ('[".jpg"]', True), ('["/", ".PNG"]', True), ('["/"]', False)],
)
def test_a_source_must_want_what_uploads_are_called(suffixes: str, good: bool) -> None:
    text = source(f"suffixes = {suffixes}") + STORE + '[jobs]\nbucket = "in"\n'
    if good:
        assert loads(text, "edge.toml", environ={"HOME": "/", **SECRETS}).jobs.bucket == "in"
    else:
        assert "uploads wait" in faults(text, **SECRETS)["sources.in.suffixes"]


def test_a_bucket_with_faults_of_its_own_has_no_other() -> None:
    text = source('via = "telepathy"') + STORE + '[jobs]\nbucket = "in"\n'
    assert set(faults(text, **SECRETS)) == {"sources.in.via"}
