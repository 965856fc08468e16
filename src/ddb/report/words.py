"""The report's sentences: what happened, in plain words, and what a reader should be warned of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddb.report.collect import Direction, Estimate, GroupLine, MetricLine
from ddb.report.reading import Run
from ddb.report.timings import StageLine, failed_rows

REASONS = {
    "kept": "Kept",
    "psi": "Rejected by ψ",
    "rho": "Rejected by ρ",
    "psi+rho": "Rejected by ψ and ρ",
    "over_budget": "Over budget",
    "": "Not judged yet",
}
MEANINGS = {
    "kept": "ψ is low enough and ρ high enough for it to count as {target}",
    "psi": "ψ is too high: to the plain classifier it is still too much {source}",
    "rho": "ρ is too low: the repainted region does not speak for {target}",
    "psi+rho": "ψ is too high and ρ too low: still {source}, and nothing speaks for {target}",
    "over_budget": "it passes, but its direction already had enough",
    "": "scores or verdicts are not there yet",
}
SELECTION = {
    "last": "the last epoch",
    "mean": "mean validation accuracy",
    "worst_class": "worst-class validation accuracy (no group labels)",
    "worst_group": "worst-group validation accuracy (uses group labels of validation images)",
    "counterfactual": "accuracy on validation counterfactuals (no group labels)",
}
SMALL_GROUP = 30


@dataclass(frozen=True)
class Headline:
    title: str
    sentences: list[str]


def about(run: Run, sizes: Mapping[str, int], seed: object, seconds: str) -> str:
    """One line on the data and the run."""
    classes, attributes = run.dataset.get("classes") or [], run.dataset.get("attributes") or []
    found = [f"Classes: {', '.join(map(str, classes))}."] if classes else []
    found += [f"Attributes: {', '.join(map(str, attributes))}."] if attributes else []
    found += [f"Images: {', '.join(f'{n:,} {split}' for split, n in sizes.items())}."] if sizes else []
    found += [f"Seed {seed}."] if seed is not None else []
    found += [f"Computed in {seconds}."] if seconds else []
    return " ".join(found)


def percent(value: float) -> str:
    """0.8727 -> "87.3%"."""
    return f"{100 * value:.1f}%"


def headline(
    groups: Sequence[GroupLine], metrics: Sequence[MetricLine], stages: Sequence[StageLine], kept: int
) -> Headline:
    """Title and lead paragraphs. Where no attribute is known the groups are the classes, and the words say so."""
    first = next((g for g in groups if g.worst_before), None)
    last = next((g for g in groups if g.worst_after), None)
    kind = "group" if any(line.name == "Worst-group accuracy" for line in metrics) else "class"
    if first is None or first.before is None:
        done = sum(stage.state == "done" for stage in stages)
        left = ", ".join(stage.name for stage in stages if stage.state != "done")
        still = f"Still to do: {left}." if left else "There are no test figures in this run."
        return Headline(f"{done} of {len(stages)} stages done", [f"{still} The page shows what is there so far."])
    if last is None or last.after is None:
        title = f"The plain classifier’s weakest {kind} is right {percent(first.before.value)} of the time"
        return Headline(title, [f"It is “{first.name}”. The classifier has not been retrained yet."])
    figures = [_verdict(first.before, last.after), *_mean(metrics)]
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
    right = _hits(last.after.value, last.n)
    ending = f"it gets {right} right there, still its weakest {kind}"
    if first.name != last.name:
        ending = f"its weakest {kind} is now “{last.name}”, {right} right"
    worst = f"The plain classifier did worst on “{first.name}”: {_hits(first.before.value, first.n)} right."
    return f"{worst} Retrained{added}, {ending}."


def _verdict(before: Estimate, after: Estimate) -> str:
    if after.low > before.high:
        return "The 95% intervals do not overlap."
    if after.high < before.low:
        return "The 95% intervals do not overlap: balancing did harm here."
    return "The 95% intervals overlap: the difference may be chance."


def _mean(metrics: Sequence[MetricLine]) -> list[str]:
    line = next((m for m in metrics if m.name == "Mean accuracy"), None)
    if line is None or line.before is None or line.after is None:
        return []
    return [f"Over all test images, accuracy went from {percent(line.before)} to {percent(line.after)}."]


def _hits(share: float, n: int) -> str:
    return f"{round(share * n):,} of {n:,}"


def warnings(
    run: Run, metrics: Mapping[str, Any], directions: Sequence[Direction], groups: Sequence[GroupLine]
) -> list[str]:
    """What a careful reader must know before trusting the figures; one sentence or two each."""
    found = [f"{name} made {count:,} rows fail, for example: {message}" for name, count, message in failed_rows(run)]
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
        found.append(f"{few}: read the intervals, not the figures.")
    return found


def rules(run: Run) -> str:
    """The rule that each head went by in each direction, as the stage recorded it."""
    found = [
        f"{run.direction_name(row['from_label'], row['to_label'])}: ψ {row['psi_rule']}, ρ {row['rho_rule']}"
        for row in run.json("prune/summary.json") or []
    ]
    return f"Rules used, {'; '.join(found)}.".replace("_", " ") if found else ""


def _fallbacks(run: Run) -> list[str]:
    found = []
    for row in run.json("prune/summary.json") or []:
        for head in row.get("fallback", ()):
            sign = {"psi": "ψ", "rho": "ρ"}[head]
            name = run.direction_name(row["from_label"], row["to_label"])
            rule = str(row[f"{head}_rule"]).replace("_", " ")
            why = f"the {sign} rule as set would have pruned nearly everything"
            found.append(f"{name}: {why}; the rule “{rule}” was used.")
    return found


def _quarantined(run: Run) -> list[str]:
    files = run.dataset.get("quarantined") or []
    if not files:
        return []
    first = files[0]
    example = f"{first.get('path', '')}: {first.get('reason', '')}" if isinstance(first, dict) else str(first)
    if len(files) == 1:
        return [f"1 image was unreadable and left out, {example}."]
    return [f"{len(files):,} images were unreadable and left out, for example {example}."]


def _leak(run: Run, leak: Mapping[str, Any] | None) -> list[str]:
    if not leak or not leak.get("leaks"):
        return []
    worst = max(leak["by_attribute"], key=lambda row: float(row["label_auroc"]))
    where = f"“{run.attribute_name(worst['attribute'])}”"
    return [
        f"Leak test: among training images of {where}, traces of the generator alone tell the class "
        f"(AUROC {worst['label_auroc']:.2f}). The retrained classifier may have learned them."
    ]


def leak_note(leak: Mapping[str, Any] | None) -> str:
    """The leak test's outcome, alarming or not; empty where it was not made."""
    if not leak or leak.get("auroc") is None:
        return ""
    note = f"Leak test: a probe tells real from generated images with AUROC {leak['auroc']:.2f}"
    highest = max((float(row["label_auroc"]) for row in leak.get("by_attribute") or ()), default=None)
    return f"{note}." if highest is None else f"{note}, and so the class with at most {highest:.2f} (0.5 is chance)."


def selection(metrics: Mapping[str, Any]) -> str:
    """How the epoch of the retrained classifier was chosen."""
    found = metrics.get("selection")
    if not isinstance(found, dict):
        return ""
    rule = SELECTION.get(str(found.get("selection")), str(found.get("selection")))
    return f"The retrained classifier is that of epoch {found.get('epoch')}, chosen by {rule}."
