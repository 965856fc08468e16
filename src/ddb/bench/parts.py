"""The work of a bench in parts: what can be done apart, what each part needs, and the figures of all of them.

A part leaves its records in the bench folder. One that is there is not made again, so parts that other processes have
done (`team.py`) cost nothing here.
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
from ddb.bench.studies import judge
from ddb.bench.studies.arms import STUDIES, Studies
from ddb.config import RunConfig
from ddb.engine.progress import Progress
from ddb.engine.workspace import Workspace

MAIN = ("1", "labels")
"""Tables that need all methods."""
RUN, JUDGE = "run", "judge"
"""Names of parts; the others are named for a method or a study."""


@dataclass(frozen=True)
class Part:
    """One method or study of a seed (counted from 0), or what several of them share: the seed's run, the judge."""

    seed: int
    name: str


@dataclass(frozen=True)
class _Seen:
    """What the first seed told of the data."""

    methods: list[Method]
    left_out: dict[str, str]
    notes: list[str]
    trial: Trial


class Bench:
    """Does the parts of the bench in `folder` and keeps their records.

    Making one refuses, or leaves out, what the data set does not allow: DDBError before anything is computed."""

    def __init__(self, config: RunConfig, options: Options, folder: Folder, log: Workspace, progress: Progress) -> None:
        self.config, self.options, self.folder, self.log, self.progress = config, options, folder, log, progress
        self._chosen: dict[str, Mapping[str, Any]] = {}
        self._scores: dict[str, list[Record]] = {}
        self._arms: dict[str, list[list[Record]]] = {}
        self._open: Trial | None = None
        self._seen = self._look()

    def remarks(self) -> list[str]:
        """What is left out of the bench, and what its reader must know of the data."""
        seen = self._seen
        return [
            *(f"left out: {reason}" for reason in seen.left_out.values()),
            *(f"note: {note}" for note in seen.notes),
        ]

    def parts(self) -> list[Part]:
        """All parts, each after those that it needs."""
        found = []
        for seed in range(self.options.seeds):
            found.append(Part(seed, RUN))
            if any(table in MAIN for table in self.options.tables):
                found += [Part(seed, method.name) for method in self._seen.methods]
            if self._studies and self._drawn and not seed:
                found.append(Part(seed, JUDGE))
            found += [Part(seed, name) for name in self._studies]
        return found

    def title(self, part: Part) -> str:
        """How a part is called in what is said of it."""
        return part.name if part.name == JUDGE else f"seed {self.config.seed + part.seed}: {part.name}"

    def needs(self, part: Part) -> set[Part]:
        """What has to be done before: those of them that are no part of this bench do not count.

        ddb and the studies of a seed retrain in one run folder, so they follow each other."""
        if part.name in (RUN, JUDGE):
            return set()
        needed = {Part(part.seed, RUN)}
        if part.name in self._studies:
            order = [DDB, *self._studies]
            needed |= {Part(0, JUDGE), *(Part(part.seed, name) for name in order[: order.index(part.name)])}
        elif self.options.search == "first" and part.seed:
            needed.add(Part(0, part.name))
        return needed

    def do(self, part: Part) -> None:
        """Make what is missing of a part, and keep its records."""
        if part.name == RUN:
            until = "prune" if self._paints() else "erm"
            where = self.folder.seed(part.seed)
            self._open = open_trial(self.config, self.options, part.seed, where, until, self.progress)
        elif part.name == JUDGE:
            self._judge(self._trial(part.seed))
        elif part.name in self._studies:
            trial = self._trial(part.seed)
            study = Studies(self.folder, trial, self._judge(trial), self.progress, self._told)
            self._arms.setdefault(part.name, []).append(study.records(part.name))
        else:
            method = next(method for method in self._seen.methods if method.name == part.name)
            self._scores.setdefault(part.name, []).append(self._method(part.seed, method))

    def results(self) -> Results:
        """The figures of all seeds."""
        trial, data = self._seen.trial, paper.name_of(self.config)
        train, val = (trial.dataset.split(name).num_rows for name in ("train", "val"))
        labels = {m.name: labels_of(m, self.options.select, train, val) for m in self._seen.methods}
        methods = [method for method in self._seen.methods if method.name in self._scores]
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
            left_out=self._seen.left_out,
            notes=self._seen.notes,
            judge=judge.accuracy(self.folder.root / "judge") if self._arms else None,
            about=self._about(trial),
        )

    def _look(self) -> _Seen:
        trial = open_trial(self.config, self.options, 0, self.folder.seed(0), None, self.progress)
        notes = check_groups(trial.dataset, self.options.select)
        methods, left_out = usable(trial, self.options, self._concepts())
        return _Seen(methods, left_out, notes, trial)

    @property
    def _studies(self) -> list[str]:
        """The studies that were asked for, in their order."""
        return [STUDIES[table] for table in self.options.tables if table in STUDIES]

    @property
    def _drawn(self) -> bool:
        """Whether the images are a built-in world's, which can be judged and has concepts."""
        return self.config.data.source == "pocket"

    def _trial(self, seed: int) -> Trial:
        """A seed whose run is done."""
        if self._open is None or self._open.number != seed:
            where = self.folder.seed(seed)
            self._open = open_trial(self.config, self.options, seed, where, None, self.progress)
        return self._open

    def _paints(self) -> bool:
        """Whether any part of the bench needs counterfactuals."""
        learned_from = any(method.needs_images for method in self._seen.methods)
        return bool(self._studies) or self.options.select == "counterfactual" or learned_from

    def _method(self, seed: int, method: Method) -> Record:
        """Search (or take what the first seed chose), then score the chosen fit on the test images."""
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
        """The setting that the first seed's search chose; read from its records where another process searched."""
        if method.name not in self._chosen:
            _, self._chosen[method.name] = self._fits(0).search(method, list(method.grid))
        return self._chosen[method.name]

    def _fits(self, seed: int) -> Fits:
        return Fits(self.folder, self._trial(seed), self.progress, self._told)

    def _judge(self, trial: Trial) -> LoadedClassifier | None:
        if not self._drawn:
            return None
        home = self.folder.root / "judge"
        if judge.accuracy(home) is None:
            self.progress.say("judge: training the classifier that judges counterfactuals (once for all seeds)")
        return judge.open_judge(self.config.data.pocket.world, home, trial.runtime)

    def _concepts(self) -> str:
        """DISC's concept images: given, or drawn for a built-in world."""
        if self.options.concepts is not None:
            return str(self.options.concepts)
        if self._drawn and "disc" in self.options.methods:
            return str(write_concepts(self.folder.root / "concepts"))
        return ""

    def _told(self, record: Record, seconds: float) -> None:
        """Say what was made, and how long it took (times are in events.jsonl, never in a record)."""
        name = record.get("method") or f"{record['study']} {record['arm']}"
        facts = {
            "seed": record["seed"],
            "name": name,
            "setting": record.get("setting", {}),
            "seconds": round(seconds, 2),
        }
        self.log.event("fit", **facts)
        seen = ", ".join(f"{value:.3f}" for value in record.get("figures", ())) or record.get("error", "")
        shown = ", ".join(f"{key} {value}" for key, value in record.get("setting", {}).items())
        rule = f": {record['selection']} {seen}" if "selection" in record else ""
        self.progress.say(f"seed {record['seed']}: {name}{f' ({shown})' if shown else ''}{rule}, {seconds:.1f} s")

    def _about(self, trial: Trial) -> dict[str, str]:
        sizes = {name: trial.dataset.split(name).num_rows for name in ("train", "val", "test")}
        return {
            "images": ", ".join(f"{count:,} {name}" for name, count in sizes.items()),
            "backbone": self.config.erm.backbone,
            "generator": self.config.inpaint.backend,
        }
