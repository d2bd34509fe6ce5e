"""Reading the operator's file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edge.config.load import ConfigError, Fault, config_file, examine, load, loads
from edge.config.sources import CameraConfig, SceneConfig
from edge.config.store import FolderStoreConfig
from edge.errors import Fatal

STORE = '[store]\nkind = "folder"\npath = "out"\n'


def faults(text: str, **environ: str) -> dict[str, str]:
    """Return the faults of a configuration: path, and the rest of the line."""
    environ.setdefault("HOME", "/")
    with pytest.raises(ConfigError) as caught:
        loads(text, "edge.toml", environ=environ)
    return {fault.path: str(fault).removeprefix(fault.path) for fault in caught.value.faults}


def test_one_source_and_one_store_are_enough() -> None:
    config = loads(f'[sources.site]\nkind = "scene"\n{STORE}', "edge.toml")
    assert isinstance(config.sources["site"], SceneConfig)
    assert isinstance(config.store, FolderStoreConfig)
    assert config.outbox.max_bytes == 2 * 2**30
    assert config.box.stop_timeout == 10.0


def test_a_configuration_error_is_fatal() -> None:
    assert issubclass(ConfigError, Fatal)


def test_all_faults_come_at_once_in_the_order_of_the_file() -> None:
    text = """
        [web]
        host = "0.0.0.0"
        [sources.gate]
        kind = "camera"
        url = "gopher://gate"
        stall_after = 5
        evry = 2
        [sources.yard]
        kind = "camra"
        [sources."a b"]
        kind = "scene"
        fps = 0
        [privacy]
        method = "pixels"
    """
    with pytest.raises(ConfigError) as caught:
        loads(text, "edge.toml", environ={"HOME": "/"})
    assert [fault.path for fault in caught.value.faults] == [
        "web.token",
        "sources.gate.url",
        "sources.gate.stall_after",
        "sources.gate.evry",
        "sources.yard.kind",
        'sources."a b"',
        'sources."a b".fps',
        "privacy.method",
        "store",
    ]
    assert str(caught.value).startswith("edge.toml: 9 faults\n")
    assert all(fault.path in str(caught.value) for fault in caught.value.faults)


def test_a_fault_says_what_was_given_and_what_was_expected() -> None:
    found = faults(
        f'[sources.s]\nkind = "scene"\nfps = 61\npeople = "many"\n[log]\nlevel = "loud"\n{STORE}'
    )
    assert found["sources.s.fps"] == " = 61: expected number, more than 0 to 60"
    assert found["sources.s.people"] == ' = "many": expected whole number, 0 to 50'
    assert found["log.level"] == ' = "loud": expected "debug", "info", "warning" or "error"'


def test_a_duration_without_its_unit_is_a_fault() -> None:
    found = faults(f"[box]\nstop_timeout = 10\n{STORE}")
    assert found["box.stop_timeout"].startswith(" = 10: expected a duration with its unit")


def test_a_misspelt_key_is_told_the_right_one() -> None:
    found = faults(
        f'[sources.s]\nkind = "camera"\nurl = "/dev/video0"\nstal_after = "5s"\n'
        f"[privcy]\nx = 1\n{STORE}"
    )
    assert "did you mean stall_after?" in found["sources.s.stal_after"]
    assert "did you mean privacy?" in found["privcy"]


def test_a_key_of_another_kind_is_unknown() -> None:
    found = faults(f'[sources.s]\nkind = "scene"\nurl = "rtsp://h/1"\n{STORE}')
    assert found["sources.s.url"].startswith(": no such key")


def test_the_tag_of_a_union_is_not_part_of_a_path() -> None:
    found = faults('[sources.camera]\nkind = "camera"\nurl = 5\n[store]\nkind = "s3"\nbucket = "b"')
    assert found["sources.camera.url"] == " = 5: expected text"
    assert "store.endpoint" in found
    assert "store.bucket" in found


def test_a_kind_that_is_missing_or_unknown_names_the_kinds() -> None:
    found = faults('[sources.a]\nseed = 1\n[store]\nkind = "ftp"')
    assert found["sources.a.kind"] == ': missing; expected "camera", "scene", "folder" or "bucket"'
    assert found["store.kind"] == ' = "ftp": expected "folder" or "s3"'


def test_a_point_outside_of_the_picture_is_named_by_its_place() -> None:
    found = faults(
        f'[sources.s]\nkind = "scene"\nprivacy.blackout = [[[0, 0], [0.5, 1.5], [1, 1]]]\n{STORE}'
    )
    assert found["sources.s.privacy.blackout[0][1][1]"] == " = 1.5: expected number, 0 to 1"


def test_a_syntax_error_has_line_and_column() -> None:
    found = faults("[box]\nsite = gate\n")
    assert "line 2" in found["the file"]
    assert "column" in found["the file"]


def test_a_file_that_is_missing_or_not_text_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b'[box]\nsite = "\xff"\n')
    with pytest.raises(ConfigError, match="not UTF-8 at line 2"):
        load(tmp_path / "bytes.toml")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "edge.local", ""])
def test_a_page_that_is_open_to_the_network_needs_a_token(host: str) -> None:
    assert list(faults(f'[web]\nhost = "{host}"\n{STORE}')) == ["web.token"]
    assert list(faults(f'[web]\nhost = "{host}"\ntoken = ""\n{STORE}')) == ["web.token"]
    loads(f'[web]\nhost = "{host}"\ntoken = "t"\n{STORE}', "edge.toml")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_a_page_on_loopback_needs_no_token(host: str) -> None:
    config = loads(f'[web]\nhost = "{host}"\n{STORE}', "edge.toml")
    assert config.web.host == host


@pytest.mark.parametrize("name", ["a/b", "..", "ä", "a" * 65, "two words"])
def test_a_source_name_that_cannot_be_part_of_a_key_is_refused(name: str) -> None:
    found = faults(f'[sources."{name}"]\nkind = "scene"\n{STORE}')
    assert len(found) == 1
    assert "expected a name" in next(iter(found.values()))


def test_a_blackout_polygon_has_three_points() -> None:
    found = faults(f'[sources.s]\nkind = "scene"\nprivacy.blackout = [[[0, 0], [1, 1]]]\n{STORE}')
    assert "at least three points" in found["sources.s.privacy.blackout[0]"]


@pytest.mark.parametrize("out", ["in", "in/out", "in/../in/a/b", "link/out"])
def test_the_store_may_not_lie_in_a_watched_folder(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to("in")
    text = f'[sources.d]\nkind = "folder"\npath = "in"\n[store]\nkind = "folder"\npath = "{out}"\n'
    assert "lies in the folder that sources.d watches" in faults(text)["store.path"]


def test_a_store_beside_a_watched_folder_is_fine() -> None:
    text = '[sources.d]\nkind = "folder"\npath = "in"\n[store]\nkind = "folder"\npath = "in2"\n'
    assert loads(text, "edge.toml").store == FolderStoreConfig(kind="folder", path="in2")


def test_two_sources_may_not_read_one_folder() -> None:
    found = faults(
        '[sources.a]\nkind = "folder"\npath = "in"\n'
        f'[sources.b]\nkind = "folder"\npath = "./in/"\n{STORE}'
    )
    assert "sources.a reads this one" in found["sources.b.path"]


def test_encryption_by_a_key_needs_the_id_of_the_key() -> None:
    s3 = (
        '[store]\nkind = "s3"\nendpoint = "http://127.0.0.1:9000"\nbucket = "abc"\n'
        'access_key = "a"\nsecret_key = "s"\nsse = "sse-kms"\n'
    )
    assert list(faults(s3)) == ["store.sse_key_id"]
    loads(s3 + 'sse_key_id = "k"\n', "edge.toml")


@pytest.mark.parametrize(
    "bucket", ["a_b_c", "Redacted", "-abc", "abc-", "a..b", "a.-b", "10.0.0.5", "a b"]
)
def test_a_bucket_has_a_name_that_every_store_takes(bucket: str) -> None:
    text = (
        f'[store]\nkind = "s3"\nendpoint = "http://h:1"\nbucket = "{bucket}"\n'
        'access_key = "a"\nsecret_key = "s"\n'
    )
    assert list(faults(text)) == ["store.bucket"]
    loads(text.replace(bucket, "site-1.redacted"), "edge.toml")


def test_an_endpoint_is_an_address_without_credentials() -> None:
    found = faults(
        '[store]\nkind = "s3"\nendpoint = "http://me:hunter2@host"\nbucket = "abc"\n'
        'access_key = "a"\nsecret_key = "s"\n'
    )
    assert "without path and credentials" in found["store.endpoint"]
    assert "hunter2" not in found["store.endpoint"]


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://h/1",
        "rtsps://u:p%40@h:322/1?x=a@b",
        "http://h/cgi?user=a&pwd=b",
        "HTTPS://h/",
        "/dev/video0",
        "clips/a b.mp4",
        "rtsp://[fe80::1]:554/s",
    ],
)
def test_a_camera_address_of_a_known_kind_is_taken(url: str) -> None:
    config = loads(f'[sources.c]\nkind = "camera"\nurl = "{url}"\n{STORE}', "edge.toml")
    camera = config.sources["c"]
    assert isinstance(camera, CameraConfig)
    assert camera.url.reveal() == url


@pytest.mark.parametrize(
    "url",
    [
        "ftp://me:hunter2@h/1",
        "rtsp://",
        "rtsp://me:hunt#er2@h/1",
        "rtsp://me:hunter/2@h/1",
        "rtsp://me:hunter 2@h/1",
        "rtsp://me:hunter2@h:port/1",
        "  ",
    ],
)
def test_a_camera_address_that_cannot_be_opened_is_refused_without_showing_it(url: str) -> None:
    found = faults(f'[sources.c]\nkind = "camera"\nurl = "{url}"\n{STORE}')
    assert list(found) == ["sources.c.url"]
    assert "hunt" not in str(found)


def test_a_fault_in_one_key_does_not_hide_one_between_others() -> None:
    found = faults(
        '[web]\nhost = "0.0.0.0"\nport = "x"\ntoken = 5\n'
        f'[sources.c]\nkind = "camera"\nurl = "ftp://h"\nnew = 1\nevery = 0\n{STORE}'
    )
    assert set(found) == {
        "web.port",
        "web.token",
        "sources.c.url",
        "sources.c.new",
        "sources.c.every",
    }
    assert found["web.token"] == " = 5: expected text"


def test_a_state_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = faults(f'[box]\nstate = "{tmp_path}/file/below"\n{STORE}')
    assert "is not a directory" in found["box.state"]


def test_the_secret_under_a_misspelt_key_is_not_shown() -> None:
    found = faults(f'[web]\ntokn = "hunter2"\n{STORE}')
    assert "did you mean token?" in found["web.tokn"]
    assert "hunter2" not in str(found)


def test_validation_doubts_secrets_in_plain_text(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    path.write_text(
        '[sources.a]\nkind = "camera"\nurl = "rtsp://u:hunter2@h/1"\n'
        '[sources.b]\nkind = "camera"\nurl = "http://h/?user=u&pwd=hunter2"\n'
        '[sources.c]\nkind = "camera"\nurl = "rtsp://u:${secret:c}@h/1"\n'
        f'[web]\ntoken = "hunter2"\n{STORE}'
    )
    doubts = examine(path, environ={"EDGE_SECRET_C": "x", "HOME": "/"}).doubts
    assert [doubt.path for doubt in doubts] == ["sources.a.url", "sources.b.url", "web.token"]
    assert "hunter2" not in str([str(doubt) for doubt in doubts])


def test_the_file_is_the_one_given_else_the_one_of_the_environment() -> None:
    environ = {"EDGE_CONFIG": "/a/b.toml", "CONFIGURATION_DIRECTORY": "/etc/x:/etc/y"}
    assert config_file(Path("c.toml"), environ) == Path("c.toml")
    assert config_file(None, environ) == Path("/a/b.toml")
    del environ["EDGE_CONFIG"]
    assert config_file(None, environ) == Path("/etc/x/edge.toml")
    assert config_file(None, {}) == Path("/etc/edge/edge.toml")


PLAIN = st.one_of(
    st.booleans(), st.integers(-5, 100_000), st.floats(allow_nan=False), st.text(max_size=8)
)
NAMES = st.sampled_from(
    ["box", "web", "sources", "store", "kind", "url", "privacy", "margin", "blackout", "x"]
)
TABLES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(st.dictionaries(NAMES, TABLES, max_size=5))
@example({"sources": {"a": {"kind": "camera", "url": {"x": 1}, "privacy": 5}}, "store": []})
@example({"sources": [{"kind": "camera"}], "web": 5, "box": {"state": []}})
@example({"sources": {"": {"kind": ["camera"]}}, "store": {"kind": {}}})
def test_whatever_the_file_holds_the_answer_is_a_configuration_or_its_faults(
    content: dict[str, object],
) -> None:
    def toml(value: object) -> str:
        if isinstance(value, dict):
            inner = ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items())
            return f"{{{inner}}}"
        if isinstance(value, list):
            return f"[{', '.join(map(toml, value))}]"
        if isinstance(value, float) and value in (float("inf"), float("-inf")):
            return "inf" if value > 0 else "-inf"
        return json.dumps(value).replace("\\ud", "\\\\ud").replace("\x7f", "\\u007f")

    text = "\n".join(f"{json.dumps(k)} = {toml(v)}" for k, v in content.items())
    found: tuple[Fault, ...] = (Fault(location=("fine",), message="none"),)
    try:
        loads(text, "edge.toml", environ={"HOME": "/"})
    except ConfigError as error:
        found = error.faults
    assert found
    assert all(fault.path and fault.message for fault in found)
