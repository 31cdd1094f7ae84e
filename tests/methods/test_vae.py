"""VAE, against torch's distributions and operators, and Wang's formula written out with numpy and scipy."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from upd_zoo.errors import UsageError
from upd_zoo.methods.vae import VAE
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.registry import create
from upd_zoo.vocabulary import DOMAINS, Protocol


def tiny(channels: int = 1, **settings: Any) -> VAE:
    """Return a small method whose affines are moved and whose statistics are those of some images.

    With the statistics that a network starts with, what it draws hardly depends on the code.
    """
    torch.manual_seed(0)
    method = VAE(channels, 128, width=4, bottleneck=4, latent=8, **settings)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for tensor in method.state_dict().values():
            if tensor.dim() == 1:
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
        for module in method.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        method.train().training_step(images(8, channels))
    return method.eval()


def images(count: int, channels: int = 1) -> Tensor:
    return torch.rand(count, channels, 128, 128, generator=torch.Generator().manual_seed(1))


def one_minus_ssim(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], dynamic_range: float) -> Tensor:
    """Return 1 − SSIM of two (H, W) images by Wang's formula, as it stands in the paper."""

    def mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(gaussian_filter(values, 1.5, mode="constant", truncate=5 / 1.5))

    c1, c2 = (0.01 * dynamic_range) ** 2, (0.03 * dynamic_range) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, cxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    ssim = (2 * mx * my + c1) * (2 * cxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return torch.from_numpy(np.clip(1 - ssim, 0, 1)).float()


def layers(network: nn.Module) -> list[nn.Module]:
    """Return what a network consists of, in order."""
    return [module for module in network.modules() if not isinstance(module, nn.Sequential)]


def walk(network: nn.Module, features: Tensor) -> Tensor:
    """Return what comes of features by torch's functions, one for each kind of layer, with the study's strides."""
    for layer in layers(network):
        match layer:
            case nn.ConvTranspose2d():
                features = F.conv_transpose2d(features, layer.weight, layer.bias, 2, 1, 1)
            case nn.Conv2d(kernel_size=(3, 3)):
                features = F.conv2d(features, layer.weight, layer.bias, 2, 1)
            case nn.Conv2d():
                features = F.conv2d(features, layer.weight, layer.bias)
            case nn.BatchNorm2d():
                assert layer.running_mean is not None
                features = F.batch_norm(features, layer.running_mean, layer.running_var, layer.weight, layer.bias)
            case _:
                features = F.leaky_relu(features, 0.01)
    return features


def test_six_halvings_and_a_convolution_make_the_code_and_as_many_doublings_the_image() -> None:
    with torch.device("meta"):
        method = VAE(1, 128, width=16, bottleneck=64, latent=256)
    sides = [
        (type(layer).__name__, layer.in_channels, layer.out_channels)
        for layer in (*layers(method.encoder), *layers(method.decoder))
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    ]
    widths = [16, 32, 64, 128, 256, 512]
    down = [("Conv2d", i, o) for i, o in zip([3, *widths, 64], [*widths, 64, 512], strict=True)]
    up = [("ConvTranspose2d", i, o) for i, o in zip(widths[::-1], [*widths[-2::-1], 16], strict=True)]
    assert sides == [*down, *up, ("Conv2d", 16, 1)]
    kinds = [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU]
    assert [type(layer) for layer in layers(method.encoder)] == 7 * kinds
    doubling: list[type[nn.Module]] = [nn.ConvTranspose2d, nn.BatchNorm2d, nn.LeakyReLU]
    assert [type(layer) for layer in layers(method.decoder)] == [*kinds, *(6 * doubling), nn.Conv2d]
    assert method.to_latent.weight.shape == (2 * 256, 4 * 64)
    assert method.from_latent.weight.shape == (4 * 64, 256)
    assert method.to_latent.bias is None
    assert method.from_latent.bias is None


@pytest.mark.parametrize("channels", [1, 3])
def test_a_dense_layer_without_bias_reads_mean_and_log_variance_from_the_code(channels: int) -> None:
    method, x = tiny(channels), images(2, channels)
    with torch.no_grad():
        code = walk(method.encoder, x.repeat(1, 3 // channels, 1, 1))
        assert code.shape == (2, 4, 2, 2)
        both = code.reshape(2, 16) @ method.to_latent.weight.T
        mean, log_variance = method.encode(x)
        torch.testing.assert_close(mean, both[:, :8])
        torch.testing.assert_close(log_variance, both[:, 8:])


def test_another_dense_layer_spreads_the_code_that_the_decoder_draws() -> None:
    method, z = tiny(3), torch.randn(2, 8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        image = walk(method.decoder, (z @ method.from_latent.weight.T).reshape(2, 4, 2, 2))
        torch.testing.assert_close(method.decode(z), image)
    assert image.shape == (2, 3, 128, 128)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_loss_is_the_squared_error_and_the_divergence_from_a_standard_normal(channels: int) -> None:
    method, x = tiny(channels, kl_weight=0.3), images(3, channels)
    mean, log_variance = method.encode(x)
    torch.manual_seed(5)
    losses = method.training_step(x)
    torch.manual_seed(5)
    posterior = Normal(mean, log_variance.exp().sqrt())
    divergence = kl_divergence(posterior, Normal(0.0, 1.0)).mean()
    error = ((x - method.decode(posterior.rsample())) ** 2).mean()
    torch.testing.assert_close(losses["kl"], divergence)
    torch.testing.assert_close(losses["reconstruction"], error)
    torch.testing.assert_close(losses["loss"], error + 0.3 * divergence)


def test_the_code_is_drawn_anew_at_every_step() -> None:
    method, x = tiny(), images(2)
    first, second = method.training_step(x), method.training_step(x)
    assert first["reconstruction"] != second["reconstruction"]
    assert first["kl"] == second["kl"]


def test_the_error_teaches_mean_and_variance_alike() -> None:
    method = tiny()
    torch.autograd.backward(method.training_step(images(2))["reconstruction"])
    assert method.to_latent.weight.grad is not None
    for half in method.to_latent.weight.grad.chunk(2):
        assert half.abs().max() > 0


@pytest.mark.parametrize("sample_at_test", [True, False])
@pytest.mark.parametrize(
    ("residual", "dynamic_range", "channels"), [("ssim", 1.0, 1), ("ssim-centred", 2.0, 3), ("ssim-8-bit", 255.0, 3)]
)
def test_the_map_is_the_ssim_of_image_and_reconstruction(
    residual: str, dynamic_range: float, channels: int, sample_at_test: bool
) -> None:
    method = tiny(channels, residual=residual, sample_at_test=sample_at_test)
    x = images(1, channels)
    with torch.no_grad():
        drawn, anomaly_map = method.reconstruct(x), method.anomaly_map(x)
    pairs = zip(x[0].double().numpy(), drawn[0].double().numpy(), strict=True)
    expected = torch.stack([one_minus_ssim(a, b, dynamic_range) for a, b in pairs]).mean(0)
    torch.testing.assert_close(anomaly_map[0, 0], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(("residual", "dynamic_range"), [("ssim", 1.0), ("ssim-8-bit", 255.0)])
def test_the_map_is_scikit_images_ssim_within_the_border(residual: str, dynamic_range: float) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    method, x = tiny(residual=residual), images(1)
    with torch.no_grad():
        drawn, anomaly_map = method.reconstruct(x), method.anomaly_map(x)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "full": True}
    pair = (image[0, 0].double().numpy() for image in (x, drawn))
    _, similarity = metrics.structural_similarity(*pair, data_range=dynamic_range, **options)
    # Nearer to the border than half of the window, scikit-image mirrors and the study pads with zeros.
    expected = np.clip(1 - similarity, 0, 1)[5:-5, 5:-5]
    np.testing.assert_allclose(anomaly_map[0, 0, 5:-5, 5:-5].numpy(), expected, rtol=1e-4, atol=1e-7)


def test_what_is_drawn_as_it_is_has_a_map_of_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    method, x = tiny(), images(1)
    monkeypatch.setattr(method, "reconstruct", lambda image: image)
    with torch.no_grad():
        assert method.anomaly_map(x).abs().max() == 0


def test_a_reconstruction_decodes_the_mean_of_the_code() -> None:
    method, x = tiny(), images(2)
    with torch.no_grad():
        mean, _ = method.encode(x)
        assert torch.equal(method.reconstruct(x), method.decode(mean))


@pytest.mark.parametrize("sample_at_test", [True, False])
def test_a_map_draws_nothing(sample_at_test: bool) -> None:
    method, x = tiny(sample_at_test=sample_at_test), images(2)
    state = torch.get_rng_state()
    with torch.no_grad():
        assert torch.equal(method.anomaly_map(x), method.anomaly_map(x))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_studys_test_time_noise_is_one_draw_that_is_stored() -> None:
    method, x = tiny(sample_at_test=True), images(2)
    other = VAE(1, 128, width=4, bottleneck=4, latent=8, sample_at_test=True).eval()
    assert not torch.equal(method.noise, other.noise)
    with torch.no_grad():
        mean, log_variance = method.encode(x)
        drawn = method.reconstruct(x)
        torch.testing.assert_close(drawn, method.decode(mean + (log_variance / 2).exp() * method.noise))
        assert (drawn - method.decode(mean)).abs().max() > 0.01
        other.load_state_dict(method.state_dict())
        assert torch.equal(drawn, other.reconstruct(x))


def test_one_noise_serves_every_image_and_is_one_number_for_each_latent_dimension() -> None:
    method, x = tiny(sample_at_test=True), images(3)
    assert method.noise.shape == (1, 8)
    with torch.no_grad():
        together = method.reconstruct(x)
        for number in range(3):
            torch.testing.assert_close(method.reconstruct(x[number : number + 1]), together[number : number + 1])


def test_the_stored_noise_is_standard_normal() -> None:
    torch.manual_seed(1)
    noise = VAE(1, 128, width=1, bottleneck=1, latent=20000).noise
    assert abs(float(noise.mean())) < 0.03
    assert float(noise.std()) == pytest.approx(1, abs=0.02)


def test_without_the_switch_the_stored_noise_is_not_read() -> None:
    method, x = tiny(), images(1)
    with torch.no_grad():
        before = method.anomaly_map(x)
        method.noise.fill_(1e3)
        assert torch.equal(method.anomaly_map(x), before)


@pytest.mark.parametrize("study", [{"sample_at_test": True}, {"residual": "ssim-8-bit"}])
def test_the_studys_switches_change_the_map_and_neither_weights_nor_training(study: dict[str, Any]) -> None:
    (sound, switched), x = (tiny(), tiny(**study)), images(2)
    assert sound.state_dict().keys() == switched.state_dict().keys()
    assert all(torch.equal(tensor, switched.state_dict()[name]) for name, tensor in sound.state_dict().items())
    found = []
    for method in (sound, switched):
        torch.manual_seed(7)
        found.append(method.training_step(x))
    assert found[0] == found[1]
    with torch.no_grad():
        assert not torch.allclose(sound.anomaly_map(x), switched.anomaly_map(x))
        assert torch.equal(sound.reconstruct(x), switched.reconstruct(x)) is not switched.sample_at_test


def test_the_studys_dynamic_range_makes_of_the_map_a_blurred_squared_error() -> None:
    (sound, study), x = (tiny(), tiny(residual="ssim-8-bit")), images(1)
    with torch.no_grad():
        error = (x - study.reconstruct(x))[0, 0].double().numpy()
        found, proper = study.anomaly_map(x)[0, 0].numpy(), sound.anomaly_map(x)
    mean, square = (gaussian_filter(e, 1.5, mode="constant", truncate=5 / 1.5) for e in (error, error**2))
    np.testing.assert_allclose(found, mean**2 / 2.55**2 + (square - mean**2) / 7.65**2, rtol=0.2)
    assert found.max() < 0.2 * float(proper.max())


@pytest.mark.parametrize("domain", DOMAINS)
def test_drawing_at_test_time_is_the_studys_alone(domain: str) -> None:
    found = {protocol: dict(load_recipe(ModelId("vae", None, domain), protocol).settings) for protocol in Protocol}
    sampled = {protocol: settings.pop("sample_at_test", False) for protocol, settings in found.items()}
    assert sampled == {Protocol.STUDY: True, Protocol.SOUND: False}
    assert found[Protocol.STUDY] == found[Protocol.SOUND]


def test_a_setting_that_it_has_not_is_refused() -> None:
    with pytest.raises(UsageError, match="depth"):
        create("vae", 1, 128, {"depth": 6})
