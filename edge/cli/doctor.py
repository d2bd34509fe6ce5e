"""``edge doctor``: look at everything that the box needs, and say what to do about the rest."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from edge.cli.show import answer, config_option, json_option
from edge.errors import EdgeError

BOUND = 15.0
"""Seconds after which a check that still runs has failed."""

State = Literal["ok", "warn", "fail"]
_MARKS: Mapping[State, str] = {"ok": "✓", "warn": "!", "fail": "✗"}
_PLAIN_MARKS: Mapping[State, str] = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
_COLOURS: Mapping[State, str] = {"ok": "green", "warn": "yellow", "fail": "red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found. Safe to show anywhere once credentials are starred."""

    #: what was looked at: ``source gate``, ``store``, ``clock``
    name: str
    state: State
    #: what was found, in words
    text: str
    #: what to do about it; never empty where something is wrong
    hint: str = ""
    #: it gave no answer in time, and may never end
    hangs: bool = False

    @classmethod
    def of(cls, name: str, error: EdgeError, *, state: State = "fail") -> Finding:
        """Tell an error of the house as a finding."""
        return cls(name=name, state=state, text=str(error), hint=error.hint or "see the log")

    def facts(self) -> Mapping[str, str]:
        """Return it as JSON values."""
        return {"name": self.name, "state": self.state, "text": self.text, "hint": self.hint}


Look = Callable[[Executor], Coroutine[Any, Any, Finding]]
"""One look; what blocks in it runs in the threads that it is given."""
Check = tuple[str, Look]
"""What is looked at, and the look."""


@click.command()
@config_option
@json_option
def doctor(*, config: Path | None, as_json: bool) -> int:
    """Check everything that the box needs; a hint for all that is wrong."""
    from edge.cli.doctor_box import box_checks
    from edge.cli.doctor_broker import broker_checks
    from edge.cli.doctor_config import read
    from edge.cli.doctor_energy import energy_checks
    from edge.cli.doctor_parts import part_checks

    settings, findings = read(config)
    checks = box_checks(settings)
    if settings is not None:
        checks += part_checks(settings) + broker_checks(settings)
        checks += energy_checks(settings.energy)
    with _quiet():
        looked = asyncio.run(look(checks))
    findings += looked
    well = all(finding.state != "fail" for finding in findings)
    data = {"ok": well, "checks": [finding.facts() for finding in findings]}
    answer(data, _text(findings), as_json=as_json)
    if any(finding.hangs for finding in looked):
        # its thread may never end, and the interpreter would wait for it
        sys.stdout.flush()
        os._exit(1)
    return 0 if well else 1


async def look(checks: Sequence[Check], *, bound: float = BOUND) -> list[Finding]:
    """Run every check at once; one that takes longer than ``bound`` seconds has failed."""
    threads = ThreadPoolExecutor(max(1, len(checks)), thread_name_prefix="doctor")
    tasks = [asyncio.create_task(check(threads), name=f"doctor {name}") for name, check in checks]
    if tasks:
        await asyncio.wait(tasks, timeout=bound)
    late = [task for task in tasks if not task.done()]
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=1)
    threads.shutdown(wait=False)
    return [
        _too_late(name, bound) if task in late else task.result()
        for (name, _), task in zip(checks, tasks, strict=True)
    ]


def in_thread(work: Callable[[], Finding]) -> Look:
    """Make a look of work that blocks."""

    async def run(threads: Executor) -> Finding:
        return await asyncio.get_running_loop().run_in_executor(threads, work)

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the parts' own log lines back: what they say stands in the findings."""
    log = logging.getLogger("edge")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)


def _too_late(name: str, bound: float) -> Finding:
    return Finding(
        name=name,
        state="fail",
        text=f"gave no answer within {bound:g} s",
        hint="is its disk, network or device stuck? Try again, and look at the system's log",
        hangs=True,
    )


def _text(findings: Sequence[Finding]) -> str:
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    marks = _MARKS if encoding.startswith("utf") else _PLAIN_MARKS
    width = max(len(finding.name) for finding in findings)
    indent = "\n" + " " * (len(marks["ok"]) + width + 3)
    lines = []
    for finding in findings:
        text = finding.text.replace("\n", indent)
        lines.append(f"{_mark(finding.state, marks)} {finding.name:{width}}  {text}")
        if finding.hint:
            lines[-1] += f"{indent}hint: {finding.hint}"
    return "\n".join([*lines, "", _sum(findings)])


def _mark(state: State, marks: Mapping[State, str]) -> str:
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return marks[state]
    return click.style(marks[state], fg=_COLOURS[state], bold=True)


def _sum(findings: Sequence[Finding]) -> str:
    failed = sum(finding.state == "fail" for finding in findings)
    doubtful = sum(finding.state == "warn" for finding in findings)
    if failed:
        return f"{failed} of {len(findings)} checks failed"
    return "all is well" + (f", {doubtful} to look at" if doubtful else "")
