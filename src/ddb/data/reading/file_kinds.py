"""Kinds of files that users name by mistake as data or masks."""

from __future__ import annotations

from pathlib import Path

_WEIGHTS = "a file of model weights"
_ARCHIVE = "an archive: unpack it and name the folder"
_KINDS = {
    **dict.fromkeys((".pth", ".pt", ".ckpt"), f"{_WEIGHTS} (PyTorch)"),
    **dict.fromkeys((".bin", ".safetensors", ".onnx", ".h5", ".keras", ".gguf"), _WEIGHTS),
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"), _ARCHIVE),
    **dict.fromkeys((".npy", ".npz"), "an array of NumPy: save images or masks as PNG files"),
    **dict.fromkeys((".pkl", ".pickle"), "a pickle, which can run code: save images or masks as PNG files"),
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "a spreadsheet: save it as CSV"),
    **dict.fromkeys((".tfrecord", ".lmdb", ".mdb"), "a store of another framework: write its images to a folder"),
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".webp"), "one image: name the folder that holds all"),
}


def what_is(path: Path) -> str:
    """The kind of a file by its suffix, with a remedy; "" for an unknown suffix."""
    return _KINDS.get(path.suffix.lower(), "")
