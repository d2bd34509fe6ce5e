from __future__ import annotations

import pytest

from tests.gpu.fakes import run_tests
from tests.places import ROOT

FILES = sorted((ROOT / "tests" / "gpu" / "on_fakes").glob("test_*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem.removeprefix("test_"))
def test_what_is_tested_on_the_fake_gpu_passes(file: object) -> None:
    run_tests(str(file))


def test_there_is_something_to_test() -> None:
    assert FILES
