"""The command line: which commands there are, and what their errors mean to the shell.

A command's module is imported when the command is called, so that ``edge --help`` is there at
once. Exit codes: 0 ok, 1 failed, 2 usage, 3 configuration, 4 dependency, 5 privacy, 75 later,
78 fatal, 130 interrupted, 141 nobody reads the output any more.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn

import click

from edge import __version__
from edge.cli import show
from edge.config.load_faults import ConfigError
from edge.errors import EdgeError, Fatal, GpuLost, PartFailed, Rejected, TryLater, Withheld

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("edge.cli.run:run", "Run the appliance."),
    "redact": ("edge.cli.redact:redact", "Redact pictures, folders and videos."),
    "infer": ("edge.cli.infer:infer", "Say what the engine finds in pictures, as JSON."),
    "doctor": ("edge.cli.doctor:doctor", "Check everything that the box needs."),
    "config": ("edge.cli.config:config", "Check, show and explain the configuration."),
    "ctl": ("edge.cli.ctl:ctl", "Command the box on this machine."),
    "fleet": ("edge.cli.fleet:fleet", "See and command every box of a broker."),
    "sim": ("edge.cli.sim:sim", "Simulate boxes, to size a broker or to try what listens."),
    "event": ("edge.cli.event:event", "Send, watch, record and replay events; follow one."),
    "trigger": ("edge.cli.trigger:trigger", "List, set and remove triggers."),
    "bucket": ("edge.cli.bucket:bucket", "Set up and check notifications of object stores."),
    "dlq": ("edge.cli.dlq:dlq", "List, show, replay and drop dead letters."),
    "filter": ("edge.cli.filter:filter_", "Try filters on events."),
    "route": ("edge.cli.route:route", "Try routing rules on a key."),
    "schema": ("edge.cli.schema:schema", "Print the JSON Schemas of what the box says."),
    "spool": ("edge.cli.spool:spool", "Check and repair what the box keeps on its disk."),
    "engine": ("edge.cli.engine:engine", "Build, list, check, choose and measure engines."),
    "model": ("edge.cli.model:model", "Fetch, list, import and check models."),
    "version": ("edge.cli.version:version", "Say which version this is."),
}
"""Name: where it lives, and its line in ``edge --help``."""

UNLISTED = {"decode-child": "edge.cli.decode_child:decode_child"}
"""What Edge starts, not a person: name, and where it lives."""

EXIT_CODES: tuple[tuple[type[EdgeError], int], ...] = (
    (ConfigError, 3),
    (Withheld, 5),
    (Rejected, 1),
    (GpuLost, 75),
    (PartFailed, 4),
    (TryLater, 75),
    (Fatal, 78),
    (EdgeError, 1),
)
"""The first that fits counts."""

INTERRUPTED = 130
NOBODY_READS = 141


class Lazy(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return a command; None for an unknown name."""
        where = COMMANDS[cmd_name][0] if cmd_name in COMMANDS else UNLISTED.get(cmd_name)
        if where is None:
            return None
        module, _, name = where.partition(":")
        try:
            command = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            raise Fatal(
                f"the command {cmd_name} needs {error.name}, which is not installed",
                hint="install Edge anew",
                reason="not_installed",
            ) from error
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}:{name} is not a click command")
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command; an interrupt or a reader that left ends it without a word."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            ctx.exit(_nobody_reads())

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the table without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(
    cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="edge", message="%(prog)s %(version)s")
def edge() -> None:
    """Edge: cameras and pictures in, only redacted pictures out."""


def exit_code(error: EdgeError) -> int:
    """Return what the shell gets for an error of the house."""
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code. An error of the house becomes a message."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in arguments
    sys.excepthook = partial(show.bug, as_json=as_json)
    try:
        code = edge.main(args=arguments, prog_name="edge", standalone_mode=False)
        sys.stdout.flush()
    except click.Abort:
        return INTERRUPTED
    except BrokenPipeError:
        return _nobody_reads()
    except click.ClickException as error:
        return _usage(error, as_json=as_json)
    except EdgeError as error:
        code = exit_code(error)
        show.failure(error, code, as_json=as_json)
        if isinstance(error, GpuLost):
            _leave(code)
    return code if isinstance(code, int) else 0


def _usage(error: click.ClickException, *, as_json: bool) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
    told = EdgeError(error.format_message(), hint=f"{command or 'edge'} --help", reason="bad_usage")
    show.failure(told, error.exit_code, as_json=as_json)
    return error.exit_code


def _leave(code: int) -> NoReturn:
    """End without the driver's own tidying up: it may wait for ever for a GPU that hangs."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _nobody_reads() -> int:
    # the interpreter flushes standard output once more at its end: let that go nowhere
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return NOBODY_READS
