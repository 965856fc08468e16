"""ONNX files: what they compute against numpy, what is read of them, and a message for each that does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ddb.auditing.predictors.onnx_input import Tensor, input_of
from ddb.auditing.predictors.onnx_model import open_onnx
from ddb.auditing.predictors.opening import open_predictor
from ddb.auditing.predictors.options import ModelOptions
from ddb.errors import ModelError
from ddb.learn.predict import softmax

SIDE = 8
WEIGHTS = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32) * 3
CLASSES = ("cat", "dog")
MEAN, STD = (0.2, 0.4, 0.6), (0.5, 0.3, 0.2)
SAID = ModelOptions(classes=CLASSES, mean=MEAN, std=STD)


def write(
    path: Path,
    shape: Sequence[int | str] = ("n", 3, SIDE, SIDE),
    *,
    end: str = "Softmax",
    kind: int = TensorProto.FLOAT,
    metadata: dict[str, str] | None = None,
    inputs: int = 1,
) -> Path:
    """Mean colour times a matrix, then `end` ("": logits)."""
    axes = [1, 2] if shape[-1] == 3 else [2, 3]
    nodes = [
        helper.make_node("ReduceMean", ["images", "axes"], ["colour"], keepdims=0),
        helper.make_node("MatMul", ["colour", "weights"], ["logits"]),
        helper.make_node(end or "Identity", ["logits"], ["out"]),
    ]
    kinds = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16}
    tensors = [
        numpy_helper.from_array(np.array(axes, np.int64), "axes"),
        numpy_helper.from_array(WEIGHTS.astype(kinds[kind]), "weights"),
    ]
    given = [helper.make_tensor_value_info("images", kind, list(shape))]
    given += [helper.make_tensor_value_info(f"other{n}", kind, [1]) for n in range(1, inputs)]
    out = helper.make_tensor_value_info("out", kind, ["n" if isinstance(shape[0], str) else shape[0], 2])
    graph = helper.make_graph(nodes, "tiny", given, [out], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    return path


def pixels(count: int = 5) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def expected(images: np.ndarray) -> np.ndarray:
    normal = (images.astype(np.float64) / 255 - MEAN) / STD
    return softmax(normal.mean(axis=(1, 2)) @ WEIGHTS.astype(np.float64))


@pytest.mark.parametrize(
    ("shape", "end", "options"),
    [
        (("n", 3, SIDE, SIDE), "Softmax", {}),
        (("n", SIDE, SIDE, 3), "Softmax", {}),
        ((2, 3, SIDE, SIDE), "", {}),
        (("n", 3, "h", "w"), "", {"size": SIDE}),
        (("n", "c", SIDE, SIDE), "", {"layout": "nchw", "outputs": "logits"}),
    ],
)
def test_probabilities_are_numpys(shape: tuple[int | str, ...], end: str, options: dict, tmp_path: Path) -> None:
    said = ModelOptions(classes=CLASSES, mean=MEAN, std=STD, **options)
    model = open_predictor(write(tmp_path / "m.onnx", shape, end=end), said, "cpu")
    np.testing.assert_allclose(model.predict(pixels()), expected(pixels()), atol=1e-5)
    assert model.classes == CLASSES and model.preprocessing.size == SIDE
    assert ("logits" in model.description) == (end == "")


def test_half_precision(tmp_path: Path) -> None:
    model = open_onnx(write(tmp_path / "m.onnx", kind=TensorProto.FLOAT16), SAID)
    np.testing.assert_allclose(model.predict(pixels()), expected(pixels()), atol=5e-3)


def test_metadata_say_what_options_need_not(tmp_path: Path) -> None:
    metadata = {
        "classes": '["cat", "dog"]', "mean": str(list(MEAN)), "std": str(list(STD)), "crop": "0.875",
        "interpolation": "bilinear", "size": str(SIDE), "outputs": "logits", "author": "someone",
    }  # fmt: skip
    model = open_onnx(write(tmp_path / "m.onnx", end="", metadata=metadata), ModelOptions())
    assert model.classes == CLASSES
    how = model.preprocessing
    assert (how.size, how.crop, how.interpolation, how.mean, how.std) == (SIDE, 0.875, "bilinear", MEAN, STD)
    np.testing.assert_allclose(model.predict(pixels()), expected(pixels()), atol=1e-5)
    renamed = open_onnx(tmp_path / "m.onnx", ModelOptions(classes=("a", "b")))
    assert renamed.classes == ("a", "b")  # options come first


@pytest.mark.parametrize(
    ("file", "options", "said"),
    [
        ({"shape": ("n", 3, "h", "w")}, {}, "the size of its input is dynamic .*--size PIXELS"),
        ({"shape": ("n", "c", SIDE, SIDE)}, {}, "--layout nchw or nhwc"),
        ({}, {"layout": "nhwc"}, "has 8 channels in layout nhwc"),
        ({"shape": ("n", 3, SIDE, 4)}, {}, "its input is 4x8 pixels; a square one"),
        ({"shape": ("n", 3, SIDE, SIDE)}, {"size": 16}, "is 8 pixels wide, not 16: leave --size out"),
        ({"inputs": 2}, {}, "it has 2 inputs"),
        ({}, {"mean": None}, "how its input is normalised; give --mean and --std"),
        ({}, {"classes": ()}, "it does not name its classes; .* its 2 outputs in their order with --classes"),
        ({}, {"classes": ("a", "b", "c")}, "3 classes are named; .*2 outputs"),
        ({"metadata": {"mean": "half"}}, {"mean": None}, "its metadata 'mean' is not JSON: 'half'"),
        ({"end": "Log"}, {}, "returns NaN or infinity"),
        ({"end": "Sigmoid"}, {"outputs": "probabilities"}, "returns no probabilities"),
    ],
)
def test_a_file_that_does_not_fit_is_told(file: dict, options: dict, said: str, tmp_path: Path) -> None:
    chosen = {"classes": CLASSES, "mean": MEAN, "std": STD, **options}
    with pytest.raises(ModelError, match=said):
        open_onnx(write(tmp_path / "m.onnx", **file), ModelOptions(**chosen)).predict(pixels())


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match="is no ONNX file that onnxruntime opens"):
        open_predictor(tmp_path / "m.onnx", SAID, "cpu")
    with pytest.raises(ModelError, match=r"gone\.onnx: no such file"):
        open_predictor(tmp_path / "gone.onnx", SAID, "cpu")


def test_attribution_covers_patches(tmp_path: Path) -> None:
    """The model reads the mean colour, so the map is the same everywhere on an even image."""
    model = open_onnx(write(tmp_path / "m.onnx"), SAID)
    even = np.full((1, SIDE, SIDE, 3), (250, 10, 40), np.uint8)
    found = model.attributions(even, np.array([0]))
    covered = even.copy()
    covered[0, 0, 0] = np.round(np.array(MEAN) * 255)
    lost = expected(even)[0, 0] - expected(covered)[0, 0]
    np.testing.assert_allclose(found[0], np.full((SIDE, SIDE), lost), atol=2e-5)


@pytest.mark.parametrize("given", [Tensor("x", "tensor(uint8)", (1, 3, 8, 8)), Tensor("x", "tensor(float)", (1, 192))])
def test_inputs_that_are_no_images_of_floats(given: Tensor) -> None:
    with pytest.raises(ModelError, match=r"its input 'x' is .*; images as tensor\(float\)"):
        input_of("m.onnx", given, 2, {}, SAID)
