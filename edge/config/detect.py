"""Detection: which model looks, and how long it may take."""

from __future__ import annotations

from typing import Literal

from edge.config.section import Section, key
from edge.config.units import Duration, Size


class DetectConfig(Section):
    """``[detect]``."""

    engine: Literal["auto", "tensorrt", "openvino", "onnx", "builtin"] = key(
        "auto",
        "auto: the fastest on this box that agrees with ONNX Runtime, or the built-in safe mode "
        "where no model can be had. tensorrt, openvino, onnx: this one, or nothing; tensorrt "
        "is served by ONNX Runtime while it is built. builtin: safe mode on purpose.",
    )
    model: str = key("picodet_s_416", "Id of an installed model (edge model ls).")
    threshold: float | None = key(
        None,
        "Scores below are not people. Left out: the model's own. Lower covers more.",
        ge=0.01,
        le=0.99,
    )
    workers: int = key(
        0,
        "Threads that carry pictures; 0: as many as the cores, and max_batch more while the GPU "
        "looks.",
        ge=0,
        le=64,
    )
    max_batch: int = key(8, "Pictures that a GPU looks at together at most.", ge=1, le=64)
    max_queue_delay: Duration = key(
        "3ms", "How long a picture waits for others to fill a batch, while the GPU is idle."
    )
    preferred_batch: tuple[int, ...] = key(
        (), "Sizes at which a batch does not wait for more; empty: max_batch alone."
    )
    timeout: Duration = key("10s", "A picture that takes longer is withheld, the engine reopened.")
    still_for: Duration = key(
        "30s",
        "Safe mode: a patch of the picture is shown only after nothing has moved in it for "
        "this long.",
    )
    max_pixels: int = key(
        50_000_000, "Pictures with more pixels are refused by their header.", ge=1
    )


class ModelsConfig(Section):
    """``[models]``: where models are kept, and how they are fetched."""

    path: str = key("", "Directory of installed models; empty: models/ under the state directory.")
    pull: bool = key(True, "Fetch the configured model from its public address if it is missing.")
    pull_timeout: Duration = key("10s", "How long the start waits for a fetch before safe mode.")
    max_bytes: Size = key("500MiB", "A model file larger than this is refused.")
