"""READ FIRST. The bench from settings to tables:

    every seed   a ddb run up to what is needed -> fits (search) -> choice on validation images -> test figures
    then         figures over seeds -> tables, plots

A bench is resumed like a run: what is there is not made again, and a kill loses at most the fit in hand (whose epochs
have checkpoints of their own).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddb.backends.timm_classifier import LoadedClassifier
from ddb.bench import judge, paper
from ddb.bench.concepts import write_concepts
from ddb.bench.fits import Fits
from ddb.bench.folder import Folder, Key, Record, fingerprint
from ddb.bench.groups import check_groups
from ddb.bench.methods import Method, usable
from ddb.bench.options import Options, check_studies
from ddb.bench.output import write_all
from ddb.bench.results import Results, arm_scores, labels_of, method_scores
from ddb.bench.scores import score
from ddb.bench.studies import STUDIES, Studies
from ddb.bench.trial import Trial, open_trial
from ddb.config import RunConfig
from ddb.engine.interrupt import guarded
from ddb.engine.progress import Messages, Progress, open_progress
from ddb.engine.workspace import Workspace

MAIN = ("1", "labels")
"""Tables that need all methods."""


def run_bench(config: RunConfig, options: Options, out: Path, progress: Progress | None = None) -> Results:
    """Bring the bench in `out` to its end and write its tables there. Raises DDBError; what was made stays."""
    check_studies(config, options.tables)
    progress = progress or open_progress(sys.stderr)
    folder = Folder(out)
    log = Workspace(out, ())
    with guarded(), log.locked(), _warnings(progress):
        folder.claim(_shared(config, options))
        bench = _Bench(config, options, folder, log, progress)
        for number in range(options.seeds):
            bench.seed(number)
        results = bench.results()
        write_all(results, out)
    return results


@dataclass(frozen=True)
class _Seen:
    """What the first seed told of the data."""

    methods: list[Method]
    left_out: dict[str, str]
    notes: list[str]
    trial: Trial


class _Bench:
    """Walks through the seeds and keeps the records of each."""

    def __init__(self, config: RunConfig, options: Options, folder: Folder, log: Workspace, progress: Progress) -> None:
        self.config, self.options, self.folder, self.log, self.progress = config, options, folder, log, progress
        self.seen: _Seen | None = None
        self.chosen: dict[str, Mapping[str, Any]] = {}
        self.scores: dict[str, list[Record]] = {}
        self.arms: dict[str, list[list[Record]]] = {}

    def seed(self, number: int) -> None:
        """Everything of one seed."""
        where = self.folder.seed(number)
        if self.seen is None:
            self.seen = self._look(open_trial(self.config, self.options, number, where, None, self.progress))
        until = "prune" if self._paints(self.seen.methods) else "erm"
        trial = open_trial(self.config, self.options, number, where, until, self.progress)
        if any(table in MAIN for table in self.options.tables):
            fits = Fits(self.folder, trial, self.progress, self._told)
            for method in self.seen.methods:
                self.scores.setdefault(method.name, []).append(self._method(fits, method))
        for table in self.options.tables:
            if table in STUDIES:
                study = Studies(self.folder, trial, self._judge(trial), self.progress, self._told)
                self.arms.setdefault(STUDIES[table], []).append(study.records(STUDIES[table]))

    def results(self) -> Results:
        """The figures of all seeds."""
        assert self.seen is not None, "a bench has a seed"
        trial, data = self.seen.trial, paper.name_of(self.config)
        train, val = (trial.dataset.split(name).num_rows for name in ("train", "val"))
        labels = {m.name: labels_of(m, self.options.select, train, val) for m in self.seen.methods}
        methods = [method for method in self.seen.methods if method.name in self.scores]
        tests = [records[0]["test"] for records in self.scores.values()]
        tests += [records[0]["test"] for seeds in self.arms.values() for records in seeds]
        return Results(
            name=self.config.name,
            data=data,
            seeds=[self.config.seed + number for number in range(self.options.seeds)],
            select=self.options.select,
            search=self.options.search,
            grouped=tests[0]["worst_group_accuracy"] is not None,
            tables=list(self.options.tables),
            methods=method_scores(methods, labels, self.scores, data),
            studies={name: arm_scores(name, seeds, data, trial.dataset.classes) for name, seeds in self.arms.items()},
            left_out=self.seen.left_out,
            notes=self.seen.notes,
            judge=judge.accuracy(self.folder.root / "judge") if self.arms else None,
            about=self._about(trial),
        )

    def _look(self, trial: Trial) -> _Seen:
        """Refuse or leave out what this data set does not allow, before anything is computed."""
        notes = check_groups(trial.dataset, self.options.select)
        methods, left_out = usable(trial, self.options, self._concepts())
        for reason in left_out.values():
            self.progress.say(f"left out: {reason}")
        for note in notes:
            self.progress.say(f"note: {note}")
        return _Seen(methods, left_out, notes, trial)

    def _paints(self, methods: list[Method]) -> bool:
        """Whether any part of the bench needs counterfactuals."""
        studies = any(table in STUDIES for table in self.options.tables)
        return studies or self.options.select == "counterfactual" or any(method.needs_images for method in methods)

    def _method(self, fits: Fits, method: Method) -> Record:
        """Search (or take what the first seed chose), then score the chosen fit on the test images."""
        grid = list(method.grid) if self.options.search != "off" else [method.grid[0]]
        if self.options.search == "first" and method.name in self.chosen:
            grid = [self.chosen[method.name]]
        fit, setting = fits.search(method, grid)
        self.chosen.setdefault(method.name, setting)
        key = Key("scores", fits.trial.number, method.name, fingerprint(["score", fit["fingerprint"]]))
        if (found := self.folder.read(key)) is None:
            test = score(fits.trial, fits.classifier(method, setting))
            facts = {name: fit[name] for name in ("method", "title", "seed", "setting", "figures", "facts")}
            found = self.folder.write(key, {**facts, "tried": len(grid), "test": test})
        return found

    def _judge(self, trial: Trial) -> LoadedClassifier | None:
        if self.config.data.source != "pocket":
            return None
        home = self.folder.root / "judge"
        if judge.accuracy(home) is None:
            self.progress.say("judge: training the classifier that judges counterfactuals (once for all seeds)")
        return judge.open_judge(self.config.data.pocket.world, home, trial.runtime)

    def _concepts(self) -> str:
        """DISC's concept images: given, or drawn for a built-in world."""
        if self.options.concepts is not None:
            return str(self.options.concepts)
        if self.config.data.source == "pocket" and "disc" in self.options.methods:
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


def _shared(config: RunConfig, options: Options) -> Record:
    """What all records of a bench folder have in common. Methods, seeds and tables may be added later."""
    return {
        "config": config.model_dump(mode="json", exclude={"device"}),
        "select": options.select,
        "search": options.search,
        "concepts": "" if options.concepts is None else str(options.concepts),
    }


@contextmanager
def _warnings(progress: Progress) -> Iterator[None]:
    """Show the warnings of methods and stages, epochs not; while a pipeline run shows its own messages, none twice."""
    log, handler = logging.getLogger("ddb"), Messages(progress)
    handler.setLevel(logging.WARNING)
    handler.addFilter(lambda record: not any(isinstance(h, Messages) and h is not handler for h in log.handlers))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
