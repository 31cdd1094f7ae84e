import numpy as np
import torch
from scipy.spatial.distance import mahalanobis

from upd_zoo.layers.gaussian import Gaussian, Moments


def embeddings(count: int, positions: int = 3, features: int = 5, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(positions, features, features, generator=generator)
    return torch.einsum("npd,pde->npe", torch.randn(count, positions, features, generator=generator), mixing) + 4


def test_distances_are_those_of_scipy() -> None:
    known, new = embeddings(40), embeddings(7, seed=1)
    moments = Moments(3, 5)
    for batch in known.split(16):  # type: ignore[no-untyped-call]
        moments.update(batch)
    gaussian = Gaussian(3, 5, ridge=0.01)
    gaussian.fit(moments)
    found = gaussian(new)
    assert found.shape == (7, 3)
    for position in range(3):
        covariance = np.cov(known[:, position].double().numpy(), rowvar=False) + 0.01 * np.eye(5)
        inverse, mean = np.linalg.inv(covariance), known[:, position].double().mean(0).numpy()
        expected = [mahalanobis(row[position].double().numpy(), mean, inverse) for row in new]
        np.testing.assert_allclose(found[:, position].numpy(), expected, rtol=1e-4)
