"""``edge model quantize``: a model in half precision or with 8-bit convolutions, for a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from edge.cli.show import answer
from edge.errors import EdgeError, PartFailed

if TYPE_CHECKING:
    from edge.catalog.installed import Catalog
    from edge.catalog.quantised import Pictures, Quantised
    from edge.catalog.quantize import Precision
    from edge.detections import EngineInfo

_ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
_MOST = 1000


def quantize(
    catalog: Catalog, model_id: str, to: str, calibration: Path | None, *, as_json: bool
) -> None:
    """Install a model in another precision, if it sees what its original sees."""
    from edge.catalog.quantised import quantise
    from edge.stages.engines.onnx import OnnxEngine

    if to == "int8" and calibration is None:
        raise click.UsageError(
            "--to int8 needs --calibration DIR: pictures of the place, with and without people"
        )
    engine = OnnxEngine.open(_path(catalog, model_id))
    info = engine.info
    engine.close()
    pictures = [] if calibration is None else _pictures(calibration, info)
    if to == "fp16" or not pictures:
        pictures = [*pictures, *_drawn(info)]
    done = quantise(catalog, model_id, cast("Precision", to), pictures, OnnxEngine.open)
    answer(_facts(done), _text(done, model_id), as_json=as_json)


def _path(catalog: Catalog, model_id: str) -> Path:
    installed = catalog.find(model_id)
    if installed is None:
        raise EdgeError(
            f"{model_id} is not installed",
            hint=f"edge model pull {model_id}, or edge model import FILE",
            reason="not_installed",
        )
    return installed.path


def _pictures(folder: Path, info: EngineInfo) -> Pictures:
    """Read the pictures of a folder and what is under it, at the model's input size."""
    import cv2
    import numpy as np

    from edge.stages.detect import prepare

    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _ENDINGS)[:_MOST]
    found, faulty = [], []
    for path in files:
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is None:
            faulty.append(path.name)
        else:
            found.append(prepare(np.asarray(pixels, np.uint8), info)[0])
    for name in faulty:
        click.echo(f"left out: {name} is no picture that can be read", err=True)
    if not found:
        raise PartFailed(
            f"{folder} has no pictures: expected {', '.join(sorted(_ENDINGS))}",
            reason="few_pictures",
        )
    return found


def _drawn(info: EngineInfo) -> Pictures:
    """Draw scenes with people, for a comparison that needs no picture of anybody."""
    from edge.app.selftest import drawn
    from edge.stages.detect import prepare

    return [prepare(pixels, info)[0] for pixels, _ in drawn(range(0, 40, 2))]


def _facts(done: Quantised) -> dict[str, object]:
    agreed = done.agreement
    return {
        "id": done.model.id,
        "path": str(done.model.path),
        "digest": done.model.digest,
        "bytes_before": done.bytes_before,
        "bytes_after": done.bytes_after,
        "agreement": {
            "passed": agreed.passed,
            "text": agreed.text,
            "pictures": agreed.pictures,
            "compared": agreed.compared,
            "found": agreed.found,
            "score": agreed.score,
            "overlap": agreed.overlap,
        },
    }


def _text(done: Quantised, model_id: str) -> str:
    return (
        f"{done.model.id}: installed ({done.bytes_before / 1e6:.1f} MB became "
        f"{done.bytes_after / 1e6:.1f} MB)\n"
        f"  against {model_id}: {done.agreement.text}\n"
        "  It is meant for TensorRT; on a processor it is slower than its original.\n"
        f'  To use it: model = "{done.model.id}" in [detect]'
    )
