from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.errors import GpuLost, PartFailed
from edge.frame import Pixels
from edge.stages.kernels.pictures import TOLERANCE, Kernels
from edge.stages.redact_methods import cells, fill
from tests.stages.kernels.emulation import StandIn, build

shared_gpu = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def opened(gpu: StandIn) -> Kernels:
    return Kernels.open(library=gpu.library, fatbin=gpu.fatbin)


def noise(rows: int, columns: int, seed: int = 1) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), np.uint8)


def apart(got: Pixels, want: Pixels) -> int:
    return int(np.abs(got.astype(int) - want).max())


@shared_gpu
@given(
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    to=st.sampled_from([(64, 64), (64, 40), (40, 64), (33, 7)]),
)
def test_a_letterbox_is_that_of_opencv(
    gpu: StandIn, size: tuple[int, int], to: tuple[int, int]
) -> None:
    raw = noise(*size)
    scale = min(to[0] / size[1], to[1] / size[0])
    used = min(to[0], max(1, round(size[1] * scale))), min(to[1], max(1, round(size[0] * scale)))
    want = np.full((to[1], to[0], 3), 114, np.uint8)
    want[: used[1], : used[0]] = cv2.resize(raw, used)
    with opened(gpu) as kernels:
        picture = kernels.upload(raw)
        boxed = kernels.letterbox(picture, to, used, 114)
        got = kernels.download(boxed)
        assert apart(got, want) <= TOLERANCE
        kernels.free(boxed)
        kernels.free(picture)


@pytest.mark.parametrize("size", [(1080, 1920), (720, 1280), (777, 1000), (1520, 2688)])
def test_a_cameras_frame_is_prepared_as_on_the_processor(
    gpu: StandIn, size: tuple[int, int]
) -> None:
    raw = noise(*size)
    used = (416, round(size[0] * 416 / size[1]))
    with opened(gpu) as kernels:
        picture = kernels.upload(raw)
        boxed = kernels.letterbox(picture, (416, 416), used, 0)
        got = kernels.download(boxed)
        assert apart(got[: used[1]], cv2.resize(raw, used).astype(np.uint8)) <= TOLERANCE
        assert not got[used[1] :].any()
        kernels.free(boxed)
        kernels.free(picture)


@shared_gpu
@given(
    wide=st.integers(1, 200),
    high=st.integers(1, 150),
    left=st.floats(0, 1),
    top=st.floats(0, 1),
    smooth=st.booleans(),
)
def test_cells_look_as_on_the_processor_and_change_nothing_else(
    gpu: StandIn, wide: int, high: int, left: float, top: float, smooth: bool
) -> None:
    raw = noise(150, 200)
    if smooth:
        raw = cv2.resize(noise(5, 7), (200, 150)).astype(np.uint8)
    x, y = int(left * (200 - wide)), int(top * (150 - high))
    want = raw.copy()
    want[y : y + high, x : x + wide] = cells(raw[y : y + high, x : x + wide], None)
    with opened(gpu) as kernels:
        picture = kernels.upload(raw)
        kernels.cells(picture, (x, y, x + wide, y + high))
        got = kernels.download(picture)
        kernels.free(picture)
    inside = np.zeros(raw.shape, np.bool_)
    inside[y : y + high, x : x + wide] = True
    assert np.array_equal(got[~inside], raw[~inside])
    # A mean between two of the 16 levels may become the other one.
    far = np.abs(got.astype(int) - want)
    assert far.max() <= 17 + TOLERANCE
    assert (far > TOLERANCE).mean() < 0.05


def test_fill_is_one_colour_and_changes_nothing_else(gpu: StandIn) -> None:
    raw = noise(50, 70)
    want = raw.copy()
    want[7:50, 3:69] = fill(raw[7:50, 3:69], (1, 2, 3))
    with opened(gpu) as kernels:
        picture = kernels.upload(raw)
        kernels.fill(picture, (3, 7, 69, 50), (1, 2, 3))
        assert np.array_equal(kernels.download(picture), want)
        kernels.free(picture)


@pytest.mark.parametrize("area", [(-1, 0, 5, 5), (0, 0, 71, 5), (0, 0, 5, 51), (5, 5, 5, 9)])
def test_an_area_outside_the_picture_never_reaches_a_kernel(
    gpu: StandIn, area: tuple[int, int, int, int]
) -> None:
    with opened(gpu) as kernels:
        picture = kernels.upload(noise(50, 70))
        with pytest.raises(ValueError, match="is not in 70 x 50"):
            kernels.cells(picture, area)
        with pytest.raises(ValueError, match="is not in 70 x 50"):
            kernels.fill(picture, area, (0, 0, 0))
        kernels.free(picture)


def test_threads_take_turns_and_none_draws_anothers_grid(gpu: StandIn) -> None:
    raws = [np.full((60, 60, 3), 17 * n, np.uint8) for n in range(8)]
    found: dict[int, Pixels] = {}

    def cover(kernels: Kernels, n: int) -> None:
        for _ in range(20):
            picture = kernels.upload(raws[n])
            kernels.cells(picture, (5, 5, 55, 55))
            found[n] = kernels.download(picture)
            kernels.free(picture)
            if not np.array_equal(found[n], raws[n]):
                return

    with opened(gpu) as kernels:
        threads = [
            threading.Thread(target=cover, args=(kernels, n), name=f"cover-{n}") for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert all(np.array_equal(found[n], raws[n]) for n in range(8))


def test_without_a_driver_it_says_so(gpu: StandIn) -> None:
    with pytest.raises(PartFailed, match="no NVIDIA driver") as caught:
        Kernels.open(library="libnowhere.so.1", fatbin=gpu.fatbin)
    assert caught.value.reason == "no_gpu"


def test_a_gpu_that_is_not_there_is_named(gpu: StandIn) -> None:
    with pytest.raises(PartFailed, match=r"GPU 3: .*101") as caught:
        Kernels.open(3, library=gpu.library, fatbin=gpu.fatbin)
    assert caught.value.reason == "no_gpu"


def test_a_build_without_kernels_says_how_to_make_them(gpu: StandIn, tmp_path: Path) -> None:
    with pytest.raises(PartFailed, match="no GPU kernels") as caught:
        Kernels.open(library=gpu.library, fatbin=tmp_path / "none")
    assert "packaging/kernels" in caught.value.hint


def test_kernels_for_other_gpus_are_refused_and_nothing_is_held(gpu: StandIn) -> None:
    gpu.fatbin.write_bytes(b"for another GPU")
    with pytest.raises(PartFailed, match="cuModuleLoadData failed with CUDA error 200"):
        opened(gpu)


def test_a_gpu_that_fails_its_first_picture_is_not_used(gpu: StandIn) -> None:
    gpu.fail(0, 1)
    with pytest.raises(PartFailed, match="CUDA error 1"):
        opened(gpu)


def test_a_gpu_that_draws_otherwise_is_not_used(gpu: StandIn, tmp_path: Path) -> None:
    other = build(tmp_path, "-Dfloorf=ceilf")  # every sample a pixel too far
    with pytest.raises(PartFailed, match="draws otherwise") as caught:
        Kernels.open(library=str(other), fatbin=gpu.fatbin)
    assert caught.value.reason == "gpu_kernels"


def test_an_illegal_address_is_the_end_of_the_gpu_for_this_process(gpu: StandIn) -> None:
    with opened(gpu) as kernels:
        picture = kernels.upload(noise(9, 9))
        gpu.fail(0, 700)
        with pytest.raises(GpuLost):
            kernels.cells(picture, (0, 0, 9, 9))
        gpu.fail(-1, 0)
        kernels.free(picture)


def test_no_room_is_no_end(gpu: StandIn) -> None:
    with opened(gpu) as kernels:
        with pytest.raises(PartFailed, match="cuMemAlloc_v2 failed with CUDA error 2"):
            kernels.upload(np.broadcast_to(np.uint8(0), (20_000, 20_000, 3)))
        kernels.free(kernels.upload(noise(9, 9)))
