"""PII, against what its patches promise; `tests/zoo/test_poisson.py` compares the blending with scipy's solver."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from upd_zoo.errors import UsageError
from upd_zoo.layers.poisson import blend
from upd_zoo.methods.pii import PII, Block, Patches, apply_patches, draw_patches
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.registry import create
from upd_zoo.vocabulary import DOMAINS, Protocol


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int, channels: int = 1, *, brains: bool = False) -> Tensor:
    """Return smooth images in (0, 1]; brains are 0 outside of a disc, which lies elsewhere in each."""
    coarse = torch.rand(count, channels, 12, 12, generator=seeded(1)) * 0.9 + 0.1
    found = F.interpolate(coarse, (128, 128), mode="bilinear")
    if brains:
        away = torch.arange(128) - torch.linspace(54, 74, count)[:, None]
        found = found * (away[:, :, None] ** 2 + away[:, None] ** 2 < 45**2).unsqueeze(1)
    return found


def tiny(channels: int = 1, **settings: Any) -> PII:
    torch.manual_seed(0)
    return PII(channels, 128, width=4, factor=1, **settings).eval()


def patch(row: int, column: int, width: int, alpha: float = 0.4) -> Patches:
    """Return the same patch for each of two images, which swap them."""
    rows, columns, widths = (torch.tensor([value, value]) for value in (row, column, width))
    return Patches(torch.tensor([1, 0]), rows, columns, widths, torch.tensor([alpha, alpha]))


def test_a_network_of_the_studys_width_codes_an_image_in_256_channels_of_16_pixels() -> None:
    method, batch = PII(3, 128).eval(), torch.zeros(1, 3, 128, 128)
    with torch.no_grad():
        code = method.encoder(batch)
        assert code.shape == (1, 256, 16, 16)
        assert method.decoder(code).shape == batch.shape
    convolutions = [module for module in method.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 1 + 7 * 2 + 6
    assert all(convolution.bias is None for convolution in convolutions)


@pytest.mark.parametrize(
    ("inputs", "outputs", "stride", "up"), [(3, 5, 1, False), (3, 5, 2, False), (4, 4, 2, False), (5, 3, 1, True)]
)
def test_a_block_normalises_before_it_convolves_and_adds_its_shortcut(
    inputs: int, outputs: int, stride: int, up: bool
) -> None:
    block = Block(inputs, outputs, stride=stride, up=up).eval()
    with torch.no_grad():
        for name, tensor in block.state_dict().items():
            if tensor.dim() == 1:
                tensor.copy_(torch.rand(tensor.shape, generator=seeded(len(name))) + 0.3)
    features = torch.randn(2, inputs, 8, 8, generator=seeded())

    def active(maps: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        assert norm.running_mean is not None
        return F.relu(F.batch_norm(maps, norm.running_mean, norm.running_var, norm.weight, norm.bias))

    start = active(features, block.normalise)
    inner = F.conv2d(start, block.convolve.weight, stride=stride, padding=1)
    past = F.avg_pool2d(features, 2) if inputs == outputs else F.conv2d(start, project_of(block), stride=stride)
    if up:
        inner, past = (F.interpolate(maps, scale_factor=2, mode="nearest") for maps in (inner, past))
    end = F.conv2d(active(inner, block.normalise_again), block.convolve_again.weight, padding=1)
    torch.testing.assert_close(block(features), end + past)


def project_of(block: Block) -> Tensor:
    assert block.project is not None
    return block.project.weight


def test_what_is_drawn_lies_in_the_studys_ranges_and_reaches_their_ends() -> None:
    patches = draw_patches(images(2000), inside_foreground=False, generator=seeded())
    for drawn, ends in ((patches.width, [13, 50]), (patches.row, [12, 115]), (patches.column, [12, 115])):
        assert [int(drawn.min()), int(drawn.max())] == ends
    assert 0.05 <= patches.alpha.min() < 0.06
    assert 0.94 < patches.alpha.max() <= 0.95
    assert (patches.partner != torch.arange(2000)).all()


def test_every_other_image_of_the_batch_is_as_likely_a_partner() -> None:
    counts = torch.zeros(4, 4)
    for seed in range(600):
        partner = draw_patches(images(4), inside_foreground=False, generator=seeded(seed)).partner
        counts[torch.arange(4), partner] += 1
    assert (counts.diagonal() == 0).all()
    assert ((counts + 200 * torch.eye(4) - 200).abs() < 60).all()


def test_patches_of_brains_are_centred_on_tissue() -> None:
    brains = images(200, brains=True)
    patches = draw_patches(brains, inside_foreground=True, generator=seeded())
    assert (brains[torch.arange(200), 0, patches.row, patches.column] > 0).all()
    anywhere = draw_patches(brains, inside_foreground=False, generator=seeded())
    assert (brains[torch.arange(200), 0, anywhere.row, anywhere.column] == 0).any()


def test_every_pixel_of_tissue_is_as_likely_a_centre() -> None:
    scan = torch.zeros(1, 1, 128, 128)
    scan[0, 0, 40, 60:64] = torch.tensor([0.1, 0.9, 0.5, 1e-6])
    patches = draw_patches(scan.expand(2000, -1, -1, -1), inside_foreground=True, generator=seeded())
    assert set(patches.row.tolist()) == {40}
    counts = patches.column.bincount(minlength=128)
    assert counts[60:64].sum() == 2000
    assert ((counts[60:64] - 500).abs() < 80).all()


@pytest.mark.parametrize("row", [None, 5])
def test_without_tissue_between_the_margins_a_patch_lies_anywhere(row: int | None) -> None:
    scans = torch.zeros(300, 1, 128, 128)
    if row is not None:
        scans[:, :, row] = 1
    patches = draw_patches(scans, inside_foreground=True, generator=seeded())
    for centre in (patches.row, patches.column):
        assert 12 <= centre.min() < 20
        assert 108 < centre.max() <= 115


def test_tissue_is_what_lies_above_the_minimum_in_centred_images_too() -> None:
    brains = images(50, brains=True)
    found, centred = (draw_patches(x, inside_foreground=True, generator=seeded()) for x in (brains, brains * 2 - 1))
    assert all(map(torch.equal, found, centred))


def test_a_patch_is_drawn_from_the_generator_alone_or_else_from_torchs_own() -> None:
    state, batch = torch.get_rng_state(), images(4)
    draw_patches(batch, inside_foreground=True, generator=seeded())
    assert torch.equal(torch.get_rng_state(), state)
    drawn = []
    for _ in range(2):
        torch.manual_seed(4)
        drawn.append(draw_patches(batch, inside_foreground=True))
    assert all(map(torch.equal, *drawn))
    assert not torch.equal(draw_patches(batch, inside_foreground=True).alpha, drawn[0].alpha)


@pytest.mark.parametrize(
    ("row", "column", "width", "place"),
    [
        (64, 50, 20, (54, 74, 40, 60)),
        (64, 50, 21, (54, 74, 40, 60)),
        (12, 115, 49, (1, 36, 91, 127)),
        (115, 12, 49, (91, 127, 1, 36)),
    ],
)
def test_a_patch_reaches_half_its_width_from_its_centre_and_not_the_border(
    row: int, column: int, width: int, place: tuple[int, int, int, int]
) -> None:
    rectangles = patch(row, column, width).rectangles(128, 128)
    assert [side.tolist() for side in rectangles] == [[end, end] for end in place]


def test_what_is_applied_is_what_was_drawn_and_nothing_else() -> None:
    batch, drawn = images(4), draw_patches(images(4), inside_foreground=False, generator=seeded())
    before, state = batch.clone(), torch.get_rng_state()
    apply_patches(batch, drawn, inside_foreground=True, divide_by_maximum=True)
    assert torch.equal(batch, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_was_drawn_decides_what_is_planted() -> None:
    batch = images(4)
    drawn = [draw_patches(batch, inside_foreground=False, generator=seeded(seed)) for seed in (0, 0, 1)]
    planted = [apply_patches(batch, patches, inside_foreground=False) for patches in drawn]
    assert torch.equal(planted[0].images, planted[1].images)
    assert torch.equal(planted[0].labels, planted[1].labels)
    assert not torch.equal(planted[0].images, planted[2].images)


@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_changes_outside_of_the_patch_and_the_label_says_how_much_inside(channels: int) -> None:
    batch = images(6, channels)
    patches = draw_patches(batch, inside_foreground=False, generator=seeded())
    planted = apply_patches(batch, patches, inside_foreground=False)
    for number in range(6):
        half, row, column = int(patches.width[number]) // 2, int(patches.row[number]), int(patches.column[number])
        inside = torch.zeros(128, 128, dtype=torch.bool)
        inside[max(row - half, 1) : min(row + half, 127), max(column - half, 1) : min(column + half, 127)] = True
        assert torch.equal(planted.images[number, :, ~inside], batch[number, :, ~inside])
        assert (planted.labels[number, :, ~inside] == 0).all()
        assert (planted.labels[number, :, inside] == patches.alpha[number]).all()


def test_where_both_images_are_the_same_the_label_is_nothing() -> None:
    batch = images(2)
    batch[1, :, :, :64] = batch[0, :, :, :64]
    labels = apply_patches(batch, patch(64, 64, 40), inside_foreground=False).labels
    assert (labels[..., :64] == 0).all()
    assert (labels[:, :, 44:84, 64:84] == 0.4).all()


def test_each_channel_has_its_own_label() -> None:
    batch = images(2, 3)
    batch[1, 1] = batch[0, 1]
    labels = apply_patches(batch, patch(64, 64, 40), inside_foreground=False).labels
    assert labels.amax((2, 3)).tolist() == 2 * [[pytest.approx(0.4), 0, pytest.approx(0.4)]]


def test_an_image_alone_loses_contrast_in_its_patch_and_is_called_healthy() -> None:
    one = images(1)
    alone = draw_patches(one, inside_foreground=False, generator=seeded())
    assert alone.partner.tolist() == [0]
    planted = apply_patches(one, alone, inside_foreground=False)
    inside = alone.rectangles(128, 128).inside(128, 128)
    assert not planted.labels.any()
    assert torch.equal(planted.images[~inside], one[~inside])
    assert planted.images.diff()[inside[..., 1:]].abs().mean() < one.diff()[inside[..., 1:]].abs().mean()


def test_a_patch_is_the_poisson_blend_within_the_images_own_range() -> None:
    batch = images(5) * torch.tensor([1.0, 0.1, 0.3, 0.5, 0.2]).view(5, 1, 1, 1)
    patches = draw_patches(batch, inside_foreground=False, generator=seeded())
    found = apply_patches(batch, patches, inside_foreground=False).images
    blended = blend(batch, batch[patches.partner], patches.alpha, patches.rectangles(128, 128), side=51)
    lowest, highest = batch.amin((1, 2, 3), keepdim=True), batch.amax((1, 2, 3), keepdim=True)
    torch.testing.assert_close(found, blended.minimum(highest).maximum(lowest))
    assert (blended > highest).any()
    assert (blended < lowest).any()


@pytest.mark.parametrize("inside_foreground", [True, False])
def test_blending_is_the_same_in_centred_images(inside_foreground: bool) -> None:
    batch = images(4, 3, brains=True)
    patches = draw_patches(batch, inside_foreground=inside_foreground, generator=seeded())
    plain, centred = (apply_patches(x, patches, inside_foreground=inside_foreground) for x in (batch, batch * 2 - 1))
    torch.testing.assert_close(centred.images, plain.images * 2 - 1, rtol=0, atol=1e-5)
    assert torch.equal(centred.labels, plain.labels)


def test_the_background_of_brains_stays_black_and_healthy() -> None:
    brains = images(8, brains=True)
    patches = draw_patches(brains, inside_foreground=True, generator=seeded())
    planted = apply_patches(brains, patches, inside_foreground=True)
    assert (planted.images[brains == 0] == 0).all()
    assert (planted.labels[brains == 0] == 0).all()
    assert (planted.labels > 0).any(dim=(1, 2, 3)).all()
    everywhere = apply_patches(brains, patches, inside_foreground=False)
    assert (everywhere.labels[brains == 0] > 0).any()
    assert torch.equal(everywhere.images[brains > 0], planted.images[brains > 0])
    assert torch.equal(everywhere.labels[brains > 0], planted.labels[brains > 0])


def test_the_study_makes_blended_images_brighter() -> None:
    batch = 0.5 * images(4)
    patches = draw_patches(batch, inside_foreground=False, generator=seeded())
    plain = apply_patches(batch, patches, inside_foreground=False)
    divided = apply_patches(batch, patches, inside_foreground=False, divide_by_maximum=True)
    torch.testing.assert_close(divided.images.amax((1, 2, 3)), torch.ones(4))
    torch.testing.assert_close(divided.images * plain.images.amax((1, 2, 3), keepdim=True), plain.images)
    assert torch.equal(divided.labels, plain.labels)


def test_a_blank_image_can_be_divided_by_its_maximum() -> None:
    planted = apply_patches(
        torch.zeros(2, 1, 128, 128), patch(64, 64, 40), inside_foreground=True, divide_by_maximum=True
    )
    assert not planted.images.any()
    assert not planted.labels.any()


@pytest.mark.parametrize("divide_by_maximum", [True, False])
@pytest.mark.parametrize("inside_foreground", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_loss_is_the_cross_entropy_of_the_label(
    channels: int, inside_foreground: bool, divide_by_maximum: bool
) -> None:
    switches = {"inside_foreground": inside_foreground, "divide_by_maximum": divide_by_maximum}
    method, batch = tiny(channels, **switches), images(4, channels, brains=True)
    torch.manual_seed(3)
    loss = method.training_step(batch)["loss"]
    torch.manual_seed(3)
    planted = apply_patches(batch, draw_patches(batch, inside_foreground=inside_foreground), **switches)
    probability = method.logits(planted.images).double().sigmoid()
    expected = -(planted.labels * probability.log() + (1 - planted.labels) * (1 - probability).log()).mean()
    torch.testing.assert_close(loss, expected.float())


def test_the_map_is_the_mean_probability_over_channels() -> None:
    method, batch = tiny(3), images(2, 3)
    with torch.no_grad():
        expected = method.logits(batch).sigmoid().mean(1, keepdim=True)
        torch.testing.assert_close(method.anomaly_map(batch), expected)


def test_grey_images_are_repeated_to_three_channels() -> None:
    method, grey = tiny(3), images(2)
    with torch.no_grad():
        assert torch.equal(method.logits(grey), method.logits(grey.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize("switch", ["inside_foreground", "divide_by_maximum"])
def test_no_switch_changes_the_map(switch: str) -> None:
    with torch.no_grad():
        found, other = (tiny(**{switch: value}).anomaly_map(images(2, brains=True)) for value in (True, False))
    assert torch.equal(found, other)


def test_the_map_draws_nothing_and_every_step_draws_anew() -> None:
    method, batch = tiny(), images(3)
    state = torch.get_rng_state()
    with torch.no_grad():
        assert torch.equal(method.anomaly_map(batch), method.anomaly_map(batch))
        assert torch.equal(torch.get_rng_state(), state)
        assert method.training_step(batch)["loss"] != method.training_step(batch)["loss"]


def test_the_anomalies_of_training_can_be_seen() -> None:
    method, batch = tiny(inside_foreground=False), images(3)
    torch.manual_seed(6)
    pictures = method.synthetic(batch)
    torch.manual_seed(6)
    planted = method.plant(batch)
    assert set(pictures) == {"blended"}
    assert torch.equal(pictures["blended"], planted.images)
    assert ((pictures["blended"] != batch) <= (planted.labels > 0)).all()


def test_a_setting_that_it_has_not_is_refused() -> None:
    with pytest.raises(UsageError, match="depth"):
        create("pii", 1, 128, {"depth": 16})


@pytest.mark.parametrize("domain", DOMAINS)
def test_switches_are_those_of_the_modalities_and_protocols(domain: str) -> None:
    modality = DOMAINS[domain].modality.id
    for protocol in Protocol:
        settings = load_recipe(ModelId("pii", None, domain), protocol).settings
        assert settings["inside_foreground"] is (modality == "brain-mri")
        assert settings["divide_by_maximum"] is (protocol is Protocol.STUDY and modality == "chest-xray")
