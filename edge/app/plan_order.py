"""What is asked of the builder, and under which key its plan is kept: from what is known here."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from functools import partial
from pathlib import Path

from edge.catalog.plan_facts import PlanFacts, jetson
from edge.catalog.plans import Plans
from edge.config.tensorrt import TensorRTConfig
from edge.control.builds import Order
from edge.engine_status import GpuFacts, Plan
from edge.stages.engines.tensorrt_build import BuildRequest


def facts_of(
    model: str, form: bytes, gpu: GpuFacts, config: TensorRTConfig, *, most: int, usual: int = 0
) -> PlanFacts:
    """Say what the plan of a model on this box depends on; ``.key`` is its name in the cache.

    Args:
        model: its id.
        form: the engine form, serialised.
        gpu: what was found of the GPU and its library.
        config: ``[tensorrt]``.
        most: pictures in a batch at most.
        usual: pictures in a batch for which tactics are chosen; 0: ``most``.

    """
    return PlanFacts(
        model=model,
        graph=hashlib.sha256(form).hexdigest(),
        library=gpu.library,
        library_version=gpu.library_version,
        device=gpu.device,
        capability=gpu.capability,
        most=most,
        usual=min(usual or most, most),
        level=config.level,
        workspace=config.workspace,
        **jetson(),
    )


def order_of(facts: PlanFacts, form: bytes, config: TensorRTConfig, plans: Plans) -> Order:
    """Say what the builder is asked, and how its plan is kept."""
    request = BuildRequest(
        onnx="",
        plan="",
        timing_cache=str(plans.timing(facts)),
        library=facts.library,
        library_version=facts.library_version,
        library_path=config.library_path,
        device=facts.device,
        most=facts.most,
        usual=facts.usual,
        level=facts.level,
        workspace=facts.workspace,
    )
    return Order(
        key=facts.key,
        model=facts.model,
        graph=form,
        request=asdict(request),
        keep=partial(_keep, plans, facts),
    )


def _keep(plans: Plans, facts: PlanFacts, made: Path, seconds: float, words: str) -> Plan:
    return plans.put(facts, made, seconds=seconds, words=words)
