"""A real Ceph RADOS Gateway with a pubsub zone beside it: the old pull mode. Four seconds."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from minio import Minio

from edge.errors import PartFailed
from edge.sources.buckets.link import BucketLink
from edge.sources.buckets.setup_pull import PullZone
from edge.sources.buckets.sigv import Keys
from tests.places import need, shared
from tests.servers.rgw_tool import RgwTool


class RgwPubsub:
    """A store at ``endpoint``, and the gateway that is asked for events at ``pubsub``."""

    def __init__(self, tool: Path, directory: Path) -> None:
        self._tool, self._directory = RgwTool(tool, directory, "--pubsub"), directory
        self._tool.start()
        facts = self._tool.facts()
        self.endpoint = facts["RGW_ENDPOINT"]
        self.pubsub = facts["RGW_PUBSUB_ENDPOINT"]
        self.keys = Keys(access_key=facts["RGW_ACCESS_KEY"], secret_key=facts["RGW_SECRET_KEY"])

    def client(self) -> Minio:
        return Minio(
            endpoint=self.endpoint.removeprefix("http://"),
            access_key=self.keys.access_key,
            secret_key=self.keys.secret_key,
            secure=False,
            region="us-east-1",
        )

    async def subscribe(self, bucket: str) -> str:
        """Make a topic, a notification and a subscription for a bucket; return its name."""
        name = f"s-{secrets.token_hex(4)}"
        link = BucketLink(self.pubsub, self.keys)
        zone = PullZone(link)
        await zone.put(f"/topics/{name}")
        # the bucket's metadata comes to the zone 0.3 s after it was made
        for _ in range(200):
            with suppress(PartFailed):
                await zone.put(f"/notifications/bucket/{bucket}", topic=name)
                break
            await asyncio.sleep(0.05)
        await zone.put(f"/subscriptions/{name}", topic=name)
        await link.close()
        await asyncio.sleep(0.5)  # rgw-dev's repair copies it each 0.1 s
        return name

    def kill(self) -> None:
        """End the gateway of the pubsub zone as a crash does."""
        pid = int((self._directory / "run" / "rgw.pubsub.pid").read_text())
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}/cmdline").exists() and (Path(f"/proc/{pid}/cmdline").read_bytes()):
            time.sleep(0.005)

    def revive(self) -> None:
        self._tool.start()

    def stop(self) -> None:
        self._tool.stop()


@pytest.fixture(scope="module")
def pubsub() -> Iterator[RgwPubsub]:
    """Return a running pair of gateways."""
    for program in ("radosgw", "ceph-mon", "ceph-osd"):
        need(program, "radosgw ceph-mon ceph-osd ceph-common")
    tool = shared("tools/rgw-dev")
    above = Path(tempfile.mkdtemp(prefix="edge-rgw-"))
    server = RgwPubsub(tool, above / "d")
    yield server
    server.stop()
    shutil.rmtree(above)
