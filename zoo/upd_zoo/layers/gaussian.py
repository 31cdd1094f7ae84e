"""Gaussian densities of embeddings, one at each position, and the Mahalanobis distance from them.

The moments of any number of images are gathered in one pass and in constant memory. A density then keeps, for every
position, the mean μ and the whitening factor W = L⁻¹ of Σ + ridge · I = L Lᵀ, a lower triangle, so that

    distance(e) = sqrt( (e − μ)ᵀ (Σ + ridge · I)⁻¹ (e − μ) ) = ‖ W (e − μ) ‖.

1024 positions of 550 features are 155 million numbers. They are stored in 16 bits: the diagonal in float32, the rest of
a row as integers times the row's own step. W cancels what e − μ has in common with the healthy images, and their
largest direction is hundreds of times as long as their smallest, so that 8 bits would move distances by 0.4 % on the
embeddings of retinal photographs by a MobileNetV2; 16 bits moved none by more than 0.002 %.

References: Defard et al. 2021 (PaDiM), section III; Chan, Golub & LeVeque 1983, equation 2.1 (merging of moments).
"""

from collections.abc import Iterator

import torch
from torch import Tensor, cat, nn

from upd_zoo.errors import UsageError
from upd_zoo.layers.precision import full_precision

EXACT_BITS = 32
ROUNDED_BITS = 16
_LARGEST_CODE = 2 ** (ROUNDED_BITS - 1) - 1
_BLOCK_ROWS = 24
"""Rows of a factor that are stored, and multiplied, together. The corner of a block above the diagonal is stored in
vain: at 550 features, 24 rows cost 5 % more than the triangle, 55 rows 10 %."""
_SCATTER_ROWS = 110
_FACTORED_NUMBERS = 2**22
"""How many numbers of covariances are factored at a time: 32 MB in float64."""


def _row_blocks(features: int, height: int) -> Iterator[tuple[int, int]]:
    """Yield the first row, and the row after the last, of each block of a triangle; it reaches as many columns."""
    for start in range(0, features, height):
        yield start, min(start + height, features)


class Moments:
    """Mean and covariance of embeddings at each position, gathered batch by batch in float64.

    Memory does not depend on the number of images: a little over positions * features² * 4 bytes, for only the lower
    triangle is gathered.

    Args:
        positions: P, number of positions.
        features: D, numbers in an embedding.
        device: Where to gather.
    """

    def __init__(self, positions: int, features: int, device: torch.device | str = "cpu") -> None:
        self.count = 0
        """Images seen."""
        self.mean = torch.zeros(positions, features, dtype=torch.float64, device=device)
        """(P, D) float64."""
        self._blocks = list(_row_blocks(features, _SCATTER_ROWS))
        self._scatter = [self.mean.new_zeros(positions, stop - start, stop) for start, stop in self._blocks]

    def update(self, embeddings: Tensor) -> None:
        """Take in a batch of embeddings (B, P, D)."""
        values = embeddings.detach().transpose(0, 1).to(self.mean)  # (P, B, D)
        added = values.shape[1]
        mean = values.mean(dim=1)  # (P, D)
        step = mean - self.mean
        total = self.count + added
        # The step between the means is one more deviation: Chan's merge in one product.
        weight = (self.count * added / total) ** 0.5
        deviations = cat((values - mean.unsqueeze(1), weight * step.unsqueeze(1)), dim=1)  # (P, B + 1, D)
        for (start, stop), scatter in zip(self._blocks, self._scatter, strict=True):
            scatter.baddbmm_(deviations[..., start:stop].mT, deviations[..., :stop])
        self.mean += step * (added / total)
        self.count = total

    def variance(self) -> Tensor:
        """Return the unbiased variance (P, D) float64 of every feature.

        Raises:
            UsageError: Fewer than two images were seen.
        """
        diagonals = [
            scatter[..., start:].diagonal(dim1=1, dim2=2)
            for (start, _), scatter in zip(self._blocks, self._scatter, strict=True)
        ]
        return cat(diagonals, dim=1) / self._freedom()

    def covariance(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Return the unbiased covariance (stop - start, D, D) float64 of the positions from `start` to `stop`.

        Raises:
            UsageError: Fewer than two images were seen.
        """
        features = self.mean.shape[1]
        rows = [nn.functional.pad(scatter[start:stop], (0, features - scatter.shape[2])) for scatter in self._scatter]
        lower = cat(rows, dim=1) / self._freedom()  # (p, D, D)
        return lower.tril() + lower.tril(-1).mT

    def _freedom(self) -> int:
        if self.count < 2:
            raise UsageError(f"{self.count} images have no covariance", "at least 2", "train on more images")
        return self.count - 1


class Gaussian(nn.Module):
    """One Gaussian density at each position.

    Args:
        positions: P, number of positions.
        features: D, numbers in an embedding.
        ridge: Added to the diagonal of every covariance; above 0.
        bits: In how many bits a number of the whitening factors is stored: 16, or 32 for float32.

    Raises:
        UsageError: `ridge` is not positive, or there is no such number of bits.
    """

    mean: Tensor
    diagonal: Tensor
    step: Tensor

    def __init__(self, positions: int, features: int, *, ridge: float = 0.01, bits: int = ROUNDED_BITS) -> None:
        super().__init__()
        if ridge <= 0:
            raise UsageError(f"a ridge of {ridge} leaves covariances singular", "a number above 0, such as 0.01")
        if bits not in (ROUNDED_BITS, EXACT_BITS):
            raise UsageError(f"factors cannot be stored in {bits} bits", f"{ROUNDED_BITS} or {EXACT_BITS}")
        self.ridge, self.bits = ridge, bits
        self.blocks = list(_row_blocks(features, _BLOCK_ROWS))
        self.register_buffer("mean", torch.zeros(positions, features))
        self.register_buffer("diagonal", torch.ones(positions, features))
        self.register_buffer("step", torch.zeros(positions, features))
        for number, (start, stop) in enumerate(self.blocks):
            kind = torch.float32 if bits == EXACT_BITS else torch.int16
            self.register_buffer(f"codes_{number}", torch.zeros(positions, stop - start, stop, dtype=kind))

    def fit(self, moments: Moments) -> None:
        """Take over the moments of the training images; at 1024 positions of 550 features this takes a while.

        Raises:
            UsageError: Fewer than two images were seen.
        """
        positions, features = self.mean.shape
        self.mean.copy_(moments.mean)
        chunk = max(1, _FACTORED_NUMBERS // features**2)
        for start in range(0, positions, chunk):
            self._keep(start, _whitening(moments.covariance(start, start + chunk), self.ridge))

    def _keep(self, start: int, factors: Tensor) -> None:
        """Store the factors (p, D, D) of the positions from `start` on."""
        here = slice(start, start + len(factors))
        self.diagonal[here] = factors.diagonal(dim1=1, dim2=2)
        rest = factors.tril(-1)
        largest = rest.abs().amax(dim=2).clamp(min=torch.finfo(torch.float32).tiny)  # (p, D)
        step = torch.ones_like(largest) if self.bits == EXACT_BITS else largest / _LARGEST_CODE
        codes = rest if self.bits == EXACT_BITS else (rest / step.unsqueeze(2)).round()
        self.step[here] = step
        for number, (first, stop) in enumerate(self.blocks):
            self.get_buffer(f"codes_{number}")[here] = codes[:, first:stop, :stop]

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return the Mahalanobis distances (B, P) of embeddings (B, P, D)."""
        with full_precision(embeddings.device):
            return self._distances(embeddings.to(self.mean.dtype))

    def _distances(self, embeddings: Tensor) -> Tensor:
        deviations = (embeddings - self.mean).permute(1, 2, 0)  # (P, D, B)
        products = [
            self.get_buffer(f"codes_{number}").float() @ deviations[:, :stop]
            for number, (_, stop) in enumerate(self.blocks)
        ]
        whitened = self.diagonal.unsqueeze(2) * deviations + self.step.unsqueeze(2) * cat(products, dim=1)  # (P, D, B)
        # The gradient of a root at exactly 0 is not a number; here, it is 0.
        distances: Tensor = whitened.square().sum(dim=1).clamp_min(torch.finfo(torch.float32).tiny).sqrt().mT  # (B, P)
        return distances


def _whitening(covariance: Tensor, ridge: float) -> Tensor:
    """Return W = L⁻¹ of Σ + ridge · I = L Lᵀ for covariances (p, D, D)."""
    identity = torch.eye(covariance.shape[1], dtype=covariance.dtype, device=covariance.device)
    lower = torch.linalg.cholesky(covariance + ridge * identity)
    factors: Tensor = torch.linalg.solve_triangular(lower, identity.expand_as(lower), upper=False)
    return factors
