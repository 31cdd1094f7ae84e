"""PII, against what its patches promise; `tests/zoo/test_poisson.py` compares the blending with scipy's solver."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from upd_zoo.layers.poisson import blend
from upd_zoo.methods.pii import PII, apply_patches, draw_patches
from upd_zoo.recipe import load_recipe
from upd_zoo.vocabulary import DOMAINS, ModelId, Protocol


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int, channels: int = 1, *, brains: bool = False) -> Tensor:
    """Return smooth images in (0, 1]; brains are 0 outside of a disc."""
    coarse = torch.rand(count, channels, 12, 12, generator=seeded(1)) * 0.9 + 0.1
    found = F.interpolate(coarse, (128, 128), mode="bilinear")
    if brains:
        away = torch.arange(128) - 63.5
        found = found * (away[:, None] ** 2 + away**2 < 45**2)
    return found


def tiny(channels: int = 1, **settings: Any) -> PII:
    torch.manual_seed(0)
    return PII(channels, width=4, factor=1, **settings).eval()


def test_what_is_drawn_lies_in_the_studys_ranges_and_reaches_their_ends() -> None:
    patches = draw_patches(images(2000), inside_foreground=False, generator=seeded())
    for drawn, ends in ((patches.width, [13, 50]), (patches.row, [12, 115]), (patches.column, [12, 115])):
        assert [int(drawn.min()), int(drawn.max())] == ends
    assert 0.05 <= patches.alpha.min() < 0.06
    assert 0.94 < patches.alpha.max() <= 0.95
    assert (patches.partner != torch.arange(2000)).all()


def test_every_other_image_of_the_batch_is_as_likely_a_partner() -> None:
    counts = torch.zeros(4, 4)
    for seed in range(600):
        partner = draw_patches(images(4), inside_foreground=False, generator=seeded(seed)).partner
        counts[torch.arange(4), partner] += 1
    assert (counts.diagonal() == 0).all()
    assert ((counts + 200 * torch.eye(4) - 200).abs() < 60).all()


def test_patches_of_brains_are_centred_on_tissue() -> None:
    brains = images(200, brains=True)
    patches = draw_patches(brains, inside_foreground=True, generator=seeded())
    assert (brains[torch.arange(200), 0, patches.row, patches.column] > 0).all()
    anywhere = draw_patches(brains, inside_foreground=False, generator=seeded())
    assert (brains[torch.arange(200), 0, anywhere.row, anywhere.column] == 0).any()


def test_what_was_drawn_decides_what_is_planted() -> None:
    batch = images(4)
    drawn = [draw_patches(batch, inside_foreground=False, generator=seeded(seed)) for seed in (0, 0, 1)]
    planted = [apply_patches(batch, patches, inside_foreground=False) for patches in drawn]
    assert torch.equal(planted[0].images, planted[1].images)
    assert torch.equal(planted[0].labels, planted[1].labels)
    assert not torch.equal(planted[0].images, planted[2].images)


@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_changes_outside_of_the_patch_and_the_label_says_how_much_inside(channels: int) -> None:
    batch = images(6, channels)
    patches = draw_patches(batch, inside_foreground=False, generator=seeded())
    planted = apply_patches(batch, patches, inside_foreground=False)
    for number in range(6):
        half, row, column = int(patches.width[number]) // 2, int(patches.row[number]), int(patches.column[number])
        inside = torch.zeros(128, 128, dtype=torch.bool)
        inside[max(row - half, 1) : min(row + half, 127), max(column - half, 1) : min(column + half, 127)] = True
        assert torch.equal(planted.images[number, :, ~inside], batch[number, :, ~inside])
        assert (planted.labels[number, :, ~inside] == 0).all()
        assert (planted.labels[number, :, inside] == patches.alpha[number]).all()


def test_where_both_images_are_the_same_the_label_is_nothing() -> None:
    batch = images(2)
    batch[1, :, :, :64] = batch[0, :, :, :64]
    patches = draw_patches(batch, inside_foreground=False, generator=seeded(2))
    labels = apply_patches(batch, patches, inside_foreground=False).labels
    assert (labels[..., :64] == 0).all()


def test_a_patch_is_the_poisson_blend_within_the_images_own_range() -> None:
    batch = images(5)
    patches = draw_patches(batch, inside_foreground=False, generator=seeded())
    found = apply_patches(batch, patches, inside_foreground=False).images
    blended = blend(batch, batch[patches.partner], patches.alpha, patches.rectangles(128, 128), side=51)
    lowest, highest = batch.amin((1, 2, 3), keepdim=True), batch.amax((1, 2, 3), keepdim=True)
    torch.testing.assert_close(found, blended.minimum(highest).maximum(lowest))


def test_the_background_of_brains_stays_black_and_healthy() -> None:
    brains = images(8, brains=True)
    patches = draw_patches(brains, inside_foreground=True, generator=seeded())
    planted = apply_patches(brains, patches, inside_foreground=True)
    assert (planted.images[brains == 0] == 0).all()
    assert (planted.labels[brains == 0] == 0).all()
    assert (planted.labels > 0).any(dim=(1, 2, 3)).all()


def test_the_study_makes_blended_images_brighter() -> None:
    batch = 0.5 * images(4)
    patches = draw_patches(batch, inside_foreground=False, generator=seeded())
    plain = apply_patches(batch, patches, inside_foreground=False)
    divided = apply_patches(batch, patches, inside_foreground=False, divide_by_maximum=True)
    torch.testing.assert_close(divided.images.amax((1, 2, 3)), torch.ones(4))
    torch.testing.assert_close(divided.images * plain.images.amax((1, 2, 3), keepdim=True), plain.images)
    assert torch.equal(divided.labels, plain.labels)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_loss_is_the_cross_entropy_of_the_label(channels: int) -> None:
    method, batch = tiny(channels), images(4, channels)
    torch.manual_seed(3)
    loss = method.training_step(batch)["loss"]
    torch.manual_seed(3)
    planted = method.plant(batch)
    probability = method.logits(planted.images).double().sigmoid()
    expected = -(planted.labels * probability.log() + (1 - planted.labels) * (1 - probability).log()).mean()
    torch.testing.assert_close(loss, expected.float())


def test_the_map_is_the_mean_probability_over_channels() -> None:
    method, batch = tiny(3), images(2, 3)
    with torch.no_grad():
        expected = method.logits(batch).sigmoid().mean(1, keepdim=True)
        torch.testing.assert_close(method.anomaly_map(batch), expected)


@pytest.mark.parametrize("domain", DOMAINS)
def test_switches_are_those_of_the_modalities_and_protocols(domain: str) -> None:
    modality = DOMAINS[domain].modality.id
    for protocol in Protocol:
        settings = load_recipe(ModelId("pii", None, domain), protocol).settings
        assert settings["inside_foreground"] is (modality == "brain-mri")
        assert settings["divide_by_maximum"] is (protocol is Protocol.STUDY and modality == "chest-xray")
