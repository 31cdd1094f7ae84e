"""f-AnoGAN: a generator that draws only healthy images, and an encoder that asks it for the nearest one.

First a critic D and a generator G learn what healthy images x look like (Wasserstein GAN with gradient penalty),

    L_D = mean D(G(z)) − mean D(x) + λ · mean (‖∇D(x̃)‖₂ − 1)²,    L_G = −mean D(G(z)),    z ~ N(0, I),

with x̃ = α x + (1 − α) G(z), one α ~ U(0, 1) per image; one update each per step. Then both are fixed and an encoder E
learns which z reconstructs an image. With f the features that D reads its answer from,

    L_E = mean (x − x̂)² + κ · mean (f(x) − f(x̂))²,    x̂ = G(E(x)).

What is not healthy cannot be drawn, and looks different to the critic:

    map = residual(x, x̂),    score = pooled map + κ · mean (f(x) − f(x̂))².

Differs from the study (switches):
    batch_statistics  In the study G normalises by the statistics of each batch while E learns, but by its running ones
                      at test time, so that E learns to ask another generator. Here G is in evaluation mode throughout.
    fixed_code        With CCD the study makes E's last layer anew when its optimiser is already there, so that it stays
                      as it was drawn. Here all of E learns.
    smoothing, erosion  As for the VAE.

Differs from the study (always):
    Both updates of a step draw z anew; the study scores one draw by the old critic, then by the new one.
    The biases of the critic's last block and of its answer are fixed at 0: losses and score are blind to them.
    The study evaluates every seed with the generator and critic of its first; here each run keeps its own three.

References: section IV-A of the study; Schlegl et al. 2019, equations 2 to 6; Gulrajani et al. 2017, equation 3.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from upd_zoo.errors import UsageError
from upd_zoo.fitting.learner import Turn
from upd_zoo.layers.encoder import Encoder
from upd_zoo.layers.residual import residual_called
from upd_zoo.method import Method, register

if TYPE_CHECKING:
    from upd_zoo.fitting.batches import Batches
    from upd_zoo.fitting.trainer import Trainer

_HALVINGS = 5
"""From images to the smallest maps: from 128 px to 4 px."""


class UpsampledConvolution(nn.Conv2d):
    """A convolution of maps whose sides were doubled by shuffling channels into pixels.

    The study tiles the C channels four times, shuffles 4 C into C maps of double side, and convolves them. These C maps
    are C / 4 different ones, four times over; so the shuffled channels themselves are convolved, with the sum of the
    four weights that each of them meets: the same numbers for a quarter of the work.
    """

    @override
    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs, 2 H, 2 W) of (B, inputs, H, W)."""
        outputs, inputs, height, width = self.weight.shape
        weight = self.weight.reshape(outputs, 4, inputs // 4, height, width).sum(1)
        return F.conv2d(F.pixel_shuffle(features, 2), weight, self.bias, padding=self.padding)


class UpBlock(nn.Module):
    """Residual block that doubles sides; normalisation and activation come before each convolution.

    Args:
        inputs: Channels in.
        outputs: Channels out.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            UpsampledConvolution(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1),
        )
        self.shortcut = UpsampledConvolution(inputs, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs, 2 H, 2 W) of (B, inputs, H, W)."""
        raised: Tensor = self.body(features) + self.shortcut(features)
        return raised


class DownBlock(nn.Module):
    """Residual block that halves sides; normalisation and activation come before each convolution.

    The study pools after the last convolution; averages before a 1 x 1 convolution are the same averages.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        normalisation: Makes a normalisation of `inputs` channels.
    """

    def __init__(self, inputs: int, outputs: int, normalisation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.body = nn.Sequential(
            normalisation(),
            nn.ReLU(),
            nn.Conv2d(inputs, inputs, 3, padding=1, bias=False),
            normalisation(),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(inputs, outputs, 1),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs, H / 2, W / 2) of (B, inputs, H, W)."""
        lowered: Tensor = self.body(features) + self.shortcut(features)
        return lowered


class Critic(nn.Module):
    """Says how real an image looks.

    Args:
        channels: Channels of the images.
        side: Their height and width in pixels.
        widths: Channels at each side, from that of the images to the smallest.
    """

    def __init__(self, channels: int, side: int, widths: list[int]) -> None:
        super().__init__()
        self.features = _halvings(channels, side, widths, lambda width, side: nn.LayerNorm([width, side, side]))
        self.answer = nn.Linear(widths[-1] * (side >> _HALVINGS) ** 2, 1)
        # Only differences of answers and of features are ever read: these biases cancel, and stay at 0 in the study.
        for layer in [*self.features[-2].modules(), self.answer]:
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                layer.bias.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B,), higher where images (B, C, H, W) look more real."""
        answer: Tensor = self.answer(self.features(images))
        return answer.flatten()


def _halvings(
    channels: int, side: int, widths: list[int], normalisation: Callable[[int, int], nn.Module]
) -> nn.Sequential:
    """Return a network from images to their smallest maps, flattened; `normalisation` takes channels and side."""
    blocks = [
        DownBlock(inputs, outputs, partial(normalisation, inputs, side >> level))
        for level, (inputs, outputs) in enumerate(pairwise(widths))
    ]
    return nn.Sequential(nn.Conv2d(channels, widths[0], 3, padding=1), *blocks, nn.Flatten())


def _encoder(side: int, widths: list[int], latent: int) -> nn.Sequential:
    network = _halvings(3, side, widths, lambda width, _: nn.BatchNorm2d(width))
    return nn.Sequential(network, nn.Linear(widths[-1] * (side >> _HALVINGS) ** 2, latent), nn.Tanh())


def _generator(channels: int, side: int, widths: list[int], latent: int) -> nn.Sequential:
    smallest = side >> _HALVINGS
    return nn.Sequential(
        nn.Linear(latent, widths[0] * smallest**2),
        nn.Unflatten(1, (widths[0], smallest, smallest)),
        *(UpBlock(inputs, outputs) for inputs, outputs in pairwise(widths)),
        nn.BatchNorm2d(widths[-1]),
        nn.ReLU(),
        nn.Conv2d(widths[-1], channels, 3, padding=1),
        nn.Sigmoid(),
    )


@register
class FAnoGAN(Method):
    """Generative adversarial network with an encoder.

    Args:
        channels: Channels of the images.
        side: Their height and width in pixels.
        width: Channels of the largest maps, an even number; eight times as many of the smallest.
        latent: Dimensions of z.
        penalty_weight: λ, weight of the gradient penalty.
        feature_weight: κ, weight of the critic's features in the encoder's loss and in the score.
        fixed_code: Whether the encoder's last layer stays as it was drawn.
        batch_statistics: Whether the generator normalises by the statistics of each batch while the encoder learns.
        residual: What the map is; see `upd_zoo.layers.residual`.

    Raises:
        UsageError: The width is odd.
    """

    id = "f-anogan"
    title = "f-AnoGAN"

    def __init__(
        self,
        channels: int,
        side: int,
        *,
        width: int = 64,
        latent: int = 128,
        penalty_weight: float = 10.0,
        feature_weight: float = 1.0,
        fixed_code: bool = False,
        batch_statistics: bool = False,
        residual: str = "ssim",
    ) -> None:
        super().__init__()
        if width % 2:
            raise UsageError(f"a width of {width} leaves channels that cannot be shuffled", "an even width")
        widening = [width * factor for factor in (1, 2, 4, 4, 8, 8)]
        narrowing = [width * factor for factor in (8, 8, 4, 4, 2, 1)]
        self.latent, self.penalty_weight, self.feature_weight = latent, penalty_weight, feature_weight
        self.batch_statistics = batch_statistics
        self.generator = _generator(channels, side, narrowing, latent)
        self.critic = Critic(channels, side, widening)
        self.encoder = _encoder(side, widening, latent)
        self.encoder[1].requires_grad_(not fixed_code)
        self.residual = residual_called(residual, side)
        _initialise(self)

    @override
    def fit(self, batches: "Batches", trainer: "Trainer") -> None:
        adversaries = Turn("critic_step", "critic"), Turn("generator_step", "generator")
        trainer.minimise(self, batches, phase="gan", turns=adversaries)
        trainer.minimise(self, batches, phase="encoder", turns=(Turn(part="encoder"),))

    @override
    def encoders(self) -> Sequence[Encoder]:
        halvings = self.encoder[0]
        return (Encoder(self.id, {"encoder": halvings}, lambda images: halvings(images.expand(-1, 3, -1, -1))),)

    def draw(self, count: int) -> Tensor:
        """Return z (count, latent) from the prior."""
        return torch.randn(count, self.latent, device=next(self.parameters()).device)

    def critic_step(self, images: Tensor) -> dict[str, Tensor]:
        """Return the losses of the critic on images (B, C, H, W)."""
        with torch.no_grad(), _statistics(self.generator, of_batch=True):
            fakes: Tensor = self.generator(self.draw(len(images)))
        real, fake = self.critic(torch.cat((images, fakes))).chunk(2)
        share = torch.rand(len(images), 1, 1, 1, device=images.device)
        penalty = self.gradient_penalty(share * images + (1 - share) * fakes)
        distance = real.mean() - fake.mean()
        return {"loss": self.penalty_weight * penalty - distance, "distance": distance, "penalty": penalty}

    def gradient_penalty(self, images: Tensor) -> Tensor:
        """Return the mean of (‖∇D‖₂ − 1)² at images (B, C, H, W), to be differentiated again."""
        images = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.critic(images).sum(), images, create_graph=True)
        penalty: Tensor = ((torch.linalg.vector_norm(gradient, dim=(1, 2, 3)) - 1) ** 2).mean()
        return penalty

    def generator_step(self, images: Tensor) -> dict[str, Tensor]:
        """Return the loss of the generator, for as many draws as there are images."""
        return {"loss": -self.critic(self.generator(self.draw(len(images)))).mean()}

    @override
    def training_step(self, images: Tensor) -> dict[str, Tensor]:
        with _statistics(self.generator, of_batch=self.training and self.batch_statistics):
            drawn = self.reconstruct(images)
        reconstruction = F.mse_loss(drawn, images)
        features = F.mse_loss(self.critic.features(drawn), self.critic.features(images))
        loss = reconstruction + self.feature_weight * features
        return {"loss": loss, "reconstruction": reconstruction, "features": features}

    @override
    def reconstruct(self, images: Tensor) -> Tensor:
        drawn: Tensor = self.generator(self.encoder(images.expand(-1, 3, -1, -1)))
        return drawn

    @override
    def anomaly_map(self, images: Tensor) -> Tensor:
        residual: Tensor = self.residual(images, self.reconstruct(images))
        return residual

    @override
    def score(self, images: Tensor, pooled: Tensor) -> Tensor:
        difference: Tensor = self.critic.features(images) - self.critic.features(self.reconstruct(images))
        return pooled + self.feature_weight * (difference**2).mean(dim=1)


@contextmanager
def _statistics(network: nn.Module, *, of_batch: bool) -> Iterator[None]:
    """Let a network normalise by the statistics of the batch, or by its running ones; the latter do not move."""
    modes = [(module, module.training) for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for module, _ in modes:
        module.training, module.track_running_stats = of_batch, not of_batch
    try:
        yield
    finally:
        for module, training in modes:
            module.training, module.track_running_stats = training, True


def _initialise(network: nn.Module) -> None:
    """Draw convolutions from Kaiming's normal and linear layers from Xavier's uniform distribution; biases are 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
