"""What a source is made of, by its kind. The libraries that a kind needs are imported only then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.config.sources import BucketConfig, CameraConfig, FolderConfig, SceneConfig, SourceConfig
from edge.contracts import Source

if TYPE_CHECKING:
    from edge.app.box import Box


def build_source(box: Box, name: str, config: SourceConfig) -> Source:
    """Make the source that a configuration names."""
    match config:
        case CameraConfig():
            from edge.sources.camera import Camera  # noqa: PLC0415
            from edge.sources.gpu_ways import Gpu  # noqa: PLC0415

            gpu = box.config.tensorrt
            return Camera(
                name,
                config,
                metrics=box.metrics,
                origin=box.origin,
                wanted=box.energy.wanted(name, box.lane_policy),
                gpu=Gpu(gpu.library_path, gpu.device),
            )
        case SceneConfig():
            from edge.sources.scene import Scene  # noqa: PLC0415

            return Scene(name, config, metrics=box.metrics, origin=box.origin)
        case BucketConfig():
            return box.buckets.source(name, config)
        case FolderConfig():
            from edge.sources.folder import Folder  # noqa: PLC0415

            return Folder(
                name,
                config,
                metrics=box.metrics,
                origin=box.origin,
                known=box.outbox.knows,
            )


def is_camera(box: Box, name: str) -> bool:
    """Tell whether a source asks by itself which of its frames the cap on power leaves."""
    return isinstance(box.sources.configs.get(name), CameraConfig)
