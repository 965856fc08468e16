"""The bench on a miniature: what is shared, that it resumes, and that its tables say what the records say."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bench_runs import Finished, config, options, records, run, tree
from ddb.bench.folder import Folder
from ddb.bench.show.tables import tables
from ddb.errors import ConfigError, DDBError


def test_every_method_is_tried_with_the_same_number_of_settings(finished: Finished) -> None:
    fits = records(finished.out, "fits")
    first = [fit["method"] for fit in fits if fit["seed"] == 0]
    assert {name: first.count(name) for name in set(first)} == {"erm": 4, "dfr_val": 4, "ddb": 4}
    second = {fit["method"]: fit["setting"] for fit in fits if fit["seed"] == 1}
    scores = {score["method"]: score["setting"] for score in records(finished.out, "scores") if score["seed"] == 0}
    assert second == scores  # what the first seed chose
    assert len([fit for fit in fits if fit["seed"] == 1]) == 3


def test_the_chosen_setting_has_the_best_validation_figures(finished: Finished) -> None:
    for score in records(finished.out, "scores"):
        own = [f for f in records(finished.out, "fits") if (f["method"], f["seed"]) == (score["method"], score["seed"])]
        assert score["figures"] == max(fit["figures"] for fit in own)


def test_one_erm_model_a_seed_is_shared(finished: Finished) -> None:
    (model,) = (finished.out / "seed-0/run").glob("1-erm/*/classifier/model.safetensors")
    fit = next(f for f in records(finished.out, "fits") if f["method"] == "erm" and not f["setting"] and not f["seed"])
    assert fit["facts"] == {"shared": 1}
    variants = list((finished.out / "seed-0/variants").iterdir())
    assert len(variants) == 3  # ddb's other settings
    for variant in variants:
        (own,) = variant.glob("1-erm/*/classifier/model.safetensors")
        assert own.read_bytes() == model.read_bytes()
        events = (variant / "events.jsonl").read_text()
        assert '"stage": "inpaint"' not in events  # later stages alone


def test_weights_of_settings_that_lost_and_checkpoints_are_gone(finished: Finished) -> None:
    kept = [path.parent.name.partition("-")[0] for path in finished.out.glob("seed-*/fits/*/classifier.json")]
    assert sorted(kept) == ["dfr_val", "dfr_val", "erm", "erm"]  # at two seeds; ddb's lie in its run folders
    assert len(list(finished.out.glob("seed-0/*/7-retrain/*/classifier/classifier.json"))) == 1
    assert len(list(finished.out.glob("seed-0/variants/*/7-retrain/*/classifier/classifier.json"))) == 3
    assert not list(finished.out.glob("seed-*/work/*"))


def test_figures_are_those_of_the_records(finished: Finished) -> None:
    """Worst groups, means, adjusted means, intervals and paired differences, computed anew from the JSON files."""
    scores = records(finished.out, "scores")
    worst = {}
    for method in finished.results.methods:
        tests = [s["test"] for s in sorted(scores, key=lambda s: s["seed"]) if s["method"] == method.name]
        values = np.array([min(group["accuracy"] for group in test["groups"]) for test in tests])
        worst[method.name] = values
        assert method.worst.value == pytest.approx(values.mean())
        if values.std():
            ends = stats.t.interval(0.95, 1, loc=values.mean(), scale=stats.sem(values))
            assert (method.worst.low, method.worst.high) == pytest.approx(ends)
        sizes = np.array([45, 2, 1, 12]) / 60  # of the training groups, as the run prints them
        adjusted = [sum(g["accuracy"] * n for g, n in zip(test["groups"], sizes, strict=True)) for test in tests]
        assert method.adjusted is not None
        assert method.adjusted.value == pytest.approx(np.mean(adjusted))
        right = [sum(round(g["accuracy"] * g["n"]) for g in test["groups"]) / 24 for test in tests]
        assert method.mean.value == pytest.approx(np.mean(right))
    for method in finished.results.methods[:2]:
        gap = worst["ddb"] - worst[method.name]
        assert method.difference is not None
        assert method.difference.value == pytest.approx(gap.mean())
        if gap.std():
            ends = stats.ttest_rel(worst["ddb"], worst[method.name]).confidence_interval(0.95)
            assert (method.difference.low, method.difference.high) == pytest.approx((ends.low, ends.high))
    assert finished.results.methods[2].difference is None


def test_tables_and_csv_show_these_figures(finished: Finished) -> None:
    main = tables(finished.results)[0]
    for row, method in zip(main.rows, finished.results.methods, strict=True):
        assert row[2] == f"{100 * method.worst.value:.1f} ± {100 * (method.worst.high - method.worst.value):.1f}"
    paper = [row[-1] for row in main.rows]
    assert paper == ["74.6", "92.9", "93.0"]  # ERM, DFR and ddb on Waterbirds
    assert [row[1] for row in main.rows] == ["✗ / ✓", "✗ / ✓✓", "✗ / ✓"]
    with (finished.out / "results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    found = {line["name"]: line for line in lines if line["figure"] == "worst_group_accuracy"}
    for method in finished.results.methods:
        assert float(found[method.name]["value"]) == pytest.approx(method.worst.value, abs=1e-6)
        assert found[method.name]["interval"] == "t"
    latex = (finished.out / "tables/main.tex").read_text()
    assert all(row[2].replace("±", r"$\pm$") in latex for row in main.rows)
    assert json.loads((finished.out / "results.json").read_text())["methods"][0]["worst"]["seeds"] == 2


def test_label_use_is_counted(finished: Finished) -> None:
    assert {m.name: (m.labels.train_groups, m.labels.val_groups, m.labels.count) for m in finished.results.methods} == {
        "erm": (False, "select", 24),
        "dfr_val": (False, "train", 24),
        "ddb": (False, "select", 24),
    }


def test_a_finished_bench_is_not_made_again(finished: Finished, tmp_path: Path) -> None:
    out = Path(shutil.copytree(finished.out, tmp_path / "copy", symlinks=True))
    before, fits = tree(out), (out / "events.jsonl").read_text().count('"event": "fit"')
    assert run(finished.config, finished.options, out) == finished.results
    assert tree(out) == before
    assert (out / "events.jsonl").read_text().count('"event": "fit"') == fits


def test_a_bench_that_stops_at_any_record_ends_like_an_unbroken_one(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process goes away where the n-th record would be written: that fit alone is made again."""
    out, write, left = tmp_path / "out", Folder.write, [0]

    def stopping(self: Folder, key: object, record: dict[str, object]) -> dict[str, object]:
        if not left[0]:
            raise Gone
        left[0] -= 1
        return write(self, key, record)  # type: ignore[arg-type]

    monkeypatch.setattr(Folder, "write", stopping)
    for more in (2, 5, 3):
        left[0] = more
        with pytest.raises(Gone):
            run(finished.config, finished.options, out)
        assert len([*records(out, "fits"), *records(out, "scores")]) == sum((2, 5, 3)[: (2, 5, 3).index(more) + 1])
    left[0] = 100
    assert run(finished.config, finished.options, out) == finished.results
    assert 100 - left[0] + 10 == len([*records(out, "fits"), *records(out, "scores")])  # nothing twice
    assert tree(out) == tree(finished.out)


class Gone(BaseException):
    """Nothing catches it."""


def test_other_settings_do_not_enter_a_folder(finished: Finished, birds: Path) -> None:
    with pytest.raises(DDBError, match=r"config\.erm\.lr"):
        run(config(birds, erm={"lr": 0.5}), finished.options, finished.out)


def test_one_seed_says_that_it_has_no_interval(finished: Finished, tmp_path: Path) -> None:
    out = Path(shutil.copytree(finished.out, tmp_path / "copy", symlinks=True))
    results = run(finished.config, options(seeds=1), out)
    assert {method.worst.kind for method in results.methods} == {"wilson"}
    assert "One seed only: no interval over seeds" in tables(results)[0].notes[0]
    assert "One seed only" in (out / "bench.html").read_text()
    assert results.methods[0].difference is not None
    assert results.methods[0].difference.half is None


def test_without_groups_methods_that_need_them_are_refused_or_left_out(birds: Path, tmp_path: Path) -> None:
    """A folder of class folders has no groups."""
    plain = tmp_path / "plain"
    for line in list(csv.DictReader((birds / "metadata.csv").open(newline=""))):
        split = ("train", "val", "test")[int(line["split"])]
        home = plain / split / ("landbird", "waterbird")[int(line["y"])]
        name = line["img_filename"].replace("/", "-")
        for source, to in ((birds, home), (birds / "masks", tmp_path / "masks" / home.relative_to(plain))):
            to.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / line["img_filename"], to / name)
    given = {"backend": "given", "masks": str(tmp_path / "masks")}
    own = config(birds, data={"source": "folder", "root": str(plain)}, segment=given)
    asked = {"seeds": 1, "select": "worst_class", "search": "off", "tables": ("1",)}
    with pytest.raises(ConfigError, match=r"GroupDRO: trains with the group .* has none"):
        run(own, options(["erm", "group_dro"], **asked), tmp_path / "out")
    with pytest.raises(ConfigError, match="--select worst_group needs the group of every validation image"):
        run(own, options(["erm"], **asked | {"select": "worst_group"}), tmp_path / "other")
    results = run(own, options(["erm", "group_dro", "afr", "disc"], named=False, **asked), tmp_path / "out")
    assert [method.name for method in results.methods] == ["erm", "afr"]
    assert set(results.left_out) == {"group_dro", "disc"}
    assert not results.grouped
    assert tables(results)[0].columns[2] == "Worst class"
    page = (tmp_path / "out" / "bench.html").read_text()
    assert "Left out: GroupDRO: trains with the group" in page
    assert "Test groups are unknown" in page


def test_a_group_without_images_is_named(birds: Path, tmp_path: Path) -> None:
    fewer = Path(shutil.copytree(birds, tmp_path / "birds"))
    with (fewer / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [row for row in rows if (row["split"], row["y"], row["place"]) not in (("0", "1", "0"), ("2", "0", "1"))]
    with (fewer / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)
    own = config(fewer, segment={"masks": str(birds / "masks")})
    asked = options(["erm", "group_dro"], named=False, seeds=1, search="off", tables=("1",))
    results = run(own, asked, tmp_path / "out")
    assert "no training image of the group waterbird / land" in results.left_out["group_dro"]
    assert any(note.startswith("No test image of landbird / water: worst-group accuracy is") for note in results.notes)
    assert any(note.startswith("No training image of waterbird / land") for note in results.notes)


def test_a_warning_is_said_once(birds: Path, tmp_path: Path) -> None:
    log = io.StringIO()
    own = config(birds, prune={"psi": "literal", "rho": "off", "max_pruned": 0.0, "max_rounds": 1})
    run(own, options(["ddb"], seeds=1, search="off"), tmp_path, log)
    warnings = [
        line for line in log.getvalue().splitlines() if line.startswith("warning: Pruning landbird → waterbird")
    ]
    assert len(warnings) == 1
