from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest

from edge.catalog.installed import Catalog, Damaged, Installed
from edge.catalog.wishes import Wishes
from edge.errors import PartFailed
from edge.stages.engines.onnx import OnnxEngine
from tests.catalog import tiny

BODY = tiny.network().SerializeToString(deterministic=True)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "models", manifests={"tiny": tiny.manifest(BODY)})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "any name.onnx"
    path.write_bytes(BODY)
    return path


@pytest.fixture
def installed(catalog: Catalog, file: Path) -> Installed:
    return catalog.import_file(file)


def test_a_file_is_known_by_its_digest_whatever_it_is_called(
    catalog: Catalog, installed: Installed
) -> None:
    assert installed.id == "tiny"
    assert installed.manifest == catalog.manifests["tiny"]
    assert catalog.find("tiny") == installed
    assert catalog.ls() == [installed]
    engine = OnnxEngine.open(installed.path)
    assert engine.info.digest == installed.digest
    assert len(engine.infer(tiny.picture(), [None])[0]) == 1


def test_nothing_is_installed_where_nothing_was_imported(catalog: Catalog) -> None:
    assert catalog.find("tiny") is None
    assert catalog.ls() == []
    assert not catalog.path.exists()


@pytest.mark.parametrize("name", ["..", "../models/tiny", "", "/etc", "a/b"])
def test_an_id_never_leads_out_of_the_directory(
    catalog: Catalog, installed: Installed, name: str
) -> None:
    assert installed.path.exists()
    assert catalog.find(name) is None


def test_importing_again_replaces_and_leaves_nothing_beside(
    catalog: Catalog, installed: Installed, file: Path
) -> None:
    again = catalog.import_file(file)
    assert again.digest == installed.digest
    assert [path.name for path in catalog.path.iterdir()] == ["tiny"]


def test_a_damaged_file_is_named_and_never_handed_out(
    catalog: Catalog, installed: Installed
) -> None:
    body = bytearray(installed.path.read_bytes())
    body[len(body) // 2] ^= 1
    installed.path.write_bytes(body)
    with pytest.raises(PartFailed, match="tiny is damaged") as caught:
        catalog.find("tiny")
    assert "edge model pull tiny" in caught.value.hint
    (entry,) = catalog.ls()
    assert isinstance(entry, Damaged)


@pytest.mark.parametrize("text", ["", "{}", '{"manifest": 3}', "[]"])
def test_damaged_facts_are_named_too(catalog: Catalog, installed: Installed, text: str) -> None:
    (installed.path.parent / "model.json").write_text(text)
    with pytest.raises(PartFailed, match="damaged"):
        catalog.find("tiny")


def test_a_missing_graph_is_damage_too(catalog: Catalog, installed: Installed) -> None:
    installed.path.unlink()
    with pytest.raises(PartFailed, match="damaged"):
        catalog.find("tiny")


def test_a_graph_of_an_older_form_is_built_again_from_its_source(
    catalog: Catalog, installed: Installed
) -> None:
    facts = installed.path.parent / "model.json"
    old = json.loads(facts.read_text()) | {"form": 0, "digest": "0" * 64}
    facts.write_text(json.dumps(old))
    installed.path.write_bytes(b"an older form")
    found = catalog.find("tiny")
    assert found is not None
    assert found.digest == installed.digest
    assert json.loads(facts.read_text())["form"] > 0


def test_a_killed_import_leaves_no_model_and_is_swept_away_later(
    catalog: Catalog, installed: Installed, file: Path
) -> None:
    left = catalog.path / ".new-tiny-0123"
    left.mkdir()
    (left / "model.onnx").write_bytes(b"half")
    assert catalog.ls() == [installed]
    catalog.import_file(file)
    assert left.exists()  # it may be in use now
    hours_ago = time.time() - 7200
    os.utime(left, (hours_ago, hours_ago))
    catalog.import_file(file)
    assert not left.exists()


def test_a_model_may_be_removed(catalog: Catalog, installed: Installed) -> None:
    assert catalog.remove(installed.id)
    assert catalog.find(installed.id) is None
    assert not catalog.remove(installed.id)


def test_a_file_over_the_limit_is_refused(tmp_path: Path, file: Path) -> None:
    with pytest.raises(PartFailed, match="at most 10"):
        Catalog(tmp_path / "models", max_bytes=10, manifests={}).import_file(file)


def test_a_file_that_is_not_there_is_named(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(PartFailed, match="No such file"):
        catalog.import_file(tmp_path / "gone.onnx")


def test_a_models_directory_that_cannot_be_written_is_named(tmp_path: Path, file: Path) -> None:
    (tmp_path / "models").write_text("a file is in the way")
    with pytest.raises(PartFailed, match="cannot be written"):
        Catalog(tmp_path / "models", manifests={}).import_file(file)


def unknown(tmp_path: Path, model: onnx.ModelProto, name: str = "Site Model.onnx") -> Path:
    path = tmp_path / name
    onnx.save(model, path)
    return path


def test_an_unknown_file_is_told_by_its_outputs_where_only_one_family_fits(
    catalog: Catalog, tmp_path: Path
) -> None:
    installed = catalog.import_file(unknown(tmp_path, tiny.network((tiny.Person(share=0.5),))))
    assert installed.id == "site_model"
    assert installed.manifest.family == "v8"
    assert installed.manifest.labels == {"person": 0}
    # as such networks are usually exported
    assert (installed.manifest.input.colour, installed.manifest.input.resize) == (
        "RGB",
        "letterbox",
    )


def test_what_the_importer_says_wins(catalog: Catalog, tmp_path: Path) -> None:
    wishes = Wishes(
        id="mine",
        labels={"worker": 2},
        threshold=0.7,
        input={"colour": "BGR", "scale": 1.0, "resize": "stretch"},
    )
    installed = catalog.import_file(unknown(tmp_path, tiny.network(classes=5)), wishes)
    assert installed.id == "mine"
    assert installed.manifest.labels == {"worker": 2}
    assert installed.manifest.threshold == 0.7
    assert installed.manifest.input.colour == "BGR"


def test_a_retrained_model_may_be_fed_like_a_known_one(catalog: Catalog, tmp_path: Path) -> None:
    path = unknown(tmp_path, tiny.network((tiny.Person(share=0.9),)))
    installed = catalog.import_file(path, Wishes(like="tiny"))
    assert installed.id == "site_model"
    assert installed.manifest.input == catalog.manifests["tiny"].input
    assert installed.manifest.sha256 != catalog.manifests["tiny"].sha256
    with pytest.raises(PartFailed, match="known are tiny"):
        catalog.import_file(path, Wishes(like="huge"))


def test_an_open_question_says_what_was_found_and_what_to_say(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = unknown(tmp_path, tiny.network(classes=5))
    with pytest.raises(PartFailed, match="5 classes") as caught:
        catalog.import_file(path)
    assert "--label" in caught.value.hint
    with pytest.raises(PartFailed, match=r"not a picodet network.*found 1 outputs"):
        catalog.import_file(path, Wishes(family="picodet"))
    with pytest.raises(PartFailed, match="there are picodet, nanodet"):
        catalog.import_file(path, Wishes(family="resnet"))


def test_a_network_that_no_family_fits_is_described(catalog: Catalog, tmp_path: Path) -> None:
    model = tiny.network()
    model.graph.output[0].name = "flat"
    model.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(PartFailed, match=r"none fits.*flat \[\?, 105, 1, 1\]") as caught:
        catalog.import_file(unknown(tmp_path, model))
    assert "end_to_end: boxes [k, 4]" in caught.value.hint


def test_an_open_input_size_must_be_said(catalog: Catalog, tmp_path: Path) -> None:
    model = tiny.network()
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_param = "side"
    path = unknown(tmp_path, model)
    with pytest.raises(PartFailed, match="leaves its input size open") as caught:
        catalog.import_file(path)
    assert "--input" in caught.value.hint
    assert catalog.import_file(path, Wishes(size=(32, 32))).manifest.input.size == (32, 32)


def _external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def _strange(model: onnx.ModelProto) -> None:
    model.graph.node[2].domain = "com.example"


def _imported(model: onnx.ModelProto) -> None:
    model.metadata_props.add(key="edge.canonical", value="1")


def _empty(model: onnx.ModelProto) -> None:
    model.ClearField("graph")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_external, "weights in other files"),
        (_strange, "operators outside the ONNX standard: GlobalAveragePool"),
        (_imported, "was imported already"),
        (_empty, "holds no network"),
    ],
)
def test_files_that_cannot_or_must_not_be_used_are_named(
    catalog: Catalog, tmp_path: Path, spoil: object, says: str
) -> None:
    model = tiny.network()
    assert callable(spoil)
    spoil(model)
    path = tmp_path / "bad.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(PartFailed, match=says):
        catalog.import_file(path)
    assert catalog.ls() == []


@pytest.mark.parametrize("body", [b"", b"not a model", BODY[: len(BODY) // 2], b"\x00" * 100])
def test_a_file_that_is_not_onnx_or_cut_off_is_named(
    catalog: Catalog, tmp_path: Path, body: bytes
) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(body)
    with pytest.raises(PartFailed, match=r"bad\.onnx is not an ONNX file"):
        catalog.import_file(path)


def test_finding_a_model_loads_nothing_heavy() -> None:
    """A cold start waits for every import."""
    code = (
        "import sys, pathlib\n"
        "from edge.catalog.installed import Catalog\n"
        "Catalog(pathlib.Path('/nowhere')).find('tiny')\n"
        "print([name for name in ('onnx', 'onnxruntime', 'aiohttp') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
