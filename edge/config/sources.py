"""Sources: where pictures come from. ``[sources.NAME]`` each; the name is used everywhere."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edge.config.privacy import SourcePrivacy
from edge.config.secret import Secret
from edge.config.section import Section, key
from edge.config.units import Duration, Size

QUEUE_SIZE = 4
"""Frames that wait where a source has a queue but no size of its own."""


class _Source(Section):
    enabled: bool = key(True, "Whether it runs. A disabled source keeps its place.", live=True)
    privacy: SourcePrivacy = key(
        SourcePrivacy(), "What differs from the global [privacy] for this source.", live=True
    )
    key_template: str = key(
        "", "Names of its pictures in the store, as store.key_template; empty: that one.", live=True
    )
    queue: Literal["latest", "drop-oldest", "drop-newest", "block"] = key(
        "latest",
        "Live frames that come faster than the box redacts. latest: only the newest waits. "
        "drop-oldest, drop-newest: queue_size wait, and that one gives way. block: the source "
        "waits until there is room; for replayed files, since a camera that waits just gives "
        "fewer frames. Each drop is counted.",
    )
    queue_size: int | None = key(
        None,
        f"Frames that wait at most; a 1080p frame takes 6 MB. Left out: 1 for latest (which takes "
        f"no other), else {QUEUE_SIZE}.",
        ge=1,
        le=64,
    )
    priority: int = key(
        0,
        "Whose pictures go first where they wait for an engine that looks at several together: "
        "the highest, but before all of them who has waited for a quarter of a second. Engines on "
        "the processor look at once.",
        live=True,
        ge=0,
        le=9,
    )

    @property
    def queue_room(self) -> int:
        """How many live frames of it may wait."""
        return self.queue_size or (1 if self.queue == "latest" else QUEUE_SIZE)


class CameraConfig(_Source):
    """A CCTV camera or a video file."""

    kind: Literal["camera"] = key(..., "RTSP, HTTP MJPEG, V4L2 device or video file.")
    url: Secret = key(
        ...,
        "rtsp://…, rtsps://…, http://…, https://… (MJPEG), /dev/video0, or the path of a video "
        "file. User and password belong into the URL, best as ${secret:name}.",
    )
    every: int = key(1, "Take every n-th frame. 1 takes all.", ge=1)
    fps: float | None = key(
        None, "Take at most this many frames a second; leave out for no limit.", gt=0
    )
    stall_after: Duration = key(
        "5s", "No frame for this long means that the camera hangs: it is opened anew."
    )
    open_timeout: Duration = key("5s", "How long opening the stream may take.")
    reconnect_max: Duration = key("10s", "Longest wait between two tries to open it.")
    loop: bool = key(False, "A video file begins again at its end.")
    pace: Literal["real_time", "fast"] = key(
        "real_time",
        "A video file plays at its own speed, or as fast as the box can redact "
        "(then no frame is dropped).",
    )
    tls_verify: bool = key(True, "Check the certificate of an rtsps or https camera.")
    decode: Literal["cpu", "gpu"] = key(
        "cpu",
        "Who decodes an RTSP camera's video. gpu: an NVIDIA GPU, by PyNvVideoCodec, ffmpeg or (a "
        "Jetson) GStreamer, whichever is there first, and the processor where none works; the log "
        "and edge doctor say which and why. Needs the program ffmpeg.",
    )


class SceneConfig(_Source):
    """The demonstration camera: a drawn building site with people who walk about."""

    kind: Literal["scene"] = key(..., "A drawn building site; nothing need be plugged in.")
    seed: int = key(1, "The same seed draws the same scene.")
    fps: float = key(10.0, "Frames a second.", gt=0, le=60)
    width: int = key(1280, "Width of the picture in pixels.", ge=160, le=3840)
    height: int = key(720, "Height of the picture in pixels.", ge=120, le=2160)
    people: int = key(5, "How many figures walk about.", ge=0, le=50)


class FolderConfig(_Source):
    """Picture files in a directory."""

    kind: Literal["folder"] = key(..., "Pictures dropped into a directory, or replayed.")
    path: str = key(..., "The directory.")
    mode: Literal["drop", "replay"] = key(
        "drop",
        "drop: each file is redacted once, when it is complete. replay: the files are "
        "played as a stream, in the order of their names.",
    )
    after: Literal["keep", "delete"] = key(
        "keep", "What happens to a dropped file once its redacted picture is safe."
    )
    settle: Duration = key("1s", "A file that has not changed for this long is complete.")
    fps: float = key(5.0, "Replay: pictures a second.", gt=0, le=240)
    loop: bool = key(False, "Replay: begin again at the end.")
    max_bytes: Size = key("64MiB", "Files larger than this are refused.")


class BucketConfig(_Source):
    """Pictures that land in a bucket of MinIO, Ceph RGW or any other S3."""

    kind: Literal["bucket"] = key(..., "A bucket; each picture in it is redacted once.")
    endpoint: str = key(..., "http://host:port or https://host.")
    bucket: str = key(..., "The bucket.", min_length=3, max_length=63)
    prefix: str = key("", "Only keys that begin with this.")
    suffixes: tuple[str, ...] = key(
        (".jpg", ".jpeg", ".png", ".webp"),
        "Only keys that end with one of these, in any case; none: every key.",
    )
    access_key: Secret = key(..., "Access key, best as ${secret:name}.")
    secret_key: Secret = key(..., "Secret key, best as ${secret:name}.")
    region: str = key("us-east-1", "Region for the signature.")
    path_style: bool = key(True, "http://host/bucket (True) or http://bucket.host (False).")
    ca_file: str = key("", "CA bundle for https; empty: the system's.")
    timeout: Duration = key(
        "30s",
        "How long the server may take to answer, and between two pieces of an object; a whole "
        "object may take ten times as long.",
        gt=0,
    )
    max_object: Size = key("64MiB", "Larger objects are refused before they are fetched.", gt=0)
    via: Literal["hook", "listen", "pull", "mqtt"] = key(
        "hook",
        "How the box learns of new objects. hook: the server calls POST /hooks/s3. listen: the box "
        "listens to MinIO's stream. pull: the box asks a pubsub subscription of Ceph RGW. mqtt: "
        "MinIO publishes to a broker.",
    )
    subscription: str = key("", "pull: name of the subscription.")
    pull_endpoint: str = key("", "pull: address of the pubsub zone; empty: endpoint.")
    broker: Secret = key(
        "", "mqtt: mqtt://user:password@host:1883 or mqtts://…, best as ${secret:name}."
    )
    topic: str = key("", "mqtt: the topic that the server publishes to.")
    sweep_every: Duration = key(
        "10min",
        "How often the bucket is listed for objects of which no notification came. 0s: never.",
    )
    sweep_since: str = key(
        "",
        "A sweep takes up objects from this time on, such as 2026-11-20 or 2026-11-20T08:00:00Z "
        "(no zone: UTC). Empty: all.",
    )
    token: Secret = key(
        "",
        "hook: what callers must show, best as ${secret:name}. Empty: as for the rest of the API.",
    )
    after: Literal["keep", "delete_source", "tag"] = key(
        "keep",
        "What happens to the original once the store has the redacted picture. delete_source: it "
        "is deleted. tag: it gets the tag edge-redacted, with the policy's version.",
    )
    when_removed: Literal["keep", "erase"] = key(
        "keep",
        "What happens to redacted pictures when the original is removed. erase: they are removed, "
        "too. Not with after = delete_source, and not for a bucket whose rules let originals "
        "expire early.",
    )
    metadata: tuple[str, ...] = key(
        (),
        "Names of user metadata (x-amz-meta-NAME) that go along with the redacted picture and into "
        "its message; all other metadata stays behind.",
    )


SourceConfig = Annotated[
    CameraConfig | SceneConfig | FolderConfig | BucketConfig, Field(discriminator="kind")
]


class JobsConfig(Section):
    """``[jobs]``: uploads, and how long their results can be fetched."""

    max_waiting: int = key(64, "Uploads that may wait; then 503 with Retry-After.", ge=1)
    max_waiting_bytes: Size = key(
        "256MiB",
        "Bytes that waiting uploads may take in memory. With bucket: those on their way to it.",
    )
    keep_for: Duration = key(
        "10min",
        "How long a result can be fetched; then 410. With bucket: as long as the store has it, and "
        "the job is remembered for a week.",
    )
    keep_bytes: Size = key("64MiB", "Bytes of results that are kept in memory.")
    priority: int = key(0, "As [sources.NAME] priority, for uploads.", ge=0, le=9)
    bucket: str = key(
        "",
        "Name of a source of kind bucket: originals of uploads wait in its bucket, under its "
        "prefix, and jobs survive a restart. Empty: originals wait in memory.",
    )
