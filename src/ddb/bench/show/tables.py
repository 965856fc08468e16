"""Results -> tables of text, the same for terminal, LaTeX and page. Accuracies are percent with one decimal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ddb.bench.show.intervals import Estimate
from ddb.bench.show.results import ArmScore, Labels, MethodScore, Results
from ddb.bench.studies.arms import COUNTS, INVERSION, PRUNING

NONE = "–"
YES, NO = "✓", "✗"


@dataclass(frozen=True)
class Table:
    """`key`: name of its file; `columns`: headings; `rows`: cells, as many; `notes`: sentences below it."""

    key: str
    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: list[str]


def tables(results: Results) -> list[Table]:
    """Those that were asked for, in order."""
    build: dict[str, Callable[[Results], Table]] = {
        "1": main_table,
        "2": pruning_table,
        "3": inversion_table,
        "counts": counts_table,
        "labels": labels_table,
    }
    return [build[name](results) for name in results.tables]


def main_table(results: Results) -> Table:
    rows = [
        (
            method.title,
            group_labels(method.labels),
            interval(method.worst),
            interval(method.mean),
            interval(method.adjusted),
            difference(method.difference),
            percent(method.paper),
        )
        for method in results.methods
    ]
    columns = ("Method", "Groups", worst_name(results), "Mean", "Adjusted mean", "ddb − method", "Paper")
    return Table("main", "Methods", columns, rows, [*interval_notes(results), _MAIN_NOTE])


def pruning_table(results: Results) -> Table:
    """A row a direction with what each head pruned, then worst-group accuracy with none, each and both."""
    arms = {arm.name: arm for arm in results.studies[PRUNING]}
    rows: list[tuple[str, ...]] = [
        (row.name, count(row.generated), count(row.pruned_psi), count(row.pruned_rho), count(row.kept))
        + (percent(row.oracle_before), percent(row.oracle_after), "", "", "", "")
        for row in arms["both"].directions
    ]
    total = arms["both"].total
    worst = tuple(interval(arms[name].worst) for name in ("none", "psi", "rho", "both"))
    rows.append(
        ("all", count(total.generated), count(total.pruned_psi), count(total.pruned_rho), count(total.kept))
        + (percent(total.oracle_before), percent(total.oracle_after), *worst)
    )
    columns = ("Direction", "Generated", "ψ prunes", "ρ prunes", "Kept", "Right before", "Right after")
    notes = [
        *interval_notes(results),
        judge_note(results),
        "Both heads may prune the same image. Counts are means over seeds.",
    ]
    paper = [arms[name].paper for name in ("none", "both")]
    if None not in paper:
        notes.append(f"Paper, full-size set: {percent(paper[0])} without pruning, {percent(paper[1])} with both heads.")
    return Table(
        "pruning", "Pruning", (*columns, *(f"{worst_name(results, short=True)} {name}" for name in _HEADS)), rows, notes
    )


def inversion_table(results: Results) -> Table:
    rows = [
        (arm.name, count(arm.total.generated), count(arm.total.pruned), percent(arm.total.oracle_before))
        + (percent(arm.total.oracle_after), interval(arm.worst))
        + (NONE if arm.paper_pruned is None else f"{arm.paper_pruned:,}", percent(arm.paper))
        for arm in results.studies[INVERSION]
    ]
    columns = ("Images a token", "Generated", "Pruned", "Right before", "Right after", worst_name(results))
    notes = [*interval_notes(results), judge_note(results), "0: no token, the class's name in the prompt."]
    return Table("inversion", "Inversion", (*columns, "Paper: pruned", "Paper: WGA"), rows, notes)


def counts_table(results: Results) -> Table:
    rows = [_counts_row(arm) for arm in results.studies[COUNTS]]
    columns = ("Amount", "Generated", "Kept", "Right after", worst_name(results), "Mean")
    notes = [*interval_notes(results), judge_note(results), _COUNTS_NOTE]
    return Table("counts", "Number of counterfactuals", columns, rows, notes)


def labels_table(results: Results) -> Table:
    """Methods by the number of images whose group they were told, fewest first, then by accuracy."""
    ordered = sorted(results.methods, key=lambda method: (method.labels.count, -method.worst.value))
    rows = [
        (
            method.title,
            YES if method.labels.train_groups else NO,
            {"": NO, "select": "selects", "train": "trains"}[method.labels.val_groups],
            YES if method.labels.images else NO,
            f"{method.labels.count:,}",
            interval(method.worst),
        )
        for method in ordered
    ]
    columns = ("Method", "Training groups", "Validation groups", "Generated images", "Group labels seen")
    return Table("labels", "Label budget", (*columns, worst_name(results)), rows, interval_notes(results))


def worst_name(results: Results, *, short: bool = False) -> str:
    if short:
        return "WGA" if results.grouped else "WCA"
    return "Worst group" if results.grouped else "Worst class"


def interval_notes(results: Results) -> list[str]:
    """How the intervals were made."""
    seeds = len(results.seeds)
    if seeds == 1:
        return [
            "One seed only: no interval over seeds. Ranges are 95% Wilson intervals of this one run's test images; "
            "they say nothing of how another seed would turn out."
        ]
    return [f"Means over {seeds} seeds ± half the 95% t-interval; differences are paired by seed."]


def judge_note(results: Results) -> str:
    if results.judge is None:
        return "Right: not known, there is no judge for this data set."
    return (
        f"Right: share that shows its class, by a judge that is right on {percent(results.judge)}% of unseen renders."
    )


def group_labels(labels: Labels) -> str:
    """As in papers: training / validation, two marks where validation groups are trained on."""
    val = {"": NO, "select": YES, "train": YES + YES}[labels.val_groups]
    return f"{YES if labels.train_groups else NO} / {val}"


def percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.1f}"


def interval(estimate: Estimate | None) -> str:
    """ "87.1 ± 2.3" over seeds, "87.1 (84.0–89.6)" of one run."""
    if estimate is None:
        return NONE
    if estimate.half is not None:
        return f"{percent(estimate.value)} ± {100 * estimate.half:.1f}"
    if estimate.low is not None:
        return f"{percent(estimate.value)} ({percent(estimate.low)}–{percent(estimate.high)})"
    return percent(estimate.value)


def difference(estimate: Estimate | None) -> str:
    """In points, with its sign."""
    if estimate is None:
        return NONE
    text = points(estimate.value, 1)
    return text if estimate.half is None else f"{text} ± {100 * estimate.half:.1f}"


def points(value: float, digits: int = 0) -> str:
    """Percentage points with their sign, a true minus."""
    return f"{100 * value:+.{digits}f}".replace("-", "−")


def count(value: float) -> str:
    return f"{value:,.0f}"


def _counts_row(arm: ArmScore) -> tuple[str, ...]:
    total = arm.total
    return (
        f"{arm.name} ×", count(total.generated), count(total.kept), percent(total.oracle_after), interval(arm.worst),
        interval(arm.mean),
    )  # fmt: skip


def best(methods: Sequence[MethodScore]) -> MethodScore:
    """The one with the highest worst-group accuracy."""
    return max(methods, key=lambda method: method.worst.value)


_HEADS = ("none", "ψ", "ρ", "both")
_MAIN_NOTE = (
    "Groups: labels of training / validation images (✓✓: trained on). Adjusted mean: groups weighted by their share of "
    "the training images. Paper: the method's own figure there for the full-size set of the same name."
)
_COUNTS_NOTE = (
    "Amount: counterfactuals painted in each direction, in units of its smaller class; above 1, sources are painted "
    "again."
)
