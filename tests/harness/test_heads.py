"""Whole heads in, maps in the scans' own space out, and what is refused on the way."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from fake.heads import Head, head, save
from fake.program import Command
from upd_harness.scoring import heads
from upd_harness.scoring.folder import score_folder
from upd_harness.scoring.heads import Heads
from upd_harness.scoring.inputs import Input
from upd_harness.scoring.journal import read_rows
from upd_harness.scoring.settings import Settings
from upd_zoo.artefact.records import Space
from upd_zoo.brains.scans import Brain, Scan, prepare_scan
from upd_zoo.brains.shapes import erosion
from upd_zoo.brains.shelf import VERSION, space_of
from upd_zoo.brains.template import load_template
from upd_zoo.errors import InputError, InputErrorCode, UsageError
from upd_zoo.runtime.model import Array, Model

Row = dict[str, Any]


@pytest.fixture(scope="module")
def someone() -> Head:
    return head(4)


@pytest.fixture(scope="module")
def mirror(model: Model) -> Model:
    """A model of T1 brains whose map is what it sees, so that a map shows where it was put."""

    def predict(images: Array) -> tuple[Array, Array]:
        return images, images.max(axis=(1, 2, 3))

    return replace(model, config=model.config.model_copy(update={"domain": "phantom-t1"}), network=predict)


def scored(model: Model, inputs: Path, output: Path, mode: Any = "new") -> tuple[list[Row], int]:
    """Score whole heads; return the rows and how many were taken from an earlier run."""
    settings = Settings(mode=mode, heads=Heads.known_to(model.config))
    summary = score_folder(model, inputs, output, settings)
    return list(read_rows(output / "results.jsonl")), summary.reused


@pytest.fixture(scope="module")
def results(mirror: Model, someone: Head, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    """What becomes of a head that looks to the left, of its brain alone, of half a head and of a picture."""
    folder = tmp_path_factory.mktemp("heads")
    save(folder / "in" / "head.nii.gz", someone.data, someone.affine, "PSR")
    place_twice(folder / "in" / "head.nii.gz")
    save(folder / "in" / "brain.nii", np.where(someone.brain, someone.data, 0), someone.affine, "LAS")
    whole = (folder / "in" / "head.nii.gz").read_bytes()
    (folder / "in" / "half.nii.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "in" / "picture.png").write_bytes(b"\x89PNG")
    return folder, scored(mirror, folder / "in", folder / "out")[0]


def place_twice(path: Path) -> None:
    """Give a scan a qform that lies elsewhere than its sform, and a unit."""
    scan = nibabel.load(path)
    image = nibabel.Nifti1Image(np.asarray(scan.dataobj), None)
    image.header.set_sform(scan.affine, 4)
    image.header.set_qform(scan.affine + np.array([[0, 0, 0, 17.0]] + [[0.0] * 4] * 3), 2)
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)


def test_the_map_of_a_prepared_scan_says_where_it_lies_as_its_scan_does(results: tuple[Path, list[Row]]) -> None:
    scan, written = (nibabel.load(results[0] / place / "head.nii.gz").header for place in ("in", "out/maps"))
    for field in ("sform_code", "qform_code", "xyzt_units", "qoffset_x", "srow_x"):
        np.testing.assert_array_equal(written[field], scan[field], err_msg=field)
    told = {row["input"]: {warning["code"] for warning in row["warnings"]} - {"unlike"} for row in results[1]}
    assert told["head.nii.gz"] == {"forms", "space"}
    assert told["brain.nii"] == {"space"}


def test_every_input_has_a_row_and_one_bad_file_stops_nothing(results: tuple[Path, list[Row]]) -> None:
    codes = {row["input"]: (row["error"] or {}).get("code") for row in results[1]}
    assert codes == {"brain.nii": None, "half.nii.gz": "truncated", "head.nii.gz": None, "picture.png": "unsupported"}


@pytest.mark.parametrize("name", ["head.nii.gz", "brain.nii"])
def test_the_map_lies_on_the_brain_in_the_scans_own_space(
    name: str, results: tuple[Path, list[Row]], someone: Head
) -> None:
    scan, written = (nibabel.load(results[0] / place / name) for place in ("in", "out/maps"))
    assert written.shape == scan.shape
    np.testing.assert_allclose(written.affine, scan.affine, atol=1e-4)
    assert nibabel.aff2axcodes(written.affine) == nibabel.aff2axcodes(scan.affine)
    seen = nibabel.as_closest_canonical(written).get_fdata()
    assert likeness(seen, someone.data, someone) > 0.95
    assert seen[~someone.brain].sum() < 0.05 * seen.sum()


def likeness(seen: Any, truth: Any, someone: Head) -> float:
    inside = erosion(someone.brain, 2)
    return float(np.corrcoef(seen[inside], truth[inside])[0, 1])


def test_a_row_tells_what_was_found_and_into_which_space_it_was_brought(results: tuple[Path, list[Row]]) -> None:
    row = next(row for row in results[1] if row["input"] == "head.nii.gz")
    assert row["space"]["template_sha256"] == load_template().sha256
    assert row["space"]["preparation"] == VERSION
    assert row["geometry"]["orientation"] == "PSR"
    brain = row["geometry"]["brain"]
    assert brain["overlap"] > 0.94
    assert brain["stripped"] is False
    assert len(row["slice_scores"]) == load_template().data.shape[2]
    alone = next(row for row in results[1] if row["input"] == "brain.nii")
    assert alone["geometry"]["brain"]["stripped"] is True


def test_a_finished_head_is_not_prepared_again_unless_otherwise(
    mirror: Model, results: tuple[Path, list[Row]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(results[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(heads, "prepare_scan", only_what_failed)
    rows, reused = scored(mirror, tmp_path / "in", tmp_path / "out", "continue")
    assert reused == 2
    assert without_seconds(rows) == without_seconds(results[1])
    with pytest.raises(UsageError, match=r"space was template .* and is none"):
        score_folder(mirror, tmp_path / "in", tmp_path / "out", Settings(mode="continue"))


def only_what_failed(scan: Scan, *how: Any) -> Brain:
    assert scan.image == "half.nii.gz"
    return prepare_scan(scan, *how)


def without_seconds(rows: list[Row]) -> list[Row]:
    return [row | {"seconds": None} for row in rows]


@pytest.mark.slow
def test_what_is_no_brain_is_refused(mirror: Model, someone: Head, tmp_path: Path) -> None:
    save(tmp_path / "turned.nii.gz", np.where(someone.brain, someone.data, 0)[:, :, ::-1], someone.affine)
    with pytest.raises(InputError, match=r"turned\.nii\.gz: no plausible brain was found") as caught:
        Heads.known_to(mirror.config).open(Input.of(tmp_path / "turned.nii.gz"))
    assert caught.value.code is InputErrorCode.IMPLAUSIBLE


def test_values_below_the_background_are_refused_before_they_are_lost(
    mirror: Model, someone: Head, tmp_path: Path
) -> None:
    tissue = someone.data[someone.brain]
    z_scores = np.where(someone.brain, (someone.data - tissue.mean()) / tissue.std(), 0)
    save(tmp_path / "brain.nii.gz", z_scores, someone.affine)
    save(tmp_path / "head.nii.gz", (someone.data - someone.data.mean()) / someone.data.std(), someone.affine)
    for name in ("brain.nii.gz", "head.nii.gz"):
        with pytest.raises(InputError, match=rf"{name}: .* lies below its background") as caught:
            Heads.known_to(mirror.config).open(Input.of(tmp_path / name))
        assert caught.value.code is InputErrorCode.IMPLAUSIBLE


@pytest.fixture
def t2_heads(model: Model) -> Heads:
    assert model.config.domain == "phantom-t2"
    return Heads.known_to(model.config)


@pytest.mark.parametrize(
    ("names", "inputs"),
    [
        (["a_T1w.nii.gz", "a_T2w.nii.gz", "b_T2w.nii.gz"], ["a_T2w.nii.gz", "b_T2w.nii.gz"]),
        (["IXI-T1/x-T1.nii", "IXI-T2/x-T2.nii"], ["IXI-T2/x-T2.nii"]),
        (["p/t1.nii", "p/t2.nii", "q/t1.nii"], ["p/t2.nii", "q/t1.nii"]),
        (["T2/a_t1.nii", "T2/a_t2.nii"], ["T2/a_t2.nii"]),
    ],
)
def test_the_t1_scan_of_a_t2_scan_is_no_input(
    t2_heads: Heads, tmp_path: Path, names: list[str], inputs: list[str]
) -> None:
    assert [each.name for each in t2_heads.chosen(listed(tmp_path, *names))] == inputs


def test_a_t1_model_takes_every_scan(mirror: Model, tmp_path: Path) -> None:
    found = listed(tmp_path, "a_T1w.nii.gz", "a_T2w.nii.gz")
    assert Heads.known_to(mirror.config).chosen(found) == found


def test_a_guide_belongs_to_the_files_of_its_scan(t2_heads: Heads, tmp_path: Path) -> None:
    found = listed(tmp_path, "a_T1w.nii.gz", "a_T2w.nii.gz")
    for asked_for in (found, found[1:]):
        (scan,) = t2_heads.chosen(asked_for)
        assert scan.files == (tmp_path / "a_T2w.nii.gz", tmp_path / "a_T1w.nii.gz")


def listed(folder: Path, *names: str) -> list[Input]:
    """Return empty files as inputs."""
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    return [Input.of(folder / name, folder) for name in names]


@pytest.mark.parametrize(
    ("name", "hint"), [("a_T2w.nii.gz", "beside it, a_T1w"), ("scan.nii.gz", "whose name says so")]
)
def test_a_t2_scan_without_its_t1_says_what_is_missing(
    name: str, hint: str, t2_heads: Heads, someone: Head, tmp_path: Path
) -> None:
    save(tmp_path / name, someone.data, someone.affine)
    with pytest.raises(InputError, match=hint) as caught:
        t2_heads.open(Input.of(tmp_path / name))
    assert caught.value.code is InputErrorCode.MISSING


@pytest.mark.slow
def test_a_t2_scan_follows_its_t1(t2_heads: Heads, someone: Head, tmp_path: Path) -> None:
    save(tmp_path / "a_T1w.nii.gz", np.where(someone.brain, someone.data, 0), someone.affine)
    other = np.where(someone.brain, 1500 - someone.data, 0)
    save(tmp_path / "a_T2w.nii.gz", other, someone.affine)
    (scan,) = t2_heads.chosen([Input.of(tmp_path / "a_T2w.nii.gz")])
    case = t2_heads.open(scan)
    assert case.describe()["brain"]["guide"] == "a_T1w.nii.gz"
    seen = nibabel.Nifti1Image(case.restore(case.images[:, 0]), case.scan.affine)
    assert likeness(nibabel.as_closest_canonical(seen).get_fdata(), other, someone) > 0.95


def test_a_model_says_which_template_it_knows(mirror: Model) -> None:
    space = Space(template="T1_brain.nii", template_sha256="0" * 64, extractor="upd-zoo", preparation=VERSION)
    config = mirror.config.model_copy(update={"space": space})
    with pytest.raises(UsageError, match=r"in the space of T1_brain\.nii.*--template path/to/T1_brain\.nii"):
        Heads.known_to(config)
    known = space.model_copy(update={"template_sha256": load_template().sha256})
    assert Heads.known_to(config.model_copy(update={"space": known})).space == space.model_copy(
        update={"template": load_template().name, "template_sha256": load_template().sha256}
    )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, []),
        ({"preparation": VERSION - 1}, [f"upd-zoo, version {VERSION - 1}"]),
        ({"extractor": "bet"}, ["by bet, "]),
    ],
    ids=["the same", "an older version", "another program"],
)
def test_a_brain_that_is_prepared_in_another_way_than_was_learnt_from_is_doubted(
    mirror: Model, someone: Head, tmp_path: Path, changed: dict[str, Any], told: list[str]
) -> None:
    taught = space_of(load_template(), None).model_copy(update=changed)
    heads = Heads.known_to(mirror.config.model_copy(update={"space": taught}))
    save(tmp_path / "brain.nii", np.where(someone.brain, someone.data, 0), someone.affine, "LAS")
    cautions = heads.open(listed(tmp_path, "brain.nii")[0]).cautions
    found = [each.message for each in cautions if "learnt from" in each.message]
    assert len(found) == len(told)
    assert all(text in message for text, message in zip(told, found, strict=True))


def test_a_model_of_photographs_prepares_nothing(colour_model: Model) -> None:
    with pytest.raises(UsageError, match="takes no brain scans"):
        Heads.known_to(colour_model.config)


def test_the_program_prepares(upd_zoo: Command, someone: Head, tmp_path: Path, artefact: Path) -> None:
    for name in ("a_T1w.nii.gz", "a_T2w.nii.gz"):
        save(tmp_path / "in" / name, np.where(someone.brain, someone.data, 0), someone.affine)
    done = upd_zoo("score", tmp_path / "in", "-m", artefact, "-o", tmp_path / "out", "--prepare", "--no-progress")
    assert done.code == 0, done.err
    assert done.out.startswith("1 scored")
    assert (tmp_path / "out" / "maps" / "a_T2w.nii.gz").is_file()


@pytest.mark.parametrize("option", [("--template", "brain.nii"), ("--extractor", "hd-bet")])
def test_options_of_the_preparation_need_it(
    option: tuple[str, str], upd_zoo: Command, tmp_path: Path, artefact: Path
) -> None:
    done = upd_zoo("score", tmp_path, "-m", artefact, "-o", tmp_path / "out", *option)
    assert done.code == 2
    assert "--prepare" in done.err
    assert not (tmp_path / "out").exists()
