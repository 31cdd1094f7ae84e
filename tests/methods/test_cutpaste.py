"""CutPaste, against Pillow, torchvision and SciPy, and its formulas written out with NumPy."""

import importlib
import math
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import mahalanobis
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from upd_zoo.detector import Detector
from upd_zoo.errors import UsageError
from upd_zoo.export.formats import write_onnx, write_torchscript
from upd_zoo.layers.colour import Jitter, apply_jitter
from upd_zoo.methods.cutpaste import (
    Classifier,
    CutPaste,
    Patch,
    Windows,
    apply_damage,
    apply_patches,
    draw_damage,
    recall_damage,
    rotated_box,
)
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.registry import create
from upd_zoo.runtime.eager import as_predict, load_script
from upd_zoo.runtime.onnx import onnx_predict
from upd_zoo.runtime.parity import compare
from upd_zoo.vocabulary import Foreground, Protocol, ScoreRule

SMALL = {"network": "test_resnet", "head_depth": 1, "head_width": 8, "projection": 4, "stride": 48}
LAYOUTS = (torch.contiguous_format, torch.channels_last)
MANY = 2000


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def small(channels: int = 1, **settings: Any) -> CutPaste:
    torch.manual_seed(3)
    return CutPaste(channels, 128, **{**SMALL, **settings}).eval()


def images_of(count: int, channels: int = 1, side: int = 128) -> Tensor:
    return torch.rand(count, channels, side, side, generator=seeded(7))


def unchanged(count: int) -> Jitter:
    """Return colours left as they are."""
    return Jitter(torch.tensor([[1.0, 1.0, 1.0, 0.0]]).repeat(count, 1), torch.arange(4).repeat(count, 1))


def torchvision() -> Any:
    return importlib.import_module("torchvision.transforms.v2.functional")


def jittered_by_torchvision(image: Tensor, jitter: Jitter, number: int) -> Tensor:
    """Return one image (C, H, W) with the jitter of one record applied by torchvision."""
    functions = torchvision()
    changes = (
        functions.adjust_brightness,
        functions.adjust_contrast,
        functions.adjust_saturation,
        functions.adjust_hue,
    )
    for which in jitter.order[number].tolist():
        image = changes[which](image, float(jitter.factors[number, which]))
    return image


# The networks


def test_each_network_has_the_studys_size() -> None:
    recipe = load_recipe(ModelId.parse("cutpaste-camcan-t2"), Protocol.STUDY)
    method = create("cutpaste", 1, 128, {**recipe.settings, "stride": 56})
    for part in ("image", "pixel"):
        assert round(sum(each.numel() for each in method.get_submodule(part).parameters()) / 1e6, 3) == 13.348
    assert sum(each.numel() for each in method.parameters()) == 26_695_814


def test_the_embedding_is_what_torchvisions_network_computes_below_its_last_layer() -> None:
    classifier = Classifier("resnet18", 8, 512, 128).eval()
    reference = importlib.import_module("torchvision.models").resnet18(weights=None).eval()
    reference.fc = nn.Identity()
    reference.load_state_dict(classifier.backbone.network.state_dict())
    views = images_of(2, side=32)
    with torch.no_grad():
        assert classifier.embed(views).shape == (2, 512)
        torch.testing.assert_close(classifier.embed(views), reference(views.expand(-1, 3, -1, -1)), rtol=0, atol=1e-5)


def test_no_block_begins_as_the_identity() -> None:
    norms = [module for module in Classifier("resnet18", 1, 8, 4).modules() if isinstance(module, nn.BatchNorm2d)]
    assert all((norm.weight == 1).all() for norm in norms)


def test_the_head_is_eight_hidden_layers_a_projection_and_a_classifier() -> None:
    head = Classifier("test_resnet", 8, 512, 128).head
    shapes = [tuple(layer.weight.shape) for layer in head.modules() if isinstance(layer, nn.Linear)]
    assert shapes == [(512, 96), *[(512, 512)] * 7, (128, 512), (3, 128)]
    assert sum(isinstance(layer, nn.BatchNorm1d) for layer in head.modules()) == 8


def test_an_unknown_network_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="resnet18"):
        Classifier("resnet81", 1, 8, 4)


# What is drawn


@pytest.mark.parametrize("crop", [32, 128])
def test_patches_are_as_large_as_the_study_says_and_stay_inside(crop: int) -> None:
    damage = draw_damage(MANY, 128, crop, seeded())
    height, width = damage.cut.size.T.double()
    assert (height * width <= 0.15 * crop**2).all()
    assert ((height + 1) * (width + 1) >= 0.02 * crop**2).all()
    assert ((width + 1) / height >= 0.3).all()
    assert (width / (height + 1) <= 3.3).all()
    assert (width > 2 * height).double().mean() > 0.2, "half of the ratios lie between 1 and 3.3"
    length, thickness = damage.scar.size.T
    assert (set(thickness.tolist()), set(length.tolist())) == (set(range(1, 9)), set(range(5, 14)))
    assert damage.scar.angle.abs().max() <= math.radians(45)
    assert damage.scar.angle.min() < -0.7 < 0.7 < damage.scar.angle.max()
    for patch in (damage.cut, damage.scar):
        assert ((patch.source >= 0) & (patch.source + patch.size <= crop)).all()
        assert ((patch.target >= 0) & (patch.target + rotated_box(patch.size, patch.angle) <= crop)).all()
        assert patch.source.amin() == 0
        assert (patch.source + patch.size).amax() == crop
    assert ((damage.corner >= 0) & (damage.corner + crop <= 128)).all()
    assert damage.corner.amax() == 128 - crop


def test_sides_are_the_whole_part_of_the_roots_of_area_and_ratio() -> None:
    numbers = torch.rand(MANY, 32, generator=seeded(), dtype=torch.float64).numpy()
    area, coin, ratio = 128**2 * (0.02 + 0.13 * numbers[:, 2]), numbers[:, 3], numbers[:, 4]
    ratio = np.where(coin < 0.5, 0.3 + 0.7 * ratio, 1 + 2.3 * ratio)
    expected = np.stack([np.sqrt(area / ratio), np.sqrt(area * ratio)], axis=1).astype(int)
    assert np.array_equal(draw_damage(MANY, 128, 128, seeded()).cut.size.numpy(), expected)


def test_colours_change_by_a_tenth_in_any_order() -> None:
    jitter = draw_damage(MANY, 128, 32, seeded()).cut.jitter
    change = jitter.factors - torch.tensor([1.0, 1.0, 1.0, 0.0])
    assert (change.abs().amax(dim=0) <= 0.1).all()
    assert (change.abs().amax(dim=0) > 0.099).all()
    assert {tuple(order) for order in jitter.order.tolist()} == set(permutations(range(4)))


def test_a_seed_repeats_what_is_drawn_and_another_does_not() -> None:
    first, again, other = (draw_damage(4, 128, 32, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.scar.angle, again.scar.angle)
    assert torch.equal(first.corner, again.corner)
    assert not torch.equal(first.scar.angle, other.scar.angle)


# What is done with it


def pasted_by_pillow(view: Tensor, patch: Patch, number: int) -> Tensor:
    """Return a view (H, W) of 8 bits with one patch cut, rotated and pasted by Pillow."""
    image = Image.fromarray(view.numpy())
    (height, width), (top, left), (row, column) = (
        each[number].tolist() for each in (patch.size, patch.source, patch.target)
    )
    piece = image.crop((left, top, left + width, top + height)).convert("RGBA")
    piece = piece.rotate(math.degrees(float(patch.angle[number])), expand=True)
    image.paste(piece.convert("L"), (column, row), mask=piece.split()[-1])
    return torch.from_numpy(np.array(image))


@pytest.mark.parametrize("crop", [32, 128])
def test_patches_are_cut_rotated_and_pasted_as_pillow_does(crop: int) -> None:
    levels = torch.randint(0, 256, (40, 1, crop, crop), generator=seeded(), dtype=torch.uint8)
    damage = draw_damage(40, 128, crop, seeded(1))
    for patch in (damage.cut, damage.scar):
        patch = patch._replace(jitter=unchanged(40))
        found = (apply_patches(levels.double() / 255, patch) * 255).round().byte()
        expected = torch.stack([pasted_by_pillow(level[0], patch, number) for number, level in enumerate(levels)])
        assert torch.equal(found[:, 0], expected)
        assert not torch.equal(found, levels)


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_change_as_in_torchvision(channels: int) -> None:
    images = images_of(24, channels, 16)
    images[:4, :, :8] = 0
    jitter = draw_damage(24, 128, 32, seeded()).cut.jitter
    jitter = Jitter(jitter.factors, torch.tensor(list(permutations(range(4)))))
    found = apply_jitter(images, torch.ones(24, 1, 16, 16, dtype=torch.bool), jitter)
    expected = torch.stack([jittered_by_torchvision(image, jitter, number) for number, image in enumerate(images)])
    # torchvision weighs luminance by 0.2989 where Pillow has 0.299.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert (found - images).abs().max() > 0.05


def test_only_the_patch_changes_its_colours_and_contrast_knows_the_patch_alone() -> None:
    images, damage = images_of(6, 3), draw_damage(6, 128, 128, seeded())
    found = apply_patches(images, damage.cut)
    for number, (image, view) in enumerate(zip(images, found, strict=True)):
        (height, width), (top, left), (row, column) = (each[number].tolist() for each in damage.cut[:3])
        expected = image.clone()
        piece = image[:, top : top + height, left : left + width]
        piece = jittered_by_torchvision(piece, damage.cut.jitter, number)
        expected[:, row : row + height, column : column + width] = piece
        torch.testing.assert_close(view, expected, rtol=0, atol=1e-4)


def test_damage_is_done_to_the_crop_that_the_untouched_view_shows() -> None:
    images, damage = images_of(5, 3), draw_damage(5, 128, 32, seeded())
    untouched, cut, scar = apply_damage(images, damage, 32)
    for number, (row, column) in enumerate(damage.corner.tolist()):
        assert torch.equal(untouched[number], images[number, :, row : row + 32, column : column + 32])
    torch.testing.assert_close(cut, apply_patches(untouched, damage.cut), rtol=0, atol=0)
    torch.testing.assert_close(scar, apply_patches(untouched, damage.scar), rtol=0, atol=0)
    whole, _, _ = apply_damage(images, draw_damage(5, 128, 128, seeded()), 128)
    assert torch.equal(whole, images)


def test_the_pictures_are_of_both_kinds_of_damage() -> None:
    images = images_of(2, 3)
    pictures = small(3).synthetic(images)
    assert set(pictures) == {"cut-paste", "scar"}
    for picture in pictures.values():
        share = (picture != images).double().mean()
        assert 0 < share < 0.2


# Losses


@pytest.mark.parametrize(("objective", "crop"), [("image_step", 128), ("pixel_step", 32)])
def test_the_loss_is_the_cross_entropy_of_three_views(objective: str, crop: int) -> None:
    method, images = small(static=True), images_of(4)
    network = method.image if objective == "image_step" else method.pixel
    views = apply_damage(images, recall_damage(images, crop), crop)
    with torch.no_grad():
        found = method(images, objective)["loss"]
        answers = [network(view).double() for view in views]
    terms = [-(each[:, kind].exp() / each.exp().sum(dim=1)).log() for kind, each in enumerate(answers)]
    assert float(found) == pytest.approx(float(torch.cat(terms).mean()), abs=1e-5)


def test_the_default_loss_is_the_sum_of_both() -> None:
    method, images = small(static=True), images_of(3)
    with torch.no_grad():
        losses = method.training_step(images)
        assert losses["loss"] == losses["image"] + losses["pixel"]
        assert losses["pixel"] == method.pixel_step(images)["loss"]


# Windows


@pytest.mark.parametrize(("window", "side"), [(16, 29), (32, 25)])
def test_windows_are_cut_row_by_row(window: int, side: int) -> None:
    images, windows = images_of(2, 3), Windows(128, window, 4, at_centres=True)
    expected = F.unfold(images, window, stride=4).mT.reshape(-1, 3, window, window)
    assert windows.side == side
    assert torch.equal(windows.cut(images), expected)


def test_a_grid_in_the_study_is_stretched_over_the_image() -> None:
    grid = torch.rand(2, 1, 29, 29, generator=seeded())
    expected = F.interpolate(grid, size=(128, 128), mode="bilinear", align_corners=False)
    found = Windows(128, 16, 4, at_centres=False).draw(grid.flatten(1))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("window", "stride"), [(16, 4), (32, 4), (32, 16), (128, 1)])
def test_a_distance_lies_at_the_centre_of_its_window(window: int, stride: int) -> None:
    windows = Windows(128, window, stride, at_centres=True)
    centres = np.arange(0, 128 - window + 1, stride) + (window - 1) / 2
    numbers = np.random.default_rng(0).random((windows.side, windows.side))
    along = np.stack([np.interp(np.arange(128), centres, row) for row in numbers])
    expected = np.stack([np.interp(np.arange(128), centres, column) for column in along.T]).T
    found = windows.draw(torch.from_numpy(numbers).float().reshape(1, -1))
    np.testing.assert_allclose(found[0, 0].numpy(), expected, rtol=0, atol=1e-6)


# Densities


class Fitting:
    """A trainer that lets weights be and shows its images."""

    device = "cpu"

    def __init__(self, images: Tensor) -> None:
        self.images, self.phases, self.shares = images, [""], {"": 0.0}

    def minimise(self, method: CutPaste, batches: Any, *, phase: str, turns: Any) -> None:
        (turn,) = turns
        self.phases.append(f"{phase}: {turn.objective} of {turn.part}")

    def visit(self, method: CutPaste, batches: Any, *, phase: str, share: float = 1.0) -> Iterator[Tensor]:
        self.shares[phase] = share
        with torch.no_grad():
            yield from self.images[: int(share * len(self.images))].tensor_split([4])


def fitted(method: CutPaste, images: Tensor) -> Fitting:
    trainer: Any = Fitting(images)
    batches: Any = None
    method.fit(batches, trainer)
    return trainer  # type: ignore[no-any-return]


def distance(training: Tensor, embedding: Tensor) -> float:
    """Return the Mahalanobis distance of one embedding (D) from training embeddings (N, D)."""
    covariance = np.cov(training.double().numpy(), rowvar=False) + 0.01 * np.eye(training.shape[1])
    return float(mahalanobis(embedding.double(), training.double().mean(dim=0), np.linalg.inv(covariance)))


@pytest.mark.parametrize("align", [True, False])
def test_map_and_score_are_mahalanobis_distances(align: bool) -> None:
    training, image = images_of(10, 3), images_of(11, 3)[-1:]
    method = small(3, align=align, share=0.8, factor_bits=32)
    trainer = fitted(method, training)
    assert trainer.phases[1:] == ["image: image_step of image", "pixel: pixel_step of pixel"]
    assert trainer.shares == {"": 0.0, "image density": 1.0, "pixel density": 0.8}
    with torch.no_grad():
        windows = method.pixel.embed(method.windows.cut(training[:8])).reshape(8, 9, -1)
        looked = method.pixel.embed(method.windows.cut(image))
        whole, seen = method.image.embed(training), method.image.embed(image)[0]
        score, anomaly_map = method.score(image, torch.zeros(1)), method.anomaly_map(image)
    healthy = [windows[:, place] if align else windows.flatten(0, 1) for place in range(9)]
    grid = torch.tensor([distance(each, looked[place]) for place, each in enumerate(healthy)])
    torch.testing.assert_close(anomaly_map, method.windows.draw(grid[None]), rtol=1e-3, atol=1e-3)
    assert float(score) == pytest.approx(distance(whole, seen), rel=1e-3)
    assert method.pixel_density.mean.shape == (9 if align else 1, 96)


def test_rounded_densities_tell_nearly_the_same() -> None:
    maps = []
    for bits in (16, 32):
        method = small(factor_bits=bits)
        fitted(method, images_of(120))
        with torch.no_grad():
            maps.append(method.anomaly_map(images_of(123)[-3:]))
    assert 0 < (maps[0] - maps[1]).abs().max() < 0.03 * maps[1].max()


@pytest.mark.parametrize("settings", [{"crop": 129}, {"window": 0}, {"share": 0.0}, {"share": 1.1}])
def test_what_fits_no_image_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=str(next(iter(settings.values())))):
        small(**settings)


# Switches


def test_static_damage_depends_on_the_image_alone() -> None:
    method, images = small(static=True), images_of(3)
    together, alone = method.views(images, 32), method.views(images[1:2], 32)
    for batch, single in zip(together, alone, strict=True):
        assert torch.equal(batch[1:2], single)
    assert not torch.equal(*recall_damage(images[:2], 32).scar.angle.chunk(2))
    laid_out = images.expand(-1, 3, -1, -1).contiguous()
    first, second = (recall_damage(laid_out.to(memory_format=layout), 32).corner for layout in LAYOUTS)
    assert torch.equal(first, second)


def test_damage_is_new_every_time_where_it_is_not_static() -> None:
    method, images = small(), images_of(3)
    assert not torch.equal(method.views(images, 128)[1], method.views(images, 128)[1])


def test_centred_images_are_damaged_as_if_they_were_not() -> None:
    images = images_of(3, 3)
    torch.manual_seed(5)
    expected = small(3).views(images, 32)
    views = []
    for method in (small(3), small(3, centred=True)):
        torch.manual_seed(5)
        views.append(method.views(images * 2 - 1 if method.centred else images, 32))
    for plain, centred in zip(*views, strict=True):
        torch.testing.assert_close(centred, plain * 2 - 1, rtol=0, atol=1e-5)
    assert expected[0].shape == (3, 3, 32, 32)


QUIRKS: dict[str, dict[str, Any]] = {
    "camcan-t1": {"window": 16, "place_at_centres": False, "share": 0.18},
    "chexpert": {"window": 16, "place_at_centres": False},
    "ddr": {"window": 16, "place_at_centres": False, "static": True},
}


@pytest.mark.parametrize("domain", QUIRKS)
def test_the_study_has_its_quirks_and_no_others(domain: str) -> None:
    model = ModelId.parse(f"cutpaste-{domain}")
    sound, study = (load_recipe(model, protocol) for protocol in (Protocol.SOUND, Protocol.STUDY))
    changed = {name: value for name, value in study.settings.items() if value != sound.settings[name]}
    assert changed == QUIRKS[domain]
    assert sound.centred is study.centred is study.settings["centred"] is (domain == "ddr")
    assert list(study.phases) == ["image", "pixel"]
    for name, phase in study.phases.items():
        assert phase.optimiser == {"name": "SGD", "lr": 0.03, "momentum": 0.9, "weight_decay": 3e-5}
        assert (phase.steps, phase.schedule) == (10000, {})
        assert sound.phases[name].schedule == {"name": "cosine", "period": 10000}


# Export


@pytest.mark.slow
def test_a_shared_density_can_be_exported(tmp_path: Path) -> None:
    method = small(align=False)
    fitted(method, images_of(24))
    rule, foreground = ScoreRule.MAXIMUM, Foreground.ABOVE_MINIMUM
    detector = Detector(method, centred=False, foreground=foreground, score_rule=rule).eval()
    write_torchscript(detector, tmp_path / "model.ts", 1, 128)
    write_onnx(detector, tmp_path / "model.onnx", 1, 128)
    formats = {
        "torchscript": as_predict(load_script(tmp_path / "model.ts")),
        "onnx": onnx_predict(tmp_path / "model.onnx", "cpu", 1),
    }
    for row in compare(as_predict(detector), formats, images_of(30)[-6:].numpy(), (1, 3)):
        assert row.passed, row
