"""Run by the system's Python: an RTSP camera that notes when it sent which frame.

``rtsp_sender.py CLIP PORT FPS`` serves CLIP (H.264, no B frames) at ``/cam``, over and over, one
frame every 1/FPS s whether or not anybody looks, as a camera does: who connects in the middle waits
for the next key frame. Prints READY, then ``NUMBER TIME`` for each frame sent (wall clock). On
standard input, ``stall`` stops the frames while connections stay open, and ``resume`` goes on.
"""

from __future__ import annotations

import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstApp, GstRtspServer  # noqa: E402, F401

LAUNCH = (
    "( appsrc name=src is-live=true format=time do-timestamp=true max-bytes=4000000 "
    "leaky-type=downstream ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=1 )"
)


def frames_of(clip: str) -> tuple[Gst.Caps, list[tuple[bytes, bool]]]:
    """Read a clip's access units and whether each is a key frame."""
    pipeline = Gst.parse_launch(
        f'filesrc location="{clip}" ! qtdemux ! h264parse config-interval=-1 ! '
        "video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=end sync=false"
    )
    end = pipeline.get_by_name("end")
    pipeline.set_state(Gst.State.PLAYING)
    caps, units = None, []
    while (sample := end.emit("pull-sample")) is not None:
        buffer = sample.get_buffer()
        caps = sample.get_caps()
        key = not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT)
        units.append((buffer.extract_dup(0, buffer.get_size()), key))
    pipeline.set_state(Gst.State.NULL)
    return caps, units


class Camera(GstRtspServer.RTSPMediaFactory):  # type: ignore[misc]  # no stubs
    def __init__(self, clip: str, fps: float) -> None:
        super().__init__()
        self.caps, self.units = frames_of(clip)
        self.fps = fps
        self.stalled = False
        self.viewers: dict[Gst.Element, bool] = {}
        self.set_shared(True)
        self.set_launch(LAUNCH)

    def do_configure(self, media: GstRtspServer.RTSPMedia) -> None:
        # The method that this one stands for would have told the media so.
        media.set_shared(True)
        source = media.get_element().get_by_name("src")
        source.set_property("caps", self.caps)
        self.viewers[source] = False
        media.connect("unprepared", lambda _: self.viewers.pop(source, None))

    def run(self) -> None:
        number, begun = 0, time.monotonic()
        while True:
            time.sleep(max(0.0, begun + number / self.fps - time.monotonic()))
            data, key = self.units[number % len(self.units)]
            if not self.stalled:
                print(number % len(self.units), f"{time.time():.4f}", flush=True)
                self.send(data, key=key)
            number += 1

    def send(self, data: bytes, *, key: bool) -> None:
        for source, started in list(self.viewers.items()):
            if started or key:
                self.viewers[source] = True
                buffer = Gst.Buffer.new_wrapped(data)
                if not key:
                    buffer.set_flags(Gst.BufferFlags.DELTA_UNIT)
                source.emit("push-buffer", buffer)


def main(clip: str, port: str, fps: str) -> None:
    Gst.init(None)
    camera = Camera(clip, float(fps))
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    server.get_mount_points().add_factory("/cam", camera)
    server.attach(None)
    threading.Thread(target=GLib.MainLoop().run, daemon=True, name="server").start()
    # A viewer of our own keeps the stream described and flowing, as in a camera; else the server
    # would tear it down with its last viewer, and a new one would have to wait for two key frames.
    address = f"rtsp://127.0.0.1:{port}/cam"
    viewer = Gst.parse_launch(f"rtspsrc location={address} protocols=tcp ! fakesink")
    viewer.set_state(Gst.State.PLAYING)
    print("READY", flush=True)
    threading.Thread(target=camera.run, daemon=True, name="camera").start()
    for line in sys.stdin:
        camera.stalled = line.strip() == "stall"


if __name__ == "__main__":
    main(*sys.argv[1:4])
