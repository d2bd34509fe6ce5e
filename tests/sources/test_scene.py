from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.catalog.installed import Catalog
from edge.config.sources import SceneConfig
from edge.contracts import Picture, Source
from edge.event import FRAME_TAKEN, Event, Outcome
from edge.frame import Frame
from edge.ops.metrics import Metrics
from edge.sources.pace import Pace, Rate
from edge.sources.scene import Scene
from edge.sources.scene_drawing import SceneDrawing
from edge.stages.detect import detect
from edge.stages.engines.onnx import OnnxEngine
from tests.places import shared

Boxes = NDArray[np.float32]


def scene(**config: object) -> Scene:
    section = SceneConfig.model_validate(
        {"kind": "scene", "width": 320, "height": 180, "fps": 20, **config}
    )
    return Scene("site", section, metrics=Metrics(), origin="/here/box")


def frame_of(event: Event[Picture]) -> Frame:
    assert isinstance(event.data, Frame)
    return event.data


def test_the_same_seed_and_index_give_the_same_bytes() -> None:
    one, other = SceneDrawing(7, 320, 180, 4), SceneDrawing(7, 320, 180, 4)
    first = [one.draw(index, 10.0) for index in (3, 90, 41)]
    again = [other.draw(index, 10.0) for index in (41, 3, 90)]
    for mine, its in zip(first, [again[1], again[2], again[0]], strict=True):
        for place in range(3):
            assert np.array_equal(mine[place], its[place])


def test_another_seed_is_another_scene_and_another_index_another_frame() -> None:
    one, other = SceneDrawing(1, 320, 180, 4), SceneDrawing(2, 320, 180, 4)
    assert not np.array_equal(one.draw(0, 10.0)[0], other.draw(0, 10.0)[0])
    assert not np.array_equal(one.draw(0, 10.0)[1], other.draw(0, 10.0)[1])
    assert not np.array_equal(one.draw(0, 10.0)[0], one.draw(1, 10.0)[0])


def test_the_scene_lives_in_seconds_whatever_the_frames_a_second() -> None:
    drawing = SceneDrawing(1, 320, 180, 5)
    assert np.array_equal(drawing.draw(40, 10.0)[1], drawing.draw(100, 25.0)[1])


@pytest.mark.parametrize(
    ("width", "height", "people"), [(160, 120, 3), (1920, 1080, 5), (360, 640, 3), (640, 360, 50)]
)
def test_it_is_drawn_in_any_size_with_truth_inside_of_the_picture(
    width: int, height: int, people: int
) -> None:
    drawing = SceneDrawing(3, width, height, people)
    for index in (0, 57):
        picture, boxes, seen = drawing.draw(index, 10.0)
        assert picture.shape == (height, width, 3)
        assert picture.dtype == np.uint8
        assert boxes.shape == (people, 4)
        assert boxes.dtype == np.float32
        assert seen.shape == (people,)
        assert seen.dtype == np.float32
        assert (boxes >= 0).all()
        assert (boxes[:, 2:] >= boxes[:, :2]).all()
        assert (boxes[:, 2:] <= (width, height)).all()
        assert seen.min() >= 0
        assert seen.max() <= 1


def test_a_scene_without_people_is_drawn() -> None:
    picture, boxes, seen = SceneDrawing(1, 320, 180, 0).draw(5, 10.0)
    assert picture.std() > 20
    assert (len(boxes), len(seen)) == (0, 0)


def test_the_truth_is_where_the_figure_was_drawn() -> None:
    without, with_one = SceneDrawing(1, 640, 360, 0), SceneDrawing(1, 640, 360, 1)
    compared = 0
    for index in range(0, 600, 40):
        picture, boxes, seen = with_one.draw(index, 10.0)
        if seen[0] < 0.99:
            continue
        change = cv2.absdiff(picture, without.draw(index, 10.0)[0]).max(axis=2)
        x0, y0, x1, y1 = boxes[0].astype(int)
        inside = change[y0:y1, x0:x1] > 10
        assert inside.mean() > 0.3
        assert inside.any(axis=0).mean() > 0.9
        assert inside.any(axis=1).mean() > 0.95
        # Shadows fall to the right and away: nothing else changes above and to the left.
        assert not (change[: max(y0 - 2, 0)] > 10).any()
        assert not (change[: y1 - (y1 - y0) // 8, : max(x0 - 2, 0)] > 10).any()
        compared += 1
    assert compared >= 5


def test_who_is_nearer_is_larger_and_lower() -> None:
    drawing = SceneDrawing(2, 640, 360, 12)
    _, boxes, _ = drawing.draw(30, 10.0)
    whole = (boxes[:, 0] > 0) & (boxes[:, 2] < 640) & (boxes[:, 3] < 360)
    feet, height = boxes[whole, 3], (boxes[:, 3] - boxes[:, 1])[whole]
    assert np.corrcoef(feet, height)[0, 1] > 0.95


def test_figures_walk_stop_cross_and_hide() -> None:
    drawing = SceneDrawing(1, 320, 180, 6)
    boxes, seen = [], []
    for index in range(0, 2400, 12):
        _, now, visible = drawing.draw(index, 10.0)
        boxes.append(now)
        seen.append(visible)
    places = np.stack(boxes)
    shown = np.stack(seen)
    middles = (places[:, :, 0] + places[:, :, 2]) / 2
    assert (np.ptp(middles, axis=0) > 60).all()  # each gets about
    in_view = (places[:, :, 0] > 2) & (places[:, :, 2] < 318)
    assert (shown[in_view] < 0.2).any()  # somebody hides
    assert ((shown > 0.2) & (shown < 0.8) & in_view).any()  # somebody is half hidden
    assert shown[in_view].mean() > 0.7  # most can be seen most of the time


def test_figures_stand_still_at_times() -> None:
    drawing = SceneDrawing(1, 640, 360, 6)
    boxes = np.stack([drawing.draw(index, 10.0)[1] for index in range(300)])
    steps = np.abs(np.diff((boxes[:, :, 0] + boxes[:, :, 2]) / 2, axis=0))
    standing = (steps[:-10] < 1.0) & (steps[10:] < 1.0)
    assert 0.02 < standing.mean() < 0.9


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_real_detector_finds_the_figures(seed: int, tmp_path: Path) -> None:
    """Recall at IoU 0.5 of the default model, figures of at least 90 pixels, mostly visible."""
    installed = Catalog(tmp_path).import_file(shared("data/models/picodet_s_dyn.onnx"))
    engine = OnnxEngine.open(installed.path)
    drawing = SceneDrawing(seed, 1280, 720, 5)
    found, false, all_of_them = 0, 0, 0
    for index in range(0, 1000, 25):
        picture, boxes, seen = drawing.draw(index, 10.0)
        frame = Frame(pixels=picture, taken_at=datetime.now(UTC), source="site", subject="site")
        said = detect(frame, engine).detections.boxes
        asked = (boxes[:, 3] - boxes[:, 1] >= 90) & (seen >= 0.75)
        overlap = iou(boxes, said)
        found += int((overlap[asked].max(axis=1, initial=0) >= 0.5).sum())
        false += int((overlap.max(axis=0, initial=0) < 0.1).sum())
        all_of_them += int(asked.sum())
    engine.close()
    assert all_of_them > 80
    assert found / all_of_them >= 0.85
    assert false / 40 <= 1.0


def iou(some: Boxes, others: Boxes) -> NDArray[np.float32]:
    low = np.maximum(some[:, None, :2], others[None, :, :2])
    high = np.minimum(some[:, None, 2:], others[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (some, others)]
    either = areas[0][:, None] + areas[1][None] - both
    return np.asarray(both / np.maximum(either, 1e-6), np.float32)


async def test_frames_come_as_live_events_named_after_source_and_capture_time() -> None:
    source = scene()
    events = [event async for event in first(source, 5)]
    assert source.live
    assert len({event.id for event in events}) == 5
    for event in events:
        frame = frame_of(event)
        assert (event.type, event.source, event.subject) == (FRAME_TAKEN, "/here/box/site", "site")
        assert event.time == frame.taken_at.isoformat()
        assert event.id == f"site-{frame.taken_at:%Y%m%dT%H%M%S.%fZ}"
        assert frame.live
        assert frame.size == (320, 180)
        assert not frame.pixels.flags.writeable
        assert abs(datetime.now(UTC) - frame.taken_at) < timedelta(minutes=1)
    times = [event.data.taken_at for event in events]
    assert times == sorted(times)


async def first(source: Scene, count: int) -> AsyncIterator[Event[Picture]]:
    """Yield the first events, settle each as dropped, and close."""
    async for event in source.events():
        yield event
        await source.settle(event, Outcome.DROPPED)
        count -= 1
        if not count:
            await source.close()


async def test_it_keeps_the_contract_of_a_source_and_says_how_it_is() -> None:
    source: Source = scene(seed=5)
    assert source.status().state == "connecting"
    stream = source.events()
    await anext(stream)
    status = source.status()
    assert (status.kind, status.state, status.size) == ("scene", "streaming", (320, 180))
    assert status.counts["offered"] == 1
    assert status.last_picture_at is not None
    assert "seed 5" in status.where
    await source.close()
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(anext(stream), 1)
    assert source.status().state == "finished"


async def test_who_is_slow_gets_fewer_newer_frames_and_the_rest_is_counted() -> None:
    source = scene(fps=50)
    stream = source.events()
    await anext(stream)
    await asyncio.sleep(0.5)
    before = datetime.now(UTC)
    late = await anext(stream)
    assert late.data.taken_at >= before
    assert source.status().counts["skipped"] >= 15
    await source.close()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_close_does_not_wait_for_the_next_frame() -> None:
    source = scene(fps=0.01)
    stream = source.events()
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.05)
    await source.close()
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(waiting, 1)


async def test_the_loop_goes_on_while_a_large_scene_is_drawn() -> None:
    source = scene(width=1920, height=1080, people=10, fps=60)
    stream = source.events()
    waiting = asyncio.ensure_future(anext(stream))
    beats = 0
    while not waiting.done():
        await asyncio.sleep(0.001)
        beats += 1
    assert beats > 20
    await source.close()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_the_pace_neither_drifts_nor_runs_ahead() -> None:
    pace = Pace(100.0, asyncio.Event())
    loop = asyncio.get_running_loop()
    began, last = loop.time(), -1
    for pause in itertools.islice(itertools.cycle((0.0, 0.004, 0.035)), 30):
        index = await pace.next()
        assert index is not None
        assert last < index <= math.floor((loop.time() - began) * 100.0)
        last = index
        await asyncio.sleep(pause)
    assert pace.skipped == last + 1 - 30


def test_a_rate_falls_to_nothing_when_frames_stop() -> None:
    rate = Rate()
    for i in range(51):
        rate.count(i / 10)
    assert rate.at(5.0) == pytest.approx(10.0)
    assert rate.at(7.0) < 8.0
    assert rate.at(30.0) == 0.0
