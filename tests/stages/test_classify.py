from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.config.handlers import ClassifyConfig
from edge.contracts import Handler, Picture
from edge.errors import PartFailed, Rejected
from edge.event import PICTURE_ARRIVED, PICTURE_CLASSIFIED, Event, WireEvent
from edge.frame import Encoded, Frame
from edge.ops.metrics import Metrics
from edge.stages.classify import Classify, fitted
from edge.stages.engines.onnx_classifier import ClassifierInfo
from edge.stages.pool import PicturePool
from tests.places import shared
from tests.stages.engines import colours
from tests.stages.parts import Hang, a_frame, an_event


@pytest.fixture
async def pool() -> AsyncIterator[PicturePool]:
    pool = PicturePool(2, limit=10)
    yield pool
    pool.close()


def classify(pool: PicturePool, model: Path, **options: Any) -> Classify:
    config = ClassifyConfig(kind="classify", model=str(model), **options)
    return Classify(config, pool, Metrics(), max_pixels=50_000_000)


def photo(name: str) -> Event[Picture]:
    return an_upload(shared(f"data/photos/{name}").read_bytes(), name)


def an_upload(body: bytes, name: str = "a.jpg") -> Event[Picture]:
    taken = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    return Event(
        id="job-1",
        source="/site/node/upload",
        type=PICTURE_ARRIVED,
        subject=name,
        time=taken.isoformat(),
        extensions={"partitionkey": "hall 3"},
        data=Encoded(body=body, name=name, taken_at=taken, source="upload", subject=name),
    )


def of_colour(red: int, green: int, blue: int) -> Event[Picture]:
    pixels = colours.picture(red, green, blue, 20, 10)
    taken = datetime(2026, 3, 4, tzinfo=UTC)
    return an_event(Frame(pixels=pixels, taken_at=taken, source="gate", subject="gate"))


def data_of(reply: WireEvent) -> Any:
    return json.loads(reply.data or b"")


def published(place: Path, name: str, recipe: str = "") -> Path:
    """Return a model of the shared data with what has to lie beside it."""
    path = place / f"{name}.onnx"
    path.symlink_to(shared(f"data/models/{name}.onnx"))
    labels = shared("data/photos/imagenet_labels_1001.txt")
    (place / f"{name}.labels.txt").symlink_to(labels)
    if recipe:
        (place / f"{name}.toml").write_text(recipe)
    return path


CAFFE = 'colour = "BGR"\nmean = [104, 117, 123]\nstd = [1, 1, 1]\n'


@pytest.mark.parametrize(
    ("name", "recipe"), [("mobilenet_v2_224_qdq", ""), ("squeezenet_v1.1_227", CAFFE)]
)
async def test_published_models_see_a_beagle_cats_and_a_golden_retriever(
    pool: PicturePool, tmp_path: Path, name: str, recipe: str
) -> None:
    handler = classify(pool, published(tmp_path, name, recipe))
    for picture, index, label, least in (
        ("beagle.jpg", 162, "beagle", 0.4),
        ("cat_egyptian_720p.jpg", 285, "Egyptian cat", 0.6),
        ("cat_persian.jpg", 283, "Persian cat", 0.9),
        ("dog_golden_retriever.jpg", 207, "golden retriever", 0.65),
    ):
        found = data_of(await handler(photo(picture)))
        best = found["labels"][0]
        assert (best["index"], best["label"]) == (index, label)
        assert least < best["score"] <= 1
        assert found["classification"][0] == f"{best['score']:.6f}:{index}:{label}"
        scores = [entry["score"] for entry in found["labels"]]
        assert scores == sorted(scores, reverse=True)
        assert found["model"]["name"] == name


async def test_the_wrong_colour_order_would_show(pool: PicturePool, tmp_path: Path) -> None:
    """What the test above sees is not what any order of the colours would show."""
    scores = []
    for order in ("RGB", "BGR"):
        place = tmp_path / order
        place.mkdir()
        path = published(place, "mobilenet_v2_224_qdq", f'colour = "{order}"\n')
        found = data_of(await classify(pool, path)(photo("dog_golden_retriever.jpg")))
        scores.append({entry["index"]: entry["score"] for entry in found["labels"]}.get(207, 0))
    assert scores[0] > 0.9 > scores[1] + 0.1


async def test_the_reply_is_an_event_about_the_same_thing(
    pool: PicturePool, tmp_path: Path
) -> None:
    handler = classify(pool, colours.write(tmp_path))
    as_contracted: Handler = handler
    assert as_contracted.sees_pictures
    assert "/" not in as_contracted.where
    png = cv2.imencode(".png", colours.picture(0, 0, 255, 20, 10))[1].tobytes()
    event = an_upload(png)
    reply = await handler(event)
    assert reply.type == PICTURE_CLASSIFIED
    assert (reply.source, reply.subject, reply.time) == (event.source, event.subject, event.time)
    assert reply.datacontenttype == "application/json"
    assert reply.extensions == {"partitionkey": "hall 3"}
    digest = data_of(reply)["model"]["digest"]
    assert reply.id == f"job-1.colours.v1-{digest[:8]}"
    assert await handler(event) == reply


async def test_top_and_least_bound_what_is_told(pool: PicturePool, tmp_path: Path) -> None:
    path = colours.write(tmp_path)
    red = of_colour(255, 128, 0)
    told = data_of(await classify(pool, path)(red))
    assert [entry["label"] for entry in told["labels"]] == ["red", "green", "blue"]
    told = data_of(await classify(pool, path, top=2)(red))
    assert [entry["label"] for entry in told["labels"]] == ["red", "green"]
    told = data_of(await classify(pool, path, least=0.5)(red))
    assert [entry["label"] for entry in told["labels"]] == ["red"]
    assert len(told["classification"]) == 1


async def test_a_live_frame_stays_as_it_is(pool: PicturePool, tmp_path: Path) -> None:
    frame = a_frame()
    before = frame.pixels.copy()
    await classify(pool, colours.write(tmp_path))(an_event(frame))
    assert (frame.pixels == before).all()


async def test_what_is_no_picture_is_refused_for_good(pool: PicturePool, tmp_path: Path) -> None:
    handler = classify(pool, colours.write(tmp_path))
    with pytest.raises(Rejected) as caught:
        await handler(an_upload(b"GIF89a and then nonsense"))
    assert caught.value.reason == "damaged"
    wire: Any = an_upload(b"").carrying(b"{}")
    with pytest.raises(Rejected, match="carries bytes") as caught:
        await handler(wire)
    assert caught.value.reason == "no_picture"
    png = cv2.imencode(".png", np.zeros((100, 100, 3), np.uint8))[1].tobytes()
    config = ClassifyConfig(kind="classify", model=str(tmp_path / "colours.v1.onnx"))
    small = Classify(config, pool, Metrics(), max_pixels=9_999)
    with pytest.raises(Rejected) as caught:
        await small(an_upload(png))
    assert caught.value.reason == "too_many_pixels"


async def test_a_missing_model_is_looked_for_again_with_each_picture(
    pool: PicturePool, tmp_path: Path
) -> None:
    handler = classify(pool, tmp_path / "colours.v1.onnx")
    for ask in (handler.open(), handler(of_colour(255, 0, 0))):
        with pytest.raises(PartFailed, match="there is no model") as caught:
            await ask
        assert caught.value.hint
    colours.write(tmp_path)
    assert data_of(await handler(of_colour(255, 0, 0)))["labels"][0]["label"] == "red"
    assert (await handler.open()).labels == colours.LABELS


async def test_a_model_that_failed_is_read_anew(pool: PicturePool, tmp_path: Path) -> None:
    # grey goes well, bright is not finite
    model = colours.network(softmax=False, weights=((3e36, 0, 0), (-3e36, 0, 0)))
    recipe = 'colour = "RGB"\nmean = [128, 0, 0]\nstd = [0.1, 1, 1]\nscores = "logits"\n'
    handler = classify(pool, colours.write(tmp_path, model, labels="ab", recipe=recipe))
    with pytest.raises(PartFailed, match="finite"):
        await handler(of_colour(255, 0, 0))
    colours.write(tmp_path)
    assert data_of(await handler(of_colour(255, 0, 0)))["labels"][0]["label"] == "red"


async def test_a_crowded_pool_bounds_how_long_it_takes(tmp_path: Path) -> None:
    pool, hang = PicturePool(1, limit=0.2), Hang()
    handler = classify(pool, colours.write(tmp_path))
    await handler.open()
    stuck = asyncio.create_task(pool.run(hang))
    await asyncio.sleep(0)
    with pytest.raises(PartFailed) as caught:
        await handler(of_colour(255, 0, 0))
    assert caught.value.reason == "timeout"
    with pytest.raises(PartFailed):
        await stuck
    assert data_of(await handler(of_colour(0, 0, 255)))["labels"][0]["label"] == "blue"
    hang.free.set()
    pool.close()


async def test_many_pictures_at_once_load_the_model_once(pool: PicturePool, tmp_path: Path) -> None:
    handler = classify(pool, colours.write(tmp_path))
    shades = [(255, 0, 0), (0, 255, 0), (0, 0, 255)] * 10
    replies = await asyncio.gather(*(handler(of_colour(*shade)) for shade in shades))
    best = [data_of(reply)["labels"][0]["label"] for reply in replies]
    assert best == list(colours.LABELS) * 10


def info(width: int, height: int, crop: str) -> ClassifierInfo:
    size = (width, height)
    return ClassifierInfo(model="m", digest="0" * 64, input_size=size, crop=crop, labels=())


@pytest.mark.parametrize(("width", "height"), [(300, 100), (100, 300), (100, 100), (1, 1), (9, 1)])
@pytest.mark.parametrize("size", [(10, 10), (20, 10), (10, 20)])
def test_any_picture_is_brought_to_the_models_size(
    width: int, height: int, size: tuple[int, int]
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    for crop in ("centre", "stretch"):
        assert fitted(picture, info(*size, crop)).shape == (size[1], size[0], 3)


def test_the_middle_is_taken_or_all_of_it() -> None:
    picture = np.zeros((30, 90, 3), np.uint8)
    picture[:, 30:60] = 255
    assert fitted(picture, info(10, 10, "centre")).min() == 255
    assert fitted(picture, info(9, 3, "stretch"))[0, :, 0].tolist() == [0] * 3 + [255] * 3 + [0] * 3
