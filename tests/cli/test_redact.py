from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.catalog.installed import Catalog
from edge.cli.main import main
from edge.cli.redact_plan import plan
from edge.errors import Rejected
from tests.journeys.box import check_covered, pixels, traces
from tests.places import need, shared


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    Catalog(directory).import_file(shared("data/models/originals/picodet_s_416_coco.onnx"))
    return directory


def redact(models: Path, out: Path, *more: str | Path) -> int:
    arguments = ["redact", "-o", str(out), "--models", str(models), *(str(one) for one in more)]
    return main(arguments)


def report(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def as_message(line: dict[str, Any]) -> dict[str, Any]:
    people = [{"box": person["box"]} for person in line["people"]]
    return {"subject": line["input"], "data": {"people": people, "covered": line["covered"]}}


def test_a_folder_of_pictures_is_redacted_and_reported(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "deep"
    folder.mkdir(parents=True)
    originals = sorted(shared("data/people-dev/images").iterdir())[:5]
    for path in originals:
        shutil.copy(path, folder)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    out, lines = tmp_path / "out", tmp_path / "report.jsonl"

    assert redact(models, out, tmp_path / "in", "--report", lines) == 0
    said = report(lines)
    assert [Path(line["input"]).name for line in said] == [path.name for path in originals]
    for line in said:
        assert line["withheld"] is None
        assert line["method"] == "cells"
        assert (line["engine"], line["model"]) == ("onnx", "picodet_s_416")
        assert Path(line["output"]).parent == out / "deep"
        raw = pixels(Path(line["input"]))
        assert line["size"] == [raw.shape[1], raw.shape[0]]
        check_covered(pixels(Path(line["output"])), raw, as_message(line))
    assert sum(len(line["people"]) for line in said) > 0
    assert list(traces([path.read_bytes() for path in originals], out)) == []


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = shared("data/odd")
    inputs = [odd / "text_named_jpg.jpg", odd / "photo.heic", odd / "cmyk.jpg"]
    lines = tmp_path / "report.jsonl"
    assert redact(models, tmp_path / "out", *inputs, "--report", lines, "--json") == 1
    sums = json.loads(capsys.readouterr().out)
    assert (sums["pictures"], sums["rejected"], sums["withheld"]) == (3, 2, 0)
    by_name = {Path(line["input"]).name: line for line in report(lines)}
    assert by_name["cmyk.jpg"]["output"] is not None
    assert by_name["photo.heic"]["withheld"].startswith("unsupported_format: ")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cmyk.jpg"]


def test_safe_mode_withholds_still_pictures(models: Path, tmp_path: Path) -> None:
    picture = shared("data/people-dev/images/coco_000000001268.jpg")
    lines = tmp_path / "report.jsonl"
    code = redact(models, tmp_path / "out", picture, "--engine", "builtin", "--report", lines)
    assert code == 5
    (line,) = report(lines)
    assert line["withheld"].startswith("safe_mode_still_picture")
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_a_missing_model_is_an_error_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    picture = shared("data/people-dev/images/coco_000000001268.jpg")
    arguments = ["redact", str(picture), "-o", str(tmp_path / "out"), "--model", "no_such_model"]
    assert main(arguments) not in (0, 1, 2)
    assert "no_such_model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def frames(video: Path) -> list[np.ndarray[Any, Any]]:
    capture = cv2.VideoCapture(str(video))
    found = []
    while True:
        there, frame = capture.read()
        if not there:
            break
        found.append(frame)
    capture.release()
    return found


def probe(video: Path) -> list[dict[str, Any]]:
    said = subprocess.run(
        [need("ffprobe", "ffmpeg"), "-v", "error", "-show_streams", "-of", "json", str(video)],
        check=True, capture_output=True,
    )  # fmt: skip
    streams: list[dict[str, Any]] = json.loads(said.stdout)["streams"]
    return streams


def test_a_video_keeps_its_frames_its_rate_and_its_size_and_loses_its_sound(
    models: Path, tmp_path: Path
) -> None:
    video = shared("data/odd/video_with_audio.mp4")
    lines = tmp_path / "report.jsonl"
    assert redact(models, tmp_path / "out", video, "--report", lines) == 0
    output = tmp_path / "out" / "video_with_audio.mp4"
    before, after = frames(video), frames(output)
    assert len(after) == len(before) == len(report(lines))
    assert [line["frame"] for line in report(lines)] == list(range(len(before)))
    assert after[0].shape == before[0].shape
    (stream,) = probe(output)
    original = next(one for one in probe(video) if one["codec_type"] == "video")
    assert stream["codec_type"] == "video"
    assert stream["avg_frame_rate"] == original["avg_frame_rate"]


def test_a_video_keeps_its_sound_when_asked(models: Path, tmp_path: Path) -> None:
    video = shared("data/odd/video_with_audio.mp4")
    assert redact(models, tmp_path / "out", video, "--audio") == 0
    kinds = {stream["codec_type"] for stream in probe(tmp_path / "out" / "video_with_audio.mp4")}
    assert kinds == {"video", "audio"}


def test_a_rotated_video_comes_out_upright(models: Path, tmp_path: Path) -> None:
    video = shared("data/odd/video_rotated90_metadata.mp4")
    assert redact(models, tmp_path / "out", video) == 0
    (stream,) = probe(tmp_path / "out" / "video_rotated90_metadata.mp4")
    assert (stream["width"], stream["height"]) == (270, 480)
    assert "side_data_list" not in stream


@pytest.mark.parametrize("name", ["video_no_moov.mp4", "video_zero_byte.mp4", "audio_only.mp4"])
def test_a_video_that_cannot_be_read_is_named_and_leaves_nothing(
    name: str, models: Path, tmp_path: Path
) -> None:
    lines = tmp_path / "report.jsonl"
    assert redact(models, tmp_path / "out", shared(f"data/odd/{name}"), "--report", lines) == 1
    (line,) = report(lines)
    assert line["withheld"].startswith("damaged: ")
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_outputs_never_meet_and_never_overwrite_inputs(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"x")
    planned = plan([tmp_path], tmp_path / "out", "jpeg")
    outputs = [one.output for one in planned]
    assert len(set(outputs)) == 3
    with pytest.raises(Rejected, match="overwritten"):
        plan([tmp_path / "b.jpg"], tmp_path, "jpeg")
    with pytest.raises(Rejected, match="there is no"):
        plan([tmp_path / "nowhere"], tmp_path / "out", "jpeg")


def test_an_earlier_output_inside_the_input_is_not_redacted_again(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.jpg").write_bytes(b"x")
    (tmp_path / "new.jpg").write_bytes(b"x")
    assert [one.input.name for one in plan([tmp_path], tmp_path / "out", "jpeg")] == ["new.jpg"]
