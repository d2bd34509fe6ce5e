"""Which frames are taken, and when a file's frame is due."""

from __future__ import annotations

import itertools
import random

import pytest

from edge.sources.capture_sampling import Pace, Sampling


def taken(sampling: Sampling, times: list[float]) -> list[float]:
    return [at for at in times if sampling.wants(at)]


def test_every_third_frame_is_taken() -> None:
    sampling = Sampling(3, None)
    assert [sampling.wants(n / 25) for n in range(7)] == [
        True, False, False, True, False, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize(("camera", "wanted"), [(25, 10), (30, 15), (15, 14), (25, 1), (30, 29.97)])
def test_a_target_rate_is_met_over_a_minute_without_drift_in_spite_of_jitter(
    camera: float, wanted: float
) -> None:
    chance = random.Random(1)
    times = [n / camera + chance.uniform(-0.2, 0.2) / camera for n in range(int(60 * camera))]
    got = taken(Sampling(1, wanted), times)
    assert len(got) == pytest.approx(60 * wanted, abs=1 + 0.01 * 60 * wanted)


def test_taken_frames_are_evenly_spaced() -> None:
    got = taken(Sampling(1, 5), [n / 25 for n in range(250)])
    gaps = [late - early for early, late in itertools.pairwise(got)]
    assert max(gaps) - min(gaps) < 1e-6


def test_a_slow_camera_loses_no_frame_to_a_higher_target_rate() -> None:
    assert len(taken(Sampling(1, 30), [n / 12 for n in range(120)])) == 120


def test_after_a_gap_there_is_no_burst() -> None:
    got = taken(Sampling(1, 2), [0.0, *[60 + n / 25 for n in range(50)]])
    assert len(got) == 1 + 4


def test_every_and_fps_work_together() -> None:
    got = taken(Sampling(2, 5), [n / 20 for n in range(200)])
    assert len(got) == 50


def test_time_that_goes_back_is_a_new_start() -> None:
    sampling = Sampling(1, 1)
    assert sampling.wants(100)
    assert sampling.wants(0)
    assert not sampling.wants(0.5)


def test_frames_of_a_file_are_due_by_their_timestamps() -> None:
    pace = Pace()
    assert pace.wait(0.0, now=100.0) == 0
    assert pace.wait(0.04, now=100.01) == pytest.approx(0.03)
    assert pace.wait(2.0, now=100.1) == pytest.approx(1.9)  # a variable rate: a long picture
    assert pace.wait(2.04, now=103.0) == 0  # late: at once


def test_a_jump_in_a_files_time_does_not_stop_it() -> None:
    pace = Pace()
    pace.wait(0.0, now=100.0)
    assert pace.wait(5000.0, now=100.1) == pytest.approx(0)
    assert pace.wait(5000.5, now=100.1) == pytest.approx(0.5)
    assert pace.wait(3.0, now=101.0) == 0
