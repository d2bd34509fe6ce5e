from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.bus import plugins
from edge.bus.plugins import load
from edge.config.handlers import PluginConfig
from edge.errors import EdgeError, Fatal, PartFailed, Rejected, TryLater
from edge.event import Event, WireEvent

COUNTER = """
    import dataclasses, json

    def open_counter(options):
        least = int(options.get("least", 1))

        async def count(event):
            people = len(json.loads(event.data)["people"])
            if people < least:
                return None
            return dataclasses.replace(event, type="com.example.crowd.v1")

        return count
"""

HANDLER = (
    "class make:\n    def __init__(self, o): pass\n    async def __call__(self, event): pass\n"
)

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "people-counter"
version = "0.1"
[project.entry-points."edge.handlers"]
people-counter = "people_counter:open_counter"
[tool.setuptools]
py-modules = ["people_counter"]
"""

RUN = """
import asyncio, sys
sys.path.append(sys.argv[1])
from edge.bus.plugins import load
from edge.config.handlers import PluginConfig
from edge.event import Event
config = PluginConfig(kind="plugin", entry_point="people-counter", options={"least": 2})
handler = load(config)
for people in (b"[1]", b"[1, 2]"):
    data = b'{"people": ' + people + b"}"
    event = Event(id="7", source="/a", type="com.example.seen", data=data)
    made = asyncio.run(handler(event))
    print(handler.where, made and made.type)
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Give a function that installs a module as a plugin: the files that pip would write."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def installed(name: str, code: str, target: str = "make", *, package: str = "") -> None:
        module = f"plugin_{(package or name).replace('-', '_')}"
        sys.modules.pop(module, None)  # another test's
        (site / f"{module}.py").write_text(textwrap.dedent(code))
        facts = site / f"{module}-1.2.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package or name}\nVersion: 1.2\n"
        )
        (facts / "entry_points.txt").write_text(f"[edge.handlers]\n{name} = {module}:{target}\n")

    return installed


def config(name: str, **options: Any) -> PluginConfig:
    return PluginConfig(kind="plugin", entry_point=name, options=options)


def event(data: bytes | None = b'{"people": [1, 2]}') -> WireEvent:
    return Event(id="7", source="/site/box", type="com.example.seen", data=data)


def error_of(name: str) -> Fatal:
    with pytest.raises(Fatal) as caught:
        load(config(name))
    assert f"plugin {name!r}" in str(caught.value)
    assert caught.value.hint
    return caught.value


def test_the_example_of_the_docstring_is_the_one_tested() -> None:
    shown = textwrap.dedent(COUNTER.partition("def open_counter")[2])
    written = (plugins.__doc__ or "").partition("def open_counter")[2]
    plain = [line.partition("#")[0].strip() for line in written.splitlines()]
    lines = [line.strip() for line in shown.splitlines() if line.strip()]
    assert [line for line in plain if line][: len(lines)] == lines


def test_a_package_that_pip_installed_is_found_and_runs(tmp_path: Path) -> None:
    """In a process of its own, with the folder that pip filled on its path."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "people_counter.py").write_text(textwrap.dedent(COUNTER))
    (project / "pyproject.toml").write_text(PROJECT)
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    built = subprocess.run(
        [*pip, "--no-build-isolation", "--target", str(site), str(project)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    ran = subprocess.run(
        [sys.executable, "-c", RUN, str(site)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [
        "edge:people-counter None",
        "edge:people-counter com.example.crowd.v1",
    ]


async def test_a_class_that_keeps_the_contract_is_a_plugin(
    install: Install, tmp_path: Path
) -> None:
    install(
        "keeps",
        """
        class Keeps:
            where = "elsewhere"
            sees_pictures = False
            def __init__(self, options):
                self.file = open(options["file"], "w")
            async def __call__(self, event):
                self.file.write(event.id)
            async def close(self):
                self.file.close()
        """,
        "Keeps",
    )
    file = tmp_path / "seen"
    handler = load(config("keeps", file=str(file)), "edge:mine")
    assert (handler.where, handler.sees_pictures) == ("edge:mine", False)
    assert await handler(event()) is None
    await handler.close()
    assert file.read_text() == "7"


async def test_a_function_without_close_is_closed_all_the_same(install: Install) -> None:
    install("plain", COUNTER, "open_counter")
    handler = load(config("plain"))
    assert await handler(event()) is not None
    assert await handler.close() is None  # type: ignore[func-returns-value]


def test_a_missing_plugin_names_what_is_installed(install: Install) -> None:
    install("other", COUNTER, "open_counter", package="some-package")
    error = error_of("people")
    assert error.reason == "plugin_missing"
    assert "other (some-package 1.2)" in error.hint


def test_two_packages_with_the_same_plugin_are_refused(install: Install) -> None:
    install("twice", COUNTER, "open_counter", package="one")
    install("twice", COUNTER, "open_counter", package="two")
    error = error_of("twice")
    assert error.reason == "plugin_twice"
    assert "one 1.2, two 1.2" in str(error)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import nowhere_at_all", "nowhere_at_all"),
        ("1 / 0", "ZeroDivisionError"),
        ("def make(options", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("open('/nowhere/at/all')", "FileNotFoundError"),
        ("other = 1", "make"),
        ("make = 5", "not callable"),
        ("def make(): pass", "argument"),
        ("def make(options): options['x']", "KeyError: 'x'"),
        ("def make(options): options['new'] = 1", "TypeError"),
    ],
)
def test_a_plugin_that_cannot_be_made_is_broken(install: Install, code: str, words: str) -> None:
    install("broken", code)
    error = error_of("broken")
    assert error.reason == "plugin_broken"
    assert words in str(error)
    assert "plugin_broken:make of broken 1.2" in str(error)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("make = dict", "made a dict"),
        ("def make(options): return lambda event: None", "is not async"),
        ("class make:\n    def __init__(self, options): pass", "made a make"),
        ("def make(options): return int", "is not async"),
        ("def make(options):\n    async def f(): pass\n    return f", "one argument"),
        (f"{HANDLER}    sees_pictures = True", "raw pictures"),
        (f"{HANDLER}    def close(self): pass", "close"),
    ],
)
def test_a_plugin_of_the_wrong_shape_is_unfit(install: Install, code: str, words: str) -> None:
    install("unfit", code)
    error = error_of("unfit")
    assert error.reason == "plugin_unfit"
    assert words in str(error)


def test_what_a_plugin_says_of_itself_comes_through(install: Install) -> None:
    install("says", "from edge.errors import Fatal\ndef make(o): raise Fatal('no', reason='mine')")
    with pytest.raises(Fatal, match="no") as caught:
        load(config("says"))
    assert caught.value.reason == "mine"


@pytest.mark.parametrize(
    ("statement", "kind", "reason"),
    [
        ("raise errors.TryLater('x', reason='mine')", TryLater, "mine"),
        ("raise errors.PartFailed('x', reason='mine')", PartFailed, "mine"),
        ("raise ConnectionResetError('x')", PartFailed, "plugin_failed"),
        ("raise TimeoutError", PartFailed, "plugin_failed"),
        ("event.data['x']", Rejected, "plugin_failed"),
        ("return {'type': 'x'}", Rejected, "plugin_answer"),
        ("return dataclasses.replace(event, data='text')", Rejected, "plugin_answer"),
        ("return dataclasses.replace(event, extensions={'A': 'b'})", Rejected, "malformed"),
        ("return dataclasses.replace(event, type='a\\nb')", Rejected, "malformed"),
    ],
)
async def test_how_a_plugin_fails_decides_what_comes_next(
    install: Install, statement: str, kind: type[EdgeError], reason: str
) -> None:
    install(
        "fails",
        f"""
        import dataclasses
        from edge import errors
        def make(options):
            async def call(event):
                {statement}
            return call
        """,
    )
    handler = load(config("fails"))
    with pytest.raises(kind) as caught:
        await handler(event())
    assert caught.value.reason == reason


async def test_a_plugin_that_fails_to_close_is_told_and_no_more(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    install(
        "shut",
        f"{HANDLER}    async def close(self): raise OSError('stuck')",
    )
    await load(config("shut")).close()
    assert "plugin 'shut' (plugin_shut:make of shut 1.2) failed to close" in caplog.text
