"""Brains found in whole heads and brought into one space, on heads whose true brain is known, and on real ones."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from fake.heads import SPACING, Head, head, save
from upd_zoo.brains import extraction
from upd_zoo.brains.alignment import follow, refine, turned
from upd_zoo.brains.border import evened
from upd_zoo.brains.extraction import Attempt, Evidence, Found, evidence_of, extract
from upd_zoo.brains.grid import Bools, Grid, resample, resample_mask, to_matrix, to_transform, upright
from upd_zoo.brains.scans import Scan, prepare_scan
from upd_zoo.brains.shapes import closing, dice, dilation, erosion, largest, opening
from upd_zoo.brains.template import coarse, load_template
from upd_zoo.errors import InputError, MissingExtraError
from upd_zoo.images.nifti import Volume

AFFINE = np.array([[0, 2.0, 0, -10], [-3.0, 0, 0, 5], [0, 0, 1.5, 7], [0, 0, 0, 1]])
PLAUSIBLE = Evidence(litres=1.4, overlap=0.96, likeness=0.65, stretch=1.3, turn=10.0, rise=0.6, rim=0.05)
TURN = np.array([[0.9, 0.1, 0, 3], [-0.1, 0.9, 0.05, -2], [0, 0, 1.1, 5], [0, 0, 0, 1]])


def random_volume(shape: tuple[int, int, int] = (9, 8, 7)) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).random(shape, np.float32)


def test_an_upright_volume_has_every_voxel_where_it_was() -> None:
    volume = Volume(random_volume(), AFFINE)
    found = upright(volume)
    assert (np.diag(found.affine)[:3] > 0).all()
    for voxel in ((0, 0, 0), (8, 7, 6), (3, 1, 4)):
        place = AFFINE @ (*voxel, 1)
        index = np.round(np.linalg.inv(found.affine) @ place)[:3].astype(int)
        assert found.data[tuple(index)] == volume.data[voxel]


def test_on_its_own_grid_an_image_stays_as_it_is() -> None:
    data = random_volume()
    np.testing.assert_allclose(resample(data, AFFINE, Grid(data.shape, AFFINE)), data, atol=1e-6)


def test_resampling_is_scipys_interpolation_under_the_same_transform() -> None:
    data, grid = random_volume(), Grid((5, 6, 4), np.diag([1.5, 2.5, 2.0, 1.0]))
    grid.affine[:3, 3] = (-8, -6, 8)
    voxels = np.linalg.inv(AFFINE) @ TURN @ grid.affine
    places = voxels[:3, :3] @ np.indices(grid.shape).reshape(3, -1) + voxels[:3, 3:]
    inside = ((places >= 0) & (places <= np.array(data.shape)[:, None] - 1)).all(axis=0)
    expected = ndimage.map_coordinates(data, places, order=1)
    found = resample(data, AFFINE, grid, TURN).ravel()
    assert 10 < inside.sum() < inside.size
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-5)


def test_matrices_and_transforms_are_the_same_thing() -> None:
    np.testing.assert_allclose(to_matrix(to_transform(TURN)), TURN, atol=1e-12)


def test_a_mask_stays_a_mask() -> None:
    mask = random_volume() > 0.5
    found = resample_mask(mask, AFFINE, Grid((20, 20, 20), np.diag([0.7, 0.7, 0.7, 1])))
    assert found.dtype == np.bool_


def test_a_coarser_grid_covers_the_same_box() -> None:
    grid = Grid((100, 90, 40), np.diag([1.0, 1.0, 3.0, 1.0]))
    coarse = grid.coarse(2.0)
    assert coarse.shape == (50, 45, 40)
    corners = [np.array([-0.5, -0.5, -0.5, 1]), np.array([*coarse.shape, 1]) - [0.5, 0.5, 0.5, 0]]
    np.testing.assert_allclose(coarse.affine @ corners[0], grid.affine @ [-0.5, -0.5, -0.5, 1])
    np.testing.assert_allclose(coarse.affine @ corners[1], grid.affine @ [99.5, 89.5, 39.5, 1])
    assert coarse.litres == pytest.approx(2 * 2 * 3 / 1e6)


def ball(side: int, radius: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
    steps = np.arange(side) - side // 2
    return np.asarray(sum(step**2 for step in np.meshgrid(steps, steps, steps)) <= radius**2)


def test_shapes_grow_and_shrink_by_balls() -> None:
    mask, element = random_volume((20, 20, 20)) > 0.97, ball(5, 2)
    assert np.array_equal(dilation(mask, 2), ndimage.binary_dilation(mask, element))
    solid = dilation(mask, 3)
    assert np.array_equal(erosion(solid, 2), ndimage.binary_erosion(solid, element))


def test_opening_takes_bridges_away_and_closing_fills_gaps_and_holes() -> None:
    mask = np.zeros((30, 12, 12), bool)
    mask[2:12, 1:11, 1:11] = mask[18:28, 1:11, 1:11] = True
    apart = mask.copy()
    mask[12:18, 5:7, 5:7] = True
    assert not opening(mask, 2)[14:16].any()
    assert largest(apart).sum() == 1000
    assert not closing(apart, 1)[14].any()
    assert closing(apart, 3)[14].any()
    holed = apart.copy()
    holed[5:8, 5:8, 5:8] = False
    assert closing(holed, 0)[6, 6, 6]


def test_overlap_is_dices() -> None:
    first, second = np.array([1, 1, 0, 0], bool), np.array([0, 1, 1, 1], bool)
    assert dice(first, second) == pytest.approx(2 / 5)
    assert dice(first & False, second & False) == 0


def test_the_default_template_is_a_brain_that_stands_upright() -> None:
    template = load_template()
    assert template.grid.shape == (197, 233, 189)
    assert 1.5 < template.mask.sum() * template.grid.litres < 2.1
    assert (template.data[~template.mask] == 0).all()


def test_a_coarser_template_is_the_same_brain() -> None:
    template = load_template()
    small = coarse(template, 2.0)
    assert small.grid.shape == (99, 117, 95)
    assert small.mask.sum() * small.grid.litres == pytest.approx(template.mask.sum() * template.grid.litres, rel=0.01)
    again = resample_mask(small.mask, small.grid.affine, template.grid)
    assert dice(again, template.mask) > 0.98


def test_a_head_or_a_scrap_is_no_template(tmp_path: Path) -> None:
    each = head()
    save(tmp_path / "head.nii.gz", each.data, each.affine)
    save(tmp_path / "scrap.nii.gz", each.data[:20, :20, :20], each.affine)
    for name in ("head", "scrap"):
        with pytest.raises(InputError, match=rf"{name}\.nii\.gz shows .* l of tissue"):
            load_template(tmp_path / f"{name}.nii.gz")


def test_without_the_libraries_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from upd_zoo.brains.grid import sitk

    sitk.cache_clear()
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(MissingExtraError, match=r"upd-zoo\[prepare\]"):
        sitk()
    sitk.cache_clear()


def found_in(each: Head) -> Found:
    return extract(each.data, Grid(each.data.shape, each.affine), load_template())


@pytest.fixture(scope="module")
def nodding() -> tuple[Head, Found]:
    """A smaller brain in a head that nods, under bright skin, its vertex dim, and what was found in it."""
    each = head(1, size=0.88, turn=15, skin=1.3, vertex=0.3)
    return each, found_in(each)


def test_the_brain_is_found_in_a_whole_head(nodding: tuple[Head, Found]) -> None:
    each, found = nodding
    assert dice(found.mask, each.brain) > 0.97
    assert found.evidence.doubts() == []
    assert found.evidence.litres == pytest.approx(each.brain.sum() * (SPACING / 100) ** 3, rel=0.05)


def top_fifth(mask: Bools) -> Bools:
    """Return what of a mask lies in the upper fifth of its height."""
    shown = np.flatnonzero(mask.any(axis=(0, 1)))
    return np.asarray(mask & (np.arange(mask.shape[2]) > shown[0] + 0.8 * (shown[-1] - shown[0])))


def test_the_vertex_is_found_though_it_is_three_times_darker(nodding: tuple[Head, Found]) -> None:
    each, found = nodding
    top = top_fifth(each.brain)
    assert found.mask[top].mean() > 0.9


def test_a_brain_without_its_top_is_doubted_whether_or_not_the_head_is_there(nodding: tuple[Head, Found]) -> None:
    each, found = nodding
    cut, grid = found.mask & ~top_fifth(found.mask), Grid(each.data.shape, each.affine)
    doubts = {}
    for name, shown in {"whole": each.data, "stripped": np.where(cut, each.data, 0)}.items():
        evidence = evidence_of(shown, evened(shown, cut), cut, grid, load_template(), found.transform)
        doubts[name] = " ".join(evidence.doubts())
    assert all("above its widest section" in each for each in doubts.values())
    assert "as bright as brain" in doubts["whole"]


def test_the_template_is_found_where_it_is(nodding: tuple[Head, Found]) -> None:
    _, found = nodding
    assert found.evidence.turn == pytest.approx(15, abs=1)
    assert found.evidence.stretch == pytest.approx(0.88**-3, rel=0.05)
    assert found.evidence.likeness > 0.9


@pytest.mark.slow
def test_the_same_brain_is_always_found_in_the_same_place(nodding: tuple[Head, Found]) -> None:
    each, found = nodding
    brain = np.where(found.mask, each.data, 0)
    places = [refine(brain, each.affine, load_template(), np.eye(4)) for _ in range(2)]
    np.testing.assert_array_equal(places[0], places[1])


@pytest.mark.slow
def test_a_head_upside_down_is_not_believed(nodding: tuple[Head, Found], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "ATTEMPTS", (Attempt(2, 1.0),))
    each = nodding[0]
    assert found_in(Head(each.data[:, :, ::-1].copy(), each.brain, each.affine)).evidence.doubts()


def test_what_failed_is_tried_again_in_other_ways_and_the_least_doubted_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    overlaps = iter([0.5, 0.91, 0.7, 0.95, 0.99])
    tried: list[Attempt] = []

    def tried_with(_head: Any, _grid: Any, _template: Any, attempt: Attempt, number: int) -> Found:
        tried.append(attempt)
        evidence = replace(PLAUSIBLE, overlap=next(overlaps))
        return Found(np.zeros((1, 1, 1), bool), np.eye(4), evidence, number)

    monkeypatch.setattr(extraction, "_tried", tried_with)
    found = found_in(head())
    assert tried == [*extraction.ATTEMPTS[:4]]
    assert (found.attempts, found.evidence.overlap) == (4, 0.95)
    overlaps = iter([0.5, 0.91, 0.7, 0.4, 0.3, 0.2])
    assert found_in(head()).attempts == 2


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        ({"litres": 0.5}, "volume"), ({"litres": 2.5}, "volume"), ({"overlap": 0.9}, "overlaps"),
        ({"likeness": 0.3}, "likeness"), ({"stretch": 3.0}, "times as large"), ({"turn": 90.0}, "turned"),
        ({"rise": 0.3}, "above its widest section"), ({"rim": 0.7}, "as bright as brain"),
    ],
)  # fmt: skip
def test_every_kind_of_evidence_can_raise_a_doubt(change: dict[str, float], doubt: str) -> None:
    assert PLAUSIBLE.doubts() == []
    (found,) = replace(PLAUSIBLE, **change).doubts()
    assert doubt in found


def test_a_turn_is_measured_whatever_else_a_transform_does() -> None:
    angle = np.radians(30)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    transform = np.eye(4)
    transform[:3, :3] = rotation @ np.diag([1.1, 1.2, 1.3])
    assert turned(transform) == pytest.approx(30, abs=1)
    assert turned(np.diag([-1.0, 1, 1, 1])) == 180


def test_another_contrast_of_a_head_is_followed() -> None:
    each = head(2)
    moved = np.eye(4)
    moved[:3, 3] = (3, -4, 2)
    other = Volume(np.where(each.data > 30, 1000 - each.data, 0).astype(np.float32), moved @ each.affine)
    found = follow(Volume(each.data, each.affine), other)
    np.testing.assert_allclose(found, moved, atol=0.5)


@pytest.mark.slow
@pytest.mark.real
def test_a_patient_and_a_healthy_subject_overlap_in_the_templates_space(open_images: Path) -> None:
    healthy = sorted((open_images / "ixi" / "IXI-T1").glob("*.nii.gz"))[0]
    template = load_template()
    scans = [
        prepare_scan(Scan("healthy", f"ixi/IXI-T1/{healthy.name}"), open_images, template),
        prepare_scan(Scan("patient", "ms/patient07/T1.nii.gz", stripped=True), open_images, template),
    ]
    assert all(scan.found.evidence.doubts() == [] for scan in scans)
    assert dice(scans[0].inside, scans[1].inside) >= 0.9
    assert all(dice(scan.inside, template.mask) >= 0.92 for scan in scans)
