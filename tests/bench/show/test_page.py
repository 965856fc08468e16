"""LaTeX and page: complete, escaped, true to the figures."""

from __future__ import annotations

import io
import re
from dataclasses import replace

from bench_runs import Finished
from ddb.bench.show.intervals import MeanWithInterval
from ddb.bench.show.latex import escaped, latex
from ddb.bench.show.page import page, title
from ddb.bench.show.results import ArmScore, DirectionScore, Results
from ddb.bench.show.tables import interval, tables
from ddb.bench.show.terminal import show

HOSTILE = "<script>alert(1)</script> {{ 7*7 }} \" ' & 100% \\x_y"


def studied(results: Results) -> Results:
    """The same with made-up studies of every kind."""
    total = DirectionScore("a → b", 100, 20, 30, 40, 60, 0.7, 0.9)

    def arms(*names: str) -> list[ArmScore]:
        values = [MeanWithInterval(0.5 + 0.05 * n, 0.4 + 0.05 * n, 0.6 + 0.05 * n, 2, "t") for n in range(len(names))]
        return [
            ArmScore(name, total, [total], value, value, 0.9, 737) for name, value in zip(names, values, strict=True)
        ]

    studies = {
        "pruning": arms("none", "psi", "rho", "both"),
        "inversion": arms("0", "10", "20", "30", "40"),
        "counts": arms("0", "1", "4"),
    }
    return replace(results, tables=["1", "2", "3", "counts", "labels"], studies=studies, oracle=0.99)


def test_page_loads_nothing_and_escapes_names(finished: Finished) -> None:
    methods = [replace(method, title=HOSTILE) for method in finished.results.methods]
    text = page(replace(studied(finished.results), name=HOSTILE, methods=methods, notes=[HOSTILE]))
    assert "<script" not in text
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<img|<link", text)
    assert "default-src &#39;none&#39;" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; {{ 7*7 }}" in text


def test_page_shows_every_method_group_and_table(finished: Finished) -> None:
    text = page(studied(finished.results))
    for method in finished.results.methods:
        assert interval(method.worst) in text
        for group in method.groups:
            assert group.name in text
            assert interval(group.accuracy) in text
    for part in ("methods", "groups", "labels", "pruning", "inversion", "counts", "settings"):
        assert f'id="{part}"' in text
    assert "arXiv:2503.17226" in text
    assert "the oracle, a classifier trained on balanced renders" in text


def test_title_says_what_the_figures_say(finished: Finished) -> None:
    found = title(finished.results)
    assert finished.results.methods[2].title == "ddb"
    assert f"ddb {100 * finished.results.methods[2].worst.value:.1f}%" in found
    assert "DFR (val)" in found  # trains on validation groups, not on training groups
    alone = replace(finished.results, methods=finished.results.methods[:1])
    assert title(alone) == "Worst-group accuracy: ERM"


def test_page_speaks_of_a_search_where_there_was_one(finished: Finished) -> None:
    both = studied(finished.results)
    assert "Hyperparameters were searched" in page(finished.results)
    assert "without search" not in page(finished.results)
    assert "Hyperparameters were searched" in page(both)
    assert "without search" in page(both)
    alone = page(replace(both, methods=[]))
    assert "Hyperparameters were searched" not in alone
    assert "without search" in alone


def test_studies_become_tables(finished: Finished) -> None:
    found = {table.key: table for table in tables(studied(finished.results))}
    assert list(found) == ["main", "pruning", "inversion", "counts", "labels"]
    assert found["pruning"].rows[-1] == (
        "all", "100", "20", "30", "60", "70.0", "90.0", "50.0 ± 10.0", "55.0 ± 10.0", "60.0 ± 10.0", "65.0 ± 10.0",
    )  # fmt: skip
    assert found["inversion"].rows[0] == ("0", "100", "40", "70.0", "90.0", "50.0 ± 10.0", "737", "90.0")
    assert found["counts"].rows[1] == ("1 ×", "100", "60", "90.0", "55.0 ± 10.0", "55.0 ± 10.0")
    for table in found.values():
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_latex_is_escaped_and_whole(finished: Finished) -> None:
    assert escaped("50% & a_b {x} \\ 1 ± 2 −3 ψ→ρ") == (
        r"50\% \& a\_b \{x\} \textbackslash{} 1 $\pm$ 2 $-$3 $\psi$$\to$$\rho$"
    )
    for table in tables(studied(finished.results)):
        text = latex(table)
        assert text.isascii()
        assert text.count(r" \\") == len(table.rows) + 1
        bare = re.sub(r"\\[\\&%$#_{}]", "", text)
        assert bare.count("{") == bare.count("}")


def test_terminal_shows_tables_and_what_was_left_out(finished: Finished) -> None:
    out = io.StringIO()
    show(replace(studied(finished.results), left_out={"disc": "DISC: needs [concepts]"}), out)
    assert "needs [concepts]" in out.getvalue()
    for method in finished.results.methods:
        assert interval(method.worst) in out.getvalue()
