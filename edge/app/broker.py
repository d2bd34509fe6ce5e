"""Where the broker is, who connects, and what of that may change: read from the configuration."""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge.config.diff import is_live
from edge.config.mqtt import MqttConfig, UpstreamConfig
from edge.config.root import Config
from edge.config.secrets import Secrets
from edge.ops.mqtt_types import Login, MqttSettings, Tls, read_url

log = logging.getLogger(__name__)


class FreshLogin:
    """Who connects. Secrets are looked up anew each time, since they may rotate.

    The references are those that the file had when the box started: a password that is meant for
    another broker, which the file names by now, is not told to this one.
    """

    def __init__(
        self, config: MqttConfig, path: Path | None, tables: Mapping[str, Any] | None = None
    ) -> None:
        self._login = _login_of(config)
        self._secrets = Secrets(None if path is None else path.resolve().parent, os.environ)
        if tables is None and path is not None:
            with suppress(OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
                tables = tomllib.loads(path.read_text(encoding="utf-8"))
        found = (tables or {}).get("mqtt")
        self._written: Mapping[str, Any] = found if isinstance(found, dict) else {}

    def __call__(self) -> Login:
        """Return user and password as they are now; as they were, where one cannot be read."""
        try:
            self._login = Login(
                self._now("user", self._login.user), self._now("password", self._login.password)
            )
        except ValueError as error:
            log.warning("the broker's credentials stay as they were: %s", error)
        return self._login

    def _now(self, key: str, before: str) -> str:
        written = self._written.get(key)
        return self._secrets.resolve(written) if isinstance(written, str) else before


def settings_of(config: Config, mqtt: MqttConfig) -> MqttSettings:
    """Return where the broker is and how to talk to it.

    Raises:
        PartFailed: ``bad_broker``.

    """
    box = config.box
    tls = Tls(
        ca_file=mqtt.ca_file,
        cert_file=mqtt.cert_file,
        key_file=mqtt.key_file,
        alpn=mqtt.alpn,
        server_name=mqtt.server_name,
    )
    client_id = mqtt.client_id or f"edge-{box.site}-{box.node}"
    settings, _ = read_url(mqtt.url, client_id=client_id, tls=tls)
    return replace(
        settings,
        proxy=mqtt.proxy.reveal(),
        version=mqtt.version,
        keepalive=max(1, round(mqtt.keepalive)),
        session_expiry=round(mqtt.session_expiry),
        window=config.upstream.window,
        longest_wait=mqtt.retry_max,
    )


def live_of(now: UpstreamConfig, wanted: UpstreamConfig) -> UpstreamConfig:
    """Return ``now`` with what of ``wanted`` needs no restart."""
    fields = type(now).model_fields
    live = {name: getattr(wanted, name) for name, one in fields.items() if is_live(one)}
    return now.model_copy(update=live)


def _login_of(config: MqttConfig) -> Login:
    return Login(config.user.reveal(), config.password.reveal())
