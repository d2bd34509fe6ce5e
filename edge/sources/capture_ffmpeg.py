"""Encrypted cameras: the system's ffmpeg does the TLS, OpenCV decodes what it passes on.

OpenCV's wheel carries an OpenSSL of 2021, so it never sees an rtsps or https address. ``ffmpeg``
copies the compressed stream, undecoded, into a pipe (NUT, which carries every codec); that costs
next to nothing, and OpenCV reads the pipe as it reads a file.

The address with its credentials goes in by standard input as an ffconcat script, so that it stands
in no argument, environment or file. ffmpeg's own messages name it: they are thrown away.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import shutil
import subprocess
from dataclasses import dataclass

from edge.errors import PartFailed
from edge.frame import Pixels
from edge.sources.camera_address import Address
from edge.sources.capture_opencv import OpenCvReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Passing:
    """What ffmpeg passes on of a stream: options before its input, and for its output."""

    before: tuple[str, ...] = ()
    output: tuple[str, ...]


COPY = Passing(output=("-c", "copy"))
"""The stream as it came, not decoded."""

_INPUT = (
    "-protocol_whitelist", "pipe,rtp,udp,tcp,tls,rtsp,http,https,httpproxy,crypto",
    # ffmpeg has looked at the stream when it opens the script's entry: not a second time
    "-fpsprobesize", "0", "-analyzeduration", "100000",
    "-f", "concat", "-safe", "0", "-i", "pipe:0", "-map", "0:v:0",
)  # fmt: skip
_OUTPUT = ("-flush_packets", "1", "-f", "nut", "pipe:1")
_KILLED = 5.0
"""Seconds that a killed ffmpeg is waited for."""
_INSTALL = "install it (Debian: apt-get install --no-install-recommends ffmpeg)"


class FfmpegReader:
    """A reader of an rtsps or https camera.

    Args:
        address: where it is.
        verify: check its certificate against the system's authorities.
        open_timeout, read_timeout: seconds without a byte after which ffmpeg gives up.
        passing: what ffmpeg passes on.

    """

    def __init__(
        self,
        address: Address,
        *,
        verify: bool,
        open_timeout: float,
        read_timeout: float,
        passing: Passing = COPY,
    ) -> None:
        self._passing = passing
        self._address = address
        self._verify = verify
        self._open_timeout = open_timeout
        self._read_timeout = read_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._inner: OpenCvReader | None = None
        self._interrupted = False

    def open(self) -> None:
        program = find_ffmpeg(self._address, verify=self._verify)
        end, their_end = os.pipe()
        try:
            self._start(program, their_end)
            os.close(their_end)
            their_end = -1
            # OpenCV must not wait for it: it would hold up the opening of all other cameras.
            if not select.select([end], [], [], self._open_timeout)[0]:
                raise PartFailed("ffmpeg could not open it in time", reason="not_opened")
            self._inner = OpenCvReader(
                f"pipe:{end}",
                network=True,
                open_timeout=self._open_timeout,
                read_timeout=self._read_timeout,
            )
            self._inner.open()
        finally:
            # FFmpeg reads from a duplicate of its own.
            os.close(end)
            if their_end >= 0:
                os.close(their_end)

    def _start(self, program: str, output: int) -> None:
        before, after = self._passing.before, self._passing.output
        command = [program, "-hide_banner", "-loglevel", "quiet"]
        command += [*before, *_INPUT, *after, *_OUTPUT]
        try:
            process = subprocess.Popen(  # noqa: S603 (a fixed program and fixed arguments)
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise PartFailed(
                "ffmpeg cannot be started", hint=_INSTALL, reason="no_ffmpeg"
            ) from error
        self._process = process
        if self._interrupted:
            process.kill()
        with contextlib.suppress(BrokenPipeError), process.stdin or contextlib.nullcontext():
            if process.stdin:
                process.stdin.write(self._script())

    def _script(self) -> bytes:
        quoted = self._address.url.reveal().replace("'", "'\\''")
        options: dict[str, int | str] = {
            "timeout": int(max(self._open_timeout, self._read_timeout) * 1_000_000),
            "tls_verify": int(self._verify),
            "fpsprobesize": 0,
        }
        if self._address.kind == "rtsp":
            options |= {"rtsp_transport": "tcp", "allowed_media_types": "video"}
        lines = ["ffconcat version 1.0", f"file '{quoted}'"]
        lines += [f"option {name} {value}" for name, value in options.items()]
        return ("\n".join(lines) + "\n").encode()

    def grab(self) -> bool:
        return self._inner is not None and self._inner.grab()

    def retrieve(self) -> Pixels | None:
        return self._inner.retrieve() if self._inner else None

    @property
    def position(self) -> float:
        """Of no meaning for a camera."""
        return 0.0

    def close(self) -> None:
        self.interrupt()
        if self._process:
            # Killed it ends at once, unless a driver holds it; this thread must end all the same.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_KILLED)
        if self._inner:
            self._inner.close()

    def interrupt(self) -> None:
        """End ffmpeg, and with it any read from its pipe."""
        self._interrupted = True
        if self._process:
            self._process.kill()


def find_ffmpeg(address: Address, *, verify: bool) -> str:
    """Return the path of an ffmpeg that can open this address as asked.

    Raises:
        PartFailed: there is none, or it cannot check certificates where it should.

    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise PartFailed(
            f"{address.where.partition(':')[0]} needs the program ffmpeg, which is not installed",
            hint=_INSTALL,
            reason="no_ffmpeg",
        )
    if address.kind == "rtsp" and verify and not _checks_rtsps(program):
        raise PartFailed(
            "the ffmpeg installed here cannot check the certificate of an rtsps camera",
            hint="install a newer ffmpeg, or set tls_verify = false for this camera (then anyone "
            "on the network may pretend to be it)",
            reason="no_ffmpeg",
        )
    return program


@functools.cache
def _checks_rtsps(program: str) -> bool:
    said = subprocess.run(  # noqa: S603 (a fixed program and fixed arguments)
        [program, "-hide_banner", "-h", "demuxer=rtsp"],
        capture_output=True,
        check=False,
        timeout=10,
    )
    return b"tls_verify" in said.stdout
