"""What (j) and (k) share: a real gateway, a box between two of its buckets, and the bare parts."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
from minio import Minio

from edge.config.privacy import Policy, PrivacyConfig, SourcePrivacy
from edge.detections import Sighting
from edge.frame import Encoded
from edge.stages.decode import decode
from edge.stages.engines.onnx import OnnxEngine
from edge.stages.redact import redact
from tests.bench.bound import look
from tests.bench.box import Box, box, detect
from tests.bench.inputs import Inputs
from tests.bench.result import Missing
from tests.places import SHARED
from tests.servers.rgw import Rgw

MODEL = "picodet_s_416"
SIZE = "720p"
QUALITY = 90
"""Of the JPEGs that land in the bucket."""
TOKEN = "a-token-of-the-bench"
IN, OUT, ALONE = "bench-in", "bench-in-out", "bench-alone"
PARTS = ("GET", "decode", "infer", "redact", "encode", "PUT", "PUT message")
MESSAGE = json.dumps({"people": [{"box": [1.5, 2.5, 3.5, 4.5], "score": 0.5}] * 10}).encode()
"""About as long as a message."""
MAX_PIXELS = 50_000_000


@contextlib.contextmanager
def gateway() -> Iterator[Rgw]:
    """Run a Ceph RGW of our own.

    Raises:
        Missing: it is not on this machine.

    """
    tool = SHARED / "tools" / "rgw-dev"
    found = [shutil.which(name, path="/usr/bin:/usr/sbin:/bin") for name in ("radosgw", "ceph-osd")]
    if not tool.is_file() or not all(found):
        raise Missing("radosgw ceph-mon ceph-osd ceph-common, and tools/rgw-dev of the shared data")
    # its Unix sockets allow a path of 75 characters
    above = Path(tempfile.mkdtemp(prefix="edge-rgw-"))
    server = Rgw(tool, above / "d")
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(above)


def pictures(inputs: Inputs, count: int) -> list[bytes]:
    """Return distinct JPEGs of the clip of people."""
    capture = cv2.VideoCapture(str(inputs.clip(SIZE, 240)))
    found: list[bytes] = []
    while len(found) < count:
        more, pixels = capture.read()
        if not more:
            raise Missing(f"a clip of {count} frames")
        _, body = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        found.append(body.tobytes())
    return found


def put(client: Minio, bucket: str, key: str, body: bytes) -> None:
    client.put_object(bucket_name=bucket, object_name=key, data=io.BytesIO(body), length=len(body))


def written(client: Minio, bucket: str, since: float = 0.0) -> dict[str, float]:
    """Return when the server had each object, by its own clock, which is ours: to the ms."""
    times = {
        one.object_name or "": one.last_modified.timestamp() if one.last_modified else 0.0
        for one in client.list_objects(bucket_name=bucket, recursive=True)
    }
    return {key: at for key, at in times.items() if at >= since}


def clear(client: Minio, bucket: str) -> None:
    """Delete what is in a bucket: the gateway keeps it in memory. One by one, for RGW's sake."""
    for one in client.list_objects(bucket_name=bucket, recursive=True):
        client.remove_object(bucket_name=bucket, object_name=one.object_name or "")


def config(inputs: Inputs, rgw: Rgw) -> str:
    """Write the tables of a box that is told of one bucket and stores into another."""
    keys = f'access_key = "{rgw.access_key}"\nsecret_key = "{rgw.secret_key}"\n'
    return (
        f"{detect(inputs.models, MODEL)}\n"
        f'[sources.yard]\nkind = "bucket"\nendpoint = "{rgw.endpoint}"\nbucket = "{IN}"\n'
        f'sweep_every = "0s"\ntoken = "{TOKEN}"\n{keys}'
        f'[store]\nkind = "s3"\nendpoint = "{rgw.endpoint}"\nbucket = "{OUT}"\n{keys}'
    )


@contextlib.contextmanager
def yard(inputs: Inputs) -> Iterator[tuple[Rgw, Box]]:
    """Run a gateway with the buckets, and a box that is ready."""
    inputs.model(MODEL)
    with gateway() as rgw:
        for name in (IN, OUT, ALONE):
            rgw.client().make_bucket(bucket_name=name)
        with box(config(inputs, rgw)) as one:
            one.wait_for(one.is_ready)
            yield rgw, one


@contextlib.contextmanager
def recorder() -> Iterator[tuple[str, list[bytes]]]:
    """Listen for notifications; yield the address and, as they come, their bodies."""
    bodies: list[bytes] = []

    class Take(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
    threading.Thread(target=server.serve_forever, name="recorder", daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", bodies
    finally:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True, slots=True)
class Alone:
    """The parts, one after the other in one thread: what a box of no overlap would take."""

    client: Minio
    engine: OnnxEngine
    policy: Policy

    @classmethod
    def open(cls, inputs: Inputs, rgw: Rgw) -> Alone:
        cv2.setNumThreads(1)
        policy = PrivacyConfig().for_source(SourcePrivacy())
        return cls(rgw.client(), OnnxEngine.open(inputs.model(MODEL)), policy)

    def walk(self, keys: Sequence[str], bucket: str = IN) -> list[list[float]]:
        """Take each picture of a bucket all the way; return seconds by part, a list each."""
        return [self._one(bucket, key, f"out-{number}") for number, key in enumerate(keys)]

    def _one(self, bucket: str, key: str, name: str) -> list[float]:
        times = [time.perf_counter()]

        def passed() -> None:
            times.append(time.perf_counter())

        with self.client.get_object(bucket_name=bucket, object_name=key) as answer:
            body = answer.read()
        passed()
        picture = Encoded(
            body=body, name=key, taken_at=datetime.now(UTC), source="alone", subject=key
        )
        frame = decode(picture, max_pixels=MAX_PIXELS)
        passed()
        found = Sighting(
            frame=frame, detections=look(frame.pixels, self.engine), engine=self.engine.info
        )
        passed()
        covered = redact(found, self.policy).pixels
        passed()
        _, out = cv2.imencode(".jpg", covered, [cv2.IMWRITE_JPEG_QUALITY, self.policy.quality])
        passed()
        put(self.client, ALONE, f"{name}.jpg", out.tobytes())
        passed()
        put(self.client, ALONE, f"{name}.json", MESSAGE)
        passed()
        return [end - start for start, end in itertools.pairwise(times)]
