from typing import Any

import numpy as np
import pytest
import torch

from fake.scripts import SCRIPTS, script

CARDS = SCRIPTS.parent / "cards"


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> Any:
    return script("pictures", monkeypatch)


def test_every_method_that_plants_anomalies_shows_them_in_its_card(pictures: Any) -> None:
    assert pictures.planters()
    for name in pictures.planters():
        assert (CARDS / "pictures" / f"{name}.png").is_file()
        assert f"(../pictures/{name}.png)" in (CARDS / "methods" / f"{name}.md").read_text(encoding="utf-8")


def test_pictures_are_those_of_the_seed(pictures: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "DOMAINS", ("phantom-fundus",))
    sheets = []
    for seed in (0, 0, 1):
        found = {method: pictures.sheet(heads, lines) for method, heads, lines in pictures.drawings(seed)}
        assert list(found) == pictures.planters()
        sheets.append([np.asarray(drawn) for drawn in found.values()])
    assert all(map(np.array_equal, sheets[0], sheets[1]))
    assert not any(map(np.array_equal, sheets[0], sheets[2]))


def test_a_change_is_seen_where_it_is(pictures: Any) -> None:
    image = torch.zeros(3, 4, 4)
    other = image.clone()
    other[:, 1, 2] = torch.tensor([0.2, 0.4, 0.6])
    found = pictures.change(image, other)
    assert found.shape == (1, 4, 4)
    assert found.sum() == found[0, 1, 2] == pytest.approx(1)
