"""Recipes: the study's values, what a domain changes of them, and no line that nothing reads."""

import inspect
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

import upd_zoo
from upd_zoo.errors import NotFoundError, UsageError
from upd_zoo.method import registered
from upd_zoo.recipe import FULL_PROFILE, Recipe, load_recipe
from upd_zoo.vocabulary import DOMAINS, MODALITIES, ModelId, Pretrain, Protocol

METHODS = sorted(registered())
DOCUMENTS: dict[str, dict[str, Any]] = {
    path.stem: tomllib.loads(path.read_text(encoding="utf-8"))
    for path in (Path(upd_zoo.__file__).parent / "recipes").glob("*.toml")
}
VALUES = {"steps", "batch_size", "pretrain", "centred", "optimiser", "settings"}
LAYERS = {"modality": {*MODALITIES}, "domain": {*DOMAINS}, "protocol": {*Protocol}}


def recipe_of(name: str, protocol: Protocol = Protocol.SOUND, profile: str = FULL_PROFILE) -> Recipe:
    return load_recipe(ModelId.parse(name), protocol, profile)


def test_every_method_has_a_recipe_and_every_recipe_a_method() -> None:
    assert sorted(DOCUMENTS) == METHODS


@pytest.mark.parametrize("method", METHODS)
def test_every_recipe_can_be_used(method: str) -> None:
    taken = inspect.signature(registered()[method]).parameters
    profiles = [FULL_PROFILE, *DOCUMENTS[method].get("profile", {})]
    for domain, protocol, profile in product(DOMAINS, Protocol, profiles):
        recipe = recipe_of(f"{method}-{domain}", protocol, profile)
        assert {*recipe.settings} <= {*taken} - {"channels"}
        assert recipe.steps > 0
        assert recipe.batch_size > 0
        assert (recipe.domain.id, recipe.protocol, recipe.profile) == (domain, protocol, profile)
        if recipe.optimiser:
            arguments = {name: value for name, value in recipe.optimiser.items() if name != "name"}
            getattr(torch.optim, str(recipe.optimiser["name"]))([torch.nn.Parameter(torch.zeros(1))], **arguments)


@pytest.mark.parametrize("method", METHODS)
def test_no_line_of_a_recipe_is_unread(method: str) -> None:
    document = DOCUMENTS[method]
    assert {*document} <= {*VALUES, *LAYERS, "profile"}
    for layer, known in LAYERS.items():
        assert {*document.get(layer, {})} <= known
    for layer in (*LAYERS, "profile"):
        for changes in document.get(layer, {}).values():
            assert {*changes} <= VALUES


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_quick_profile(method: str) -> None:
    quick, full = recipe_of(f"{method}-phantom-t1", profile="quick"), recipe_of(f"{method}-phantom-t1")
    assert quick.steps <= min(full.steps, 500)


@pytest.mark.parametrize(
    ("name", "steps", "batch_size", "optimiser"),
    [
        ("vae-camcan-t1", 30000, 64, {"name": "Adam", "lr": 1e-4, "betas": [0.0, 0.9]}),
        ("vae-chexpert", 10000, 64, {"name": "Adam", "lr": 1e-4, "betas": [0.0, 0.9]}),
        ("vae-ddr", 10000, 64, {"name": "Adam", "lr": 1e-4, "betas": [0.0, 0.9]}),
        ("rd-camcan-t2", 10000, 4, {"name": "Adam", "lr": 5e-3, "betas": [0.5, 0.999]}),
        ("rd-ddr", 10000, 4, {"name": "Adam", "lr": 5e-3, "betas": [0.5, 0.999]}),
    ],
)
def test_the_budget_is_the_studys(name: str, steps: int, batch_size: int, optimiser: dict[str, object]) -> None:
    recipe = recipe_of(name, Protocol.STUDY)
    assert (recipe.steps, recipe.batch_size, recipe.optimiser) == (steps, batch_size, optimiser)


@pytest.mark.parametrize(
    ("name", "width", "bottleneck", "latent", "kl_weight"),
    [
        ("vae-camcan-t2", 16, 16, 512, 1e-3),
        ("vae-camcan-t1", 32, 64, 512, 1e-4),
        ("vae-ddr", 32, 64, 512, 1e-4),
        ("vae-chexpert", 16, 64, 256, 1e-4),
    ],
)
def test_each_vae_has_its_size(name: str, width: int, bottleneck: int, latent: int, kl_weight: float) -> None:
    settings = recipe_of(name).settings
    assert [settings[key] for key in ("width", "bottleneck", "latent", "kl_weight")] == [
        width,
        bottleneck,
        latent,
        kl_weight,
    ]


@pytest.mark.parametrize(
    ("open_domain", "domain"),
    [
        ("ixi-t1", "camcan-t1"),
        ("ixi-t2", "camcan-t2"),
        ("phantom-t1", "camcan-t1"),
        ("phantom-t2", "camcan-t2"),
        ("nih-cxr", "chexpert"),
        ("phantom-cxr", "chexpert"),
        ("idrid", "ddr"),
        ("phantom-fundus", "ddr"),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_a_stand_in_is_made_like_what_it_stands_for(method: str, open_domain: str, domain: str) -> None:
    for protocol in Protocol:
        stand_in, original = recipe_of(f"{method}-{open_domain}", protocol), recipe_of(f"{method}-{domain}", protocol)
        for value in VALUES:
            assert getattr(stand_in, value) == getattr(original, value)


def test_the_dynamic_range_is_that_of_the_data_and_255_in_the_study() -> None:
    ranges = [recipe_of(f"vae-{domain}").settings["dynamic_range"] for domain in ("camcan-t1", "chexpert", "ddr")]
    assert ranges == [1.0, 1.0, 2.0]
    for domain in DOMAINS:
        study = recipe_of(f"vae-{domain}", Protocol.STUDY)
        assert (study.settings["dynamic_range"], study.settings["sample_at_test"]) == (255.0, True)
        assert "sample_at_test" not in recipe_of(f"vae-{domain}").settings


def test_fundus_photographs_are_centred() -> None:
    assert [recipe_of(f"rd-{domain}").centred for domain in ("ddr", "idrid", "camcan-t1", "chexpert")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_test_set_means_the_recipe_of_its_domain() -> None:
    assert recipe_of("vae-brats-t2") == recipe_of("vae-camcan-t2")


def test_a_backbone_in_the_name_becomes_a_setting() -> None:
    assert recipe_of("rd.resnet18-idrid").settings["backbone"] == "resnet18"
    assert recipe_of("rd-idrid").settings["backbone"] == "wide_resnet50_2"


def test_ccd_in_the_name_becomes_the_start() -> None:
    assert [recipe_of(name).pretrain for name in ("rd-ddr-ccd", "rd-ddr", "vae-ddr")] == [
        Pretrain.CCD,
        Pretrain.IMAGENET,
        Pretrain.NONE,
    ]


def test_a_smaller_budget_is_said_in_the_profile() -> None:
    model = ModelId.parse("vae-ddr")
    recipe = load_recipe(model, steps=7, batch_size=3)
    assert (recipe.steps, recipe.batch_size) == (7, 3)
    assert "7 steps" in recipe.profile


@pytest.mark.parametrize("changes", [{"steps": 0}, {"steps": -1}, {"batch_size": 0}, {"batch_size": -1}])
def test_a_budget_of_nothing_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        load_recipe(ModelId.parse("vae-ddr"), **changes)  # type: ignore[arg-type]


def test_a_method_without_a_backbone_takes_none() -> None:
    with pytest.raises(UsageError, match="no feature backbone"):
        recipe_of("vae.resnet18-idrid")


def test_an_unknown_method_gets_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="did you mean vae"):
        recipe_of("vaee-idrid")


def test_an_unknown_profile_gets_the_list() -> None:
    with pytest.raises(UsageError, match="full, quick"):
        recipe_of("vae-idrid", profile="fast")
