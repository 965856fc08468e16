"""Files to pixels: every kind of image that people have, and every way in which one can be broken."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddb.data import images
from ddb.data.images import (
    check,
    decode,
    mask_png,
    png_bytes,
    portable,
    read_image,
    read_mask,
    read_png,
    resolve_inside,
)
from ddb.errors import DataError

RED, HALF_RED = (200, 40, 20), (228, 148, 138)  # half transparent over white: (c * 128 + 255 * 127) / 255, rounded
NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **save: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **save)  # type: ignore[arg-type]
    return buffer.getvalue()


def plain(mode: str, colour: object) -> Image.Image:
    return Image.new(mode, (16, 8), colour)  # type: ignore[arg-type]


def palette(transparent: bool) -> bytes:
    image = Image.new("P", (16, 8), 1)
    image.putpalette([0, 0, 0, *RED])
    return encoded(image, "PNG", **({"transparency": 1} if transparent else {}))


MODES = {
    "rgb png": (encoded(plain("RGB", RED), "PNG"), RED),
    "rgb webp": (encoded(plain("RGB", RED), "WEBP", lossless=True), RED),
    "grey png": (encoded(plain("L", 77), "PNG"), (77, 77, 77)),
    "grey jpeg": (encoded(plain("L", 77), "JPEG"), (77, 77, 77)),
    "one bit": (encoded(plain("1", 1), "PNG"), (255, 255, 255)),
    "16 bit": (encoded(Image.fromarray(np.full((8, 16), 0x4D4D, np.uint16)), "PNG"), (77, 77, 77)),
    "alpha": (encoded(plain("RGBA", (*RED, 128)), "PNG"), HALF_RED),
    "alpha webp": (encoded(plain("RGBA", (*RED, 128)), "WEBP", lossless=True), HALF_RED),
    "grey alpha": (encoded(plain("LA", (77, 0)), "PNG"), (255, 255, 255)),
    "palette": (palette(False), RED),
    "transparent palette": (palette(True), (255, 255, 255)),
    "cmyk": (encoded(plain("CMYK", (0, 255, 255, 0)), "JPEG"), (255, 0, 0)),
}


@pytest.mark.parametrize("kind", MODES)
def test_every_mode_becomes_rgb(kind: str) -> None:
    data, expected = MODES[kind]
    check(data, 50)
    pixels = decode(data)
    assert pixels.shape == (8, 16, 3) and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - expected).max() <= 2  # JPEG rounds


UPRIGHT = {  # orientation -> how an upright image is stored under it (EXIF 2.3, tag 0x0112)
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a[::-1], 1),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_orientation_is_applied_once(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(UPRIGHT[orientation](NOISE)))
    data = encoded(stored, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.array_equal(decode(data), NOISE)
    again, _ = portable(data)
    assert np.array_equal(decode(again), NOISE)
    with Image.open(io.BytesIO(again)) as image:  # a reader that knows nothing of EXIF
        assert np.array_equal(np.asarray(image.convert("RGB")), NOISE)


@pytest.mark.parametrize("kind", MODES)
def test_portable_files_look_the_same_to_a_plain_reader(kind: str) -> None:
    data, _ = MODES[kind]
    out, suffix = portable(data)
    assert suffix in (".png", ".webp", ".jpg")
    with Image.open(io.BytesIO(out)) as image:
        assert image.mode == "RGB" and np.array_equal(np.asarray(image), decode(data))
    assert (out == data) == (kind in ("rgb png", "rgb webp"))


def frames(kind: str) -> bytes:
    first, second = plain("RGB", RED), plain("RGB", (0, 0, 0))
    return encoded(first, kind, save_all=True, append_images=[second], duration=100)


def claims(side: int) -> bytes:
    """A PNG of a few bytes whose header claims side x side pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


JPEG, PNG, WEBP = (encoded(Image.fromarray(NOISE), kind) for kind in ("JPEG", "PNG", "WEBP"))
BROKEN = {
    "zero bytes": (b"", "empty"),
    "text": (b"<html>not found</html>", "not a JPEG"),
    "gif": (encoded(plain("P", 0), "GIF"), "not a JPEG"),
    "tiff": (encoded(plain("RGB", RED), "TIFF"), "not a JPEG"),
    "truncated jpeg": (JPEG[: len(JPEG) * 2 // 3], "damaged"),
    "truncated png": (PNG[: len(PNG) // 2], "damaged"),
    "truncated webp": (WEBP[: len(WEBP) // 2], "damaged"),
    "header only": (PNG[:20], "damaged"),
    "animated webp": (frames("WEBP"), "animation"),
    "animated png": (frames("PNG"), "animation"),
    "65 megapixels": (claims(8_062), r"65\.0 megapixels, more than data\.max_megapixels = 50"),
    "3600 megapixels": (claims(60_000), "more than 178 megapixels"),
    "few of its pixels": (claims(100), "damaged"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_are_refused_with_a_reason(kind: str) -> None:
    data, reason = BROKEN[kind]
    for refuse in (lambda: check(data, 50), lambda: decode(data, 50)):
        with pytest.raises(DataError, match=reason):
            refuse()


def test_images_over_the_limit_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("RGB", (2000, 1000)), "PNG")
    check(data, 2.0)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(DataError, match=r"2\.0 megapixels, more than data\.max_megapixels = 1\.9"):
        check(data, 1.9)


def test_a_camera_jpeg_with_a_preview_is_a_photo() -> None:
    """Telephones write MPO: a JPEG with more pictures behind the first."""
    data = encoded(plain("RGB", RED), "MPO", save_all=True, append_images=[plain("RGB", (0, 0, 0))])
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "MPO"
    assert np.abs(decode(data).astype(int) - RED).max() <= 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_what_check_lets_pass_decodes_and_damage_never_escapes(kind: str) -> None:
    """Random bytes changed, and tails cut off: either both agree that it is broken, or it decodes."""
    rng = np.random.default_rng(0)
    whole = {"JPEG": JPEG, "PNG": PNG, "WEBP": WEBP}[kind]
    refused = 0
    for trial in range(120):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), int(rng.integers(1, 6))):
            data[place] = int(rng.integers(256))
        damaged = bytes(data[: int(rng.integers(1, len(data)))]) if trial % 2 else bytes(data)
        try:
            check(damaged, 50)
        except DataError:
            refused += 1
            continue
        assert decode(damaged, 50).ndim == 3
    assert refused > 30


def test_reading_names_the_file_and_the_reason(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG[:200])
    with pytest.raises(DataError, match=r"a\.jpg: damaged"):
        read_image(tmp_path, "a.jpg")
    with pytest.raises(DataError, match=r"b\.jpg: No such file"):
        read_image(tmp_path, "b.jpg")


@pytest.mark.parametrize("path", ["../x.png", "a/../../x.png", "/etc/x.png", "C:/x.png", "C:\\x.png", "a/.."])
def test_paths_stay_inside_the_root(tmp_path: Path, path: str) -> None:
    with pytest.raises(DataError, match="not a path inside the data folder"):
        resolve_inside(tmp_path, path)


@pytest.mark.parametrize("path", ["a\0.png", "\0", "\0/a.png", "\ud800.png"])
def test_names_that_no_file_system_stores_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(DataError, match="is not a file name"):
        resolve_inside(tmp_path, path)


def test_links_may_not_lead_out_of_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (root / "real" / "a.png").write_bytes(PNG)
    (tmp_path / "secret.png").write_bytes(PNG)
    (root / "out.png").symlink_to(tmp_path / "secret.png")
    (root / "up").symlink_to(tmp_path)
    (root / "near.png").symlink_to(root / "real" / "a.png")
    for path in ("out.png", "up/secret.png"):
        with pytest.raises(DataError, match="leads out of the data folder"):
            read_image(root, path)
    assert np.array_equal(read_image(root, "near.png"), NOISE)
    (tmp_path / "alias").symlink_to(root)
    assert np.array_equal(read_image(tmp_path / "alias", "real/a.png"), NOISE)


@pytest.mark.parametrize("path", ["self.png", "turn/a.png", f"{'x' * 300}/a.png", f"{'x' * 300}.png"])
def test_names_that_the_system_refuses_are_faults_of_the_data(tmp_path: Path, path: str) -> None:
    (tmp_path / "self.png").symlink_to("self.png")
    (tmp_path / "turn").symlink_to("turn")
    with pytest.raises(DataError, match="cannot be opened|Too many levels|No such file"):
        read_image(tmp_path, path)


def test_png_and_masks_come_back_as_they_were() -> None:
    assert np.array_equal(read_png(png_bytes(NOISE)), NOISE)
    assert png_bytes(NOISE) == png_bytes(NOISE.copy())
    mask = NOISE[..., 0] > 128
    data = mask_png(mask)
    assert np.array_equal(read_mask(data), mask)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "L" and set(np.unique(np.asarray(image)).tolist()) == {0, 255}


@pytest.mark.parametrize("size", [(30_000, 1), (1, 30_000), (201, 2)])
def test_images_of_extreme_shape_are_set_aside(size: tuple[int, int]) -> None:
    data = encoded(Image.new("RGB", size), "PNG")
    for refuse in (lambda: check(data, 50), lambda: decode(data)):
        with pytest.raises(DataError, match=rf"{size[0]}x{size[1]} pixels: one side is more than 100 times the other"):
            refuse()
    assert decode(encoded(Image.new("RGB", (200, 2)), "PNG")).shape == (2, 200, 3)


def test_transparent_16_bit_grey_lies_over_white() -> None:
    levels = np.full((8, 16), 0x4D4D, np.uint16)
    levels[:4] = 0x1000
    data = encoded(Image.fromarray(levels), "PNG", transparency=0x1000)
    assert (decode(data)[:4] == 255).all() and (decode(data)[4:] == 77).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "CMYK", "I;16", "1"])
def test_conversion_in_bands_changes_no_pixel(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if mode == "I;16":
        image = Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(np.dstack([NOISE, NOISE[..., :1]])).convert("RGB" if mode in "CMYK P 1" else "RGBA")
        image = image.convert(mode)
    data = encoded(image, "JPEG" if mode == "CMYK" else "PNG")
    whole = decode(data)
    monkeypatch.setattr(images, "BAND", 3 * 32)
    assert np.array_equal(decode(data), whole)


MEMORY = """
import io, sys
import numpy as np
from PIL import Image
from ddb.data.images import check, decode

mode, height, width = sys.argv[1], 4000, 3000
file = io.BytesIO()
Image.new(mode, (width, height), {"RGB": (9, 9, 9), "RGBA": (9, 9, 9, 9), "I;16": 900}[mode]).save(file, "PNG")
data, small = file.getvalue(), io.BytesIO()
Image.new("RGB", (8, 8)).save(small, "PNG")
decode(small.getvalue())
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
def told(name):
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1]) * 1024
before = told("VmRSS")
(check if sys.argv[2] == "check" else decode)(data, *([50] if sys.argv[2] == "check" else []))
print((told("VmHWM") - before) / (height * width))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's account of peak memory")
@pytest.mark.parametrize(("mode", "how"), [("RGBA", "check"), ("RGBA", "decode"), ("I;16", "decode")])
def test_decoding_costs_a_few_bytes_a_pixel(mode: str, how: str) -> None:
    """12 megapixels, transparent or of 16 bits: what was laid over white as a whole took 16 bytes a pixel and more."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, mode, how], capture_output=True, text=True, env=environment, check=True
    )
    assert float(run.stdout) < 11
