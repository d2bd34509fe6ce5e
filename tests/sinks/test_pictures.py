from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config.store import FolderStoreConfig
from edge.errors import PartFailed, Rejected
from edge.event import PICTURE_REDACTED, Event, WireEvent
from edge.parcel import Parcel
from edge.sinks.folder import FolderStore
from edge.sinks.outbox import Outbox
from edge.sinks.pictures import Pictures, facts_of
from tests.parts import MemoryStore, make_parcel


def redacted(parcel: Parcel, **other: Any) -> WireEvent:
    """Return the event that the gate's message of a parcel becomes."""
    sha256 = hashlib.sha256(parcel.body).hexdigest()
    picture = {"key": parcel.key, "content_type": "image/jpeg", "sha256": sha256} | other
    return Event(
        id=parcel.id,
        source=f"/site/node/{parcel.source}",
        type=PICTURE_REDACTED,
        subject=parcel.source,
        time="2026-03-04T05:06:07.890Z",
        datacontenttype="application/json",
        data=json.dumps({"source": parcel.source, "picture": picture}).encode(),
    )


async def test_a_picture_comes_from_the_outbox_while_it_waits_and_then_from_the_store(
    outbox: Outbox, tmp_path: Path
) -> None:
    store = FolderStore(FolderStoreConfig(kind="folder", path=str(tmp_path / "out")))
    pictures, parcel = Pictures(outbox.picture, store), make_parcel()
    await outbox.put(parcel)
    # the store has nothing yet, and its folder is not even there
    assert await pictures(redacted(parcel)) == parcel.body
    await store.open()
    await store.put(parcel)
    (head,) = await outbox.heads(1)
    await outbox.passed(head.seq)
    assert await pictures(redacted(parcel)) == parcel.body
    with pytest.raises(Rejected) as refused:
        await pictures(redacted(make_parcel(2)))
    assert refused.value.reason == "gone"
    await store.close()


async def test_a_shut_store_does_not_hide_what_waits(outbox: Outbox) -> None:
    store = MemoryStore()
    store.shut = PartFailed("the door is shut", hint="open it")
    waiting = make_parcel()
    await outbox.put(waiting)
    pictures = Pictures(outbox.picture, store)
    assert await pictures(redacted(waiting)) == waiting.body
    with pytest.raises(PartFailed, match="the door is shut"):
        await pictures(redacted(make_parcel(2)))


async def test_only_the_very_picture_that_the_gate_let_through_is_given_away(
    outbox: Outbox,
) -> None:
    store, parcel = MemoryStore(), make_parcel()
    pictures = Pictures(outbox.picture, store)
    store.pictures[parcel.key] = b"\xff\xd8 put there by somebody else"
    with pytest.raises(Rejected) as refused:
        await pictures(redacted(parcel))
    assert refused.value.reason == "other_content"


@pytest.mark.parametrize(
    "data",
    [
        *(None, b"", b"null", b"[]", b"not json", b"\xff", b"[" * 100_000, b'{"picture": "x"}'),
        *(b'{"picture": {"key": "a.jpg"}}', b'{"picture": {"key": 7, "sha256": "0"}}'),
        *(b'{"picture": {"key": "", "sha256": "0"}}', b'{"picture": {"sha256": "0"}}'),
    ],
)
def test_an_event_that_names_no_picture_is_refused(data: bytes | None) -> None:
    with pytest.raises(Rejected) as refused:
        facts_of(redacted(make_parcel()).carrying(data))
    assert refused.value.reason == "bad_data"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["picture", "key"]), inner),
)


@given(st.one_of(st.binary(), _json.map(lambda value: json.dumps(value).encode())))
def test_any_data_is_read_or_refused(data: bytes) -> None:
    with pytest.raises(Rejected, match=r"picture\.key"):
        facts_of(redacted(make_parcel()).carrying(data))
