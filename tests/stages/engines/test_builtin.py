from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.detections import Detections
from edge.errors import PartFailed, Withheld
from edge.sources.scene_drawing import SceneDrawing
from edge.stages.engines.builtin import BuiltinEngine
from tests.places import shared

WIDTH, HEIGHT = 320, 180
Picture = NDArray[np.uint8]
Shown = tuple[float, Picture, NDArray[np.float64]]
"""A moment in seconds, a frame, and the boxes of people in it."""


class Watch:
    """Safe mode with a clock of its own, asked about one frame after the other."""

    def __init__(self, still_for: float = 3.0) -> None:
        self.now = 1000.0
        self.engine = BuiltinEngine(still_for, clock=lambda: self.now)

    def see(self, picture: Picture, after: float = 0.1, source: str | None = "gate") -> Detections:
        self.now += after
        small = np.asarray(cv2.resize(picture, (WIDTH, HEIGHT)), np.uint8)
        (seen,) = self.engine.infer(small[np.newaxis], [source])
        return seen

    def covered(self, picture: Picture, after: float = 0.1) -> NDArray[np.bool_]:
        """Return what would be covered, ``(180, 320)`` bool; nothing where it was withheld."""
        cover = np.zeros((HEIGHT, WIDTH), np.bool_)
        try:
            boxes = self.see(picture, after).boxes
        except Withheld as error:
            if error.reason != "safe_mode_nothing_moves":
                raise
            return cover
        for x0, y0, x1, y1 in boxes.round().astype(int).tolist():
            cover[y0:y1, x0:x1] = True
        return cover


class Wall:
    """A camera before a textured wall, with noise."""

    def __init__(self, noise: float = 1.5, seed: int = 0) -> None:
        self.chance = np.random.default_rng(seed)
        rough = self.chance.normal(0, 40, (HEIGHT, WIDTH, 3)).astype(np.float32)
        self.wall = 120 + cv2.GaussianBlur(rough, (0, 0), 2) * 3
        bank = self.chance.standard_normal((23, HEIGHT, WIDTH, 3), np.float32) * noise
        self.noise = itertools.cycle(bank)

    def frame(self, *, brighter: float = 0.0, man: tuple[float, float] | None = None) -> Picture:
        picture = self.wall + brighter
        if man:
            shape = np.zeros((HEIGHT, WIDTH), np.float32)
            shape[60:120, 100:120] = 1
            move = np.array([[1, 0, man[0] - 110], [0, 1, man[1] - 90]], np.float32)
            cover = cv2.warpAffine(shape, move, (WIDTH, HEIGHT))[:, :, np.newaxis]
            picture = picture * (1 - cover) + np.array([60, 50, 40], np.float32) * cover
        noisy = picture + next(self.noise)
        return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def settled(watch: Watch, wall: Wall, seconds: float = 5.0) -> None:
    """Let everything be proven to be still."""
    for _ in range(round(seconds * 10)):
        watch.covered(wall.frame())
    assert not watch.covered(wall.frame()).any()


def test_at_first_everything_is_covered() -> None:
    seen = Watch().see(Wall().frame())
    assert seen.boxes[:, 0].min() == 0
    assert Watch().covered(Wall().frame()).all()
    assert (seen.scores == 1).all()


def test_it_says_that_it_is_safe_mode() -> None:
    info = BuiltinEngine(30.0).info
    assert (info.name, info.model, info.safe_mode) == ("builtin", "motion", True)
    assert info.labels == ("unjudged",)
    assert info.threshold == 0


def test_nothing_is_shown_before_it_was_still_for_long_enough() -> None:
    watch, wall = Watch(still_for=3.0), Wall()
    for _ in range(30):
        assert watch.covered(wall.frame()).all()
    watch.now += 0.05
    with pytest.raises(Withheld) as caught:
        watch.see(wall.frame())
    assert caught.value.reason == "safe_mode_nothing_moves"
    assert caught.value.hint


@pytest.mark.parametrize("noise", [0.7, 2.0, 5.0])
def test_noise_alone_is_not_movement(noise: float) -> None:
    watch, wall = Watch(), Wall(noise)
    settled(watch, wall)
    shown = [not watch.covered(wall.frame()).any() for _ in range(100)]
    assert sum(shown) >= 98


def test_a_still_picture_is_never_judged() -> None:
    with pytest.raises(Withheld) as caught:
        Watch().see(Wall().frame(), source=None)
    assert caught.value.reason == "safe_mode_still_picture"


def test_who_comes_in_is_covered_at_once_and_the_rest_is_shown() -> None:
    watch, wall = Watch(), Wall()
    settled(watch, wall)
    for step in range(40):
        x = 60 + 2 * step
        cover = watch.covered(wall.frame(man=(x, 90)))
        assert cover[60:120, x - 10 : x + 10].all()
        assert cover.mean() < 0.5


def test_who_comes_in_at_the_edge_is_covered() -> None:
    watch, wall = Watch(), Wall()
    settled(watch, wall)
    for x in range(WIDTH + 8, WIDTH - 12, -2):
        cover = watch.covered(wall.frame(man=(float(x), 90)))
        assert cover[60:120, max(0, x - 9) :].all()


def test_the_way_that_somebody_went_is_shown_again_after_a_while() -> None:
    watch, wall = Watch(), Wall()
    settled(watch, wall)
    for step in range(20):
        watch.covered(wall.frame(man=(100 + step * 4, 90)))
    assert watch.covered(wall.frame()).any()
    settled(watch, wall)


def test_who_stands_still_but_sways_stays_covered() -> None:
    watch, wall = Watch(), Wall()
    settled(watch, wall)
    for step in range(20):
        watch.covered(wall.frame(man=(60 + step * 5, 90)))
    for step in range(300):
        sway = 0.4 * float(np.sin(step / 9))
        cover = watch.covered(wall.frame(man=(160 + sway, 90)))
        assert cover[60:120, 150:170].all(), f"shown after {step / 10:.1f} s"


def test_who_creeps_is_covered() -> None:
    watch, wall = Watch(), Wall()
    for step in range(450):  # a third of a pixel a second
        cover = watch.covered(wall.frame(man=(100 + step / 30, 90)))
        if step > 40:
            x = round(100 + step / 30)
            assert cover[60:120, x - 10 : x + 10].mean() > 0.95


def test_a_torso_between_moving_limbs_is_covered() -> None:
    watch, wall = Watch(), Wall()
    settled(watch, wall)
    for step in range(60):
        picture = wall.frame(man=(160, 90))
        swing = 6 if step % 4 < 2 else 0
        picture[70:95, 142 - swing : 148 - swing] = (50, 60, 200)  # arms
        picture[70:95, 172 + swing : 178 + swing] = (50, 60, 200)
        cover = watch.covered(picture)
        assert cover[60:120, 150:170].all()


def test_a_waving_hand_covers_at_least_a_small_person() -> None:
    watch, wall = Watch(), Wall()
    settled(watch, wall)
    picture = wall.frame()
    picture[88:92, 158:162] = 250
    cover = watch.covered(picture)
    assert cover[66:114, 148:172].all()
    assert cover.mean() < 0.3


@pytest.mark.parametrize("brighter", [-60.0, 25.0])
def test_when_the_light_changes_everything_moved(brighter: float) -> None:
    watch, wall = Watch(), Wall()
    settled(watch, wall)
    assert watch.covered(wall.frame(brighter=brighter)).all()
    assert watch.covered(wall.frame(brighter=brighter)).all()


def test_somebody_under_a_slowly_changing_light_is_covered() -> None:
    watch, wall = Watch(), Wall()
    for step in range(400):
        cover = watch.covered(wall.frame(brighter=-step / 8, man=(60 + step / 2, 90)))
        x = round(60 + step / 2)
        assert cover[60:120, x - 9 : x + 9].mean() > 0.95


def test_after_a_gap_everything_is_unproven_again() -> None:
    watch, wall = Watch(), Wall()
    settled(watch, wall)
    assert not watch.covered(wall.frame(), after=4.0).any()
    assert watch.covered(wall.frame(), after=6.0).all()
    assert watch.covered(wall.frame()).all()


def test_a_camera_that_repeats_one_frame_proves_nothing() -> None:
    watch, wall = Watch(), Wall()
    settled(watch, wall)
    frozen = wall.frame(man=(160, 90))
    shown = [not watch.covered(frozen).all() for _ in range(200)]
    assert not any(shown[60:])


def test_a_restarted_camera_with_another_view_is_covered() -> None:
    watch = Watch()
    settled(watch, Wall(seed=1))
    assert watch.covered(Wall(seed=2).frame()).all()


def test_sources_are_judged_apart() -> None:
    watch, wall = Watch(), Wall()
    settled(watch, wall)
    assert len(watch.see(wall.frame(), source="yard"))
    with pytest.raises(Withheld):
        watch.see(wall.frame(), source="gate")


def test_one_row_that_is_withheld_does_not_hide_movement_of_another() -> None:
    watch, wall = Watch(), Wall()
    settled(watch, wall)
    batch = np.stack([wall.frame(), wall.frame(man=(160, 90))])
    with pytest.raises(Withheld):
        watch.engine.infer(batch, [None, "gate"])
    cover = watch.covered(wall.frame())
    assert cover[60:120, 150:170].all()


def test_idle_and_surplus_sources_are_forgotten() -> None:
    watch = Watch()
    picture = Wall().frame()
    for i in range(300):
        watch.see(picture, after=0.01, source=f"camera {i}")
    assert len(watch.engine._views) == 256
    watch.see(picture, after=61.0, source="last")
    assert list(watch.engine._views) == ["last"]


def test_threads_may_ask_about_the_same_source_at_once() -> None:
    engine = BuiltinEngine(0.05)
    wall = Wall()
    pictures = [wall.frame() for _ in range(8)]

    def ask(i: int) -> bool:
        try:
            return len(engine.infer(pictures[i % 8][np.newaxis], [f"gate {i % 2}"])[0]) > 0
        except Withheld:
            return True

    with ThreadPoolExecutor(4, thread_name_prefix="ask") as pool:
        assert all(pool.map(ask, range(200)))


def test_a_batch_of_another_size_is_a_failed_part() -> None:
    with pytest.raises(PartFailed, match="180, 320"):
        BuiltinEngine(1.0).infer(np.zeros((1, 90, 160, 3), np.uint8), ["gate"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["still", "new", "dark", "noise", "blob"]),
            st.floats(0, 8),
            st.sampled_from(["gate", "yard"]),
        ),
        max_size=40,
    ),
    st.floats(0.01, 5),
)
def test_it_never_answers_with_nobody(
    frames: list[tuple[str, float, str]], still_for: float
) -> None:
    watch, wall = Watch(still_for), Wall()
    still = wall.frame()
    for kind, after, source in frames:
        pictures = {"still": still, "new": wall.frame(), "dark": still // 4, "blob": still.copy()}
        pictures["noise"] = wall.chance.integers(0, 256, still.shape).astype(np.uint8)
        pictures["blob"][40:60, 30:50] = 255
        try:
            seen = watch.see(pictures[kind], after, source)
        except Withheld as error:
            if error.reason != "safe_mode_nothing_moves":
                raise
        else:
            assert len(seen) > 0
            assert ((seen.boxes[:, 2:] - seen.boxes[:, :2]) > 0).all()


def clip(name: str) -> Iterator[Shown]:
    """Play a labelled clip."""
    truth = json.loads(shared(f"data/seq-dev/{name}.json").read_text())
    numbers = {image["id"]: image["frame_id"] for image in truth["images"]}
    boxes = defaultdict(list)
    for label in truth["annotations"]:
        if not label.get("ignore"):
            x, y, w, h = label["bbox"]
            boxes[numbers[label["image_id"]]].append((x, y, x + w, y + h))
    film = cv2.VideoCapture(str(shared(f"data/seq-dev/{name}.mp4")))
    rate, index = film.get(cv2.CAP_PROP_FPS), 0
    while True:
        there, picture = film.read()
        if not there:
            return
        people = np.array(boxes[index], np.float64).reshape(-1, 4)
        yield index / rate, picture.astype(np.uint8), people
        index += 1


def scene() -> Iterator[Shown]:
    drawing = SceneDrawing(1, 640, 360, 5)
    for index in range(160):
        picture, boxes, seen = drawing.draw(index, 10.0)
        yield index / 10, picture, boxes[seen > 0.3].astype(np.float64)


@pytest.mark.parametrize(
    ("frames", "still_for", "floor"),
    [
        (clip("synth_a"), 2.0, 0.99),
        (clip("synth_a"), 5.0, 0.999),
        (clip("one_by_one_a"), 5.0, 0.99),
        (clip("worker_zone"), 2.0, 0.99),
        (scene(), 3.0, 0.99),
    ],
    ids=["synth_a 2 s", "synth_a 5 s", "one_by_one_a 5 s", "worker_zone 2 s", "scene 3 s"],
)
def test_people_in_real_clips_are_covered(
    frames: Iterator[Shown], still_for: float, floor: float
) -> None:
    """Share of the area of people's boxes that is covered, once something may be shown."""
    watch = Watch(still_for)
    begin, covered, area = watch.now, 0.0, 0
    for moment, picture, boxes in frames:
        cover = watch.covered(picture, begin + moment - watch.now)
        if moment < still_for:
            continue
        height, width = picture.shape[:2]
        scaled = boxes * ([WIDTH / width, HEIGHT / height] * 2)
        for x0, y0, x1, y1 in np.clip(scaled, 0, [WIDTH, HEIGHT] * 2).round().astype(int).tolist():
            covered += float(cover[y0:y1, x0:x1].sum())
            area += (y1 - y0) * (x1 - x0)
    assert area > 0
    assert covered / area >= floor
