"""What every section of the configuration has in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A frozen part of the configuration. Unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        # an error's text must not carry a value that may be a secret
        hide_input_in_errors=True,
    )


def key(default: Any, text: str, *, live: bool = False, **limits: Any) -> Any:
    """Declare one key: its default (``...`` for none), what it means, whether it changes live.

    Defaults are written as the operator would (``"5s"``, ``"2GiB"``) and read by the same parser.
    """
    return Field(default, description=text, json_schema_extra={"live": live}, **limits)
