"""Photographs that lie: about their size, their orientation, their bits, their end. Refused, or read with a caution."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image, TiffImagePlugin

from fake.containers import END, SIGNATURE, exif, pillow, png, png_chunk, tag, tiff
from fake.memory import traced
from upd_zoo.caution import CautionCode
from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.images.gate import read_photograph
from upd_zoo.images.photograph import Photograph

MEGABYTE = 1 << 20
HEIGHT, WIDTH = 96, 130
GREY = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) + np.random.default_rng(0).integers(0, 30, (HEIGHT, WIDTH))
GREY = GREY.astype(np.uint8)
RGB = np.stack([GREY, 255 - GREY, GREY // 2], axis=2)
DISC = np.add.outer((np.arange(HEIGHT) - 40) ** 2, (np.arange(WIDTH) - 60) ** 2) < 900
DISC ^= np.random.default_rng(1).random((HEIGHT, WIDTH)) > 0.97
WIDE = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return tmp_path / "photo.png"


def read(photo: Path, content: bytes) -> Photograph:
    photo.write_bytes(content)
    return read_photograph(photo)


def codes(photograph: Photograph) -> list[CautionCode]:
    return [caution.code for caution in photograph.cautions]


def refusal(photo: Path, content: bytes) -> InputError:
    with pytest.raises(InputError) as caught:
        read(photo, content)
    return caught.value


# Orientation


def block(*entries: bytes, order: bytes = b"II*\0", count: int | None = None, start: int = 8) -> bytes:
    return order + struct.pack("<IH", start, len(entries) if count is None else count) + b"".join(entries) + bytes(4)


def entry(kind: int = 3, count: int = 1, value: int = 6) -> bytes:
    return struct.pack("<HHII", 274, kind, count, value)


ODD_BLOCKS = {
    "empty": b"",
    "without a byte order": block(entry(), order=b"JUNK"),
    "ending in its header": b"II*\0\x08",
    "a directory beyond the end": block(entry(), start=4000),
    "an entry cut off": block(count=1)[:-2],
    "an orientation of text": block(entry(kind=2)),
    "an orientation of fractions": block(entry(kind=5)),
    "an orientation of an unknown type": block(entry(kind=99)),
    "no orientation in its place": block(entry(count=0)),
    "several orientations in its place": block(entry(count=4)),
    "orientation 0": block(entry(value=0)),
    "orientation 9": block(entry(value=9)),
    "two orientations": block(entry(), entry(value=3)),
}


def jpeg_with(exif_block: bytes) -> bytes:
    segment = b"Exif\0\0" + exif_block
    plain = pillow(RGB, "JPEG")
    return plain[:2] + struct.pack(">2sH", b"\xff\xe1", len(segment) + 2) + segment + plain[2:]


@pytest.mark.parametrize("wrap", [jpeg_with, lambda odd: png(GREY, 0, 8, png_chunk(b"eXIf", odd))], ids=["JPEG", "PNG"])
@pytest.mark.parametrize("odd", ODD_BLOCKS.values(), ids=ODD_BLOCKS)
def test_an_odd_exif_block_leaves_the_image_as_it_is_stored_with_a_caution(photo: Path, wrap: Any, odd: bytes) -> None:
    photograph, plain = read(photo, wrap(odd)), read(photo, wrap(block(entry(value=1))))
    assert codes(photograph) == [CautionCode.ORIENTATION]
    assert codes(plain) == []
    np.testing.assert_array_equal(photograph.data, plain.data)


@pytest.mark.parametrize(
    "good", [block(entry()), block(entry(), count=9), block(entry(kind=4)), block(entry(), entry())]
)
def test_an_orientation_is_followed_whatever_else_is_broken(photo: Path, good: bytes) -> None:
    photograph = read(photo, jpeg_with(good))
    assert (codes(photograph), photograph.data.shape) == ([], (3, WIDTH, HEIGHT))


def test_exif_blocks_that_disagree_are_said(photo: Path) -> None:
    first = jpeg_with(block(entry()))
    second = jpeg_with(block(entry(value=8)))[2:]
    both = first[: first.index(b"\xff\xe1") + 2 + 6 + len(block(entry())) + 2] + second
    assert codes(read(photo, both)) == [CautionCode.ORIENTATION]


def test_an_odd_orientation_of_a_tiff_is_said(photo: Path) -> None:
    assert codes(read(photo, pillow(GREY, "TIFF", tiffinfo={274: 42}))) == [CautionCode.ORIENTATION]


# Bytes behind


@pytest.mark.parametrize("content", [pillow(RGB), pillow(RGB, "JPEG")], ids=["PNG", "JPEG"])
def test_bytes_behind_the_end_are_said_and_not_read(photo: Path, content: bytes) -> None:
    photograph = read(photo, content + b"a preview")
    (caution,) = photograph.cautions
    assert caution.code is CautionCode.TRAILING
    assert caution.message.startswith("9 bytes")
    np.testing.assert_array_equal(photograph.data, read(photo, content).data)


# Bits in use


def sixteen_bits(values: npt.NDArray[Any], bits: int | None = None, kind: str = "PNG") -> bytes:
    stored = values.astype(np.uint16)
    if kind == "PNG":
        return png(stored, 0, 16, b"" if bits is None else png_chunk(b"sBIT", bytes([bits])))
    return tiff(stored, extratags=[] if bits is None else [(281, "H", 1, (1 << bits) - 1, True)])


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [10, 12, 14, 15])
def test_declared_bits_are_the_range(photo: Path, kind: str, bits: int) -> None:
    photograph = read(photo, sixteen_bits(WIDE >> 16 - bits, bits, kind))
    assert codes(photograph) == []
    np.testing.assert_allclose(photograph.data[0], WIDE / 65535, atol=2**-bits)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_bits_in_use_that_nobody_declares_are_said_and_not_guessed(photo: Path, kind: str, bits: int) -> None:
    photograph = read(photo, sixteen_bits(WIDE >> 16 - bits, None, kind))
    (caution,) = photograph.cautions
    assert caution.code is CautionCode.BITS
    assert f"holds {bits} bits, save it with its values multiplied by {1 << 16 - bits}" in caution.message
    np.testing.assert_allclose(photograph.data[0], (WIDE >> 16 - bits) / 65535, atol=1e-7)


def test_bits_of_a_png_that_lie_on_top_as_the_standard_says_stay_where_they_are(photo: Path) -> None:
    bright, dark = WIDE & 0xFFF0, (WIDE >> 4) & 0xFFF0
    assert codes(read(photo, sixteen_bits(bright, 12))) == []
    np.testing.assert_allclose(read(photo, sixteen_bits(bright, 12)).data[0], bright / 65535, atol=1e-7)
    np.testing.assert_allclose(read(photo, sixteen_bits(dark, 12)).data[0], dark / 65535, atol=1e-7)


def test_opacity_says_nothing_of_the_bits_in_use(photo: Path) -> None:
    dark = np.dstack(((WIDE >> 4) & 0xFFF0, np.full_like(WIDE, 65535)))
    content = png(dark, 4, 16, png_chunk(b"sBIT", bytes([12, 12])))
    np.testing.assert_allclose(read(photo, content).data[0], dark[..., 0] / 65535, atol=1e-7)


def test_bits_that_the_pixels_contradict_are_not_believed(photo: Path) -> None:
    for kind in ("PNG", "TIFF"):
        np.testing.assert_allclose(read(photo, sixteen_bits(WIDE, 12, kind)).data[0], WIDE / 65535, atol=1e-7)


def test_one_dead_pixel_does_not_hide_how_few_bits_are_in_use(photo: Path) -> None:
    values = WIDE >> 4
    values[5, 5] = 65535
    (caution,) = read(photo, sixteen_bits(values)).cautions
    assert caution.code is CautionCode.BITS
    assert "multiplied" not in caution.message


@pytest.mark.parametrize(("values", "said"), [(GREY / 255, False), (GREY / 255 / 16, True)])
def test_dark_floats_are_said(photo: Path, values: npt.NDArray[np.float64], said: bool) -> None:
    assert codes(read(photo, tiff(values.astype(np.float32)))) == [CautionCode.BITS] * said


# Size against content


def patched(jpeg: bytes, height: int, width: int) -> bytes:
    """Return the JPEG with another size in its frame header."""
    place = next(jpeg.index(bytes([0xFF, kind])) for kind in (0xC0, 0xC2) if bytes([0xFF, kind, 0, 0x11]) in jpeg)
    return jpeg[: place + 5] + struct.pack(">HH", height, width) + jpeg[place + 9 :]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_a_small_jpeg_that_claims_to_be_huge_is_refused_before_memory_is_taken(
    photo: Path, options: dict[str, Any]
) -> None:
    content = patched(pillow(RGB, "JPEG", **options), 8000, 8000)
    with traced() as peak:
        error = refusal(photo, content)
    assert error.code is InputErrorCode.TRUNCATED
    assert "8000 x 8000" in error.problem
    assert peak.bytes < MEGABYTE


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"optimize": True}])
@pytest.mark.parametrize("size", [(8, 8), (17, 300), (999, 1001)])
def test_the_flattest_jpeg_has_bits_enough(photo: Path, options: dict[str, Any], size: tuple[int, int]) -> None:
    flat = np.zeros((*size, 3), np.uint8)
    photo.write_bytes(pillow(flat, "JPEG", **options))
    assert not read_photograph(photo, constant_ok=True).data.any()


GIANTS = {
    "PNG in grey": pillow(np.zeros((520, 520), np.uint8)),
    "PNG of 16 bits": png(np.zeros((420, 420, 3), np.uint16), 2),
    "PNG of single bits": pillow(Image.new("1", (1100, 1100))),
    "PNG of a palette": pillow(Image.new("P", (520, 520))),
    "TIFF of single bits": pillow(Image.new("1", (1100, 1100)), "TIFF", compression="group4"),
    "TIFF of a palette": pillow(Image.new("P", (420, 420)), "TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("content", GIANTS.values(), ids=GIANTS)
def test_pixels_beyond_an_eighth_of_the_limit_are_refused_unread(
    photo: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setenv("UPD_ZOO_MAX_INPUT_BYTES", str(8 * MEGABYTE))
    with traced() as peak:
        error = refusal(photo, content)
    assert error.code is InputErrorCode.TOO_LARGE
    assert "smaller size" in error.next_step
    assert peak.bytes < MEGABYTE / 2


def test_an_image_in_slivers_is_refused_before_each_of_them_costs_time(photo: Path) -> None:
    content = pillow(Image.new("L", (1, 20_000)), "TIFF", compression="tiff_lzw", strip_size=1)
    assert "20000 strips" in refusal(photo, content).problem


# Cut short, and closed by an end marker


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 4}])
@pytest.mark.parametrize("kept", np.linspace(0.05, 0.99, 12))
def test_a_jpeg_cut_short_and_closed_is_refused(photo: Path, options: dict[str, Any], kept: float) -> None:
    content = pillow(RGB, "JPEG", **options)
    first = content.index(b"\xff\xda") + 14
    cut = content[: first + int(kept * (len(content) - 2 - first))].rstrip(b"\xff")
    assert refusal(photo, cut + b"\xff\xd9").code in (InputErrorCode.CORRUPT, InputErrorCode.TRUNCATED)


FAX = {
    "RLE": {"compression": "tiff_ccitt"},
    "G3": {"compression": "group3"},
    "G3 in two dimensions": {"compression": "group3", "tiffinfo": {292: 1}},
    "G4": {"compression": "group4"},
    "G4 in strips": {"compression": "group4", "strip_size": 200},
    "G4 of reversed bits": {"compression": "group4", "tiffinfo": {266: 2}},
}
END_OF_BLOCK = b"\x00\x10\x01"


def fax(options: dict[str, Any]) -> tuple[bytes, int, int]:
    """Return a CCITT file, and offset and length of its first strip."""
    content = pillow(DISC, "TIFF", **options)
    page = tifffile.TiffFile(io.BytesIO(content)).pages.first
    return content, page.dataoffsets[0], page.databytecounts[0]


@pytest.mark.parametrize("options", FAX.values(), ids=FAX)
def test_whole_ccitt_files_are_read(photo: Path, options: dict[str, Any]) -> None:
    np.testing.assert_array_equal(read(photo, fax(options)[0]).data[0], DISC)


@pytest.mark.parametrize("options", FAX.values(), ids=FAX)
@pytest.mark.parametrize("kept", [0.1, 0.4, 0.7, 0.95])
@pytest.mark.parametrize("closing", [b"", END_OF_BLOCK])
def test_ccitt_rows_cut_short_are_refused(
    photo: Path, capfd: pytest.CaptureFixture[str], options: dict[str, Any], kept: float, closing: bytes
) -> None:
    content, offset, length = fax(options)
    rest = content[offset + (cut := int(kept * length)) : offset + length]
    damaged = content[: offset + cut] + (closing + bytes(len(rest)))[: len(rest)] + content[offset + length :]
    assert refusal(photo, damaged).code is InputErrorCode.CORRUPT
    capfd.readouterr()  # libtiff's own words


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_other_rows_cut_short_are_refused(
    photo: Path, capfd: pytest.CaptureFixture[str], compression: str, kept: float
) -> None:
    content = pillow(RGB, "TIFF", compression=compression)
    with Image.open(io.BytesIO(content)) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        (length,) = image.tag_v2[279]
    damaged = content.replace(struct.pack("<HHII", 279, 4, 1, length), tag(279, int(kept * length)))
    assert damaged != content
    assert refusal(photo, damaged).code is InputErrorCode.CORRUPT
    capfd.readouterr()


# Said twice


def test_a_tiff_that_repeats_a_tag_is_refused(photo: Path) -> None:
    content = tiff(GREY)
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    entries = content[start + 2 : start + 2 + 12 * count]
    repeated = content[:4] + struct.pack("<I", len(content)) + content[8:]
    repeated += struct.pack("<H", count + 1) + tag(256, WIDTH - 1) + entries + bytes(4)
    error = refusal(photo, repeated)
    assert error.code is InputErrorCode.CORRUPT
    assert "256 twice" in error.problem


def test_a_png_of_nothing_but_a_signature_is_refused(photo: Path) -> None:
    assert refusal(photo, SIGNATURE + END).code is InputErrorCode.CORRUPT


def test_exif_of_pillow_is_followed(photo: Path) -> None:
    assert read(photo, pillow(RGB, "JPEG", exif=exif(6))).data.shape == (3, WIDTH, HEIGHT)
