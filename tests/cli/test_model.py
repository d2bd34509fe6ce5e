from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from edge.cli.main import main
from tests.catalog import tiny
from tests.catalog.conftest import Published, published
from tests.places import free_port

__all__ = ["published"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "site.onnx"
    onnx.save(tiny.network(), path)
    return path


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    return ["--models", str(tmp_path / "models")]


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


IMPORT = ["--resize", "stretch", "--colour", "BGR", "--scale", "1", "--threshold", "0.6"]


def test_a_file_is_imported_listed_and_checked(
    file: Path, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "import", str(file), *IMPORT, *models, "--json"]) == 0
    imported = answer(capsys)
    assert imported["id"] == "site"
    body = Path(imported["path"]).read_bytes()
    assert imported["digest"] == hashlib.sha256(body).hexdigest()
    assert main(["model", "ls", *models, "--json"]) == 0
    listed = {one["id"]: one["state"] for one in answer(capsys)}
    assert listed["site"] == "installed"
    assert listed["picodet_s_416"] == "known"
    assert main(["model", "check", "site", *models, "--json"]) == 0
    assert answer(capsys)["passed"]


def test_a_person_reads_the_licence_and_how_it_is_fed(
    file: Path, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "import", str(file), *IMPORT, *models]) == 0
    text = capsys.readouterr().out
    assert "licence    unknown" in text
    assert "v8, 32x32, stretch, BGR" in text
    assert main(["model", "ls", *models]) == 0
    listed = capsys.readouterr().out
    assert "edge model pull picodet_s_416" in listed
    assert main(["model", "check", "site", *models]) == 0
    assert "ms a picture" in capsys.readouterr().out


def test_an_import_that_leaves_a_question_open_fails_with_what_to_say(
    models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "five.onnx"
    onnx.save(tiny.network(classes=5), path)
    assert main(["model", "import", str(path), *models]) == 1
    assert "--label" in capsys.readouterr().err
    assert main(["model", "import", str(path), "--label", "person=3", *models]) == 0


@pytest.mark.parametrize(
    "wrong", [["--label", "person"], ["--input", "416"], ["--colour", "GBR"], ["--id"]]
)
def test_a_wrong_option_is_a_usage_error(
    file: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "import", str(file), *wrong]) == 2
    assert capsys.readouterr().err


def test_a_damaged_model_is_shown_as_such_and_fails_its_check(
    file: Path, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "import", str(file), *IMPORT, *models, "--json"]) == 0
    Path(answer(capsys)["path"]).write_bytes(b"damaged")
    assert main(["model", "ls", *models, "--json"]) == 0
    assert answer(capsys)[0]["state"] == "damaged"
    assert main(["model", "check", "site", *models]) == 1
    assert "damaged" in capsys.readouterr().err


def test_a_network_that_is_not_there_is_a_dependency(
    models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://127.0.0.1:{free_port()}/model.onnx"
    assert main(["model", "pull", "--url", url, "--timeout", "5", *models, "--json"]) == 4
    assert answer(capsys)["error"]["reason"] == "offline"


def test_an_unknown_model_is_not_a_dependency(
    models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "pull", "huge", *models]) == 1
    assert "known are" in capsys.readouterr().err


def test_the_default_model_is_imported_without_a_question(
    published: Published, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = published("picodet_s_416")
    assert main(["model", "import", str(file), *models]) == 0
    assert "Apache-2.0 (PaddlePaddle/PaddleDetection)" in capsys.readouterr().out
    assert main(["model", "check", *models]) == 0
    assert "picodet_s_416: ok" in capsys.readouterr().out


def test_a_model_is_installed_in_half_precision_if_it_sees_the_same(
    models: list[str], published: Published, capsys: pytest.CaptureFixture[str]
) -> None:
    file = published("picodet_s_416")
    assert main(["model", "import", str(file), "--id", "pico", *models]) == 0
    capsys.readouterr()
    assert main(["model", "quantize", "pico", "--to", "fp16", *models, "--json"]) == 0
    made = answer(capsys)
    assert made["id"] == "pico_fp16"
    assert made["agreement"]["passed"]
    assert made["agreement"]["compared"] > 10
    assert main(["model", "check", "pico_fp16", *models]) == 0


def test_a_model_that_sees_nobody_in_the_drawn_scenes_is_not_installed(
    file: Path, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "import", str(file), *IMPORT, *models]) == 0
    assert main(["model", "quantize", "site", "--to", "fp16", *models]) == 1
    assert "the reference sees nobody" in capsys.readouterr().err
    assert main(["model", "check", "site_fp16", *models]) == 1


def test_8_bits_without_pictures_of_the_place_are_refused(
    models: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["model", "quantize", "--to", "int8", *models]) == 2
    assert "--calibration DIR" in capsys.readouterr().err
    (tmp_path / "none").mkdir()
    ask = ["model", "quantize", "--to", "int8", "--calibration", str(tmp_path / "none"), *models]
    assert main(ask) == 1
    assert "not installed" in capsys.readouterr().err


def test_a_folder_without_pictures_and_a_file_that_is_none_are_named(
    file: Path, models: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["model", "import", str(file), *IMPORT, *models]) == 0
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "broken.jpg").write_bytes(b"no picture")
    ask = ["model", "quantize", "site", "--to", "int8", "--calibration", str(folder), *models]
    assert main(ask) == 1
    said = capsys.readouterr().err
    assert "broken.jpg" in said
    assert "has no pictures" in said
