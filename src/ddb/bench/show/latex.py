"""Tables as LaTeX (booktabs)."""

from __future__ import annotations

from ddb.bench.show.tables import Table

_SIGNS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": r"$-$", "✓": r"\checkmark{}",
    "✗": r"$\times$", "×": r"$\times$", "→": r"$\to$", "ψ": r"$\psi$", "ρ": r"$\rho$", "–": "--",
}  # fmt: skip


def latex(table: Table) -> str:
    """A table environment with caption and label; it needs the packages booktabs and amssymb."""
    columns = "l" + "r" * (len(table.columns) - 1)
    rows = [" & ".join(map(escaped, row)) + r" \\" for row in table.rows]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(' '.join([table.title + '.', *table.notes]))}}}",
        rf"\label{{tab:{table.key}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(escaped, table.columns)) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Text with LaTeX's special characters escaped and symbols replaced by commands."""
    return "".join(_SIGNS.get(sign, sign) for sign in text)
