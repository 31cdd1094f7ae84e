"""CCD: contrastive learning of what is healthy, with a question about how the image was changed.

A healthy image is first changed strongly, in one of K = 4 ways that make another image of it: halves are swapped. Two
views of it, i and i', are then described by the network h that is to be pre-trained; with e = g(h) / ‖g(h)‖,

    L = mean_i −log [ exp(eᵢ·eᵢ' / T) / Σ_{j ≠ i} exp(eᵢ·eⱼ / T) ]  +  mean over all views of  −log p( change | h ),

the sum over all other views of the batch. Views of one image come to lie near each other and far from all others, and
h keeps what tells the changes apart. The projection g and the classifier p are thrown away afterwards.

Differs from the study (switches), whose own pre-training was partly without effect:
    mixed_labels       The study stacks views image by image and their labels view by view, so that all but two of them
                       belong to another image, and the question cannot be answered.
    fixed_answers      The study divides the classifier's last weight by its norm without a gradient; it never learns.
    train_encoder      The study's optimiser holds the two heads only where h is the VAE's; h never learns.
    centrings          The study centres radiographs for a ResNet-18 twice, to [−3, 1].

Differs from the study (always):
    The study loads images at 146 px and keeps four changed versions of each in memory; here they are read
    at the size of the model as they come, and the change is drawn anew.
    The study pre-trains on its validation images too; here they stay unseen, for calibration reads them.

References: section VI-D of the study; cards/study.md, section 4; Tian et al. 2021; Chen et al. 2020 (SimCLR).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from upd_zoo.fitting.learner import Learner, trainable
from upd_zoo.pretrain.views import PERMUTATIONS, apply_permutation, apply_view, draw_permutation, draw_view

_PROJECTION = 128
_WIDEST, _NARROWED = 2048, 1024
"""Wider features are first narrowed by a linear layer, as the study does with those that are not pooled."""


class NormalisedLinear(nn.Linear):
    """A linear layer whose outputs read the input along directions of length 1.

    Args:
        inputs: Features in.
        outputs: Features out.
        fixed: Whether the directions stay as they were drawn.
    """

    def __init__(self, inputs: int, outputs: int, *, fixed: bool = False) -> None:
        super().__init__(inputs, outputs)
        self.weight.requires_grad_(not fixed)

    @override
    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, F.normalize(self.weight, dim=1), self.bias)


def info_nce(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return the contrastive loss of embeddings (B, D) of two views, each of length 1.

    Only first views ask; every other view of the batch answers. Source: Chen et al. 2020, equation 1, for one half.
    """
    likeness = first @ torch.cat((first, second)).T / temperature  # (B, 2 B)
    itself = torch.eye(len(first), 2 * len(first), dtype=torch.bool, device=first.device)
    pairs = torch.arange(len(first), device=first.device) + len(first)
    return F.cross_entropy(likeness.masked_fill(itself, -torch.inf), pairs)


def mixed(labels: Tensor) -> Tensor:
    """Return the labels (2 B,) that the study gives to first and then second views, of its labels (B,) of images."""
    places = 2 * torch.arange(len(labels), device=labels.device)
    return labels[torch.cat((places, places + 1)) % len(labels)]


class CCD(Learner):
    """The pre-training of one network.

    Args:
        parts: The modules that learn.
        describe: Images (B, C, H, W) -> features (B, D), through these modules; itself none of them.
        channels: Channels of the images, 1 or 3.
        side: Their height and width in pixels.
        temperature: T.
        smallest_view: Smallest part of an image's area that a view shows.
        centrings: How often pixels are brought from [0, 1] to [−1, 1].
        train_encoder: Whether `parts` learn.
        mixed_labels: Whether the classifier is asked about another image.
        fixed_answers: Whether the classifier's last weight stays as it was drawn.
    """

    id = "ccd"

    def __init__(
        self,
        parts: Sequence[nn.Module],
        describe: Callable[[Tensor], Tensor],
        channels: int,
        side: int,
        *,
        temperature: float = 0.2,
        smallest_view: float = 0.2,
        centrings: int = 0,
        train_encoder: bool = True,
        mixed_labels: bool = False,
        fixed_answers: bool = False,
    ) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.describe = describe
        self.temperature, self.smallest_view, self.centrings = temperature, smallest_view, centrings
        self.mixed_labels = mixed_labels
        if not train_encoder:
            for parameter in trainable(self.parts):
                parameter.requires_grad_(False)
        width = self._width(channels, side)
        features = _NARROWED if width > _WIDEST else width
        self.narrow = nn.Linear(width, features) if width > _WIDEST else nn.Identity()
        self.project = nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, _PROJECTION))
        self.classify = nn.Sequential(
            nn.Linear(features, _PROJECTION),
            nn.ReLU(),
            NormalisedLinear(_PROJECTION, PERMUTATIONS, fixed=fixed_answers),
        )

    def _width(self, channels: int, side: int) -> int:
        """Return how many features describe an image; running statistics stay as they are."""
        self.parts.eval()
        with torch.no_grad():
            features = self.describe(torch.zeros(1, channels, side, side))
        self.parts.train()
        return features.shape[1]

    def view(self, images: Tensor) -> Tensor:
        """Return a new view (B, C, H, W) of images in [0, 1], in the pixel convention of the network."""
        return self.pixels(apply_view(images, draw_view(len(images), images.shape[-1], self.smallest_view)))

    def pixels(self, images: Tensor) -> Tensor:
        """Return images in [0, 1] in the pixel convention of the network."""
        for _ in range(self.centrings):
            images = 2 * images - 1
        return images

    @override
    def training_step(self, images: Tensor) -> dict[str, Tensor]:
        permutation = draw_permutation(len(images))
        changed = apply_permutation(images, permutation)
        features = self.narrow(self.describe(torch.cat((self.view(changed), self.view(changed)))))
        first, second = F.normalize(self.project(features), dim=1).chunk(2)
        contrast = info_nce(first, second, self.temperature)
        labels = permutation.to(images.device)
        labels = mixed(labels) if self.mixed_labels else labels.repeat(2)
        change = F.cross_entropy(self.classify(features), labels)
        return {"loss": contrast + change, "contrast": contrast, "change": change}
