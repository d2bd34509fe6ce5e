"""Who may import whom (DESIGN 2)."""

from __future__ import annotations

from pathlib import PurePosixPath

from tests.house.source import STANDARD, Source

WORDS = {
    "event",
    "frame",
    "detections",
    "parcel",
    "contracts",
    "errors",
    "traffic",
    # an event's form on the wire: everyone who brings or sends one needs it
    "cloudevents",
    # names on a broker: the sink, the control and the command line speak them
    "topics",
    # what is said of engines: who builds, chooses and shows them
    "engine_status",
    # what is said of a picture: who makes a message and who publishes its schema need it
    "messages",
}
ROOMS = {"sources", "bus", "stages", "privacy", "sinks"}
SIDES = {"catalog", "config", "control", "web", "ops", "cli"}

OWN_SECTIONS = {
    "bus": {"bus", "handlers"},
    "sources": {"sources"},
    "stages": {"detect", "privacy", "handlers", "tensorrt"},
    "privacy": {"privacy", "key_template"},
    "sinks": {"store", "key_template", "handlers", "mqtt"},
    "web": {"web"},
    "catalog": {"detect", "tensorrt"},
    "control": {"control", "detect", "sources", "bus", "privacy", "tensorrt"},
}
"""The sections of ``edge.config`` that a room is handed."""

HOMES = {
    "Crypto": ("edge/control/commands/signed.py",),  # Ed25519
    "aiohttp": (
        "edge/web/",
        "edge/catalog/pull.py",
        "edge/sinks/forward_http.py",
        "edge/sinks/vision.py",
        "edge/sources/buckets/link.py",
        "edge/cli/",
    ),
    "annotated_types": ("edge/config/",),
    "cel": ("edge/bus/cel.py",),
    "click": ("edge/cli/", "edge/__main__.py"),
    "cv2": ("edge/sources/", "edge/stages/", "edge/privacy/", "edge/cli/"),
    "google": ("edge/catalog/",),  # protobuf, in which ONNX files are written
    "jinja2": ("edge/web/",),
    "minio": ("edge/sinks/s3", "edge/sources/buckets/objects"),
    "onnx": ("edge/catalog/",),
    "onnxruntime": ("edge/stages/engines/onnx.py", "edge/catalog/quantize.py"),
    "openvino": ("edge/stages/engines/openvino.py",),
    "PIL": ("edge/stages/decode.py", "edge/privacy/encode.py", "edge/privacy/jpeg_check.py"),
    "re2": ("edge/bus/route.py",),
    "prometheus_client": ("edge/ops/", "edge/app/", "edge/web/"),
    "paho": ("edge/ops/mqtt",),
    "pycuda": ("edge/stages/engines/tensorrt",),
    "pynvml": ("edge/ops/energy_nvml.py",),
    # whatever a person or a machine wrote is checked by it, where it comes in
    "pydantic": ("edge/config/", "edge/catalog/", "edge/control/", "edge/web/"),
    "pydantic_core": ("edge/config/",),
    "rich": ("edge/cli/",),
    "tensorrt": ("edge/stages/engines/tensorrt",),
    "urllib3": ("edge/sinks/s3", "edge/sources/buckets/objects"),
    "yarl": (
        "edge/sources/buckets/link.py",
    ),  # aiohttp's addresses, for one that is encoded already
}
"""The home of every library, as beginnings of paths. NumPy may be used everywhere."""


def room_of(path: PurePosixPath) -> str:
    """Return the room, side or word that a file of ``edge/`` belongs to."""
    return path.parts[1].removesuffix(".py") if path.parts[0] == "edge" else ""


def rooms_never_meet(source: Source) -> list[str]:
    """A room imports words, itself, ops, and its own section of the config. Only app knows all."""
    room = room_of(source.path)
    if room in {"", "cli", "__main__", "app"}:
        return []
    return [
        f"{line}: {room} imports {name}"
        for line, name in source.imports()
        if name.startswith("edge.") and not _may(room, name.split(".")[1:])
    ]


def _may(room: str, parts: list[str]) -> bool:
    other = parts[0]
    if other == room or other in WORDS or other == "__version__":
        return True
    if room in WORDS:
        return False
    if other == "config":
        # a secret is handed to the room that uses it, and only there is it revealed
        return len(parts) > 1 and parts[1] in OWN_SECTIONS.get(room, set()) | {"secret"}
    return other == "ops"


def words_need_no_library(source: Source) -> list[str]:
    """The vocabulary needs the standard library and NumPy, nothing else."""
    if room_of(source.path) not in WORDS:
        return []
    allowed = STANDARD | {"edge", "numpy"}
    return [
        f"{line}: a word imports {name}"
        for line, name in source.imports()
        if name.split(".")[0] not in allowed
    ]


def every_library_has_one_home(source: Source) -> list[str]:
    """A third-party library is imported in its home only, where its errors are translated."""
    path = source.path.as_posix()
    if not path.startswith("edge/"):
        return []
    faults = []
    for line, name in source.imports():
        library = name.split(".")[0]
        if library in STANDARD or library in {"edge", "numpy"}:
            continue
        homes = HOMES.get(library)
        if homes is None:
            faults.append(f"{line}: {library} has no home yet: name one in tests/house/rooms.py")
        elif not path.startswith(homes):
            faults.append(f"{line}: {library} lives in {' '.join(homes)}")
    return faults
