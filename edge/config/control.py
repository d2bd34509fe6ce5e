"""Control: who may command the box, and by which way."""

from __future__ import annotations

from typing import Literal

from edge.config.section import Section, key
from edge.config.units import Duration

CLASSES = ("read", "operate", "change", "privacy")
"""What a verb may do: look; pause, resume, restart; change what the box does; privacy."""


class ChannelConfig(Section):
    """One way that commands come in."""

    allow: tuple[str, ...] = key(
        CLASSES, "Classes (read, operate, change, privacy) and single verbs that are allowed."
    )
    deny: tuple[str, ...] = key((), "Classes and verbs that are not, whatever allow says.")
    signed: bool = key(False, "Whether every command but those of class read must be signed.")


class KeyConfig(Section):
    """A key that commands may be signed with."""

    public: str = key(
        ..., "Ed25519 public key, 32 bytes in base64.", pattern=r"^[A-Za-z0-9+/_-]{43}=?$"
    )
    allow: tuple[str, ...] = key(CLASSES, "Classes and verbs that it is good for.")


class ControlConfig(Section):
    """``[control]``: who may command the box."""

    socket: str = key(
        "",
        "Path of the socket of edge ctl; empty: control.sock in $RUNTIME_DIRECTORY, else in the "
        "state directory.",
    )
    local: ChannelConfig = key(ChannelConfig(), "edge ctl on the box itself.")
    http: ChannelConfig = key(ChannelConfig(), "POST /v1/commands/VERB.")
    mqtt: ChannelConfig = key(ChannelConfig(), "Over the broker.")
    keys: dict[str, KeyConfig] = key({}, "Keys of signed commands by their key id.")
    window: Duration = key(
        "5min", "A signed command is at most so old, by the box's clock, in either direction."
    )
    expires: Duration = key("1h", "When a command expires that says nothing about it.")
    remember: Duration = key(
        "7d", "How long ids and replies are remembered; no command may expire later."
    )
    reply_topics: tuple[str, ...] = key(
        (),
        "A Response Topic of a command must have a level reply under [mqtt] prefix, or begin with "
        "one of these.",
    )
    probation: Duration = key(
        "2min",
        "A configuration that came from afar has so long to show that cameras, engine, store and "
        "broker are as well as before; else the one before is in force again.",
        gt=0,
    )
    models: tuple[str, ...] = key(
        (),
        "Models that may be chosen from afar though they cover fewer people than the one of this "
        "file, or nobody has measured how many.",
    )
    audit_rows: int = key(100_000, "Entries that the audit log keeps; the oldest go first.", ge=100)


Channel = Literal["local", "http", "mqtt"]
