"""``edge version``: which Edge this is, and what it stands on."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from edge import __version__
from edge.cli.show import answer, json_option

_PARTS = ("numpy", "opencv-python-headless", "onnxruntime", "tensorrt")


@click.command()
@json_option
def version(*, as_json: bool) -> None:
    """Say which version this is, and which libraries it stands on."""
    facts = {"edge": __version__, "python": platform.python_version()}
    for part in _PARTS:
        try:
            facts[part] = metadata.version(part)
        except metadata.PackageNotFoundError:
            continue  # an extra that is not installed
    text = "\n".join(f"{name} {number}" for name, number in facts.items())
    answer(facts, text, as_json=as_json)
