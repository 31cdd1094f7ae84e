"""Recipes: the study's values, what a domain changes of them, and no line that nothing reads."""

import inspect
import tomllib
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

import upd_zoo
from upd_zoo.errors import NotFoundError, UsageError
from upd_zoo.fitting.schedule import rate_factor
from upd_zoo.names import ModelId
from upd_zoo.recipe import FULL_PROFILE, Recipe, load_pretraining, load_recipe
from upd_zoo.registry import registered
from upd_zoo.roster import own_methods
from upd_zoo.stores.domains import UNNAMED
from upd_zoo.vocabulary import DOMAINS, MODALITIES, Access, Pretrain, Protocol

METHODS = own_methods()
DOCUMENTS: dict[str, dict[str, Any]] = {
    path.stem: tomllib.loads(path.read_text(encoding="utf-8"))
    for path in (Path(upd_zoo.__file__).parent / "recipes").glob("*.toml")
}
VALUES = {"steps", "batch_size", "pretrain", "centred", "optimiser", "schedule", "settings", "phase"}
VALUES |= {"score_rule", "smoothing", "erosion", "side", "weights", "clip", "precision"}
LAYERS = {"modality": {*MODALITIES}, "access": {*Access}, "domain": {*DOMAINS, UNNAMED}, "protocol": {*Protocol}}
PRETRAINING = "ccd"
ENCODERS = {"vae", "f-anogan", "amcons", "dae", "pii", "expvae", "resnet18", "wide_resnet50_2"}
"""Networks that the study pre-trains; its `unet` is that of DAE."""


def recipe_of(name: str, protocol: Protocol = Protocol.SOUND, profile: str = FULL_PROFILE) -> Recipe:
    return load_recipe(ModelId.parse(name), protocol, profile)


def test_every_method_has_a_recipe_and_every_recipe_a_method() -> None:
    assert sorted(DOCUMENTS) == sorted([*METHODS, PRETRAINING])


@pytest.mark.parametrize("method", METHODS)
def test_every_recipe_can_be_used(method: str) -> None:
    family = [kind for kind in registered()[method].__mro__ if kind.__module__.startswith("upd_zoo.methods")]
    taken = {name for kind in family for name in inspect.signature(kind).parameters}
    profiles = [FULL_PROFILE, *DOCUMENTS[method].get("profile", {})]
    for domain, protocol, profile in product(DOMAINS, Protocol, profiles):
        recipe = recipe_of(f"{method}-{domain}", protocol, profile)
        assert {*recipe.settings} <= {*taken} - {"channels"}
        assert recipe.batch_size > 0
        assert (recipe.domain.id, recipe.protocol, recipe.profile) == (domain, protocol, profile)
        for phase in recipe.phases.values():
            arguments = {name: value for name, value in phase.optimiser.items() if name != "name"}
            getattr(torch.optim, str(phase.optimiser["name"]))([torch.nn.Parameter(torch.zeros(1))], **arguments)
            assert 0 <= rate_factor(phase.schedule, 1) <= 1


@pytest.mark.parametrize("method", METHODS)
def test_no_line_of_a_recipe_is_unread(method: str) -> None:
    document = DOCUMENTS[method]
    assert document.pop("extends", METHODS[0]) in METHODS
    check_layers(document, {**LAYERS, "start": {Pretrain.CCD}})


def test_no_line_of_the_pre_training_is_unread() -> None:
    check_layers(DOCUMENTS[PRETRAINING], {**LAYERS, "encoder": ENCODERS})


def check_layers(document: dict[str, Any], layers: dict[str, set[str]]) -> None:
    """Check that every table is a layer that is read, and holds nothing but values and layers."""
    assert {*document} <= {*VALUES, *layers, "profile"}
    for layer in {*document} & {*layers, "profile"}:
        assert layer == "profile" or {*document[layer]} <= layers[layer]
        for changes in document[layer].values():
            check_layers(changes, layers)


def pretraining_of(name: str, encoder: str, protocol: Protocol = Protocol.SOUND, **options: Any) -> Recipe:
    return load_pretraining(recipe_of(name, protocol), encoder, **options)


@pytest.mark.parametrize(
    ("name", "encoder", "steps", "rate"),
    [
        ("fae-camcan-t2", "resnet18", 20000, 0.01),
        ("rd-ddr", "wide_resnet50_2", 20000, 0.01),
        ("vae-chexpert", "vae", 20000, 0.01),
        ("f-anogan-ddr", "f-anogan", 20000, 0.001),
        ("amcons-camcan-t1", "amcons", 20000, 0.001),
        ("dae-camcan-t1", "dae", 10000, 0.0001),
        ("dae-chexpert", "dae", 20000, 0.0001),
        ("pii-ddr", "pii", 20000, 0.01),
        ("expvae-ddr", "expvae", 20000, 0.01),
    ],
)
@pytest.mark.parametrize("protocol", Protocol)
def test_the_budget_of_a_pre_training_is_the_studys(
    name: str, encoder: str, steps: int, rate: float, protocol: Protocol
) -> None:
    recipe = pretraining_of(name, encoder, protocol)
    phase = recipe.phases["main"]
    assert (phase.steps, recipe.batch_size, recipe.domain) == (steps, 32, recipe_of(name).domain)
    assert phase.optimiser == {"name": "SGD", "lr": rate, "momentum": 0.9, "weight_decay": 3e-4}
    assert rate_factor(phase.schedule, 0) == 1
    assert rate_factor(phase.schedule, 200) == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("name", "encoder", "sound", "study"),
    [
        ("fae-camcan-t2", "resnet18", 0, 1),
        ("cutpaste-camcan-t2", "resnet18", 0, 1),
        ("cutpaste-chexpert", "resnet18", 0, 2),
        ("fae-chexpert", "resnet18", 0, 2),
        ("rd-camcan-t2", "wide_resnet50_2", 0, 0),
        ("rd-chexpert", "wide_resnet50_2", 0, 0),
        ("rd-ddr", "wide_resnet50_2", 0, 1),
        ("amcons-ddr", "amcons", 0, 1),
        ("vae-ddr", "vae", 1, 1),
    ],
)
def test_a_network_is_pre_trained_on_the_pixels_of_its_method(name: str, encoder: str, sound: int, study: int) -> None:
    found = [pretraining_of(name, encoder, protocol).settings["centrings"] for protocol in (*Protocol,)]
    assert dict(zip(Protocol, found, strict=True)) == {Protocol.SOUND: sound, Protocol.STUDY: study}


def test_a_network_starts_where_that_of_its_method_does() -> None:
    assert pretraining_of("rd-ddr", "wide_resnet50_2").pretrain == "imagenet"
    assert pretraining_of("vae-ddr", "vae").pretrain == "none"
    assert pretraining_of("cutpaste-ddr", "resnet18").pretrain == "none"
    assert pretraining_of("cutpaste-ddr", "resnet18", Protocol.STUDY).pretrain == "imagenet"


def test_the_faults_of_the_pre_training_are_the_studys_alone() -> None:
    faults = {"mixed_labels", "fixed_answers", "train_encoder"}
    assert not faults & {*pretraining_of("vae-ddr", "vae").settings}
    study = pretraining_of("vae-ddr", "vae", Protocol.STUDY).settings
    assert [study[name] for name in sorted(faults)] == [True, True, False]
    assert "train_encoder" not in pretraining_of("pii-ddr", "pii", Protocol.STUDY).settings


def test_a_pre_training_can_be_told_its_budget() -> None:
    recipe = pretraining_of("vae-ddr", "vae", steps=7, batch_size=3)
    assert (recipe.phases["main"].steps, recipe.batch_size, recipe.profile) == (7, 3, "full (7 steps)")
    with pytest.raises(UsageError, match="train nothing"):
        pretraining_of("vae-ddr", "vae", steps=0)


@pytest.mark.parametrize(
    ("domain", "plain", "ccd"), [("camcan-t1", 1.2, 1.9), ("chexpert", 1.5, 1.3), ("ddr", 1.7, 1.7)]
)
def test_a_restoration_is_smoothed_as_the_study_chose_for_each_start(domain: str, plain: float, ccd: float) -> None:
    found = [recipe_of(f"r-vae-{domain}{start}").settings["tv_weight"] for start in ("", "-ccd")]
    assert found == [plain, ccd]


def test_only_the_study_leaves_a_code_as_it_was_drawn_and_only_with_ccd() -> None:
    names = [
        ("f-anogan-ddr", Protocol.STUDY),
        ("f-anogan-ddr-ccd", Protocol.STUDY),
        ("f-anogan-ddr-ccd", Protocol.SOUND),
    ]
    assert [recipe_of(*name).settings["fixed_code"] for name in names] == [False, True, False]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("profile", ["quick", "tiny"])
def test_every_method_has_a_small_profile(method: str, profile: str) -> None:
    small, full = recipe_of(f"{method}-phantom-t1", profile=profile), recipe_of(f"{method}-phantom-t1")
    assert small.phases.keys() == full.phases.keys()
    for name, phase in small.phases.items():
        # RD has the most, 800 steps: some minutes of two cores, after which it finds lesions of phantoms.
        assert phase.steps <= min(full.phases[name].steps, 800)


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
    (phase,) = recipe.phases.values()
    assert (phase.steps, recipe.batch_size, phase.optimiser) == (steps, batch_size, optimiser)


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
        assert replace(stand_in, domain=original.domain) == original


@pytest.mark.parametrize("method", [name for name in METHODS if "residual" in DOCUMENTS[name].get("settings", {})])
def test_the_studys_residual_is_that_of_8_bit_images_on_maps_as_they_are(method: str) -> None:
    for domain in DOMAINS:
        study = recipe_of(f"{method}-{domain}", Protocol.STUDY)
        assert (study.settings["residual"], study.smoothing, study.erosion) == ("ssim-8-bit", 0, 0)


def test_the_study_draws_codes_at_test_time() -> None:
    for domain in DOMAINS:
        assert recipe_of(f"vae-{domain}", Protocol.STUDY).settings["sample_at_test"] is True
        assert "sample_at_test" not in recipe_of(f"vae-{domain}").settings


def test_the_study_centres_fundus_photographs() -> None:
    assert [
        recipe_of(f"rd-{domain}", Protocol.STUDY).centred for domain in ("ddr", "idrid", "camcan-t1", "chexpert")
    ] == [
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
    assert (recipe.phases["main"].steps, recipe.batch_size) == (7, 3)
    assert "7 steps" in recipe.profile


@pytest.mark.parametrize("changes", [{"steps": 0}, {"steps": -1}, {"batch_size": 0}, {"batch_size": -1}])
def test_a_budget_of_nothing_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        load_recipe(ModelId.parse("vae-ddr"), **changes)  # type: ignore[arg-type]


def test_a_method_without_a_backbone_takes_none() -> None:
    with pytest.raises(UsageError, match="no feature backbone"):
        recipe_of("vae.resnet18-idrid")


def test_an_unknown_method_gets_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="Did you mean vae"):
        recipe_of("vaee-idrid")


def test_an_unknown_profile_gets_the_list() -> None:
    with pytest.raises(UsageError, match="full, quick, tiny"):
        recipe_of("vae-idrid", profile="fast")


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recipes of our own."""
    monkeypatch.setattr(upd_zoo.recipe, "files", lambda _package: tmp_path)
    (tmp_path / "recipes").mkdir()
    return tmp_path / "recipes"


BASE = """
steps = 10
batch_size = 4
optimiser.name = "Adam"
optimiser.lr = 1.0
settings.width = 1
[modality.fundus]
settings.width = 2
[domain.ddr]
settings.width = 3
[protocol.study]
settings.quirk = true
[protocol.study.modality.fundus]
score_rule = "mean"
settings.width = 4
[profile.quick]
steps = 2
"""


def test_a_layer_within_a_layer_needs_both(recipes: Path) -> None:
    (recipes / "base.toml").write_text(BASE)
    widths = [
        recipe_of(f"base-{domain}", protocol).settings["width"]
        for domain in ("camcan-t1", "idrid", "ddr")
        for protocol in (Protocol.SOUND, Protocol.STUDY)
    ]
    assert widths == [1, 1, 2, 4, 3, 4]
    rules = [recipe_of(f"base-{domain}", Protocol.STUDY).score_rule for domain in ("camcan-t1", "ddr", "chexpert")]
    assert rules == ["maximum", "mean", "mean"]
    assert recipe_of("base-ddr").score_rule == "maximum"


def test_a_recipe_lies_over_the_one_that_it_extends(recipes: Path) -> None:
    (recipes / "base.toml").write_text(BASE)
    (recipes / "child.toml").write_text("extends = 'base'\nsettings.depth = 5\n[domain.ddr]\nsettings.width = 6\n")
    recipe = recipe_of("child-ddr", Protocol.STUDY, "quick")
    assert recipe.method == "child"
    assert recipe.settings == {"width": 4, "depth": 5, "quirk": True}
    assert recipe_of("child-ddr").settings["width"] == 6
    assert recipe.phases["main"].steps == 2


def test_a_phase_inherits_what_it_does_not_say(recipes: Path) -> None:
    text = BASE + "[phase.first]\n[phase.second]\nsteps = 7\noptimiser.lr = 2.0\nschedule.name = 'cosine'\n"
    (recipes / "base.toml").write_text(text)
    first, second = recipe_of("base-ddr").phases.values()
    assert (first.steps, first.optimiser, first.schedule) == (10, {"name": "Adam", "lr": 1.0}, {})
    assert (second.steps, second.optimiser["lr"], second.schedule) == (7, 2.0, {"name": "cosine"})
    assert [phase.steps for phase in recipe_of("base-ddr", profile="quick").phases.values()] == [2, 7]
    assert {phase.steps for phase in load_recipe(ModelId.parse("base-ddr"), steps=3).phases.values()} == {3}


def test_a_method_without_gradients_takes_no_steps(recipes: Path) -> None:
    (recipes / "base.toml").write_text("steps = 0\nbatch_size = 4\n")
    assert recipe_of("base-ddr").phases == {}
    with pytest.raises(UsageError, match="without optimiser steps"):
        load_recipe(ModelId.parse("base-ddr"), steps=3)
