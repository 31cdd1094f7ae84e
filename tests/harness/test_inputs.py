"""The list of inputs is made once: nothing is lost in it without a word, nothing invented, and no link is a trap."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from upd_harness.scoring.inputs import Input, Kind
from upd_harness.scoring.search import Listing, list_inputs
from upd_zoo.errors import InputErrorCode, NotFoundError


def names(listing: Listing) -> list[str]:
    return [each.name for each in listing.inputs]


def touch(folder: Path, *files: str) -> None:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_images_are_found_in_the_order_of_their_names(tmp_path: Path) -> None:
    touch(tmp_path, "b/z.nii.gz", "a.PNG", "b/a.tiff", "c.NII.GZ", "folder.png/d.jpg")
    listing = list_inputs(tmp_path)
    assert names(listing) == ["a.PNG", "b/a.tiff", "b/z.nii.gz", "c.NII.GZ", "folder.png/d.jpg"]
    assert [each.kind for each in listing.inputs] == [
        Kind.PHOTOGRAPH, Kind.PHOTOGRAPH, Kind.VOLUME, Kind.VOLUME, Kind.PHOTOGRAPH
    ]  # fmt: skip
    assert [each.files for each in listing.inputs] == [(tmp_path / name,) for name in names(listing)]


def test_what_is_no_input_is_counted_by_kind(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "t1.mgz", "sub/aseg.mgz", "pair.hdr", "pair.img", "x.nrrd", "notes.txt", ".DS_Store")
    touch(tmp_path, ".cache/x.png", "1.2.840.113619.2.5", "README")
    for name in ("I0001", "series/1.2.840.7", "series/b.dcm"):
        touch(tmp_path, name)
        (tmp_path / name).write_bytes(bytes(128) + b"DICM" + bytes(20))
    os.mkfifo(tmp_path / "pipe")
    listing = list_inputs(tmp_path)
    assert names(listing) == ["a.png"]
    assert listing.left_out == {
        ".hdr": 1, ".img": 1, ".mgz": 2, ".nrrd": 1, ".txt": 1, "DICOM": 3, "hidden": 2, "other": 3
    }  # fmt: skip


def test_masks_and_label_maps_are_not_dropped_by_their_names(tmp_path: Path) -> None:
    touch(tmp_path, "sub-01_T1w.nii.gz", "sub-01_mask.nii.gz", "sub-01_dseg.nii.gz", "sub-01_seg.nii")
    assert len(list_inputs(tmp_path).inputs) == 4


def test_a_single_file_is_taken_whatever_its_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "scan.dcm")
    (found,) = list_inputs(tmp_path / "scan.dcm").inputs
    assert (found.name, found.files) == ("scan.dcm", (tmp_path / "scan.dcm",))


def test_a_missing_and_an_empty_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        list_inputs(tmp_path / "nowhere")
    with pytest.raises(NotFoundError, match="no image in"):
        list_inputs(tmp_path)
    touch(tmp_path, "a.mgz", "b.mgz")
    with pytest.raises(NotFoundError, match=r"but 2 \.mgz"):
        list_inputs(tmp_path)


# Links


def test_links_to_folders_are_followed_each_folder_once(tmp_path: Path) -> None:
    touch(tmp_path, "in/real/a.png", "elsewhere/b.png", "elsewhere/deep/c.png")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in" / "real")
    listing = list_inputs(tmp_path / "in")
    assert names(listing) == ["linked/b.png", "linked/deep/c.png", "real/a.png"]
    assert listing.left_out == {"folder met before, by a link": 1}


def test_a_folder_that_links_to_itself_or_to_what_holds_it_ends(tmp_path: Path) -> None:
    touch(tmp_path, "in/a/x.png", "in/b/y.png", "beside/z.png")
    (tmp_path / "in" / "self").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "above").symlink_to(tmp_path)
    (tmp_path / "in" / "a" / "b").symlink_to(tmp_path / "in" / "b")
    (tmp_path / "in" / "b" / "a").symlink_to(tmp_path / "in" / "a")
    listing = list_inputs(tmp_path / "in")
    assert names(listing) == ["a/x.png", "b/y.png"]
    assert listing.left_out == {"folder met before, by a link": 4}


def test_links_that_lead_nowhere_stay_to_be_reported(tmp_path: Path) -> None:
    (tmp_path / "gone.nii.gz").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    assert names(list_inputs(tmp_path)) == ["gone.nii.gz", "self.png"]


# Folders


def test_a_folder_that_cannot_be_listed_is_an_input_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.png", "private/b.png", "z/c.png")
    scan = os.scandir

    def guarded(path: Path) -> object:
        if Path(path).name == "private":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", guarded)
    listing = list_inputs(tmp_path)
    assert names(listing) == ["a.png", "private/", "z/c.png"]
    refused = listing.inputs[1]
    assert refused.kind is Kind.FOLDER
    assert refused.refusal is not None
    assert refused.refusal.code is InputErrorCode.UNREADABLE
    assert names(list_inputs(tmp_path, exclude=["private/"])) == ["a.png", "z/c.png"]


@pytest.mark.parametrize("marker", ["run.json", "identity.json"])
def test_results_of_an_earlier_run_are_no_inputs_and_are_named(tmp_path: Path, marker: str) -> None:
    touch(tmp_path, "a.png", "out/overlays/a.png.png", "deep/out/maps/a.png.tif", "mine/b.png")
    for folder in ("out", "deep/out"):
        (tmp_path / folder / marker).write_text(json.dumps({"schema": "upd-zoo/run/1"}))
    (tmp_path / "mine" / marker).write_text(json.dumps({"schema": "somebody else's"}))
    listing = list_inputs(tmp_path)
    assert names(listing) == ["a.png", "mine/b.png"]
    assert listing.results == ("out", "deep/out")
    with pytest.raises(NotFoundError, match="but results of an earlier run"):
        list_inputs(tmp_path / "out")


def test_a_pipe_in_the_place_of_a_record_blocks_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    os.mkfifo(tmp_path / "run.json")
    assert names(list_inputs(tmp_path)) == ["a.png"]


def test_the_output_of_the_run_is_no_input(tmp_path: Path) -> None:
    touch(tmp_path, "scan.png", "out/overlays/scan.png.png")
    listing = list_inputs(tmp_path, tmp_path / "out")
    assert (names(listing), listing.left_out, listing.results) == (["scan.png"], {}, ())


# Patterns


@pytest.mark.parametrize(
    ("include", "exclude", "found"),
    [
        (["*_T1w.nii.gz"], [], ["s1/a_T1w.nii.gz", "s2/b_T1w.nii.gz"]),
        (["s1/*"], [], ["s1/a_T1w.nii.gz", "s1/a_T2w.nii.gz"]),
        (["*.nii.gz"], ["*T2w*", "s2/*"], ["s1/a_T1w.nii.gz"]),
        (["*T1w*", "c.png"], [], ["c.png", "s1/a_T1w.nii.gz", "s2/b_T1w.nii.gz"]),
        ([], ["s*/"], ["c.png"]),
    ],
)
def test_inputs_are_chosen_by_patterns(
    tmp_path: Path, include: list[str], exclude: list[str], found: list[str]
) -> None:
    touch(tmp_path, "s1/a_T1w.nii.gz", "s1/a_T2w.nii.gz", "s2/b_T1w.nii.gz", "c.png")
    listing = list_inputs(tmp_path, include=include, exclude=exclude)
    assert names(listing) == found
    assert listing.left_out["excluded"] >= 1


# Places for results


def test_results_have_the_name_of_their_input(tmp_path: Path) -> None:
    touch(tmp_path, "eye.png", "eye.png.tif", "sub/eye.png", "scan.nii", "scan.nii.gz")
    assert all(each.stored == each.name for each in list_inputs(tmp_path).inputs)


@pytest.mark.parametrize("length", [245, 246, 251, 252, 255])
def test_a_name_as_long_as_can_be_leaves_room_for_its_results(tmp_path: Path, length: int) -> None:
    for letter, suffix in (("n", ".nii.gz"), ("p", ".png"), ("é", ".jpg")):
        letters = letter * ((length - len(suffix)) // len(letter.encode()))
        touch(tmp_path, f"sub/{letters}{suffix}")
    listing = list_inputs(tmp_path)
    assert len(listing.inputs) == 3
    for each in listing.inputs:
        assert len(os.fsencode(Path(each.stored).name)) + 4 <= 255
        assert each.stored.startswith("sub/")
        assert each.stored.endswith(each.name[each.name.index(".") :])
    assert len({each.stored for each in listing.inputs}) == 3


@pytest.mark.parametrize("added", [".jpg", ".png", ".tif"])
def test_results_never_need_the_name_of_a_folder_of_others(tmp_path: Path, added: str) -> None:
    touch(tmp_path, "x.png", f"x.png{added}/y.png")
    stored = [each.stored for each in list_inputs(tmp_path).inputs]
    for name in stored:
        assert not [other for other in stored if other.startswith(f"{name}{added}/")]


# Hashes


def test_an_input_of_several_files_has_a_hash_of_all(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    hashes = {first: "1" * 64, second: "2" * 64}
    one = Input("a", (first,), Kind.VOLUME, "a", tmp_path)
    both = Input("a", (first, second), Kind.VOLUME, "a", tmp_path)
    assert one.sha256_of(hashes) == "1" * 64
    assert both.sha256_of(hashes) != both.sha256_of(hashes | {second: "3" * 64})


# Results


def test_the_record_says_where_results_go_and_how_its_files_are_called(tmp_path: Path) -> None:
    touch(tmp_path, "a/T2.nii.gz", "a/plain.nii", "eye.jpeg")
    volume, plain, eye = list_inputs(tmp_path).inputs
    assert volume.outputs == {"map": "maps/a/T2.nii.gz", "thumbnail": "thumbnails/a/T2.nii.gz.jpg"}
    assert (volume.is_volume, volume.is_packed, plain.is_packed) == (True, True, False)
    assert eye.outputs == {
        "map": "maps/eye.jpeg.tif", "overlay": "overlays/eye.jpeg.png", "thumbnail": "thumbnails/eye.jpeg.jpg"
    }  # fmt: skip
    assert not eye.is_volume
    guided = replace(volume, files=(*volume.files, tmp_path / "T1" / "x.nii"))
    assert [guided.name_of(file) for file in guided.files] == ["a/T2.nii.gz", "T1/x.nii"]
    assert [Input.of(tmp_path / "eye.jpeg"), Input.of(tmp_path / "eye.jpeg", tmp_path)] == [eye, eye]
