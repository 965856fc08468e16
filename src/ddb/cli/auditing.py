"""`ddb audit` and `ddb explain`: what a trained classifier leans on. Nothing is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ddb.cli.options import Data, Device, RunOrPreset, Seed, Set, say
from ddb.cli.outcome import faults_logged

if TYPE_CHECKING:
    from ddb.auditing.run import Audited
    from ddb.config import RunConfig

ModelArgument = Annotated[
    str,
    typer.Argument(metavar="MODEL|RUN", help="Folder, .safetensors or .onnx file, hub id; or a run folder."),
]
Classes = Annotated[
    str | None, typer.Option("--classes", metavar="A,B,...", help="Names of the outputs, where the model has none.")
]
ClassMap = Annotated[
    list[str] | None,
    typer.Option(
        "--class-map", metavar="MODEL=DATA", help="The model's name of a class = the data's; may be repeated."
    ),
]
Backbone = Annotated[
    str | None, typer.Option("--backbone", metavar="NAME", help="timm's architecture of a bare state dict.")
]
Size = Annotated[int | None, typer.Option("--size", metavar="PIXELS", min=1, help="Side of the model's input.")]
Crop = Annotated[float | None, typer.Option("--crop", metavar="SHARE", help="ONNX: share of the picture that it sees.")]
Mean = Annotated[str | None, typer.Option("--mean", metavar="R,G,B", help="ONNX: mean of pixels in [0, 1].")]
Std = Annotated[str | None, typer.Option("--std", metavar="R,G,B", help="ONNX: their standard deviation.")]
Layout = Annotated[
    str, typer.Option("--layout", metavar="NAME", help="ONNX: nchw or nhwc; default: what its input says.")
]
Outputs = Annotated[
    str, typer.Option("--outputs", metavar="NAME", help="ONNX: logits or probabilities; default: what they are.")
]


def audit(
    model: ModelArgument,
    data: Data = None,
    preset: RunOrPreset = None,
    overrides: Set = None,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="RUN", help="Run folder with counterfactuals of the same data.")
    ] = None,
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="train, val, test or all.")] = "test",
    images: Annotated[
        int, typer.Option("--images", metavar="N", min=1, help="Images for the measures that need masks, at most.")
    ] = 500,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the results; default: runs/audit-NAME.")
    ] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write the figures as JUnit XML as well.")
    ] = None,
    fail_under: Annotated[
        str, typer.Option("--fail-under", metavar="NAME=SHARE,...", help="Exit with 1 where a figure is lower.")
    ] = "",
    classes: Classes = None,
    class_map: ClassMap = None,
    backbone: Backbone = None,
    size: Size = None,
    crop: Crop = None,
    mean: Mean = None,
    std: Std = None,
    layout: Layout = "",
    outputs: Outputs = "",
    device: Device = None,
    seed: Seed = None,
) -> None:
    """Measure what a trained classifier leans on. Nothing is trained."""
    from ddb.auditing.bars import parse_bars
    from ddb.auditing.predictors.options import ModelOptions, numbers, pairs
    from ddb.auditing.run import Asked
    from ddb.auditing.run import audit as measure
    from ddb.auditing.settings import default_out

    bars = parse_bars(fail_under)
    options = ModelOptions(
        _names(classes), pairs(class_map, "--class-map"), backbone, size, crop,
        numbers(mean, "--mean"), numbers(std, "--std"), layout, outputs,
    )  # fmt: skip
    config = _config(model, run, preset, overrides, data, (seed, device))
    folder = out or default_out("audit", config)
    with faults_logged(folder):
        done = measure(model, config, options=options, asked=Asked(split, images, run, folder), bars=bars, say=say)
    _tell(done, bars, junit)


def explain(
    model: ModelArgument,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Files, or paths below the data's root.")],
    data: Data = None,
    preset: RunOrPreset = None,
    overrides: Set = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the results; default: runs/explain-NAME.")
    ] = None,
    classes: Classes = None,
    class_map: ClassMap = None,
    backbone: Backbone = None,
    size: Size = None,
    crop: Crop = None,
    mean: Mean = None,
    std: Std = None,
    layout: Layout = "",
    outputs: Outputs = "",
    device: Device = None,
    seed: Seed = None,
) -> None:
    """Say what the prediction on single images leans on."""
    from ddb.auditing.explain.run import explain as find
    from ddb.auditing.predictors.options import ModelOptions, numbers, pairs
    from ddb.auditing.settings import default_out

    options = ModelOptions(
        _names(classes), pairs(class_map, "--class-map"), backbone, size, crop,
        numbers(mean, "--mean"), numbers(std, "--std"), layout, outputs,
    )  # fmt: skip
    config = _config(model, None, preset, overrides, data, (seed, device))
    folder = out or default_out("explain", config)
    with faults_logged(folder):
        done = find(model, images, config, options=options, out=folder, say=say)
    for one in done.found:
        print(f"{one.id}: {one.sentence}")
    print(done.page)
    print(done.figures)


def _names(text: str | None) -> tuple[str, ...]:
    return () if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


def _config(
    model: str,
    run: Path | None,
    preset: str | None,
    overrides: list[str] | None,
    data: Path | None,
    replaced: tuple[int | None, str | None],
) -> RunConfig:
    """The settings: of the preset or file, else of the run, else of `photos`. `replaced`: seed and device."""
    from ddb.auditing.settings import run_of, settings_of

    own = [f"{name}={value}" for name, value in zip(("seed", "device"), replaced, strict=True) if value is not None]
    return settings_of(preset, run or run_of(model), [*own, *(overrides or ())], data, say)


def _tell(done: Audited, bars: dict[str, float], junit: Path | None) -> None:
    """Print the figures and files of an audit. DDBError with a line for each missed bar."""
    from ddb.auditing.bars import verdicts
    from ddb.auditing.show.junit import write_junit
    from ddb.errors import DDBError

    decided = verdicts(done.found, bars)
    if junit is not None:
        write_junit(decided, done.found.about.model, junit)
    for one in decided:
        if one.figure is not None:
            print(
                f"{one.name:<24}{one.figure.value:.3f}  {one.figure.low:.3f} to {one.figure.high:.3f}  n {one.figure.n}"
            )
    print(done.page)
    print(done.figures)
    if missed := [one.sentence for one in decided if one.missed]:
        raise DDBError("\nddb: ".join(missed))
