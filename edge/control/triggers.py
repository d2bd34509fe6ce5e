"""Triggers that are set while the box runs: what was sent, checked as the file's would be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from edge.config.bus import TriggerConfig
from edge.errors import Rejected


def read_trigger(spec: Mapping[str, Any]) -> TriggerConfig:
    """Return the trigger that ``spec`` describes (plain values, as JSON gives them).

    Raises:
        Rejected: ``bad_trigger``, with every fault and where it stands. It shows no value: one
            under a misspelt key may be a secret.

    """
    try:
        return TriggerConfig.model_validate(spec)
    except ValidationError as error:
        faults = [
            f"{_path(found['loc'])}: {found['msg'].removeprefix('Value error, ')}"
            for found in error.errors(include_url=False, include_input=False, include_context=False)
        ]
    raise Rejected("; ".join(faults), reason="bad_trigger")


def _path(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".") or "the trigger"
