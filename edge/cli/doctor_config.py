"""Doctor: the configuration itself."""

from __future__ import annotations

from pathlib import Path

from edge.app.checks import faults
from edge.cli.doctor import Finding
from edge.config.load import config_file, examine
from edge.config.load_faults import ConfigError
from edge.config.root import Config


def read(given: Path | None) -> tuple[Config | None, list[Finding]]:
    """Read the configuration; None where it cannot be used."""
    path = config_file(given)
    try:
        loaded = examine(path, also=faults)
    except ConfigError as error:
        return None, [Finding.of("config", error)]
    count = len(loaded.config.sources)
    findings = [
        Finding(
            name="config",
            state="ok",
            text=f"{path}: {count} source{'s' if count != 1 else ''}",
        )
    ]
    findings += [
        Finding(
            name="config", state="warn", text=str(doubt), hint=f"edge config explain {doubt.path}"
        )
        for doubt in loaded.doubts
    ]
    return loaded.config, findings
