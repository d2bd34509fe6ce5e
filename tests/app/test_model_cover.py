"""From afar no model takes another one's place that may cover fewer people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest

from edge.app.box import Box
from edge.app.config import BoxConfigured, begin
from edge.app.model_cover import cover, covers_less
from edge.catalog.installed import Catalog
from edge.catalog.wishes import Wishes
from edge.config.load import parsed
from edge.config.root import Config
from tests.catalog import tiny
from tests.control.commands.conftest import running
from tests.places import shared

LIGHT = "data/models/light_person_192.onnx"


def config(home: Path, model: str, permitted: tuple[str, ...] = (), **detect: Any) -> Config:
    return Config.model_validate(
        {
            "store": {"kind": "folder", "path": str(home)},
            "models": {"path": str(home / "models")},
            "detect": {"model": model, **detect},
            "control": {"models": permitted},
        }
    )


def mine(home: Path) -> str:
    """Install a model that nobody else has."""
    path = home / "mine.onnx"
    onnx.save(tiny.network(), path)
    wishes = Wishes(id="mine", threshold=0.2, input={"resize": "stretch", "colour": "BGR"})
    return Catalog(home / "models").import_file(path, wishes).id


@pytest.mark.parametrize(
    ("model", "now", "why"),
    [
        ("picodet_s_416", "picodet_s_416", ""),
        ("picodet_s_640", "picodet_s_416", ""),
        ("yolox_nano_640_v8", "yolox_nano_640_e2e", ""),
        ("yolox_nano_640_v8", "yolox_nano_640", "covers 73.7% of the people"),
        ("light_person_192", "picodet_s_416", "covers 67.1% of the people, picodet_s_416 82.9%"),
        ("mine", "picodet_s_416", "nobody has measured how many people mine covers"),
        ("picodet_s_640", "mine", "nobody has measured how many people mine covers"),
        ("no_such_model", "picodet_s_416", "nobody has measured"),
        ("mine", "mine", ""),
    ],
)
def test_a_model_that_covers_as_many_as_far_as_is_known_is_not_less(
    tmp_path: Path, model: str, now: str, why: str
) -> None:
    mine(tmp_path)
    found = covers_less(config(tmp_path, model), config(tmp_path, now))
    assert why in found
    assert bool(found) == bool(why)


def test_the_file_permits_models_and_nobody_else_does(tmp_path: Path) -> None:
    light, pico = "light_person_192", "picodet_s_416"
    assert not covers_less(config(tmp_path, light), config(tmp_path, pico, (light,)))
    assert covers_less(config(tmp_path, light, (light,)), config(tmp_path, pico))
    # who has safe mode has no model that could be lowered
    assert not covers_less(config(tmp_path, light), config(tmp_path, pico, engine="builtin"))


def test_what_was_measured_holds_at_the_models_own_threshold_or_below(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "models")
    for threshold, expected in ((None, 0.829), (0.1, 0.829), (0.31, 0.829), (0.5, None)):
        given = config(tmp_path, "picodet_s_416", threshold=threshold)
        assert cover(catalog, given) == expected


def test_a_file_that_goes_by_a_shipped_models_name_is_not_that_model(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    onnx.save(tiny.network(), path)
    wishes = Wishes(id="picodet_s_416", input={"resize": "stretch", "colour": "BGR"})
    catalog = Catalog(tmp_path / "models")
    catalog.import_file(path, wishes)
    assert cover(catalog, config(tmp_path, "picodet_s_416")) is None


def test_a_shipped_file_is_known_by_another_name_and_not_with_another_preparation(
    tmp_path: Path,
) -> None:
    catalog = Catalog(tmp_path / "models")
    catalog.import_file(shared(LIGHT), Wishes(id="small"))
    assert cover(catalog, config(tmp_path, "small")) == 0.671
    like = Wishes(id="swapped", like="light_person_192", input={"colour": "RGB"})
    assert catalog.import_file(shared(LIGHT), like).manifest.cover is None
    assert cover(catalog, config(tmp_path, "swapped")) is None


async def test_from_afar_no_weaker_model_is_chosen(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "models")
    for file in (LIGHT, "data/models/originals/picodet_s_416_coco.onnx"):
        catalog.import_file(shared(file))
    detect = {"engine": "onnx", "model": "picodet_s_416", "workers": 1}
    async with running(tmp_path, detect=detect) as it:
        for channel in ("mqtt", "http"):
            reply = await it.say("model.use", channel, model="light_person_192")
            assert reply.code == "forbidden_remote"
            assert "covers 67.1% of the people" in reply.message
            used = await it.does("model.use", channel, model="picodet_s_416")
            assert used["model"] == "picodet_s_416"
        used = await it.does("model.use", model="light_person_192")
        assert used["model"] == "light_person_192"
    permitted = {"models": ["light_person_192"]}
    async with running(tmp_path, detect=detect, control=permitted) as it:
        used = await it.does("model.use", "mqtt", model="light_person_192")
        assert used["model"] == "light_person_192"


def test_no_configuration_from_afar_chooses_a_weaker_model(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    text = (
        f'[box]\nsite = "s"\nnode = "n"\nstate = "{tmp_path}/state"\n'
        f'[store]\nkind = "folder"\npath = "{tmp_path}/out"\n'
    )
    path.write_text(text)
    begun = begin(path)
    box = Box(begun.loaded.config, path=path, beginning=begun.beginning)
    afar = BoxConfigured(box, path)

    def forbidden(model: str) -> dict[str, str]:
        found = afar.examine(parsed(f'{text}[detect]\nmodel = "{model}"\n', "it"))
        return {fault["path"]: fault["message"] for fault in found.faults}

    assert forbidden("picodet_s_640") == {}
    weaker = forbidden("light_person_192")
    assert weaker.keys() == {"detect.model"}
    assert "covers 67.1% of the people" in weaker["detect.model"]
    text += '[control]\nmodels = ["light_person_192"]\n'
    assert forbidden("light_person_192").keys() == {"control", "detect.model"}
