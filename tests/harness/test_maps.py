"""Anybody's maps: the figures of an independent reference, whatever the format, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from upd_harness.cli.program import app
from upd_harness.evaluation.map_files import MapFolders
from upd_harness.evaluation.maps import evaluate_maps
from upd_harness.evaluation.stored import read_result
from upd_zoo.errors import NotFoundError, UpdZooError, UsageError
from upd_zoo.vocabulary import ScoreRule

Array = npt.NDArray[Any]
CASES, SLICES, SIDE = 6, 3, 24


def volume(path: Path, array: Array) -> None:
    data = np.moveaxis(array, 0, -1).astype(np.float32)
    nib.Nifti1Image(data, np.eye(4)).to_filename(path.with_name(f"{path.name}.nii.gz"))


def array_file(path: Path, array: Array) -> None:
    np.save(path.with_name(f"{path.name}.npy"), array)


def picture(path: Path, array: Array) -> None:
    pixels = np.round(array[0] * 255).astype(np.uint8)
    Image.fromarray(pixels).save(path.with_name(f"{path.name}.png"))


def tiff(path: Path, array: Array) -> None:
    tifffile.imwrite(path.with_name(f"{path.name}.tif"), array[0])


WRITERS: dict[str, tuple[Callable[[Path, Array], None], int]] = {
    "volumes": (volume, SLICES),
    "arrays": (array_file, SLICES),
    "pictures": (picture, 1),
    "tiffs": (tiff, 1),
}


def made(folder: Path, kind: str = "arrays", *, shift: float = 0, unseen: int = 0) -> tuple[MapFolders, Array, Array]:
    """Write maps and masks, half of them empty, the maps in steps of 1 / 255; return where they are, and both.

    Args:
        folder: Theirs.
        kind: Of their files.
        shift: What is added to every value of a map.
        unseen: Rows of each map that are NaN.
    """
    rng, (write, slices) = np.random.default_rng(0), WRITERS[kind]
    masks = (rng.random((CASES, slices, SIDE, SIDE)) < 0.1) & (np.arange(CASES) % 2 == 1)[:, None, None, None]
    maps = np.round(np.clip(rng.random(masks.shape) * 0.7 + 0.25 * masks, 0, 1) * 255) / 255
    maps += shift
    maps[:, :, :unseen] = np.nan
    for name, arrays in (("maps", maps), ("masks", masks)):
        (folder / name / "deep").mkdir(parents=True)
        for number, each in enumerate(arrays):
            write(folder / name / "deep" / f"case-{number}", each.astype(np.float32))
    return MapFolders(folder / "maps", folder / "masks"), maps.reshape(-1, SIDE, SIDE), masks.reshape(-1, SIDE, SIDE)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("rule", ScoreRule)
def test_figures_are_those_of_an_independent_reference(tmp_path: Path, kind: str, rule: ScoreRule) -> None:
    folders, maps, masks = made(tmp_path, kind)
    found = evaluate_maps(MapFolders(folders.maps, folders.masks, rule), tmp_path / "out")
    flat = maps.reshape(len(maps), -1)
    scores = flat.max(axis=1) if rule is ScoreRule.MAXIMUM else flat.astype(np.float32).mean(axis=1)
    sick = masks.any(axis=(1, 2))
    assert (found.images, found.anomalous, found.subjects) == (len(maps), sick.sum(), CASES)
    assert found.metrics.auroc == pytest.approx(roc_auc_score(sick, scores))
    assert found.metrics.ap_pixel == pytest.approx(average_precision_score(masks.ravel(), maps.ravel()))
    assert {"auroc", "ap_image", "ap_pixel", "dice", "aupro"} == {*found.intervals}
    assert found.metrics.aupro is not None
    assert read_result(tmp_path / "out" / "results" / "masks.json")[0] == found


def test_what_has_no_partner_or_another_grid_is_refused(tmp_path: Path) -> None:
    folders, _, _ = made(tmp_path)
    deep = tmp_path / "maps" / "deep"
    (tmp_path / "none").mkdir()

    def refused(error: type[UpdZooError], message: str, where: MapFolders = folders) -> None:
        with pytest.raises(error, match=message):
            evaluate_maps(where, tmp_path / "out")
        assert not (tmp_path / "out" / "results").exists()

    refused(NotFoundError, "There is no map or mask in", MapFolders(tmp_path / "none", folders.masks))
    refused(NotFoundError, "There is no folder", MapFolders(tmp_path / "nowhere", folders.masks))
    refused(UsageError, "is given for both maps and masks", MapFolders(folders.masks, folders.masks))
    np.save(deep / "case-0.npy", np.zeros((2, SIDE, SIDE)))
    refused(UsageError, r"shape \(2, 24, 24\), its mask \(3, 24, 24\)")
    np.save(deep / "case-0.npy", np.full((3, SIDE, SIDE), np.nan))
    refused(UsageError, "The map case-0.npy holds nothing but NaN")
    np.save(deep / "case-0.npy", np.full((3, SIDE, SIDE), np.inf))
    refused(UsageError, "1728 of the 1728 values of case-0.npy are NaN or infinite")
    for same, least in ((1e9, 1.0), (0.0, 1e-50), (0.0, 1e300)):
        np.save(deep / "case-0.npy", same + least * np.random.default_rng(0).random((3, SIDE, SIDE)))
        refused(UsageError, "which 32 bits cannot tell apart")
    (deep / "case-0.npy").write_bytes(b"no array")
    refused(UsageError, "cannot be read")
    (deep / "case-0.npy").unlink()
    refused(NotFoundError, "1 file has no partner in .*maps, such as deep/case-0")


@pytest.mark.parametrize("kind", ["volumes", "arrays", "tiffs"])
@pytest.mark.parametrize("shift", [0.0, -3.0])
def test_what_nothing_looked_at_counts_as_the_lowest_of_all_maps(tmp_path: Path, kind: str, shift: float) -> None:
    """Also where all values lie below zero, and where a lesion lies there: it was not found."""
    folders, maps, masks = made(tmp_path, kind, shift=shift, unseen=5)
    filled = np.where(np.isnan(maps), np.nanmin(maps), maps)
    found = evaluate_maps(folders, tmp_path / "out")
    sick = masks.any(axis=(1, 2))
    assert masks[np.isnan(maps)].any()
    assert found.metrics.ap_pixel == pytest.approx(average_precision_score(masks.ravel(), filled.ravel()))
    assert found.metrics.auroc == pytest.approx(roc_auc_score(sick, filled.reshape(len(filled), -1).max(axis=1)))
    assert any(label.startswith("21 % of an image were not looked at") for label in found.labels)


def test_noise_that_looks_at_more_of_the_diseased_is_no_detector(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "maps").mkdir()
    (tmp_path / "masks").mkdir()
    for number in range(40):
        rows = 8 + 12 * (number % 2)
        values, mask = rng.random((SIDE, SIDE)), np.zeros((SIDE, SIDE), np.uint8)
        values[rows:] = np.nan
        mask[2:4, 2:4] = number % 2
        np.save(tmp_path / "maps" / f"{number}.npy", values)
        np.save(tmp_path / "masks" / f"{number}.npy", mask)
    found = evaluate_maps(MapFolders(tmp_path / "maps", tmp_path / "masks", ScoreRule.MEAN), tmp_path / "out")
    assert 0.2 < (found.metrics.auroc or 0) < 0.8
    assert found.metrics.ap_pixel == pytest.approx(found.baselines["random"].ap_pixel, rel=0.5)
    assert found.baselines["looked-at"].auroc == 1


def test_maps_that_are_stored_in_several_ways_are_refused(tmp_path: Path) -> None:
    folders, maps, _ = made(tmp_path, "pictures")
    changed = tmp_path / "maps" / "deep" / "case-3.png"
    np.save(changed.with_suffix(".npy"), maps[3:4])
    changed.unlink()
    with pytest.raises(UsageError, match="divided by 255, those of case-3"):
        evaluate_maps(folders, tmp_path / "out")


@pytest.mark.parametrize("kind", ["volumes", "arrays", "tiffs"])
def test_what_float32_loses_is_refused_in_any_file_and_between_files(tmp_path: Path, kind: str) -> None:
    folders, _, masks = made(tmp_path, kind)
    names = sorted(path for path in folders.maps.rglob("*") if path.is_file())
    shape = masks[: len(masks) // CASES].shape
    for odd in (
        lambda number: 1e9 + np.random.default_rng(number).random(shape),
        lambda n: np.full(shape, 1 + n * 1e-10),
    ):
        for number, path in enumerate(names):
            if kind == "volumes":
                nib.Nifti1Image(np.moveaxis(odd(number), 0, -1), np.eye(4)).to_filename(path)
            elif kind == "arrays":
                np.save(path, odd(number))
            else:
                tifffile.imwrite(path, odd(number)[0])
        with pytest.raises(UsageError, match="which 32 bits cannot tell apart"):
            evaluate_maps(folders, tmp_path / "out")


def test_what_float32_holds_is_measured_however_narrow(tmp_path: Path) -> None:
    folders, maps, masks = made(tmp_path)
    paths = sorted((tmp_path / "maps").rglob("*.npy"))
    steps = np.round(maps * 255).astype(np.int64).reshape(CASES, SLICES, SIDE, SIDE)
    expected = average_precision_score(masks.ravel(), maps.ravel())
    for dtype, of in ((np.int64, 1_000_000 + steps), (np.float32, np.float32(1) + steps * np.float32(2**-23))):
        for path, each in zip(paths, of, strict=True):
            np.save(path, each.astype(dtype))
        found = evaluate_maps(folders, tmp_path / "out").metrics.ap_pixel
        assert found == pytest.approx(expected, abs=1e-3)


def test_a_later_evaluation_leaves_nothing_of_an_earlier_one(tmp_path: Path) -> None:
    folders, _, _ = made(tmp_path)
    (tmp_path / "out" / "results").mkdir(parents=True)
    for name in ("report.html", "scores.csv", "results/nih-cxr.json", "results/nih-cxr.npz"):
        (tmp_path / "out" / name).touch()
    evaluate_maps(folders, tmp_path / "out")
    left = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert left == {"masks.json", "masks.npz", "run.json"}


def test_hidden_files_are_no_maps_and_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    folders, _, _ = made(tmp_path)
    plain = evaluate_maps(folders, tmp_path / "plain").metrics
    (tmp_path / "maps" / "deep" / "._case-0.npy").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "maps" / "deep").rename(tmp_path / "elsewhere" / "deep")
    (tmp_path / "maps" / "deep").symlink_to(tmp_path / "elsewhere" / "deep")
    (tmp_path / "elsewhere" / "deep" / "again").symlink_to(tmp_path / "elsewhere" / "deep")
    assert evaluate_maps(folders, tmp_path / "out").metrics == plain


def test_names_that_agree_as_they_are_stay_so(tmp_path: Path) -> None:
    folders, _, _ = made(tmp_path, "tiffs")
    for folder in (folders.maps, folders.masks):
        for number, path in enumerate(sorted(folder.rglob("*.tif"))):
            path.rename(path.with_name(f"eye.{('jpg', 'png')[number % 2]}.tif" if number < 2 else path.name))
    assert evaluate_maps(folders, tmp_path / "out").images == CASES


def scored(folder: Path, models: dict[str, str]) -> None:
    """Write the journal of a run whose maps have models as given."""
    rows = [
        {"schema": "upd-zoo/score/3", "model": {"id": model}, "outputs": {"map": f"maps/deep/{name}"}}
        for name, model in models.items()
    ]
    (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_maps_of_a_run_are_scored_as_their_model_scores_and_those_of_two_are_refused(tmp_path: Path) -> None:
    folders, _, _ = made(tmp_path)
    assert folders.usual_rule() is ScoreRule.MAXIMUM
    scored(tmp_path, {"case-0.npy": "padim-nih-cxr", "case-1.npy": "padim-nih-cxr"})
    assert folders.usual_rule() is ScoreRule.MEAN
    assert MapFolders(folders.maps, folders.masks, ScoreRule.MAXIMUM).usual_rule() is ScoreRule.MAXIMUM
    scored(tmp_path, {"case-0.npy": "padim-nih-cxr", "case-1.npy": "rd-idrid"})
    with pytest.raises(UsageError, match="are of several models: padim-nih-cxr, rd-idrid"):
        folders.usual_rule()


def test_maps_that_were_scored_here_need_masks_of_their_images_names_alone(tmp_path: Path) -> None:
    folders, _, _ = made(tmp_path, "tiffs")
    plain = evaluate_maps(folders, tmp_path / "plain").metrics
    for path in (*folders.maps.rglob("*.tif"),):
        path.rename(path.with_name(path.name.replace(".tif", ".jpg.tif")))
    assert evaluate_maps(folders, tmp_path / "out").metrics == plain


def test_constant_maps_and_small_ones_are_measured(tmp_path: Path) -> None:
    folders, maps, _ = made(tmp_path)
    expected = evaluate_maps(folders, tmp_path / "out").metrics
    for number, each in enumerate(maps.reshape(CASES, SLICES, SIDE, SIDE)):
        np.save(tmp_path / "maps" / "deep" / f"case-{number}.npy", each.astype(np.float64) * 1e-20)
    assert evaluate_maps(folders, tmp_path / "small").metrics.ap_pixel == pytest.approx(expected.ap_pixel, abs=1e-6)
    for path in (tmp_path / "maps" / "deep").iterdir():
        np.save(path, np.full((SLICES, SIDE, SIDE), 0.3))
    assert evaluate_maps(folders, tmp_path / "constant").metrics.auroc == 0.5


def test_masks_below_zero_are_refused(tmp_path: Path) -> None:
    folders, _, masks = made(tmp_path)
    np.save(tmp_path / "masks" / "deep" / "case-1.npy", -masks[:SLICES].astype(np.int8) - 1)
    with pytest.raises(UsageError, match="The mask deep/case-1 holds values down to -"):
        evaluate_maps(folders, tmp_path / "out")


@pytest.mark.parametrize("change", [np.diag([-1, 1, 1, 1]), np.eye(4) + 30 * np.eye(4, k=3)])
def test_volumes_that_lie_elsewhere_than_their_masks_are_refused(tmp_path: Path, change: Array) -> None:
    folders, _, masks = made(tmp_path, "volumes")
    data = np.moveaxis(masks[SLICES : 2 * SLICES], 0, -1).astype(np.float32)
    nib.Nifti1Image(data, change).to_filename(tmp_path / "masks" / "deep" / "case-1.nii.gz")
    with pytest.raises(UsageError, match=r"the same of its mask are (46|30) mm apart.*resample the map"):
        evaluate_maps(folders, tmp_path / "out")


def test_a_single_subject_has_no_interval(tmp_path: Path) -> None:
    folders, _, _ = made(tmp_path)
    for folder in (folders.maps, folders.masks):
        for path in folder.rglob("*.npy"):
            if path.stem != "case-1":
                path.unlink()
    assert evaluate_maps(folders, tmp_path / "out").intervals == {}


def test_the_command_prints_the_table_and_wants_both_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders, _, _ = made(tmp_path)

    def run(*options: str) -> int:
        with pytest.raises(SystemExit) as ended:
            app(["evaluate", *options, "-o", str(tmp_path / "out"), "-q"], prog_name="upd-zoo")
        return int(ended.value.code or 0)

    both = ("--maps", str(folders.maps), "--masks", str(folders.masks))
    assert run(*both) == 0
    said = capsys.readouterr().out
    assert f"95 %, {CASES} subjects" in said
    assert "AUPRO" in said
    assert run(*both) == 2  # the folder is not empty
    assert run(*both, "--overwrite", "--json") == 0
    capsys.readouterr()
    run_record = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert (run_record["command"], run_record["arguments"]["maps"], "numpy" in run_record["versions"]) == (
        "evaluate",
        "maps",
        True,
    )
    for wrong in (both[:2], (*both, "-m", "rd-phantom-t2"), (), (*both, "--score", "median")):
        assert run(*wrong) == 2
        assert "error: " in capsys.readouterr().err
    scored(tmp_path, {"case-0.npy": "padim-clinic"})
    with pytest.raises(UsageError, match="padim-clinic scores an image is not known here"):
        folders.usual_rule()
    assert MapFolders(folders.maps, folders.masks, ScoreRule.MEAN).usual_rule() is ScoreRule.MEAN
