from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click
import pytest

from edge.cli.box_client import USUAL, BoxClient, Where, where_is_box
from edge.cli.main import main
from edge.config.load_faults import ConfigError
from edge.errors import EdgeError, PartFailed, Rejected, TryLater
from tests.cli.running_box import running_box
from tests.places import free_port

SAYS = b'{"error": {"code": "c", "message": "m", "hint": ""}}'
SMALLEST = """
[sources.gate]
kind = "camera"
url = "rtsp://user:${secret:camera}@camera.example/1"
[store]
kind = "folder"
path = "pictures"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "edge.toml"
    web = '[web]\nhost = "0.0.0.0"\nport = 8123\ntoken = "${secret:web}"\n'
    file.write_text(web + SMALLEST)
    return file


def nowhere(**more: str) -> dict[str, str]:
    return {"EDGE_CONFIG": "nowhere.toml", **more}


def test_the_usual_address_is_taken_where_nothing_is_said() -> None:
    assert where_is_box(None, None, None, nowhere()) == Where(USUAL)


def test_options_count_before_the_environment() -> None:
    environ = nowhere(EDGE_URL="http://a.example", EDGE_TOKEN="a")
    assert where_is_box(None, None, None, environ) == Where("http://a.example", "a")
    assert where_is_box("http://b.example", "b", None, environ) == Where("http://b.example", "b")


def test_the_configuration_has_address_and_token(file: Path) -> None:
    environ = {"EDGE_SECRET_WEB": "t0ken", "EDGE_CONFIG": str(file)}
    expected = Where("http://127.0.0.1:8123", "t0ken")
    assert where_is_box(None, None, None, environ) == expected
    assert where_is_box(None, None, file, nowhere(EDGE_SECRET_WEB="t0ken")) == expected
    # a file that was named counts before the environment
    environ = nowhere(EDGE_SECRET_WEB="t0ken", EDGE_URL="http://a.example")
    assert where_is_box(None, None, file, environ) == expected


def test_the_token_of_the_file_goes_to_no_other_address(file: Path) -> None:
    environ = {"EDGE_SECRET_WEB": "t0ken", "EDGE_CONFIG": str(file)}
    assert where_is_box("http://a.example", None, None, environ) == Where("http://a.example")
    # unless somebody says so
    found = where_is_box("http://a.example", None, file, environ)
    assert found == Where("http://a.example", "t0ken")


def test_a_token_that_cannot_be_read_is_told(file: Path) -> None:
    with pytest.raises(Rejected, match=r"web\.token") as caught:
        where_is_box(None, None, file, nowhere())
    assert "EDGE_TOKEN" in caught.value.hint
    assert where_is_box(None, "x", file, nowhere()) == Where("http://127.0.0.1:8123", "x")


def test_a_configuration_that_was_named_must_be_there_and_right(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        where_is_box(None, None, tmp_path / "nowhere.toml", {})
    (tmp_path / "edge.toml").write_text("[web]\nprt = 1\n")
    with pytest.raises(ConfigError, match="prt"):
        where_is_box(None, None, tmp_path / "edge.toml", {})


@pytest.mark.parametrize(
    "url",
    ["", "box", "ftp://box", "http://", "http://a:0", "http://a:x", "http://u:p@a", "http://a?b=c"],
)
def test_an_address_that_is_none_is_wrong_usage(url: str) -> None:
    with pytest.raises(click.BadParameter, match=r"http://127\.0\.0\.1:8080"):
        BoxClient(Where(url))


def test_a_box_that_is_not_there_is_a_dependency(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    for command in (["event", "tail"], ["dlq", "ls"], ["trigger", "ls"], ["event", "show", "1"]):
        assert main([*command, "--url", url]) == 4
        error = capsys.readouterr().err
        assert f"no box answers at {url}: Connection refused" in error
        assert "edge run" in error
    assert main(["dlq", "ls", "--url", url, "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["error"]["reason"] == "unreachable"


def test_the_token_opens_the_box(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_box(token="t0kën") as box:
        monkeypatch.setenv("EDGE_URL", box.url)
        assert main(["trigger", "ls"]) == 1
        assert "401 unauthorised" in (error := capsys.readouterr().err)
        assert "EDGE_TOKEN" in error
        assert main(["trigger", "ls", "--token", "wrong"]) == 1
        capsys.readouterr()
        monkeypatch.setenv("EDGE_TOKEN", "t0kën")
        # a wrong token makes the next try wait
        assert main(["trigger", "ls"]) in (0, 75)
        assert main(["trigger", "ls", "--token", "a\nb"]) == 2


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """Be some other server: a canned answer for each connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            for answer in answers:
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(10)
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, name="other-server")
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join(10)


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", PartFailed, "not JSON"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n<html>", Rejected, "no box's: 404"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n", Rejected, "no box's: 302"),
        (b'HTTP/1.1 500 Oh\r\n\r\n{"error": 7}', Rejected, "no box's: 500"),
        (b"HTTP/1.1 400 Bad\r\n\r\n" + b"[" * 100_000, Rejected, "no box's: 400"),
        (b"", PartFailed, "no box answers"),
        (b"SSH-2.0-OpenSSH\r\n", PartFailed, "no box answers"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", PartFailed, "no box answers"),
        (
            b"HTTP/1.1 503 No\r\nRetry-After: 7\r\n\r\n" + SAYS,
            TryLater,
            "503 c: m",
        ),
        (
            b"HTTP/1.1 500 No\r\n\r\n" + SAYS,
            EdgeError,
            "500 c: m",
        ),
    ],
)
def test_an_answer_of_another_kind_is_told_as_it_is(
    answer: bytes, error: type[EdgeError], told: str
) -> None:
    with (
        answering(answer) as url,
        closing(BoxClient(Where(url))) as client,
        pytest.raises(error, match=told) as caught,
    ):
        client.ask("/v1/triggers")
    assert getattr(caught.value, "after", 0) in (0, 7)


def test_a_connection_that_the_box_has_ended_is_opened_anew() -> None:
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    with answering(good, good) as url:
        client = BoxClient(Where(url))
        assert client.ask("/a") == {}
        assert client.ask("/b") == {}
        client.close()
