from __future__ import annotations

import pytest

from tests.gpu.fakes import TIMEOUT_S, expect_tests_to_pass
from tests.places import ROOT

HERE = ROOT / "tests" / "gpu"
FILES = [*sorted((HERE / "on_fakes").glob("test_*.py")), HERE / "test_cuda.py"]


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem.removeprefix("test_"))
def test_what_is_tested_on_the_fake_gpu_passes(file: object) -> None:
    expect_tests_to_pass(str(file))


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_S)
def test_tensorrt_owes_its_caller_what_every_engine_does() -> None:
    expect_tests_to_pass(str(ROOT / "tests" / "contracts" / "test_engine.py"), "-k", "tensorrt")


def test_there_is_something_to_test() -> None:
    assert len(FILES) > 3
