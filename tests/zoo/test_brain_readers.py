"""Promises of the readers of CamCAN, BraTS, ATLAS and the Decathlon, on look-alikes with their true layouts."""

from pathlib import Path

import numpy as np
import pytest

from fake.atlas import write_atlas
from fake.brats import MISNAMED, write_brats
from fake.camcan import SUBJECTS, write_camcan
from fake.heads import Head
from fake.msd_brats import CASES, write_msd_brats
from upd_zoo.brains.scans import prepare_scan
from upd_zoo.brains.shapes import dice
from upd_zoo.brains.template import load_template
from upd_zoo.errors import InputError, InputErrorCode, NotFoundError
from upd_zoo.images.gate import read_volume
from upd_zoo.sources.atlas import ATLAS
from upd_zoo.sources.brats import BRATS
from upd_zoo.sources.camcan import CAMCAN
from upd_zoo.sources.msd_brats import MSD_BRATS
from upd_zoo.sources.of_brains import BrainSource
from upd_zoo.sources.preparation import prepare
from upd_zoo.sources.source import Request
from upd_zoo.stores.places import Part, StoreName, store_path
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import TEST_SETS, Protocol

BLANK = Head(np.ones((4, 4, 4), np.float32), np.ones((4, 4, 4), bool), np.eye(4))
"""Stands for a head where only names matter."""


def subjects_of(
    source: BrainSource, target: str, part: Part, root: Path, protocol: Protocol = Protocol.SOUND
) -> list[str]:
    return [scan.subject for scan in source.scans(StoreName(target, part, protocol), root).values()]


@pytest.mark.parametrize(
    ("source", "missing"),
    [(CAMCAN, "sub-*_T1w"), (BRATS, "BraTS20_Training_*/*_t1"), (ATLAS, "*[tT]1w*"), (MSD_BRATS, "imagesTr/BRATS_*")],
)
def test_a_folder_of_something_else_says_what_was_looked_for_and_where_to_get_it(
    source: BrainSource, missing: str, tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError) as caught:
        source.opened(Request(tmp_path))
    assert missing in str(caught.value)
    assert source.origin in str(caught.value)


@pytest.mark.slow
def test_the_decathlons_contrasts_and_labels_are_told_apart(tmp_path: Path) -> None:
    root = write_msd_brats(tmp_path / "msd", CASES[:1])
    data = tmp_path / "data"
    stores = {}
    for name in ("msd-brats-t1", "msd-brats-t2"):
        assert prepare(TEST_SETS[name], data, Request(root)).failures == ()
        stores[name] = Store(store_path(data, name, "test"))
        assert {*stores[name].subjects} == {CASES[0]}
    brightness = {}
    for name, store in stores.items():
        assert store.masks is not None
        masks, images = np.array(store.masks, bool), np.array(store.images[:, 0])
        assert 0 < store.anomalous.sum() < len(store)
        brightness[name] = images[masks].mean() / images[(images > 0) & ~masks].mean()
    assert brightness["msd-brats-t2"] > 1.5 > brightness["msd-brats-t1"]


def test_a_file_with_too_few_contrasts_is_named(tmp_path: Path) -> None:
    root = write_msd_brats(tmp_path, CASES[:1])
    file = root / "imagesTr" / f"{CASES[0]}.nii.gz"
    (root / "labelsTr" / f"{CASES[0]}.nii.gz").rename(file)
    with pytest.raises(InputError, match="number 2 is asked for") as caught:
        read_volume(file, part=1)
    assert caught.value.code is InputErrorCode.UNSUPPORTED


@pytest.mark.slow
def test_the_misnamed_mask_is_found_and_tables_are_no_cases(tmp_path: Path) -> None:
    root = write_brats(tmp_path)
    scans = BRATS.scans(StoreName("brats-t2", Part.TEST), root)
    masks = {scan.subject: Path(scan.masks[0]).name for scan in scans.values()}
    assert masks == {
        "BraTS20_Training_001": "BraTS20_Training_001_seg.nii",
        f"BraTS20_Training_{MISNAMED}": "W39_1998.09.19_Segm.nii",
    }
    template = load_template()
    brain = prepare_scan(list(scans.values())[1], root, template)
    assert brain.found.evidence.doubts() == []
    assert brain.mask is not None
    assert brain.image[brain.mask].mean() > 1.5 * brain.image[brain.inside & ~brain.mask].mean()


def test_the_study_tests_on_the_first_nine_tenths_of_the_cases(tmp_path: Path) -> None:
    for number in range(1, 370):
        (tmp_path / f"BraTS20_Training_{number:03}").mkdir()
    assert len(subjects_of(BRATS, "brats-t1", Part.TEST, tmp_path)) == 369
    study = subjects_of(BRATS, "brats-t1", Part.TEST, tmp_path, Protocol.STUDY)
    assert (len(study), study[0], study[-1]) == (332, "BraTS20_Training_001", "BraTS20_Training_332")


@pytest.mark.slow
@pytest.mark.parametrize("release", ["R2.0", "1.2"])
def test_strokes_are_read_in_either_release(release: str, tmp_path: Path) -> None:
    root = write_atlas(tmp_path, 1, release)
    (scan,) = ATLAS.scans(StoreName("atlas", Part.TEST), root).values()
    assert (len(scan.masks), scan.site) == {"R2.0": (1, "R001"), "1.2": (2, "Site1")}[release]
    brain = prepare_scan(scan, root, load_template())
    assert dice(brain.inside, load_template().mask) > 0.95
    assert brain.mask is not None
    litres = brain.mask.sum() / 1e6
    assert litres == pytest.approx(len(scan.masks) * (4 * 2.5 / 100) ** 3 / 0.92**3, rel=0.2)


@pytest.mark.slow
def test_a_stroke_without_its_mask_is_named(tmp_path: Path) -> None:
    root = write_atlas(tmp_path, 1)
    for mask in root.rglob("*lesion_mask.nii.gz"):
        mask.unlink()
    (read,) = ATLAS.opened(Request(root))(StoreName("atlas", Part.TEST)).values()
    with pytest.raises(InputError, match="lesion_mask") as caught:
        list(read())
    assert caught.value.code is InputErrorCode.MISSING


def test_camcan_is_divided_by_subject_and_keeps_sex_and_age(tmp_path: Path) -> None:
    heads = {f"sub-CC{number}": BLANK for number in (110033, *range(200000, 200059))}
    root = write_camcan(tmp_path, heads)
    parts = {part: subjects_of(CAMCAN, "camcan-t2", part, root) for part in (Part.TRAIN, Part.VALIDATION)}
    assert sorted([*parts[Part.TRAIN], *parts[Part.VALIDATION]]) == sorted(heads)
    assert 0 < len(parts[Part.VALIDATION]) < 10
    study = {part: subjects_of(CAMCAN, "camcan-t1", part, root, Protocol.STUDY) for part in parts}
    assert study == {Part.TRAIN: sorted(heads)[:57], Part.VALIDATION: sorted(heads)[57:]}
    first = CAMCAN.scans(StoreName("camcan-t1", Part.TRAIN, Protocol.STUDY), root)
    known = {scan.subject: (scan.sex, scan.age) for scan in first.values()}
    assert known[SUBJECTS[0]] == ("M", 24)
    assert known["sub-CC200000"] == ("", None)


@pytest.mark.slow
def test_a_camcan_t2_scan_follows_its_t1(tmp_path: Path) -> None:
    root = write_camcan(tmp_path)
    (root / next(iter(tmp_path.rglob(f"{SUBJECTS[1]}_T1w.nii.gz")))).unlink()
    scans = [*CAMCAN.scans(StoreName("camcan-t2", Part.TRAIN), root).values()]
    scans += CAMCAN.scans(StoreName("camcan-t2", Part.VALIDATION), root).values()
    (scan,) = scans
    assert scan.guide.endswith(f"{SUBJECTS[0]}_T1w.nii.gz")
    brain = prepare_scan(scan, root, load_template())
    assert dice(brain.image > 0, load_template().mask) > 0.95
