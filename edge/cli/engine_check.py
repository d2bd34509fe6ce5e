"""``edge engine check``: what this machine has for engines, and exactly what it lacks."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from edge.cli.engine_show import table
from edge.cli.show import answer, config_option, json_option
from edge.engine_status import GpuFacts
from edge.web.words import size

LACKS = 4
"""Exit code where no engine can run on a GPU here: a dependency is missing."""
_CPU = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


@click.command()
@click.option("--device", type=click.IntRange(0, 63), help="Which GPU. Else the configuration's.")
@config_option
@json_option
@click.pass_context
def check(ctx: click.Context, *, device: int | None, config: Path | None, as_json: bool) -> None:
    """Say what this machine has for engines, and what it lacks. It needs no running box.

    The exit code is 0 where an engine can be built for the GPU and run there, else 4.
    """
    from edge.cli.infer_plan import Asked
    from edge.stages.engines.tensorrt_probe import probe
    from edge.stages.engines.tensorrt_runtime import reach

    wanted = Asked(config=config).settings().tensorrt
    facts = probe(wanted.library_path, wanted.device if device is None else device)
    if wanted.library_path:
        reach(wanted.library_path)
    installed = {name: _version(name) for name in _CPU}
    can = fit(facts)
    data = {"fit": can, "gpu": asdict(facts), "processor": installed}
    answer(data, "\n".join(lines(facts, installed)), as_json=as_json)
    if not can:
        ctx.exit(LACKS)


def fit(gpu: GpuFacts) -> bool:
    """Tell whether an engine can be built for the GPU and run there."""
    return gpu.usable and bool(gpu.library and gpu.pycuda)


def lines(gpu: GpuFacts, installed: dict[str, str]) -> list[str]:
    """Return what there is as a table, and below it what is missing first."""
    rows = [*_gpu(gpu), *((word, installed[name] or "none") for name, word in _CPU.items())]
    found = list(table(rows))
    if fit(gpu):
        return [*found, "", "engines can be built for this GPU: edge engine build"]
    found += ["", f"no engine can run on a GPU here: {gpu.lacks or 'see none above'}"]
    if gpu.hint:
        found.append(f"  hint: {gpu.hint}")
    return [*found, "the processor looks; that needs nothing of this"]


def _gpu(gpu: GpuFacts) -> list[tuple[str, str]]:
    """Return the GPU, its driver and libraries as names and values."""
    rows = [("GPU", gpu.device or "none")]
    if gpu.device:
        shared = ", shared with the processor" if gpu.integrated else ""
        rows += [
            ("compute capability", ".".join(map(str, gpu.capability))),
            ("memory", f"{size(gpu.memory)}{shared}"),
        ]
    library = " ".join(part for part in (gpu.library, gpu.library_version) if part)
    rows += [
        ("driver", f"for CUDA {gpu.driver}" if gpu.driver else "none that answers"),
        ("library", library or "none (tensorrt, or tensorrt_rtx)"),
        ("pycuda", gpu.pycuda or "none"),
    ]
    return rows


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
