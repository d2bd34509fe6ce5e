"""The root of the command line: what is imported, and what errors become."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import click
import pytest

from edge import __version__
from edge.cli import main as root
from edge.cli.main import COMMANDS, exit_code, main
from edge.config.load_faults import ConfigError
from edge.errors import EdgeError, Fatal, PartFailed, Rejected, TryLater, Withheld

EDGE = [sys.executable, "-m", "edge"]


def edge(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*EDGE, *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Add a command ``edge fail`` that raises ``module.error``."""
    module = ModuleType("edge_failing_command")

    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def fail(*, as_json: bool) -> None:  # noqa: ARG001
        raise module.error

    vars(module).update(fail=fail)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(COMMANDS, "fail", ("edge_failing_command:fail", "Fail."))
    return module


def test_help_lists_the_commands_and_imports_none() -> None:
    code = (
        "import sys; from edge.cli.main import main; code = main(['--help']); "
        "heavy = {'cv2', 'numpy', 'onnxruntime', 'aiohttp', 'pydantic', 'rich'}; "
        "print(code, *(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "0"
    for name, (_, text) in COMMANDS.items():
        assert name in done.stdout
        assert text in done.stdout


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_is_there_and_has_help(name: str) -> None:
    done = edge(name, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: edge {name}")


def test_version_names_this_version() -> None:
    done = edge("version", "--json")
    assert json.loads(done.stdout)["edge"] == __version__
    assert edge("--version").stdout == f"edge {__version__}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("edge.toml", []), 3),
        (Fatal("no model"), 78),
        (Withheld("not safe"), 5),
        (Rejected("not a picture"), 1),
        (PartFailed("the store is gone"), 4),
        (TryLater("not now"), 75),
        (EdgeError("odd"), 1),
    ],
)
def test_an_error_of_the_house_has_its_exit_code(
    error: EdgeError, code: int, failing: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    vars(failing)["error"] = error
    assert exit_code(error) == code
    assert main(["fail"]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"edge: {error}")


def test_an_error_says_what_to_do_and_shows_no_credentials(
    failing: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    vars(failing)["error"] = PartFailed("cannot open rtsp://a:hunter2@h/1", hint="look at h")
    main(["fail"])
    assert capsys.readouterr().err == "edge: cannot open rtsp://***@h/1\n  hint: look at h\n"


def test_with_json_an_error_is_an_object_on_standard_output(
    failing: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    vars(failing)["error"] = PartFailed("cannot open rtsp://a:b@h/1", hint="look", reason="dead")
    assert main(["fail", "--json"]) == 4
    printed = capsys.readouterr()
    assert printed.err == ""
    assert json.loads(printed.out) == {
        "error": {
            "kind": "PartFailed",
            "reason": "dead",
            "message": "cannot open rtsp://***@h/1",
            "hint": "look",
            "exit": 4,
        }
    }


def test_a_bug_has_its_traceback_without_credentials(tmp_path: Path) -> None:
    (tmp_path / "buggy.py").write_text(
        "import click\n@click.command()\n@click.option('--json', is_flag=True)\n"
        "def buggy(json):\n    raise ZeroDivisionError('at rtsp://a:hunter2@h/1')\n"
    )
    code = (
        "import sys; from edge.cli import main; main.COMMANDS['buggy'] = ('buggy:buggy', '');"
        "sys.exit(main.main(['buggy', '--json']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert json.loads(done.stdout)["error"]["reason"] == "bug"
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [["nope"], ["version", "--nope"], ["config", "explain"]])
def test_wrong_usage_is_two_with_a_hint(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "hint: edge" in capsys.readouterr().err


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("Usage: edge")


def test_a_terminal_that_lacks_a_letter_gets_a_question_mark() -> None:
    done = edge("config", "reference", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "rtsp://?" in done.stdout


def test_a_command_whose_module_is_missing_matters_only_when_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COMMANDS, "later", ("edge.cli.later:later", "Comes later."))
    assert main(["--help"]) == 0
    assert main(["later"]) == 78
    assert "edge.cli.later" in capsys.readouterr().err


def test_nobody_reading_the_output_is_quiet() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*EDGE, "config", "reference"],
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (root.NOBODY_READS, b"")


def test_an_interrupt_is_quiet(tmp_path: Path) -> None:
    # a configuration that is a pipe makes the command wait
    pipe = tmp_path / "edge.toml"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [*EDGE, "config", "validate", "--config", str(pipe)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + 30
        while not _waits_in_open(process.pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (130, b"", b"")


def test_a_lost_gpu_ends_the_process_even_if_its_driver_never_lets_go() -> None:
    program = """
import atexit, sys, time
from edge.cli import main
from edge.errors import GpuLost

def lose(**_):
    raise GpuLost("it hangs", hint="wait")

atexit.register(time.sleep, 600)
main.edge.main = lose
sys.exit(main.main([]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 75
    assert "it hangs" in done.stderr


def _waits_in_open(pid: int) -> bool:
    """Tell whether the process has imported everything and sleeps in opening the pipe."""
    state = Path(f"/proc/{pid}/wchan").read_text()
    return "fifo" in state or "wait_for_partner" in state
