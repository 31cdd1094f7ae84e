"""The study's networks, weighed: millions of parameters to the third decimal, frozen ones included.

Source: section 2 of the methods reference, the part of each network that is used.
"""

import pytest

from upd_zoo.method import create
from upd_zoo.recipe import load_recipe
from upd_zoo.vocabulary import ModelId, Protocol

MILLIONS = {
    "vae-camcan-t2": 3.266,
    "vae-camcan-t1": 13.117,
    "vae-ddr": 13.117,
    "vae-chexpert": 3.414,
    "rd-camcan-t1": 108.665,
}


@pytest.mark.parametrize("name", MILLIONS)
def test_the_network_has_the_studys_size(name: str) -> None:
    recipe = load_recipe(ModelId.parse(name), Protocol.STUDY)
    method = create(recipe.method, recipe.domain.modality.channels, recipe.settings)
    count = sum(parameter.numel() for parameter in method.parameters())
    assert round(count / 1e6, 3) == MILLIONS[name]
