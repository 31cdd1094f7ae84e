"""A memory of healthy vectors: which are worth keeping, how they are made comparable, and how far others are from them.

Greedy k-centre keeps, again and again, the vector that is farthest from all kept ones, so that what is rare among
healthy images is remembered beside what is common: at each step the largest distance from a vector to the memory falls,
and it is never more than twice that of the best choice of as many.

What is told apart at run time needs a matrix product, a maximum and a look-up: the vector nearest to v is that of the
largest v · m − ‖m‖² / 2, and only its distance is computed, from the difference itself, so that a vector that lies in
the memory is 0 away from it and not the root of a rounding error.

References: Roth et al. 2022 (PatchCore), section 3.2; Gonzalez 1985 (greedy k-centre).
"""

import torch
from torch import Tensor, cat, nn

from upd_zoo.errors import UsageError
from upd_zoo.layers.precision import full_precision
from upd_zoo.progress import Progress, Report, silent

MOST_BYTES = 20_000_000
"""How large a memory may be."""
_BYTES = 2
_CLOSENESSES = 2**22
"""How many numbers the products with all vectors of the memory may be at a time, for one image: 16 MB."""
_REPORTS = 50
_RIDGE = 1e-3
"""Share of the mean variance that is added to that of every direction, so that nothing is divided by almost 0."""


class Whitening(nn.Module):
    """The directions in which vectors differ most, made more alike, in units that make their mean variance 1.

    Args:
        features: D, numbers in a vector.
        width: How many directions are kept, at most D.
        power: Of its own standard deviation, by which a direction is divided: 0 leaves directions as they are, 1 makes
            the variance of all the same.
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, features: int, width: int, *, power: float) -> None:
        super().__init__()
        self.power = power
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("matrix", torch.zeros(features, width))

    def fit(self, vectors: Tensor) -> None:
        """Find the directions of vectors (N, D)."""
        values = vectors.double()
        self.mean.copy_(values.mean(0))
        variances, directions = torch.linalg.eigh(values.T.cov())  # ascending
        width = self.matrix.shape[1]
        variances, directions = variances.flip(0)[:width].clamp(min=0), directions.flip(1)[:, :width]
        tiny = torch.finfo(torch.float32).tiny
        divisors = (variances + _RIDGE * variances.mean() + tiny) ** self.power
        common = (variances / divisors).mean() + tiny
        self.matrix.copy_(directions / (divisors * common).sqrt())

    def forward(self, vectors: Tensor) -> Tensor:
        """Return (..., width) of vectors (..., D)."""
        with full_precision(vectors.device):
            return (vectors.to(self.mean.dtype) - self.mean) @ self.matrix


def k_centre(vectors: Tensor, count: int, on_progress: Report = silent) -> Tensor:
    """Return which vectors greedy k-centre keeps, beginning with the first.

    Args:
        vectors: (N, D).
        count: How many to keep; all where there are fewer.
        on_progress: Told how many are kept.

    Returns:
        (min(count, N),) int64, in the order of choice.
    """
    centred = vectors - vectors.mean(0)
    halves = 0.5 * centred.square().sum(1)
    count = min(count, len(centred))
    kept = torch.zeros(count, dtype=torch.int64)
    farthest = torch.full_like(halves, torch.inf)
    for number in range(1, count):
        last = kept[number - 1]
        torch.minimum(farthest, halves + halves[last] - centred @ centred[last], out=farthest)
        kept[number] = farthest.argmax()
        if number % max(1, count // _REPORTS) == 0 or number == count - 1:
            on_progress(Progress("memory", number + 1, count))
    return kept


class Memory(nn.Module):
    """Healthy vectors, and the distance of others from the nearest of them.

    Args:
        size: M, how many vectors are kept, in 16 bits a number.
        features: D, numbers in a vector.

    Raises:
        UsageError: Nothing is kept, or more than 20 MB.
    """

    vectors: Tensor

    def __init__(self, size: int, features: int) -> None:
        super().__init__()
        most = MOST_BYTES // (_BYTES * features)
        if not 1 <= size <= most:
            raise UsageError(
                f"a memory of {size} vectors of {features} numbers cannot be kept",
                f"1 to {most} vectors, {MOST_BYTES // 10**6} MB",
            )
        self.rows = max(1, _CLOSENESSES // size)
        """How many vectors of an image are compared at a time."""
        self.register_buffer("vectors", torch.zeros(size, features, dtype=torch.float16))

    def fit(self, vectors: Tensor) -> None:
        """Keep vectors (N, D); where N is less than M, some stand in it more than once, which moves no distance."""
        size = len(self.vectors)
        self.vectors.copy_(vectors[torch.arange(size, device=vectors.device) % len(vectors)])

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the distances (B, P) of vectors (B, P, D) from the nearest of the memory.

        Rows of P are compared a few at a time: no more than 16 MB are needed for an image at once.
        """
        with full_precision(vectors.device):
            kept = self.vectors.float()
            halves = 0.5 * kept.square().sum(1)
            parts = torch.split(vectors.float(), self.rows, dim=1)
            return cat([_distances(some, kept, halves) for some in parts], dim=1)


def _distances(vectors: Tensor, kept: Tensor, halves: Tensor) -> Tensor:
    """Return the distances (B, p) of vectors (B, p, D) from the nearest of `kept`, (M, D) with half their squares."""
    nearest = (vectors @ kept.T - halves).argmax(dim=2)
    distances: Tensor = (vectors - kept[nearest]).square().sum(dim=2).sqrt()
    return distances
