"""A bad line, and brokers that do not take everything: what waits comes through, or is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.ops.mqtt_types import MqttSettings, Tls
from edge.sinks.upstream.outgoing import Outgoing
from tests.journeys.far_reader import FarReader
from tests.journeys.upstream_life import SOURCES, TOPICS, Upstream, batch, settings_for, upstream
from tests.parts import until
from tests.servers.apart import Wire, far_mosquitto, wire
from tests.servers.bad_link import BadLink
from tests.servers.certificates import Authority
from tests.servers.mosquitto import Mosquitto, idle_mosquitto, mosquitto

__all__ = ["far_mosquitto", "idle_mosquitto", "mosquitto", "wire"]

SOON = {"keepalive": 2, "ack_timeout": 2.0, "connect_timeout": 3.0}
"""Of the link: a cut is noticed within 2 s while something is owed, else within 4."""
HASTY = {**SOON, "ack_timeout": 1.0}
NOTICED_S = 8.0
BACK_S = 12.0
"""Until all is through again after the line was mended; generous, for TCP waits ever longer."""
BIG = 200 * 1024


@pytest.fixture
def far_reader(tmp_path: Path) -> Iterator[Any]:
    """Starts a consumer at a broker."""
    started: list[FarReader] = []

    def start(broker: Mosquitto, port: int = 0) -> FarReader:
        place = tmp_path / "came"
        reader = FarReader(broker.host, port or broker.port, f"{TOPICS.base}/#", place)
        reader.start()
        started.append(reader)
        return reader

    yield start
    for reader in started:
        reader.stop()


async def arrives(reader: FarReader, many: int, within: float = 20.0) -> None:
    """Wait until so many came, in order and without a hole."""
    await asyncio.to_thread(reader.wait_for, many, within)
    assert len(reader.ids) == many
    assert reader.faults() == {}
    assert not reader.losses


async def seconds(true: Any, within: float) -> float:
    began = time.monotonic()
    await until(true, within)
    return time.monotonic() - began


async def put(life: Upstream, first: int, many: int) -> None:
    await life.queue.put(*batch(first, many, time.time()))


@pytest.mark.slow
async def test_a_line_of_two_seconds_that_loses_a_tenth(
    idle_mosquitto: Mosquitto, far_reader: Any, tmp_path: Path
) -> None:
    mosquitto = idle_mosquitto
    mosquitto.lines.append("max_inflight_messages 64")
    mosquitto.start()
    reader = far_reader(mosquitto)
    async with (
        BadLink(mosquitto.host, mosquitto.port, delay=1.0, loss=0.1) as line,
        upstream(tmp_path / "spool.db", settings_for(line.port)) as life,
    ):
        await put(life, 0, 128)
        took = await seconds(lambda: not life.queue.stats().waiting, 30)
        assert life.link.status().round_trip > 1.9
        # the welcome and two windows, one after the other, and what was lost
        print(f"128 messages in {took:.1f} s")
        assert line.connections == 1
    await arrives(reader, 128)
    assert reader.twice == 0


@pytest.mark.slow
async def test_packets_that_are_lost_on_a_real_wire(
    wire: Wire, far_mosquitto: Mosquitto, far_reader: Any, tmp_path: Path
) -> None:
    reader = far_reader(far_mosquitto)
    wire.lossy(0.1)
    async with (
        BadLink(far_mosquitto.host, far_mosquitto.port, delay=0.2) as line,
        upstream(tmp_path / "spool.db", settings_for(line.port)) as life,
    ):
        await put(life, 0, 200)
        took = await seconds(lambda: not life.queue.stats().waiting, 60)
        print(f"200 messages in {took:.1f} s")
    wire.mend()
    await arrives(reader, 200)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["to", "from"])
async def test_a_wire_that_is_cut_one_way_is_noticed_and_comes_back(
    wire: Wire, far_mosquitto: Mosquitto, far_reader: Any, tmp_path: Path, way: str
) -> None:
    reader = far_reader(far_mosquitto)
    settings = settings_for(far_mosquitto.port, host=far_mosquitto.host, **SOON)
    async with upstream(tmp_path / "spool.db", settings) as life:
        await put(life, 0, 100)
        await life.empty()
        wire.cut(way)
        await put(life, 100, 100)
        gone = await seconds(lambda: life.link.status().state != "up", NOTICED_S)
        assert life.link.status().code in {"silent", "timeout"}
        await asyncio.sleep(1)
        assert life.queue.stats().waiting == 100
        wire.mend()
        back = await seconds(lambda: not life.queue.stats().waiting, BACK_S)
        print(f"cut {way} the broker: noticed after {gone:.1f} s, through {back:.1f} s after")
    await arrives(reader, 200)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["to", "from"])
async def test_a_line_that_dies_one_way_while_nothing_is_sent(
    mosquitto: Mosquitto, far_reader: Any, tmp_path: Path, way: str
) -> None:
    reader = far_reader(mosquitto)
    async with (
        BadLink(mosquitto.host, mosquitto.port) as line,
        upstream(tmp_path / "spool.db", settings_for(line.port, **SOON)) as life,
    ):
        await put(life, 0, 10)
        await life.empty()
        line.cut.add(way)
        gone = await seconds(lambda: life.link.status().state != "up", NOTICED_S)
        line.cut.clear()
        await put(life, 10, 10)
        back = await seconds(lambda: not life.queue.stats().waiting, BACK_S)
        print(f"idle, cut {way} the broker: noticed after {gone:.1f} s, through {back:.1f} s after")
    await arrives(reader, 20)


@pytest.mark.slow
async def test_a_slow_line_is_not_taken_for_a_dead_one(
    mosquitto: Mosquitto, far_reader: Any, tmp_path: Path
) -> None:
    """A message that takes longer than the broker may be silent: it is sent once, and arrives."""
    async with BadLink(mosquitto.host, mosquitto.port, rate=BIG / 4) as line:
        await crawls(far_reader(mosquitto), settings_for(line.port, **HASTY), tmp_path)


@pytest.mark.slow
async def test_a_slow_wire_is_not_taken_for_a_dead_one(
    wire: Wire, far_mosquitto: Mosquitto, far_reader: Any, tmp_path: Path
) -> None:
    reader = far_reader(far_mosquitto)
    wire.slow("400kbit")
    far = settings_for(far_mosquitto.port, host=far_mosquitto.host, **HASTY)
    await crawls(reader, far, tmp_path)


async def crawls(reader: FarReader, settings: MqttSettings, tmp_path: Path) -> None:
    async with upstream(tmp_path / "spool.db", settings) as life:
        await life.queue.put(large(BIG))
        took = await seconds(lambda: not life.queue.stats().waiting, 30)
        assert life.link.status().counts["connects"] == 1, life.link.status()
        print(f"{BIG} bytes took {took:.1f} s")
        assert took > 3 * settings.ack_timeout
    await arrives(reader, 1)


def large(size: int) -> Outgoing:
    body = {
        "specversion": "1.0",
        "id": "large",
        "source": "/site/box/gate",
        "type": "t",
        "data": "x" * size,
    }
    return Outgoing(kind="result", source="gate", id="large", body=body, at=time.time())


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_message_that_is_too_large_for_the_broker_is_told_as_lost(
    idle_mosquitto: Mosquitto, far_reader: Any, tmp_path: Path, version: str
) -> None:
    """128 KiB, as with some brokers in the cloud: the rest goes on."""
    idle_mosquitto.lines.insert(0, f"max_packet_size {128 * 1024}")
    idle_mosquitto.start()
    reader = far_reader(idle_mosquitto)
    settings = settings_for(idle_mosquitto.port, version=version)
    async with upstream(tmp_path / "spool.db", settings) as life:
        await put(life, 0, 10)
        await life.queue.put(large(BIG))
        await put(life, 10, 10)
        await life.empty(30)
        totals = life.queue.totals()
    assert (totals.tombstoned, totals.delivered) == (1, 21)
    await asyncio.to_thread(reader.wait_for, 21)
    (loss,) = reader.losses
    assert (loss["reason"], loss["class"], loss["source"]) == ("too_large", "result", "gate")
    assert loss["from_seq"] == loss["to_seq"]
    came = reader.seqs["result", "gate"]
    assert sorted([*came, loss["from_seq"]]) == list(range(1, len(came) + 2))


async def test_a_broker_without_memory_gets_all_of_it_later(
    idle_mosquitto: Mosquitto, tmp_path: Path
) -> None:
    lines = list(idle_mosquitto.lines)
    idle_mosquitto.lines.insert(0, "memory_limit 300000")
    idle_mosquitto.lines += ["max_queued_messages 0"]
    idle_mosquitto.start()
    async with upstream(tmp_path / "spool.db", settings_for(idle_mosquitto.port)) as life:
        # somebody's session, so that the broker has to keep what comes
        FarReader.leave_word(idle_mosquitto.host, idle_mosquitto.port, f"{TOPICS.base}/#")
        await put(life, 0, 2000)
        await until(lambda: life.link.status().counts["lost"] > 1)
        assert life.queue.stats().waiting > 0
        idle_mosquitto.stop()
        idle_mosquitto.lines[:] = lines
        idle_mosquitto.start()
        await life.empty()


async def test_a_queue_that_is_full_at_the_broker_does_not_hold_up_the_box(
    idle_mosquitto: Mosquitto, tmp_path: Path
) -> None:
    """It throws away what its consumer does not fetch, and says thank you all the same."""
    idle_mosquitto.lines += ["max_queued_messages 100", "max_inflight_messages 5"]
    idle_mosquitto.start()
    async with upstream(tmp_path / "spool.db", settings_for(idle_mosquitto.port)) as life:
        FarReader.leave_word(idle_mosquitto.host, idle_mosquitto.port, f"{TOPICS.base}/#")
        await put(life, 0, 1000)
        await life.empty(20)
        limits = life.link.status().limits
        assert limits
        assert limits.window == 5
        assert life.queue.totals().delivered == 1000


async def test_a_topic_that_may_not_be_published_waits_until_it_may(
    idle_mosquitto: Mosquitto, far_reader: Any, tmp_path: Path
) -> None:
    """The class that is refused waits, with the reason in the status; others go on."""
    idle_mosquitto.allow(f"topic readwrite {TOPICS.base}/event/#", f"topic read {TOPICS.base}/#")
    idle_mosquitto.start()
    reader = far_reader(idle_mosquitto)
    async with upstream(tmp_path / "spool.db", settings_for(idle_mosquitto.port)) as life:
        await put(life, 0, 20)
        await until(lambda: bool(life.publisher.status()["held"]))
        assert "not authorised" in life.publisher.status()["held"]["result"]
        alarm = {"specversion": "1.0", "id": "a", "source": "/site/box", "type": "t"}
        await life.queue.put(Outgoing(kind="alarm", source="", id="a", body=alarm, at=time.time()))
        await asyncio.to_thread(reader.wait_for, 1)
        await until(lambda: life.queue.stats().waiting == 20)
        assert life.link.status().state == "up"
        (tmp_path / "rights").write_text("topic readwrite #\n")
        idle_mosquitto.reload()
        life.publisher.resume()
        await life.empty()
    await arrives(reader, 21)


async def test_a_bad_certificate_is_told_apart_and_what_waits_comes_when_it_is_mended(
    idle_mosquitto: Mosquitto, tmp_path: Path
) -> None:
    ours, theirs = (Authority(make(tmp_path / name)) for name in ("ours", "theirs"))
    pair = theirs.sign("broker")
    idle_mosquitto.lines += [f"certfile {pair.cert}", f"keyfile {pair.key}"]
    idle_mosquitto.start()
    trusted = tmp_path / "trusted.crt"
    trusted.write_bytes(ours.ca.read_bytes())
    tls = Tls(ca_file=str(trusted), server_name="localhost")
    async with upstream(tmp_path / "spool.db", settings_for(idle_mosquitto.port, tls=tls)) as life:
        await put(life, 0, 10)
        await until(lambda: life.link.status().code != "")
        status = life.link.status()
        assert status.code == "tls_untrusted"
        assert "nobody whom the box trusts" in status.reason
        assert "ca_file" in status.hint
        assert life.publisher.status()["state"] == "waiting_for_broker"
        # the file is read anew at each try
        trusted.write_bytes(theirs.ca.read_bytes())
        await life.empty()


def make(path: Path) -> Path:
    path.mkdir()
    return path


async def test_a_broker_that_keeps_nothing_is_good_enough(
    idle_mosquitto: Mosquitto, far_reader: Any, tmp_path: Path
) -> None:
    idle_mosquitto.lines[:0] = ["retain_available false", "max_qos 1"]
    idle_mosquitto.start()
    reader = far_reader(idle_mosquitto)
    async with upstream(tmp_path / "spool.db", settings_for(idle_mosquitto.port)) as life:
        await put(life, 0, 500)
        await life.empty()
    await arrives(reader, 500)
    assert {source for _, source in reader.seqs} == set(SOURCES)
