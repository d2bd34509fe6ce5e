from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.config.privacy import Margin, Method, Policy
from edge.contracts import Picture
from edge.detections import Detections, Sighting
from edge.errors import Withheld
from edge.event import Event
from edge.frame import Frame
from edge.parcel import Redaction
from edge.stages.blackout import blackout
from edge.stages.redact import redact
from tests.privacy.parts import METHODS, OTHER, PERSON, gate, people, released, seen, shown
from tests.stages.parts import INFO, a_frame, an_event

LEFT = ((0.0, 0.0), (0.3, 0.0), (0.3, 1.0), (0.0, 1.0))


def refused(event: Event[Picture], sighting: Sighting, redaction: Redaction, policy: Policy) -> str:
    with pytest.raises(Withheld) as caught:
        gate(policy).release(event, sighting, redaction)
    return caught.value.reason


@pytest.mark.parametrize("method", METHODS)
def test_a_redacted_picture_passes(method: Method) -> None:
    policy = Policy(method=method, format="png")
    frame = a_frame()
    parcel = released(people(PERSON, OTHER), policy, frame)
    assert np.array_equal(shown(parcel), redact(seen(frame, people(PERSON, OTHER)), policy).pixels)


def test_a_picture_without_people_passes_as_it_is() -> None:
    frame = a_frame()
    parcel = released(Detections.none(), Policy(format="png"), frame)
    assert np.array_equal(shown(parcel), frame.pixels)
    assert parcel.message["data"]["people"] == []
    assert parcel.message["data"]["covered"] == []


def test_an_engine_that_is_not_qualified_lets_nothing_pass() -> None:
    frame, policy = a_frame(), Policy()
    sighting = seen(frame, people(PERSON))
    redaction = redact(sighting, policy)
    with pytest.raises(Withheld) as caught:
        gate(policy, replace(INFO)).release(an_event(frame), sighting, redaction)
    assert caught.value.reason == "engine_not_qualified"


def another(frame: Frame) -> Frame:
    return replace(frame, pixels=frame.pixels.copy())


def test_a_redaction_of_another_sighting_stays_here() -> None:
    frame, policy = a_frame(), Policy()
    redaction = redact(seen(frame, people(PERSON)), policy)
    mine = seen(frame, people(PERSON))
    assert refused(an_event(frame), mine, redaction, policy) == "other_frame"


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: replace(frame, subject="other"),
        lambda frame: replace(frame, taken_at=frame.taken_at + timedelta(microseconds=1)),
        lambda frame: replace(frame, source="other"),
        another,
    ],
)
def test_detections_of_another_frame_let_nothing_pass(change: Callable[[Frame], Frame]) -> None:
    frame, policy = a_frame(), Policy()
    sighting = seen(change(frame), people(PERSON))
    redaction = redact(sighting, policy)
    assert refused(an_event(frame), sighting, redaction, policy) == "other_frame"


def test_an_event_of_another_source_lets_nothing_pass() -> None:
    frame, policy = a_frame("gate"), Policy()
    sighting = seen(frame, people(PERSON))
    redaction = redact(sighting, policy)
    event = an_event(frame)
    for other in (replace(event, source="/site/node/yard"), replace(event, subject="yard")):
        assert refused(other, sighting, redaction, policy) == "other_frame"


def test_another_method_than_the_policys_stays_here() -> None:
    frame = a_frame()
    sighting = seen(frame, people(PERSON))
    redaction = redact(sighting, Policy(method="blur"))
    assert refused(an_event(frame), sighting, redaction, Policy()) == "wrong_method"


def test_a_smaller_margin_than_the_policys_stays_here() -> None:
    frame = a_frame()
    sighting = seen(frame, people(PERSON))
    redaction = redact(sighting, Policy(margin=Margin(top=0.05)))
    assert refused(an_event(frame), sighting, redaction, Policy()) == "not_covered"


def test_a_picture_of_another_size_stays_here() -> None:
    frame, policy = a_frame(), Policy()
    sighting = seen(frame, people(PERSON))
    redaction = replace(redact(sighting, policy), pixels=a_frame(size=(64, 48)).pixels)
    assert refused(an_event(frame), sighting, redaction, policy) == "wrong_size"


@pytest.mark.parametrize("method", METHODS)
def test_a_picture_in_which_somebody_is_not_covered_stays_here(method: Method) -> None:
    frame, policy = a_frame(), Policy(method=method)
    sighting = seen(frame, people(PERSON, OTHER))
    one = redact(seen(frame, people(PERSON)), policy)
    redaction = replace(one, sighting=sighting)
    assert refused(an_event(frame), sighting, redaction, policy) == "not_covered"


def test_two_regions_that_cover_half_of_somebody_each_do_not_do() -> None:
    frame, policy = a_frame(), Policy(margin=Margin(top=0, right=0, bottom=0, left=0))
    sighting = seen(frame, people((40, 30, 90, 150)))
    halves = seen(frame, people((40, 30, 90, 90), (40, 90, 90, 150)))
    redaction = replace(redact(halves, policy), sighting=sighting)
    assert refused(an_event(frame), sighting, redaction, policy) == "not_covered"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "part", [np.s_[:, :], np.s_[:60, :], np.s_[90:, :], np.s_[:, :60], np.s_[30:60, 40:70]]
)
def test_a_region_that_still_shows_the_frame_stays_here(
    method: Method, part: tuple[slice, slice]
) -> None:
    """The list says that it is covered, the pixels say that a part of it is not."""
    frame, policy = a_frame(), Policy(method=method)
    sighting = seen(frame, people(PERSON))
    redaction = redact(sighting, policy)
    pixels = redaction.pixels.copy()
    pixels[part] = frame.pixels[part]
    bad = replace(redaction, pixels=pixels)
    assert refused(an_event(frame), sighting, bad, policy) == "not_redacted"


@pytest.mark.parametrize("method", METHODS)
def test_a_person_in_the_dark_who_is_not_redacted_stays_here(method: Method) -> None:
    frame, policy = a_frame(), Policy(method=method)
    dark = replace(frame, pixels=frame.pixels // 16)
    sighting = seen(dark, people(PERSON))
    bad = replace(redact(sighting, policy), pixels=dark.pixels)
    assert refused(an_event(dark), sighting, bad, policy) == "not_redacted"


def test_another_colour_than_the_policys_stays_here() -> None:
    frame = a_frame()
    sighting = seen(frame, people(PERSON))
    redaction = redact(sighting, Policy(method="fill", fill_colour=(1, 2, 3)))
    policy = Policy(method="fill", fill_colour=(3, 2, 1))
    assert refused(an_event(frame), sighting, redaction, policy) == "not_redacted"


@pytest.mark.parametrize("covered", [[[-5, 0, 10, 10]], [[0, 0, 10, 999]], [[9, 9, 9, 20]]])
def test_a_region_beyond_the_picture_is_no_region(covered: list[list[int]]) -> None:
    frame, policy = a_frame(), Policy()
    sighting = seen(frame, Detections.none())
    redaction = replace(redact(sighting, policy), covered=np.array(covered, np.int32))
    assert refused(an_event(frame), sighting, redaction, policy) == "not_covered"


@pytest.mark.parametrize("level", [0, 1, 119, 128, 255])
@pytest.mark.parametrize("method", METHODS)
def test_a_lens_cap_passes(method: Method, level: int) -> None:
    """Where there is nothing to cover, covering changes nothing."""
    frame = a_frame()
    flat = replace(frame, pixels=np.full_like(frame.pixels, level))
    assert released(people(PERSON), Policy(method=method), flat).body


@pytest.mark.parametrize("method", METHODS)
def test_a_smooth_picture_passes(method: Method) -> None:
    frame = a_frame()
    rows = np.linspace(0, 255, frame.size[1])[:, np.newaxis, np.newaxis]
    noise = np.random.default_rng(0).integers(-2, 3, frame.pixels.shape)
    pixels = (rows + noise).clip(0, 255).astype(np.uint8)
    smooth = replace(frame, pixels=pixels)
    assert released(people(PERSON, OTHER), Policy(method=method), smooth).body


@settings(deadline=None)
@given(
    size=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    corners=st.lists(st.tuples(*[st.floats(-80, 300, width=32)] * 4), max_size=5),
    method=st.sampled_from(METHODS),
)
def test_whatever_redact_covers_the_gate_lets_pass(
    size: tuple[int, int], corners: list[tuple[float, ...]], method: Method
) -> None:
    boxes = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners]
    parcel = released(people(*boxes), Policy(method=method), a_frame(size=size))
    assert (parcel.message["data"]["picture"]["width"], len(parcel.id) > 0) == (size[0], True)


def a_person(size: tuple[int, int] = (320, 240)) -> NDArray[np.bool_]:
    mask = np.zeros((1, size[1], size[0]), np.bool_)
    mask[0, 30:150, 60:75] = True
    mask[0, 70:85, 40:90] = True
    return mask


@pytest.mark.parametrize("method", METHODS)
def test_a_picture_covered_by_masks_passes(method: Method) -> None:
    assert released(people(PERSON, masks=a_person()), Policy(method=method)).body


@pytest.mark.parametrize("method", METHODS)
def test_a_mask_that_still_shows_the_frame_stays_here(method: Method) -> None:
    frame, policy = a_frame(), Policy(method=method)
    sighting = seen(frame, people(PERSON, masks=a_person()))
    redaction = redact(sighting, policy)
    pixels = redaction.pixels.copy()
    pixels[90:150, 50:80] = frame.pixels[90:150, 50:80]  # the legs
    bad = replace(redaction, pixels=pixels)
    assert refused(an_event(frame), sighting, bad, policy) == "not_redacted"


def test_somebody_whose_mask_is_empty_must_be_covered_by_the_box() -> None:
    frame, policy = a_frame(), Policy()
    masks = np.concatenate((a_person(), np.zeros((1, 240, 320), np.bool_)))
    sighting = seen(frame, people(PERSON, OTHER, masks=masks))
    redaction = redact(sighting, policy)
    assert gate(policy).release(an_event(frame), sighting, redaction).body
    pixels = redaction.pixels.copy()
    pixels[60:120, 150:200] = frame.pixels[60:120, 150:200]
    bad = replace(redaction, pixels=pixels)
    assert refused(an_event(frame), sighting, bad, policy) == "not_redacted"
    alone = redact(seen(frame, people(PERSON, masks=a_person())), policy)
    bad = replace(alone, sighting=sighting)
    assert refused(an_event(frame), sighting, bad, policy) == "not_covered"


def test_a_blackout_must_be_black() -> None:
    frame, policy = a_frame(), Policy(blackout=(LEFT,), format="png")
    for looked_at, passes in ((blackout(frame, policy.blackout), True), (frame, False)):
        sighting = seen(looked_at, people(OTHER))
        redaction = redact(sighting, policy)
        if passes:
            parcel = gate(policy).release(an_event(frame), sighting, redaction)
            assert not shown(parcel)[:, :96].any()
        else:
            assert refused(an_event(frame), sighting, redaction, policy) == "blackout_missing"


@settings(deadline=None)
@given(
    polygon=st.lists(st.tuples(*[st.floats(0, 1)] * 2), min_size=3, max_size=6).map(tuple),
    size=st.tuples(st.integers(1, 150), st.integers(1, 150)),
)
def test_whatever_is_blacked_out_passes(
    polygon: tuple[tuple[float, float], ...], size: tuple[int, int]
) -> None:
    frame, policy = a_frame(size=size), Policy(blackout=(polygon,))
    sighting = seen(blackout(frame, policy.blackout), Detections.none())
    assert gate(policy).release(an_event(frame), sighting, redact(sighting, policy)).body
