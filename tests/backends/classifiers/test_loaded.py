"""`predict` decodes every kind of picture to the same pixels as training, and names pictures that it cannot read."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ddb.backends.classifiers.loaded import Card, LoadedClassifier
from ddb.data.images import decode
from ddb.data.preprocessing import Preprocessing
from ddb.errors import DataError, StageFailed
from ddb.learn.classifier import Classifier

HOW = Preprocessing(32, 0.9, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
RGBA = np.random.default_rng(0).integers(0, 255, (40, 50, 4), dtype=np.uint8)
RGBA[:20, :, 3] = 0


class Spy(nn.Module):
    """Remembers its input and gives two means of it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.seen = nn.Identity(), []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append((x.permute(0, 2, 3, 1) * 255).round().byte().numpy())
        return self.fc(x.mean((2, 3))[:, :2])


@pytest.fixture
def spy() -> LoadedClassifier:
    model = Spy()
    return LoadedClassifier(Classifier(model, model.fc, HOW), Card("spy", {}, ("a", "b"), HOW))


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(RGBA[..., :3]).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def cmyk() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RGBA[..., :3]).convert("CMYK").save(buffer, "JPEG")
    return buffer.getvalue()


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


KINDS = {
    "rgb": png(Image.fromarray(RGBA[..., :3])),
    "transparent": png(Image.fromarray(RGBA)),
    "grey with alpha": png(Image.fromarray(RGBA[..., [0, 3]])),
    "16 bit": png(Image.fromarray(np.linspace(0, 65535, 2000).reshape(40, 50).astype(np.uint16))),
    "palette": png(Image.fromarray(RGBA[..., :3]).quantize(16)),
    "one bit": png(Image.fromarray(RGBA[..., 0] > 99)),
    "cmyk": cmyk(),
    "turned": turned(),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_model_sees_what_training_sees(kind: str, spy: LoadedClassifier, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(KINDS[kind])
    expected = HOW.square(decode(KINDS[kind]))
    opened = Image.open(io.BytesIO(KINDS[kind]))
    for pictures in (opened, [opened], tmp_path / "file", str(tmp_path / "file"), decode(KINDS[kind])):
        spy.predict(pictures, device="cpu")
        assert np.array_equal(spy.classifier.model.seen[-1][0], expected)  # type: ignore[union-attr]


def test_one_or_many(spy: LoadedClassifier) -> None:
    image = RGBA[..., :3]
    (one,) = spy.predict(image, device="cpu")
    assert list(one) == ["a", "b"] and sum(one.values()) == pytest.approx(1)
    many = spy.predict((Image.fromarray(image) for _ in range(5)), batch_size=2, device="cpu")
    assert len(many) == 5 and many[0]["a"] == pytest.approx(one["a"])
    assert len(spy.predict(np.stack([image] * 3), device="cpu")) == 3
    assert spy.predict([image[..., 0], RGBA], device="cpu")[0] and spy.predict([], device="cpu") == []


def test_what_cannot_be_read_is_named(spy: LoadedClassifier, tmp_path: Path) -> None:
    image = RGBA[..., :3]
    (tmp_path / "broken.jpg").write_bytes(turned()[:-300])
    cut = Image.open(tmp_path / "broken.jpg")
    for picture, words in (
        (tmp_path / "gone.jpg", r"gone\.jpg: No such file"),
        (tmp_path / "broken.jpg", r"broken\.jpg: damaged"),
        (cut, "image 2: image file is truncated"),
        (image.astype(np.float32) / 255, r"image 2: an array of float32 \[40, 50, 3\]; give uint8"),
        (image[..., :2], r"image 2: an array of uint8 \[40, 50, 2\]"),
        (torch.zeros(3, 4, 4), "image 2 is a Tensor: give a PIL image"),
        (None, "image 2 is a NoneType"),
    ):
        with pytest.raises(DataError, match=words):
            spy.predict([image, picture], device="cpu")  # type: ignore[list-item]
    with pytest.raises(DataError, match="image 1 is a int"):
        spy.predict(7, device="cpu")  # type: ignore[arg-type]


def test_outputs_that_are_not_finite_are_no_probabilities(spy: LoadedClassifier) -> None:
    class Fails(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.where(x > 0.4, x, torch.nan)

    spy.classifier.model.fc = Fails()
    with pytest.raises(StageFailed, match=r"outputs are not finite for 1 of 2 images \(image 2\)"):
        spy.predict([np.full((9, 9), 200, np.uint8), np.zeros((9, 9), np.uint8)], device="cpu")
