"""The sentences of audit.html."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from ddb.auditing.bars import NAMED, Verdict, verdicts
from ddb.auditing.figures import Figure
from ddb.auditing.record import Audit
from ddb.report.html import percent

SMALL = 30
"""Images below which a cell is warned of."""
USABLE = "ok"


@dataclass(frozen=True)
class Headline:
    """The title of the page and the sentences below it."""

    title: str
    sentences: list[str]


def headline(found: Audit) -> Headline:
    """What the classifier does, and what it leans on as far as the masks tell."""
    worst = found.accuracy.worst_group or found.accuracy.worst_class
    kind = "group" if found.accuracy.worst_group else "class"
    title = f"Worst-{kind} accuracy {percent(worst.accuracy.value)}, overall {percent(found.accuracy.overall.value)}"
    said = [f"The {kind} with the lowest accuracy is “{worst.name}” ({worst.accuracy.n:,} images)."]
    if found.parts is not None:
        moved, phrase = found.parts.surroundings_exchanged, found.about.phrase
        said.append(
            f"With the {phrase} of an image in the surroundings of another class’s image, "
            f"{percent(moved.object_class.value)} are predicted as the {phrase}’s class and "
            f"{percent(moved.surroundings_class.value)} as the class of the surroundings."
        )
        said.append(_lean(found.parts.surroundings_share, phrase))
    return Headline(title, said)


def _lean(around: Figure | None, phrase: str) -> str:
    if around is None:
        return "Exchanging both parts hardly changes the probability of the class."
    between = f"95% interval {percent(around.low)} to {percent(around.high)}"
    return (
        f"Of the change of probability when both parts are exchanged, the surroundings make {percent(around.value)} "
        f"({between}), the {phrase} the rest."
    )


def about(found: Audit) -> str:
    """One line on model, data and run."""
    facts = found.about
    masks = ", ".join(f"{n:,} {'usable' if name == USABLE else name}" for name, n in facts.mask_statuses.items())
    return (
        f"Model: {facts.model}. Data: {facts.data}, split {facts.split}, {facts.images:,} images. "
        f"Masks {facts.masks}: {masks.replace('_', ' ')}. Seed {facts.seed}."
    )


def warnings(found: Audit, decided: list[Verdict]) -> list[str]:
    """Missed bars, what was not measured, and cells with few images."""
    said = [f"Bar missed: {one.sentence}." for one in decided if one.missed]
    said += found.notes
    cells = (*found.accuracy.groups, *found.accuracy.classes)
    small = [cell.name for cell in cells if cell.accuracy.n < SMALL]
    if small:
        said.append(f"Fewer than {SMALL} images in {', '.join(small)}: look at the intervals.")
    unusable = {name: n for name, n in found.about.mask_statuses.items() if name != USABLE}
    total = sum(found.about.mask_statuses.values())
    if sum(unusable.values()) > total / 4:
        listed = ", ".join(f"{n:,} {name}".replace("_", " ") for name, n in unusable.items())
        said.append(f"Of {total:,} images with a mask wanted, {listed}: the other measures are about the rest.")
    return said


def figure_table(found: Audit) -> str:
    """The named figures as an HTML table, for notebooks."""
    row = "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td></tr>"
    rows = [
        Markup(row).format(
            NAMED[one.name].meaning, percent(figure.value), f"{percent(figure.low)}–{percent(figure.high)}", figure.n
        )
        for one in verdicts(found, {})
        if (figure := one.figure) is not None
    ]
    head = Markup("<tr><th>{}</th><th></th><th>95% interval</th><th>n</th></tr>").format(found.about.model)
    return str(Markup("<table>{}{}</table>").format(head, Markup("").join(rows)))
