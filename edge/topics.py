"""MQTT topics of a box: ``{prefix}/{site}/{node}/…``. Everyone who speaks MQTT names them here."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

PREFIX = "edge/v1"
EVERY_NODE = "_all"
"""Stands for the node where a command is for all boxes of a site."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._:@-]")
_LONGEST = 64


def level(name: str) -> str:
    """Return a name as one level of a topic; where it had to change, a digest keeps it its own."""
    safe = _UNSAFE.sub("_", name)
    if safe == name and 0 < len(name) <= _LONGEST and not name.startswith("_"):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{safe.lstrip('_')[: _LONGEST - 13]}-{digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """The topics of one box."""

    site: str
    node: str
    prefix: str = PREFIX

    @property
    def base(self) -> str:
        """What all of them begin with."""
        return f"{self.prefix}/{level(self.site)}/{level(self.node)}"

    # -- retained

    @property
    def status(self) -> str:
        """``online``, ``stopped``, or ``offline`` by the will; always with the session's number."""
        return f"{self.base}/status"

    @property
    def info(self) -> str:
        """What the box is: version, hardware, model, addresses."""
        return f"{self.base}/info"

    @property
    def health(self) -> str:
        """How it is, every so often."""
        return f"{self.base}/health"

    def source_status(self, source: str) -> str:
        """How one source is."""
        return f"{self.base}/source/{level(source)}/status"

    def source_state(self, source: str, key: str) -> str:
        """What a setting of a source is now."""
        return f"{self.base}/source/{level(source)}/state/{level(key)}"

    def source_set(self, source: str, key: str) -> str:
        """Where that setting is asked for; not retained."""
        return f"{self.base}/source/{level(source)}/set/{level(key)}"

    @property
    def config_desired(self) -> str:
        """The configuration that somebody wants."""
        return f"{self.base}/config/desired"

    @property
    def config_reported(self) -> str:
        """The configuration that is in force, and what became of the desired one."""
        return f"{self.base}/config/reported"

    # -- not retained

    def result(self, source: str) -> str:
        """What was made of the pictures of a source: CloudEvents in JSON."""
        return f"{self.base}/result/{level(source)}"

    def event(self, kind: str) -> str:
        """What else happened: alarms, erasures, answers of other handlers."""
        return f"{self.base}/event/{level(kind)}"

    @property
    def receipt(self) -> str:
        """Proofs of what was done to pictures."""
        return f"{self.base}/receipt"

    @property
    def loss(self) -> str:
        """Tombstones: what was produced and had to give way."""
        return f"{self.base}/loss"

    def command(self, verb: str) -> str:
        """A command to this box."""
        return f"{self.base}/cmd/{verb}"

    def site_command(self, verb: str) -> str:
        """A command to all boxes of the site."""
        return f"{self.prefix}/{level(self.site)}/{EVERY_NODE}/cmd/{verb}"

    def reply(self, command_id: str) -> str:
        """The answer to a command that named no Response Topic."""
        return f"{self.base}/reply/{level(command_id)}"
