from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.catalog.families.known import FAMILIES
from edge.catalog.manifest import Manifest, read_manifest, shipped_manifests
from edge.config.detect import DetectConfig
from edge.errors import PartFailed
from tests.places import ROOT, shared

GOOD = (ROOT / "models" / "picodet_s_416.toml").read_text(encoding="utf-8")


def test_every_shipped_manifest_is_whole_and_its_family_is_known() -> None:
    manifests = shipped_manifests()
    assert {one.family for one in manifests.values()} == set(FAMILIES)
    assert DetectConfig().model in manifests
    digests = [one.sha256 for one in manifests.values()]
    assert len(set(digests)) == len(digests)


def test_the_default_model_can_be_fetched_and_says_its_licence() -> None:
    default = shipped_manifests()[DetectConfig().model]
    assert default.url.startswith("https://")
    assert default.licence == "Apache-2.0"


def test_families_have_the_same_names_in_manifests_and_in_code() -> None:
    allowed = Manifest.model_fields["family"].annotation
    assert set(getattr(allowed, "__args__", ())) == set(FAMILIES)


def test_every_fault_is_named_at_once_with_what_was_expected() -> None:
    bad = (
        GOOD.replace("threshold = 0.31", "threshold = 7")
        .replace('colour = "RGB"', 'colour = "GBR"')
        .replace("width = 416", "width = 4")
        .replace('licence = "Apache-2.0"', 'license = "Apache-2.0"')
    )
    with pytest.raises(PartFailed) as caught:
        read_manifest(bad, "bad.toml")
    text = str(caught.value)
    assert "threshold: input should be less than or equal to 0.99, got 7" in text
    assert "input.colour: input should be 'RGB' or 'BGR', got 'GBR'" in text
    assert "input.width: input should be greater than or equal to 32, got 4" in text
    assert "license: extra inputs are not permitted" in text


def test_a_division_by_zero_is_seen_beforehand() -> None:
    with pytest.raises(PartFailed, match="not 0"):
        read_manifest(GOOD.replace("std = [0.229,", "std = [0.0,"), "bad.toml")


def test_what_is_not_toml_is_named() -> None:
    with pytest.raises(PartFailed, match=r"bad\.toml is not TOML"):
        read_manifest("id = ", "bad.toml")


def test_a_manifest_under_another_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(PartFailed, match="expected 'other'"):
        shipped_manifests(tmp_path)


@pytest.mark.parametrize("name", ["../evil", "Upper", "", "a/b", ".hidden"])
def test_an_id_cannot_leave_the_models_directory(name: str) -> None:
    with pytest.raises(PartFailed, match="id:"):
        read_manifest(GOOD.replace('id = "picodet_s_416"', f'id = "{name}"'), "bad.toml")


FACTS = {
    "picodet_s_416": "picodet_s_dyn",
    "picodet_s_640": "picodet_s_dyn",
    "yolox_nano_416": "yolox_nano_dyn",
    "yolox_nano_640": "yolox_nano_dyn",
    "yolox_nano_640_v8": "yolox_nano_640_v8layout",
    "yolox_nano_640_e2e": "yolox_nano_640_e2e_nms",
    "nanodet_m_416": "nanodet_m_416",
    "person_detection_0202": "person-detection-0202_512",
    "person_detection_retail_0013": "person-detection-retail-0013_320x544",
    "light_person_192": "light_person_192",
    "fastestdet_352": "fastestdet_352",
}


def test_every_manifest_feeds_its_model_as_its_facts_say() -> None:
    facts = json.loads(shared("data/models/models.json").read_text(encoding="utf-8"))
    manifests = shipped_manifests()
    assert set(manifests) == set(FACTS)
    for name, manifest in manifests.items():
        fed = facts[f"{FACTS[name]}.onnx"]["input"]
        assert fed["colour"].startswith(manifest.input.colour), name
        assert fed["resize"].lower().startswith(manifest.input.resize), name
        raw = (manifest.input.scale, manifest.input.mean, manifest.input.std) == (
            1.0,
            (0,) * 3,
            (1,) * 3,
        )
        assert raw == fed["value"].startswith("raw"), name
