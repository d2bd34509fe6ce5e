"""The whole building with the real builder and parser of TensorRT-RTX, which need no GPU.

They are those of TensorRT 11, with other tactics. No plan runs here, so what a plan computes is
not shown, only that the real library takes our graphs, our profiles and our calls.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge.app.plan_order import facts_of, order_of
from edge.catalog.engine_form import engine_form, engine_form_of
from edge.catalog.manifest import shipped_manifests
from edge.catalog.plans import Plans
from edge.catalog.quantize import fp16, int8
from edge.catalog.recognise import load
from edge.config.tensorrt import TensorRTConfig
from edge.control.builds import Builds
from edge.engine_status import Build, GpuFacts
from tests.catalog import tiny
from tests.catalog.conftest import Models, Published, models, published

__all__ = ["models", "published"]

SHIPPED = [
    "picodet_s_416",
    "yolox_nano_416",
    "nanodet_m_416",
    "person_detection_0202",
    "light_person_192",
    "fastestdet_352",
]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Return what builds with the real library; skip without it."""
    if importlib.util.find_spec("tensorrt_rtx_bindings") is None:
        pytest.skip("tensorrt-rtx is not installed: pip install -e .[dev]")
    # The package tensorrt_rtx has no wheel, and these are its only two lines.
    package = tmp_path / "tensorrt_rtx"
    package.mkdir()
    lines = ("from tensorrt_rtx_bindings import *", "from tensorrt_rtx_bindings import __version__")
    (package / "__init__.py").write_text("\n".join(lines))
    return Shop(tmp_path)


class Shop:
    """Builds one form after another."""

    def __init__(self, path: Path) -> None:
        self.config = TensorRTConfig(build_timeout="100s", library_path=str(path))
        self.plans = Plans(path / "plans")
        self.told: list[Build] = []
        self.version = importlib.metadata.version("tensorrt_rtx_cu13_bindings")

    async def built(self, form: bytes) -> Build:
        gpu = GpuFacts(
            usable=True,
            device="no GPU",
            capability=(8, 9),
            library="tensorrt_rtx",
            library_version=self.version,
        )
        facts = facts_of("a model", form, gpu, self.config, most=4, usual=2)
        builds = Builds(self.config, self.plans, changed=self.told.append)
        await builds.begin(order_of(facts, form, self.config, self.plans))
        return await builds.over()


async def test_the_real_builder_builds_a_small_network(shop: Shop) -> None:
    form = engine_form(tiny.network(), tiny.manifest()).SerializeToString(deterministic=True)

    end = await shop.built(form)

    assert (end.state, end.reason) == ("done", "")
    (plan,) = shop.plans.ls()
    assert plan.library == f"tensorrt_rtx {shop.version}"
    assert len(shop.plans.read(end.key)) == plan.bytes > 10_000
    shares = [one.share for one in shop.told if one.share is not None]
    assert shares == sorted(shares)


@pytest.mark.slow
@pytest.mark.parametrize("model", SHIPPED)
async def test_the_real_builder_takes_every_model(
    models: Models,
    shop: Shop,
    model: str,
) -> None:
    form = await asyncio.to_thread(engine_form_of, models(model))

    end = await shop.built(form)

    assert (end.state, end.reason) == ("done", "")


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8"])
async def test_the_real_builder_takes_other_precisions(
    published: Published, shop: Shop, precision: str
) -> None:
    manifest = shipped_manifests()["picodet_s_416"]
    network = load(published(manifest.id).read_bytes(), manifest.id)
    width, height = manifest.input.size
    noise = np.random.default_rng(0).integers(0, 256, (20, height, width, 3), np.uint8)
    other = fp16(network, manifest) if precision == "fp16" else int8(network, manifest, [*noise])
    form = engine_form(other, manifest).SerializeToString(deterministic=True)

    end = await shop.built(form)

    assert (end.state, end.reason) == ("done", "")


async def test_what_the_real_parser_refuses_is_told_in_its_words(shop: Shop) -> None:
    model = engine_form(tiny.network(), tiny.manifest())
    model.graph.node[2].op_type = "NoSuchOperator"

    end = await shop.built(model.SerializeToString())

    assert end.state == "failed"
    assert "NoSuchOperator" in end.reason


async def test_what_is_no_graph_is_told_as_such(shop: Shop) -> None:
    end = await shop.built(b"no graph at all")

    assert (end.state, "parse" in end.reason) == ("failed", True)


async def test_a_graph_that_is_no_engine_form_is_refused(shop: Shop) -> None:
    model = engine_form(tiny.network(), tiny.manifest())
    del model.graph.output[2]

    end = await shop.built(model.SerializeToString())

    assert (end.state, "an engine form has" in end.reason) == ("failed", True)


async def test_a_graph_whose_pictures_have_any_size_is_refused(shop: Shop) -> None:
    model = engine_form(tiny.network(), tiny.manifest())
    sides = model.graph.input[0].type.tensor_type.shape.dim
    sides[1].dim_param = "height"
    del model.graph.value_info[:]

    end = await shop.built(onnx_bytes(model))

    assert (end.state, "only the batch may be open" in end.reason) == ("failed", True)


def onnx_bytes(model: onnx.ModelProto) -> bytes:
    body: bytes = model.SerializeToString()
    return body
