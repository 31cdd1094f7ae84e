"""FAE, against torch's own operators and the formulas written out in float64."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from upd_zoo.methods.fae import FAE
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.vocabulary import DOMAINS, Protocol

LIGHT = "test_resnet"


def images(count: int, channels: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((count, channels, 16, 16), generator=generator) * 2 - 1
    return F.interpolate(coarse, (128, 128), mode="bilinear")


@pytest.fixture(scope="module")
def study() -> FAE:
    """The study's network, in evaluation mode."""
    torch.manual_seed(0)
    return FAE(1, 128).eval()


def one_minus_ssim(x: Tensor, y: Tensor) -> Tensor:
    """Return 1 − SSIM per channel in float64: window 5 x 5, σ = 1.5, zeros beyond the border, L = 1."""
    x, y = x.double(), y.double()
    line = torch.exp(-(torch.arange(-2.0, 3.0).double() ** 2) / (2 * 1.5**2))
    window = (torch.outer(line, line) / line.sum() ** 2).expand(x.shape[1], 1, 5, 5)

    def mean(maps: Tensor) -> Tensor:
        return F.conv2d(maps, window, padding=2, groups=x.shape[1])

    mean_x, mean_y = mean(x), mean(y)
    covariance = mean(x * y) - mean_x * mean_y
    spread = mean(x * x) - mean_x**2 + mean(y * y) - mean_y**2
    return 1 - (2 * mean_x * mean_y + 1e-4) * (2 * covariance + 9e-4) / (
        (mean_x**2 + mean_y**2 + 1e-4) * (spread + 9e-4)
    )


def test_the_networks_have_the_studys_shapes_and_sizes(study: FAE) -> None:
    with torch.no_grad():
        features = study.extract(images(2))
        code = study.encoder(features)
    assert features.shape == (2, 256, 32, 32)
    assert code.shape == (2, 300, 2, 2)
    assert study.decoder(code).shape == features.shape
    sizes = dict.fromkeys((True, False), 0)
    for parameter in study.parameters():
        sizes[parameter.requires_grad] += parameter.numel()
    assert round(sizes[True] / 1e6, 3) == 10.285
    assert round(sizes[False] / 1e6, 3) == 0.683


def test_features_are_the_first_three_stages_of_a_resnet(study: FAE) -> None:
    x, network = images(2, 3), study.backbone.network
    stem = F.max_pool2d(F.relu(network.bn1(network.conv1(x))), 3, stride=2, padding=1)
    first = network.layer1(stem)
    second = F.interpolate(network.layer2(first), (32, 32), mode="bilinear", align_corners=True)
    torch.testing.assert_close(study.extract(x), torch.cat((stem, first, second), dim=1))


def test_the_loss_is_one_minus_the_mean_ssim_of_features(study: FAE) -> None:
    with torch.no_grad():
        features = study.extract(images(2))
        expected = one_minus_ssim(features, study.decoder(study.encoder(features))).mean()
        loss = study.training_step(images(2))["loss"]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_map_is_the_upsampled_mean_over_channels(study: FAE) -> None:
    with torch.no_grad():
        features = study.extract(images(2))
        residual = one_minus_ssim(features, study.decoder(study.encoder(features))).mean(dim=1, keepdim=True)
        found = study.anomaly_map(images(2))
    expected = F.interpolate(residual, (128, 128), mode="bilinear", align_corners=True)
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-6)


def test_what_is_drawn_as_it_is_has_a_map_of_zero(study: FAE, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "encoder", torch.nn.Identity())
    monkeypatch.setattr(study, "decoder", torch.nn.Identity())
    with torch.no_grad():
        assert study.anomaly_map(images(1)).abs().max() == 0


@pytest.mark.parametrize("adapt", [True, False])
def test_the_backbone_adapts_only_where_asked(adapt: bool) -> None:
    torch.manual_seed(0)
    method = FAE(1, 128, backbone=LIGHT, widths=[8, 8, 8, 8], adapt_batch_norm=adapt)
    before = {name: tensor.clone() for name, tensor in method.backbone.state_dict().items()}
    features = method.eval().extract(images(4))
    torch.autograd.backward(method.train().training_step(images(4))["loss"])
    after = method.backbone.state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == (
        {name for name in before if "running" in name or "tracked" in name} if adapt else set()
    )
    assert torch.equal(method.eval().extract(images(4)), features) is not adapt
    assert all(parameter.grad is None for parameter in method.backbone.parameters())


def test_training_describes_a_batch_by_its_own_statistics() -> None:
    torch.manual_seed(0)
    method = FAE(1, 128, backbone=LIGHT, widths=[8, 8, 8, 8]).train()
    brighter = method.extract(images(4) * 3)
    assert (method.extract(images(4)) - brighter).abs().mean() < 1e-2 * brighter.mean()


def test_every_domain_is_centred_by_the_study() -> None:
    for domain in DOMAINS:
        sound, study = (load_recipe(ModelId("fae", None, domain), p) for p in (Protocol.SOUND, Protocol.STUDY))
        assert study.centred
        assert sound.settings == study.settings | {
            "placement": "looked-at",
            "normalise": True,
            "levels_from": "expansion",
        }
        assert study.settings["placement"] == "corners"
