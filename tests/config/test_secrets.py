"""Where secrets come from, and that they go nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from edge.config.load import ConfigError, load, loads
from edge.config.secret import Secret
from edge.config.secrets import Secrets
from edge.config.sources import CameraConfig
from edge.config.web import WebConfig

TEXT = """
[sources.gate]
kind = "camera"
url = "rtsp://viewer:${secret:gate-1}@10.0.0.5/s"
[store]
kind = "folder"
path = "out"
"""
PASSWORD = "p@ss/w#rd ä"
ENCODED = "rtsp://viewer:p%40ss%2Fw%23rd%20%C3%A4@10.0.0.5/s"


def url_of(path: Path, **environ: str) -> str:
    source = load(path, environ={"HOME": "/", **environ}).sources["gate"]
    assert isinstance(source, CameraConfig)
    return source.url.reveal()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "edge.toml"
    path.write_text(TEXT)
    return path


def keep(directory: Path, value: str, mode: int = 0o600) -> None:
    directory.mkdir(exist_ok=True)
    kept = directory / "gate-1"
    kept.write_text(value + "\n")
    kept.chmod(mode)


def test_systemd_comes_before_the_file_and_the_file_before_the_environment(
    file: Path, tmp_path: Path
) -> None:
    assert url_of(file, EDGE_SECRET_GATE_1="three") == "rtsp://viewer:three@10.0.0.5/s"
    keep(tmp_path / "secrets", "two")
    assert url_of(file, EDGE_SECRET_GATE_1="three") == "rtsp://viewer:two@10.0.0.5/s"
    keep(tmp_path / "credentials", "one", 0o440)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    assert url_of(file, **environ) == "rtsp://viewer:one@10.0.0.5/s"


def test_a_secret_in_an_address_is_percent_encoded(file: Path) -> None:
    assert url_of(file, EDGE_SECRET_GATE_1=PASSWORD) == ENCODED


def test_a_secret_that_is_the_whole_value_is_taken_as_it_is() -> None:
    assert Secrets(None, {"EDGE_SECRET_A": PASSWORD}).resolve("${secret:a}") == PASSWORD


def test_a_missing_secret_names_the_three_places(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(file, environ={"CREDENTIALS_DIRECTORY": "/run/credentials/edge", "HOME": "/"})
    (fault,) = caught.value.faults
    assert fault.path == "sources.gate.url"
    assert "/run/credentials/edge/gate-1" in fault.message
    assert str(tmp_path / "secrets" / "gate-1") in fault.message
    assert "$EDGE_SECRET_GATE_1" in fault.message


def test_a_secret_file_that_others_can_read_is_refused(file: Path, tmp_path: Path) -> None:
    keep(tmp_path / "secrets", "hunter2", 0o640)
    with pytest.raises(ConfigError, match="chmod 600") as caught:
        load(file, environ={"HOME": "/"})
    assert "hunter2" not in str(caught.value)


def test_an_empty_secret_is_refused(file: Path, tmp_path: Path) -> None:
    keep(tmp_path / "secrets", "")
    with pytest.raises(ConfigError, match="is empty"):
        load(file, environ={"HOME": "/"})


@pytest.mark.parametrize("name", ["", "../shadow", "a/b", ".hidden", "a b"])
def test_a_secret_name_cannot_lead_out_of_its_directory(name: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Secrets(Path("/etc"), {}).resolve(f"${{secret:{name}}}")


def test_a_secret_is_refused_where_its_value_would_be_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        loads(
            TEXT.replace('path = "out"', 'path = "/${secret:gate-1}"'),
            "edge.toml",
            environ={"EDGE_SECRET_GATE_1": "hunter2", "HOME": "/"},
        )
    assert [fault.path for fault in caught.value.faults] == ["store.path"]
    assert "hunter2" not in str(caught.value)


def test_a_resolved_secret_is_in_no_output(file: Path) -> None:
    config = load(file, environ={"EDGE_SECRET_GATE_1": "hunter2", "HOME": "/"})
    shown = [repr(config), str(config), config.model_dump_json(), json.dumps(str(vars(config)))]
    assert not any("hunter2" in text for text in shown)


def test_a_wrong_neighbour_does_not_show_a_resolved_secret(file: Path) -> None:
    file.write_text(TEXT + '[web]\nport = "no"\ntoken = "${secret:gate-1}"\nextra = 1\n')
    with pytest.raises(ConfigError) as caught:
        load(file, environ={"EDGE_SECRET_GATE_1": "hunter2", "HOME": "/"})
    assert len(caught.value.faults) == 2
    assert "hunter2" not in str(caught.value) + repr(caught.value.faults)
    # the chain of causes is printed by loggers: it must not carry pydantic's input either
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_section_that_is_refused_does_not_show_its_values() -> None:
    with pytest.raises(ValidationError) as caught:
        WebConfig.model_validate({"token": "hunter2", "tokn": "hunter2", "port": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_a_secret_prints_as_stars_and_compares_by_value() -> None:
    assert f"{Secret('a')} {Secret('a')!r}" == "******** ********"
    assert Secret("a") == Secret("a") != Secret("b")
    assert not Secret("")
