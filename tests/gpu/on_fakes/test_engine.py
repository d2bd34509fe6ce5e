from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.catalog.engine_form import engine_form
from edge.errors import PartFailed, TryLater
from edge.stages.engines.onnx import OnnxEngine
from edge.stages.urgency import Urgency, carrying
from tests.catalog import tiny
from tests.gpu import fake_tensorrt
from tests.gpu.fakes import FakeGpu
from tests.gpu.on_fakes.parts import INFO, opened, plan


def test_it_sees_what_onnx_runtime_sees(tmp_path: Path) -> None:
    reference = OnnxEngine.open(tiny.write(tmp_path / "model.onnx", threshold=0.3))
    engine = opened()
    batch = np.random.default_rng(7).integers(0, 256, (21, 32, 32, 3), np.uint8)
    batch[3], batch[9] = 255, 0
    for size in (1, 2, 8, 21):
        expected = reference.infer(batch[:size], [None] * size)
        found = engine.infer(batch[:size], [None] * size)
        for one, other in zip(expected, found, strict=True):
            strong = one.scores >= 0.3
            assert other.boxes.tolist() == one.boxes[strong].tolist()
            assert other.scores.tolist() == one.scores[strong].tolist()
    engine.close()


@pytest.mark.parametrize("graphs", [True, False])
def test_bright_is_a_person_and_dark_is_nobody(gpu: FakeGpu, graphs: bool) -> None:
    engine = opened(cuda_graphs=graphs)
    launched = gpu.launches()
    batch = np.concatenate([tiny.picture(255), tiny.picture(0)])
    for _ in range(3):
        assert [len(found) for found in engine.infer(batch, [None] * 2)] == [1, 0]
        assert len(engine.infer(batch[:1], [None])[0]) == 1
        assert len(engine.infer(batch[1:], [None])[0]) == 0
    # one picture has a graph; two, which is no preferred size, have none
    assert gpu.launches() - launched == (6 if graphs else 0)
    engine.close()


def test_a_preferred_size_has_a_graph_too(gpu: FakeGpu) -> None:
    engine = opened(detect={"preferred_batch": (2,)})
    launched = gpu.launches()
    engine.infer(np.concatenate([tiny.picture(255)] * 2), [None] * 2)
    assert gpu.launches() - launched == 1
    assert "CUDA graphs for 1, 2, 8" in engine.facts
    engine.close()


@pytest.mark.parametrize("fault", ["refuse_capture", "frozen_replay"])
def test_what_cannot_be_replayed_faithfully_runs_without_a_graph(
    gpu: FakeGpu, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    fake_tensorrt.faults.add(fault)
    engine = opened()
    fake_tensorrt.faults.clear()
    launched = gpu.launches()
    assert "CUDA graphs for none" in engine.facts
    assert "without a CUDA graph" in caplog.text
    assert len(engine.infer(tiny.picture(255), [None])[0]) == 1
    assert gpu.launches() == launched
    engine.close()


def test_who_is_more_urgent_goes_first_and_nobody_is_begun_too_late(gpu: FakeGpu) -> None:
    engine = opened(slots=1, cuda_graphs=False, detect={"max_batch": 1})
    gpu.latency(0.05)
    order: list[str] = []

    def ask(name: str, how: Urgency) -> None:
        with carrying(how):
            try:
                engine.infer(tiny.picture(255), [name])
            except TryLater as error:
                name = f"{name} {error.reason}"
            order.append(name)

    with ThreadPoolExecutor(5) as pool:
        pool.submit(ask, "first", Urgency())
        time.sleep(0.02)
        for name in ("gate", "yard", "dock"):
            pool.submit(ask, name, Urgency(priority=3 if name == "dock" else 0)).done()
        pool.submit(ask, "late", Urgency(priority=9, deadline=time.monotonic())).done()
    engine.close()
    assert set(order) == {"first", "gate", "yard", "dock", "late engine_busy"}
    assert order.index("dock") < min(order.index("gate"), order.index("yard"))


def test_a_driver_without_graphs_is_enough(gpu: FakeGpu) -> None:
    gpu.fail("cuStreamBeginCapture_v2", 801, times=99)
    engine = opened()
    assert "CUDA graphs for none" in engine.facts
    assert len(engine.infer(tiny.picture(255), [None])[0]) == 1
    engine.close()


def test_pictures_of_several_cameras_become_one_batch(gpu: FakeGpu) -> None:
    engine = opened(slots=1, cuda_graphs=False, detect={"max_queue_delay": "500ms"})
    gpu.latency(0.2)
    fake_tensorrt.ran.clear()
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(engine.infer, tiny.picture(255), ["a"])
        time.sleep(0.05)
        rest = [pool.submit(engine.infer, tiny.picture(i % 2 * 255), [str(i)]) for i in range(8)]
        assert len(first.result()[0]) == 1
        assert [len(one.result()[0]) for one in rest] == [0, 1] * 4
    assert fake_tensorrt.ran == [1, 8]
    engine.close()


def test_two_batches_are_on_the_gpu_at_once(gpu: FakeGpu) -> None:
    engine = opened(detect={"max_batch": 1})
    gpu.latency(1.0)
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: engine.infer(tiny.picture(255), [name]), "ab"))
    assert time.monotonic() - began < 1.9
    engine.close()


@pytest.mark.parametrize("graphs", [True, False])
def test_each_of_many_callers_gets_the_answer_to_its_own_pictures(
    gpu: FakeGpu, graphs: bool
) -> None:
    engine = opened(cuda_graphs=graphs, detect={"preferred_batch": (4,)})
    gpu.latency(0.002)

    def ask(seed: int) -> None:
        chance = np.random.default_rng(seed)
        for _ in range(20):
            bright = chance.integers(100, 256, chance.integers(1, 12))
            batch = np.concatenate([tiny.picture(int(value)) for value in bright])
            found = engine.infer(batch, [f"camera {seed}"] * len(batch))
            said = np.array([one.scores[0] for one in found])
            np.testing.assert_allclose(said, bright / 255, atol=0.002)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(ask, range(12)))
    engine.close()


def test_who_has_given_up_is_not_looked_at(gpu: FakeGpu) -> None:
    engine = opened(slots=1, cuda_graphs=False, detect={"max_batch": 1, "timeout": "200ms"})
    gpu.latency(0.6)
    fake_tensorrt.ran.clear()
    raised: list[PartFailed | TryLater] = []

    def ask() -> None:
        try:
            engine.infer(tiny.picture(255), [None])
        except (PartFailed, TryLater) as error:
            raised.append(error)

    callers = [threading.Thread(target=ask, name=f"caller {i}") for i in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    time.sleep(0.6)
    assert sorted(error.reason for error in raised) == ["engine_busy", "engine_busy", "timeout"]
    assert fake_tensorrt.ran == [1]
    engine.close()


def test_nothing_is_copied_where_memory_is_shared(
    gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CUDA_INTEGRATED", "1")
    engine = opened()
    assert "nothing is copied" in engine.facts
    assert len(engine.infer(tiny.picture(255), [None])[0]) == 1
    assert gpu.copies() == 0
    engine.close()


@pytest.mark.parametrize("shared", ["0", "1"])
@pytest.mark.parametrize("fault", ["nan", "silent", "wrong_labels"])
def test_nonsense_is_never_nobody(fault: str, shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_CUDA_INTEGRATED", shared)
    engine = opened()
    fake_tensorrt.faults.add(fault)
    for size in (1, 3):
        with pytest.raises(PartFailed) as raised:
            engine.infer(np.concatenate([tiny.picture(0)] * size), [None] * size)
        assert raised.value.reason == "engine_nonsense"
    engine.close()


def test_an_answer_that_was_not_copied_is_not_the_one_before(gpu: FakeGpu) -> None:
    engine = opened()
    assert len(engine.infer(tiny.picture(0), [None])[0]) == 0
    gpu.deaf(True)
    with pytest.raises(PartFailed, match="finite"):
        engine.infer(tiny.picture(255), [None])
    engine.close()


def test_a_batch_that_does_not_run_fails_its_callers_and_the_next_is_well() -> None:
    engine = opened(cuda_graphs=False)
    fake_tensorrt.faults.add("refuse")
    with pytest.raises(PartFailed, match="enqueueV3") as raised:
        engine.infer(tiny.picture(255), [None])
    assert raised.value.reason == "engine_failed"
    fake_tensorrt.faults.clear()
    assert len(engine.infer(tiny.picture(255), [None])[0]) == 1
    engine.close()


@pytest.mark.parametrize("shape", [(1, 16, 32, 3), (1, 32, 32, 1), (32, 32, 3)])
def test_pictures_of_a_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    engine = opened()
    with pytest.raises(PartFailed) as raised:
        engine.infer(np.zeros(shape, np.uint8), [None])
    assert raised.value.reason == "bad_batch"
    engine.close()


def test_no_picture_is_no_answer() -> None:
    engine = opened()
    assert engine.infer(np.zeros((0, 32, 32, 3), np.uint8), []) == []
    engine.close()


def test_a_plan_for_one_picture_takes_them_one_by_one() -> None:
    engine = opened(plan(most=1))
    batch = np.concatenate([tiny.picture(255), tiny.picture(0)])
    assert [len(found) for found in engine.infer(batch, [None] * 2)] == [1, 0]
    assert engine.max_batch == 1
    engine.close()


@pytest.mark.parametrize("body", [b"", b"junk", b"FAKEPLA"])
def test_what_is_no_plan_is_refused_with_the_librarys_words(body: bytes) -> None:
    with pytest.raises(PartFailed, match="Serialization") as raised:
        opened(body)
    assert raised.value.reason == "bad_plan"


def test_a_runtime_that_cannot_be_made_is_told() -> None:
    fake_tensorrt.faults.add("no_runtime")
    with pytest.raises(PartFailed, match="factory function returned nullptr"):
        opened()


def test_a_plan_of_another_size_is_refused() -> None:
    with pytest.raises(PartFailed, match="32, 32") as raised:
        opened(info=replace(INFO, input_size=(64, 32)))
    assert raised.value.reason == "bad_plan"


def test_a_plan_with_other_outputs_is_refused(tmp_path: Path) -> None:
    body = fake_tensorrt.plan_of(tiny.write(tmp_path / "model.onnx").read_bytes())
    with pytest.raises(PartFailed) as raised:  # the canonical graph: its k is not a number
        opened(body)
    assert raised.value.reason == "bad_plan"


def test_a_plan_that_does_not_take_a_single_picture_is_refused() -> None:
    form = engine_form(tiny.network(), tiny.manifest()).SerializeToString()
    with pytest.raises(PartFailed, match="a batch of 1 is refused"):
        opened(fake_tensorrt.plan_of(form, least=2))


def test_a_closed_engine_says_so_and_may_be_closed_again() -> None:
    engine = opened()
    engine.close()
    engine.close()
    with pytest.raises(PartFailed) as raised:
        engine.infer(tiny.picture(255), [None])
    assert raised.value.reason == "engine_closed"


def test_two_engines_are_open_at_once_and_one_leaves() -> None:
    old, new = opened(), opened()
    old.close()
    assert len(new.infer(tiny.picture(255), [None])[0]) == 1
    new.close()


def test_what_is_under_way_is_answered_when_it_is_closed(gpu: FakeGpu) -> None:
    engine = opened()
    gpu.latency(0.3)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(engine.infer, tiny.picture(255), [None])
        time.sleep(0.1)
        engine.close()
        assert len(asked.result()[0]) == 1
