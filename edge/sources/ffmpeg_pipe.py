"""The system's ffmpeg as a child that opens a camera and passes its stream on through a pipe.

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
from edge.ops.own_program import own_environment
from edge.sources.camera_address import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Passing:
    """What ffmpeg passes on of a stream: options before its input, and for its output."""

    before: tuple[str, ...] = ()
    output: tuple[str, ...]
    #: the container; NUT carries every codec, raw pictures too
    muxer: str = "nut"


COPY = Passing(output=("-c", "copy"))
"""The stream as it came, not decoded."""

_INPUT = (
    "-protocol_whitelist", "pipe,rtp,udp,tcp,tls,rtsp,http,https,httpproxy,crypto",
    # ffmpeg has looked at the stream when it opens the script's entry: not a second time
    "-fpsprobesize", "0", "-analyzeduration", "100000",
    "-f", "concat", "-safe", "0", "-i", "pipe:0", "-map", "0:v:0",
)  # fmt: skip
# Of B-frames RTSP says when they are shown and not when they are decoded, and no container takes
# that. Nobody asks for these times, so pictures are just numbered, in a 90000th of a second or
# (where ffmpeg counts so, into Matroska) a thousandth.
_NUMBERED = ("-bsf:v", "setts=ts=N*3000")
_KILLED = 5.0
"""Seconds that a killed child is waited for."""
_INSTALL = "install it (Debian: apt-get install --no-install-recommends ffmpeg)"


class FfmpegPipe:
    """One ffmpeg, started once.

    Args:
        address: where the camera is.
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
        self._address = address
        self._verify = verify
        self._open_timeout = open_timeout
        self._read_timeout = read_timeout
        self._passing = passing
        self._interrupted = False
        #: the child, once it was started
        self.process: subprocess.Popen[bytes] | None = None

    def open(self) -> int:
        """Start ffmpeg, wait for its first bytes, and return the descriptor they are read from.

        Whoever calls closes it. At its end the stream is over.

        Raises:
            PartFailed: there is no ffmpeg that can, or nothing came in time.

        """
        end, their_end = os.pipe()
        try:
            try:
                self.start(their_end)
            finally:
                os.close(their_end)  # at ffmpeg's end it must be nobody's
            self.wait_for_bytes(end)
        except BaseException:
            os.close(end)
            raise
        return end

    def start(self, output: int) -> None:
        """Start ffmpeg, which writes to this descriptor (of a pipe or socket); it stays open here.

        Raises:
            PartFailed: there is no ffmpeg that can open this address as asked.

        """
        program = find_ffmpeg(self._address, verify=self._verify)
        passing = self._passing
        command = [program, "-hide_banner", "-loglevel", "quiet"]
        command += [*passing.before, *_INPUT, *passing.output]
        if self._address.kind == "rtsp" and "copy" in passing.output and _numbers(program):
            command += _NUMBERED
        command += ["-flush_packets", "1", "-f", passing.muxer, "pipe:1"]
        try:
            process = subprocess.Popen(  # noqa: S603 (a fixed program and fixed arguments)
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.DEVNULL,
                env=own_environment(),
                # Ctrl-C at a terminal is for Edge, which then ends the child.
                start_new_session=True,
            )
        except OSError as error:
            raise PartFailed(
                "ffmpeg cannot be started", hint=_INSTALL, reason="no_ffmpeg"
            ) from error
        self.process = process
        if self._interrupted:
            process.kill()
        with contextlib.suppress(BrokenPipeError), process.stdin or contextlib.nullcontext():
            if process.stdin:
                process.stdin.write(self._script())

    def wait_for_bytes(self, end: int) -> None:
        """Return when there is something to read, or the stream is over already.

        Raises:
            PartFailed: nothing came within the time for opening.

        """
        if not select.select([end], [], [], self._open_timeout)[0]:
            raise PartFailed("ffmpeg could not open it in time", reason="not_opened")

    def interrupt(self) -> None:
        """End ffmpeg, now or as soon as it is started. Any thread may call it, at any time."""
        self._interrupted = True
        if self.process:
            self.process.kill()

    def close(self) -> None:
        """End ffmpeg and wait for that."""
        self.interrupt()
        wait_for_end(self.process)

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


def wait_for_end(process: subprocess.Popen[bytes] | None) -> None:
    """Wait for a child that was killed, if there is one.

    It ends at once, unless a driver holds it; whoever waits must go on all the same.
    """
    if process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_KILLED)


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


@functools.cache
def _numbers(program: str) -> bool:
    try:
        said = subprocess.run(  # noqa: S603 (a fixed program and fixed arguments)
            [program, "-hide_banner", "-bsfs"], capture_output=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return False  # most cameras do without
    return b"setts" in said.stdout.split()  # from ffmpeg 4.4 on
