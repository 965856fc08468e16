"""Values that look right and that no run could use are refused by the settings."""

from __future__ import annotations

import pytest

from ddb.config import inpaint_config
from ddb.config.load import load_config
from ddb.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        *((text, "bird") for text in ("bird", "bird.", "Bird", "bird .", "  bird  ", "Bird...", ". bird", '"bird\\n"')),
        ("red  Bird", "red bird"),
        ("TV", "TV"),
        ("Flat TV.", "flat TV"),
        ("X-ray", "x-ray"),
        ("Птица.", "птица"),
        ("鳥", "鳥"),
    ],
)
def test_a_phrase_has_one_spelling(text: str, phrase: str) -> None:
    assert load_config("photos", [f"data.phrase={text}"]).data.phrase == phrase


@pytest.mark.parametrize("text", ["''", "' '", "'.'", "' . '", "'--'"])
def test_a_phrase_is_a_word(text: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.phrase: should be the noun"):
        load_config("photos", [f"data.phrase={text}"])


@pytest.mark.parametrize(
    "template",
    [
        "{masterpiece}, a photo of a {token} {phrase}",
        "a {token} {phrase} {",
        "a {token} {phrase} }",
        "a {token} {phrase} {0}",
        "a {token} {phrase} {}",
        "a {{token} {phrase}}",
        "a {token!r} {phrase}",
        "a {token} {phrase:>9}",
        "a {token} {token} {phrase}",
        "a {phrase}",
    ],
)
def test_a_template_has_two_places_and_no_other_braces(template: str) -> None:
    for backend in ("latent_diffusion", "copy_paste"):
        with pytest.raises(ValueError, match="template"):
            inpaint_config(backend=backend, template=template)


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("data.classes=[cat]", r"data\.classes: should name two classes or more"),
        ("data.classes=[cat, cat]", r"data\.classes: should name two classes or more"),
        ("data.classes=[cat, '']", r"data\.classes: should name two classes or more"),
        ("data.val_share=0.6", "val_share 0.6 and test_share 0.6 leave nothing"),
        ("erm.rank_epoch=99", "rank_epoch 99 is after the last"),
        ("erm.backbone=''", r"erm\.backbone: "),
        ("erm.weights=''", r"erm\.weights: "),
        ("segment.weights=''", r"segment\.weights: "),
        ("inpaint.weights=''", r"inpaint\.weights: "),
        ("segment.min_area=0.8", r"segment: min_area 0\.8 should be below max_area 0\.8"),
        ("segment.max_area=0", "should be below max_area"),
        ("inpaint.strength=0.01", r"inpaint: strength 0\.01 of 25 steps leaves none"),
        ("inpaint.per_class=[0, 0]", r"inpaint\.per_class: should hold a number above 0"),
        ("inpaint.variety=[' ']", r"inpaint\.variety\.0: "),
        ("prune.rho_threshold=2", "rho_threshold should be a share from 0 to 1, got 2"),
        ("retrain.gammas=[0, 0]", r"retrain\.gammas: should hold a number above 0"),
        ("retrain.gammas=[]", r"retrain\.gammas: should hold a number above 0"),
        ("retrain.gammas=[1, .nan]", r"retrain\.gammas\.1: "),
        ("erm.augment.scale=[.nan, 1]", r"erm\.augment\.scale"),
        ("erm.lr=1e999", r"erm\.lr: "),
        ("erm.epochs=100000000000000000000", r"erm\.epochs: should be less than or equal to 1000000"),
        ("seed=9223372036854775808", r"seed: should be less than 9223372036854775808"),
        ("score.ig_steps=1000000", r"score\.ig_steps: "),
        ("name=..", r"name: should hold more than dots"),
        ("name=.", r"name: should hold more than dots"),
        ('data.root="a\\0b"', r"data: `root` holds a null character"),
        ('data.classes=[cat, "d\\0g"]', r"data: `classes` holds a null character"),
        ('invert.tokens={cat: "a\\0b"}', r"invert: `tokens` holds a null character"),
    ],
)
def test_a_value_that_no_run_could_use_is_one_fault(override: str, fault: str) -> None:
    given = ["data.test_share=0.6", "prune.rho=quantile", override]
    with pytest.raises(ConfigError, match=f"^photos: .*{fault}"):
        load_config("photos", given)


def test_a_word_of_blanks_to_start_from_is_none() -> None:
    assert load_config("photos", ["invert.init='  '"]).invert.init == ""


def test_the_limits_take_what_can_be_used() -> None:
    config = load_config(
        "photos",
        ["segment.min_area=0", "segment.max_area=1", "inpaint.strength=0.04", "retrain.gammas=[0, 1]", "name=..a"],
    )
    assert config.retrain.gammas == (0, 1)
    assert (
        load_config("photos", ["data.val_from=test", "data.val_share=0.6", "data.test_share=0.6"]).data.val_share == 0.6
    )
