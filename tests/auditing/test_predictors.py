"""Opening models of each kind, and matching their classes with the data's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
from safetensors.torch import save_file

from audit_worlds import CLASSES, MIDDLE, SIDE, object_reader, torch_model
from ddb.auditing.predictors.matching import matched
from ddb.auditing.predictors.opening import open_predictor
from ddb.auditing.predictors.options import ModelOptions, numbers, pairs
from ddb.errors import ConfigError, ModelError
from ddb.learn.predict import logits, softmax

OPTIONS = ModelOptions(classes=CLASSES, size=SIDE)


def three(pixels: np.ndarray) -> np.ndarray:
    return np.tile([0.2, 0.3, 0.5], (len(pixels), 1))


PIXELS = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)


def test_classes_are_matched_by_name_and_others_come_last() -> None:
    model = open_predictor(three, ModelOptions(classes=("zebra", "dog", "cat"), size=SIDE), "cpu")
    found = matched(model, ("cat", "dog"), {})
    assert found.classes == ("cat", "dog", "zebra")
    np.testing.assert_allclose(found.predict(PIXELS)[0], [0.5, 0.3, 0.2])
    mapped = matched(model, ("horse", "cat"), {"zebra": "horse"})
    assert mapped.classes == ("horse", "cat", "dog")
    np.testing.assert_allclose(mapped.predict(PIXELS)[0], [0.2, 0.5, 0.3])


def test_labels_of_attributions_follow_the_order() -> None:
    model = open_predictor(object_reader, OPTIONS, "cpu")
    turned = matched(model, ("dog", "cat"), {})
    one, two = model.attributions(PIXELS, np.array([1, 0, 1])), turned.attributions(PIXELS, np.array([0, 1, 0]))
    assert np.array_equal(one, two) and np.abs(one).max() > 0


@pytest.mark.parametrize(
    ("wanted", "class_map", "said"),
    [
        (("cat", "dgo"), {}, r"has no class 'dgo' \(did you mean 'dog'\?\). The model has 'cat', 'dog'"),
        (("cat", "horse"), {}, "has no class 'horse'.*--class-map MODEL=DATA"),
        (("cat", "dog"), {"horse": "cat"}, "--class-map: the model has no class 'horse'"),
        (("cat", "dog"), {"dog": "cat"}, "has no class 'dog'"),
        (("cat",), {"dog": "cat"}, "two classes of the model are called 'cat'"),
    ],
)
def test_classes_that_do_not_match(wanted: tuple[str, ...], class_map: dict[str, str], said: str) -> None:
    model = open_predictor(object_reader, OPTIONS, "cpu")
    with pytest.raises(ConfigError, match=said):
        matched(model, wanted, class_map)


def test_a_timm_state_dict_is_timms(tmp_path: Path) -> None:
    """A bare file does not name its outputs: they are asked for."""
    model = timm.create_model("test_resnet", num_classes=2).eval()
    save_file(model.state_dict(), tmp_path / "m.safetensors")
    with pytest.raises(ModelError, match="does not name its 2 outputs.*--classes A,B"):
        open_predictor(tmp_path / "m.safetensors", ModelOptions(backbone="test_resnet"), "cpu")
    found = open_predictor(tmp_path / "m.safetensors", ModelOptions(CLASSES, backbone="test_resnet", size=SIDE), "cpu")
    assert found.classes == CLASSES and found.preprocessing.size == SIDE
    from ddb.learn.device import open_accelerator

    loaded = found.loaded.classifier  # type: ignore[attr-defined]
    own = logits(loaded, PIXELS, open_accelerator("cpu", "fp32"), 4)
    np.testing.assert_allclose(found.predict(PIXELS), softmax(own), atol=1e-6)
    assert found.features(PIXELS).shape == (3, model.num_features)


def test_named_outputs_are_not_renamed_by_their_order() -> None:
    loaded = torch_model(MIDDLE, 0, 120)
    assert open_predictor(loaded, ModelOptions(classes=CLASSES), "cpu").classes == CLASSES
    with pytest.raises(ConfigError, match="the model has 2 outputs, cat, dog. Leave --classes out"):
        open_predictor(loaded, ModelOptions(classes=("dog", "cat")), "cpu")


def test_checkpoints_of_pickles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.pth").write_bytes(b"\x80\x04")
    with pytest.raises(ModelError, match="pickle") as caught:
        open_predictor(tmp_path / "m.pth", ModelOptions(), "cpu")
    assert not str(caught.value).startswith("erm.")


def test_options_of_the_command_line() -> None:
    assert numbers("0.5", "--mean") == (0.5, 0.5, 0.5) and numbers("1,2,3", "--mean") == (1, 2, 3)
    assert numbers(None, "--mean") is None and pairs(["a=b", "c=d e"], "--class-map") == {"a": "b", "c": "d e"}
    for text in ("1,2", "red"):
        with pytest.raises(ConfigError, match="--mean"):
            numbers(text, "--mean")
    with pytest.raises(ConfigError, match="MODEL_NAME=DATA_NAME"):
        pairs(["cat"], "--class-map")
    with pytest.raises(ConfigError, match="layout 'chw' is unknown; use nchw or nhwc"):
        ModelOptions(layout="chw")
