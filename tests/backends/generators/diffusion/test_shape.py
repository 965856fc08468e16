"""How painting begins: the batch size by memory, and whether the UNet is compiled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from ddb.backends import Task
from ddb.backends.generators.diffusion import shape
from ddb.backends.generators.diffusion.network.model import Diffusion
from ddb.backends.generators.diffusion.network.unet import one_pass
from ddb.backends.registry import painting_values
from ddb.config import LatentDiffusionConfig, inpaint_config
from ddb.context import Context, Models
from ddb.data.table import Dataset

from .test_generator import PAINT, opened, paint

GIGA = 10**9


@pytest.mark.parametrize(
    ("free", "one", "two", "size"),
    [
        (80 * GIGA, 3 * GIGA, 5 * GIGA, 32),  # 32 x 2 + 1 = 65 of 68
        (76 * GIGA, 3 * GIGA, 5 * GIGA, 16),  # 65 of 64.6
        (8 * GIGA, 3 * GIGA, 5 * GIGA, 2),
        (4 * GIGA, 3 * GIGA, 5 * GIGA, 1),
        (1 * GIGA, 3 * GIGA, 5 * GIGA, 1),  # painting halves nothing below one image, and says so
        (10**15, 3 * GIGA, 5 * GIGA, shape.MOST),
        (8 * GIGA, 3 * GIGA, 3 * GIGA, shape.MOST),
    ],
)
def test_the_batch_is_the_largest_power_of_two_that_fits(free: int, one: int, two: int, size: int) -> None:
    assert shape.fitting(free, one, two) == size


def test_auto_is_a_constant_without_a_gpu_and_a_number_is_taken(nine: Diffusion) -> None:
    models, context = Models(), Context(cast(Dataset, None), 0, "cpu", "fp32", Path())
    models.open("latent diffusion tiny", lambda: nine)
    sizes = [
        painting_values(PAINT.model_copy(update={"batch_size": size}), context, models, 1)[0] for size in ("auto", 5)
    ]
    assert sizes == [8, 5]


@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_what_is_probed_on_a_gpu_decides(nine: Diffusion, strength: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the device's numbers replaced: one and two images are painted, and the batch follows from what they took."""
    painted: list[int] = []
    taken = {1: 3 * GIGA, 2: 5 * GIGA}

    def probe(painter: Any, count: int, device: torch.device) -> int:
        painted.append(len(paint(painter, probes(count), count)))
        return taken[count]

    monkeypatch.setattr(shape, "_taken", probe)
    monkeypatch.setattr(shape, "_free", lambda device: 40 * GIGA)
    painter = opened(nine, PAINT.model_copy(update={"batch_size": "auto", "strength": strength}))
    assert shape.probed(painter) == 16 and painted == [1, 2]


def probes(count: int) -> list[Task]:
    draw = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (32, 32, 3), generator=draw).to(torch.uint8).numpy()
    return [Task(image, image[..., 0] >= 0, 1, "", 0)] * count


def test_a_device_on_which_two_images_do_not_fit_gets_batches_of_one(
    nine: Diffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe does not halve its batch, as painting does: it would take two halves for two images."""
    for name in ("memory_allocated", "max_memory_allocated", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda device: 0)

    def guard(module: object, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    handle = nine.unet.conv_in.register_forward_pre_hook(guard)
    size = shape.probed(opened(nine, PAINT))
    handle.remove()
    assert size == 1


def test_a_device_that_holds_one_image_gets_batches_of_one(nine: Diffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> int:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(shape, "_taken", full)
    assert shape.probed(opened(nine, PAINT)) == 1


@pytest.mark.parametrize(
    ("setting", "device", "planned", "expected"),
    [
        ("on", "cpu", 1, True),
        ("off", "cuda", 10**6, False),
        ("auto", "cpu", 10**6, False),
        ("auto", "cuda", 10, False),
        ("auto", "cuda", shape.PAYS_FROM, True),
    ],
)
def test_compiling_where_it_pays(
    setting: str, device: str, planned: int, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shape.importlib.util, "find_spec", lambda name: name)
    settings = LatentDiffusionConfig(compile=setting)
    assert shape.compiles(settings, torch.device(device), planned) is expected


def test_auto_compiles_nothing_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shape.importlib.util, "find_spec", lambda name: None)
    assert not shape.compiles(LatentDiffusionConfig(), torch.device("cuda"), shape.PAYS_FROM)


def test_a_batch_size_is_a_number_or_auto() -> None:
    assert inpaint_config(batch_size="auto").batch_size == "auto"
    for wrong in (0, "large", 2.5, True):
        with pytest.raises(ValueError, match="should be a number above 0, or auto"):
            inpaint_config(batch_size=wrong)
    with pytest.raises(ValueError, match="batch_size"):
        inpaint_config(backend="copy_paste", batch_size="auto")


def test_a_pass_is_one_graph_without_breaks(
    nine: Diffusion, tasks: Callable[..., list[Task]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captured by torch.compile (without code generation, which takes a minute): the same images, and one graph for
    guided passes, one for others, one for each with given deep features, whatever the number of steps and batches."""
    graphs: list[Any] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    captured = torch.compile(one_pass, dynamic=False, fullgraph=True, backend=backend)
    settings = PAINT.model_copy(update={"steps": 6, "guidance_end": 0.5, "deep_every": 2})
    plain = paint(opened(nine, settings), tasks(4), 2)
    monkeypatch.setattr(torch, "compile", lambda function, **options: captured)
    compiled = paint(opened(nine.compiled(), settings), tasks(4), 2)
    assert all((a.image == b.image).all() for a, b in zip(plain, compiled, strict=True))
    assert len(graphs) == 4
