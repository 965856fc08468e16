"""The parts of a bench: their list, the parts that each needs, their computation, and the figures of all of them.

A part writes its records into the bench folder. Records that exist are not made again, so a part that another process
has run (`team/`) is only read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ddb.backends.classifiers.timm_classifier import LoadedClassifier
from ddb.bench.concepts import write_concepts
from ddb.bench.fits.methods import Method, usable
from ddb.bench.fits.search import Fits
from ddb.bench.fits.trial import Trial, open_trial
from ddb.bench.folder import Folder, Key, Record, fingerprint
from ddb.bench.groups import check_groups
from ddb.bench.options import DDB, Options
from ddb.bench.scores import score
from ddb.bench.show import paper
from ddb.bench.show.results import Results, arm_scores, labels_of, method_scores
from ddb.bench.studies import oracle
from ddb.bench.studies.arms import STUDIES, Studies
from ddb.config import RunConfig
from ddb.engine import journal
from ddb.engine.progress import Progress

MAIN = ("1", "labels")
"""Tables that need all methods."""
RUN, ORACLE = "run", "oracle"
"""Names of parts; every other part has the name of its method or study."""


@dataclass(frozen=True)
class Part:
    """One method or study of a seed (index from 0), or work that several of them share: the seed's run, the oracle."""

    seed: int
    name: str


@dataclass(frozen=True)
class _FirstSeed:
    """Facts of the first seed's data set: `methods` that can run, `left_out`: name -> reason, `notes` for people."""

    methods: list[Method]
    left_out: dict[str, str]
    notes: list[str]
    trial: Trial


class PartRunner:
    """Runs the parts of the bench in `folder` and collects their records.

    What the data set does not allow is left out, or refused (DDBError) where it was asked for by name, when an object
    is made: before anything is computed."""

    def __init__(self, config: RunConfig, options: Options, folder: Folder, progress: Progress) -> None:
        self.config, self.options, self.folder, self.progress = config, options, folder, progress
        self._chosen: dict[str, Mapping[str, Any]] = {}
        self._scores: dict[str, list[Record]] = {}
        self._arms: dict[str, list[list[Record]]] = {}
        self._open: Trial | None = None
        self._first = self._inspect()

    def remarks(self) -> list[str]:
        """The methods that are left out, and notes on the data, as lines for people."""
        first = self._first
        return [
            *(f"left out: {reason}" for reason in first.left_out.values()),
            *(f"note: {note}" for note in first.notes),
        ]

    def parts(self) -> list[Part]:
        """All parts; each comes after those that it needs."""
        found = []
        for seed in range(self.options.seeds):
            found.append(Part(seed, RUN))
            if any(table in MAIN for table in self.options.tables):
                found += [Part(seed, method.name) for method in self._first.methods]
            if self._studies and self._drawn and not seed:
                found.append(Part(seed, ORACLE))
            found += [Part(seed, name) for name in self._studies]
        return found

    def title(self, part: Part) -> str:
        """The part's name in messages."""
        return part.name if part.name == ORACLE else f"seed {self.config.seed + part.seed}: {part.name}"

    def needs(self, part: Part) -> set[Part]:
        """The parts that have to be finished before this one; they may include parts that this bench does not have.

        ddb and the studies of a seed retrain in the same run folder, so each waits for the ones before it."""
        if part.name in (RUN, ORACLE):
            return set()
        needed = {Part(part.seed, RUN)}
        if part.name in self._studies:
            order = [DDB, *self._studies]
            needed |= {Part(0, ORACLE), *(Part(part.seed, name) for name in order[: order.index(part.name)])}
        elif self.options.search == "first" and part.seed:
            needed.add(Part(0, part.name))
        return needed

    def run(self, part: Part) -> None:
        """Compute what is missing of a part, and collect its records."""
        if part.name == RUN:
            until = "prune" if self._paints() else "erm"
            where = self.folder.seed(part.seed)
            self._open = open_trial(self.config, self.options, part.seed, where, until, self.progress)
        elif part.name == ORACLE:
            self._open_oracle(self._trial(part.seed))
        elif part.name in self._studies:
            trial = self._trial(part.seed)
            study = Studies(self.folder, trial, self._open_oracle(trial), self.progress, self._report)
            self._arms.setdefault(part.name, []).append(study.records(part.name))
        else:
            method = next(method for method in self._first.methods if method.name == part.name)
            self._scores.setdefault(part.name, []).append(self._method(part.seed, method))

    def results(self) -> Results:
        """The figures over all seeds, from the records of all parts; call it after `run` of every part."""
        trial, data = self._first.trial, paper.name_of(self.config)
        train, val = (trial.dataset.split(name).num_rows for name in ("train", "val"))
        if self.options.groups == "discovered":
            train, val = 0, 0  # no one has labelled an image
        labels = {m.name: labels_of(m, self.options.select, train, val) for m in self._first.methods}
        methods = [method for method in self._first.methods if method.name in self._scores]
        tests = [records[0]["test"] for records in self._scores.values()]
        tests += [records[0]["test"] for seeds in self._arms.values() for records in seeds]
        return Results(
            name=self.config.name,
            data=data,
            seeds=[self.config.seed + number for number in range(self.options.seeds)],
            select=self.options.select,
            search=self.options.search,
            grouped=tests[0]["worst_group_accuracy"] is not None,
            tables=list(self.options.tables),
            methods=method_scores(methods, labels, self._scores, data),
            studies={name: arm_scores(name, seeds, data, trial.dataset.classes) for name, seeds in self._arms.items()},
            left_out=self._first.left_out,
            notes=self._first.notes,
            oracle=oracle.accuracy(self.folder.root / "oracle") if self._arms else None,
            about=self._about(trial),
        )

    def _inspect(self) -> _FirstSeed:
        trial = open_trial(self.config, self.options, 0, self.folder.seed(0), None, self.progress)
        notes = check_groups(trial.seen, self.options.select)
        methods, left_out = usable(trial, self.options, self._concepts())
        return _FirstSeed(methods, left_out, notes, trial)

    @property
    def _studies(self) -> list[str]:
        """The studies that were asked for, in order."""
        return [STUDIES[table] for table in self.options.tables if table in STUDIES]

    @property
    def _drawn(self) -> bool:
        """Whether the images are those of a built-in world: only these have an oracle and concept images."""
        return self.config.data.source == "pocket"

    def _trial(self, seed: int) -> Trial:
        """A seed whose run is finished."""
        if self._open is None or self._open.number != seed:
            where = self.folder.seed(seed)
            self._open = open_trial(self.config, self.options, seed, where, None, self.progress)
        return self._open

    def _paints(self) -> bool:
        """Whether any part of the bench needs counterfactuals, so that runs have to reach stage prune."""
        learned_from = any(method.needs_images for method in self._first.methods)
        return bool(self._studies) or self.options.select == "counterfactual" or learned_from

    def _method(self, seed: int, method: Method) -> Record:
        """The scores record of a method: search its settings (or take the one that the first seed chose), then score
        the chosen fit on the test images."""
        grid = list(method.grid) if self.options.search != "off" else [method.grid[0]]
        if self.options.search == "first" and seed:
            grid = [self._first_choice(method)]
        fits = self._fits(seed)
        fit, setting = fits.search(method, grid)
        self._chosen.setdefault(method.name, setting)
        key = Key("scores", fits.trial.number, method.name, fingerprint(["score", fit["fingerprint"]]))
        if (found := self.folder.read(key)) is None:
            test = score(fits.trial, fits.classifier(method, setting))
            facts = {name: fit[name] for name in ("method", "title", "seed", "setting", "figures", "facts")}
            found = self.folder.write(key, {**facts, "tried": len(grid), "test": test})
        return found

    def _first_choice(self, method: Method) -> Mapping[str, Any]:
        """The setting that the first seed's search chose; read from its records if another process searched."""
        if method.name not in self._chosen:
            _, self._chosen[method.name] = self._fits(0).search(method, list(method.grid))
        return self._chosen[method.name]

    def _fits(self, seed: int) -> Fits:
        return Fits(self.folder, self._trial(seed), self.progress, self._report)

    def _open_oracle(self, trial: Trial) -> LoadedClassifier | None:
        """The oracle for counterfactuals, trained first if it is not there; None for data that is not drawn."""
        if not self._drawn:
            return None
        home = self.folder.root / "oracle"
        if oracle.accuracy(home) is None:
            self.progress.say(
                "oracle: training the classifier that recognises what counterfactuals show (once for all seeds)"
            )
        return oracle.open_oracle(self.config.data.pocket.world, home, trial.runtime)

    def _concepts(self) -> str:
        """The folder of DISC's concept images: given, or drawn for a built-in world; "" where there is none."""
        if self.options.concepts is not None:
            return str(self.options.concepts)
        if self._drawn and "disc" in self.options.methods:
            return str(write_concepts(self.folder.root / "concepts"))
        return ""

    def _report(self, record: Record, seconds: float) -> None:
        """Report a new record and its time (times go into events.jsonl, never into a record)."""
        name = record.get("method") or f"{record['study']} {record['arm']}"
        facts = {
            "seed": record["seed"],
            "name": name,
            "setting": record.get("setting", {}),
            "seconds": round(seconds, 2),
        }
        journal.event(self.folder.root, "fit", **facts)
        seen = ", ".join(f"{value:.3f}" for value in record.get("figures", ())) or record.get("error", "")
        shown = ", ".join(f"{key} {value}" for key, value in record.get("setting", {}).items())
        rule = f": {record['selection']} {seen}" if "selection" in record else ""
        self.progress.say(f"seed {record['seed']}: {name}{f' ({shown})' if shown else ''}{rule}, {seconds:.1f} s")

    def _about(self, trial: Trial) -> dict[str, str]:
        sizes = {name: trial.dataset.split(name).num_rows for name in ("train", "val", "test")}
        return {
            "images": ", ".join(f"{count:,} {name}" for name, count in sizes.items()),
            "backbone": self.config.erm.classifier or self.config.erm.backbone,
            "generator": self.config.inpaint.backend,
        }
