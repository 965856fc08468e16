"""Pictures that need source images: sources themselves, and counterfactuals rebuilt from a source and its patch.

Each is made once and stored (`ddb.report.thumbnails`). A source that is gone or has changed since it was painted on is
collected in `problems`; what is stored of it is still shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ddb.data.counterfactuals import Counterfactuals, Rebuilt
from ddb.data.images import Mask, Pixels, read_image, read_mask, resolve_inside
from ddb.data.table import Dataset
from ddb.errors import DataError
from ddb.report.reading import Run
from ddb.report.thumbnails import Thumbnails, shrunk, shrunk_mask, tinted

KINDS = ("original", "mask", "counterfactual")


@dataclass(frozen=True)
class Pictures:
    """Data URIs of one counterfactual; empty where a picture cannot be made any more. `mask`: the object as found and
    the pixels that changed."""

    original: str = ""
    mask: str = ""
    counterfactual: str = ""


@dataclass
class SourcePictures:
    """The pictures of one run. `problems`: path of a source that is gone or has changed -> message for people."""

    run: Run
    problems: dict[str, str] = field(default_factory=dict)

    def originals(self, stage: str, ids: Sequence[str]) -> dict[str, str]:
        """Sample id -> data URI of its image; samples whose image cannot be read are left out. The thumbnails are
        stored with `stage`."""
        store = self._store(stage)
        paths = self.run.image_paths(ids)
        found = {name: uri for name in ids if (uri := store.find(f"original {name}"))}
        for name in ids:
            path = paths.get(name, name)
            if name in found:
                if problem := self._problem(path, ""):
                    self.problems[path] = problem
                continue
            try:
                found[name] = store.store(f"original {name}", shrunk(read_image(self._root, path)))
            except DataError as error:
                self.problems[path] = str(error)
        return found

    def counterfactuals(self, ids: Sequence[str]) -> dict[str, Pictures]:
        """Candidate id -> its pictures. Only the sources and patches of thumbnails that are not stored yet are read."""
        painted, store = Counterfactuals(self.run.tables, self.dataset), self._store("inpaint")
        rows = dict(zip(ids, painted.rows_of(ids).tolist(), strict=True))
        hashes = {name: painted.columns["source_sha256"][row].as_py() for name, row in rows.items()}
        keys = {name: self._keys(name, hashes[name]) for name in ids}
        found = {name: Pictures(*map(store.find, keys[name])) for name in ids}
        paths = self.run.image_paths([painted.source_ids[row] for row in rows.values()])
        unstored = sorted((name for name in ids if not found[name].counterfactual), key=rows.__getitem__)
        for name in ids:
            if found[name].counterfactual:
                self._check(paths.get(source := painted.source_ids[rows[name]], source), hashes[name])
        things = self.object_masks([painted.source_ids[rows[name]] for name in unstored])

        def draw(rebuilt: Rebuilt) -> tuple[Pixels, Pixels, Pixels]:
            original, image = shrunk(rebuilt.source), shrunk(rebuilt.image)
            size = original.shape[0], original.shape[1]
            thing = things.get(painted.source_ids[rebuilt.row])
            if thing is not None and thing.shape != size:
                thing = None
            return original, tinted(original, shrunk_mask(rebuilt.changed, size), thing), image

        for name, outcome in zip(unstored, painted.outcomes([rows[n] for n in unstored], draw), strict=True):
            if isinstance(outcome, DataError):
                self.add_problem(painted.source_ids[rows[name]], outcome)
            else:
                uris = [store.store(key, pixels) for key, pixels in zip(keys[name], outcome, strict=True)]
                found[name] = Pictures(*uris)
        return found

    def object_masks(self, sources: Sequence[str]) -> dict[str, Mask]:
        """Source id -> the object as segmentation found it, bool HW at the size of the source's thumbnail."""
        found = {}
        for name, png in self.run.payload("segment", "object_mask", sources):
            if png:
                mask = read_mask(png)
                size = shrunk(mask.astype("uint8")).shape
                found[name] = shrunk_mask(mask, (size[0], size[1]))
        return found

    def _keys(self, name: str, sha256: str) -> list[str]:
        """What the thumbnails of a counterfactual are stored under; object masks are those of a segmentation."""
        masks = self.run.result("segment") if "segment" in self.run.finished else ""
        return [f"{kind} {name} {sha256} {masks if kind == 'mask' else ''}" for kind in KINDS]

    def add_problem(self, source: str, problem: DataError) -> None:
        """Collect why the pictures of a source cannot be made."""
        self.problems[self.run.image_paths([source]).get(source, source)] = str(problem)

    def _check(self, path: str, sha256: str) -> None:
        if problem := self._problem(path, sha256):
            self.problems[path] = problem

    def _problem(self, path: str, sha256: str) -> str:
        """Why a source is not what it was; "" where it is. Its content is not looked at where `sha256` is empty."""
        try:
            file = resolve_inside(self._root, path)
            if not sha256:
                return "" if file.is_file() else f"{file}: the file is gone"
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError as error:
            return f"{self._root / path}: {error.strerror or error}"
        except DataError as error:
            return str(error)
        return "" if digest == sha256 else f"{file} has changed since counterfactuals were painted on it"

    def _store(self, stage: str) -> Thumbnails:
        return Thumbnails(self.run.tables.folder(stage) / "thumbnails")

    @property
    def _root(self) -> Path:
        return Path(self.run.dataset.get("root") or "data folder unknown")

    @cached_property
    def dataset(self) -> Dataset:
        """The run's data set as far as pictures need it: where the image of a sample lies, and the names of classes."""
        classes = tuple(map(str, self.run.dataset.get("classes", ())))
        return Dataset(self._root, self.run.samples, classes, (), "", (), "")
