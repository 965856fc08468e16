"""A parsed `weights` setting: its kind, its files, its identity; and reading of files with errors that name the folder
and the remedy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any, Literal, TypeVar

from ddb.backends.content import file_hash
from ddb.data.reading.json_text import parse_json
from ddb.errors import DDBError, ModelError
from ddb.models.roles import ROLES, Wanted, wanted

T = TypeVar("T")
Kind = Literal["pocket", "folder", "file", "role", "hub"]

FORMS = "`weights` is a local folder, a role of `ddb models list`, a hub id owner/name, or pocket."
HASHED = (".json", ".safetensors", ".txt")
"""Suffixes of the files that the identity of a folder is computed from: configuration, weights, tokenizer."""
PICKLED = (".bin", ".pt", ".pth", ".ckpt")
"""Suffixes of pickled weights, which can run code when they are read."""
CONVERT = (
    "import sys, torch, safetensors.torch as s; d = torch.load(sys.argv[1], 'cpu', weights_only=True); "
    "d = d.get('state_dict', d.get('model', d)); d = {k: v.clone().contiguous() for k, v in d.items()}; "
    "s.save_file(d, sys.argv[2], {'format': 'pt'})"
)
SPLIT = (
    "import sys, diffusers as d; d.StableDiffusionInpaintPipeline.from_single_file(sys.argv[1])"
    ".save_pretrained(sys.argv[2])"
)
OTHER_FORMATS = {
    ".onnx": "ONNX, a graph to compute with",
    **dict.fromkeys((".h5", ".keras", ".tflite", ".pb"), "TensorFlow's"),
    ".msgpack": "Flax's",
    ".gguf": "llama.cpp's",
}
"""Formats of weights that ddb does not open and that no command converts in general."""


@dataclass(frozen=True)
class Weights:
    """A parsed `weights` setting.

    `text`: the setting as it was given. `kind`: "pocket" (weights that ship with ddb), "folder" or "file" (a path on
    this machine, there or not), "role" (of `ddb models list`) or "hub" (an id owner/name, or owner/name@commit).
    """

    kind: Kind
    text: str
    pocket: Callable[[], Path] | None = None
    """The path of the pocket weights of this setting; None where there are none."""

    @property
    def published(self) -> Wanted | None:
        """The role or hub id; None for weights on this machine."""
        return wanted(self.text) if self.kind in ("role", "hub") else None

    @property
    def is_local(self) -> bool:
        """True for weights on this machine, there or not; False for a role or a hub id."""
        return self.kind in ("pocket", "folder", "file")

    @property
    def path(self) -> Path:
        """The local path. ModelError if it does not exist, or if the setting names published weights."""
        if self.kind == "pocket":
            if self.pocket is None:
                raise ModelError(f"there are no pocket weights of this kind. {FORMS}")
            return self.pocket()
        path = Path(self.text).expanduser()
        if not self.is_local or not path.exists():
            raise ModelError(f"{path}: no such folder. {FORMS}")
        return path

    def folder(self, patterns: Sequence[str]) -> Path:
        """The folder that holds the weights, downloaded where they are published and not here yet (of a hub id the
        files that match `patterns`). An id without a commit means the one in the hub's cache, where there is one, even
        if the hub has a newer one: `identity` names it. ModelError if they are missing, gated or no folder."""
        if (published := self.published) is not None:
            from ddb.models.hub import fetch

            source, found = published.sources[0], self.here()
            if source.revision is None and found is not None:
                published = replace(published, sources=(replace(source, revision=found.name),))
            return fetch(published, patterns)
        path = self.path
        if path.is_dir():
            return path
        split = f'python -c "{SPLIT}" {quote(str(path))} {quote(str(path.with_suffix("")))}'
        raise ModelError(
            f"{path}: {foreign_format(path) or 'a file'}; `weights` takes a folder here, with config.json beside the "
            f"weights. Of a Stable Diffusion checkpoint in one file diffusers makes one: {split}"
        )

    def here(self) -> Path | None:
        """The folder or file on this machine: of published weights the one in the hub's cache. None if it is not
        there. Nothing is downloaded. ModelError as `path`, for local weights."""
        if (published := self.published) is None:
            return self.path
        from ddb.models.hub import cached

        return cached(published)

    @property
    def identity(self) -> str:
        """The identity of the weights, for fingerprints. Nothing is downloaded.

        Local weights: "sha256:" and a hash over their content, whatever their path. Published ones: the repository and
        the commit, "owner/name@<12 hex digits>"; the commit is the pinned one, else that of the hub's cache, and is
        left out where the cache has none. ModelError if local weights are missing.
        """
        if (published := self.published) is None:
            return f"sha256:{_hash(self.path)}"
        repository, commit = published.sources[0].repository, published.pinned
        if commit is None and (found := self.here()) is not None:
            commit = found.name
        return f"{repository}@{commit[:12]}" if commit else repository


def parse_weights(text: str, pocket: Callable[[], Path] | None = None) -> Weights:
    """Parse a `weights` setting. A path that exists comes before a hub id of the same spelling. `pocket`: where the
    pocket weights of this setting lie. Nothing is read but whether the path exists."""
    if text == "pocket":
        return Weights("pocket", text, pocket)
    path = Path(text).expanduser()
    if path.exists():
        return Weights("file" if path.is_file() else "folder", text)
    if wanted(text) is None:
        return Weights("folder", text)
    return Weights("role" if text in ROLES else "hub", text)


def foreign_format(path: Path) -> str:
    """The format of a file of weights that ddb does not open, by its suffix, and its conversion; "" for other
    suffixes."""
    suffix = path.suffix.lower()
    if suffix in PICKLED:
        return (
            "a PyTorch checkpoint (a pickle, which can run code when it is opened); ddb reads safetensors. Convert it "
            f"once: {_conversion(path, path.with_suffix('.safetensors'))}"
        )
    if suffix in OTHER_FORMATS:
        return (
            f"weights in another format ({OTHER_FORMATS[suffix]}); ddb reads safetensors of PyTorch models: take the "
            "model that the file was made from"
        )
    return ""


def _conversion(old: Path, new: Path) -> str:
    return f'python -c "{CONVERT}" {quote(str(old))} {quote(str(new))}'


def readable(folder: Path, load: Callable[[], T]) -> T:
    """The result of `load`, which reads a folder or file. ModelError, with the folder, the reason and the remedy, for
    any exception of a library; DDBErrors pass through."""
    try:
        return load()
    except DDBError:
        raise
    except MemoryError as error:
        raise ModelError(f"{folder}: does not fit into this machine's memory; take a smaller model.") from error
    except Exception as error:
        raise ModelError(f"{folder}: cannot be loaded, {_remedy(folder)}. ({reason_of(error)})") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object. ModelError if it is missing, damaged or something else."""
    try:
        values = parse_json(path.read_text("utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: missing or unreadable, download it again. ({reason_of(error)})") from error
    except ValueError as error:
        raise ModelError(f"{path}: not JSON, download it again. ({reason_of(error)})") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path}: holds no JSON object; download it again.")
    return values


def reason_of(error: Exception) -> str:
    """The first line of a foreign exception's message, at most 200 characters; its type where it has none."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def _remedy(folder: Path) -> str:
    """The remedy: convert weights of another format where there are no others, else download again."""
    files = [folder] if folder.is_file() else sorted(folder.glob("*"))
    others = [file for file in files if foreign_format(file)]
    if not others or any(file.suffix == ".safetensors" for file in files):
        return "download it again"
    pickled = [file for file in others if file.suffix.lower() in PICKLED]
    if not pickled:
        return f"{others[0].name} is {foreign_format(others[0])}"
    target = pickled[0].with_name(f"{pickled[0].stem.replace('pytorch_model', 'model')}.safetensors")
    return (
        f"it holds pickled weights alone ({pickled[0].name}), which ddb does not open: take safetensors, or convert it "
        f"with {_conversion(pickled[0], target)}"
    )


def _hash(path: Path) -> str:
    """SHA-256 over names and contents of a folder's files with the suffixes `HASHED`, or over a file: 12 hex digits."""
    digest = hashlib.sha256()
    parts = [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.suffix in HASHED)
    for part in parts:
        digest.update(part.relative_to(path).as_posix().encode())
        digest.update(bytes.fromhex(readable(part, lambda part=part: file_hash(part))))  # type: ignore[misc]
    return digest.hexdigest()[:12]
