"""Every command with its arguments, read from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

from edge.cli.main import edge

_INTRODUCTION = """\
# Commands

Made by `edge config reference --commands`; do not edit by hand. Every command has `--help`, and
`--json` where it answers something.
"""
_CODES = (
    ("0", "ok"),
    ("1", "failed: what was asked for did not work"),
    ("2", "usage: wrong arguments"),
    ("3", "configuration: every fault is named"),
    ("4", "dependency: a camera, an engine, a store is out of order"),
    ("5", "privacy: something was withheld"),
    ("75", "later: try again"),
    ("78", "fatal: a person must act first"),
    ("130", "interrupted"),
    ("141", "nobody read the output any more"),
)


def table() -> list[Mapping[str, str]]:
    """Return every command: how it is called, what its arguments mean, what it does."""
    with click.Context(edge, info_name="edge") as context:
        return [row for name in edge.list_commands(context) for row in _rows(edge, name, context)]


def reference() -> str:
    """Return every command as Markdown tables: what ``edge/cli/README.md`` holds."""
    lines = [_INTRODUCTION, "| command | options | what it does |", "| --- | --- | --- |"]
    for row in table():
        cells = (f"`{row['command']}`", row["options"], row["meaning"])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines += ["", "| exit code | meaning |", "| --- | --- |"]
    lines += [f"| {code} | {meaning} |" for code, meaning in _CODES]
    return "\n".join(lines) + "\n"


def _rows(group: click.Group, name: str, parent: click.Context) -> Iterator[Mapping[str, str]]:
    command = group.get_command(parent, name)
    if command is None or command.hidden:
        return
    with click.Context(command, info_name=name, parent=parent) as context:
        if isinstance(command, click.Group):
            for verb in command.list_commands(context):
                yield from _rows(command, verb, context)
            return
        shown = [one for one in command.params if not getattr(one, "hidden", False)]
        arguments = [one.make_metavar(context) for one in shown if isinstance(one, click.Argument)]
        options = [_option(one) for one in shown if isinstance(one, click.Option)]
        yield {
            "command": " ".join([context.command_path, *arguments]),
            "options": ", ".join(options),
            "meaning": command.get_short_help_str(200),
        }


def _option(option: click.Option) -> str:
    return f"`{max(option.opts, key=len)}`"
