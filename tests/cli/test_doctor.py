"""``edge doctor``: what it finds, and that it says what to do."""

from __future__ import annotations

import asyncio
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.cli import doctor_box as box
from edge.cli import doctor_parts as parts
from edge.cli.doctor import Check, Finding, in_thread, look
from edge.cli.main import main
from edge.config.load import loads
from edge.config.root import Config
from edge.config.sources import BucketConfig, FolderConfig
from edge.config.web import WebConfig
from tests.places import free_port, shared
from tests.servers.rgw import Rgw, bucket, rgw
from tests.servers.rtsp import StartRtsp, start_rtsp

__all__ = ["bucket", "rgw", "start_rtsp"]

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    path.mkdir()
    return path


def configure(state: Path, sources: str, store: str = "") -> Path:
    """Write a configuration of a box in safe mode."""
    path = state.parent / "edge.toml"
    store = store or f'kind = "folder"\npath = "{state.parent}/pictures"'
    path.write_text(
        f'[box]\nstate = "{state}"\n[detect]\nengine = "builtin"\n[outbox]\nmax_bytes = "1MiB"\n'
        f"[web]\nport = {free_port()}\n{sources}\n[store]\n{store}\n"
    )
    return path


def examined(path: Path, printed: Printed) -> tuple[int, dict[str, Finding]]:
    """Run the doctor; return its exit code and findings by name."""
    code = main(["doctor", "--config", str(path), "--json"])
    checks = json.loads(printed.readouterr().out)["checks"]
    return code, {check["name"]: Finding(**check) for check in checks}


def test_a_box_that_has_everything_is_well(state: Path, capsys: Printed) -> None:
    (state.parent / "drop").mkdir()
    path = configure(
        state,
        '[sources.site]\nkind = "scene"\n'
        f'[sources.drop]\nkind = "folder"\npath = "{state.parent}/drop"\n'
        '[sources.off]\nkind = "camera"\nurl = "rtsp://127.0.0.1:1/s"\nenabled = false\n',
    )
    code, found = examined(path, capsys)
    assert code == 0
    assert {finding.state for finding in found.values()} <= {"ok", "warn"}
    assert found["model"].state == "warn"
    assert "safe mode" in found["model"].text
    assert found["source off"].text == "disabled"
    assert list(state.iterdir()) == []
    assert not (state.parent / "pictures").exists()


def test_a_gpu_that_shall_encode_and_is_missing_is_told_of(state: Path, capsys: Printed) -> None:
    path = configure(state, '[sources.site]\nkind = "scene"\n[privacy]\nencoder = "gpu"\n')
    code, found = examined(path, capsys)
    assert code == 0
    assert found["encoder"].state == "warn"
    assert "encoded by the processor: no NVIDIA driver" in found["encoder"].text


def test_each_failure_has_a_hint_and_shows_no_credentials(state: Path, capsys: Printed) -> None:
    nobody = free_port()
    path = configure(
        state,
        '[sources.gate]\nkind = "camera"\nopen_timeout = "500ms"\nstall_after = "500ms"\n'
        f'url = "rtsp://admin:hunter2@127.0.0.1:{nobody}/s?pwd=hunter3"\n'
        f'[sources.drop]\nkind = "folder"\npath = "{state.parent}/drop"\n',
        f'kind = "s3"\nendpoint = "http://127.0.0.1:{nobody}"\nbucket = "abc"\n'
        'access_key = "key"\nsecret_key = "hunter4"\ntimeout = "1s"',
    )
    code, found = examined(path, capsys)
    assert code == 1
    for name in ("source gate", "source drop", "store"):
        assert found[name].state == "fail", name
        assert found[name].hint, name
    assert "hunter" not in str(found)
    assert main(["doctor", "--config", str(path)]) == 1
    printed = capsys.readouterr()
    assert "✗ source gate" in printed.out or "FAIL source gate" in printed.out
    assert "hunter" not in printed.out + printed.err
    assert "Traceback" not in printed.out + printed.err


def test_a_broken_configuration_is_a_finding_and_the_machine_is_looked_at(
    tmp_path: Path, capsys: Printed
) -> None:
    path = tmp_path / "edge.toml"
    path.write_text("[web]\nport = 99999\n")
    code, found = examined(path, capsys)
    assert code == 1
    assert found["config"].state == "fail"
    assert "web.port = 99999" in found["config"].text
    assert {"clock", "memory"} <= set(found)
    assert "store" not in found


def test_doubts_about_the_configuration_are_warnings(state: Path, capsys: Printed) -> None:
    path = configure(state, "")
    code, found = examined(path, capsys)
    assert code == 0
    assert found["config"].state == "warn"
    assert "only uploads" in found["config"].text


async def test_a_video_file_gives_its_size_and_speed() -> None:
    clip = shared("data/seq-dev/worker_zone.mp4")
    config = loads(
        f'[sources.c]\nkind = "camera"\nurl = "{clip}"\n[store]\nkind = "folder"\npath = "out"\n',
        "edge.toml",
    )
    source = config.sources["c"]
    assert source.kind == "camera"
    found = await parts.camera("c", source, config.tensorrt)
    assert found.state == "ok"
    assert "480x270" in found.text
    assert "frames a second" in found.text


async def test_a_camera_that_the_gpu_should_decode_says_why_it_does_not(
    start_rtsp: StartRtsp,
) -> None:
    clip = shared("data/seq-dev/worker_zone.mp4")
    config = loads(
        f'[sources.c]\nkind = "camera"\nurl = "{start_rtsp(clip).url()}"\ndecode = "gpu"\n'
        '[store]\nkind = "folder"\npath = "out"\n',
        "edge.toml",
    )
    source = config.sources["c"]
    assert source.kind == "camera"
    found = await parts.camera("c", source, config.tensorrt)
    if "decoded by the GPU" in found.text:
        pytest.skip("there is a GPU here")
    assert found.state == "warn"
    assert "frames a second, decoded by the processor: " in found.text
    assert found.hint
    other = source.model_copy(update={"decode": "cpu"})
    plain = await parts.camera("c", other, config.tensorrt)
    assert plain.state == "ok"
    assert "decoded" not in plain.text


async def test_checks_run_at_once_and_one_that_hangs_does_not_hold_the_others() -> None:
    end = threading.Event()

    def hang() -> Finding:
        end.wait(60)
        return Finding(name="slow", state="ok", text="late")

    async def wait_for_ever(_: Executor) -> Finding:
        await asyncio.Event().wait()
        return Finding(name="never", state="ok", text="never")

    checks: list[Check] = [
        ("slow", in_thread(hang)),
        ("never", wait_for_ever),
        ("quick", in_thread(lambda: Finding(name="quick", state="ok", text="fine"))),
    ]
    slow, never, quick = await look(checks, bound=0.5)
    end.set()
    assert (slow.name, slow.state, slow.hangs) == ("slow", "fail", True)
    assert (never.name, never.state) == ("never", "fail")
    assert "within 0.5 s" in never.text
    assert quick.state == "ok"


def test_a_year_that_cannot_be_is_a_failure() -> None:
    assert box.clock(datetime(1970, 1, 2, tzinfo=UTC).timestamp()).state == "fail"
    assert box.clock(datetime(2026, 6, 1, tzinfo=UTC).timestamp()).state in ("ok", "warn")


def test_memory_is_counted_with_the_sources() -> None:
    assert box.memory(1).state == "ok"
    assert box.memory(10_000_000).state == "fail"


def test_a_disk_without_room_for_the_outbox_is_told(tmp_path: Path) -> None:
    assert box.disk(tmp_path, 2**20).state == "ok"
    finding = box.disk(tmp_path / "not" / "yet", 2**60)
    assert finding.state in ("warn", "fail")
    assert "outbox.max_bytes" in finding.hint or "free space" in finding.hint


def test_a_state_directory_that_others_may_change_is_doubtful(tmp_path: Path) -> None:
    assert box.state_writes(tmp_path).state == "ok"
    tmp_path.chmod(0o777)
    finding = box.state_writes(tmp_path)
    assert (finding.state, finding.hint) == ("warn", f"chmod o-w {tmp_path}")


def test_a_state_directory_that_cannot_be_written_is_a_failure() -> None:
    finding = box.state_writes(Path("/proc/edge"))
    assert finding.state == "fail"
    assert "box.state" in finding.hint


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    """An HTTP server that answers /healthz with ``server.answer``."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = vars(self.server)["answer"]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, name="answers", daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_the_port_of_the_page_is_free_or_an_edge_answers(server: http.server.HTTPServer) -> None:
    web = WebConfig(port=server.server_port)
    vars(server)["answer"] = b'{"alive": true}'
    assert box.page(web).state == "ok"
    assert "an Edge answers" in box.page(web).text
    vars(server)["answer"] = b"It works!"
    assert box.page(web).state == "fail"
    assert "another program" in box.page(web).text
    assert box.page(WebConfig(port=free_port())).state == "ok"


def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    finding = box.page(WebConfig(host="192.0.2.1", port=8080))
    assert finding.state == "fail"
    assert "web.host" in finding.hint


def test_a_program_that_never_answers_is_no_edge() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        finding = box.page(WebConfig(port=silent.getsockname()[1]))
    assert finding.state == "fail"


def test_a_missing_model_is_a_warning_where_the_box_can_do_without(state: Path) -> None:
    text = f'[box]\nstate = "{state}"\n[store]\nkind = "folder"\npath = "out"\n[models]\n'
    fetched = parts.model(loads(text + "pull = true", "edge.toml"))
    assert (fetched.state, "try to fetch" in fetched.text) == ("warn", True)
    without = parts.model(loads(text + "pull = false", "edge.toml"))
    assert (without.state, "safe mode" in without.text) == ("warn", True)
    needed = loads(text + 'pull = false\n[detect]\nengine = "onnx"', "edge.toml")
    assert parts.model(needed).state == "fail"


def test_a_damaged_model_is_a_failure(state: Path) -> None:
    config: Config = loads(
        f'[box]\nstate = "{state}"\n[store]\nkind = "folder"\npath = "out"\n', "edge.toml"
    )
    home = state / "models" / config.detect.model
    home.mkdir(parents=True)
    (home / "model.json").write_text("{}")
    finding = parts.model(config)
    assert finding.state == "fail"
    assert finding.hint


def test_a_folder_that_is_a_file_or_missing_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, text in (("file", "is not a directory"), ("none", "is not there")):
        finding = parts.folder("f", FolderConfig(kind="folder", path=str(tmp_path / name)))
        assert finding.state == "fail"
        assert text in finding.text
    assert parts.folder("f", FolderConfig(kind="folder", path=str(tmp_path))).state == "ok"


def test_the_store_is_probed_and_nothing_stays(tmp_path: Path) -> None:
    assert parts.folder_store(tmp_path).state == "ok"
    assert parts.folder_store(tmp_path / "later" / "made").state == "ok"
    assert list(tmp_path.iterdir()) == []
    assert parts.folder_store(Path("/proc/edge")).state == "fail"


def test_without_ffmpeg_the_encrypted_cameras_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = parts.ffmpeg(["gate"])
    assert finding.state == "fail"
    assert "gate" in finding.text
    assert "apt-get" in finding.hint
    (tmp_path / "ffmpeg").touch(mode=0o755)
    assert parts.ffmpeg(["gate"]).state == "ok"


async def test_a_bucket_is_listed_and_one_that_is_not_there_is_told(rgw: Rgw, bucket: str) -> None:
    def config(name: str) -> BucketConfig:
        facts = {"kind": "bucket", "endpoint": rgw.endpoint, "bucket": name}
        keys = {"access_key": rgw.access_key, "secret_key": rgw.secret_key}
        return BucketConfig.model_validate(facts | keys)

    rgw.client().make_bucket(bucket_name=bucket)
    found = await parts.bucket_source("yard", config(bucket))
    assert (found.state, found.text) == (
        "ok",
        f"bucket {bucket}, 0 pictures on its first page, via hook",
    )
    missing = await parts.bucket_source("yard", config(f"{bucket}-none"))
    assert missing.state == "fail"
    assert missing.hint
