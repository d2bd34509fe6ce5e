"""A model in another precision becomes a model of its own, if it sees what its original sees."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from edge.catalog import quantize
from edge.catalog.engine_form import engine_form
from edge.catalog.installed import Catalog, Installed
from edge.catalog.manifest import Manifest, make_manifest
from edge.catalog.parity import CLOSE, EIGHT_BIT, agreement
from edge.catalog.quantize import Precision
from edge.catalog.recognise import load
from edge.contracts import Engine
from edge.engine_status import Agreement
from edge.errors import PartFailed

Pictures = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantised:
    """What came of it."""

    model: Installed
    agreement: Agreement
    #: bytes of the original's file and of the new one
    bytes_before: int
    bytes_after: int


def quantise(
    catalog: Catalog,
    model: str,
    to: Precision,
    pictures: Pictures,
    open_engine: Callable[[Path], Engine],
) -> Quantised:
    """Install ``MODEL_fp16`` or ``MODEL_int8`` beside a model. Blocks for a minute or so.

    The pictures are used by turns: one to find ranges (int8), one to compare; fp16 has no ranges,
    and all compare. ONNX Runtime judges, on the processor: whether a GPU's engine agrees as well
    is asked again when that is built.

    Args:
        catalog: where the model is, and where the new one goes.
        model: id of an installed model.
        to: ``fp16`` or ``int8``.
        pictures: ``(h, w, 3)`` uint8 BGR at the model's input size.
        open_engine: opens a canonical graph (``OnnxEngine.open``).

    Raises:
        PartFailed: nothing was installed; ``reason`` is ``not_installed``, ``quantised_already``,
            ``no_engine_form``, ``few_pictures``, ``not_convertible`` or ``no_parity``.

    """
    installed = _original(catalog, model)
    body = installed.path.with_name("source.onnx").read_bytes()
    for_ranges, compared = ([], pictures) if to == "fp16" else (pictures[::2], pictures[1::2])
    fresh = _in_fewer_bits(load(body, model), installed.manifest, to, for_ranges)
    manifest = _manifest(installed.manifest, to, fresh)
    with tempfile.TemporaryDirectory(prefix="edge-quantise-") as place:
        trial = Catalog(Path(place)).install(fresh, manifest)
        agreed = _compare(installed, trial, to, compared, open_engine)
    if not agreed.passed:
        raise PartFailed(
            f"{manifest.id} does not see what {model} sees, and was not installed: {agreed.text}",
            hint=_hint(to),
            reason="no_parity",
        )
    return Quantised(
        model=catalog.install(fresh, manifest),
        agreement=agreed,
        bytes_before=len(body),
        bytes_after=len(fresh),
    )


def _in_fewer_bits(
    network: onnx.ModelProto, manifest: Manifest, to: Precision, pictures: Pictures
) -> bytes:
    # Fewer bits are for a GPU: what cannot be built for one is refused before the work.
    engine_form(network, manifest)
    if to == "fp16":
        made = quantize.fp16(network, manifest)
    else:
        made = quantize.int8(network, manifest, pictures)
    body: bytes = made.SerializeToString(deterministic=True)
    return body


def _original(catalog: Catalog, model: str) -> Installed:
    installed = catalog.find(model)
    if installed is None:
        raise PartFailed(
            f"{model} is not installed",
            hint=f"edge model pull {model}, or edge model import FILE",
            reason="not_installed",
        )
    kinds = _types(onnx.load(installed.path))
    if kinds & {onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8}:
        raise PartFailed(
            f"{model} has half precision or 8-bit weights already",
            hint="begin with the model in float32",
            reason="quantised_already",
        )
    return installed


def _types(model: onnx.ModelProto) -> set[int]:
    return {tensor.data_type for tensor in model.graph.initializer}


def _compare(
    installed: Installed,
    trial: Installed,
    to: Precision,
    pictures: Pictures,
    open_engine: Callable[[Path], Engine],
) -> Agreement:
    reference = open_engine(installed.path)
    try:
        engine = open_engine(trial.path)
        try:
            return agreement(reference, engine, pictures, CLOSE if to == "fp16" else EIGHT_BIT)
        finally:
            engine.close()
    finally:
        reference.close()


def _manifest(known: Manifest, to: Precision, body: bytes) -> Manifest:
    table = known.model_dump() | {
        "id": f"{known.id}_{to}",
        "about": f"{known.about or known.id}, as {to}".strip(),
        "url": "",
        "sha256": hashlib.sha256(body).hexdigest(),
        "bytes": len(body),
        "cover": None,
    }
    return make_manifest(table, f"what is known of {known.id}_{to}")


def _hint(to: Precision) -> str:
    if to == "fp16":
        return "keep using the model itself"
    return (
        "--to fp16 loses next to nothing; or more pictures of the place, day and night; or another "
        "model: small ones with depthwise convolutions bear 8 bits badly"
    )
