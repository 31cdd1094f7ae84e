"""ExpVAE: a variational autoencoder that shows which pixels its code comes from (attention).

Learnt: to encode a healthy image x in 32 numbers z and to reconstruct it,

    L = BCE(x̂, x) + w · ½ Σ (μ² + σ² − 1 − log σ²),    z = μ + σ ε,  ε ~ N(0, I).

What is not healthy moves the code to where healthy images are not, so the map is a GradCAM of the code. With A the
output of the second convolution and G = ∂s/∂A for s = Σ μ, or s = the divergence above,

    map = | upsample( Σ_c  mean_p G_c(p) / (RMS(G) + 1e-5) · A_c ) |.

Between A and μ lie one dense layer W and two rectifiers, so that G needs no backward pass:

    h = W max(A, 0) + b,    ∂s/∂A = 1[A > 0] · Wᵀ ( 1[h > 0] · ∂s/∂ max(h, 0) ).

G jumps where A changes its sign. In float32 that happens between two runtimes in one image of twenty, and moves its map
by 2e-4 of its range; so A is computed in float64 when a map is drawn.

Differs from the study (switches):
    reduction  The study takes means over pixels and over z, which weighs the divergence 1536 times as much as the
               original's sums do and leaves next to nothing in z; here sums, averaged over the batch.
    rms        The study's RMS runs over a whole batch, so that a map depends on its neighbours. Here it is the image's
               own; `training` is the nearest to the study that is a function of the image: one RMS, over the healthy
               training images, for all.
    target     The study's text speaks of the divergence; its program and the original's take Σ μ, and so do both
               protocols here. `kl` follows the text.

References: section IV-C of the study; Liu et al. 2020.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from upd_zoo.errors import UsageError
from upd_zoo.layers.encoder import Encoder
from upd_zoo.layers.resize import Resize
from upd_zoo.method import Method, register

if TYPE_CHECKING:
    from upd_zoo.fitting.batches import Batches
    from upd_zoo.fitting.trainer import Trainer

_STRIDE = 4
"""Of the attended layer, after two halvings."""
_LEAST_RMS = 1e-5
_CHOICES = {"reduction": ("sum", "mean"), "target": ("sum_mu", "kl"), "rms": ("image", "training")}


def _encoder(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, width, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
    )


def _exactly(convolution: nn.Conv2d, images: Tensor) -> Tensor:
    """Return a halving convolution of float64 images; a product, for ONNX Runtime convolves in float32 only."""
    patches = F.unfold(images, convolution.kernel_size, padding=1, stride=2)
    assert convolution.bias is not None  # noqa: S101 - for the types
    product = convolution.weight.double().flatten(1) @ patches + convolution.bias.double()[:, None]
    return product.reshape(-1, convolution.out_channels, images.shape[2] // 2, images.shape[3] // 2)


def _decoder(width: int, side: int, hidden: int, latent: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(latent, hidden),
        nn.ReLU(),
        nn.Linear(hidden, 2 * width * side**2),
        nn.ReLU(),
        nn.Unflatten(1, (2 * width, side, side)),
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(width, 3, 4, stride=2, padding=1),
    )


@register
class ExpVAE(Method):
    """Variational autoencoder with gradient attention.

    Grey images are repeated to three channels, which the decoder draws too; its mean is the grey reconstruction.

    Args:
        channels: Channels of the images.
        side: Their height and width in pixels.
        width: Channels after the first convolution; the second doubles them.
        hidden: Width of the dense layer between the convolutions and the code.
        latent: Dimensions of z.
        kl_weight: w, weight of the Kullback-Leibler term.
        reduction: `sum` for sums over pixels and over z, averaged over the batch; `mean` for means.
        target: What the attention explains: `sum_mu` or `kl`.
        rms: What gradients are divided by: the RMS of the `image`, or one of all `training` images.

    Raises:
        UsageError: A choice is not one of those named.
    """

    id = "expvae"
    title = "ExpVAE"
    training_rms: Tensor

    def __init__(
        self,
        channels: int,
        side: int,
        *,
        width: int = 64,
        hidden: int = 1024,
        latent: int = 32,
        kl_weight: float = 1.0,
        reduction: str = "sum",
        target: str = "sum_mu",
        rms: str = "image",
    ) -> None:
        super().__init__()
        for name, value in {"reduction": reduction, "target": target, "rms": rms}.items():
            if value not in _CHOICES[name]:
                raise UsageError(f"ExpVAE has no {name} called '{value}'", " or ".join(_CHOICES[name]))
        self.channels, self.kl_weight, self.reduction, self.target, self.rms = (
            channels,
            kl_weight,
            reduction,
            target,
            rms,
        )
        attended = side // _STRIDE
        self.encoder = _encoder(width)
        self.dense = nn.Linear(2 * width * attended**2, hidden)
        self.to_mean = nn.Linear(hidden, latent)
        self.to_log_variance = nn.Linear(hidden, latent)
        self.decoder = _decoder(width, attended, hidden, latent)
        self.upsample = Resize(attended, side, align_corners=False)
        self.register_buffer("training_rms", torch.ones(()))

    def activation(self, images: Tensor) -> Tensor:
        """Return A, the attended layer (B, 2 * width, H / 4, W / 4) before its rectifier, of images (B, C, H, W)."""
        activation: Tensor = self.encoder(images.expand(-1, 3, -1, -1))
        return activation

    def attended(self, images: Tensor) -> Tensor:
        """Return A as `activation` does, with the signs that float64 gives it."""
        first: Any = self.encoder[0]
        second: Any = self.encoder[2]
        pixels = images.expand(-1, 3, -1, -1).double()
        return _exactly(second, F.relu(_exactly(first, pixels))).to(images.dtype)

    def encode(self, activation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return h (B, hidden) before its rectifier, and μ and log σ², (B, latent) each, of the attended layer."""
        hidden = self.dense(F.relu(activation).flatten(1))
        code = F.relu(hidden)
        return hidden, self.to_mean(code), self.to_log_variance(code)

    def describe(self, images: Tensor) -> Tensor:
        """Return h (B, hidden), rectified, of images (B, C, H, W)."""
        return F.relu(self.dense(F.relu(self.activation(images)).flatten(1)))

    @override
    def encoders(self) -> Sequence[Encoder]:
        return (Encoder(self.id, {"encoder": self.encoder, "dense": self.dense}, self.describe),)

    @override
    def training_step(self, images: Tensor) -> dict[str, Tensor]:
        _, mean, log_variance = self.encode(self.activation(images))
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        drawn = self.decoder(z)
        entropies = F.binary_cross_entropy_with_logits(drawn, images.expand_as(drawn), reduction="none")
        divergences = (mean**2 + log_variance.exp() - 1 - log_variance) / 2
        reconstruction, kl = self._reduce(entropies), self._reduce(divergences)
        return {"loss": reconstruction + self.kl_weight * kl, "reconstruction": reconstruction, "kl": kl}

    def _reduce(self, terms: Tensor) -> Tensor:
        """Return the mean of the terms, or of their sums per image."""
        return terms.mean() if self.reduction == "mean" else terms.flatten(1).sum(1).mean()

    @override
    def fit(self, batches: "Batches", trainer: "Trainer") -> None:
        trainer.minimise(self, batches)
        if self.rms == "training":
            squares = [self._mean_square(self.attended(images)) for images in trainer.visit(self, batches)]
            self.training_rms.copy_(torch.cat(squares).mean().sqrt())

    def _mean_square(self, activation: Tensor) -> Tensor:
        """Return the mean square (B,) of G over an image."""
        return self.gradient(activation).square().mean((1, 2, 3))

    def gradient(self, activation: Tensor) -> Tensor:
        """Return G = ∂s/∂A, of the shape of A (B, 2 * width, H / 4, W / 4)."""
        hidden, mean, log_variance = self.encode(activation)
        if self.target == "sum_mu":
            towards_code = self.to_mean.weight.sum(0)  # (hidden)
        else:
            towards_variance = (log_variance.exp() - 1) / 2
            towards_code = mean @ self.to_mean.weight + towards_variance @ self.to_log_variance.weight  # (B, hidden)
        towards_layer = torch.where(hidden > 0, towards_code, 0.0) @ self.dense.weight  # (B, 2 * width * H * W / 16)
        return torch.where(activation > 0, towards_layer.view(activation.shape), 0.0)

    @override
    def anomaly_map(self, images: Tensor) -> Tensor:
        activation = self.attended(images)
        gradient = self.gradient(activation)
        rms = gradient.square().mean((1, 2, 3), keepdim=True).sqrt() if self.rms == "image" else self.training_rms
        weights = gradient.mean((2, 3), keepdim=True) / (rms + _LEAST_RMS)
        attention: Tensor = self.upsample((weights * activation).sum(1, keepdim=True))
        return attention.abs()

    @override
    def reconstruct(self, images: Tensor) -> Tensor:
        _, mean, _ = self.encode(self.activation(images))
        drawn: Tensor = self.decoder(mean).sigmoid()
        return drawn.mean(1, keepdim=True) if self.channels == 1 else drawn
