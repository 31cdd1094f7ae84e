"""VAE, against torch's distributions."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from upd_zoo.layers.similarity import SSIMResidual
from upd_zoo.methods.vae import VAE
from upd_zoo.recipe import load_recipe
from upd_zoo.vocabulary import DOMAINS, ModelId, Protocol


def tiny(**settings: float) -> VAE:
    torch.manual_seed(0)
    method = VAE(1, width=4, bottleneck=4, latent=8)
    for name, value in settings.items():
        setattr(method, name, value)
    return method.eval()


def images(count: int, channels: int = 1) -> Tensor:
    return torch.rand(count, channels, 128, 128, generator=torch.Generator().manual_seed(1))


def test_the_loss_is_the_squared_error_and_the_divergence_from_a_standard_normal() -> None:
    method, x = tiny(kl_weight=0.3), images(3)
    mean, log_variance = method.encode(x)
    torch.manual_seed(5)
    losses = method.training_step(x)
    torch.manual_seed(5)
    z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
    divergence = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).mean()
    error = ((x - method.decode(z)) ** 2).mean()
    torch.testing.assert_close(losses["kl"], divergence)
    torch.testing.assert_close(losses["reconstruction"], error)
    torch.testing.assert_close(losses["loss"], error + 0.3 * divergence)


def test_the_code_is_drawn_anew_at_every_step() -> None:
    method, x = tiny(), images(2)
    first, second = method.training_step(x), method.training_step(x)
    assert first["reconstruction"] != second["reconstruction"]
    assert first["kl"] == second["kl"]


def test_the_map_is_what_the_mean_of_the_code_leaves_out() -> None:
    method, x = tiny(), images(2)
    with torch.no_grad():
        mean, _ = method.encode(x)
        torch.testing.assert_close(method.anomaly_map(x), SSIMResidual(1.0)(x, method.decode(mean)))


def test_the_studys_test_time_noise_is_one_draw_that_is_stored() -> None:
    torch.manual_seed(0)
    method, x = VAE(1, width=4, bottleneck=4, latent=8, sample_at_test=True).eval(), images(2)
    other = VAE(1, width=4, bottleneck=4, latent=8, sample_at_test=True).eval()
    assert not torch.equal(method.noise, other.noise)
    with torch.no_grad():
        mean, log_variance = method.encode(x)
        drawn = method.reconstruct(x)
        torch.testing.assert_close(drawn, method.decode(mean + (log_variance / 2).exp() * method.noise))
        assert torch.equal(drawn, method.reconstruct(x))
        assert not torch.equal(drawn, method.decode(mean))
        other.load_state_dict(method.state_dict())
        assert torch.equal(drawn, other.reconstruct(x))


def test_the_studys_dynamic_range_makes_of_the_map_a_squared_blurred_error() -> None:
    method, x = tiny(), images(2)
    method.residual = SSIMResidual(255.0)
    with torch.no_grad():
        found, drawn = method.anomaly_map(x), method.reconstruct(x)
        sound = tiny().anomaly_map(x)
    blurred = F.avg_pool2d(x - drawn, 5, stride=1, padding=2) ** 2
    assert found.max() < 0.1 * sound.max()
    assert torch.corrcoef(torch.stack([found.flatten(), blurred.flatten()]))[0, 1] > 0.8


@pytest.mark.parametrize("domain", DOMAINS)
def test_both_switches_are_the_studys_alone(domain: str) -> None:
    found = {protocol: dict(load_recipe(ModelId("vae", None, domain), protocol).settings) for protocol in Protocol}
    ranges = {protocol: settings.pop("dynamic_range") for protocol, settings in found.items()}
    sampled = {protocol: settings.pop("sample_at_test", False) for protocol, settings in found.items()}
    assert sampled == {Protocol.STUDY: True, Protocol.SOUND: False}
    assert ranges[Protocol.STUDY] == 255.0
    assert ranges[Protocol.SOUND] in (1.0, 2.0)
    assert found[Protocol.STUDY] == found[Protocol.SOUND]
