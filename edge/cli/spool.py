"""``edge spool``: check the file in which the box keeps what must not be lost, and repair it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from edge.app.spool import NAME, SCHEMA, mend
from edge.cli.show import answer, config_option, json_option
from edge.config.load import config_file, examine
from edge.config.root import state_directory
from edge.ops import repair as repairing
from edge.ops.salvage import Findings

MOST_SHOWN = 20
"""Findings in words; ``--json`` and the file of the findings have more."""

_FILE = click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))


@click.group()
def spool() -> None:
    """Check and repair the box's spool: waiting events and parcels."""


@spool.command()
@_FILE
@config_option
@json_option
@click.pass_context
def check(context: click.Context, *, file: Path | None, config: Path | None, as_json: bool) -> None:
    """Read every row of FILE (else of the configured box's spool); exit 1 where it is damaged.

    The box must be stopped. Nothing is changed.
    """
    path = _path(file, config)
    with repairing.locked(path):
        findings, said = repairing.check(path, SCHEMA)
    sound = findings.sound and not said
    facts = {"file": str(path), **findings.facts(), "sound": sound, "sqlite": said}
    text = "\n".join(_words(path, findings, said, sound=sound))
    hint = "" if sound else "\n  edge spool repair saves what can be read"
    answer(facts, text + hint, as_json=as_json)
    context.exit(0 if sound else 1)


@spool.command()
@_FILE
@config_option
@click.option("--dry-run", is_flag=True, help="Only say what would be saved.")
@json_option
def repair(*, file: Path | None, config: Path | None, dry_run: bool, as_json: bool) -> None:
    """Put what can be read of FILE into a fresh one, and set the rest aside with the reasons.

    The box must be stopped. The damaged file is kept whole in FILE.damaged-TIME. A sound file is
    left as it is.
    """
    path = _path(file, config)
    with repairing.locked(path):
        findings, said = repairing.check(path, SCHEMA)
        sound = findings.sound and not said
        if not sound and not dry_run:
            findings = repairing.repair(path, SCHEMA, mend)
    facts = {"file": str(path), **findings.facts(), "sound": sound, "dry_run": dry_run}
    answer(facts, "\n".join(_words(path, findings, said, sound=sound)), as_json=as_json)


def _path(file: Path | None, config: Path | None) -> Path:
    if file is not None:
        return file
    return state_directory(examine(config_file(config), secrets=False).config.box) / NAME


def _words(path: Path, findings: Findings, said: list[str], *, sound: bool) -> Iterator[str]:
    saved = ", ".join(f"{count} {table}" for table, count in findings.saved.items()) or "none"
    if sound:
        yield f"{path}: sound; rows: {saved}"
        return
    yield f"{path}: damaged: {_count(findings.pages, 'page')}, {_count(findings.rows, 'row')}"
    yield from (f"  {note}" for note in findings.notes)
    yield from (f"  {finding}" for finding in findings.told[:MOST_SHOWN])
    if len(findings.told) > MOST_SHOWN:
        yield f"  … and {findings.pages + findings.rows - MOST_SHOWN} more"
    yield from (f"  SQLite says: {line}" for line in said[:MOST_SHOWN])
    if findings.directory is None:
        yield f"  rows that can be read: {saved}"
    else:
        yield f"  rows saved: {saved}"
        yield f"  the damaged file, its pages and the reasons: {findings.directory}"


def _count(many: int, what: str) -> str:
    return f"{many} {what}{'' if many == 1 else 's'}"
