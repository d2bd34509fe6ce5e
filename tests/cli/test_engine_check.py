from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge.cli.engine_check import fit, lines
from edge.cli.main import main
from edge.engine_status import GpuFacts
from edge.stages.engines.tensorrt_probe import probe
from tests.gpu.fakes import LIBRARY_PATH, environment
from tests.web.engine_parts import GPU

CPU = {"onnxruntime": "1.31.1", "openvino": ""}


def test_a_machine_with_a_gpu_has_a_table_of_facts() -> None:
    assert fit(GPU)
    assert lines(GPU, CPU) == [
        "GPU                 NVIDIA RTX 4000 Ada",
        "compute capability  8.9",
        "memory              20 GiB",
        "driver              for CUDA 13.0",
        "library             tensorrt 11.4.0.106",
        "pycuda              2026.1",
        "ONNX Runtime        1.31.1",
        "OpenVINO            none",
        "",
        "engines can be built for this GPU: edge engine build",
    ]


def test_a_gpu_without_its_libraries_is_not_enough() -> None:
    bare = GpuFacts(
        usable=True,
        device="Orin",
        integrated=True,
        memory=8 * 2**30,
        capability=(8, 7),
        driver="12.6",
        lacks="pycuda is not installed",
        hint="pip install pycuda",
        library="tensorrt",
        library_version="10.3.0",
    )
    assert not fit(bare)
    told = lines(bare, CPU)
    assert "memory              8.0 GiB, shared with the processor" in told
    assert "pycuda              none" in told
    assert "no engine can run on a GPU here: pycuda is not installed" in told
    assert "  hint: pip install pycuda" in told


@pytest.mark.skipif(probe().usable, reason="this machine has a GPU")
def test_a_machine_without_a_gpu_is_told_exactly_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_CONFIG", "")
    monkeypatch.setenv("CONFIGURATION_DIRECTORY", str(tmp_path))
    assert main(["engine", "check"]) == 4
    told = capsys.readouterr()
    assert "driver" in told.out
    assert probe().lacks in told.out
    assert probe().hint in told.out
    assert told.err == ""
    assert main(["engine", "check", "--json"]) == 4
    facts = json.loads(capsys.readouterr().out)
    assert (facts["fit"], facts["gpu"]["usable"]) == (False, False)
    assert facts["processor"]["onnxruntime"]


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ({}, 0, "Fake GPU"),
        ({"FAKE_CUDA_INTEGRATED": "1"}, 0, "shared with the processor"),
        ({"FAKE_CUDA_INIT": "803"}, 4, "the NVIDIA driver does not start"),
    ],
)
def test_the_driver_is_asked_and_what_it_says_is_told(
    tmp_path: Path, fault: dict[str, str], code: int, words: str
) -> None:
    file = tmp_path / "edge.toml"
    file.write_text(
        f'[store]\nkind = "folder"\npath = "x"\n[tensorrt]\nlibrary_path = "{LIBRARY_PATH}"\n'
    )
    told = subprocess.run(
        [sys.executable, "-m", "edge", "engine", "check", "-c", str(file)],
        env=environment(**fault),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stderr) == (code, "")
    assert words in told.stdout


def test_a_configuration_with_faults_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "edge.toml"
    file.write_text("[tensorrt]\ndevice = 99\n")
    assert main(["engine", "check", "-c", str(file)]) == 3
    assert "device" in capsys.readouterr().err
