"""Explanations of classifiers that read one part by construction, and what cannot be explained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ddb
from audit_worlds import (
    CORNER,
    MIDDLE,
    OPTIONS,
    SIDE,
    object_reader,
    picture,
    quiet,
    settings,
    surroundings_reader,
    torch_model,
    write_world,
)
from ddb.errors import ConfigError, DataError


def explained(model: object, table: Path, out: Path, *images: str | Path, **keywords: object):
    return ddb.explain(model, images, settings(table), out=out, say=quiet, **{"options": OPTIONS, **keywords})


@pytest.mark.parametrize("part", ["object", "surroundings"])
def test_the_part_that_is_read_is_named(part: str, confounded: Path, tmp_path: Path) -> None:
    function = object_reader if part == "object" else surroundings_reader
    (found,) = explained(function, confounded, tmp_path, "test_0_1.png").found
    assert (found.name, found.predicted, found.contrast) == ("cat", "cat", "dog")
    shares, thing, around = found.contributions, found.other_object, found.other_surroundings
    assert shares is not None and thing is not None and around is not None
    assert shares.exact and shares.method == "closed form" and shares.surroundings_share == float(part != "object")
    assert thing.count == around.count == 6 and thing.donor == around.donor == "dog"
    if part == "object":
        assert (thing.predicted, thing.times, around.predicted, around.times) == ("dog", 6, "cat", 6)
        assert found.sentence.startswith(f"Calls this a cat ({found.probability:.2f}) because of the square: with the ")
        assert "with the square of a dog image in the same surroundings it says dog (0.9" in found.sentence
        assert "in surroundings of dog images it still says cat (" in found.sentence
    else:
        assert (thing.predicted, thing.times, around.predicted, around.times) == ("cat", 6, "dog", 6)
        said = f"({around.probability:.2f}, 6 of 6 times)."
        assert found.sentence == (
            f"Calls this a cat ({found.probability:.2f}) because of the surroundings: with the same square in "
            f"surroundings of dog images it says dog {said}"
        )


def test_a_wrong_prediction_is_contrasted_with_the_images_class(tmp_path: Path) -> None:
    table = write_world(tmp_path / "world", balanced=True)
    done = explained(surroundings_reader, table, tmp_path, "test_0_1.png", tmp_path / "world" / "test_1_1.png")
    cat, dog = done.found  # a cat on a sofa is taken for a dog
    assert (cat.name, cat.predicted, cat.contrast) == ("cat", "dog", "cat")
    assert (dog.id, dog.name, dog.predicted) == ("test_1_1.png", "dog", "dog")
    value = json.loads(done.figures.read_text())
    assert [image["id"] for image in value["images"]] == ["test_0_1.png", "test_1_1.png"]
    assert "picture" not in json.dumps(value) and value["schema"] == 1
    page = done.page.read_text()
    assert cat.sentence in page and "http://" not in page and "Closed form" in page


def test_discovered_groups_give_their_names(confounded: Path, tmp_path: Path) -> None:
    rows = [line.split(",")[:3] for line in confounded.read_text().splitlines()[1:]]
    names = {"cat": "meadow", "dog": "couch"}
    groups = tmp_path / "groups.csv"
    groups.write_text("image,name\n" + "".join(f"{path},{names[label]}\n" for path, label, _ in rows))
    tree = settings(confounded).model_dump(mode="json")
    tree["data"]["groups"] = str(groups)
    config = ddb.RunConfig.model_validate(tree)
    done = ddb.explain(surroundings_reader, ["test_0_1.png"], config, options=OPTIONS, out=tmp_path, say=quiet)
    assert "because of the surroundings (meadow): with the same square in surroundings of dog images (couch) it" in (
        done.found[0].sentence
    )


def test_where_nothing_surrounds_the_object_gradients_are_integrated(tmp_path: Path) -> None:
    """The mask covers the whole image: composites cannot be made."""
    table = write_world(tmp_path / "world", balanced=False)
    Image.fromarray(np.full((SIDE, SIDE), 255, np.uint8)).save(tmp_path / "world" / "masks" / "test_1_0.png")
    done = explained(torch_model(MIDDLE, 0, 120), table, tmp_path, "test_1_0.png", options=None)
    (found,) = done.found
    shares = found.contributions
    assert shares is not None and not shares.exact and shares.method == "integrated gradients"
    assert found.other_object is None and "integrated gradients; composites could not be made" in found.sentence
    # Completeness: the sum is the margin's change from the black baseline to the image, 2 x its logit's.
    red = np.asarray(Image.open(tmp_path / "world" / "test_1_0.png"))[MIDDLE][..., 0].mean() / 255
    assert shares.object == pytest.approx(2 * 20 * red, rel=1e-4) and shares.surroundings == 0


def test_an_image_without_object_has_no_parts(tmp_path: Path) -> None:
    table = write_world(tmp_path / "world", balanced=False)
    (tmp_path / "world" / "masks" / "test_1_0.png").unlink()
    (found,) = explained(object_reader, table, tmp_path, "test_1_0.png").found
    assert found.contributions is None and found.mask == "no_mask" and found.predicted == "dog"
    assert found.sentence.endswith("; no square was found in it, so its parts cannot be told apart.")


def test_neighbours_are_the_nearest_in_the_classifiers_space(confounded: Path, tmp_path: Path) -> None:
    model = torch_model(CORNER, 1, 80)
    near = explained(model, confounded, tmp_path, "train_1_2.png", options=None).found[0].neighbours
    assert len(near) == 5 and "train_1_2.png" not in [one.id for one in near]
    # The space is the pair (-v, v) of the model's logits: cosine 1 with those of the same sign.
    assert [one.name for one in near] == ["dog"] * 5 and all(one.similarity == pytest.approx(1) for one in near)


def test_images_elsewhere_need_a_segmenter(confounded: Path, tmp_path: Path) -> None:
    Image.fromarray(picture(0, 1, np.random.default_rng(5))).save(tmp_path / "mine.png")
    config = settings(confounded, backend="given", masks=str(confounded.parent / "masks"))
    with pytest.raises(ConfigError, match="has no given mask: name a segmenter"):
        ddb.explain(object_reader, [tmp_path / "mine.png"], config, options=OPTIONS, out=tmp_path, say=quiet)
    with pytest.raises(DataError, match="neither a file nor an image of the data"):
        explained(object_reader, confounded, tmp_path, "gone.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"broken\.png"):
        explained(object_reader, confounded, tmp_path, tmp_path / "broken.png")
    with pytest.raises(ConfigError, match="no image is named"):
        explained(object_reader, confounded, tmp_path)


def test_images_elsewhere_are_segmented(confounded: Path, tmp_path: Path) -> None:
    """With the small CLIPSeg of the pocket worlds; whatever it finds, the prediction is the model's."""
    image = picture(1, 0, np.random.default_rng(5))
    Image.fromarray(image).save(tmp_path / "mine.png")
    config = settings(confounded, backend="clipseg", weights="pocket")
    done = ddb.explain(object_reader, [tmp_path / "mine.png"], config, options=OPTIONS, out=tmp_path, say=quiet)
    (found,) = done.found
    assert found.name == "" and found.predicted == "dog"
    assert found.probability == pytest.approx(object_reader(image[None])[0, 1])
