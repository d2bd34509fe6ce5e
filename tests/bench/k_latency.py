"""(k) From a picture that landed to its redacted one, as a ratio to the parts taken alone.

One picture at a time lands in a bucket of a real Ceph RGW, whose topic tells the box at once. Both
ends are read from the gateway: when it had the one and when it had the other, to the millisecond.
The floor is what the bare parts take for the same pictures, in turns of the same run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from tests.bench import buckets
from tests.bench.inputs import Inputs
from tests.bench.result import Row, at_most, middle
from tests.servers.rgw import Rgw
from tests.servers.rgw_topics import push_to

COUNT = 200
TURNS = 4
WARM = 5
"""Pictures before all others, that do not count: connections open, caches fill."""
PAUSE = 3.0
"""As many floors lie between two pictures: the box has done one before the next comes."""
GOAL = 1.3


def land(rgw: Rgw, jpegs: Sequence[bytes], turn: int, floor: float) -> None:
    """Put pictures, one at a time, at a steady pace."""
    client, due = rgw.client(), time.monotonic()
    for number, body in enumerate(jpegs):
        time.sleep(max(0.0, due - time.monotonic()))
        due += PAUSE * floor
        buckets.put(client, buckets.IN, f"{turn}/{number}.jpg", body)


def latencies(rgw: Rgw) -> list[float]:
    """Return how many seconds each picture took, from object to object."""
    client = rgw.client()
    landed = buckets.written(client, buckets.IN)
    stored = buckets.written(client, buckets.OUT)
    found = []
    for key in stored:
        if key.endswith(".json"):
            with client.get_object(bucket_name=buckets.OUT, object_name=key) as answer:
                message = json.loads(answer.read())
            picture, subject = message["data"]["picture"]["key"], message["subject"]
            if not subject.startswith("-1/"):
                found.append(stored[picture] - landed[subject])
    return found


def measure(inputs: Inputs) -> list[Row]:
    """Run turns of parts and of pictures that land."""
    walked: list[list[float]] = []
    with buckets.yard(inputs) as (rgw, one):
        alone = buckets.Alone.open(inputs, rgw)
        jpegs = buckets.pictures(inputs, COUNT)
        push_to(rgw, buckets.IN, f"{one.url}/hooks/s3?token={buckets.TOKEN}")
        land(rgw, jpegs[:WARM], -1, 0.1)
        for turn in range(TURNS):
            part = jpegs[turn::TURNS]
            for number, body in enumerate(part):
                buckets.put(rgw.client(), buckets.ALONE, f"{number}.jpg", body)
            walked += alone.walk([f"{number}.jpg" for number in range(len(part))], buckets.ALONE)
            land(rgw, part, turn, middle([sum(parts) for parts in walked]))
            wanted = WARM + (turn + 1) * len(part)
            one.wait_for(lambda: one.metric("edge_parcels_stored_total") >= wanted, step=0.3)  # noqa: B023 (called at once)
        return _rows(latencies(rgw), walked)


def _rows(found: list[float], walked: list[list[float]]) -> list[Row]:
    # visible is the picture; its message comes after it
    sums = sorted(sum(parts[:-1]) for parts in walked)
    floor, found = sum(middle(part) for part in list(zip(*walked, strict=True))[:-1]), sorted(found)
    rows = []
    for name, share in (("median", 0.5), ("99th percentile", 0.99)):
        seconds, bare = found[int(len(found) * share)], sums[int(len(sums) * share)]
        goal, kept = at_most(seconds / floor, GOAL)
        rows.append(
            Row(
                part="k",
                what=f"picture landed to redacted one stored, {name}",
                value=seconds / floor,
                unit="x the parts",
                against=f"{1000 * seconds:.0f} to {1000 * floor:.0f} ms (parts: {1000 * bare:.0f})",
                goal=goal,
                kept=kept,
                note=f"{len(found)} JPEGs of {buckets.SIZE}, {buckets.MODEL}, one at a time, real "
                "Ceph RGW on the same cores; against the sum of the parts' medians, in brackets "
                "the same share of the sums",
            )
        )
    return rows
