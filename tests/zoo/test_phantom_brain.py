"""Synthetic brains: repeatable, plausible, and with lesions that differ from tissue as the study's Fig. 1 says."""

import subprocess
import sys
from functools import cache

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("scipy", reason="the extra 'prepare' is not installed")
pytest.importorskip("nilearn", reason="the extra 'prepare' is not installed")
from scipy import ndimage

from upd_zoo.errors import MissingExtraError, UsageError
from upd_zoo.phantoms.brain import BrainPhantom, Lesion, Weighting, brain_phantom
from upd_zoo.phantoms.brain_anatomy import Head
from upd_zoo.phantoms.brain_lesions import apply_mass_effect, draw_tumour

T1, T2, TUMOUR, STROKE = Weighting.T1, Weighting.T2, Lesion.TUMOUR, Lesion.STROKE
SUBJECTS = range(6)
KINDS = [(T1, None), (T2, None), (T1, TUMOUR), (T2, TUMOUR), (T1, STROKE)]


@cache
def phantom(weighting: Weighting, subject: int = 0, lesion: Lesion | None = None) -> BrainPhantom:
    return brain_phantom(weighting, 11, subject, lesion)


def contrast(scan: BrainPhantom) -> float:
    """Mean intensity of pathological minus that of normal tissue."""
    lesion, brain = scan.mask > 0, scan.image > 0
    return float(scan.image[lesion].mean() - scan.image[brain & ~lesion].mean())


def relative_areas(lesion: Lesion) -> NDArray[np.float64]:
    """Share of the brain that is pathological, of every affected axial slice of all subjects."""
    scans = [phantom(T1, subject, lesion) for subject in SUBJECTS]
    areas = np.concatenate([np.stack([scan.mask.sum((0, 1)), (scan.image > 0).sum((0, 1))]) for scan in scans], axis=1)
    affected = areas[:, areas[0] > 0]
    return np.asarray(affected[0] / affected[1])


@pytest.mark.parametrize(("weighting", "lesion"), KINDS)
def test_a_scan_is_a_skull_stripped_brain_in_ras_and_in_range(weighting: Weighting, lesion: Lesion | None) -> None:
    scan = phantom(weighting, 0, lesion)
    brain = scan.image > 0
    assert scan.image.dtype == np.float32
    assert scan.mask.dtype == np.uint8
    assert scan.affine.dtype == np.float64
    assert scan.image.shape[:2] == (128, 128)
    assert scan.image.max() <= 1
    assert nibabel.aff2axcodes(scan.affine) == ("R", "A", "S")
    assert not brain[[0, -1]].any()
    assert not brain[:, [0, -1]].any()
    width, length = (np.ptp(np.flatnonzero(brain.any(axis=axes))) / 128 for axes in ((1, 2), (0, 2)))
    assert 0.5 < width < 0.75
    assert 0.65 < length < 0.9
    middle = brain[:, :, 30:70].sum((0, 1))
    assert (middle > 0.15 * 128 * 128).all()


@pytest.mark.parametrize(("weighting", "lesion"), [(T2, TUMOUR), (T1, STROKE)])
def test_the_same_arguments_give_the_same_bits(weighting: Weighting, lesion: Lesion | None) -> None:
    first, second = phantom(weighting, 1, lesion), brain_phantom(weighting, 11, 1, lesion)
    assert first.image.tobytes() == second.image.tobytes()
    assert first.mask.tobytes() == second.mask.tobytes()


def test_subjects_and_seeds_differ_in_anatomy() -> None:
    foregrounds = [phantom(T1, subject).image > 0 for subject in (0, 1)]
    foregrounds.append(brain_phantom(T1, 12, 0).image > 0)
    for one, other in ((0, 1), (0, 2)):
        assert (foregrounds[one] ^ foregrounds[other]).sum() > 0.02 * foregrounds[one].sum()


def test_a_person_has_one_anatomy_in_both_weightings_and_with_a_lesion() -> None:
    t1, t2, tumour = phantom(T1), phantom(T2), phantom(T1, 0, TUMOUR)
    brain = t1.image > 0
    assert np.array_equal(brain, t2.image > 0)
    assert np.array_equal(brain, tumour.image > 0)
    assert np.corrcoef(t1.image[brain], t2.image[brain])[0, 1] < -0.8
    stranger = phantom(T1, 1).image[brain]
    assert np.corrcoef(stranger, t2.image[brain])[0, 1] > -0.7


def test_a_tumour_has_the_same_outline_in_both_weightings() -> None:
    assert np.array_equal(phantom(T1, 0, TUMOUR).mask, phantom(T2, 0, TUMOUR).mask)


@pytest.mark.parametrize("weighting", Weighting)
def test_a_healthy_brain_has_an_empty_mask(weighting: Weighting) -> None:
    assert not phantom(weighting).mask.any()


@pytest.mark.parametrize("lesion", Lesion)
def test_a_lesion_lies_inside_the_brain(lesion: Lesion) -> None:
    for subject in SUBJECTS:
        scan = phantom(T1, subject, lesion)
        assert set(np.unique(scan.mask)) == {0, 1}
        assert (scan.image[scan.mask > 0] > 0).all()


def test_tumours_are_bright_in_t2_but_no_brighter_than_fluid() -> None:
    for subject in SUBJECTS:
        scan = phantom(T2, subject, TUMOUR)
        normal = scan.image[(scan.image > 0) & (scan.mask == 0)]
        assert contrast(scan) > 0.05
        assert scan.image[scan.mask > 0].mean() < np.percentile(normal, 97)


def test_tumours_in_t1_have_about_the_mean_of_normal_tissue() -> None:
    contrasts = [contrast(phantom(T1, subject, TUMOUR)) for subject in SUBJECTS]
    assert abs(np.mean(contrasts)) < 0.08
    assert np.max(np.abs(contrasts)) < 0.13


def test_strokes_in_t1_are_dark() -> None:
    contrasts = [contrast(phantom(T1, subject, STROKE)) for subject in SUBJECTS]
    assert np.median(contrasts) < -0.1


def test_tumours_are_large_and_strokes_small() -> None:
    tumours, strokes = relative_areas(TUMOUR), relative_areas(STROKE)
    assert 0.02 < np.median(tumours) < 0.10
    assert 0.08 < tumours.max() < 0.40
    assert np.median(strokes) < 0.015


def test_a_tumour_moves_tissue_outside_its_mask_and_a_stroke_does_not() -> None:
    healthy = phantom(T1).image
    changes = {}
    for lesion in Lesion:
        scan = phantom(T1, 0, lesion)
        distance = ndimage.distance_transform_edt(scan.mask == 0)
        around = (distance > 3) & (distance < 8) & (healthy > 0)
        changes[lesion] = np.abs(scan.image - healthy)[around].mean()
    assert changes[TUMOUR] > 0.01
    assert changes[STROKE] < 0.001


def test_mass_effect_pushes_outwards_without_tearing_and_leaves_the_surface() -> None:
    tumour = draw_tumour(np.random.default_rng(0))
    distances = np.linspace(0, 60, 121, dtype=np.float32)
    points = tumour.centre[:, None] + np.array([[1.0], [0.0], [0.0]], np.float32) * distances
    depth = np.full(distances.shape, 30, np.float32)
    moved = apply_mass_effect(tumour, Head(np.zeros(0, bool), points, depth))
    sources = np.linalg.norm(moved - tumour.centre[:, None], axis=0)
    assert (sources <= distances + 1e-4).all()
    assert (distances - sources).max() > 2
    assert (np.diff(sources) > 0).all()
    assert np.array_equal(apply_mass_effect(tumour, Head(np.zeros(0, bool), points, 0 * depth)), points)


def test_a_negative_seed_or_subject_is_refused() -> None:
    with pytest.raises(UsageError, match="whole numbers from 0"):
        brain_phantom(T1, -1, 0)
    with pytest.raises(UsageError, match="subject -2"):
        brain_phantom(T1, 0, -2)


@pytest.mark.parametrize("missing", ["scipy", "nilearn"])
def test_without_the_extra_the_module_imports_and_says_what_to_install(missing: str) -> None:
    code = (
        f"import sys; sys.modules['{missing}'] = None\n"
        "from upd_zoo.phantoms.brain import brain_phantom, Weighting\n"
        "from upd_zoo.errors import MissingExtraError\n"
        "try: brain_phantom(Weighting.T1, 0, 0)\n"
        "except MissingExtraError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(MissingExtraError("Making brain phantoms", "prepare"))
