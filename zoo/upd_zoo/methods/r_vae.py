"""r-VAE: a VAE that restores an image step by step instead of reconstructing it at once (image reconstruction).

Learnt: what the VAE learns; a finished VAE is a finished r-VAE. An image x is then moved, from y = x on, to where the
VAE's own loss E is smaller, while its change y − x stays smooth:

    y ← y − rate · ∂/∂y [ E(y) + λ T(y − x) ],
    E(y) = mean (y − x̂(y))² + w · mean ½ (μ² + σ² − 1 − log σ²),
    T(d) = mean over pixels of squared differences to the lower and to the right neighbour,

all of one image: means run over its n = C·H·W pixels or over latent dimensions. What is anomalous is changed most, so

    map = residual(x, y).

The gradient is written out. In evaluation the networks are convolutions, whose transposes are transposed convolutions,
and LeakyReLUs, whose slopes the forward pass shows; so a restoration needs no autograd, neither here nor in a file.

Differs from the study (switches):
    sample_at_test     The study draws ε anew in every step. Here z = μ; with the switch the ε of all steps are drawn
                       once and stored.
    restoration_steps  The study takes 500 steps. Ten times fewer, ten times as long, follow the same path.
    rate               The study descends the mean over a batch of 64 images in steps of 1000, so that the images of a
                       smaller batch move further. Here each has its own objective; 1000 / 64 is the study's rate.
    smoothing, erosion  As for the VAE.
The study also bounds each element of its gradient by 50; no pixel reaches that within 10⁷ of its reconstruction.

References: section IV-A of the study; You et al. 2019 (restoration, there with |d| in T).
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from upd_zoo.layers.loop import repeat
from upd_zoo.method import register
from upd_zoo.methods.vae import VAE


def restoration_step(index: Tensor, restored: Tensor, given: list[Tensor]) -> Tensor:
    """Return y (B, C, H, W) after one more step of gradient descent.

    Args:
        index: Number of the step; it chooses ε.
        restored: y before it.
        given: What `RVAE.given` returns.
    """
    image, noise, factors, to_latent, from_latent, paint, paint_bias = given[:7]
    layers = (len(given) - 7) // 4
    encoder, encoder_bias = given[7 : 7 + layers], given[7 + layers : 7 + 2 * layers]
    decoder, decoder_bias = given[-2 * layers : -layers], given[-layers:]
    pull, push, smooth = factors.unbind()

    codes = _forwards(restored, encoder, encoder_bias, False)
    mean, log_variance = (codes[-1].flatten(1) @ to_latent.T).chunk(2, dim=1)  # (B, latent)
    spread = (log_variance / 2).exp() * noise.index_select(0, index.view(1))
    drawings = _forwards(((mean + spread) @ from_latent.T).view(codes[-1].shape), decoder, decoder_bias, True)
    residual = pull * (restored - _layer(drawings[-1], paint, paint_bias, True))  # (B, C, H, W)

    # In the default layout, one channel makes the next convolution 60 times slower (2.0 and 0.03 ms per image).
    by_drawing = _layer(residual.clone(memory_format=torch.channels_last), paint, None, False)
    by_z = -_backwards(by_drawing, drawings, decoder, False).flatten(1) @ from_latent
    by_mean = by_z + push * mean
    by_log_variance = (by_z * spread + push * (log_variance.exp() - 1)) / 2
    by_code = (torch.cat((by_mean, by_log_variance), dim=1) @ to_latent).view(codes[-1].shape)
    gradient = residual + _backwards(by_code, codes, encoder, True)
    return restored - gradient - smooth * _roughness(restored - image)


def _layer(x: Tensor, weight: Tensor, bias: Tensor | None, up: bool) -> Tensor:
    """Return x through a convolution, 3 x 3 of stride 2 or 1 x 1, or up through the transpose of one."""
    half = weight.shape[2] // 2
    if up:
        return F.conv_transpose2d(x, weight, bias, stride=1 + half, padding=half, output_padding=half)
    return F.conv2d(x, weight, bias, stride=1 + half, padding=half)


def _forwards(x: Tensor, weights: list[Tensor], biases: list[Tensor], up: bool) -> list[Tensor]:
    """Return what each layer of a network makes of x."""
    activations: list[Tensor] = []
    for weight, bias in zip(weights, biases):  # noqa: B905 - TorchScript's zip is never strict
        x = F.leaky_relu(_layer(x, weight, bias, up), 0.01)
        activations.append(x)
    return activations


def _backwards(gradient: Tensor, activations: list[Tensor], weights: list[Tensor], up: bool) -> Tensor:
    """Return the gradient by a network's input, given that by its output; `up` where the network goes down."""
    for activation, weight in zip(activations[::-1], weights[::-1]):  # noqa: B905 - as above
        gradient = torch.ops.aten.leaky_relu_backward(gradient, activation, 0.01, True)
        gradient = _layer(gradient, weight, None, up)
    return gradient


def _roughness(change: Tensor) -> Tensor:
    """Return half the gradient of the sum of squared differences between neighbours."""
    lower, right = change.diff(dim=2), change.diff(dim=3)
    return F.pad(lower, [0, 0, 1, 0]) - F.pad(lower, [0, 0, 0, 1]) + F.pad(right, [1, 0]) - F.pad(right, [0, 1])


def _folded(blocks: Iterable[Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Return weights and biases of convolutions with the norms that follow folded in, as they are in evaluation."""
    weights, biases = [], []
    for convolution, norm, _ in blocks:
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        outputs = (1, -1, 1, 1) if isinstance(convolution, nn.ConvTranspose2d) else (-1, 1, 1, 1)
        # This layout is 1.5 times faster than the default for one image and for 16, on one core.
        weight = (convolution.weight * scale.view(outputs)).contiguous(memory_format=torch.channels_last)
        weights.append(weight.detach())
        biases.append((norm.bias + (convolution.bias - norm.running_mean) * scale).detach())
    return weights, biases


@register
class RVAE(VAE):
    """Variational autoencoder with iterative restoration.

    Args:
        channels: Channels of the images.
        side: Their height and width in pixels.
        restoration_steps: Steps of gradient descent at test time.
        rate: Their length, on the objective of one image.
        tv_weight: λ, weight of the change's roughness.
        sample_at_test: Whether z = μ + σ ε at test time, with fixed ε, one for each step.
        **vae: The other settings of `VAE`.
    """

    id = "r-vae"
    title = "r-VAE"
    least_rank_correlation = 0.999
    """The gradient jumps at the kinks of LeakyReLUs: 1e-7 added to a radiograph became 1e-2 in 50 steps."""
    factors: Tensor
    noises: Tensor

    def __init__(
        self,
        channels: int,
        side: int,
        *,
        restoration_steps: int = 50,
        rate: float = 156.25,
        tv_weight: float = 1.2,
        sample_at_test: bool = False,
        **vae: Any,
    ) -> None:
        super().__init__(channels, side, sample_at_test=sample_at_test, **vae)
        self.channels, self.restoration_steps = channels, restoration_steps
        self.latent = self.to_latent.out_features // 2
        pixels = channels * side**2
        factors = torch.tensor([2 / pixels, self.kl_weight / self.latent, 2 * tv_weight / pixels])
        self.register_buffer("factors", rate * factors, False)
        if sample_at_test:
            # The generator goes on as if nothing had been drawn: with the same seed, the same VAE is trained.
            with torch.random.fork_rng(devices=[]):
                self.register_buffer("noises", torch.randn(restoration_steps, self.latent))

    def given(self, images: Tensor) -> list[Tensor]:
        """Return what every step of the restoration of images (B, C, H, W) reads.

        First the images, ε of all steps, the factors of the gradient's three terms, the two dense layers, the last
        convolution's weight and bias; then weights and biases of the encoder's convolutions and of the decoder's.
        """
        noises = self.noises if self.sample_at_test else self.noise.new_zeros(self.restoration_steps, self.latent)
        encoder, encoder_biases = _folded(self.encoder)
        if self.channels == 1:
            encoder[0] = encoder[0].sum(dim=1, keepdim=True)  # of three equal channels
        decoder, decoder_biases = _folded(self.decoder[:-1])
        decoder[0] = decoder[0].transpose(0, 1)  # going up 1 x 1 as the transpose of going down
        paint: Any = self.decoder[-1]
        linear = [self.to_latent.weight, self.from_latent.weight, paint.weight.transpose(0, 1), paint.bias]
        constants = [images, noises, self.factors, *(tensor.detach() for tensor in linear)]
        return [*constants, *encoder, *encoder_biases, *decoder, *decoder_biases]

    @override
    def reconstruct(self, images: Tensor) -> Tensor:
        return repeat(restoration_step, self.restoration_steps, images, self.given(images))
