"""The process that builds an engine, seen from outside: started, listened to, watched and ended.

It runs native code of others, so nothing that it does is trusted: it may crash, hang, print what
it likes, or eat all memory. Its answer counts only together with its exit code. It is nice,
is what the kernel takes first where memory runs out, and dies with its parent
(``edge/cli/engine_child.py``).

Tried with a builder that does all that (``tests/stages/engines/odd``), and with the real one of
TensorRT-RTX (``tests/app/test_plan_order.py``). No build on a GPU has been seen.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import PartFailed
from edge.ops.own_program import own_command, own_environment

log = logging.getLogger(__name__)

Heard = Callable[[str, float | None], None]
"""Hears the phase and the share that is done, on the loop: when they are others, and at the end."""

LOOK_EVERY = 0.25
"""Seconds between two looks at the child's memory, and at how far it is."""
_LAST_BYTES = 2.0
"""Seconds in which the pipes of a child that has ended are empty, or somebody else holds them."""
_LINE = 64 * 1024
_TAIL = 4000
_CRASHES = (
    "the box looks as before, and edge engine build tries again; if it happens again, try a lower "
    "[tensorrt] level, or another version of the library"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What the child said at its end."""

    seconds: float
    library: str
    #: end of what it printed on standard error
    words: str


def child_command() -> tuple[list[str], Path]:
    """Return how this very program is started as a builder, and in which directory."""
    return own_command("engine", "build-child")


def child_environment(
    device: int, environ: Mapping[str, str] = os.environ, *, frozen: bool | None = None
) -> dict[str, str]:
    """Return the child's environment: the system's libraries come first, and one GPU is seen.

    Args:
        device: which GPU, as this process counts.
        environ: environment of this process.
        frozen: whether this is a frozen program; None: look.

    """
    own = own_environment(environ, frozen=frozen)
    seen = [one.strip() for one in own.get("CUDA_VISIBLE_DEVICES", "").split(",") if one.strip()]
    own["CUDA_VISIBLE_DEVICES"] = seen[device] if device < len(seen) else str(device)
    return own


class BuildChild:
    """One run of the child.

    Args:
        command: what to start, and the directory to start it in.
        environment: its environment.
        memory: bytes (resident) beyond which it is stopped; three fifths of the machine's memory
            at the most, so that the box goes on.
        timeout: seconds after which it is stopped.
        heard: told how it goes.

    """

    def __init__(
        self,
        command: tuple[Sequence[str], Path],
        environment: Mapping[str, str],
        *,
        memory: int,
        timeout: float,
        heard: Heard,
    ) -> None:
        self._command, self._home = command
        self._environment = environment
        self._memory = min(memory, total_memory() * 3 // 5)
        self._timeout = timeout
        self._heard = heard
        self._words = bytearray()
        self._answer: dict[str, Any] = {}
        self._stands: tuple[str, float | None] = ("starting", None)
        #: most bytes that were seen
        self.peak = 0

    async def run(self, request: Mapping[str, Any]) -> Built:
        """Let it build; cancelled, it is killed.

        Raises:
            PartFailed: with the child's own ``reason``, or ``builder_missing``,
                ``builder_crashed``, ``builder_memory``, ``builder_timeout``, ``builder_silent``.

        """
        process = await self._start()
        watch = asyncio.create_task(self._watch(process), name="memory of the builder")
        try:
            async with asyncio.timeout(self._timeout):
                await self._converse(process, json.dumps(request).encode())
        except TimeoutError as error:
            raise PartFailed(
                f"the builder was stopped after {self._timeout:.0f} s",
                hint="[tensorrt] build_timeout says how long it may take; a lower level is faster",
                reason="builder_timeout",
            ) from error
        finally:
            watch.cancel()
            _kill(process)
            self._heard(*self._stands)
            await process.wait()
        return self._result(process.returncode or 0)

    async def _start(self) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                *self._command,
                *("--parent", str(os.getpid())),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=self._home,
                env=dict(self._environment),
                # Ctrl-C at a terminal is for Edge, which then ends the child.
                start_new_session=True,
            )
        except OSError as error:
            raise PartFailed(
                f"the builder cannot be started: {error}",
                hint="install Edge anew",
                reason="builder_missing",
            ) from error

    async def _converse(self, process: asyncio.subprocess.Process, request: bytes) -> None:
        assert process.stdin and process.stdout and process.stderr  # noqa: PT018, S101
        # It may be gone before it has read anything; then its exit code says why.
        with suppress(ConnectionError):
            process.stdin.write(request)
            await process.stdin.drain()
        process.stdin.close()
        await asyncio.gather(self._listen(process.stdout), self._gather_words(process.stderr))
        await process.wait()

    async def _listen(self, stream: asyncio.StreamReader) -> None:
        rest = b""
        while chunk := await stream.read(_LINE):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._read(line)
            rest = rest[-_LINE:]  # a line without an end is none of ours
        self._read(rest)

    def _read(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            return  # whatever a library prints
        if not isinstance(said, dict):
            return
        if "plan" in said or "error" in said:
            self._answer = said
        elif isinstance(said.get("phase"), str):
            share = _number(said.get("share"))
            known = self._stands[1] if share is None else min(1.0, max(0.0, share))
            self._stands = (said["phase"][:100], known)

    async def _gather_words(self, stream: asyncio.StreamReader) -> None:
        while chunk := await stream.read(_LINE):
            self._words += chunk
            del self._words[:-_TAIL]

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        told = self._stands
        while process.returncode is None:
            if self._stands != told:
                told = self._stands
                self._heard(*told)
            self.peak = max(self.peak, resident(process.pid))
            if self.peak > self._memory:
                _kill(process)
            await asyncio.sleep(LOOK_EVERY)
        # It is gone. If something that it started keeps its pipes open, that goes, too.
        await asyncio.sleep(_LAST_BYTES)
        _kill_group(process.pid)

    def _result(self, code: int) -> Built:
        words = self._words.decode(errors="replace").strip()
        if self.peak > self._memory:
            raise PartFailed(
                f"the builder was stopped because it needed more than {self._memory / 2**20:.0f} "
                "MiB of memory",
                hint="[tensorrt] build_memory says how much it may have, up to three fifths of the "
                "machine's",
                reason="builder_memory",
            )
        if code == -signal.SIGKILL:
            raise PartFailed(
                "the builder was killed, most likely because the box ran out of memory",
                hint="free memory, or lower [tensorrt] workspace and level",
                reason="builder_memory",
            )
        if code < 0:
            raise PartFailed(
                f"the builder crashed ({_name(-code)}){_last(words)}",
                hint=_CRASHES,
                reason="builder_crashed",
            )
        answer = self._answer
        if "error" in answer:
            error, hint, reason = (
                str(answer.get(name, ""))[:2000] for name in ("error", "hint", "reason")
            )
            raise PartFailed(error, hint=hint, reason=reason or "build_failed")
        if code or "plan" not in answer:
            raise PartFailed(
                f"the builder ended with exit code {code} and no answer{_last(words)}",
                hint=_CRASHES,
                reason="builder_silent",
            )
        return Built(
            seconds=_number(answer.get("seconds")) or 0.0,
            library=str(answer.get("library", ""))[:200],
            words=words,
        )


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has; 0 if it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def total_memory() -> int:
    """Return the bytes of memory that this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _kill(process: asyncio.subprocess.Process) -> None:
    """End it and whatever it has started."""
    if process.returncode is None:
        _kill_group(process.pid)


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _number(said: object) -> float | None:
    try:
        return float(said) if isinstance(said, int | float) and math.isfinite(said) else None
    except OverflowError:  # a whole number of hundreds of digits
        return None


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last(words: str) -> str:
    lines = [line for line in words.splitlines() if line.strip()]
    return f": {lines[-1].strip()[:300]}" if lines else ""
