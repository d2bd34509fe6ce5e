"""What a box is built from, as its configuration says: its store, its engines, a demo of it all."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.config.root import Config, state_directory
from edge.config.sources import CameraConfig, FolderConfig, SceneConfig, SourceConfig
from edge.config.store import FolderStoreConfig
from edge.contracts import Engine, Store
from edge.control.engines import EngineChoice
from edge.sinks.folder import FolderStore

if TYPE_CHECKING:
    from edge.catalog.installed import Catalog


def build_store(config: Config) -> Store:
    """Make the store that the configuration names; its libraries are imported only then."""
    if isinstance(config.store, FolderStoreConfig):
        return FolderStore(config.store, parallel=config.outbox.parallel)
    from edge.sinks.s3 import S3Store  # noqa: PLC0415

    return S3Store(config.store, parallel=config.outbox.parallel)


def demo_config(directory: Path) -> Config:
    """Return a configuration that needs nothing: a drawn camera, everything under ``directory``."""
    return Config.model_validate(
        {
            "box": {"site": "demo", "node": "demo", "state": str(directory / "state")},
            "sources": {"building-site": {"kind": "scene"}},
            "store": {"kind": "folder", "path": str(directory / "pictures")},
            "web": {"port": _free_port(8080)},
        }
    )


def _free_port(first: int) -> int:
    """Return the first port from ``first`` on that nobody listens on; 0 lets the system choose."""
    for port in range(first, first + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    return 0


def models_directory(config: Config) -> Path:
    """Return where the models of this box are kept."""
    if config.models.path:
        return Path(config.models.path)
    return state_directory(config.box) / "models"


def with_model(config: Config, model: str) -> Config:
    """Return ``config`` with another model: an id, or an ONNX file, which is imported first.

    Raises:
        PartFailed: the file cannot be imported.

    """
    from edge.catalog.installed import Catalog  # noqa: PLC0415

    if Path(model).suffix == ".onnx":
        model = Catalog(models_directory(config)).import_file(Path(model)).id
    detect = config.detect.model_copy(update={"model": model})
    return config.model_copy(update={"detect": detect})


def catalog_of(config: Config) -> Catalog:
    """Return the models of this box."""
    from edge.catalog.installed import Catalog  # noqa: PLC0415

    return Catalog(models_directory(config), max_bytes=config.models.max_bytes)


def choose_engine(
    config: Config, check: Callable[[Engine, Any], object] = lambda _, __: None
) -> EngineChoice:
    """Introduce the models on this box to the engines that can run them.

    Args:
        config: of the box.
        check: what a trained engine is shown before it is handed out.

    """
    from edge.stages.engines.builtin import BuiltinEngine  # noqa: PLC0415
    from edge.stages.engines.onnx import OnnxEngine  # noqa: PLC0415

    return EngineChoice(
        config.detect,
        config.models,
        models=catalog_of(config),
        onnx=lambda path, threshold: OnnxEngine.open(path, threshold=threshold),
        builtin=BuiltinEngine,
        check=check,
    )


def is_live(config: SourceConfig | None) -> bool:
    """Tell whether a source shows what is now: what it misses it does not bring again."""
    if isinstance(config, FolderConfig):
        return config.mode == "replay"
    return isinstance(config, CameraConfig | SceneConfig)
