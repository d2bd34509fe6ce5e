"""Many pictures through two buckets of a real Ceph RGW while everything breaks: each one once.

300 pictures; ``EDGE_PICTURES=2000`` takes as many as the goal says, in about two minutes.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import struct
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import md5
from typing import Any

import cv2
import numpy as np
import pytest
import urllib3
from minio import Minio
from minio.error import MinioException

from edge.frame import ObjectRef
from edge.stages.objects import event_id
from tests.journeys.box import BoxProcess, pixels, until
from tests.journeys.conftest import MakeBox
from tests.places import free_port
from tests.servers.rgw import Rgw
from tests.servers.rgw_topics import push_to

COUNT = int(os.environ.get("EDGE_PICTURES", "300"))
TOKEN = "a-token-of-the-test"
MOST = 200_000
"""Bytes of an object that the source fetches."""
PATIENCE = 240.0
SECRET = b"52.5200N 13.4050E, Mrs Example"
"""Stands in the EXIF of some originals."""
POISON = (b"no picture", b"", b"\xff\xd8\xff\xe0" + bytes(500), os.urandom(MOST + 1))
"""Text, nothing, the beginning of a picture, and too large."""


def drawn(number: int, *, exif: bool) -> bytes:
    """Draw a small picture that is like no other."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
    picture = cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC)
    cv2.putText(picture, str(number), (20, 120), cv2.FONT_HERSHEY_SIMPLEX, 2, (255, 255, 255), 3)
    body = cv2.imencode(".jpg", picture)[1].tobytes()
    return body[:2] + exif_segment() + body[2:] if exif else body


def exif_segment() -> bytes:
    """Return an APP1 segment: turned by 180 degrees, and a description that names a person."""
    text = SECRET + b"\0"
    # two entries of 12 bytes; the text follows the directory, 38 bytes into the TIFF
    tiff = b"II*\0" + struct.pack("<IH", 8, 2)
    tiff += struct.pack("<HHII", 0x010E, 2, len(text), 38) + struct.pack(
        "<HHIHH", 0x0112, 3, 1, 3, 0
    )
    tiff += struct.pack("<I", 0) + text
    content = b"Exif\0\0" + tiff
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content


def etag_of(body: bytes) -> str:
    return md5(body, usedforsecurity=False).hexdigest()


def config(rgw: Rgw, bucket: str) -> str:
    keys = f'access_key = "{rgw.access_key}"\nsecret_key = "{rgw.secret_key}"\n'
    return (
        f'[sources.yard]\nkind = "bucket"\nendpoint = "{rgw.endpoint}"\nbucket = "{bucket}"\n'
        f'sweep_every = "3s"\ntoken = "{TOKEN}"\nmax_object = "{MOST}B"\ntimeout = "5s"\n{keys}'
        f'[outbox]\nretry_max = "1s"\n[store]\nkind = "s3"\nendpoint = "{rgw.endpoint}"\n'
        f'bucket = "{bucket}-out"\ntimeout = "5s"\n{keys}'
    )


class Camera:
    """Who writes into the bucket, and writes down what it wrote."""

    def __init__(self, rgw: Rgw, bucket: str, box: BoxProcess) -> None:
        self._rgw, self.bucket, self._box = rgw, bucket, box
        # a PUT whose notification is refused hangs now and then: it is made again
        patience = urllib3.Timeout(connect=2, read=4)
        self._client = Minio(
            endpoint=rgw.endpoint.removeprefix("http://"),
            access_key=rgw.access_key,
            secret_key=rgw.secret_key,
            secure=False,
            region="us-east-1",
            http_client=urllib3.PoolManager(timeout=patience, retries=False),
        )
        #: key of what each event is about, by the event's id
        self.must: dict[str, str] = {}
        self.may: dict[str, str] = {}
        self.poison: dict[str, str] = {}
        #: key and ETag of those that are told of several times
        self.told: list[tuple[str, str]] = []

    def event(self, key: str, body: bytes) -> str:
        return event_id("yard", ObjectRef(bucket=self.bucket, key=key, etag=etag_of(body)))

    def shoot(self, number: int) -> None:
        """Put one picture; some are poison, written over, or removed at once."""
        key = f"cam {number % 7}/ä+{number:05}%.jpg"
        if number % 50 == 17:
            body = POISON[number // 50 % len(POISON)]
            self._put(key, body)
            self.poison[self.event(key, body)] = key
        elif number % 25 == 8:
            body = drawn(number, exif=False)
            self._put(key, body)
            self.may[self.event(key, body)] = key
            self._try(lambda: self._client.remove_object(bucket_name=self.bucket, object_name=key))
        else:
            body = drawn(number, exif=number % 3 == 0)
            if number % 20 == 5:
                before = drawn(COUNT + number, exif=False)
                self._put(key, before)
                self.may[self.event(key, before)] = key
            self._put(key, body)
            self.must[self.event(key, body)] = key
        if number % 5 == 0:
            self.told.append((key, etag_of(body)))
            self.tell(*self.told[-1])

    def tell_again(self) -> None:
        """Send notifications of what is done by now."""
        for key, etag in self.told:
            self.tell(key, etag)

    def tell(self, key: str, etag: str) -> None:
        """Send a notification twice more, as a gateway does that saw no answer."""
        what = {"bucket": {"name": self.bucket}, "object": {"key": key, "eTag": etag}}
        record = {
            "eventSource": "ceph:s3",
            "eventName": "ObjectCreated:Put",
            "eventTime": "2026-11-20T10:51:14.654720Z",
            "s3": what,
            "eventId": f"again.{etag}",
        }
        for _ in range(2):
            with contextlib.suppress(OSError, urllib.error.URLError):
                self._box.post_raw(
                    f"/hooks/s3?token={TOKEN}", json.dumps({"Records": [record]}).encode()
                )

    def _put(self, key: str, body: bytes) -> None:
        self._try(
            lambda: self._client.put_object(
                bucket_name=self.bucket, object_name=key, data=io.BytesIO(body), length=len(body)
            )
        )

    def _try(self, call: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                call()
            except (MinioException, urllib3.exceptions.HTTPError):
                if time.monotonic() > end:
                    raise
                self._rgw.revive()
            else:
                return


class Trouble:
    """What breaks, and when: by the share of the pictures that were put."""

    def __init__(self, rgw: Rgw, bucket: str, box: BoxProcess) -> None:
        self._rgw, self._bucket, self._box = rgw, bucket, box
        self._hook = f"http://127.0.0.1:{box.port}/hooks/s3?token={TOKEN}"
        self._due: Iterator[tuple[float, Callable[[], object]]] = iter(
            [
                (0.08, self.box_dies),
                (0.16, self.gateway_dies),
                (0.24, self.hook_goes),
                (0.36, self.hook_comes),
                (0.40, box.kill),
                (0.52, box.start),
                (0.60, self.store_refuses),
                (0.68, self.box_dies),
                (0.76, self.store_takes),
                (0.80, self.gateway_dies),
                (0.90, self.box_dies),
                (2.0, lambda: None),
            ]
        )
        self._next = next(self._due)

    def at(self, share: float) -> None:
        while share >= self._next[0]:
            self._next[1]()
            self._next = next(self._due)

    def box_dies(self) -> None:
        self._box.kill()
        self._box.start()

    def gateway_dies(self) -> None:
        self._rgw.kill()
        time.sleep(0.3)
        self._rgw.revive()

    def hook_goes(self) -> None:
        push_to(self._rgw, self._bucket, f"http://127.0.0.1:{free_port()}/hooks/s3")

    def hook_comes(self) -> None:
        push_to(self._rgw, self._bucket, self._hook)

    def store_refuses(self) -> None:
        deny = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": ["s3:PutObject"],
            "Resource": [f"arn:aws:s3:::{self._bucket}-out/*"],
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
        self._rgw.client().set_bucket_policy(bucket_name=f"{self._bucket}-out", policy=policy)

    def store_takes(self) -> None:
        until("the store is seen to be shut", lambda: not self._box.status()["sending"]["up"])
        self._rgw.client().delete_bucket_policy(bucket_name=f"{self._bucket}-out")


def wait_for_the_end(box: BoxProcess) -> None:
    """Wait until nothing waits, and two sweeps found nothing more."""

    def at_rest() -> bool:
        before = sweeps(box)
        until("it was swept", lambda: sweeps(box) >= before + 2, PATIENCE)
        return (
            box.metric("edge_bus_waiting_events") == 0 and box.status()["sending"]["waiting"] == 0
        )

    until("the box comes to rest", at_rest, PATIENCE)


def sweeps(box: BoxProcess) -> int:
    assert box.process is not None
    assert box.process.poll() is None, box.log.read_text()[-2000:]
    status, body = box.get("/v1/sources")
    if status != 200:
        return -1
    (source,) = json.loads(body)["sources"]
    return int(source["counts"]["sweeps"])


def stored(rgw: Rgw, bucket: str) -> tuple[Counter[str], list[bytes]]:
    """Return how often each event was redacted, and the pictures; one message each, no more."""
    client = rgw.client()
    names = {
        str(one.object_name) for one in client.list_objects(bucket_name=bucket, recursive=True)
    }

    def read(name: str) -> bytes:
        with client.get_object(bucket_name=bucket, object_name=name) as answer:
            return answer.read()

    messages = [json.loads(read(name)) for name in names if name.endswith(".json")]
    named = [one["data"]["picture"]["key"] for one in messages]
    assert sorted(named) == sorted(name for name in names if name.endswith(".jpg"))
    assert len(names) == 2 * len(messages)
    pictures = [read(name) for name in named[:: max(1, len(named) // 50)]]
    return Counter(one["id"].rpartition(".")[0] for one in messages), pictures


def dead(box: BoxProcess) -> Counter[str]:
    """Return the keys of the objects among the dead letters."""
    found: Counter[str] = Counter()
    after = ""
    while True:
        page = json.loads(box.get(f"/v1/dlq?after={after}")[1])
        found.update(one["attributes"]["subject"] for one in page["letters"])
        after = page["next"]
        if not after:
            return found


@pytest.mark.timeout(900)
def test_every_picture_of_a_bucket_is_redacted_exactly_once_whatever_breaks(
    make_box: MakeBox, rgw: Rgw, bucket: str
) -> None:
    for name in (bucket, f"{bucket}-out"):
        rgw.client().make_bucket(bucket_name=name)
    box = make_box(config(rgw, bucket))
    box.start()
    camera, trouble = Camera(rgw, bucket, box), Trouble(rgw, bucket, box)
    trouble.hook_comes()
    order = list(range(COUNT))
    random.Random(4).shuffle(order)
    for done, number in enumerate(order):
        trouble.at(done / COUNT)
        camera.shoot(number)
    for _ in range(2):  # and while it works through what waits
        trouble.box_dies()
        trouble.gateway_dies()
    wait_for_the_end(box)
    camera.tell_again()
    wait_for_the_end(box)
    out, pictures = stored(rgw, f"{bucket}-out")
    letters = dead(box)
    known = camera.must | camera.may
    gone = camera.may.keys() - out.keys()
    put = len(known) + len(camera.poison)
    print(f"{put} put = {len(out)} redacted + {len(gone)} gone + {len(letters)} dead")
    assert {event: times for event, times in out.items() if times > 1} == {}
    assert out.keys() - known.keys() == set(), "redacted, and never put"
    assert camera.must.keys() - out.keys() == set(), "put, and never redacted"
    # one letter a telling: what a sweep found and a notification told of later has two
    assert letters.keys() == set(camera.poison.values())
    assert max(letters.values()) <= 2
    assert put == len(out) + len(gone) + len(letters)
    assert gone, "nothing was removed before it was fetched: this showed nothing"
    assert not any(SECRET in body or not pixels(body).size for body in pictures)
    assert box.stop() == 0
