"""Promises of the readers of brain scans, on look-alikes with their true layouts, and on the real ones."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest

from fake.heads import head, save
from fake.idrid import write_idrid
from fake.ixi import SUBJECTS, write_ixi
from fake.open_ms import PATIENTS, write_open_ms
from upd_zoo.brains import shelf as brain_source
from upd_zoo.brains.extraction import Attempt
from upd_zoo.brains.pictures import contact_sheet
from upd_zoo.brains.scans import Scan, prepare_scan
from upd_zoo.brains.shapes import dice
from upd_zoo.brains.template import load_template
from upd_zoo.errors import InputError, InputErrorCode, NotFoundError, UsageError
from upd_zoo.sources.idrid import IDRID
from upd_zoo.sources.ixi import IXI
from upd_zoo.sources.open_ms import OPEN_MS
from upd_zoo.sources.preparation import SHELF, Preparation, prepare
from upd_zoo.sources.side_by_side import side_by_side
from upd_zoo.sources.source import Request
from upd_zoo.stores.places import Part, StoreName, store_path
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import DOMAINS, TEST_SETS, Protocol, Side

TRAIN, VALIDATION = StoreName("ixi-t1", Part.TRAIN), StoreName("ixi-t1", Part.VALIDATION)


@pytest.fixture(scope="module")
def ixi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three heads, of which one has no T2 scan."""
    root = write_ixi(tmp_path_factory.mktemp("ixi"), contrasts=("T1", "T2"))
    (root / "IXI-T2" / f"{SUBJECTS[2]}-T2.nii.gz").unlink()
    return root


@pytest.fixture(scope="module")
def prepared(ixi: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Preparation]:
    """Stores of IXI's T1, and what the preparation came to; validation is where the split has put someone."""
    data = tmp_path_factory.mktemp("data")
    return data, prepare(DOMAINS["ixi-t1"], data, Request(ixi))


def all_slices(data: Path, done: Preparation) -> Iterator[tuple[Store, dict[str, str]]]:
    for facts in done.stores:
        store = Store(data / facts.name)
        yield from ((store, row) for row in store.index)


@pytest.fixture(scope="module", autouse=True)
def _someone_in_each_part() -> Iterator[None]:
    """Let the three subjects of the look-alike be divided, whatever their names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("upd_zoo.sources.ixi.part_of", lambda name, *_: VALIDATION.part if "HH" in name else TRAIN.part)
        yield


def test_every_head_becomes_slices_of_a_brain_with_sex_age_and_site(prepared: tuple[Path, Preparation]) -> None:
    data, done = prepared
    assert done.failures == ()
    people = {(row["subject"], row["sex"], row["age"], row["site"]) for _, row in all_slices(data, done)}
    assert people == {
        (SUBJECTS[0], "F", "35", "Guys"),
        (SUBJECTS[1], "M", "38", "HH"),
        (SUBJECTS[2], "", "", "IOP"),
    }
    for facts in done.stores:
        store = Store(data / facts.name)
        assert 120 * facts.subjects < len(store) < 189 * facts.subjects
        assert not store.anomalous.any()
        assert store.facts.provenance["template"] == load_template().name


def test_skin_and_bone_are_gone(prepared: tuple[Path, Preparation]) -> None:
    store = Store(prepared[0] / str(VALIDATION))
    middle = np.array(store.images[len(store) // 2, 0])
    shown = np.argwhere(middle > 0)
    assert 0.2 < (middle > 0).mean() < 0.5
    assert shown.min() > 5
    assert shown.max() < 122
    assert (middle[0] == 0).all()


def test_a_repeated_run_prepares_nothing(
    ixi: Path, prepared: tuple[Path, Preparation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brain_source, "prepare_scan", never)
    data, done = prepared
    before = {facts.name: (data / facts.name / "store.json").stat().st_mtime_ns for facts in done.stores}
    assert prepare(DOMAINS["ixi-t1"], data, Request(ixi)) == done
    assert {name: (data / name / "store.json").stat().st_mtime_ns for name in before} == before


def never(*_: Any) -> None:
    raise AssertionError("a scan was prepared again")


def test_a_stopped_run_goes_on_with_what_is_on_the_shelf(
    ixi: Path, prepared: tuple[Path, Preparation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, done = prepared
    for path in (data / SHELF / "ixi").iterdir():
        (tmp_path / SHELF / "ixi").mkdir(parents=True, exist_ok=True)
        (tmp_path / SHELF / "ixi" / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(brain_source, "prepare_scan", never)
    again = prepare(DOMAINS["ixi-t1"], tmp_path, Request(ixi))
    assert [facts.sha256 for facts in again.stores] == [facts.sha256 for facts in done.stores]


def test_a_site_that_older_versions_did_not_know_makes_no_slice_anew(
    ixi: Path, prepared: tuple[Path, Preparation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(prepared[0] / SHELF, tmp_path / SHELF)
    monkeypatch.setattr(brain_source, "prepare_scan", never)
    monkeypatch.setattr("upd_zoo.sources.ixi._hospital", lambda name: f"another than of {name}")
    (read,) = IXI.opened(Request(ixi, shelf=tmp_path / SHELF))(VALIDATION).values()
    assert {sample.site.partition(" of ")[0] for sample in read()} == {"another than"}


def test_slices_are_cut_again_from_a_brain_that_was_found_with_the_same_bytes(
    ixi: Path, prepared: tuple[Path, Preparation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / SHELF / "ixi"
    kept.mkdir(parents=True)
    for path in (prepared[0] / SHELF / "ixi").glob("*.brain"):
        (kept / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr("upd_zoo.brains.scans._found", never)
    (read,) = IXI.opened(Request(ixi, shelf=tmp_path / SHELF))(VALIDATION).values()
    fresh = Store(prepared[0] / str(VALIDATION))
    assert np.array_equal(np.stack([sample.image for sample in read()]), fresh.images)


@pytest.mark.slow
def test_another_side_scale_and_contrast_find_no_brain_again(
    ixi: Path, prepared: tuple[Path, Preparation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = shutil.copytree(prepared[0] / SHELF, tmp_path / SHELF)
    root = shutil.copytree(ixi, tmp_path / "ixi")
    for path in (root / "IXI-T2").iterdir():  # the head has moved since its T1 scan
        image = nibabel.load(path)
        moved = image.affine + np.pad([[3.0], [-2.0], [1.0]], ((0, 1), (3, 0)))
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), moved), path)

    def slices_of(name: StoreName, kept: Path | None) -> npt.NDArray[np.float32]:
        (read,) = IXI.opened(Request(root, shelf=kept))(name).values()
        return np.stack([sample.image for sample in read()])

    name = StoreName("ixi-t2", Part.VALIDATION, Protocol.STUDY, 192)
    fresh = slices_of(name, None)
    monkeypatch.setattr("upd_zoo.brains.scans._found", never)
    assert np.array_equal(slices_of(name, shelf), fresh)
    assert len([*shelf.rglob("*.shift")]) == 1
    monkeypatch.setattr("upd_zoo.brains.scans.follow", never)
    assert slices_of(name._replace(side=256), shelf).shape == (len(fresh), 1, 256, 256)


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty"])
def test_what_is_damaged_on_the_shelf_is_not_taken(
    damage: str, prepared: tuple[Path, Preparation], tmp_path: Path
) -> None:
    content = next((prepared[0] / SHELF / "ixi").glob("*.npz")).read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    (tmp_path / "a.npz").write_bytes({"flipped": flipped, "truncated": content[:middle], "empty": b""}[damage])
    scan = Scan("someone", "a.nii.gz")
    assert brain_source._taken(tmp_path / "a.npz", scan) is None
    (tmp_path / "a.npz").write_bytes(content)
    assert brain_source._taken(tmp_path / "a.npz", scan)


def test_another_scan_under_the_same_name_and_another_protocol_or_side_are_prepared_anew(
    ixi: Path, tmp_path: Path
) -> None:
    template, scan = load_template(), Scan("someone", "a.nii.gz")
    keys = set()
    sound, study = Protocol.SOUND, Protocol.STUDY
    scans: list[tuple[bytes, Protocol, Side]] = [(b"one", sound, 128), (b"another", sound, 128)]
    scans += [(b"another", study, 128), (b"another", sound, 256)]
    for content, protocol, side in scans:
        (tmp_path / "a.nii.gz").write_bytes(content)
        keys.add(brain_source._key(scan, tmp_path, template, None, protocol, side))
    assert len(keys) == 4


def test_the_sheet_shows_every_subject_and_what_failed(prepared: tuple[Path, Preparation], tmp_path: Path) -> None:
    data, done = prepared
    stores = [Store(data / facts.name) for facts in done.stores]
    sheet = contact_sheet(stores, load_template())
    assert sheet.width % 3 == 0
    assert np.asarray(sheet).max() > 200
    sheet.save(tmp_path / "failed.png")
    assert contact_sheet(stores, load_template(), [tmp_path / "failed.png"]).width == sheet.width // 3 * 4


def test_one_broken_scan_does_not_stop_the_rest(ixi: Path, prepared: tuple[Path, Preparation], tmp_path: Path) -> None:
    root = tmp_path / "ixi"
    for path in ixi.rglob("*-T1.nii.gz"):
        (root / "IXI-T1").mkdir(parents=True, exist_ok=True)
        (root / "IXI-T1" / path.name).write_bytes(path.read_bytes())
    (root / "IXI.csv").write_bytes((ixi / "IXI.csv").read_bytes())
    whole = (root / "IXI-T1" / f"{SUBJECTS[0]}-T1.nii.gz").read_bytes()
    for name, content in {
        "IXI900-Guys-0001": whole[: len(whole) // 2],
        "IXI901-Guys-0001": whole[:20000] + bytes([whole[20000] ^ 4]) + whole[20001:],
    }.items():
        (root / "IXI-T1" / f"{name}-T1.nii.gz").write_bytes(content)
    data = tmp_path / "data"
    (data / SHELF).mkdir(parents=True)
    (data / SHELF / "ixi").symlink_to(prepared[0] / SHELF / "ixi")
    done = prepare(DOMAINS["ixi-t1"], data, Request(root))
    codes = {failure.input.split("/")[-1][:6]: failure.error.code for failure in done.failures}
    assert codes == {"IXI900": InputErrorCode.TRUNCATED, "IXI901": InputErrorCode.CORRUPT}
    assert [facts.subjects for facts in done.stores] == [2, 1]


@pytest.mark.slow
def test_what_is_not_believed_is_named_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upd_zoo.brains.extraction.ATTEMPTS", (Attempt(2, 1.0),))
    each = head()
    save(tmp_path / "IXI-T1" / f"{SUBJECTS[1]}-T1.nii.gz", each.data[:, :, ::-1], each.affine)
    (read,) = IXI.opened(Request(tmp_path, shelf=tmp_path / SHELF))(VALIDATION).values()
    with pytest.raises(InputError, match="no plausible brain was found") as caught:
        list(read())
    assert caught.value.code is InputErrorCode.IMPLAUSIBLE
    (picture,) = (tmp_path / SHELF / "ixi").glob("*.png")
    assert str(picture) in str(caught.value)
    monkeypatch.setattr("upd_zoo.brains.scans._found", never)
    with pytest.raises(InputError, match="no plausible brain was found"):
        list(read())


def test_t2_scans_follow_the_t1_of_the_same_person(ixi: Path) -> None:
    scans = [IXI.scans(StoreName("ixi-t2", part), ixi) for part in (Part.TRAIN, Part.VALIDATION)]
    found = {scan.subject: (name, scan.image, scan.guide) for each in scans for name, scan in each.items()}
    assert found == {
        subject: (f"IXI-T2/{subject}-T2.nii.gz", f"IXI-T2/{subject}-T2.nii.gz", f"IXI-T1/{subject}-T1.nii.gz")
        for subject in SUBJECTS[:2]
    }


@pytest.mark.slow
def test_a_t2_scan_is_cut_out_by_its_t1(ixi: Path) -> None:
    template = load_template()
    (scan,) = IXI.scans(StoreName("ixi-t2", Part.VALIDATION), ixi).values()
    brain = prepare_scan(scan, ixi, template)
    assert dice(brain.image > 0, template.mask) > 0.95
    white = template.data > 0.8 * template.data.max()
    assert brain.image[white].mean() < 0.6 * brain.image[template.mask & ~white].mean()


def test_a_folder_without_heads_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"IXI\*-T1\.nii\.gz.*brain-development\.org"):
        IXI.opened(Request(tmp_path))
    with pytest.raises(UsageError, match="--root"):
        IXI.opened(Request())


def test_the_authors_own_table_is_understood(tmp_path: Path) -> None:
    table = ('IXI_ID,"SEX_ID (1=m, 2=f)",HEIGHT,AGE', "2,2,164,35.80", "12,1,175,", "35,,,200")
    root = write_ixi(tmp_path, {name: head() for name in SUBJECTS}, table=table)
    scans = [scan for store in (TRAIN, VALIDATION) for scan in IXI.scans(store, root).values()]
    assert {(scan.subject, scan.sex, scan.age, scan.site) for scan in scans} == {
        (SUBJECTS[0], "F", 35, "Guys"),
        (SUBJECTS[1], "M", None, "HH"),
        (SUBJECTS[2], "", None, "IOP"),
    }


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_open_ms(tmp_path_factory.mktemp("ms"))


@pytest.mark.slow
def test_patients_keep_their_lesions(patients: Path, tmp_path: Path) -> None:
    test_set = TEST_SETS["open-ms-t2"]
    done = prepare(test_set, tmp_path, Request(patients))
    assert done.failures == ()
    store = Store(store_path(tmp_path, "open-ms-t2", "test"))
    assert store.facts.subjects == len(PATIENTS)
    assert store.masks is not None
    assert {*np.unique(store.masks)} == {0, 1}
    assert 0 < store.anomalous.sum() < len(store) / 4
    masks, images = np.array(store.masks, bool), np.array(store.images[:, 0])
    assert images[masks].mean() > 1.4 * images[(images > 0) & ~masks].mean()


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("another grid", marks=pytest.mark.slow),
        pytest.param("another place", marks=pytest.mark.slow),
        pytest.param("missing", marks=pytest.mark.slow),
    ],
)
def test_a_mask_that_does_not_fit_is_named(patients: Path, tmp_path: Path, fault: str) -> None:
    for path in patients.glob("patient07/*"):
        (tmp_path / "patient07").mkdir(exist_ok=True)
        (tmp_path / "patient07" / path.name).write_bytes(path.read_bytes())
    file = tmp_path / "patient07" / "lesions.nii.gz"
    mask: Any = nibabel.load(file)
    data, affine = np.asarray(mask.dataobj), mask.affine.copy()
    file.unlink()
    affine[0, 3] += 9 if fault == "another place" else 0
    if fault != "missing":
        save(file, data[:-1] if fault == "another grid" else data, affine, "LAS")
    (read,) = OPEN_MS.opened(Request(tmp_path))(StoreName("open-ms-t1", Part.TEST)).values()
    with pytest.raises(InputError, match=r"lesions\.nii\.gz") as caught:
        list(read())
    expected = InputErrorCode.MISSING if fault == "missing" else InputErrorCode.GEOMETRY
    assert caught.value.code is expected


def test_photographs_are_aligned_with_no_template(tmp_path: Path) -> None:
    root = write_idrid(tmp_path)
    with pytest.raises(UsageError, match="leave out --template"):
        IDRID.opened(Request(root, template=tmp_path / "brain.nii.gz"))


def square(number: int) -> int:
    return number**2


def test_work_is_done_side_by_side_and_in_order() -> None:
    assert list(side_by_side(square, range(9), 2)) == [number**2 for number in range(9)]


@pytest.mark.slow
@pytest.mark.real
def test_the_real_patients_are_prepared(open_images: Path, tmp_path: Path) -> None:
    done = prepare(TEST_SETS["open-ms-t2"], tmp_path, Request(open_images / "ms"))
    assert done.failures == ()
    (facts,) = done.stores
    assert facts.subjects == 2
    assert 150 < facts.anomalous < facts.images < 340


@pytest.mark.real
def test_the_real_heads_are_divided_by_subject(open_images: Path) -> None:
    parts = [IXI.scans(StoreName("ixi-t1", part), open_images / "ixi") for part in (Part.TRAIN, Part.VALIDATION)]
    assert sum(map(len, parts)) == 150
    assert not {*parts[0]} & {*parts[1]}
    scans = [scan for part in parts for scan in part.values()]
    assert sum(bool(scan.sex and scan.age) for scan in scans) == 146
    assert {scan.site for scan in scans} <= {"Guys", "HH", "IOP"}
    assert all(scan.age is None or 18 < scan.age < 90 for scan in scans)
