import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis

from upd_zoo.errors import UsageError
from upd_zoo.layers.gaussian import EXACT_BITS, ROUNDED_BITS, Gaussian, Moments

RIDGE = 0.01


def embeddings(count: int, positions: int = 3, features: int = 5, seed: int = 0) -> torch.Tensor:
    """Return correlated embeddings; a few directions are much longer than the others."""
    mixing = torch.randn(positions, features, features, generator=torch.Generator().manual_seed(7))
    mixing *= torch.logspace(1, -1, features)[:, None]
    draws = torch.randn(count, positions, features, generator=torch.Generator().manual_seed(seed))
    return torch.einsum("npd,pde->npe", draws, mixing) + 4


def moments_of(known: torch.Tensor, batch: int = 16) -> Moments:
    moments = Moments(*known.shape[1:])
    for start in range(0, len(known), batch):
        moments.update(known[start : start + batch])
    return moments


def density(known: torch.Tensor, bits: int) -> Gaussian:
    gaussian = Gaussian(*known.shape[1:], ridge=RIDGE, bits=bits)
    gaussian.fit(moments_of(known))
    return gaussian


def scipy_distances(known: torch.Tensor, new: torch.Tensor) -> np.ndarray:
    """Return distances (B, P), one position after the other, by scipy."""
    columns = []
    for position in range(known.shape[1]):
        healthy = known[:, position].double().numpy()
        inverse = np.linalg.inv(np.cov(healthy, rowvar=False) + RIDGE * np.eye(healthy.shape[1]))
        columns.append([mahalanobis(row, healthy.mean(0), inverse) for row in new[:, position].double().numpy()])
    return np.array(columns).T


def test_exact_distances_are_those_of_scipy() -> None:
    known, new = embeddings(40), embeddings(7, seed=1)
    found = density(known, EXACT_BITS)(new)
    assert found.shape == (7, 3)
    np.testing.assert_allclose(found.numpy(), scipy_distances(known, new), rtol=1e-4)


@pytest.mark.parametrize("features", [5, 60, 130])
def test_rounded_distances_are_within_a_thousandth_of_those_of_scipy(features: int) -> None:
    known, new = embeddings(4 * features, features=features), embeddings(7, features=features, seed=1)
    found = density(known, ROUNDED_BITS)(new)
    np.testing.assert_allclose(found.numpy(), scipy_distances(known, new), rtol=1e-3)


def test_moments_are_numpys_whatever_the_batches() -> None:
    known = embeddings(23)
    for batch in (1, 5, 23):
        moments = moments_of(known, batch)
        values = known.double().numpy()
        np.testing.assert_allclose(moments.mean.numpy(), values.mean(0), rtol=1e-12)
        for position in range(3):
            expected = np.cov(values[:, position], rowvar=False)
            np.testing.assert_allclose(moments.covariance()[position].numpy(), expected, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(moments.variance()[position].numpy(), expected.diagonal(), rtol=1e-9)


def test_one_image_has_no_covariance() -> None:
    with pytest.raises(UsageError, match="1 images have no covariance"):
        moments_of(embeddings(1)).covariance()


def test_a_ridge_of_nothing_and_other_bits_are_refused() -> None:
    with pytest.raises(UsageError, match="ridge"):
        Gaussian(3, 5, ridge=0)
    with pytest.raises(UsageError, match="8 bits"):
        Gaussian(3, 5, bits=8)
