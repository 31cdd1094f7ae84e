"""Where cells look, against impulses; what of a backbone is read, and which of it is signed."""

from itertools import product

import pytest
import torch
from torch import Tensor

from upd_zoo.errors import UsageError
from upd_zoo.layers.backbone import FeatureBackbone
from upd_zoo.layers.resize import Grid, Regrid, placement_matrix

PLACES = [(row, column) for row, column in product((49, 58, 67, 76), repeat=2)]
"""Each phase of a stride of 4 once along both axes, and four of the eight of the next."""
PLACEMENTS = ("looked-at", "edges", "corners")


def misses(name: str) -> dict[str, list[float]]:
    """Return how far right and down of bright pixels each level of a drawn backbone moves, in strides, by placement."""
    torch.manual_seed(0)
    backbone = FeatureBackbone(name, 128, (4, 8))
    images = torch.zeros(len(PLACES) + 1, 3, 128, 128)
    for image, (row, column) in zip(images, PLACES, strict=False):
        image[:, row, column] = 3.0
    with torch.no_grad():
        changes = [(level[:-1] - level[-1:]).square().mean(1) for level in backbone(images)]
    return {
        placement: [
            miss(Regrid(grid, Grid(128))(change)) / grid.stride
            for change, grid in zip(changes, backbone.grids(placement), strict=True)
        ]
        for placement in PLACEMENTS
    }


def miss(maps: Tensor) -> float:
    """Return how far beyond the bright pixels the centres of maps lie, on average over both axes."""
    shares = maps / maps.sum((1, 2), keepdim=True)
    pixels = torch.arange(128.0)
    found = torch.stack(((shares.sum(2) * pixels).sum(1), (shares.sum(1) * pixels).sum(1)), dim=1)
    return float((found - torch.tensor(PLACES)).mean())


@pytest.mark.parametrize(
    "name",
    ["resnet18", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mobilenetv2_100", "tf_efficientnet_b0"))],
)
def test_what_cells_say_of_a_bright_pixel_lies_where_it_is_and_resizing_moves_it(name: str) -> None:
    found = misses(name)
    assert found["looked-at"] == pytest.approx([0, 0], abs=0.2)
    for placement in ("edges", "corners"):
        assert min(map(abs, found[placement])) > 0.2


@pytest.mark.parametrize(
    ("name", "first"), [("resnet18", [0, 0, 0]), ("mobilenetv2_100", [0, 0, 0]), ("convnext_atto", [1.5, 3.5, 7.5])]
)
def test_strides_and_paddings_say_where_the_first_cell_looks(name: str, first: list[float]) -> None:
    grids = FeatureBackbone(name, 128).grids("looked-at")
    assert [grid.first for grid in grids] == pytest.approx(first, abs=1e-3)
    assert [(grid.side, grid.stride) for grid in grids] == [(32, 4), (16, 8), (8, 16)]


def test_finding_it_draws_no_number_and_changes_no_backbone() -> None:
    backbone = FeatureBackbone("mobilenetv2_100", 128)
    before, state = {name: value.clone() for name, value in backbone.state_dict().items()}, torch.get_rng_state()
    backbone.grids("looked-at")
    assert backbone.signed == (True, True, True)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_a_network_that_makes_its_weights_from_others_can_be_resized() -> None:
    backbone = FeatureBackbone("nf_resnet26", 128)
    with pytest.raises(UsageError, match="use placement 'edges' or 'corners'"):
        backbone.grids("looked-at")
    assert [grid.first for grid in backbone.grids("edges")] == [1.5, 3.5, 7.5]


def test_a_placement_and_features_that_are_not_there_are_refused() -> None:
    with pytest.raises(UsageError, match="No placement is called 'middle'"):
        FeatureBackbone("test_resnet", 128).grids("middle")
    with pytest.raises(UsageError, match="No features are called 'stem'"):
        FeatureBackbone("test_resnet", 128, features="stem")


@pytest.mark.parametrize(
    ("name", "features", "signed"),
    [
        ("mobilenetv2_100", "blocks", True),
        ("mobilenetv2_100", "expansion", False),
        ("test_resnet", "blocks", False),
    ],
)
def test_signed_levels_are_those_that_no_relu_ends(name: str, features: str, signed: bool) -> None:
    backbone = FeatureBackbone(name, 128, features=features)
    assert backbone.signed == (signed,) * 3
    levels = backbone(torch.rand(1, 1, 128, 128))
    assert [bool((level < 0).any()) for level in levels] == [signed] * 3


def test_expansions_are_what_the_linear_convolution_of_a_block_takes() -> None:
    torch.manual_seed(0)
    backbone, images = FeatureBackbone("mobilenetv2_100", 128, features="expansion"), torch.rand(1, 1, 128, 128)
    taken: list[Tensor] = []
    squeeze = backbone.network.get_submodule("blocks.1.1.conv_pwl")
    squeeze.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
    levels = backbone(images)
    assert backbone.channels == (144, 192, 576)
    assert torch.equal(levels[0], taken[0])


def test_networks_without_linear_bottlenecks_have_no_expansion() -> None:
    networks = [FeatureBackbone("test_resnet", 128, features=features) for features in ("blocks", "expansion")]
    networks[1].load_state_dict(networks[0].state_dict())
    images = torch.rand(1, 1, 128, 128)
    assert all(map(torch.equal, networks[0](images), networks[1](images)))


def test_a_map_between_grids_is_linear_interpolation_at_their_places() -> None:
    source, target = Grid(4, 3.0, 8.0), Grid(32)
    matrix = placement_matrix(source, target)
    places = torch.tensor([3.0, 11.0, 19.0, 27.0])
    torch.testing.assert_close(matrix @ places, torch.arange(32.0).clamp(3, 27))
    torch.testing.assert_close(matrix.sum(1), torch.ones(32))


def test_the_mean_around_a_cell_is_weighted_as_pixels_take_from_it() -> None:
    regrid, inside = Regrid(Grid(8, 0, 4), Grid(32)), torch.zeros(1, 1, 32, 32)
    inside[..., :13] = 1
    means = regrid.means(inside)[0, 0, 3]
    assert means.tolist() == pytest.approx([1, 1, 1, 0.625, 0, 0, 0, 0]), "the cell at pixel 12 has 2.5 of 4 inside"
