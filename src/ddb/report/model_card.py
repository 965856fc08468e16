"""README.md of an exported classifier: what it is, how it is opened, its accuracy, and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ddb.report import collect
from ddb.report.charts.interval import Interval
from ddb.report.html import percent
from ddb.report.reading import Run

CARD = "classifier/classifier.json"
USE = {
    "timm": """import timm

model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))""",
    "transformers": """from transformers import AutoImageProcessor, AutoModelForImageClassification

processor = AutoImageProcessor.from_pretrained("FOLDER")
model = AutoModelForImageClassification.from_pretrained("FOLDER").eval()""",
    "ddb": """import ddb

ddb.load_classifier("FOLDER").predict("image.jpg")""",
}
"""Library -> how it opens the folder."""


def base_weights(run: Run) -> str:
    """The name of the weights that the run started from: the setting `erm.classifier` or `erm.weights`; of timm's own
    weights "timm/ARCHITECTURE"."""
    adopted, erm = run.json("adopted.json", "erm"), _settings(run).get("erm") or {}
    weights = adopted.get("weights") or erm.get("weights") or "unknown"
    return f"timm/{erm.get('backbone')}" if weights == "hub" else str(weights)


def model_card(run: Run, licence: str) -> str:
    """The text. `licence`: of the base weights; "" where it is not known."""
    card = run.json(CARD)
    library = card.get("library", "timm")
    parts = [
        _front_matter(library, card),
        f"# {_settings(run).get('name') or run.folder.resolve().name}",
        _purpose(card),
        "## Use",
        *(f"```python\n{USE[name]}\n```" for name in dict.fromkeys((library, "transformers", "ddb"))),
        "## Accuracy before and after",
        "\n".join(_table(run)),
        "Test images; in brackets the 95% Wilson interval. Before: the classifier that the run started from.",
        "## Data",
        _data(run),
        "## Method",
        _method(run),
        "## Versions",
        _versions(run),
        "## Licence",
        _licence(run, licence),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(library: str, card: Mapping[str, Any]) -> str:
    facts = {
        "library_name": library,
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "spurious-correlation", "diffusion-driven-balancing"],
        "license": "other",
    }
    return f"---\n{yaml.safe_dump(facts, sort_keys=False).strip()}\n---"


def _purpose(card: Mapping[str, Any]) -> str:
    how, classes = card.get("preprocessing") or {}, ", ".join(card.get("classes") or [])
    kept = "the whole picture, squeezed to a square" if how.get("crop_mode") == "squash" else "the picture's centre"
    return (
        f"An image classifier ({card.get('architecture')}) for the classes {classes}, in the order of its outputs. "
        "It was retrained with counterfactual images, in order to look at the object and not at what usually surrounds "
        f"it. Input: {how.get('size')} x {how.get('size')} pixels, {kept} ({how.get('interpolation')})."
    )


def _table(run: Run) -> Iterator[str]:
    metrics: dict[str, Any] = run.json("metrics.json", "evaluate")
    yield "| group | test images | before | after |"
    yield "|---|---|---|---|"
    for line in collect.groups(run, metrics):
        yield f"| {line.name} | {line.n:,} | {_share(line.before)} | {_share(line.after)} |"
    for one in collect.metric_lines(metrics):
        if one.percent and one.name.endswith("accuracy"):
            before, after = ("–" if value is None else percent(value) for value in (one.before, one.after))
            yield f"| **{one.name}** | | {before} | {after} |"


def _share(interval: Interval | None) -> str:
    if interval is None:
        return "–"
    if interval.ends is None:
        return percent(interval.value)
    low, high = interval.ends
    return f"{percent(interval.value)} ({100 * low:.1f}–{100 * high:.1f})"


def _data(run: Run) -> str:
    sizes = ", ".join(f"{count:,} {split}" for split, count in collect.split_sizes(run).items())
    found = [f"Images: {sizes}." if sizes else "", f"Classes: {', '.join(run.dataset.get('classes') or [])}."]
    if attributes := run.dataset.get("attributes"):
        found.append(f"Attributes, for the table alone: {', '.join(attributes)}.")
    found.append(f"Fingerprint of the data: `{run.dataset.get('fingerprint', '')[:16]}`.")
    return " ".join(part for part in found if part)


def _method(run: Run) -> str:
    config, metrics = _settings(run), run.json("metrics.json", "evaluate")
    sections: dict[str, Any] = {name: config.get(name) or {} for name in ("inpaint", "segment", "retrain")}
    kept = (metrics.get("counts") or {}).get("kept", 0)
    adopted = run.json("adopted.json", "erm")
    start = "The classifier before was given and not trained" if adopted else "The classifier before was trained by ERM"
    origin = "the classifier before" if sections["retrain"].get("start") == "erm" else "the weights of erm.weights"
    epoch = (metrics.get("selection") or {}).get("epoch")
    return (
        f"Diffusion Driven Balancing. {start}; base weights: `{_public(base_weights(run))}`. Counterfactuals were "
        f"painted with `{sections['inpaint'].get('backend')}` on masks of `{sections['segment'].get('backend')}`, "
        f"scored by that classifier, and {kept:,} of them were kept. Retraining started from {origin} and kept epoch "
        f"{epoch}. Seed {config.get('seed')}."
    )


def _versions(run: Run) -> str:
    found = run.json("environment.json")
    return f"```json\n{json.dumps(found, indent=1)}\n```"


def _licence(run: Run, licence: str) -> str:
    name = _public(base_weights(run))
    if name == "none":
        return "The weights were trained from random ones. The images may have terms of their own."
    if licence:
        return (
            f"The weights were trained from `{name}`, which is under {licence}. The images may add terms of their own."
        )
    return (
        f"Unknown: the weights were trained from `{name}`, whose licence ddb does not know. Look it up, with that of "
        "the images, before you pass this model on."
    )


def _public(weights: str) -> str:
    """The name of weights; of a path on this machine its last part."""
    return Path(weights).name if weights.startswith(("/", "~", ".")) else weights


def _settings(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(run.config_text) or {}
    return found
