"""Feature-modelling methods against anomalib's, with the same weights copied over.

Where anomalib departs from the study on purpose (smoothing, widths, padding), its own bricks are asked, not its whole.
"""

import warnings
from collections.abc import Iterable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from upd_zoo.layers.gaussian import Moments
from upd_zoo.registry import create

pytestmark = pytest.mark.slow
BACKBONE = "wide_resnet50_2"
LEVELS = ["layer1", "layer2", "layer3"]


@pytest.fixture(scope="module")
def anomalib() -> Any:
    """The package, whose import warns of its own deprecations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip("anomalib.models.image", reason="anomalib comes with the extra oracle")
        __import__("anomalib.models.image.reverse_distillation.torch_model")
        __import__("anomalib.models.image.cflow.torch_model")
        __import__("anomalib.models.image.padim.torch_model")
    return package


def images_of(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, 128, 128, generator=torch.Generator().manual_seed(seed))


def copy_in_order(source: Iterable[nn.Module], target: Iterable[nn.Module]) -> None:
    """Copy parameters and buffers of modules to others that have the same ones in the same order."""
    given = [tensor for module in source for tensor in module.state_dict().values()]
    taken = [tensor for module in target for tensor in module.state_dict().values()]
    assert [tensor.shape for tensor in given] == [tensor.shape for tensor in taken]
    with torch.no_grad():
        for tensor, other in zip(given, taken, strict=True):
            other.copy_(tensor)


def disturb(module: nn.Module) -> None:
    """Give every running statistic and affine a value of its own, so that none can be mistaken for another."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and tensor.dim() == 1:
            noise = torch.rand(tensor.shape, generator=generator)
            tensor.copy_(0.5 + noise if "var" in name or "weight" in name else 0.2 * noise - 0.1)


def test_reverse_distillation_is_anomalibs(anomalib: Any) -> None:
    parts = anomalib.reverse_distillation
    torch.manual_seed(0)
    ours: Any = create("rd", 3, 128, {"backbone": BACKBONE}).eval()
    disturb(ours)
    theirs = parts.torch_model.ReverseDistillationModel(
        BACKBONE, (128, 128), LEVELS, parts.anomaly_map.AnomalyMapGenerationMode.ADD, pre_trained=False
    ).eval()
    bottleneck = parts.components.bottleneck
    # The study's bottleneck has the width of the teacher's blocks; anomalib's default has half of it.
    theirs.bottleneck = bottleneck.OCBE(bottleneck.Bottleneck, 3, width_per_group=128).eval()
    squeeze = theirs.bottleneck
    copy_in_order(
        [ours.backbone.network, ours.bottleneck.from_shallow, ours.bottleneck.from_middle, ours.bottleneck.squeeze],
        [theirs.encoder.feature_extractor, *_pairs(squeeze, (1, 2, 3)), squeeze.bn_layer],
    )
    copy_in_order([ours.student], [theirs.decoder])
    theirs.anomaly_map_generator.kernel_size = 1  # the study does not smooth
    with torch.no_grad():
        expected, found = theirs(images_of(3)).anomaly_map, ours.anomaly_map(images_of(3))
    assert found.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.fixture
def padims(anomalib: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """Our PaDiM and anomalib's with the same backbone and channels, both untrained."""
    torch.manual_seed(0)
    # anomalib adds 0.01 to the diagonal of a covariance, and then 0.00001 more.
    settings: Any = {"backbone": "resnet18", "features": 40, "ridge": 0.01001, "factor_bits": 32, "backbone_bits": 32}
    ours: Any = create("padim", 3, 128, settings).eval()
    disturb(ours.backbone)
    theirs = anomalib.padim.torch_model.PadimModel("resnet18", LEVELS, pre_trained=False, n_features=40).eval()
    copy_in_order([ours.backbone.network], [theirs.feature_extractor.feature_extractor])
    theirs.idx.copy_(ours.chosen)
    # The study enlarges levels bilinearly; anomalib repeats the nearest value.
    bilinear = partial(F.interpolate, mode="bilinear", align_corners=False)
    enlarging = SimpleNamespace(interpolate=lambda level, size, **_: bilinear(level, size))
    monkeypatch.setattr(anomalib.padim.torch_model, "F", enlarging)
    # The study does not smooth maps; anomalib does, by a Gaussian of 4 pixels.
    theirs.anomaly_map_generator.blur = nn.Identity()
    return ours, theirs


def learn(ours: Any, theirs: Any, known: Tensor) -> None:
    """Give both PaDiMs their statistics, each in its own way."""
    with torch.no_grad():
        embeddings = ours.embeddings(known)
        moments = Moments(*embeddings.shape[1:])
        for batch in embeddings.split(7):
            moments.update(batch)
        ours.density.fit(moments)
        theirs.train()(known)
    theirs.fit()
    theirs.eval()


def test_padims_embeddings_and_statistics_are_anomalibs(padims: tuple[Any, Any]) -> None:
    ours, theirs = padims
    learn(ours, theirs, images_of(60, seed=1))
    with torch.no_grad():
        found = ours.embeddings(images_of(3))
        expected = theirs.generate_embedding(theirs.feature_extractor(images_of(3))).flatten(2).mT
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.density.mean, theirs.gaussian.mean.T, rtol=1e-4, atol=1e-5)


def test_padims_map_is_anomalibs(padims: tuple[Any, Any]) -> None:
    learn(*padims, images_of(60, seed=1))
    ours, theirs = padims
    with torch.no_grad():
        expected, found = theirs(images_of(3)).anomaly_map, ours.anomaly_map(images_of(3))
    assert found.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.max() - expected.min()))


@pytest.fixture
def cflows(anomalib: Any) -> tuple[Any, Any]:
    """Our CFLOW-AD and anomalib's with the same weights."""
    torch.manual_seed(0)
    # The study's own backbone mirrors borders; anomalib's, timm's, pads with zeros, and so does ours where asked.
    ours: Any = create("cflow-ad", 3, 128, {"backbone": "resnet18", "padding": "zeros", "condition": 32}).eval()
    disturb(ours)
    theirs = anomalib.cflow.torch_model.CflowModel("resnet18", LEVELS, pre_trained=False, condition_vector=32).eval()
    copy_in_order([ours.backbone.network], [theirs.encoder.feature_extractor])
    for decoder, other in zip(ours.decoders, theirs.decoders, strict=True):
        for block, same in zip(decoder.blocks, other.module_list, strict=True):
            with torch.no_grad():
                block.narrow.weight.mul_(5)  # far enough from the identity for clamps to be seen
                permutation = torch.eye(len(block.permutation))[block.permutation]
                same.global_scale.copy_(block.global_scale[None])
                same.global_offset.copy_(block.global_offset[None])
                same.w_perm.copy_(permutation)
                same.w_perm_inv.copy_(permutation.T)
            copy_in_order([block.widen, block.narrow], [same.subnet])
    return ours, theirs


def as_rows(level: Tensor) -> Tensor:
    """Return (B · H · W, C), as anomalib arranges the vectors of a level (B, C, H, W)."""
    return level.permute(0, 2, 3, 1).flatten(0, 2)


def test_cflows_likelihoods_and_loss_are_anomalibs(anomalib: Any, cflows: tuple[Any, Any]) -> None:
    ours, theirs = cflows
    bricks, losses = anomalib.cflow.utils, []
    with torch.no_grad():
        found, named = ours.log_likelihoods(images_of(3)), ours.training_step(images_of(3))
        for level, (name, features) in enumerate(theirs.encoder(images_of(3)).items()):
            assert name == LEVELS[level]
            _, channels, height, width = features.shape
            code = as_rows(bricks.positional_encoding_2d(32, height, width).expand(3, -1, -1, -1))
            z, determinant = theirs.decoders[level](as_rows(features), [code])
            likelihood = bricks.get_logp(channels, z, determinant) / channels
            torch.testing.assert_close(found[level].flatten(), likelihood, rtol=1e-4, atol=1e-4)
            losses.append(-F.logsigmoid(likelihood).mean())
    torch.testing.assert_close(named["loss"], torch.stack(losses).sum())


def test_anomalib_undoes_what_a_decoder_of_ours_does(cflows: tuple[Any, Any]) -> None:
    # Eight blocks shorten vectors further than float32 can undo.
    ours, theirs = (each.double() for each in cflows)
    with torch.no_grad():
        for decoder, other, level in zip(
            ours.decoders, theirs.decoders, ours.backbone(images_of(1).double()), strict=True
        ):
            z = level.transpose(0, 1).flatten(1)
            for block in decoder.blocks:
                z, _ = block(z, decoder.code)
            undone, _ = other(z.T, [decoder.code.T], rev=True)
            torch.testing.assert_close(undone, as_rows(level))


def test_cflows_map_is_anomalibs(cflows: tuple[Any, Any]) -> None:
    ours, theirs = cflows
    # anomalib divides by the largest probability of the images that it looks at, and turns the sum of levels around
    # its own maximum: maps are the same but for a constant and for the number of levels.
    ours.maxima.copy_(ours.highest(images_of(3)))
    with torch.no_grad():
        expected, found = theirs(images_of(3)).anomaly_map, 3 * ours.anomaly_map(images_of(3))[:, 0]
    assert found.std() > 1e-3
    spread = float(expected.max() - expected.min())
    torch.testing.assert_close(found - found.min(), expected - expected.min(), rtol=0, atol=1e-4 * spread)


def _pairs(module: Any, numbers: Iterable[int]) -> list[nn.Module]:
    return [getattr(module, f"{kind}{number}") for number in numbers for kind in ("conv", "bn")]
