from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from edge.errors import PartFailed
from edge.stages.engines.classifier_files import read_labels, read_recipe
from edge.stages.engines.onnx_classifier import OnnxClassifier
from tests.stages.engines import colours


def seen(path: Path, red: int, green: int, blue: int) -> str:
    classifier = OnnxClassifier.open(path)
    width, height = classifier.info.input_size
    scores = classifier.classify(colours.picture(red, green, blue, width, height))
    assert scores.shape == (len(classifier.info.labels),)
    assert scores.sum() == pytest.approx(1, abs=0.02)
    return classifier.info.labels[int(scores.argmax())]


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8])
@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("trailing", [True, False])
def test_layout_and_type_come_from_the_model(
    tmp_path: Path, dtype: int, *, channels_first: bool, trailing: bool
) -> None:
    model = colours.network(dtype=dtype, channels_first=channels_first, trailing=trailing)
    recipe = "" if dtype == TensorProto.UINT8 else colours.RECIPE
    path = colours.write(tmp_path, model, recipe=recipe)
    assert seen(path, 255, 0, 0) == "red"
    assert seen(path, 0, 255, 0) == "green"
    assert seen(path, 0, 0, 255) == "blue"


def test_the_order_of_the_colours_is_the_recipes(tmp_path: Path) -> None:
    path = colours.write(tmp_path, recipe=colours.RECIPE.replace("RGB", "BGR"))
    assert seen(path, 255, 0, 0) == "blue"


def test_mean_and_std_are_taken_in_the_order_of_the_colours(tmp_path: Path) -> None:
    recipe = 'colour = "RGB"\nmean = [255, 0, 0]\nstd = [255, 255, 255]\n'
    # white: red is taken away, green and blue stay
    weights = ((9, 0, 0), (0, 9, 0), (0, 0, 8))
    path = colours.write(tmp_path, colours.network(weights=weights), recipe=recipe)
    assert seen(path, 255, 255, 255) == "green"
    recipe = recipe.replace("mean = [255, 0, 0]\nstd = [255,", "mean = [0, 0, 0]\nstd = [25,")
    path = colours.write(tmp_path, colours.network(weights=weights), recipe=recipe)
    assert seen(path, 255, 255, 255) == "red"


def test_an_open_size_is_the_recipes(tmp_path: Path) -> None:
    model = colours.network(shape=("n", 3, "h", "w"))
    path = colours.write(tmp_path, model, recipe=colours.RECIPE + "size = [12, 6]\n")
    assert OnnxClassifier.open(path).info.input_size == (12, 6)
    assert seen(path, 0, 255, 0) == "green"


def test_logits_become_probabilities_and_do_not_overflow(tmp_path: Path) -> None:
    model = colours.network(softmax=False, weights=((9000, 0, 0), (0, 9000, 0), (0, 0, 9000)))
    path = colours.write(tmp_path, model, recipe=colours.RECIPE + 'scores = "logits"\n')
    scores = OnnxClassifier.open(path).classify(colours.picture(255, 0, 0))
    assert scores.tolist() == [1, 0, 0]


def test_one_of_several_outputs_is_named(tmp_path: Path) -> None:
    model = colours.network(outputs=("aux", "prob"))
    with pytest.raises(PartFailed, match="several outputs: there are aux, prob") as caught:
        OnnxClassifier.open(colours.write(tmp_path, model))
    assert 'output = "NAME"' in caught.value.hint
    path = colours.write(tmp_path, model, recipe=colours.RECIPE + 'output = "prob"\n')
    assert seen(path, 255, 0, 0) == "red"
    path = colours.write(tmp_path, model, recipe=colours.RECIPE + 'output = "gone"\n')
    with pytest.raises(PartFailed, match="no output 'gone'"):
        OnnxClassifier.open(path)


def test_it_says_what_it_is(tmp_path: Path) -> None:
    info = OnnxClassifier.open(colours.write(tmp_path)).info
    assert (info.model, info.input_size, info.crop) == ("colours.v1", (8, 8), "centre")
    assert info.labels == colours.LABELS
    assert len(info.digest) == 64


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_fail_when_it_is_opened(tmp_path: Path, value: float) -> None:
    model = colours.network(softmax=False, weights=((9, 0, 0), (0, 9, 0), (0, value, 0)))
    path = colours.write(tmp_path, model, recipe=colours.RECIPE + 'scores = "logits"\n')
    with pytest.raises(PartFailed, match="finite") as caught:
        OnnxClassifier.open(path)
    assert caught.value.reason == "engine_nonsense"


def test_nan_that_only_some_pictures_bring_out_fails_then(tmp_path: Path) -> None:
    # 1e39 is no half-precision or single number: what is bright overflows, grey does not
    model = colours.network(softmax=False, weights=((3e36, 0, 0), (-3e36, 0, 0)))
    recipe = 'colour = "RGB"\nmean = [128, 0, 0]\nstd = [0.1, 1, 1]\nscores = "logits"\n'
    classifier = OnnxClassifier.open(colours.write(tmp_path, model, labels="ab", recipe=recipe))
    with pytest.raises(PartFailed, match="finite"):
        classifier.classify(colours.picture(255, 0, 0))


def test_scores_that_are_no_probabilities_fail_and_the_hint_names_logits(tmp_path: Path) -> None:
    path = colours.write(tmp_path, colours.network(softmax=False))
    with pytest.raises(PartFailed, match="no probabilities") as caught:
        OnnxClassifier.open(path)
    assert 'scores = "logits" in colours.v1.toml' in caught.value.hint


def test_an_answer_of_another_length_than_at_first_fails(tmp_path: Path) -> None:
    classifier = OnnxClassifier.open(
        colours.write(
            tmp_path,
            colours.as_many_as_bright(),
            labels=[str(number) for number in range(128)],
            recipe='colour = "RGB"\nmean = [0, 0, 0]\nstd = [1, 1, 1]\n',
        )
    )
    assert classifier.classify(colours.picture(128, 0, 0)).tolist() == [1 / 128] * 128
    with pytest.raises(PartFailed, match="255 scores instead of 128"):
        classifier.classify(colours.picture(255, 0, 0))
    with pytest.raises(PartFailed, match=r"one row of scores, got the shape \(0,\)"):
        classifier.classify(colours.picture(0, 0, 0))


def test_another_number_of_scores_than_labels_fails(tmp_path: Path) -> None:
    path = colours.write(tmp_path, colours.network(), labels=("red", "green"))
    with pytest.raises(PartFailed, match="2 lines, and the model has 3 classes"):
        OnnxClassifier.open(path)


def test_a_picture_of_another_size_is_refused(tmp_path: Path) -> None:
    classifier = OnnxClassifier.open(colours.write(tmp_path))
    with pytest.raises(PartFailed, match=r"takes \(8, 8, 3\) uint8: got \(9, 8, 3\)"):
        classifier.classify(colours.picture(1, 2, 3, 8, 9))


def _two_inputs() -> onnx.ModelProto:
    model = colours.network()
    model.graph.input.append(onnx.helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    return model


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (_two_inputs(), "more"),
        (colours.network(shape=(1, "c", 8, 8)), r"\[1, 'c', 8, 8\]"),
        (colours.network(shape=(4, 3, 8, 8)), r"\[4, 3, 8, 8\]"),
        (colours.network(dtype=TensorProto.INT32), "int32"),
        (colours.network(shape=(1, 3, "h", "w")), "any size"),
    ],
)
def test_what_is_no_classifier_of_pictures_is_refused_with_what_it_takes(
    tmp_path: Path, model: onnx.ModelProto, says: str
) -> None:
    with pytest.raises(PartFailed, match=says) as caught:
        OnnxClassifier.open(colours.write(tmp_path, model))
    assert caught.value.reason == "bad_model"


def test_a_float_model_without_recipe_is_not_guessed_at(tmp_path: Path) -> None:
    with pytest.raises(PartFailed, match="colour order, mean and std") as caught:
        OnnxClassifier.open(colours.write(tmp_path, recipe=""))
    assert "colours.v1.toml" in caught.value.hint


def test_a_missing_model_a_missing_list_and_a_broken_file_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PartFailed, match="there is no model") as caught:
        OnnxClassifier.open(tmp_path / "absent.onnx")
    assert "labels.txt" in caught.value.hint
    assert caught.value.reason == "no_model"
    with pytest.raises(PartFailed, match=r"colours\.v1\.labels\.txt") as caught:
        OnnxClassifier.open(colours.write(tmp_path, labels=None))
    assert "one label a line" in caught.value.hint
    (tmp_path / "colours.v1.onnx").write_bytes(b"\x08\x07 not a model")
    with pytest.raises(PartFailed, match="cannot be loaded"):
        OnnxClassifier.open(tmp_path / "colours.v1.onnx")
    with pytest.raises(PartFailed, match="cannot be read"):
        OnnxClassifier.open(tmp_path)


IMAGENET = [f"class {number}" for number in range(1000)]


@pytest.mark.parametrize(
    ("lines", "outputs", "before"),
    [
        (IMAGENET, 1000, 0),
        (IMAGENET, 1001, 1),
        (["background", *IMAGENET], 1000, 0),
        (["background", *IMAGENET], 1001, 1),
        (["Dummy", *IMAGENET, "", ""], 1001, 1),
    ],
)
def test_the_background_is_counted_neither_in_the_model_nor_in_the_list(
    tmp_path: Path, lines: list[str], outputs: int, before: int
) -> None:
    place = tmp_path / "x.labels.txt"
    place.write_text("\n".join(lines))
    assert read_labels(place, outputs) == (IMAGENET, before)


@pytest.mark.parametrize(
    ("lines", "outputs"),
    [(IMAGENET, 999), (IMAGENET, 1002), (["cat", "dog"], 3), (["cat", "dog"], 1), ([], 2)],
)
def test_another_number_of_labels_is_refused(
    tmp_path: Path, lines: list[str], outputs: int
) -> None:
    place = tmp_path / "x.labels.txt"
    place.write_text("\n".join(lines))
    with pytest.raises(PartFailed, match=rf"has {len(lines)} lines"):
        read_labels(place, outputs)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("colour = ", "is not TOML"),
        ("color = 'RGB'", "'color', which means nothing"),
        ("colour = 'rgb'", "colour: expected RGB or BGR"),
        ("colour = ['RGB']", "colour: expected RGB or BGR"),
        ("mean = [1, 2]", "mean: expected three numbers"),
        ("mean = 'abc'", "mean: expected three numbers"),
        ("mean = [1, nan, 2]", "mean: expected three numbers"),
        ("mean = [1, true, 2]", "mean: expected three numbers"),
        ("mean = [[1], {}, 2]", "mean: expected three numbers"),
        ("std = [1, 0, 1]", "std: expected three numbers other than 0"),
        ("size = [224]", "size: expected"),
        ("size = [224, 0.5]", "size: expected"),
        ("size = [224, 100000]", "size: expected"),
        ("crop = 'middle'", "crop: expected centre or stretch"),
        ("scores = 3", "scores: expected probabilities or logits"),
        ("output = 3", "output: expected a name"),
    ],
)
def test_a_faulty_recipe_says_where_and_what_was_expected(
    tmp_path: Path, text: str, says: str
) -> None:
    place = tmp_path / "x.toml"
    place.write_text(text)
    with pytest.raises(PartFailed, match=says) as caught:
        read_recipe(place)
    assert "x.toml" in str(caught.value)


@pytest.mark.parametrize("body", [b"\xff\xfe\x00", b"a" * (2**20 + 1)])
def test_a_list_that_is_no_text_or_far_too_large_is_refused(tmp_path: Path, body: bytes) -> None:
    place = tmp_path / "x.labels.txt"
    place.write_bytes(body)
    with pytest.raises(PartFailed, match=r"x\.labels\.txt beside the model"):
        read_labels(place, 3)


@given(
    st.dictionaries(
        st.sampled_from(["colour", "mean", "std", "crop", "size", "scores", "output"]),
        st.one_of(
            st.integers(-(2**62), 2**62),
            st.booleans(),
            st.sampled_from(["RGB", "centre", "logits", "prob"]),
            st.lists(st.one_of(st.integers(-300, 300), st.just("x")), max_size=4),
        ),
    )
)
def test_any_recipe_is_read_or_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, said: dict[str, Any]
) -> None:
    place = tmp_path_factory.getbasetemp() / "any.toml"
    place.write_text("".join(f"{name} = {_toml(value)}\n" for name, value in said.items()))
    refused = ""
    try:
        recipe = read_recipe(place)
    except PartFailed as error:
        refused = str(error)
    if refused:
        assert any(name in refused for name in said)
    else:
        assert all(getattr(recipe, name) for name in said)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)
