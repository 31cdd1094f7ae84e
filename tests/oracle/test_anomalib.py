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
from upd_zoo.method import create

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
    ours: Any = create("rd", 3, {"backbone": BACKBONE}).eval()
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


def test_padim_is_anomalibs(anomalib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"backbone": "resnet18", "features": 40, "factor_bits": 32, "backbone_bits": 32}
    ours: Any = create("padim", 3, settings).eval()
    disturb(ours.backbone)
    theirs = anomalib.padim.torch_model.PadimModel("resnet18", LEVELS, pre_trained=False, n_features=40).eval()
    copy_in_order([ours.backbone.network], [theirs.feature_extractor.feature_extractor])
    theirs.idx.copy_(ours.chosen)
    # The study enlarges levels bilinearly and does not smooth the map; anomalib takes the nearest and does.
    bilinear = partial(F.interpolate, mode="bilinear", align_corners=False)
    ours_only = SimpleNamespace(interpolate=lambda level, size, **_: bilinear(level, size))
    monkeypatch.setattr(anomalib.padim.torch_model, "F", ours_only)
    theirs.anomaly_map_generator.smooth_anomaly_map = lambda anomaly_map: anomaly_map

    with torch.no_grad():
        known = ours.embeddings(images_of(60, seed=1))
        moments = Moments(*known.shape[1:])
        moments.update(known)
        ours.density.fit(moments)
        embeddings = theirs.train()(images_of(60, seed=1)).flatten(2).permute(2, 0, 1).double()  # position, image, d
        theirs.eval().feature_extractor.eval()
        covariance = torch.stack([each.T.cov() for each in embeddings]) + 0.01 * torch.eye(40, dtype=torch.float64)
        theirs.gaussian.mean = embeddings.mean(1).T.float()
        theirs.gaussian.inv_covariance = covariance.inverse().float()
        expected, found = theirs(images_of(3)).anomaly_map, ours.anomaly_map(images_of(3))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.max() - expected.min()))


def test_cflow_is_anomalibs(anomalib: Any) -> None:
    torch.manual_seed(0)
    ours: Any = create("cflow-ad", 3, {"backbone": "resnet18", "padding": "zeros", "condition": 32}).eval()
    disturb(ours)
    theirs = anomalib.cflow.torch_model.CflowModel("resnet18", LEVELS, pre_trained=False, condition_vector=32).eval()
    copy_in_order([ours.backbone.network], [theirs.encoder.feature_extractor])
    for decoder, other in zip(ours.decoders, theirs.decoders, strict=True):
        for block, same in zip(decoder.blocks, other.module_list, strict=True):
            copy_in_order([block.widen, block.narrow], [same.subnet])
            with torch.no_grad():
                same.global_scale.copy_(block.global_scale[None])
                same.global_offset.copy_(block.global_offset[None])
                same.w_perm.copy_(torch.eye(len(block.permutation))[block.permutation])
    images = images_of(3)
    # anomalib divides by the largest probability of the images that it looks at, and turns the sum of levels around
    # its own maximum: maps are the same but for a constant and for the number of levels.
    ours.maxima.copy_(ours.highest(images))
    with torch.no_grad():
        expected, found = theirs(images).anomaly_map, 3 * ours.anomaly_map(images)[:, 0]
    assert found.std() > 1e-3
    torch.testing.assert_close(found - found.min(), expected - expected.min(), rtol=0, atol=1e-5)


def _pairs(module: Any, numbers: Iterable[int]) -> list[nn.Module]:
    return [getattr(module, f"{kind}{number}") for number in numbers for kind in ("conv", "bn")]
