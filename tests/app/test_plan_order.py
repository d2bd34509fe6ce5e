"""The whole building with the real builder and parser of TensorRT-RTX, which need no GPU.

They are those of TensorRT 11, with other tactics. No plan runs here, so what a plan computes is
not shown, only that the real library takes our graphs, our profiles and our calls.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
from pathlib import Path

import onnx
import pytest

from edge.app.plan_order import facts_of, order_of
from edge.catalog.engine_form import engine_form, engine_form_of
from edge.catalog.plans import Plans
from edge.config.tensorrt import TensorRTConfig
from edge.control.builds import Builds
from edge.engine_status import Build, GpuFacts
from tests.catalog import tiny
from tests.catalog.conftest import Models, models, published

__all__ = ["models", "published"]

SHIPPED = [
    "picodet_s_416",
    "yolox_nano_416",
    "nanodet_m_416",
    "person_detection_0202",
    "light_person_192",
    "fastestdet_352",
]
CONFIG = TensorRTConfig(build_timeout="100s")


def facts_of_rtx() -> GpuFacts:
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt-rtx is not installed: pip install -e .[dev]")
    return GpuFacts(
        usable=True,
        device="no GPU",
        capability=(8, 9),
        library="tensorrt_rtx",
        library_version=importlib.metadata.version("tensorrt_rtx"),
    )


async def built(form: bytes, plans: Plans, told: list[Build]) -> Build:
    facts = facts_of("a model", form, facts_of_rtx(), CONFIG, most=4, usual=2)
    builds = Builds(CONFIG, plans, changed=told.append)
    await builds.begin(order_of(facts, form, CONFIG, plans))
    return await builds.over()


async def test_the_real_builder_builds_a_small_network(tmp_path: Path) -> None:
    plans, told = Plans(tmp_path / "plans"), list[Build]()
    form = engine_form(tiny.network(), tiny.manifest()).SerializeToString(deterministic=True)

    end = await built(form, plans, told)

    assert (end.state, end.reason) == ("done", "")
    (plan,) = plans.ls()
    assert plan.library == f"tensorrt_rtx {facts_of_rtx().library_version}"
    assert len(plans.read(end.key)) == plan.bytes > 10_000
    shares = [one.share for one in told if one.share is not None]
    assert shares == sorted(shares)


@pytest.mark.slow
@pytest.mark.parametrize("model", SHIPPED)
async def test_the_real_builder_takes_every_model(
    models: Models,
    tmp_path: Path,
    model: str,
) -> None:
    form = await asyncio.to_thread(engine_form_of, models(model))

    end = await built(form, Plans(tmp_path / "plans"), [])

    assert (end.state, end.reason) == ("done", "")


async def test_what_the_real_parser_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    model = engine_form(tiny.network(), tiny.manifest())
    model.graph.node[2].op_type = "NoSuchOperator"

    end = await built(model.SerializeToString(), Plans(tmp_path / "plans"), [])

    assert end.state == "failed"
    assert "NoSuchOperator" in end.reason


async def test_what_is_no_graph_is_told_as_such(tmp_path: Path) -> None:
    end = await built(b"no graph at all", Plans(tmp_path / "plans"), [])

    assert (end.state, "parse" in end.reason) == ("failed", True)


async def test_a_graph_that_is_no_engine_form_is_refused(tmp_path: Path) -> None:
    model = engine_form(tiny.network(), tiny.manifest())
    del model.graph.output[2]

    end = await built(model.SerializeToString(), Plans(tmp_path / "plans"), [])

    assert (end.state, "an engine form has" in end.reason) == ("failed", True)


async def test_a_graph_whose_pictures_have_any_size_is_refused(tmp_path: Path) -> None:
    model = engine_form(tiny.network(), tiny.manifest())
    sides = model.graph.input[0].type.tensor_type.shape.dim
    sides[1].dim_param = "height"
    del model.graph.value_info[:]

    end = await built(onnx_bytes(model), Plans(tmp_path / "plans"), [])

    assert (end.state, "only the batch may be open" in end.reason) == ("failed", True)


def onnx_bytes(model: onnx.ModelProto) -> bytes:
    body: bytes = model.SerializeToString()
    return body
