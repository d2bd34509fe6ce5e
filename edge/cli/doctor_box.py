"""Doctor: the machine itself. Clock, memory, state directory, disk, page."""

from __future__ import annotations

import errno
import http.client
import os
import socket
import stat
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from edge.cli.doctor import Check, Finding, in_thread
from edge.config.root import BoxConfig, Config, state_directory
from edge.config.units import show_duration
from edge.config.web import WebConfig
from edge.ops.machine import clock_synchronised

_MIB = 2**20
_LEAST_DISK = 200 * _MIB
_LEAST_INODES = 10_000
_SLOW_FSYNC = 0.2
_MEMORY = 200 * _MIB
_MEMORY_A_SOURCE = 20 * _MIB
_YEARS = range(2025, 2100)


def box_checks(config: Config | None) -> list[Check]:
    """Return what can be looked at on the machine; without a configuration only some of it."""
    box = BoxConfig() if config is None else config.box
    state = state_directory(box)
    sources = 0 if config is None else len(config.sources)
    checks: list[Check] = [
        ("clock", in_thread(clock)),
        ("memory", in_thread(lambda: memory(sources))),
        ("state", in_thread(lambda: state_writes(state))),
    ]
    if config is not None:
        wanted, web = config.outbox.max_bytes, config.web
        checks += [
            ("disk", in_thread(lambda: disk(state, wanted))),
            ("page", in_thread(lambda: page(web))),
        ]
    return checks


def clock(now: float | None = None) -> Finding:
    """Look whether the year is plausible, and whether something keeps the clock right."""
    moment = datetime.fromtimestamp(time.time() if now is None else now, UTC)
    shown = f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    if moment.year not in _YEARS:
        return Finding(
            name="clock",
            state="fail",
            text=f"it is {shown}, which cannot be",
            hint="set the clock (timedatectl set-time), and turn NTP on (timedatectl set-ntp true)",
        )
    kept = clock_synchronised()
    if kept is False:
        return Finding(
            name="clock",
            state="warn",
            text=f"{shown}, kept right by nobody",
            hint="turn NTP on: timedatectl set-ntp true; a wrong clock dates pictures wrongly",
        )
    return Finding(name="clock", state="ok", text=shown + (", synchronised" if kept else ""))


def memory(sources: int) -> Finding:
    """Look whether the box fits in: some 200 MiB, and 20 MiB a source."""
    wanted = _MEMORY + sources * _MEMORY_A_SOURCE
    free = _available_memory()
    if free is None:
        return Finding(name="memory", state="ok", text="not told by this system")
    text = f"{_size(free)} available; Edge wants about {_size(wanted)}"
    if free >= wanted:
        return Finding(name="memory", state="ok", text=text)
    hint = "stop what else runs here, or add memory; a camera takes up to 20 MiB"
    return Finding(
        name="memory", state="warn" if free >= wanted / 2 else "fail", text=text, hint=hint
    )


def _available_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    facts = dict(line.split(":", 1) for line in lines)
    return int(facts["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in facts else None


def state_writes(state: Path) -> Finding:
    """Look whether the state directory takes files, and brings them to the disk."""
    there = _nearest(state)
    try:
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(b"edge doctor")
            probe.flush()
            started = time.monotonic()
            os.fsync(probe.fileno())
            seconds = time.monotonic() - started
        mode = there.stat().st_mode
    except OSError as error:
        return Finding(
            name="state",
            state="fail",
            text=f"cannot write to {there}: {error.strerror}",
            hint=_write_hint(error, there),
        )
    if there == state and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        return Finding(
            name="state",
            state="warn",
            text=f"every user may change {state}",
            hint=f"chmod o-w {state}",
        )
    if seconds > _SLOW_FSYNC:
        return Finding(
            name="state",
            state="warn",
            text=f"{state}: a write takes {show_duration(round(seconds, 3))} to reach the disk",
            hint="is the disk busy or failing? A slow one limits pictures a second",
        )
    new = "" if there == state else " (not there yet; it will be made)"
    return Finding(name="state", state="ok", text=f"{state}{new}, written and synced")


def disk(state: Path, wanted: int) -> Finding:
    """Look whether the disk has room for a full outbox, and inodes."""
    facts = os.statvfs(_nearest(state))
    free = facts.f_bavail * facts.f_frsize
    text = f"{_size(free)} free; a full outbox takes {_size(wanted)}"
    if facts.f_files and facts.f_favail < _LEAST_INODES:
        return Finding(
            name="disk",
            state="warn" if facts.f_favail else "fail",
            text=f"{facts.f_favail} inodes free",
            hint=f"remove small files on the disk of {state}; df -i shows where they are",
        )
    if free < min(_LEAST_DISK, wanted):
        hint = f"free space on the disk of {state}, or set box.state to a larger one"
        return Finding(name="disk", state="fail", text=text, hint=hint)
    if free < wanted:
        hint = "set outbox.max_bytes lower, or free space: pictures may wait here while the store"
        return Finding(name="disk", state="warn", text=text, hint=f"{hint} is shut")
    return Finding(name="disk", state="ok", text=text)


def page(web: WebConfig) -> Finding:
    """Look whether the page's port is free, or an Edge answers there."""
    where = f"{web.host}:{web.port}"
    family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((web.host, web.port))
        except OSError as error:
            return _taken(web, where, error)
    text = f"{where} is free" if web.port else "any free port will be taken"
    return Finding(name="page", state="ok", text=text)


def _taken(web: WebConfig, where: str, error: OSError) -> Finding:
    if error.errno == errno.EADDRINUSE:
        if _edge_answers(web):
            return Finding(name="page", state="ok", text=f"an Edge answers on {where}")
        return Finding(
            name="page",
            state="fail",
            text=f"another program listens on {where}",
            hint=f"stop it (ss -ltnp 'sport = :{web.port}' names it), or set web.port",
        )
    return Finding(
        name="page",
        state="fail",
        text=f"cannot listen on {where}: {error.strerror or error}",
        hint="set web.host to an address of this machine, web.port to one above 1023",
    )


def _edge_answers(web: WebConfig) -> bool:
    anywhere = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 (compared)
    connection = http.client.HTTPConnection(anywhere.get(web.host, web.host), web.port, timeout=3)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        return answer.status in (200, 503) and b'"alive"' in answer.read(4096)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _nearest(path: Path) -> Path:
    """Return the path, or the nearest directory above it that is there."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _write_hint(error: OSError, path: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"free space on the disk of {path}"
    if error.errno == errno.EROFS:
        return "the disk is mounted read-only: is it failing? Remount it, or set box.state"
    return f"let the user that runs Edge write to {path}, or set box.state"


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / _MIB:.0f} MiB"
