"""The sentences of the report: what happened, and what a reader should be warned of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddb.report.charts.interval import Interval
from ddb.report.collect import Direction, GroupLine, MetricLine
from ddb.report.html import percent
from ddb.report.reading import STAGES, Run
from ddb.report.timings import failed_rows

REASONS = {
    "kept": "Kept",
    "psi": "Rejected by ψ",
    "rho": "Rejected by ρ",
    "psi+rho": "Rejected by ψ and ρ",
    "over_budget": "Over budget",
    "": "No verdict",
}
MEANINGS = {
    "kept": "ψ is low enough and ρ is high enough: it is added to the training data as {target}",
    "psi": "ψ is too high: the plain classifier still recognises {source} in it",
    "rho": "ρ is too low: the painted pixels add too little evidence for {target}",
    "psi+rho": "ψ is too high and ρ is too low: still {source}, and too little evidence for {target}",
    "over_budget": "It passes both tests, but its direction already had enough counterfactuals",
    "": "It has no score or no verdict",
}
EPOCH_RULES = {
    "last": "the last epoch",
    "mean": "mean validation accuracy",
    "worst_class": "worst-class validation accuracy (no group labels)",
    "worst_group": "worst-group validation accuracy (uses group labels of validation images)",
    "discovered": "worst-group validation accuracy over discovered groups (no group labels)",
    "counterfactual": "accuracy on validation counterfactuals (no group labels)",
}
"""How the epoch of a classifier was chosen: value of `selection` in the configuration -> words."""
SMALL_GROUP = 30
"""Test images below which a group's accuracy is warned of."""


@dataclass(frozen=True)
class Headline:
    """The title of the page and the sentences below it."""

    title: str
    sentences: list[str]


def about(run: Run, sizes: Mapping[str, int], seed: object, time: str) -> str:
    """One line on the data and the run; `time`: the run's wall time in words."""
    classes, attributes = run.dataset.get("classes") or [], run.dataset.get("attributes") or []
    found = [f"Classes: {', '.join(map(str, classes))}."] if classes else []
    found += [f"Attributes: {', '.join(map(str, attributes))}."] if attributes else []
    found += [f"Images: {', '.join(f'{n:,} {split}' for split, n in sizes.items())}."] if sizes else []
    if given := run.json("adopted.json", "erm").get("weights"):
        found.append(f"The plain classifier is a given one, {given}: it was not trained in this run.")
    found += [f"Seed {seed}."] if seed is not None else []
    found += [f"Computed in {time}."] if time else []
    return " ".join(found)


def not_shown(run: Run) -> str:
    """Names the stages that are not finished under the present settings; empty where all are."""
    if not run.missing:
        return ""
    return f"Not shown: {', '.join(run.missing)} (to be computed with the present settings)."


def headline(groups: Sequence[GroupLine], metrics: Sequence[MetricLine], run: Run, kept: int) -> Headline:
    """Title and lead sentences. Where no attribute is known the groups are the classes, and the words say so."""
    first = next((g for g in groups if g.worst_before), None)
    last = next((g for g in groups if g.worst_after), None)
    kind = "group" if any(line.name == "Worst-group accuracy" for line in metrics) else "class"
    if first is None or first.before is None:
        title = f"{len(run.finished)} of {len(STAGES)} stages are finished"
        if not run.missing:
            return Headline(title, ["This run has no test figures."])
        return Headline(title, ["The page shows the results of the finished stages."])
    if last is None or last.after is None:
        title = f"Worst-{kind} accuracy of the plain classifier: {percent(first.before.value)}"
        return Headline(title, [f"The {kind} is “{first.name}”. The classifier has not been retrained yet."])
    figures = [_comparison(first.before, last.after), *_mean(metrics)]
    title = _title(kind, first.before.value, last.after.value)
    return Headline(title, [_story(kind, first, last, kept), " ".join(figures)])


def _title(kind: str, before: float, after: float) -> str:
    if percent(before) == percent(after):
        return f"Worst-{kind} accuracy stayed at {percent(before)}"
    return f"Worst-{kind} accuracy {'rose' if after > before else 'fell'} from {percent(before)} to {percent(after)}"


def _story(kind: str, first: GroupLine, last: GroupLine, kept: int) -> str:
    assert first.before is not None
    assert last.after is not None
    added = f" with {kept:,} counterfactual images added" if kept else ""
    right = _correct(last.after.value, last.n)
    ending = f"it classifies {right} correctly there, which is still its worst {kind}"
    if first.name != last.name:
        ending = f"its worst {kind} is “{last.name}”: {right} correct"
    worst = (
        f"The worst {kind} of the plain classifier is “{first.name}”: {_correct(first.before.value, first.n)} correct."
    )
    return f"{worst} Retrained{added}, {ending}."


def _comparison(before: Interval, after: Interval) -> str:
    if before.ends is None or after.ends is None:
        return ""
    if after.ends[0] > before.ends[1]:
        return "The 95% intervals do not overlap."
    if after.ends[1] < before.ends[0]:
        return "The 95% intervals do not overlap: retraining lowered the accuracy here."
    return "The 95% intervals overlap: the difference may be due to chance."


def _mean(metrics: Sequence[MetricLine]) -> list[str]:
    line = next((m for m in metrics if m.name == "Mean accuracy"), None)
    if line is None or line.before is None or line.after is None:
        return []
    return [f"Over all test images, accuracy went from {percent(line.before)} to {percent(line.after)}."]


def _correct(share: float, n: int) -> str:
    return f"{round(share * n):,} of {n:,}"


def warnings(
    run: Run, metrics: Mapping[str, Any], directions: Sequence[Direction], groups: Sequence[GroupLine]
) -> list[str]:
    """What a reader must know before trusting the figures; one or two sentences each."""
    found = [
        f"Stage {name}: {count:,} row{'s' * (count != 1)} failed, for example: {message}"
        for name, count, message in failed_rows(run)
    ]
    found += _fallbacks(run)
    found += [
        f"All {d.painted:,} counterfactuals {d.name} were rejected: this direction adds nothing to the training data."
        for d in directions
        if d.reasons and not d.kept
    ]
    found += _quarantined(run)
    found += _leak(run, metrics.get("leak"))
    small = [g.name for g in groups if g.n < SMALL_GROUP]
    if small:
        few = f"Fewer than {SMALL_GROUP} test images in {', '.join(small)}"
        found.append(f"{few}: compare the intervals, not the accuracies.")
    return found


def source_warning(problems: Mapping[str, str]) -> list[str]:
    """Names source images that are gone or have changed; `problems`: path -> message. Empty where there are none."""
    if not problems:
        return []
    first = next(iter(problems.values())).removesuffix(".")
    one = "1 source image is gone or has changed" if len(problems) == 1 else ""
    many = one or f"{len(problems):,} source images are gone or have changed"
    return [f"{many}. Their pictures are stored ones of an earlier report, or missing. First: {first}."]


def rules(run: Run) -> str:
    """The rule that was applied to psi and to rho in each direction, as stage prune recorded it."""
    found = [
        f"{run.direction_name(row['from_label'], row['to_label'])}: ψ {row['psi_rule']}, ρ {row['rho_rule']}"
        for row in run.json("summary.json", "prune") or []
    ]
    return f"Rules used, {'; '.join(found)}.".replace("_", " ") if found else ""


def _fallbacks(run: Run) -> list[str]:
    found = []
    for row in run.json("summary.json", "prune") or []:
        for head in row.get("fallback", ()):
            sign = {"psi": "ψ", "rho": "ρ"}[head]
            name = run.direction_name(row["from_label"], row["to_label"])
            rule = str(row[f"{head}_rule"]).replace("_", " ")
            why = f"the configured {sign} rule would have rejected more than prune.max_pruned allows"
            found.append(f"{name}: {why}; the rule “{rule}” was used instead.")
    return found


def _quarantined(run: Run) -> list[str]:
    files = run.dataset.get("quarantined") or []
    if not files:
        return []
    first = files[0]
    example = f"{first.get('path', '')}: {first.get('reason', '')}" if isinstance(first, dict) else str(first)
    if len(files) == 1:
        return [f"1 image could not be read and was left out: {example}."]
    return [f"{len(files):,} images could not be read and were left out, for example {example}."]


def _leak(run: Run, leak: Mapping[str, Any] | None) -> list[str]:
    if not leak or not leak.get("leaks"):
        return []
    worst = max(leak["by_attribute"], key=lambda row: float(row["label_auroc"]))
    where = f"“{run.attribute_name(worst['attribute'])}”"
    return [
        f"Leak test: among training images of {where}, a probe for generated images also predicts the class "
        f"(AUROC {worst['label_auroc']:.2f}). The retrained classifier may have learned traces of the generator."
    ]


def leak_note(leak: Mapping[str, Any] | None) -> str:
    """The result of the leak test; empty where it was not made."""
    if not leak or leak.get("auroc") is None:
        return ""
    note = f"Leak test: a probe tells real from generated images with AUROC {leak['auroc']:.2f}"
    highest = max((float(row["label_auroc"]) for row in leak.get("by_attribute") or ()), default=None)
    if highest is None:
        return f"{note}."
    return f"{note}; its output predicts the class with AUROC {highest:.2f} at most (0.5 is chance)."


def epoch_choice(metrics: Mapping[str, Any]) -> str:
    """How the epoch of the retrained classifier was chosen."""
    found = metrics.get("selection")
    if not isinstance(found, dict):
        return ""
    rule = EPOCH_RULES.get(str(found.get("selection")), str(found.get("selection")))
    return f"The weights of the retrained classifier are those of epoch {found.get('epoch')}, chosen by {rule}."
