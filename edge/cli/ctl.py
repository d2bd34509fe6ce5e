"""``edge ctl``: commands to the box on this machine, by its socket."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from edge.cli.box_client import RefusedByBox
from edge.cli.show import answer, config_option, json_option
from edge.control.commands.reference import schema
from edge.control.commands.table import VERBS
from edge.errors import EdgeError, PartFailed, TryLater

QUIET_S = 100.0
"""Seconds without an answer after which the box counts as gone."""
_BY_CODE: Mapping[str, type[EdgeError]] = {
    "dependency_down": PartFailed,
    "busy": TryLater,
    "timeout": TryLater,
}


class _Help(click.Command):
    """Lists the verbs below the options."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the table of verbs."""
        with formatter.section("Verbs"):
            formatter.write_dl([(_call(name), verb.text) for name, verb in VERBS.items()])


@click.command(cls=_Help, epilog="verbs")
@click.argument("verb")
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--args", "text", metavar="JSON", help="Arguments as a JSON object.")
@click.option("--id", "command_id", help="The command's id: sent again, it is not done again.")
@click.option("--wait", type=click.IntRange(0, 60), default=60, help="Seconds to wait for the end.")
@click.option("--schema", "show_schema", is_flag=True, help="Print the verb's JSON Schema instead.")
@click.option("--socket", "path", type=click.Path(path_type=Path), help="The box's socket.")
@config_option
@json_option
def ctl(
    *, verb: str, arguments: tuple[str, ...], show_schema: bool, as_json: bool, **given: Any
) -> None:
    """Command the box on this machine: edge ctl source.disable name=gate."""
    if verb not in VERBS:
        raise click.UsageError(f"no verb {verb}: there are {', '.join(VERBS)}")
    if show_schema:
        answer(schema(verb), as_json=True)
        return
    payload = read_arguments(arguments, given["text"])
    path = given["path"] or socket_of(given["config"])
    reply = asked(path, verb, payload, command_id=given["command_id"], wait=given["wait"])
    answer(reply, _text(reply), as_json=as_json)


def read_arguments(words: tuple[str, ...], text: str | None) -> dict[str, Any]:
    """Read ``NAME=VALUE``; a value that is JSON is that, any other is text."""
    try:
        found = json.loads(text) if text else {}
    except ValueError as error:
        raise click.BadParameter(f"expected JSON: {error}", param_hint="--args") from error
    if not isinstance(found, dict):
        raise click.BadParameter("expected a JSON object", param_hint="--args")
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals):
            raise click.UsageError(f"expected NAME=VALUE, got {word!r}")
        found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def socket_of(config: Path | None) -> Path:
    """Find the socket: the service's, else where the configuration says."""
    from edge.app.commands import control_socket
    from edge.config.load import config_file, examine

    file = config_file(config)
    service = Path("/run/edge/control.sock")
    if config is None and not os.access(file, os.R_OK):
        return service
    loaded = examine(file, secrets=False).config
    found = control_socket(loaded)
    named = config is not None or bool(loaded.control.socket)
    return service if service.exists() and not named else found


def asked(
    path: Path,
    verb: str,
    payload: Mapping[str, Any],
    *,
    command_id: str | None = None,
    wait: int = 60,
) -> Any:
    """Command the box at a socket; return its answer.

    Raises:
        PartFailed: no box answers there. EdgeError: it refuses.

    """
    headers = {"Content-Type": "application/json", "Prefer": f"wait={wait}"}
    if command_id:
        headers["Idempotency-Key"] = command_id
    connection = SocketConnection(path)
    try:
        where = f"/v1/commands/{quote(verb, safe='')}"
        connection.request("POST", where, json.dumps(payload).encode(), headers)
        reply = connection.getresponse()
        body, status = json.loads(reply.read()), reply.status
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise PartFailed(
            f"no box answers at {path}: {error}",
            hint="does it run? Its socket is for its own user and root: sudo edge ctl …",
            reason="unreachable",
        ) from error
    finally:
        connection.close()
    if status >= 400:
        raise _refusal(body["error"])
    return body


def _refusal(told: Mapping[str, str]) -> EdgeError:
    kind = _BY_CODE.get(told["code"], RefusedByBox)
    return kind(told["message"], hint=told["hint"], reason=told["code"])


class SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=QUIET_S)
        self._path = path

    def connect(self) -> None:
        """Connect; a path that is too long for the kernel goes through its open directory."""
        from edge.web.local import reachable

        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.sock.connect(reachable(self._path, directory))
        finally:
            os.close(directory)


def _text(reply: Mapping[str, Any]) -> str:
    lines = [f"{reply['status']}: {reply['message']}".rstrip(": ")]
    lines += [f"  {line}" for line in _lines(reply["data"])]
    if reply["status"] in ("accepted", "progress"):
        lines.append(f"  it goes on; ask again with --id {reply['id']}")
    return "\n".join(lines)


def _lines(data: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in data.items()
    ]


def _call(name: str) -> str:
    fields = VERBS[name].takes.model_fields.items()
    words = [f"{field}=" if one.is_required() else f"[{field}=]" for field, one in fields]
    return " ".join([name, *words])
