"""Doctor: the parts that the configuration names. Model, store, cameras, folders."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from concurrent.futures import Executor
from pathlib import Path

from edge.cli.doctor import Check, Finding, Look, in_thread
from edge.config.root import Config, state_directory
from edge.config.sources import BucketConfig, CameraConfig, FolderConfig, SourceConfig
from edge.config.store import FolderStoreConfig, S3StoreConfig
from edge.config.tensorrt import TensorRTConfig
from edge.contracts import Source, SourceStatus
from edge.errors import EdgeError, PartFailed

_MOST_WAIT = 12.0
"""Seconds that a camera may take to its first frame, whatever its own timeouts say."""
_WATCHED = 1.5
"""Seconds over which frames a second are counted."""
_LOOK_EVERY = 0.1


def part_checks(config: Config) -> list[Check]:
    """Return a check for the model, the store, each source, and what these need."""
    checks: list[Check] = [("model", in_thread(lambda: model(config)))]
    store = config.store
    if isinstance(store, FolderStoreConfig):
        path = Path(store.path)
        checks.append(("store", in_thread(lambda: folder_store(path))))
    else:
        checks.append(("store", _bucket_look(store)))
    encrypted = [
        name
        for name, source in config.sources.items()
        if isinstance(source, CameraConfig)
        and source.url.reveal().lower().startswith(("rtsps://", "https://"))
    ]
    if encrypted:
        checks.append(("ffmpeg", in_thread(lambda: ffmpeg(encrypted))))
    if config.privacy.encoder == "gpu":
        checks.append(("encoder", in_thread(lambda: encoder(config))))
    return checks + [
        (f"source {name}", _source_look(name, source, config))
        for name, source in config.sources.items()
    ]


def model(config: Config) -> Finding:
    """Look whether the model is installed, loads and answers."""
    from edge.catalog.check import check
    from edge.catalog.installed import Catalog
    from edge.stages.engines.onnx import OnnxEngine

    if config.detect.engine == "builtin":
        return Finding(
            name="model",
            state="warn",
            text="safe mode on purpose: what moves is covered, still pictures are withheld",
            hint='set detect.engine = "auto" for a trained model',
        )
    wanted = config.detect.model
    path = config.models.path or state_directory(config.box) / "models"
    catalog = Catalog(Path(path), max_bytes=config.models.max_bytes)
    try:
        report = check(catalog, wanted, OnnxEngine.open)
    except PartFailed as error:
        missing = error.reason == "not_installed" and (
            config.models.pull or config.detect.engine == "auto"
        )
        if not missing:
            return Finding.of("model", error)
        then = "Edge will try to fetch it" if config.models.pull else "Edge will start in safe mode"
        return Finding(
            name="model", state="warn", text=f"{error} in {path}; {then}", hint=error.hint
        )
    return Finding(
        name="model", state="ok", text=f"{wanted}, {report.milliseconds:.0f} ms a picture here"
    )


def encoder(config: Config) -> Finding:
    """Let the GPU encode what the gate shows it, and compare."""
    from edge.privacy.jpeg import CheckedJpeg
    from edge.stages.kernels.jpeg import GpuJpeg

    gpu = config.tensorrt
    try:
        with contextlib.closing(GpuJpeg(gpu.library_path, gpu.device)) as opened:
            CheckedJpeg(opened).show_itself()
            text = f"{opened.name} encodes as OpenCV does"
    except PartFailed as error:
        text = f"pictures are encoded by the processor: {error}"
        return Finding(name="encoder", state="warn", text=text, hint=error.hint)
    return Finding(name="encoder", state="ok", text=text)


def folder_store(path: Path) -> Finding:
    """Look whether the store's directory takes files; a missing one is not made here."""
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".edge-doctor-") as probe:
            probe.write(b"edge doctor")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return Finding(
            name="store",
            state="fail",
            text=f"cannot write to {there}: {error.strerror}",
            hint=f"is its disk or share mounted and not full? May this user write to {there}?",
        )
    new = "" if there == path else " (not there yet; it will be made)"
    return Finding(name="store", state="ok", text=f"folder {path}{new}, written and removed")


def _bucket_look(config: S3StoreConfig) -> Look:
    async def look(_: Executor) -> Finding:
        from edge.sinks.s3 import S3Store

        store = S3Store(config, parallel=1)
        where = store.describe()["where"]
        try:
            await store.open()
        except EdgeError as error:
            return Finding.of("store", error)
        finally:
            await store.close()
        return Finding(name="store", state="ok", text=f"bucket {where} opens")

    return look


def ffmpeg(cameras: list[str]) -> Finding:
    """Look whether ffmpeg is there, which reads encrypted cameras."""
    found = shutil.which("ffmpeg")
    if found:
        return Finding(name="ffmpeg", state="ok", text=found)
    return Finding(
        name="ffmpeg",
        state="fail",
        text=f"is missing; it reads the encrypted cameras {', '.join(cameras)}",
        hint="apt-get install --no-install-recommends ffmpeg",
    )


def _source_look(name: str, source: SourceConfig, config: Config) -> Look:
    if not source.enabled:
        return _known(Finding(name=f"source {name}", state="ok", text="disabled"))
    if isinstance(source, CameraConfig):
        return lambda _: camera(name, source, config.tensorrt)
    if isinstance(source, FolderConfig):
        return in_thread(lambda: folder(name, source))
    if isinstance(source, BucketConfig):
        return lambda _: bucket_source(name, source)
    return _known(Finding(name=f"source {name}", state="ok", text="a drawn scene"))


def _known(finding: Finding) -> Look:
    async def look(_: Executor) -> Finding:
        return finding

    return look


async def bucket_source(name: str, config: BucketConfig) -> Finding:
    """List the beginning of a bucket."""
    from edge.sources.buckets.objects import BucketObjects

    objects = BucketObjects(config)
    many = 0
    try:
        async for page in objects.list():
            many = len(page)
            break
    except EdgeError as error:
        return Finding(name=f"source {name}", state="fail", text=str(error), hint=error.hint)
    finally:
        await objects.close()
    text = f"bucket {config.bucket}, {many} pictures on its first page, via {config.via}"
    return Finding(name=f"source {name}", state="ok", text=text)


async def camera(name: str, config: CameraConfig, gpu: TensorRTConfig) -> Finding:
    """Open a camera, and watch its frames for a moment."""
    from edge.ops.metrics import Metrics
    from edge.sources.camera import Camera
    from edge.sources.gpu_ways import Gpu

    plain = config.model_copy(update={"every": 1, "fps": None, "loop": True, "pace": "real_time"})
    where = Gpu(gpu.library_path, gpu.device)
    source = Camera(name, plain, metrics=Metrics(), origin="/doctor", gpu=where)
    limit = min(_MOST_WAIT, config.open_timeout + config.stall_after)
    error: EdgeError | None = None
    try:
        frames = await _watch(source, limit)
        status = source.status()
    except EdgeError as failure:
        frames, status, error = 0, source.status(), failure
    finally:
        await source.close()
    if frames:
        return _seen(name, status, frames, source.decoder)
    return _unseen(name, status, error, limit)


async def _watch(source: Source, limit: float) -> int:
    """Count frames for a moment after the first one, for which ``limit`` seconds are given.

    One try only: a camera that refuses a password may lock the account after some.
    """
    loop = asyncio.get_running_loop()
    frames = 0

    async def count() -> None:
        nonlocal frames
        async for _ in source.events():
            frames += 1

    counting = asyncio.create_task(count(), name="doctor counts frames")
    until = loop.time() + limit
    while not counting.done() and loop.time() < until:
        before = frames
        await asyncio.wait([counting], timeout=_LOOK_EVERY)
        if frames and not before:
            until = loop.time() + _WATCHED
        elif not frames and source.status().state == "waiting":
            break
    counting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await counting
    return frames


def _seen(name: str, status: SourceStatus, frames: int, decoder: str) -> Finding:
    width, height = status.size or (0, 0)
    fps = status.fps or frames / _WATCHED
    text = f"{status.where} - {width}x{height}, about {fps:.0f} frames a second"
    name, text = f"source {name}", f"{text}, {decoder}" if decoder else text
    if "the processor" in decoder:  # and the file asks for the GPU
        hint = 'it works; decode = "cpu" says the same without trying'
        return Finding(name=name, state="warn", text=text, hint=hint)
    return Finding(name=name, state="ok", text=text)


def _unseen(name: str, status: SourceStatus, error: EdgeError | None, limit: float) -> Finding:
    reason = str(error) if error else status.reason or f"no picture within {limit:g} s"
    hint = (error.hint if error else "") or status.hint
    return Finding(
        name=f"source {name}",
        state="fail",
        text=f"{status.where} - {reason}" if status.where else reason,
        hint=hint or "is the camera on, its address right, and the network between them up?",
    )


def folder(name: str, config: FolderConfig) -> Finding:
    """Look whether a watched directory is there and may be read."""
    path = Path(config.path)
    wanted = os.R_OK | os.X_OK | (os.W_OK if config.after == "delete" else 0)
    problem, hint = "", ""
    if not path.is_dir():
        problem = "is not a directory" if path.exists() else "is not there"
        hint = f"mkdir -p {path}, or is its disk or share not mounted?"
    elif not os.access(path, wanted):
        problem = "may not be read" if config.after == "keep" else "may not be read and changed"
        hint = f"let the user that runs Edge into {path}"
    if problem:
        return Finding(name=f"source {name}", state="fail", text=f"{path} {problem}", hint=hint)
    return Finding(name=f"source {name}", state="ok", text=f"{path} ({config.mode})")
