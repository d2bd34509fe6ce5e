"""The laws of the house, read from the source with ``ast``. Each is planted once, to be caught.

A rule is a function of a parsed file (``Source``) that returns its faults as ``line: what``. The
rules about who may import whom are in ``tests/house/rooms.py``, those about the size and shape of
code in ``tests/house/shape.py``, those about texts of any kind in ``tests/house/texts.py``.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.house import rooms, shape, texts
from tests.house.source import Rule, Source
from tests.places import ROOT

CODE_RULES: list[Rule] = [
    rooms.rooms_never_meet,
    rooms.words_need_no_library,
    rooms.every_library_has_one_home,
    shape.files_are_short,
    shape.functions_are_short,
    shape.modules_are_named_for_what_they_do,
    shape.init_files_hold_a_docstring,
    shape.only_two_places_catch_everything,
    shape.only_the_command_line_prints,
    shape.nothing_is_left_to_do,
    shape.every_task_and_thread_has_a_name,
    shape.being_cancelled_is_never_swallowed,
    shape.every_test_asserts,
]
TEXT_RULES = [texts.no_path_of_a_machine, texts.no_package_host]

TOP = {"edge", "models", "systemd", "packaging", "tests"} | {
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "Makefile",
}
MADE_HERE = {"build", "dist", "edge.egg-info"}
"""What tools leave at the top; ignored by git."""


@cache
def sources() -> list[Source]:
    paths = sorted(path for room in ("edge", "tests", "packaging") for path in python_in(room))
    return [Source.read(path, ROOT) for path in paths]


def python_in(folder: str) -> list[Path]:
    return [path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts]


def committed() -> list[Path]:
    """Every file that is or could be committed: known to git, or not ignored by it."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        return [path for room in TOP for path in (ROOT / room).rglob("*") if path.is_file()]
    listed = subprocess.run(command, check=True, capture_output=True, text=True)
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]


@pytest.mark.parametrize("rule", CODE_RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps(rule: Rule) -> None:
    faults = [f"{source.path}:{fault}" for source in sources() for fault in rule(source)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("rule", TEXT_RULES, ids=lambda rule: rule.__name__)
def test_every_committed_text_keeps(rule: texts.TextRule) -> None:
    faults = [
        f"{path.relative_to(ROOT)}:{fault}"
        for path in committed()
        if (text := texts.text_of(path)) is not None
        for fault in rule(text)
    ]
    assert not faults, "\n".join(faults)


def test_the_top_of_the_house_holds_nothing_else() -> None:
    names = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert names - MADE_HERE <= TOP


def test_the_rules_see_the_house() -> None:
    found = {source.path.parts[0] for source in sources()}
    assert {"edge", "tests"} <= found
    assert ROOT / "pyproject.toml" in committed()


LONG = "\n".join(f"x{n} = {n}" for n in range(401))
LONG_FUNCTION = "def f() -> int:\n    '''Say.'''\n" + "    a = 1\n" * 40 + "    return a\n"
SLASH = "/"

PLANTED: list[tuple[Rule, str, str, str]] = [
    # who may import whom
    (rooms.rooms_never_meet, "edge/stages/x.py", "from edge.sinks.outbox import Outbox", "sinks"),
    (rooms.rooms_never_meet, "edge/web/x.py", "import edge.bus.lanes", "edge.bus"),
    (rooms.rooms_never_meet, "edge/sources/x.py", "from edge import privacy", "edge.privacy"),
    (rooms.rooms_never_meet, "edge/stages/x.py", "from ..sinks import outbox", "edge.sinks"),
    (rooms.rooms_never_meet, "edge/sinks/x.py", "from edge.app.box import App", "edge.app"),
    (rooms.rooms_never_meet, "edge/ops/x.py", "from edge.web import page", "edge.web"),
    (rooms.rooms_never_meet, "edge/event.py", "from edge.ops import metrics", "edge.ops"),
    (rooms.rooms_never_meet, "edge/sinks/x.py", "from edge.config.web import W", "config.web"),
    (rooms.rooms_never_meet, "edge/web/x.py", "from edge.config.root import Config", "config.root"),
    (rooms.rooms_never_meet, "edge/bus/x.py", "def f():\n    import edge.sinks.s3", "edge.sinks"),
    (rooms.words_need_no_library, "edge/frame.py", "import cv2", "cv2"),
    (rooms.words_need_no_library, "edge/event.py", "from pydantic import BaseModel", "pydantic"),
    (rooms.every_library_has_one_home, "edge/stages/x.py", "import onnxruntime", "onnxruntime"),
    (rooms.every_library_has_one_home, "edge/stages/x.py", "from onnx import helper", "onnx"),
    (rooms.every_library_has_one_home, "edge/sinks/folder.py", "import minio.error", "minio"),
    (rooms.every_library_has_one_home, "edge/ops/x.py", "import rich.table", "rich"),
    (rooms.every_library_has_one_home, "edge/web/x.py", "from PIL import Image", "PIL"),
    (rooms.every_library_has_one_home, "edge/web/x.py", "import requests", "no home"),
    # size and shape
    (shape.files_are_short, "edge/ops/x.py", LONG, "401 lines"),
    (shape.functions_are_short, "edge/ops/x.py", LONG_FUNCTION, "f has 42 lines"),
    (shape.modules_are_named_for_what_they_do, "edge/ops/utils.py", "", "utils"),
    (shape.modules_are_named_for_what_they_do, "edge/common/x.py", "", "common"),
    (shape.init_files_hold_a_docstring, "edge/ops/__init__.py", "import os", "docstring"),
    (shape.init_files_hold_a_docstring, "edge/ops/__init__.py", "'''x'''\n__version__ = 1", "doc"),
    (shape.only_two_places_catch_everything, "edge/web/x.py", "try: f()\nexcept: g()", "except"),
    (
        shape.only_two_places_catch_everything,
        "edge/web/x.py",
        "try: f()\nexcept Exception: g()",
        "Exception",
    ),
    (
        shape.only_two_places_catch_everything,
        "edge/web/x.py",
        "try: f()\nexcept (OSError, BaseException): g()",
        "BaseException",
    ),
    (
        shape.only_two_places_catch_everything,
        "edge/web/x.py",
        "with contextlib.suppress(Exception): f()",
        "suppress",
    ),
    (shape.only_the_command_line_prints, "edge/web/x.py", "print('x')", "print"),
    (
        shape.being_cancelled_is_never_swallowed,
        "edge/web/x.py",
        "await asyncio.wait_for(x, 1)",
        "wait_for",
    ),
    (shape.nothing_is_left_to_do, "edge/web/x.py", "x = 1  # TO" + "DO later", "comment"),
    (shape.nothing_is_left_to_do, "edge/web/x.py", "'''Say. FIX" + "ME.'''", "docstring"),
    (shape.nothing_is_left_to_do, "edge/web/x.py", "raise NotImplementedError", "NotImplemented"),
    (
        shape.every_task_and_thread_has_a_name,
        "edge/web/x.py",
        "asyncio.create_task(f())",
        "create_task",
    ),
    (
        shape.every_task_and_thread_has_a_name,
        "edge/web/x.py",
        "asyncio.ensure_future(f())",
        "ensure_future",
    ),
    (shape.every_task_and_thread_has_a_name, "edge/web/x.py", "Thread(target=f)", "Thread"),
    (
        shape.every_task_and_thread_has_a_name,
        "edge/web/x.py",
        "futures.ThreadPoolExecutor(2)",
        "ThreadPoolExecutor",
    ),
    (shape.every_test_asserts, "tests/web/test_x.py", "def test_it():\n    f()", "test_it"),
    (
        shape.every_test_asserts,
        "tests/web/test_x.py",
        "class TestX:\n    async def test_it(self):\n        f()",
        "test_it",
    ),
]

KEPT: list[tuple[Rule, str, str]] = [
    (rooms.rooms_never_meet, "edge/app/box.py", "import edge.sinks.s3, edge.bus.lanes"),
    (rooms.rooms_never_meet, "edge/cli/x.py", "from edge.catalog import pull"),
    (rooms.rooms_never_meet, "edge/sinks/x.py", "from edge.config.store import OutboxConfig"),
    (rooms.rooms_never_meet, "edge/sinks/x.py", "from edge.parcel import Parcel"),
    (rooms.every_library_has_one_home, "edge/stages/engines/onnx.py", "import onnxruntime"),
    (
        shape.functions_are_short,
        "edge/x.py",
        "def f():\n    '''" + "a\n" * 60 + "'''\n    return 1",
    ),
    (shape.init_files_hold_a_docstring, "edge/__init__.py", "'''Edge.'''\n__version__ = '1'"),
    (shape.only_two_places_catch_everything, "edge/x.py", "try: f()\nexcept OSError: g()"),
    (
        shape.only_two_places_catch_everything,
        "edge/x.py",
        "try: f()\nexcept BaseException:\n    g()\n    raise",
    ),
    (
        shape.only_two_places_catch_everything,
        "edge/ops/supervise.py",
        "try: f()\nexcept Exception: g()",
    ),
    (shape.only_the_command_line_prints, "edge/cli/x.py", "print('x')"),
    (shape.being_cancelled_is_never_swallowed, "edge/web/x.py", "changed.wait_for(x)"),
    (shape.every_task_and_thread_has_a_name, "edge/x.py", "g.create_task(f(), name='f')"),
    (
        shape.every_test_asserts,
        "tests/test_x.py",
        "def test_it():\n    with raises(E):\n        f()",
    ),
    (
        shape.every_test_asserts,
        "tests/test_x.py",
        "def look(x):\n    assert x\ndef test_it():\n    look(1)",
    ),
]


@pytest.mark.parametrize(("rule", "path", "text", "said"), PLANTED)
def test_a_planted_violation_is_caught(rule: Rule, path: str, text: str, said: str) -> None:
    faults = rule(Source.parse(path, text))
    assert faults
    assert said in faults[0]


@pytest.mark.parametrize(("rule", "path", "text"), KEPT)
def test_what_keeps_the_rule_passes(rule: Rule, path: str, text: str) -> None:
    assert rule(Source.parse(path, text)) == []


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (texts.no_path_of_a_machine, f"see {SLASH}work{SLASH}main"),
        (texts.no_path_of_a_machine, f'open("{SLASH}home{SLASH}someone{SLASH}x")'),
        (texts.no_path_of_a_machine, f"cat {SLASH}tmp{SLASH}x.log"),
        (texts.no_package_host, "pip install -i https://py" + "pi.org/simple x"),
    ],
)
def test_a_planted_text_is_caught(rule: texts.TextRule, text: str) -> None:
    assert rule(text)


def test_every_rule_has_a_planted_violation() -> None:
    assert {rule for rule, *_ in PLANTED} == set(CODE_RULES)
