"""What may be changed while it runs: one row a verb, with the arguments that it takes.

Replies use the codes of the remote protocol, so that HTTP, MQTT and the command line agree.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from edge.config.sources import SourceConfig
from edge.control.sources import SourceTable
from edge.ops.redact_url import without_credentials

_SOURCE: TypeAdapter[SourceConfig] = TypeAdapter(SourceConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How a command ended. An empty ``code`` means that it was done."""

    #: ``bad_request not_found conflict unsupported``, empty for success
    code: str = ""
    message: str = ""
    hint: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


async def carry_out(sources: SourceTable, verb: str, args: Mapping[str, Any]) -> Reply:
    """Carry out a verb. Never raises for a bad command: the reply says what was wrong."""
    if verb not in VERBS:
        return Reply(
            code="unsupported", message=f"no verb {verb}", hint=f"there are {', '.join(VERBS)}"
        )
    name = args.get("name")
    if not isinstance(name, str) or not name:
        return Reply(code="bad_request", message="name: expected the name of a source")
    try:
        return await VERBS[verb](sources, name, args)
    except KeyError:
        known = ", ".join(sources.configs) or "none"
        return Reply(code="not_found", message=f"no source {name}", hint=f"there are: {known}")


async def _add(sources: SourceTable, name: str, args: Mapping[str, Any]) -> Reply:
    if name in sources.configs:
        return Reply(code="conflict", message=f"there is a source {name}", hint="remove it first")
    try:
        config = _SOURCE.validate_python({k: v for k, v in args.items() if k != "name"})
    except ValidationError as error:
        # Without the values: an address may carry a password.
        faults = [
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
        return Reply(code="bad_request", message=without_credentials("; ".join(faults)))
    sources.add(name, config)
    return Reply(message=f"source {name} is added until the next restart")


async def _enable(sources: SourceTable, name: str, _: Mapping[str, Any]) -> Reply:
    sources.enable(name)
    return Reply(message=f"source {name} is enabled")


async def _disable(sources: SourceTable, name: str, _: Mapping[str, Any]) -> Reply:
    await sources.disable(name)
    return Reply(message=f"source {name} is disabled")


async def _remove(sources: SourceTable, name: str, _: Mapping[str, Any]) -> Reply:
    await sources.remove(name)
    return Reply(message=f"source {name} is removed until the next restart")


VERBS: Mapping[str, Callable[[SourceTable, str, Mapping[str, Any]], Awaitable[Reply]]] = {
    "source.add": _add,
    "source.enable": _enable,
    "source.disable": _disable,
    "source.remove": _remove,
}
"""Every verb, and what carries it out."""
