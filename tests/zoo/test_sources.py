"""Promises of the preparation: what phantoms and readers fill, what is left alone, and what every refusal says."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake.ddr import write_ddr
from fake.idrid import IMAGES_B, TRAINING, write_idrid
from upd_zoo.errors import InputError, InputErrorCode, IntegrityError, NotFoundError, UsageError
from upd_zoo.images.framing import frame
from upd_zoo.phantoms.chest import Finding, chest_phantom
from upd_zoo.progress import Progress
from upd_zoo.sources.listed import SOURCES
from upd_zoo.sources.phantoms import PHANTOMS, Sizes
from upd_zoo.sources.preparation import prepare, stores_of
from upd_zoo.sources.source import Inputs, Request
from upd_zoo.stores.places import Part, StoreName, data_folder, store_name, store_path
from upd_zoo.stores.slices import slices_of
from upd_zoo.stores.store import FACTS, IMAGES, Sample, Store
from upd_zoo.vocabulary import DOMAINS, TEST_SETS, Domain, Framing, Protocol, Scale

FUNDUS = DOMAINS["phantom-fundus"]
VERB = "from upd_harness.cli.program import main; main()"


def phantoms(target: str, part: Part, subjects: int, seed: int = 0) -> Inputs:
    return PHANTOMS.opened(Request(seed=seed, subjects=subjects))(StoreName(target, part))


def only(samples: object) -> Sample:
    assert isinstance(samples, list)
    (sample,) = samples
    assert isinstance(sample, Sample)
    return sample


# What is filled


def test_a_domain_is_prepared_with_its_test_sets(tmp_path: Path) -> None:
    done = prepare(FUNDUS, tmp_path, Request(subjects=5))
    assert [facts.name for facts in done.stores] == [
        "phantom-fundus/train",
        "phantom-fundus/validation",
        "phantom-fundus/test",
    ]
    train, validation, test = (Store(store_path(tmp_path, "phantom-fundus", part)) for part in Part)
    assert (len(train), len(validation), len(test)) == (5, 1, 2)
    assert train.images.shape == (5, 3, 128, 128)
    assert not train.anomalous.any()
    assert not validation.anomalous.any()
    assert test.anomalous.tolist() == [False, True]
    assert test.masks is not None
    assert test.masks.any(axis=(1, 2)).tolist() == [False, True]
    assert train.masks is None
    assert len({*train.subjects, *validation.subjects, *test.subjects}) == 8


def test_the_facts_say_that_they_are_phantoms_and_how_they_were_made(tmp_path: Path) -> None:
    for facts in prepare(FUNDUS, tmp_path, Request(seed=3, subjects=1)).stores:
        assert facts.labels == ["synthetic phantoms"]
        assert facts.provenance["source"] == "phantom"
        assert facts.provenance["seed"] == 3
        assert facts.provenance["protocol"] == "sound"
        assert facts.provenance["inputs"] == facts.subjects
        assert {"generator", "upd_zoo"} <= set(facts.provenance)


def test_a_test_set_alone_is_prepared_slice_by_slice(tmp_path: Path) -> None:
    (facts,) = prepare(TEST_SETS["phantom-stroke"], tmp_path, Request(subjects=1)).stores
    store = Store(store_path(tmp_path, "phantom-stroke", "test"))
    assert facts.subjects == len(set(store.subjects)) == 2
    assert facts.images > 100
    assert store.masks is not None
    np.testing.assert_array_equal(store.anomalous, store.masks.any(axis=(1, 2)))
    sick = {subject for subject, anomalous in zip(store.subjects, store.anomalous, strict=True) if anomalous}
    assert sick == {"subject-2000001"}
    assert store.images.reshape(len(store), -1).any(axis=1).all()
    positions = [int(row["slice"]) for row in store.index if row["subject"] in sick]
    assert positions == list(range(positions[0], positions[0] + len(positions)))


def test_chest_findings_take_turns() -> None:
    reads = list(phantoms("phantom-cxr", Part.TEST, subjects=20).items())
    for (_, healthy), (name, diseased), finding in zip(reads[0::2], reads[1::2], [*Finding, *Finding], strict=False):
        phantom = chest_phantom(0, int(name.removeprefix("subject-")), finding)
        np.testing.assert_allclose(only(diseased()).image[0], phantom.image)
        assert not only(healthy()).anomalous


@pytest.mark.parametrize("part", Part)
def test_more_subjects_only_add_to_fewer(part: Part) -> None:
    few, many = (phantoms("phantom-cxr", part, subjects) for subjects in (10, 20))
    assert list(many)[: len(few)] == list(few)
    assert len(few) < len(many)
    name = list(few)[-1]
    np.testing.assert_array_equal(only(few[name]()).image, only(many[name]()).image)


def test_no_phantom_is_in_two_parts() -> None:
    subjects = [set(phantoms("phantom-cxr", part, subjects=3000)) for part in Part]
    assert len(set.union(*subjects)) == sum(map(len, subjects))


def test_another_seed_is_another_population() -> None:
    one, other = (phantoms("phantom-fundus", Part.TRAIN, 1, seed=seed)["subject-0"]() for seed in (0, 1))
    assert not np.array_equal(only(one).image, only(other).image)


@pytest.mark.parametrize(("train", "expected"), [(16, (16, 6, 12)), (8, (8, 3, 6)), (1, (1, 1, 2)), (32, (32, 12, 24))])
def test_sizes_keep_their_proportion(train: int, expected: tuple[int, int, int]) -> None:
    assert Sizes(16, 6, 12).scaled(train) == Sizes(*expected)


# Slices


def scan() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a scan of 8 x 6 x 5 voxels in R-A-S order with tissue in its slices 1 to 3 and a lesion in slice 2."""
    volume = np.zeros((8, 6, 5), np.float32)
    volume[2:6, 1:5, 1:4] = np.random.default_rng(0).uniform(20, 100, (4, 4, 3))
    mask = np.zeros(volume.shape, np.uint8)
    mask[3:5, 2:4, 2] = 4
    return volume, np.diag([2.0, 2.0, 3.0, 1.0]), mask


def test_slices_are_numbered_in_the_scan_and_empty_ones_are_left_out() -> None:
    volume, affine, mask = scan()
    samples = slices_of(volume, affine, "someone", mask, protocol=Protocol.SOUND, side=128)
    assert [(sample.slice, sample.anomalous) for sample in samples] == [(1, False), (2, True), (3, False)]
    assert {sample.subject for sample in samples} == {"someone"}


def test_slices_lie_as_they_are_framed_for_scoring_and_share_one_scale() -> None:
    volume, affine, _ = scan()
    samples = slices_of(volume, affine, "someone", protocol=Protocol.STUDY, side=128)
    for sample in samples:
        upright = volume[::-1, ::-1, sample.slice].T / volume.max()  # anterior at the top, right at the left
        np.testing.assert_allclose(sample.image, frame(upright[None], Framing.SQUARE_SLICES, 128, (2, 2)), atol=1e-6)
        assert not sample.anomalous


def test_a_scan_stored_upside_down_gives_the_same_slices() -> None:
    volume, affine, mask = scan()
    flipped = affine @ np.array([[-1.0, 0, 0, 7], [0, 1, 0, 0], [0, 0, -1, 4], [0, 0, 0, 1]])
    turned = volume[::-1, :, ::-1], flipped, "a", mask[::-1, :, ::-1]
    ways = [slices_of(*way, protocol=Protocol.SOUND, side=128) for way in ((volume, affine, "a", mask), turned)]
    for one, other in zip(*ways, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.mask, other.mask)
        assert one.slice == other.slice


def test_a_mask_on_another_grid_is_refused() -> None:
    volume, affine, mask = scan()
    with pytest.raises(InputError) as caught:
        slices_of(volume, affine, "someone", mask[:-1], protocol=Protocol.SOUND, side=128)
    assert caught.value.code is InputErrorCode.GEOMETRY


# What is left alone


def written(data: Path, domain: str = "phantom-fundus") -> int:
    return store_path(data, domain, "train").joinpath(IMAGES).stat().st_mtime_ns


def test_a_store_that_stands_is_left_alone_unless_asked(tmp_path: Path) -> None:
    first, before = prepare(FUNDUS, tmp_path, Request(subjects=1)), written(tmp_path)
    assert prepare(FUNDUS, tmp_path, Request(subjects=1)) == first
    assert written(tmp_path) == before
    assert prepare(FUNDUS, tmp_path, Request(subjects=1), force=True) == first
    assert written(tmp_path) != before


@pytest.mark.parametrize("changed", [{"seed": 1}, {"subjects": 2}], ids=str)
def test_a_store_that_was_made_otherwise_is_made_again(tmp_path: Path, changed: dict[str, Any]) -> None:
    before = prepare(FUNDUS, tmp_path, Request(subjects=1))
    after = prepare(FUNDUS, tmp_path, Request(**{"subjects": 1, **changed}))
    assert after.stores[0].sha256 != before.stores[0].sha256


def test_a_damaged_store_is_made_again(tmp_path: Path) -> None:
    first = prepare(FUNDUS, tmp_path, Request(subjects=1))
    (store_path(tmp_path, "phantom-fundus", "train") / FACTS).write_text("{")
    assert prepare(FUNDUS, tmp_path, Request(subjects=1)) == first
    assert Store(store_path(tmp_path, "phantom-fundus", "train")).facts == first.stores[0]


def test_progress_reaches_the_end_of_every_store_made_or_left_alone(tmp_path: Path) -> None:
    for _ in range(2):
        seen: list[Progress] = []
        prepare(FUNDUS, tmp_path, Request(subjects=2), on_progress=seen.append)
        ends = {progress.what: (progress.done, progress.total) for progress in seen}
        assert list(ends) == [f"phantom-fundus/{part}" for part in Part]
        assert all(done == total > 0 for done, total in ends.values())


# Registry, places and refusals


def test_every_source_serves_names_of_the_vocabulary_and_no_name_twice() -> None:
    served = [name for source in SOURCES for name in source.serves]
    assert set(served) <= {*DOMAINS, *TEST_SETS}
    assert len(served) == len(set(served))
    assert len({source.id for source in SOURCES}) == len(SOURCES)


@pytest.mark.parametrize("domain", [domain for domain in DOMAINS.values() if domain.synthetic], ids=lambda d: d.id)
def test_every_synthetic_domain_is_served_whole(domain: Domain) -> None:
    tests = [test_set.id for test_set in TEST_SETS.values() if test_set.domain == domain.id]
    assert [store.target for store in stores_of(domain)] == [domain.id, domain.id, *tests]


def test_every_domain_and_test_set_has_a_reader() -> None:
    assert {name for source in SOURCES for name in source.serves} == {*DOMAINS, *TEST_SETS}


def test_a_domain_without_a_reader_says_which_there_are(tmp_path: Path) -> None:
    unknown = replace(DOMAINS["camcan-t1"], id="phantom-t3")
    with pytest.raises(NotFoundError, match="phantom-t1"):
        prepare(unknown, tmp_path)


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("phantom-cxr", {"root": Path()}),
        ("phantom-cxr", {"seed": -1}),
        ("phantom-cxr", {"subjects": 0}),
        ("idrid", {}),
        ("idrid", {"root": Path(), "seed": 1}),
        ("idrid", {"root": Path(), "subjects": 1}),
    ],
    ids=str,
)
def test_options_that_a_source_does_not_take_are_refused(tmp_path: Path, target: str, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        prepare(DOMAINS[target], tmp_path, Request(**options))


def test_a_root_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="There is no folder"):
        prepare(DOMAINS["idrid"], tmp_path, Request(tmp_path / "nowhere"))


def test_the_data_folder_is_the_option_then_the_variable_then_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPD_ZOO_DATA", "variable")
    assert data_folder(Path("option")) == Path("option")
    assert data_folder() == Path("variable")
    monkeypatch.delenv("UPD_ZOO_DATA")
    assert data_folder().parts[-2:] == ("upd-zoo", "data")


def test_a_store_has_one_of_three_parts() -> None:
    assert store_path(Path("data"), "idrid", "train") == Path("data/idrid/train")
    with pytest.raises(ValueError, match="training"):
        store_path(Path("data"), "idrid", "training")


@pytest.mark.parametrize(
    ("target", "protocol", "expected"),
    [
        ("chexpert", Protocol.SOUND, "chexpert/train"),
        ("chexpert", Protocol.STUDY, "chexpert/train-study"),
        ("idrid", Protocol.STUDY, "idrid/train"),
        ("phantom-cxr", Protocol.STUDY, "phantom-cxr/train"),
        ("phantom-t2", Protocol.STUDY, "phantom-t2/train-study"),
        ("ixi-t1", Protocol.STUDY, "ixi-t1/train-study"),
        ("camcan-t1", Protocol.STUDY, "camcan-t1/train-study"),
    ],
)
def test_the_study_reads_its_own_stores_where_it_splits_or_scales_otherwise(
    target: str, protocol: Protocol, expected: str
) -> None:
    assert str(store_name(target, "train", protocol)) == expected
    assert store_path(Path("data"), target, "train", protocol) == Path("data") / expected


def test_a_source_without_the_studys_splits_fills_one_store_for_both_protocols(tmp_path: Path) -> None:
    first = prepare(FUNDUS, tmp_path, Request(subjects=1))
    before = written(tmp_path)
    assert prepare(FUNDUS, tmp_path, Request(subjects=1), protocol=Protocol.STUDY) == first
    assert written(tmp_path) == before


def test_brain_scans_are_scaled_by_the_rule_of_the_protocol_and_say_so(tmp_path: Path) -> None:
    stores = []
    for protocol, scale in ((Protocol.SOUND, Scale.ROBUST), (Protocol.STUDY, Scale.MAXIMUM)):
        prepare(DOMAINS["phantom-t1"], tmp_path, Request(subjects=1), protocol=protocol)
        stores.append(Store(store_path(tmp_path, "phantom-t1", "validation", protocol)))
        assert stores[-1].facts.scale is scale
        assert "the study's own split" not in stores[-1].facts.labels
    robust, whole = (np.asarray(store.images) for store in stores)
    assert ((robust > 0) == (whole > 0)).all()
    np.testing.assert_allclose(
        robust, np.clip(whole / (whole[robust < 1].max() / robust[robust < 1].max()), 0, 1), atol=1e-2
    )
    assert (robust == 1).sum() > (whole == 1).sum()


# The lists


def test_who_is_in_which_part_is_listed_beside_the_stores(tmp_path: Path) -> None:
    root = write_idrid(tmp_path / "root")
    prepare(DOMAINS["idrid"], tmp_path, Request(root))
    for name in ("idrid/train", "idrid/validation", "idrid/test", "idrid-lesions/test"):
        listed = (tmp_path / f"{name}.txt").read_text().splitlines()
        assert listed == sorted({*Store(tmp_path / name).subjects}), name
    (tmp_path / "idrid" / "train.txt").unlink()
    prepare(DOMAINS["idrid"], tmp_path, Request(root))
    assert (tmp_path / "idrid" / "train.txt").is_file(), "also where the store was standing"


def test_a_list_forgets_nobody(tmp_path: Path) -> None:
    root = write_idrid(tmp_path / "root")
    prepare(DOMAINS["idrid"], tmp_path, Request(root))
    before = (tmp_path / "idrid" / "train.txt").read_text()
    next((root / IMAGES_B / TRAINING).glob(f"{before.split()[0].rpartition('/')[2]}.jpg")).write_bytes(b"broken")
    prepare(DOMAINS["idrid"], tmp_path, Request(root), force=True)
    assert before.split()[0] not in Store(tmp_path / "idrid" / "train").subjects
    assert (tmp_path / "idrid" / "train.txt").read_text() == before


def test_nobody_moves_to_another_part(tmp_path: Path) -> None:
    root = write_idrid(tmp_path / "root")
    prepare(DOMAINS["idrid"], tmp_path, Request(root))
    subject = Store(tmp_path / "idrid" / "train").subjects[-1]
    with (tmp_path / "idrid-lesions" / "test.txt").open("a") as stream:
        stream.write(f"{subject}\n")
    before = written(tmp_path, "idrid")
    with pytest.raises(IntegrityError, match=f"{subject} was in idrid-lesions/test before"):
        prepare(DOMAINS["idrid"], tmp_path, Request(root), force=True)
    assert written(tmp_path, "idrid") == before


def test_phantoms_are_listed_nowhere(tmp_path: Path) -> None:
    prepare(FUNDUS, tmp_path, Request(subjects=1))
    assert not list(tmp_path.rglob("*.txt"))


# The command


def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", VERB, "prepare", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_the_command_names_the_stores_and_the_inputs_it_left_out(tmp_path: Path) -> None:
    root = write_idrid(tmp_path / "root")
    (root / IMAGES_B / TRAINING / "IDRiD_001.jpg").write_bytes(b"")
    done = run("idrid", "--root", root, "--data", tmp_path / "data")
    assert done.returncode == 3
    lines = done.stdout.splitlines()
    assert lines[0].endswith("train: 10 images of 10 subjects, 0 anomalous")
    assert len(lines) == 4
    assert "left out of idrid/train: B. Disease Grading/1. Original Images/a. Training Set/IDRiD_001.jpg" in done.stderr


@pytest.mark.parametrize(("protocol", "store"), [("sound", "test"), ("study", "test-study")])
def test_the_command_prepares_under_a_protocol(tmp_path: Path, protocol: str, store: str) -> None:
    root = write_ddr(tmp_path / "root", {"train": (0,) * 780}, {"test": (("EX",),) * 2})
    done = run("ddr", "--root", root, "--data", tmp_path / "data", "--protocol", protocol)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(str(tmp_path / "data" / "ddr" / f"{store}: "))


@pytest.mark.parametrize(
    ("protocol", "store"), [pytest.param("sound", "train.", marks=pytest.mark.slow), ("study", "train-study.")]
)
def test_training_reads_the_store_of_its_protocol(tmp_path: Path, protocol: str, store: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", VERB, "train", "vae-ddr", "--protocol", protocol,
         "--data", tmp_path, "-o", tmp_path / "out"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 4
    assert f"o prepared store in {tmp_path / 'ddr' / store}" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["phantom-fundus", "--subjects", "1"], 0),
        (["fundus"], 2),
        (["ixi-t1"], 2),
        (["ixi-t1", "--root", "nowhere"], 4),
    ],
    ids=str,
)
def test_the_command_ends_with_the_documented_code(tmp_path: Path, arguments: list[str], code: int) -> None:
    done = run(*arguments, "--data", tmp_path)
    assert done.returncode == code
    assert ("error: " in done.stderr) == (code != 0)
    assert "Traceback" not in done.stderr
