"""The parts of the report that one works with, in a browser: thresholds, gallery, points; and the page's size."""

from __future__ import annotations

import html
import json
import random
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddb.config import PruneConfig
from ddb.config.load import load_config
from ddb.report import gallery
from ddb.report.page import render, write_report
from ddb.report.reading import Run
from ddb.report.small_pictures import FILE
from ddb.stages import prune
from javascript import answer_of, dom
from report_runs import Folder, photograph

RunFolder = Callable[..., Folder]
HOSTILE = ("</script><script>alert(1)</script>", "{source} $& <img src=x onerror=alert(1)>")
STEPS = """
const set = (selector, value, kind = "input") => {
  const part = document.querySelector(selector);
  if (part.type === "checkbox") part.checked = value; else part.value = value;
  part.dispatchEvent(new Event(kind, { bubbles: true }));
};
const cards = () => [...document.querySelectorAll(".card")];
const badges = () => cards().map((card) => card.querySelector(".verdict").textContent);
"""


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="gallery">(.*?)</script>', text, re.DOTALL)
    assert found
    value: dict[str, Any] = json.loads(found.group(1))
    return value


def in_browser(page: Path, code: str, size: tuple[int, int] = (1400, 1000)) -> Any:
    """The value of the function body `code` in a copy of the page that allows one script more."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text("utf-8"))
    copy = page.with_name("copy.html")
    copy.write_text(text.replace("</body>", f"<pre id=answer></pre><script>{STEPS}{answer_of(code)}</script></body>"))
    found = re.search(r'<pre id="answer">(.*?)</pre>', dom(copy, size), re.DOTALL)
    assert found
    return json.loads(html.unescape(found.group(1)))


@pytest.mark.slow
def test_a_thousand_counterfactuals_fit_into_five_megabytes(run_folder: RunFolder) -> None:
    """Parts of two photographs, 160 pixels a side."""
    run = run_folder(per_direction=500, side=160, draw=photograph)
    text = render(Run(run))
    data = data_of(text)
    assert len(data["pictures"]) == len(data["masks"]) == data["total"] == 1000
    assert all(data["pictures"]) and all(data["masks"]) and all(data["originals"])
    assert len(text.encode()) <= 5_000_000
    assert text.count("data-row=") == 1000 + text.count('<article class="strip"')


def test_of_more_counterfactuals_every_nth_has_a_picture(
    run_folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_folder(per_direction=6)
    monkeypatch.setattr(gallery, "PICTURED", 5)
    data = data_of(render(Run(run)))
    assert [bool(picture) for picture in data["pictures"]] == [n % 3 == 0 for n in range(12)]
    assert len(data["reasons"]) == 12 and "settings" in data["run"]
    monkeypatch.setattr(gallery, "LISTED", 11)
    text = render(Run(run))
    assert len(data_of(text)["reasons"]) == 4, "scores of those with pictures alone"
    assert "settings" not in data_of(text)["run"]
    assert 'class="thresholds"' not in text


def test_small_pictures_are_kept_in_one_file(run_folder: RunFolder) -> None:
    run = run_folder(per_direction=3)
    first = data_of(render(Run(run)))
    file = run.folder("inpaint") / "thumbnails" / FILE
    stamp, asked = file.stat().st_mtime_ns, run.asked["inpaint", "patch"]
    assert data_of(render(Run(run))) == first
    assert (file.stat().st_mtime_ns, run.asked["inpaint", "patch"]) == (stamp, asked)
    file.write_bytes(b"damaged")
    assert data_of(render(Run(run))) == first


def test_scores_on_the_page_are_exact(run_folder: RunFolder) -> None:
    run = run_folder(per_direction=9)
    rows = data_of(render(Run(run)))["run"]["rows"]
    stored = Run(run).table("score", ("psi_from", "rho"))
    assert [np.float32(value) for value in rows["psi"]] == [np.float32(v) for v in stored["psi_from"].to_pylist()]
    assert [np.float32(value) for value in rows["rho"]] == [np.float32(v) for v in stored["rho"].to_pylist()]


def as_decided(run: Folder, config: PruneConfig) -> list[str]:
    inputs = json.loads((run.folder("prune") / "inputs.json").read_text())
    budgets = {tuple(map(int, key.split(">"))): count for key, count in inputs["budgets"].items()}
    means = {int(label): mean for label, mean in inputs["means"].items()}
    verdicts = prune.decide(run.table("score"), run.table("inpaint"), means, config, budgets)  # type: ignore[arg-type]
    return [row["reason"] for row in verdicts]


def decided_run(run_folder: RunFolder, **options: Any) -> Folder:
    """A run folder whose verdicts are those of its rules."""
    run = run_folder(**options)
    reasons = as_decided(run, PruneConfig())
    path = run.folder("prune") / "part-00000.parquet"
    table = pq.read_table(path)
    keep = pa.array([reason == "kept" for reason in reasons])
    table = table.set_column(table.schema.get_field_index("reason"), "reason", pa.array(reasons))
    pq.write_table(table.set_column(table.schema.get_field_index("keep"), "keep", keep), path)
    return Folder(run.root)


def test_sliders_give_verdicts_counts_and_the_line_that_makes_them(run_folder: RunFolder) -> None:
    """For each step: the verdicts on the page are those of `prune.decide` under the settings that the page's line gives
    to `load_config`."""
    run = decided_run(run_folder, per_direction=40)
    page = write_report(run.root)
    rng = random.Random(1)
    steps = [(round(rng.random(), 3), round(rng.uniform(-6, 9), 2), rng.random() < 0.5) for _ in range(12)]
    code = f"""
      const found = [];
      for (const [psi, rho, loose] of {json.dumps([[a, b, c] for a, b, c in steps])}) {{
        set("[data-head=psi] input[type=range]", psi);
        set("[data-head=rho] input[type=number]", rho);
        set("[name=fallback]", loose, "change");
        found.push({{ reasons: Page.reasons, line: document.querySelector(".thresholds code").textContent,
          counts: document.querySelector(".kept-counts").textContent, badges: badges(),
          dots: [...document.querySelectorAll(".scatter .reason-kept")].length }});
      }}
      document.querySelector("[name=reset]").click();
      found.push({{ reasons: Page.reasons, line: document.querySelector(".thresholds code").textContent }});
      return found;
    """
    *found, last = in_browser(page, code)
    words = {"kept": "Kept", "psi": "Rejected by ψ", "rho": "Rejected by ρ", "psi+rho": "Rejected by ψ and ρ"}
    for one in found:
        command = shlex.split(one["line"])
        assert command[:5] == ["ddb", "run", str(run.root / "config.yaml"), "--out", str(run.root)]
        config = load_config(command[2], command[6::2]).prune
        assert config != PruneConfig()
        expected = as_decided(run, config)
        assert one["reasons"] == expected
        assert one["badges"] == [words.get(reason, "Over budget") for reason in expected[:24]]
        assert one["dots"] == expected.count("kept")
        assert sum(map(int, re.findall(r"(\d+) kept", one["counts"]))) == expected.count("kept")
    assert last == {"reasons": as_decided(run, PruneConfig()), "line": ""}


def test_gallery_filters_searches_and_turns_pages(run_folder: RunFolder) -> None:
    run = decided_run(run_folder, per_direction=40)
    page = write_report(run.root)
    found = in_browser(
        page,
        """
      const status = () => document.querySelector(".gallery [role=status]").textContent;
      const found = { all: status(), first: cards().length };
      document.querySelector("[name=next]").click();
      found.second = status();
      set("[name=direction]", "1>0");
      found.direction = [status(), new Set(cards().map((card) => card.querySelector(".name").textContent)).size];
      set("[name=search]", "train/1007");
      found.search = [status(), cards().length];
      set("[name=search]", "no such file");
      found.nothing = [status(), cards().length];
      set("[name=search]", ""); set("[name=direction]", "");
      document.querySelector("[name=verdict][value=kept]").click();
      found.kept = [status(), [...new Set(badges())]];
      document.querySelector("[name=verdict][value='*']").click();
      const dot = document.querySelector(".scatter .dot");
      dot.dispatchEvent(new MouseEvent("click", { bubbles: true }));
      const dialog = document.querySelector("dialog");
      const source = Page.data.sources[Page.data.run.rows.source[dot.dataset.row]];
      found.point = [dialog.open, dialog.textContent.includes(source)];
      dialog.close();
      const chart = document.querySelector(".scatter svg");
      const focusable = [...chart.querySelectorAll("[tabindex='0']")];
      focusable[0].focus();
      const key = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      key("ArrowRight");
      const now = document.activeElement;
      found.keyboard = [focusable.length, now !== focusable[0], now.getAttribute("aria-label")];
      key("Enter");
      found.entered = dialog.open;
      found.hidden = document.querySelector(".without-script").hidden;
      return found;
    """,
    )
    kept = as_decided(run, PruneConfig()).count("kept")
    assert found["all"] == "1 to 24 of 80 shown, 80 in all." and found["first"] == 24
    assert found["second"].startswith("25 to 48 of 80")
    assert found["direction"] == ["1 to 24 of 40 shown, 80 in all.", 1]
    assert found["search"] == ["1 to 1 of 1 shown, 80 in all.", 1]
    assert found["nothing"] == ["0 shown, 80 in all.", 0]
    assert found["kept"] == [f"1 to {min(24, kept)} of {kept} shown, 80 in all.", ["Kept"]]
    assert found["point"] == [True, True]
    assert found["keyboard"][:2] == [1, True] and "ψ" in found["keyboard"][2]
    assert found["entered"] and found["hidden"]


@pytest.mark.parametrize("width", [400, 1400])
def test_no_horizontal_scrolling_with_long_hostile_names(run_folder: RunFolder, width: int, tmp_path: Path) -> None:
    """Chromium has no window below 500 pixels: the page is shown in a frame. Nothing in a name runs."""
    run = decided_run(run_folder, per_direction=12, classes=(HOSTILE[0], HOSTILE[1] + "x" * 120))
    page = write_report(run.root)
    code = """
      document.querySelector(".card .pair").click();
      const wide = [...document.querySelectorAll("body *")].filter((part) => !part.closest(".wide, pre, svg")
        && part.getBoundingClientRect().right > innerWidth + 1).map((part) => part.outerHTML.slice(0, 120));
      return [innerWidth, document.documentElement.scrollWidth, wide, document.querySelectorAll("img[onerror]").length,
        document.querySelector("dialog").textContent];
    """
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text("utf-8"))
    show = f"{STEPS} const value = (() => {{ {code} }})(); parent.postMessage(JSON.stringify(value), '*');"
    (tmp_path / "inner.html").write_text(text.replace("</body>", f"<script>{show}</script></body>"))
    outer = tmp_path / "outer.html"
    listening = "onmessage = (event) => { document.querySelector('pre').textContent = event.data; };"
    frame = f'<iframe src="inner.html" style="width:{width}px;height:900px;border:0"></iframe>'
    outer.write_text(f'<pre id="answer"></pre><script>{listening}</script>{frame}')
    found = re.search(r'<pre id="answer">(.*?)</pre>', dom(outer, (1500, 1000)), re.DOTALL)
    assert found
    inner, scroll, wide, injected, words = json.loads(html.unescape(found.group(1)))
    assert (inner, scroll <= inner, wide, injected) == (width, True, [], 0)
    assert HOSTILE[1] in words and HOSTILE[0] in words


def test_without_javascript_all_figures_are_there(run_folder: RunFolder) -> None:
    text = render(Run(run_folder(per_direction=14)))
    for part in re.findall(r'<[^>]*class="[^"]*only-script[^"]*"[^>]*>', text):
        assert " hidden" in part
    assert re.search(r'<div class="thresholds"[^>]* hidden>', text)
    assert not re.search(r'<div class="without-script"[^>]*hidden', text)
    assert text.count('<article class="strip"') == 24
    assert "With JavaScript this page shows all 28 counterfactuals" in text
