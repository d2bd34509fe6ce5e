"""Somebody who listens at a broker, boxes that are simulated there, and what commands printed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.places import ROOT
from tests.servers.mosquitto import Mosquitto

TWO = ("--sources", "2", "--sites", "2", "--rate", "0")


def url(broker: Mosquitto) -> str:
    return f"mqtt://{broker.host}:{broker.port}"


class Cloud:
    """Somebody who listens at the broker, and may speak there."""

    def __init__(self, broker: Mosquitto, *topics: str, **login: str) -> None:
        self.heard: list[paho.MQTTMessage] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self.client.on_message = lambda _, __, message: self.heard.append(message)
        self._granted = 0
        self.client.on_subscribe = self._on_subscribe
        if login:
            self.client.username_pw_set(login["user"], login["password"])
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()
        for topic in topics:
            self.client.subscribe(topic, 1)
        wait_for(lambda: self._granted == len(topics))

    def _on_subscribe(self, *_: object) -> None:
        self._granted += 1

    def say(self, topic: str, message: Any, *, retain: bool = True) -> None:
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.client.publish(topic, body, 1, retain).wait_for_publish(10)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def on(self, part: str) -> list[dict[str, Any]]:
        read = (json.loads(one.payload) for one in self.heard if part in one.topic and one.payload)
        return [one for one in read if isinstance(one, dict)]


def wait_for(true: Callable[[], object], within: float = 20.0) -> None:
    until = time.monotonic() + within
    while not true():
        assert time.monotonic() < until, "it does not happen"
        time.sleep(0.02)


@contextlib.contextmanager
def simulated(broker: Mosquitto, boxes: int, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Boxes in a process of their own, all of them up."""
    command = [sys.executable, "-m", "edge", "sim", "--boxes", str(boxes), "--broker", url(broker)]
    listening = Cloud(broker, "edge/v1/+/+/health", "edge/v1/+/+/source/+/status")
    with subprocess.Popen(
        [*command, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_for(lambda: len({one.topic for one in listening.heard}) == 3 * boxes)
            listening.close()
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", *words]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60,
        env={**os.environ, **environment}, check=False,
    )  # fmt: skip
