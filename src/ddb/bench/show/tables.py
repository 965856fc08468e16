"""Results -> tables of text for terminal, LaTeX and page. Accuracies are in percent with one decimal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ddb.bench.show.intervals import MeanWithInterval
from ddb.bench.show.results import ArmScore, Labels, MethodScore, Results
from ddb.bench.studies.arms import COUNTS, INVERSION, PRUNING

NONE = "–"
YES, NO = "✓", "✗"


@dataclass(frozen=True)
class Table:
    """`key`: its name in file names and on the page; `columns`: headings; `rows`: as many cells each; `notes`:
    sentences below the table."""

    key: str
    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: list[str]


def tables(results: Results) -> list[Table]:
    """The tables that were asked for, in order."""
    build: dict[str, Callable[[Results], Table]] = {
        "1": main_table,
        "2": pruning_table,
        "3": inversion_table,
        "counts": counts_table,
        "labels": labels_table,
    }
    return [build[name](results) for name in results.tables]


def main_table(results: Results) -> Table:
    """A row per method: accuracies, ddb's lead over it, and the paper's figure."""
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
    """A row per direction with counts by verdict; the last row has the worst-group accuracy of every arm."""
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
    columns = ("Direction", "Generated", "Rejected by ψ", "by ρ", "Kept", "Right before", "Right after")
    notes = [
        *interval_notes(results),
        oracle_note(results),
        "An image can be rejected by both tests. Counts are means over seeds.",
    ]
    paper = [arms[name].paper for name in ("none", "both")]
    if None not in paper:
        notes.append(f"Paper, full-size set: {percent(paper[0])} without pruning, {percent(paper[1])} with both tests.")
    return Table(
        "pruning", "Pruning", (*columns, *(f"{worst_name(results, short=True)} {name}" for name in _HEADS)), rows, notes
    )


def inversion_table(results: Results) -> Table:
    """A row per number of images that a token is learned from."""
    rows = [
        (arm.name, count(arm.total.generated), count(arm.total.pruned), percent(arm.total.oracle_before))
        + (percent(arm.total.oracle_after), interval(arm.worst))
        + (NONE if arm.paper_pruned is None else f"{arm.paper_pruned:,}", percent(arm.paper))
        for arm in results.studies[INVERSION]
    ]
    columns = ("Images per token", "Generated", "Pruned", "Right before", "Right after", worst_name(results))
    notes = [*interval_notes(results), oracle_note(results), "0: no token, the class's name in the prompt."]
    return Table("inversion", "Inversion", (*columns, "Paper: pruned", "Paper: WGA"), rows, notes)


def counts_table(results: Results) -> Table:
    """A row per number of counterfactuals."""
    rows = [_counts_row(arm) for arm in results.studies[COUNTS]]
    columns = ("Amount", "Generated", "Kept", "Right after", worst_name(results), "Mean")
    notes = [*interval_notes(results), oracle_note(results), _COUNTS_NOTE]
    return Table("counts", "Number of counterfactuals", columns, rows, notes)


def labels_table(results: Results) -> Table:
    """Methods by the number of group labels that they used, fewest first, then by accuracy."""
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
    columns = ("Method", "Training groups", "Validation groups", "Generated images", "Group labels used")
    return Table("labels", "Label budget", (*columns, worst_name(results)), rows, interval_notes(results))


def worst_name(results: Results, *, short: bool = False) -> str:
    """What the worst accuracy is of: groups, or classes where groups are unknown."""
    if short:
        return "WGA" if results.grouped else "WCA"
    return "Worst group" if results.grouped else "Worst class"


def interval_notes(results: Results) -> list[str]:
    """How the intervals were computed."""
    seeds = len(results.seeds)
    if seeds == 1:
        return [
            "One seed only: no interval over seeds. Ranges are 95% Wilson intervals over the test images of this run; "
            "they do not cover the variation between seeds."
        ]
    return [f"Means over {seeds} seeds ± half the 95% t-interval; differences are paired by seed."]


def oracle_note(results: Results) -> str:
    """What "right" means in the columns on the quality of counterfactuals."""
    if results.oracle is None:
        return "Right: not known, there is no oracle for this data set."
    return (
        "Right: share in which the oracle, a classifier trained on balanced renders, recognises the painted class; it "
        f"is right on {percent(results.oracle)}% of unseen renders."
    )


def group_labels(labels: Labels) -> str:
    """Group labels used of training / validation images; two marks where validation groups are trained on."""
    val = {"": NO, "select": YES, "train": YES + YES}[labels.val_groups]
    return f"{YES if labels.train_groups else NO} / {val}"


def percent(value: float | None) -> str:
    """0.871 -> "87.1"."""
    return NONE if value is None else f"{100 * value:.1f}"


def interval(mean: MeanWithInterval | None) -> str:
    """ "87.1 ± 2.3" over seeds, "87.1 (84.0–89.6)" of one run."""
    if mean is None:
        return NONE
    if mean.half is not None:
        return f"{percent(mean.value)} ± {100 * mean.half:.1f}"
    if mean.low is not None:
        return f"{percent(mean.value)} ({percent(mean.low)}–{percent(mean.high)})"
    return percent(mean.value)


def difference(mean: MeanWithInterval | None) -> str:
    """A difference in percentage points, with its sign."""
    if mean is None:
        return NONE
    text = points(mean.value, 1)
    return text if mean.half is None else f"{text} ± {100 * mean.half:.1f}"


def points(value: float, digits: int = 0) -> str:
    """Percentage points with their sign, a true minus."""
    return f"{100 * value:+.{digits}f}".replace("-", "−")


def count(value: float) -> str:
    """1234.4 -> "1,234"."""
    return f"{value:,.0f}"


def _counts_row(arm: ArmScore) -> tuple[str, ...]:
    total = arm.total
    return (
        f"{arm.name} ×", count(total.generated), count(total.kept), percent(total.oracle_after), interval(arm.worst),
        interval(arm.mean),
    )  # fmt: skip


def best(methods: Sequence[MethodScore]) -> MethodScore:
    """The method with the highest worst-group accuracy."""
    return max(methods, key=lambda method: method.worst.value)


_HEADS = ("none", "ψ", "ρ", "both")
_MAIN_NOTE = (
    "Groups: group labels used of training / validation images (✓✓: trained on). Adjusted mean: groups weighted by "
    "their share of the training images. Paper: accuracy that the paper reports on the full-size data set of that name."
)
_COUNTS_NOTE = (
    "Amount: counterfactuals painted in each direction, as a multiple of its smaller class; above 1, sources are used "
    "more than once."
)
