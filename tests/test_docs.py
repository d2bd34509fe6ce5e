"""What an operator may write, read or call is documented, by what the code itself says."""

from __future__ import annotations

import re

import click
import pytest

from edge.cli import commands
from edge.cli.main import COMMANDS, edge
from edge.config.explain import keys, reference
from edge.control.commands import reference as verbs
from edge.ops import metrics
from tests.places import ROOT

CONFIG = ROOT / "edge" / "config" / "README.md"
METRICS = ROOT / "edge" / "ops" / "README.md"
VERBS_PAGE = ROOT / "edge" / "control" / "README.md"
COMMANDS_PAGE = ROOT / "edge" / "cli" / "README.md"


def test_the_reference_of_the_configuration_is_up_to_date() -> None:
    made = "make docs, or: python -m edge config reference > edge/config/README.md"
    assert CONFIG.read_text() == reference(), made


def test_the_reference_of_the_metrics_is_up_to_date() -> None:
    made = "make docs, or: python -m edge config reference --metrics > edge/ops/README.md"
    assert METRICS.read_text() == metrics.reference(), made


def test_every_key_of_the_configuration_is_documented() -> None:
    text = CONFIG.read_text()
    missing = [
        key.path
        for key in keys()
        if not re.search(rf"## `{re.escape(key.title)}`.*?\| `{key.name}` \|", text, re.DOTALL)
    ]
    assert missing == []


def test_every_metric_is_documented() -> None:
    text = METRICS.read_text()
    assert [row["name"] for row in metrics.table() if f"`{row['name']}`" not in text] == []


def test_the_reference_of_the_commands_is_up_to_date() -> None:
    made = "make docs, or: python -m edge config reference --commands > edge/cli/README.md"
    assert COMMANDS_PAGE.read_text() == commands.reference(), made


def test_the_reference_of_the_verbs_is_up_to_date() -> None:
    made = "make docs, or: python -m edge config reference --verbs > edge/control/README.md"
    assert VERBS_PAGE.read_text() == verbs.reference(), made


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_is_documented(name: str) -> None:
    with click.Context(edge) as context:
        command = edge.get_command(context, name)
    assert command is not None
    verbs = [""]
    if isinstance(command, click.Group):
        verbs = [verb for verb, one in command.commands.items() if not one.hidden]
    text = COMMANDS_PAGE.read_text()
    assert [verb for verb in verbs if f"`edge {name} {verb}".rstrip() not in text] == []
