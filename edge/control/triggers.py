"""Triggers that are set while the box runs: what was given is checked as the file's is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from edge.config.bus import TriggerConfig
from edge.errors import Rejected
from edge.ops.redact_url import without_credentials


def parse_trigger(spec: Mapping[str, Any]) -> TriggerConfig:
    """Read a trigger as Knative writes it.

    Raises:
        Rejected: ``bad_trigger``, with every fault and where it stands.

    """
    try:
        return TriggerConfig.model_validate(spec)
    except ValidationError as error:
        # Without the values: an address may carry a password.
        faults = [
            f"{'.'.join(str(part) for part in fault['loc']) or 'the trigger'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise Rejected(without_credentials("; ".join(faults)), reason="bad_trigger") from error
