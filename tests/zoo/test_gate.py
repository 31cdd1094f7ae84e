"""Volumes of unknown origin: every file becomes the right array or one `InputError`, in bounded memory."""

import gzip
import hashlib
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fake.memory import traced
from upd_zoo.errors import InputError, InputErrorCode, UsageError
from upd_zoo.images import gate
from upd_zoo.images.gate import hashes_of_what_is_read, max_input_bytes, read_photograph, read_volume, suffix_of
from upd_zoo.images.nifti import parse_volume

AFFINE = np.array([[0, 0, 2, -9], [-2, 0, 0, 5], [0, 2.5, 0, 7], [0, 0, 0, 1]], float)
PATIENT = b"DOE^JANE"
MEGABYTE = 1 << 20


def voxels(shape: tuple[int, ...] = (7, 6, 5), dtype: str = "i2") -> npt.NDArray[Any]:
    return np.random.default_rng(0).integers(0, 120, shape).astype(dtype)


def nifti(data: npt.NDArray[Any] | None = None, affine: Any = AFFINE, version: int = 1, order: str = "<") -> bytes:
    kind, header = ((nib.Nifti1Image, nib.Nifti1Header), (nib.Nifti2Image, nib.Nifti2Header))[version - 1]
    data = voxels() if data is None else data
    image = kind(data, affine, header(endianness=order), dtype=data.dtype)
    image.header["descrip"] = PATIENT
    return bytes(image.to_bytes())


def edited(plain: bytes, field: str, value: Any, order: str = "<") -> bytes:
    """Return a NIfTI-1 file with one header field overwritten."""
    header = nib.Nifti1Header(plain[:348], order, check=False)
    header[field] = value
    return bytes(header.binaryblock) + plain[348:]


def refusal(read: Callable[..., Any], path: Path, content: bytes) -> InputErrorCode:
    """Return the code with which a file is refused, after checking what every refusal promises."""
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path.name}: ")
    assert str(path.parent) not in str(caught.value)
    assert PATIENT.decode() not in str(caught.value)
    return caught.value.code


@pytest.fixture
def nii(tmp_path: Path) -> Path:
    return tmp_path / "scan.nii"


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_a_volume_holds_the_files_values_and_affine(nii: Path, dtype: str, order: str, version: int) -> None:
    nii.write_bytes(nifti(voxels(dtype=dtype), version=version, order=order))
    volume = read_volume(nii)
    assert volume.data.dtype == np.float32
    np.testing.assert_array_equal(volume.data, voxels())
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-6)
    assert volume.affine.dtype == np.float64


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4"])
def test_slope_and_intercept_are_applied_as_nibabel_does(nii: Path, dtype: str) -> None:
    nii.write_bytes(edited(edited(nifti(voxels(dtype=dtype)), "scl_slope", 0.3), "scl_inter", -4.7))
    expected = np.asanyarray(nib.load(nii).dataobj).astype(np.float32)
    np.testing.assert_array_equal(read_volume(nii).data, expected)


@pytest.mark.parametrize("slope", [0, np.nan, np.inf])
def test_no_valid_slope_means_no_scaling(nii: Path, slope: float) -> None:
    nii.write_bytes(edited(edited(nifti(), "scl_slope", slope), "scl_inter", 9))
    np.testing.assert_array_equal(read_volume(nii).data, voxels())


def test_axes_of_length_one_behind_the_third_are_dropped(nii: Path) -> None:
    nii.write_bytes(nifti(voxels((7, 6, 5, 1, 1))))
    assert read_volume(nii).data.shape == (7, 6, 5)


@pytest.mark.parametrize("qfac", [0, 1])
def test_the_qform_counts_where_there_is_no_sform(nii: Path, qfac: float) -> None:
    nii.write_bytes(edited(edited(nifti(affine=np.diag([2, 3, 4, 1])), "sform_code", 0), "qform_code", 1))
    header = nib.Nifti1Header(nii.read_bytes()[:348], "<", check=False)
    zooms = [qfac, *header["pixdim"][1:]]
    nii.write_bytes(edited(nii.read_bytes(), "pixdim", zooms))
    np.testing.assert_allclose(read_volume(nii).affine, np.diag([2, 3, 4, 1]), atol=1e-6)


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz", "SCAN.NII.GZ"])
@pytest.mark.parametrize("packed", [True, False])
def test_the_content_decides_about_compression(tmp_path: Path, name: str, packed: bool) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(nifti()) if packed else nifti())
    np.testing.assert_array_equal(read_volume(path).data, voxels())


def test_several_gzip_members_and_zero_padding_are_legal(nii: Path) -> None:
    plain = nifti()
    members = (plain[:100], b"", plain[100:101], plain[101:])
    nii.write_bytes(b"".join(map(gzip.compress, members)) + bytes(2 * MEGABYTE))
    np.testing.assert_array_equal(read_volume(nii).data, voxels())


def test_a_member_may_begin_where_a_block_of_reading_ends(nii: Path) -> None:
    incompressible = np.random.default_rng(1).integers(0, 256, (128, 128, 65), np.uint8)
    plain = nifti(incompressible)
    first = gzip.compress(plain[:MEGABYTE], 0)
    for shift in range(-2, 3):
        split = MEGABYTE - (len(first) - MEGABYTE) + shift
        nii.write_bytes(gzip.compress(plain[:split], 0) + gzip.compress(plain[split:], 0))
        np.testing.assert_array_equal(read_volume(nii).data, incompressible)


def test_a_flipped_bit_in_a_compressed_volume_never_changes_a_voxel(nii: Path) -> None:
    whole, refused = gzip.compress(nifti()), 0
    for bit in np.random.default_rng(0).choice(8 * len(whole), 200, replace=False):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        nii.write_bytes(damaged)
        try:
            np.testing.assert_array_equal(read_volume(nii).data, voxels())
        except InputError:
            refused += 1
    assert refused > 150


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("version", [1, 2])
def test_a_truncated_volume_is_refused(nii: Path, pack: Callable[[bytes], bytes], version: int) -> None:
    whole = pack(nifti(version=version))
    for length in [0, 1, 2, 10, len(whole) - 8, len(whole) - 1, *range(15, len(whole), 13)]:
        assert refusal(read_volume, nii, whole[:length]) == InputErrorCode.TRUNCATED


NOT_A_NUMBER = voxels(dtype="f4") + 1
NOT_A_NUMBER[1, 2, 3] = np.nan
SHEARED = AFFINE + 0.1 * np.eye(4, k=1)
NO_AFFINE = edited(edited(nifti(), "sform_code", 0), "qform_code", 0)
NO_ROTATION = edited(edited(edited(nifti(), "sform_code", 0), "qform_code", 1), "quatern_b", 3)

REFUSED_VOLUMES = {
    "a sphinx": (b"of black quartz, judge my vow " * 20, "corrupt"),
    "gzip of something else": (gzip.compress(b"of black quartz, judge my vow " * 20), "corrupt"),
    "garbage behind gzip": (gzip.compress(nifti()) + b"garbage", "corrupt"),
    "garbage behind padding": (gzip.compress(nifti()) + bytes(9) + b"x", "corrupt"),
    "bytes behind the voxels": (nifti() + b"\0", "corrupt"),
    "compressed bytes behind the voxels": (gzip.compress(nifti() + b"\0"), "corrupt"),
    "wrong CRC": (gzip.compress(nifti())[:-8] + bytes(4) + gzip.compress(nifti())[-4:], "corrupt"),
    "wrong length": (gzip.compress(nifti())[:-4] + bytes(4), "corrupt"),
    "dimension 0": (edited(nifti(), "dim", [3, 7, 0, 5, 1, 1, 1, 1]), "corrupt"),
    "negative dimension": (edited(nifti(), "dim", [3, 7, -6, 5, 1, 1, 1, 1]), "corrupt"),
    "no dimensions": (edited(nifti(), "dim", [0] * 8), "corrupt"),
    "eight dimensions": (edited(nifti(), "dim", [8, 7, 6, 5, 1, 1, 1, 1]), "corrupt"),
    "other dimensions": (edited(nifti(), "dim", [3, 7, 6, 4, 1, 1, 1, 1]), "corrupt"),
    "unknown dtype": (edited(nifti(), "datatype", 77), "corrupt"),
    "dtype of another size": (edited(nifti(), "bitpix", 32), "corrupt"),
    "magic": (edited(nifti(), "magic", b"n+7"), "corrupt"),
    "sizeof_hdr": (edited(nifti(), "sizeof_hdr", 347), "corrupt"),
    "voxels in the header": (edited(nifti(), "vox_offset", 0)[:420], "corrupt"),
    "offset of half a byte": (edited(nifti(), "vox_offset", 352.5), "corrupt"),
    "intercept not finite": (edited(edited(nifti(), "scl_slope", 1), "scl_inter", np.nan), "corrupt"),
    "pair": (edited(nifti(), "magic", b"ni1"), "unsupported"),
    "two volumes": (nifti(voxels((7, 6, 5, 2))), "unsupported"),
    "flat": (nifti(voxels((7, 6))), "unsupported"),
    "complex": (nifti(voxels().astype("c8")), "unsupported"),
    "colours": (nifti(np.zeros((7, 6, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])), "unsupported"),
    "NaN": (nifti(NOT_A_NUMBER), "not-finite"),
    "infinite": (nifti(np.full((2, 2, 2), np.inf, "f4")), "not-finite"),
    "beyond float32": (nifti(voxels(dtype="f8") * 1e300), "not-finite"),
    "scaled beyond float32": (edited(nifti(), "scl_slope", 3e38), "not-finite"),
    "no affine": (NO_AFFINE, "geometry"),
    "singular": (edited(nifti(), "srow_x", 0), "geometry"),
    "sheared": (nifti(affine=SHEARED), "geometry"),
    "affine not finite": (edited(nifti(), "srow_x", np.nan), "geometry"),
    "no rotation": (NO_ROTATION, "geometry"),
    "constant": (nifti(np.full((7, 6, 5), 3, "u1")), "empty"),
}


@pytest.mark.parametrize(("content", "code"), REFUSED_VOLUMES.values(), ids=REFUSED_VOLUMES)
def test_a_volume_that_cannot_be_scored_is_refused(nii: Path, content: bytes, code: str) -> None:
    assert refusal(read_volume, nii, content) == code


@pytest.mark.parametrize(("row", "reason"), [((0, 0, 0, 1), "singular"), ((0.3, 0, 2, 1), "sheared")])
def test_a_refused_geometry_says_what_is_wrong(nii: Path, row: tuple[float, ...], reason: str) -> None:
    nii.write_bytes(edited(nifti(), "srow_x", row))
    with pytest.raises(InputError, match=reason):
        read_volume(nii)


def test_a_header_with_rounded_directions_is_not_sheared(nii: Path) -> None:
    nii.write_bytes(nifti(affine=AFFINE + 1e-4 * np.eye(4, k=1)))
    assert read_volume(nii).data.any()


def test_an_empty_mask_is_read_where_it_is_expected(nii: Path) -> None:
    nii.write_bytes(nifti(np.zeros((7, 6, 5), "u1")))
    assert not read_volume(nii, constant_ok=True).data.any()


def peak_bytes(read: Callable[[Path], Any], path: Path, code: InputErrorCode) -> int:
    """Return the most memory that refusing a file took."""
    with traced() as peak, pytest.raises(InputError) as caught:
        read(path)
    assert caught.value.code == code
    return peak.bytes


def zeros(megabytes: int, wbits: int) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, wbits)
    block = bytes(MEGABYTE)
    return b"".join(packer.compress(block) for _ in range(megabytes)) + packer.flush()


def test_a_bomb_behind_an_honest_header_costs_no_memory(nii: Path) -> None:
    nii.write_bytes(gzip.compress(nifti()) + zeros(300, 31))
    assert peak_bytes(read_volume, nii, InputErrorCode.CORRUPT) < 8 * MEGABYTE


@pytest.mark.parametrize(
    ("dim", "code"),
    [([3, 4096, 4096, 4096], InputErrorCode.TOO_LARGE), ([3, 1024, 1024, 1000], InputErrorCode.TRUNCATED)],
    ids=["64 GiB", "1 GiB"],
)
def test_a_header_that_promises_too_much_costs_no_memory(nii: Path, dim: list[int], code: InputErrorCode) -> None:
    plain = edited(nifti(voxels(dtype="u1")), "dim", [*dim, 1, 1, 1, 1])
    nii.write_bytes(gzip.compress(plain))
    assert peak_bytes(read_volume, nii, code) < 8 * MEGABYTE


def test_the_limit_comes_from_the_environment(nii: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert max_input_bytes() == 2 << 30
    plain = nifti()
    monkeypatch.setenv("UPD_ZOO_MAX_INPUT_BYTES", str(len(plain)))
    nii.write_bytes(plain)
    read_volume(nii)
    monkeypatch.setenv("UPD_ZOO_MAX_INPUT_BYTES", str(len(plain) - 1))
    assert refusal(read_volume, nii, plain) == InputErrorCode.TOO_LARGE
    assert refusal(read_volume, nii, gzip.compress(plain)) == InputErrorCode.TOO_LARGE


@pytest.mark.parametrize("text", ["2GB", "-1", "0", "1.5", "٣", "9" * 30])
def test_a_limit_that_is_no_number_of_bytes_is_a_usage_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("UPD_ZOO_MAX_INPUT_BYTES", text)
    with pytest.raises(UsageError, match="UPD_ZOO_MAX_INPUT_BYTES"):
        max_input_bytes()


@pytest.mark.parametrize("read", [read_volume, read_photograph])
def test_what_is_not_a_readable_file_is_refused(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    os.mkfifo(tmp_path / "pipe.nii")
    (tmp_path / "loop.nii").symlink_to(tmp_path / "loop.nii")
    codes = {}
    for name in (tmp_path.name, "none.nii", "pipe.nii", "pipe.nii/none.nii", "loop.nii", "n" * 300):
        with pytest.raises(InputError) as caught:
            read(tmp_path.parent / name if name == tmp_path.name else tmp_path / name)
        codes[name] = caught.value.code
    missing, unreadable = InputErrorCode.MISSING, InputErrorCode.UNREADABLE
    assert list(codes.values()) == [unreadable, missing, unreadable, missing, unreadable, unreadable]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermissionError(13, "no"), InputErrorCode.UNREADABLE),
        (MemoryError(), InputErrorCode.TOO_LARGE),
        (EOFError(PATIENT), InputErrorCode.TRUNCATED),
        *(
            (kind(PATIENT.decode()), InputErrorCode.CORRUPT)
            for kind in (OverflowError, AttributeError, IndexError, KeyError, OSError, SyntaxError, ValueError)
        ),
        *((kind(PATIENT.decode()), InputErrorCode.CORRUPT) for kind in (zlib.error, gzip.BadGzipFile, struct.error)),
    ],
)
def test_every_error_of_a_library_becomes_one_input_error(
    nii: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: InputErrorCode
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(gate, "parse_volume", fail)
    assert refusal(read_volume, nii, nifti()) == code


def test_what_is_read_carries_the_hash_of_its_own_bytes(tmp_path: Path) -> None:
    contents = {
        "plain.nii": nifti(voxels((70, 60, 50))),
        "packed.nii.gz": gzip.compress(nifti(voxels((70, 60, 50)))) + bytes(3 << 20),
        "second.nii": nifti(version=2),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    with hashes_of_what_is_read() as found:
        for name in contents:
            read_volume(tmp_path / name)
    assert found == {tmp_path / name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def test_a_file_that_is_replaced_while_it_is_read_cannot_carry_the_hash_of_other_bytes(
    nii: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = nifti(), nifti(voxels() + 1)
    nii.write_bytes(first)

    def replaced(*arguments: Any, **options: Any) -> Any:
        volume = parse_volume(*arguments, **options)
        nii.with_name("new").write_bytes(second)
        nii.with_name("new").replace(nii)
        return volume

    monkeypatch.setattr(gate, "parse_volume", replaced)
    with hashes_of_what_is_read() as found:
        volume = read_volume(nii)
        assert found == {nii: hashlib.sha256(first).hexdigest()}
        np.testing.assert_array_equal(volume.data, voxels())
        with pytest.raises(InputError, match="changed while it was read"):
            read_volume(nii)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.nii.gz", ".nii.gz"),
        ("A.NII.GZ", ".nii.gz"),
        ("a.b.nii", ".nii"),
        ("a.tar.gz", ".gz"),
        ("a.JPG", ".jpg"),
        ("a", ""),
    ],
)
def test_the_suffix_of_a_compressed_volume_is_one(name: str, suffix: str) -> None:
    assert suffix_of(Path("folder.x") / name) == suffix


@given(
    st.binary(max_size=700),
    st.sampled_from([b"", b"\x1f\x8b\x08", nifti()[:348], nifti(version=2)[:560]]),
    st.booleans(),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_bytes_are_refused_and_nothing_else(nii: Path, tail: bytes, head: bytes, packed: bool) -> None:
    content = head + tail
    assume(len(content) not in (len(nifti()), len(nifti(version=2))))  # a header with as many voxels as it promises
    told = refusal(read_volume, nii, gzip.compress(content) if packed else content)
    assert told in (InputErrorCode.TRUNCATED, InputErrorCode.CORRUPT)


@given(st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=8))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_header_gives_a_sound_volume_or_a_refusal(nii: Path, damage: list[tuple[int, int]]) -> None:
    content = bytearray(nifti())
    for place, value in damage:
        content[place] = value
    nii.write_bytes(content)
    try:
        volume = read_volume(nii)
    except InputError:
        return
    assert volume.data.ndim == 3
    assert np.isfinite(volume.data).all()
    assert np.isfinite(np.linalg.inv(volume.affine)).all()


@pytest.mark.real
@pytest.mark.parametrize("name", ["ms/patient19/T1.nii.gz", "ixi/IXI-T1/IXI015-HH-1258-T1.nii.gz"])
def test_real_volumes_are_read_as_nibabel_reads_them(open_images: Path, name: str) -> None:
    volume, image = read_volume(open_images / name), nib.load(open_images / name)
    np.testing.assert_array_equal(volume.data, np.asanyarray(image.dataobj).astype(np.float32))
    np.testing.assert_array_equal(volume.affine, image.affine)
