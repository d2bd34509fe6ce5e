"""A real Ceph RADOS Gateway (S3) on loopback, one a test run, a bucket a test."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from minio import Minio

from tests.places import need, shared
from tests.servers.rgw_tool import RgwTool

KMS_KEY = "edge-key"
SETTINGS = f"""
# with its cache a gateway waits 30 s for one that was killed, before it makes a bucket
rgw_cache_enabled = false
# with this name a bucket may be part of it; by its address the gateway is asked as before
rgw_dns_name = localhost
rgw_crypt_s3_kms_backend = testing
rgw_crypt_s3_kms_encryption_keys = {KMS_KEY}={base64.b64encode(bytes(32)).decode()}
"""


class Rgw:
    """A running gateway. ``kill`` and ``revive`` break and mend it; its objects stay."""

    def __init__(self, tool: Path, directory: Path) -> None:
        self._tool, self._directory = RgwTool(tool, directory), directory
        self._tool.start()
        with (directory / "ceph.conf").open("a") as file:
            file.write(SETTINGS)
        os.kill(self._pid(), signal.SIGTERM)
        while self._is_alive():
            time.sleep(0.02)
        self._tool.start()
        facts = self._tool.facts()
        self.endpoint = facts["RGW_ENDPOINT"]
        self.access_key = facts["RGW_ACCESS_KEY"]
        self.secret_key = facts["RGW_SECRET_KEY"]

    def client(self) -> Minio:
        """Return a client of our own, to look from outside."""
        return Minio(
            endpoint=self.endpoint.removeprefix("http://"),
            access_key=self.access_key,
            secret_key=self.secret_key,
            secure=False,
            region="us-east-1",
        )

    def kill(self) -> None:
        """End the gateway as a crash does. The objects are in another process."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid(), signal.SIGKILL)
        while self._is_alive():
            time.sleep(0.005)

    def revive(self) -> None:
        """Start the gateway again on its port; nothing happens if it runs."""
        if not self._is_alive():
            self._tool.start()

    def freeze(self) -> None:
        """Make it accept and never answer, until ``thaw``."""
        os.kill(self._pid(), signal.SIGSTOP)

    def thaw(self) -> None:
        """End what ``freeze`` began."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid(), signal.SIGCONT)

    def add_user(self, name: str) -> tuple[str, str]:
        """Make an account and return its access and secret key."""
        keys = (f"{name}access", secrets.token_hex(12))
        subprocess.run(
            [
                *(need("radosgw-admin", "radosgw"), "-c", str(self._directory / "ceph.conf")),
                *("user", "create", f"--uid={name}", f"--display-name={name}"),
                *(f"--access-key={keys[0]}", f"--secret-key={keys[1]}"),
            ],
            check=True,
            capture_output=True,
            timeout=60,
        )
        return keys

    def stop(self) -> None:
        """End all daemons and delete the data."""
        self.thaw()
        self._tool.stop()

    def _is_alive(self) -> bool:
        try:
            return bool(Path(f"/proc/{self._pid()}/cmdline").read_bytes())  # empty: a zombie
        except FileNotFoundError:
            return False

    def _pid(self) -> int:
        return int((self._directory / "run" / "rgw.main.pid").read_text())


_RUNNING = pytest.StashKey[Rgw]()


@pytest.fixture(scope="session")
def rgw(request: pytest.FixtureRequest) -> Rgw:
    """One gateway for the whole run, for all directories of tests that import this; 3 seconds."""
    if _RUNNING in request.config.stash:
        return request.config.stash[_RUNNING]
    for program in ("radosgw", "ceph-mon", "ceph-osd"):
        need(program, "radosgw ceph-mon ceph-osd ceph-common")
    tool = shared("tools/rgw-dev")
    # its Unix sockets allow a path of 75 characters: not pytest's own directories
    above = Path(tempfile.mkdtemp(prefix="edge-rgw-"))
    request.config.add_cleanup(lambda: shutil.rmtree(above))
    server = Rgw(tool, above / "d")
    request.config.add_cleanup(server.stop)  # the last one added runs first
    request.config.stash[_RUNNING] = server
    return server


@pytest.fixture
def bucket(rgw: Rgw) -> Iterator[str]:
    """Return the name of a bucket that does not exist yet; afterwards the gateway runs again."""
    yield f"edge-{secrets.token_hex(6)}"
    rgw.thaw()
    rgw.revive()
