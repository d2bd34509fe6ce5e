"""TensorRT: how engines are built for this box's GPU, kept and run."""

from __future__ import annotations

from edge.config.section import Section, key
from edge.config.units import Duration, Size


class TensorRTConfig(Section):
    """``[tensorrt]``. A box without a GPU ignores it."""

    library_path: str = key(
        "",
        "Directory that has the Python packages tensorrt and pycuda, openvino or PyNvVideoCodec, "
        "or libnvjpeg; empty: where Python and the system keep theirs.",
    )
    device: int = key(0, "Which GPU, as the driver counts.", ge=0, le=63)
    build: bool = key(True, "Build an engine where there is none for this GPU and model.")
    build_memory: Size = key("8GiB", "The builder is stopped when it needs more memory than this.")
    build_timeout: Duration = key("1h", "The builder is stopped after this long.")
    workspace: Size = key("1GiB", "GPU memory that the builder may use for a layer's tactics.")
    level: int = key(3, "How hard the builder looks for faster tactics.", ge=0, le=5)
    keep: int = key(4, "Built engines that are kept; the serving and the last good one always are.")
    slots: int = key(2, "Batches on the GPU at once: one is copied while another is looked at.")
    cuda_graphs: bool = key(True, "Record a batch's work once and replay it.")
    max_faults: int = key(
        3, "Faults of the GPU within an hour after which the box looks with its processor.", ge=1
    )
