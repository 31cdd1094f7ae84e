"""Memories of vectors, against scikit-learn and a plain greedy k-centre."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from upd_zoo.errors import UsageError
from upd_zoo.layers import memory
from upd_zoo.layers.memory import MOST_BYTES, Memory, Whitening, k_centre
from upd_zoo.progress import Progress


def vectors(count: int, features: int = 12, seed: int = 0) -> Tensor:
    """Return correlated vectors (count, features), far from 0."""
    mixing = torch.randn(features, features, generator=torch.Generator().manual_seed(7))
    draws = torch.randn(count, features, generator=torch.Generator().manual_seed(seed))
    return draws @ (mixing * torch.logspace(1, -1, features)[:, None]) + 20


def filled(known: Tensor) -> Memory:
    kept = Memory(*known.shape)
    kept.fit(known)
    return kept


def sklearn_distances(known: Tensor, new: Tensor) -> Tensor:
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(known.half().double().numpy())
    return torch.from_numpy(search.kneighbors(new.double().numpy())[0][:, 0]).float()


@pytest.mark.parametrize("at_once", [1, 700, 2**22])
def test_distances_are_those_of_scikit_learn_however_few_are_compared_at_once(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_CLOSENESSES", at_once)
    known, new = vectors(300), vectors(34, seed=1)
    found = filled(known)(new.reshape(2, 17, 12))
    torch.testing.assert_close(found, sklearn_distances(known, new).reshape(2, 17), rtol=1e-4, atol=1e-3)


def test_what_lies_in_the_memory_is_no_distance_away() -> None:
    known = vectors(50)
    assert (filled(known)(known.half().float()[None]) == 0).all()


def test_a_memory_that_fewer_vectors_fill_tells_the_same() -> None:
    known, new = vectors(40), vectors(9, seed=1)
    larger = Memory(101, 12)
    larger.fit(known)
    torch.testing.assert_close(larger(new[None]), filled(known)(new[None]))


@pytest.mark.parametrize("size", [0, MOST_BYTES // (2 * 12) + 1])
def test_a_memory_of_nothing_or_too_much_is_refused(size: int) -> None:
    with pytest.raises(UsageError, match="1 to 833333 vectors, 20 MB"):
        Memory(size, 12)


def plain_k_centre(points: np.ndarray, count: int) -> list[int]:
    kept = [0]
    while len(kept) < min(count, len(points)):
        distances = np.linalg.norm(points[:, None] - points[None, kept], axis=2).min(axis=1)
        kept.append(int(distances.argmax()))
    return kept


@pytest.mark.parametrize("count", [1, 2, 25, 60, 90])
def test_k_centre_keeps_what_the_plain_rule_keeps(count: int) -> None:
    points = vectors(60, features=5).double()
    assert k_centre(points, count).tolist() == plain_k_centre(points.numpy(), count)


def test_k_centre_remembers_what_is_rare() -> None:
    points = torch.cat((vectors(500), vectors(3, seed=1) + 400))
    assert {500, 501, 502} & {*k_centre(points, 5).tolist()}


def test_k_centre_tells_how_far_it_is() -> None:
    told: list[Progress] = []
    k_centre(vectors(400), 300, told.append)
    assert [each.done for each in told] == sorted({each.done for each in told})
    assert told[-1] == Progress("memory", 300, 300)
    assert 10 < len(told) < 100


def test_whitened_vectors_are_alike_in_all_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_RIDGE", 0.0)
    whitening = Whitening(12, 6, power=1)
    known = vectors(4000)
    whitening.fit(known)
    torch.testing.assert_close(whitening(known).T.cov(), torch.eye(6), atol=1e-3, rtol=0)


def test_directions_of_no_variance_stay_finite() -> None:
    known = vectors(100)
    known[:, 4:] = 3.0
    for power in (0, 0.5, 1):
        whitening = Whitening(12, 12, power=power)
        whitening.fit(known)
        assert whitening(vectors(5, seed=1)).isfinite().all()
        whitening.fit(torch.ones(100, 12))
        assert whitening(torch.ones(5, 12)).abs().max() == 0


def test_half_whitened_directions_are_half_as_unlike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_RIDGE", 0.0)
    known, variances = vectors(4000), []
    for power in (0, 0.5):
        whitening = Whitening(12, 6, power=power)
        whitening.fit(known)
        variances.append(whitening(known).var(0))
        assert float(variances[-1].mean()) == pytest.approx(1, abs=1e-3)
    contrasts = [float((each[0] / each[-1]).log()) for each in variances]
    assert contrasts[1] == pytest.approx(contrasts[0] / 2, rel=0.01)


def test_distances_without_whitening_are_those_of_the_vectors_in_common_units() -> None:
    known = vectors(500)
    whitening = Whitening(12, 12, power=0)
    whitening.fit(known)
    found = whitening(known)
    assert float(found.square().mean()) == pytest.approx(1, abs=0.01)
    ratio = torch.pdist(found[:30]) / torch.pdist(known[:30])
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=1e-3, atol=0)
