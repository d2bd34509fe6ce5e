"""The whole configuration. Only ``app`` and the command line see it; a room gets its section."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from edge.config.bus import BusConfig, TriggerConfig
from edge.config.control import ControlConfig
from edge.config.detect import DetectConfig, ModelsConfig
from edge.config.energy import EnergyConfig
from edge.config.handlers import HandlerConfig
from edge.config.mqtt import MqttConfig, UpstreamConfig
from edge.config.privacy import PrivacyConfig
from edge.config.section import Section, key
from edge.config.sources import JobsConfig, SourceConfig
from edge.config.store import OutboxConfig, StoreConfig
from edge.config.tensorrt import TensorRTConfig
from edge.config.units import Duration
from edge.config.web import WebConfig


class BoxConfig(Section):
    """``[box]``: which box this is."""

    site: str = key("site", "Name of the site, used in event sources.", pattern=r"^[\w.-]{1,64}$")
    node: str = Field(
        default_factory=lambda: socket.gethostname().split(".")[0] or "box",
        description="Name of this box; left out: the host's name.",
        json_schema_extra={"live": False},
        pattern=r"^[\w.-]{1,64}$",
    )
    state: str = key(
        "",
        "Directory for what must survive a restart; empty: $STATE_DIRECTORY, else "
        "~/.local/state/edge.",
    )
    stop_timeout: Duration = key("10s", "How long a stop waits for pictures in hand.")


class LogConfig(Section):
    """``[log]``."""

    level: Literal["debug", "info", "warning", "error"] = key(
        "info", "How much is logged.", live=True
    )
    format: Literal["auto", "text", "json"] = key(
        "auto", "auto: text on a terminal, JSON elsewhere."
    )


class Config(Section):
    """Everything that the operator may say."""

    box: BoxConfig = BoxConfig()
    log: LogConfig = LogConfig()
    sources: dict[str, SourceConfig] = Field(
        default_factory=dict,
        description="One table a source: [sources.NAME]. At least one, unless only uploads are "
        "wanted.",
    )
    detect: DetectConfig = DetectConfig()
    models: ModelsConfig = ModelsConfig()
    tensorrt: TensorRTConfig = TensorRTConfig()
    energy: EnergyConfig = EnergyConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    outbox: OutboxConfig = OutboxConfig()
    store: StoreConfig
    bus: BusConfig = BusConfig()
    triggers: dict[str, TriggerConfig] = Field(
        default_factory=dict,
        description="One table a trigger: [triggers.NAME]. The box has one of its own, redact; a "
        "table of that name takes its place.",
    )
    handlers: dict[str, HandlerConfig] = Field(
        default_factory=dict,
        description="One table a handler: [handlers.NAME]. redact and log are there without one.",
    )
    web: WebConfig = WebConfig()
    control: ControlConfig = ControlConfig()
    mqtt: MqttConfig | None = Field(
        default=None, description="The broker; left out: the box tells nobody."
    )
    upstream: UpstreamConfig = UpstreamConfig()
    jobs: JobsConfig = JobsConfig()


def state_directory(box: BoxConfig, environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the box keeps what must survive a restart. It need not exist yet."""
    # systemd may name several, divided by colons
    named = box.state or environ.get("STATE_DIRECTORY", "").split(":")[0]
    if named:
        return Path(named).expanduser()
    return Path(environ.get("HOME") or Path.home()) / ".local" / "state" / "edge"
