from __future__ import annotations

from typing import Any

import pytest

from edge.config.privacy import Margin, Policy, PrivacyConfig, SourcePrivacy

TRIANGLE = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))


def test_what_a_source_leaves_out_is_global() -> None:
    policy = PrivacyConfig(method="fill", fill_colour="#102030", quality=70).for_source(
        SourcePrivacy()
    )
    assert policy.method == "fill"
    assert policy.fill_colour == (0x30, 0x20, 0x10)  # blue, green, red
    assert policy.quality == 70
    assert policy.blackout == ()


def test_what_a_source_says_holds() -> None:
    own = SourcePrivacy(method="blur", margin=Margin(top=0.5), blackout=(TRIANGLE,))
    policy = PrivacyConfig(method="fill").for_source(own)
    assert policy.method == "blur"
    assert policy.margin.top == 0.5
    assert policy.blackout == (TRIANGLE,)


@pytest.mark.parametrize(
    "other",
    [
        {"method": "blur"},
        {"method": "fill"},
        {"margin": Margin(left=0.2)},
        {"format": "webp"},
        {"quality": 84},
        {"blackout": (TRIANGLE,)},
    ],
)
def test_what_changes_the_picture_changes_the_version(other: dict[str, Any]) -> None:
    assert Policy(**other).version != Policy().version


def test_what_changes_nothing_does_not_change_the_version() -> None:
    assert Policy(fill_colour=(1, 2, 3)).version == Policy().version
    assert Policy(format="png", quality=5).version == Policy(format="png").version
    filled = [
        Policy(method="fill", fill_colour=colour).version for colour in ((0, 0, 0), (1, 1, 1))
    ]
    assert filled[0] != filled[1]


def test_the_version_is_short_and_the_same_on_every_box() -> None:
    assert Policy().version == Policy().version
    assert len(Policy().version) == 12
    assert int(Policy().version, 16) >= 0
