"""Only the gate makes what may leave: read from the source, and asked of mypy."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.source import Rule, Source, called
from tests.places import ROOT

MAKERS = {
    "Parcel": ("edge/privacy/gate.py", "edge/sinks/outbox.py"),
    "Redaction": ("edge/stages/redact.py",),
}
"""What may be made where. The outbox reads parcels back from its rows."""
ENCODER = "edge/privacy/encode.py"
GPU = ("edge.stages.kernels.jpeg", "edge.stages.kernels.nvjpeg")
GPU_HOMES = ("edge/stages/kernels/", "edge/app/jpeg.py", "edge/cli/doctor_parts.py")
"""What encodes on a GPU, and who may open it: for the gate, or to show it test pictures."""
FILM = "edge/cli/redact_video.py"
"""Joins pictures that have passed the gate (encoded ones, it takes no pixels) to a video."""
WRITERS = re.compile(r"imencode\w*|imwrite\w*|save|savez\w*|tofile|memmap|VideoWriter")
"""What turns pixels into bytes or files."""
NAMES_OF_PICTURES = {"edge.frame.ObjectRef"}
"""What says which picture, and has none."""
SERIALISERS = {"pickle", "shelve", "marshal", "dill", "joblib"}


def calls(source: Source) -> list[tuple[ast.Call, str]]:
    nodes = (node for node in ast.walk(source.tree) if isinstance(node, ast.Call))
    return [(node, called(node)) for node in nodes]


def only_the_gate_makes_parcels(source: Source) -> list[str]:
    path = source.path.as_posix()
    faults = [
        f"{node.lineno}: makes a {name}"
        for node, name in calls(source)
        if name in MAKERS and path not in MAKERS[name]
    ]
    aliases = [
        f"{node.lineno}: {alias.name} under another name"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in MAKERS and alias.asname
    ]
    return faults + aliases


def no_door_knows_a_raw_picture(source: Source) -> list[str]:
    if not source.path.as_posix().startswith("edge/sinks/"):
        return []
    raw = ("edge.frame", "edge.detections")
    return [
        f"{line}: imports {name}"
        for line, name in source.imports()
        if name.startswith(raw) and name not in NAMES_OF_PICTURES
    ]


def only_the_encoder_encodes(source: Source) -> list[str]:
    if source.path.as_posix() == ENCODER:
        return []
    return [
        f"{node.lineno}: {name} writes pixels"
        for node, name in calls(source)
        if WRITERS.fullmatch(name) and (name, source.path.as_posix()) != ("VideoWriter", FILM)
    ]


def only_the_gate_gets_a_gpu_that_encodes(source: Source) -> list[str]:
    if source.path.as_posix().startswith(GPU_HOMES):
        return []
    return [f"{line}: imports {name}" for line, name in source.imports() if name.startswith(GPU)]


def nothing_is_pickled(source: Source) -> list[str]:
    return [
        f"{line}: imports {name}"
        for line, name in source.imports()
        if name.split(".")[0] in SERIALISERS
    ]


RULES: list[Rule] = [
    only_the_gate_makes_parcels,
    no_door_knows_a_raw_picture,
    only_the_encoder_encodes,
    only_the_gate_gets_a_gpu_that_encodes,
    nothing_is_pickled,
]


def test_the_encoder_and_the_makers_are_where_the_rules_say() -> None:
    for path in [ENCODER, FILM, *GPU_HOMES[1:], *sum(MAKERS.values(), ())]:
        assert (ROOT / path).is_file()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_nothing_leaves_but_through_the_gate(rule: Rule) -> None:
    paths = sorted((ROOT / "edge").rglob("*.py"))
    sources = [Source.read(path, ROOT) for path in paths]
    faults = [f"{source.path}:{fault}" for source in sources for fault in rule(source)]
    assert sources
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("rule", "path", "planted"),
    [
        (only_the_gate_makes_parcels, "edge/web/x.py", "p = Parcel(id='1')"),
        (only_the_gate_makes_parcels, "edge/web/x.py", "p = parcel.Parcel(id='1')"),
        (only_the_gate_makes_parcels, "edge/app/box.py", "from edge.parcel import Parcel as P"),
        (only_the_gate_makes_parcels, "edge/privacy/gate.py", "r = Redaction()"),
        (no_door_knows_a_raw_picture, "edge/sinks/s3.py", "from edge.frame import Frame"),
        (no_door_knows_a_raw_picture, "edge/sinks/s3.py", "import edge.detections"),
        (only_the_encoder_encodes, "edge/web/x.py", "ok, body = cv2.imencode('.jpg', pixels)"),
        (only_the_encoder_encodes, "edge/stages/x.py", "cv2.imwrite('x.jpg', pixels)"),
        (only_the_encoder_encodes, "edge/stages/x.py", "imwritemulti('x.tiff', pixels)"),
        (only_the_encoder_encodes, "edge/stages/x.py", "np.save('x', frame.pixels)"),
        (only_the_encoder_encodes, "edge/stages/x.py", "frame.pixels.tofile('x')"),
        (only_the_encoder_encodes, "edge/stages/x.py", "Image.fromarray(pixels).save('x.png')"),
        (only_the_encoder_encodes, "edge/sources/x.py", "cv2.VideoWriter('x.avi')"),
        (only_the_encoder_encodes, FILM, "cv2.imencode('.jpg', pixels)"),
        (
            only_the_gate_gets_a_gpu_that_encodes,
            "edge/stages/x.py",
            "from edge.stages.kernels.jpeg import GpuJpeg",
        ),
        (
            only_the_gate_gets_a_gpu_that_encodes,
            "edge/app/x.py",
            "import edge.stages.kernels.nvjpeg",
        ),
        (nothing_is_pickled, "edge/bus/x.py", "import pickle"),
        (nothing_is_pickled, "edge/bus/x.py", "from pickle import dumps"),
    ],
)
def test_a_planted_way_out_is_caught(rule: Rule, path: str, planted: str) -> None:
    assert len(rule(Source.parse(path, planted))) == 1


WAYS_OUT = """
from edge.contracts import Keeper, Store
from edge.detections import Sighting
from edge.frame import Encoded, Frame
from edge.parcel import Parcel, Redaction


async def out(
    store: Store,
    keeper: Keeper,
    frame: Frame,
    encoded: Encoded,
    sighting: Sighting,
    redaction: Redaction,
    parcel: Parcel,
) -> None:
    await store.put(frame)  # refused
    await store.put(encoded)  # refused
    await store.put(sighting)  # refused
    await store.put(redaction)  # refused
    await store.put(redaction.pixels)  # refused
    await store.put(parcel.body)  # refused
    await keeper.put(frame)  # refused
    await keeper.put(encoded)  # refused
    await keeper.put(redaction)  # refused
    await store.put(parcel)
    await keeper.put(parcel)
"""


@pytest.mark.slow
def test_mypy_refuses_what_is_not_a_parcel_at_a_door(tmp_path: Path) -> None:
    script = tmp_path / "ways_out.py"
    script.write_text(WAYS_OUT)
    command = [sys.executable, "-m", "mypy", "--config-file=", "--strict"]
    asked = subprocess.run(
        [*command, f"--cache-dir={tmp_path / 'cache'}", str(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    expected = {
        number
        for number, line in enumerate(WAYS_OUT.splitlines(), start=1)
        if line.endswith("# refused")
    }
    errors = [line for line in asked.stdout.splitlines() if ": error:" in line]
    refused = {int(line.split(":")[1]) for line in errors if "[arg-type]" in line}
    assert refused == expected, asked.stdout + asked.stderr
    assert len(errors) == len(expected), asked.stdout
