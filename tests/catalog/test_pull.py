from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.catalog.installed import Catalog
from edge.errors import PartFailed
from tests.catalog import tiny
from tests.places import free_port, need
from tests.servers.files import FileServer

BODY = tiny.network().SerializeToString(deterministic=True)


def catalog(folder: Path, server: FileServer | None = None, **changes: object) -> Catalog:
    url = server.url if server else f"http://127.0.0.1:{free_port()}/model.onnx"
    known = tiny.manifest(BODY, **({"url": url} | changes))
    return Catalog(folder, manifests={"tiny": known})


def part(models: Catalog) -> Path:
    return models.path / ".pull" / f"{models.manifests['tiny'].sha256}.part"


async def test_a_known_model_is_fetched_checked_and_installed(
    tmp_path: Path, file_server: FileServer
) -> None:
    file_server.body = BODY
    models = catalog(tmp_path, file_server)
    told: list[tuple[int, int]] = []
    installed = await models.pull("tiny", progress=lambda done, total: told.append((done, total)))
    assert installed == models.find("tiny")
    assert told[-1] == (len(BODY), len(BODY))
    assert not part(models).exists()


async def test_a_broken_download_goes_on_where_it_stopped(
    tmp_path: Path, file_server: FileServer
) -> None:
    file_server.body, file_server.breaks_after = BODY, 700
    models = catalog(tmp_path, file_server)
    with pytest.raises(PartFailed) as caught:
        await models.pull("tiny")
    assert caught.value.reason == "cut_off"
    assert part(models).read_bytes() == BODY[:700]
    file_server.breaks_after = None
    await models.pull("tiny")
    assert file_server.asked == ["", "bytes=700-"]
    assert models.find("tiny") is not None


async def test_a_server_that_cannot_resume_sends_everything_again(
    tmp_path: Path, file_server: FileServer
) -> None:
    file_server.body, file_server.resumes = BODY, False
    models = catalog(tmp_path, file_server)
    part(models).parent.mkdir(parents=True)
    part(models).write_bytes(BODY[:100])
    await models.pull("tiny")
    assert file_server.asked == ["bytes=100-"]
    assert models.find("tiny") is not None


async def test_a_download_that_was_whole_already_asks_for_nothing(
    tmp_path: Path, file_server: FileServer
) -> None:
    models = catalog(tmp_path, file_server)
    part(models).parent.mkdir(parents=True)
    part(models).write_bytes(BODY)
    await models.pull("tiny")
    assert file_server.asked == []


@pytest.mark.parametrize(
    ("body", "says_length", "reason"),
    [
        (b"x" * len(BODY), True, "wrong_digest"),
        (BODY[:-1], True, "wrong_size"),
        (BODY + b"x" * 100_000, True, "wrong_size"),
        (BODY + b"x" * 100_000, False, "wrong_size"),
    ],
)
async def test_another_file_is_thrown_away_and_named(
    tmp_path: Path, file_server: FileServer, body: bytes, *, says_length: bool, reason: str
) -> None:
    file_server.body, file_server.says_length = body, says_length
    models = catalog(tmp_path, file_server)
    with pytest.raises(PartFailed, match="expected") as caught:
        await models.pull("tiny")
    assert caught.value.reason == reason
    assert models.find("tiny") is None
    assert not part(models).exists()


async def test_a_reply_that_ends_early_without_saying_its_length_is_gone_on_with(
    tmp_path: Path, file_server: FileServer
) -> None:
    file_server.body, file_server.says_length = BODY[:500], False
    models = catalog(tmp_path, file_server)
    with pytest.raises(PartFailed) as caught:
        await models.pull("tiny")
    assert caught.value.reason == "cut_off"
    assert part(models).stat().st_size == 500


@pytest.mark.parametrize(("status", "reason"), [(404, "not_found"), (403, "refused")])
async def test_a_refusal_says_what_the_server_said(
    tmp_path: Path, file_server: FileServer, status: int, reason: str
) -> None:
    file_server.status = status
    with pytest.raises(PartFailed, match=f"HTTP {status}") as caught:
        await catalog(tmp_path, file_server).pull("tiny")
    assert caught.value.reason == reason
    assert "--url" in caught.value.hint


async def test_a_stalling_server_is_given_up_in_time(
    tmp_path: Path, file_server: FileServer
) -> None:
    file_server.stalls = True
    with pytest.raises(PartFailed, match=r"no end after 0\.2 s") as caught:
        await catalog(tmp_path, file_server).pull("tiny", timeout=0.2)
    assert caught.value.reason == "timeout"


async def test_without_a_network_it_says_offline(tmp_path: Path) -> None:
    with pytest.raises(PartFailed) as caught:
        await catalog(tmp_path).pull("tiny", timeout=5)
    assert caught.value.reason == "offline"
    assert "edge model import" in caught.value.hint


async def test_a_mirror_may_take_the_place_of_the_public_address(
    tmp_path: Path, file_server: FileServer
) -> None:
    file_server.body = BODY
    installed = await catalog(tmp_path).pull("tiny", url=file_server.url)
    assert installed.id == "tiny"


async def test_credentials_in_a_mirrors_address_stay_out_of_the_error(
    tmp_path: Path, file_server: FileServer
) -> None:
    file_server.status = 403
    secret = file_server.url.replace("http://", "http://bob:hunter2@") + "?token=hunter3"
    with pytest.raises(PartFailed) as caught:
        await catalog(tmp_path).pull("tiny", url=secret)
    assert "hunter" not in str(caught.value)


async def test_a_nonsensical_address_is_an_error_of_the_house(tmp_path: Path) -> None:
    with pytest.raises(PartFailed, match="could not be fetched"):
        await catalog(tmp_path).pull("tiny", url="nonsense://")


async def test_models_without_an_address_or_manifest_are_named(tmp_path: Path) -> None:
    with pytest.raises(PartFailed, match="no public address"):
        await catalog(tmp_path, url="").pull("tiny")
    with pytest.raises(PartFailed, match="known are tiny"):
        await catalog(tmp_path).pull("huge")


async def test_a_model_over_the_limit_is_refused_before_it_is_fetched(
    tmp_path: Path, file_server: FileServer
) -> None:
    models = Catalog(
        tmp_path, max_bytes=100, manifests={"tiny": tiny.manifest(BODY, url=file_server.url)}
    )
    with pytest.raises(PartFailed, match="at most 100"):
        await models.pull("tiny")
    assert file_server.asked == []


async def test_two_pulls_of_one_model_do_not_mix(tmp_path: Path, file_server: FileServer) -> None:
    models = catalog(tmp_path, file_server)
    part(models).parent.mkdir(parents=True)
    with part(models).open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(PartFailed, match="another process"):
            await models.pull("tiny")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 16 KiB."""
    mount = need("mount", "mount")
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    done = subprocess.run([mount, "-t", "tmpfs", "-o", "size=16k", "tmpfs", place], check=False)
    if done.returncode:
        pytest.skip("this machine does not let tests mount a tmpfs")
    yield place
    subprocess.run([need("umount", "mount"), place], check=True)


async def test_a_full_disk_is_named_and_leaves_nothing_installed(
    small_disk: Path, file_server: FileServer
) -> None:
    file_server.body = BODY + b"x" * 60_000
    models = Catalog(
        small_disk,
        manifests={"tiny": tiny.manifest(file_server.body, url=file_server.url)},
    )
    with pytest.raises(PartFailed, match="No space left") as caught:
        await models.pull("tiny")
    assert caught.value.reason == "disk_full"
    assert models.ls() == []
    assert not part(models).exists()
