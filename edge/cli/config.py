"""``edge config``: check, show and explain the configuration."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from edge.cli.show import answer, config_option, fault_facts, json_option, warn
from edge.config.explain import Key, explain, keys, reference, schema, table_of
from edge.config.explain_types import shape_at
from edge.config.load import Loaded, config_file, examine
from edge.config.load_faults import Location, path_text
from edge.config.root import Config
from edge.config.secrets import has_reference
from edge.errors import PartFailed, Rejected
from edge.ops.redact_url import without_credentials

_STARS = "********"
_LOOK_S = 0.5
_LONGEST_S = 3600.0
"""Seconds after which a box that does not come back is given up."""


@click.group()
def config() -> None:
    """Check, show and explain the configuration."""


@config.command()
@config_option
@click.option(
    "--no-secrets",
    is_flag=True,
    help="Do not look secrets up: systemd shows its credentials to the service alone.",
)
@json_option
def validate(*, config: Path | None, no_secrets: bool, as_json: bool) -> None:
    """Read the configuration and name every fault at once."""
    path = config_file(config)
    from edge.app.checks import faults

    loaded = examine(path, secrets=not no_secrets, also=faults)
    doubts = [fault_facts(doubt) for doubt in loaded.doubts]
    if not as_json:
        for doubt in loaded.doubts:
            warn(f"warning: {doubt}")
    sources = len(loaded.config.sources)
    text = f"{path}: ok, {sources} source{'s' if sources != 1 else ''}"
    answer({"file": str(path), "ok": True, "warnings": doubts}, text, as_json=as_json)


@config.command()
@config_option
@click.option("--file", "only_file", is_flag=True, help="The file, even where another counts.")
@json_option
def show(*, config: Path | None, only_file: bool, as_json: bool) -> None:
    """Print the configuration in effect, defaults included, secrets as stars."""
    path = config_file(config)
    loaded = examine(path, secrets=False) if only_file else _in_force(path)
    data = _shown(loaded)
    answer(data, "\n".join(_toml(data, ())).strip("\n"), as_json=as_json)


@config.command(name="schema")
@json_option
def schema_(*, as_json: bool) -> None:  # noqa: ARG001 (it is JSON anyway)
    """Print the configuration's JSON Schema."""
    answer(schema(), as_json=True)


@config.command(name="explain")
@click.argument("key")
@json_option
def explain_(*, key: str, as_json: bool) -> None:
    """Say what KEY takes, its default, its meaning, and when a change counts."""
    found = explain(key)
    answer(table_of(found), "\n\n".join(map(_paragraph, found)), as_json=as_json)


@config.command(name="reference")
@click.option("--metrics", is_flag=True, help="Every metric instead: edge/ops/README.md.")
@click.option("--commands", is_flag=True, help="Every command instead: edge/cli/README.md.")
@click.option("--verbs", is_flag=True, help="Every verb instead: edge/control/README.md.")
@json_option
def reference_(*, metrics: bool, commands: bool, verbs: bool, as_json: bool) -> None:
    """Print every key (or metric, command, verb) as Markdown, as in the pages of the house."""
    rows: object
    if metrics:
        from edge.ops import metrics as page

        rows, text = page.table(), page.reference()
    elif commands:
        from edge.cli import commands as command_page

        rows, text = command_page.table(), command_page.reference()
    elif verbs:
        from edge.control.commands import reference as verb_page

        rows, text = verb_page.table(), verb_page.reference()
    else:
        rows, text = table_of(list(keys())), reference()
    if as_json:
        answer(rows, as_json=True)
    else:
        print(text, end="")  # as it is: the example's URL shows where a secret goes


def _paragraph(key: Key) -> str:
    kind = f' (kind = "{key.kind}")' if key.kind else ""
    change = {
        "live": "at the next reload",
        "source": "at the next reload; the source is opened anew",
        "restart": "at the next start",
    }[key.change]
    return (
        f"{key.path}{kind}\n  {key.meaning}\n"
        f"  takes:   {key.takes}\n  default: {key.default.strip('`')}\n  changes: {change}"
    )


@config.command(name="apply")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--no-wait", is_flag=True, help="Do not wait for the end of its probation.")
@config_option
@json_option
def apply_(*, file: Path, no_wait: bool, config: Path | None, as_json: bool) -> None:
    """Have the running box try FILE in the place of its own; it stays, or the box goes back."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Rejected(f"{file} cannot be read: {error}") from error
    _try_out("config.apply", {"toml": text}, config, wait=not no_wait, as_json=as_json)


@config.command()
@click.option("--no-wait", is_flag=True, help="Do not wait for the end of its probation.")
@config_option
@json_option
def rollback(*, no_wait: bool, config: Path | None, as_json: bool) -> None:
    """Have the running box try the configuration before the one that was applied last."""
    _try_out("config.rollback", {}, config, wait=not no_wait, as_json=as_json)


def _try_out(
    verb: str, args: Mapping[str, Any], config: Path | None, *, wait: bool, as_json: bool
) -> None:
    from edge.cli.ctl import asked, socket_of

    socket = socket_of(config)
    found = asked(socket, verb, args)["data"]
    if wait and found["state"] == "probation":
        found = _ended(socket)
    words = f"{found['state']}: configuration {found['id']}"
    if found["state"] == "rolled_back":
        raise Rejected(f"{words}: {found['reason']}", reason="rolled_back")
    answer(found, words, as_json=as_json)


def _ended(socket: Path) -> Any:
    """Wait for the end of a probation, which may take the box through a restart."""
    from edge.cli.ctl import asked

    until = time.monotonic() + _LONGEST_S
    while True:
        time.sleep(_LOOK_S)
        try:
            found = asked(socket, "config.report", {})["data"]
        except PartFailed:
            if time.monotonic() > until:
                raise
            continue
        if found["state"] != "probation" or time.monotonic() > until:
            return found


def _in_force(path: Path) -> Loaded:
    from edge.app.config import look

    loaded, standing = look(path, secrets=False)
    document = standing.in_force
    if document is not None:
        what = "on probation" if standing.trial else "in force"
        warn(f"{document.id}, which came from afar, is {what} in the place of {path}")
    return loaded


def _shown(loaded: Loaded) -> dict[str, Any]:
    """Return the configuration as plain values; of secrets only what the file shows anyway."""

    def walk(value: Any, written: Any, location: Location) -> Any:
        if isinstance(value, dict):
            below = written if isinstance(written, Mapping) else {}
            return {
                name: walk(inner, below.get(name), (*location, name))
                for name, inner in value.items()
            }
        shape = shape_at(location, Config)
        if shape is not None and shape.secret and value is not None:
            return _secret(str(written), location)
        return value

    shown: dict[str, Any] = walk(loaded.config.model_dump(mode="json"), loaded.written, ())
    return shown


def _secret(written: str, location: Location) -> str:
    if location[0] == "sources":
        # where a camera is helps; who may look at it is nobody's business
        return without_credentials(written)
    return written if has_reference(written) and written.startswith("${") else _STARS


def _toml(table: Mapping[str, Any], location: Location) -> Iterator[str]:
    """Yield the lines of a TOML file; keys without a value are left out."""
    plain = {name: value for name, value in table.items() if not isinstance(value, dict)}
    if plain and location:
        yield f"\n[{path_text(location)}]"
    for name, value in plain.items():
        if value is not None:
            yield f"{path_text((name,))} = {_inline(value)}"
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _toml(value, (*location, name))


def _inline(value: Any) -> str:
    """Write a value on one line, tables in lists included."""
    if isinstance(value, list):
        return f"[{', '.join(map(_inline, value))}]"
    if isinstance(value, dict):
        pairs = (
            f"{path_text((name,))} = {_inline(inner)}"
            for name, inner in value.items()
            if inner is not None
        )
        return f"{{{', '.join(pairs)}}}"
    return json.dumps(value, ensure_ascii=False)
