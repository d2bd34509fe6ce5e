"""(l) Memory with 10,000 notifications waiting, against what the journal's file has of them.

The gateway behind the bucket is away: nothing listens at its address. Notifications in the bytes of
a real Ceph RGW come in at the hook, one a request; each is in the journal before it is answered,
and none can be fetched. A box that kept what waits in memory, too, would grow as the file does.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from tests.bench.box import Box, box
from tests.bench.inputs import Inputs
from tests.bench.j_buckets import tell
from tests.bench.result import Missing, Row, at_most, middle
from tests.places import SHARED, free_port

COUNT = 10_000
SAMPLE = "samples/rgw/push-created-put.json"
SETTLE, LOOK = 5.0, 2.0
"""Seconds until memory is steady, and seconds in which it is looked at."""
WARM = 2000
"""Notifications before the first look: what the first ones take is not what waiting takes."""
GOAL = 1.0


def notifications(first: int, count: int) -> list[bytes]:
    """Return notifications of distinct objects, as the gateway writes them.

    Raises:
        Missing: the sample is not on this machine.

    """
    if not (SHARED / SAMPLE).is_file():
        raise Missing(f"{SAMPLE} of the shared data")
    one: dict[str, Any] = json.loads((SHARED / SAMPLE).read_bytes())
    found = []
    for number in range(first, first + count):
        (record,) = one["Records"]
        record["s3"]["bucket"]["name"] = "bench-in"
        record["s3"]["object"] |= {"key": f"yard/{number:08}.jpg", "eTag": f"{number:032x}"}
        record["eventId"] = f"{number}.000001.{number:032x}"
        found.append(json.dumps(one, separators=(",", ":")).encode())
    return found


def config() -> str:
    keys = 'access_key = "nobody"\nsecret_key = "nothing"\n'
    return (
        'detect.engine = "builtin"\n[sources.yard]\nkind = "bucket"\nbucket = "bench-in"\n'
        f'endpoint = "http://127.0.0.1:{free_port()}"\nsweep_every = "0s"\ntoken = "t"\n{keys}'
    )


def steady(one: Box) -> float:
    """Return the memory of a box at rest, in MB."""
    time.sleep(SETTLE)
    seen, until = [], time.monotonic() + LOOK
    while time.monotonic() < until:
        seen.append(one.memory())
        time.sleep(0.1)
    return middle(seen)


def measure(_: Inputs) -> list[Row]:
    """Fill the journal, look before and after."""
    with box(config()) as one:
        hook = f"{one.url}/hooks/s3?token=t"
        asyncio.run(tell(hook, notifications(0, WARM)))
        before, kept = steady(one), one.metric("edge_bus_waiting_bytes")
        asyncio.run(tell(hook, notifications(WARM, COUNT)))
        after = steady(one)
        if one.metric("edge_bus_waiting_events") < COUNT:
            raise RuntimeError("they do not all wait")
        journal = (one.metric("edge_bus_waiting_bytes") - kept) / 1e6
    grown = after - before
    goal, good = at_most(grown / journal, GOAL)
    return [
        Row(
            part="l",
            what=f"memory grown by {COUNT} notifications that wait",
            value=grown,
            unit="MB",
            against=f"{journal:.1f} MB in the journal, {before:.0f} MB before",
        ),
        Row(
            part="l",
            what="memory a notification that waits",
            value=grown / journal,
            unit="of its bytes in the journal",
            against=f"{1e6 * grown / COUNT:.0f} of {1e6 * journal / COUNT:.0f} bytes",
            goal=goal,
            kept=good,
            note="proportional set size; the gateway is away, the hook is up, one notification a "
            f"request; {WARM} others wait before the first look",
        ),
    ]
