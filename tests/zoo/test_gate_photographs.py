"""Photographs of unknown origin: every file becomes the right array or one `InputError`, in bounded memory."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from fake.containers import END, SIGNATURE, exif, interlaced_png, pillow, png, png_chunk, png_header, tag, tiff
from fake.memory import traced
from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.images.gate import read_photograph

PATIENT = "DOE^JANE"
MEGABYTE = 1 << 20


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return tmp_path / "photo.png"


def refusal(photo: Path, content: bytes) -> InputErrorCode:
    """Return the code with which a file is refused, after checking what every refusal promises."""
    photo.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_photograph(photo)
    assert str(caught.value).startswith(f"{photo.name}: ")
    assert PATIENT not in str(caught.value)
    return caught.value.code


GREY = np.add.outer(5 * np.arange(23), 4 * np.arange(31)).astype(np.uint8)
GREY_16 = np.random.default_rng(0).integers(0, 65536, (23, 31)).astype(np.uint16)
RGB = np.stack([GREY, 255 - GREY, GREY // 2], axis=2)
RGB_16 = np.random.default_rng(1).integers(0, 65536, (23, 31, 3)).astype(np.uint16)
OPAQUE = np.full((23, 31, 1), 255, np.uint8)


def decoded(content: bytes, mode: str | None = None) -> npt.NDArray[np.float64]:
    """Return what Pillow makes of 8-bit content, in [0, 1]."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert(mode) if mode else image) / 255


BILEVEL = GREY > 90
PALETTE = Image.fromarray(RGB).quantize(9)
FEW_COLOURS = pillow(Image.fromarray(RGB).quantize(4), bits=2)
JPEG, PROGRESSIVE = pillow(RGB, "JPEG"), pillow(RGB, "JPEG", progressive=True)
BROKEN_BLOCK = b"\xff\xed\0\x16Photoshop 3.0\08BIM\3\xed"
ALPHA_16 = 257 * OPAQUE.astype(np.uint16)
EXACT_PHOTOGRAPHS = {
    "PNG bilevel": (pillow(BILEVEL), BILEVEL),
    "PNG grey": (pillow(GREY), GREY / 255),
    "PNG grey of 16 bits": (pillow(GREY_16), GREY_16 / 65535),
    "PNG RGB": (pillow(RGB), RGB / 255),
    "PNG RGB of 16 bits": (png(RGB_16, 2), RGB_16 / 65535),
    "PNG palette": (pillow(PALETTE), decoded(pillow(PALETTE), "RGB")),
    "PNG palette of 2 bits": (FEW_COLOURS, decoded(FEW_COLOURS, "RGB")),
    "PNG opaque palette": (pillow(PALETTE, transparency=b"\xff"), decoded(pillow(PALETTE), "RGB")),
    "PNG grey and opaque": (pillow(np.dstack((GREY, OPAQUE))), GREY / 255),
    "PNG RGB and opaque": (pillow(np.dstack((RGB, OPAQUE))), RGB / 255),
    "PNG grey and opaque of 16 bits": (png(np.dstack((GREY_16, ALPHA_16)), 4), GREY_16 / 65535),
    "PNG RGB and opaque of 16 bits": (png(np.dstack((RGB_16, ALPHA_16)), 6), RGB_16 / 65535),
    "PNG with text": (png(GREY, 0, 8, png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(70_000_000)))), GREY / 255),
    "JPEG grey": (pillow(GREY, "JPEG"), decoded(pillow(GREY, "JPEG"))),
    "JPEG with a preview behind": (JPEG + b"preview" + JPEG, decoded(JPEG)),
    "JPEG with a broken foreign block": (JPEG[:2] + BROKEN_BLOCK + JPEG[2:], decoded(JPEG)),
    "JPEG progressive": (PROGRESSIVE, decoded(PROGRESSIVE)),
    "TIFF bilevel RLE": (pillow(BILEVEL, "TIFF", compression="tiff_ccitt"), BILEVEL),
    "TIFF bilevel G3": (pillow(BILEVEL, "TIFF", compression="group3"), BILEVEL),
    "TIFF bilevel G4": (pillow(BILEVEL, "TIFF", compression="group4"), BILEVEL),
    "TIFF bilevel dark on light": (tiff(BILEVEL, photometric="miniswhite"), ~BILEVEL),
    "TIFF LZW": (pillow(RGB, "TIFF", compression="tiff_lzw"), RGB / 255),
    "TIFF LZW differences": (pillow(RGB, "TIFF", compression="tiff_lzw", tiffinfo={317: 2}), RGB / 255),
    "TIFF LZW of 16 bits": (pillow(GREY_16, "TIFF", compression="tiff_lzw", tiffinfo={317: 2}), GREY_16 / 65535),
    "TIFF PackBits": (pillow(GREY, "TIFF", compression="packbits"), GREY / 255),
    "TIFF PackBits with an idle predictor": (
        pillow(GREY, "TIFF", compression="packbits", tiffinfo={317: 2}),
        GREY / 255,
    ),
    "TIFF palette": (pillow(PALETTE, "TIFF"), decoded(pillow(PALETTE), "RGB") * 255 * 256 / 65535),
    "TIFF dark on light of 16 bits": (tiff(GREY_16, photometric="miniswhite"), 1 - GREY_16 / 65535),
    "TIFF RGB of 16 bits": (tiff(RGB_16, photometric="rgb"), RGB_16 / 65535),
    "TIFF strips": (tiff(RGB_16, photometric="rgb", byteorder=">", compression="zlib", rowsperstrip=5), RGB_16 / 65535),
    "TIFF tiles": (tiff(RGB_16, photometric="rgb", compression="zlib", tile=(16, 16)), RGB_16 / 65535),
    "TIFF stored tiles": (tiff(GREY, byteorder=">", tile=(16, 16)), GREY / 255),
    "TIFF planes": (tiff(RGB_16.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"), RGB_16 / 65535),
    "TIFF RGB and opaque": (tiff(np.dstack((RGB, OPAQUE)), photometric="rgb", extrasamples=["unassalpha"]), RGB / 255),
    "TIFF floats": (tiff((GREY / 255).astype(">f4"), byteorder=">"), GREY / 255),
    "TIFF doubles": (tiff(GREY / 255), GREY / 255),
}


@pytest.mark.parametrize(("content", "expected"), EXACT_PHOTOGRAPHS.values(), ids=EXACT_PHOTOGRAPHS)
def test_a_photograph_holds_the_files_values(photo: Path, content: bytes, expected: npt.NDArray[Any]) -> None:
    photo.write_bytes(content)
    data = read_photograph(photo).data
    assert data.dtype == np.float32
    assert data.flags.c_contiguous
    np.testing.assert_allclose(data, np.atleast_3d(expected).transpose(2, 0, 1), atol=6e-8, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (23, 31)])
def test_an_interlaced_png_is_read(photo: Path, size: tuple[int, int]) -> None:
    image = RGB[: size[0], : size[1]]
    photo.write_bytes(interlaced_png(image))
    np.testing.assert_allclose(
        read_photograph(photo, constant_ok=True).data, image.transpose(2, 0, 1) / 255, atol=6e-8, rtol=0
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", range(9))
def test_photographs_are_turned_upright(photo: Path, kind: str, orientation: int) -> None:
    content = pillow(RGB, kind, exif=exif(orientation))
    photo.write_bytes(content)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image)) / 255
    np.testing.assert_allclose(read_photograph(photo).data, expected.transpose(2, 0, 1), atol=6e-8, rtol=0)


TRANSPARENT = np.dstack((RGB, GREY))
PLAIN_PNG, PLAIN_TIFF = pillow(GREY), pillow(GREY, "TIFF")
CMYK = Image.fromarray(RGB).convert("CMYK")
PAGES = [Image.fromarray(RGB), Image.fromarray(GREY)]
APNG = pillow(PAGES[0], save_all=True, append_images=[Image.fromarray(255 - RGB)])
BEYOND_PALETTE = png(np.full((4, 4), 7, np.uint8), 3, 8, png_chunk(b"PLTE", bytes(6)))
KEYED = png(GREY, 0, 8, png_chunk(b"tRNS", b"\0\5"))
FRAME = b"\xff\xc0\0\x11\x08"
LAST_SCAN = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]

FRAME_SEGMENT = JPEG[JPEG.index(FRAME) :][:19]
IDAT = PLAIN_PNG[33:-12]
FLAT, INTERLACED = (png_chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, passes)) for passes in (0, 2))
G4, STRIPS = pillow(BILEVEL, "TIFF", compression="group4"), tiff(GREY, rowsperstrip=5, compression="zlib")
G4_LENGTH = tifffile.TiffFile(io.BytesIO(G4)).pages.first.databytecounts[0]
TIFF_PALETTE = pillow(PALETTE, "TIFF")
PALETTE_TAG, SHORT_PALETTE_TAG = (struct.pack("<HHI", 320, 3, count) for count in (768, 765))

REFUSED_PHOTOGRAPHS = {
    "a sphinx": (b"of black quartz, judge my vow", "corrupt"),
    "GIF": (pillow(PALETTE, "GIF"), "corrupt"),
    "PNG with wrong CRC": (PLAIN_PNG[:-1] + b"\0", "corrupt"),
    "PNG without header": (SIGNATURE + END, "corrupt"),
    "PNG without pixels": (PLAIN_PNG[:33] + END, "truncated"),
    "PNG with too few rows": (PLAIN_PNG.replace(png_header(23), png_header(24)), "truncated"),
    "PNG with too many rows": (PLAIN_PNG.replace(png_header(23), png_header(22)), "corrupt"),
    "PNG with an unknown critical chunk": (png(GREY, 0, 8, png_chunk(b"KEYS", b"")), "unsupported"),
    "PNG with an index beyond its palette": (BEYOND_PALETTE, "corrupt"),
    "PNG of 3 bits": (PLAIN_PNG.replace(png_header(23), png_header(23, 3)), "corrupt"),
    "PNG of an unknown interlacing": (png(GREY[:1, :1], 0, 8).replace(FLAT, INTERLACED), "corrupt"),
    "PNG without checksum of its pixels": (PLAIN_PNG.replace(IDAT, png_chunk(b"IDAT", IDAT[8:-8])), "truncated"),
    "PNG transparent": (pillow(TRANSPARENT), "unsupported"),
    "PNG transparent palette": (pillow(PALETTE, transparency=b"\x7f"), "unsupported"),
    "PNG transparent colour": (KEYED, "unsupported"),
    "PNG animation": (APNG, "unsupported"),
    "JPEG CMYK": (pillow(CMYK, "JPEG"), "unsupported"),
    "JPEG of 12 bits": (JPEG.replace(FRAME, b"\xff\xc1\0\x11\x0c"), "unsupported"),
    "JPEG lossless": (JPEG.replace(FRAME, b"\xff\xc3\0\x11\x08"), "unsupported"),
    "JPEG without height": (JPEG.replace(FRAME + b"\0\x17", FRAME + b"\0\0"), "corrupt"),
    "JPEG with two frames": (JPEG.replace(FRAME_SEGMENT, 2 * FRAME_SEGMENT), "corrupt"),
    "JPEG with too many scans": (PROGRESSIVE[:-2] + LAST_SCAN * 100 + b"\xff\xd9", "corrupt"),
    "TIFF pages": (pillow(PAGES[0], "TIFF", save_all=True, append_images=PAGES[1:]), "unsupported"),
    "TIFF with a strip beyond its end": (G4.replace(tag(279, G4_LENGTH), tag(279, 10**6)), "truncated"),
    "TIFF with a short strip": (tiff(GREY).replace(tag(279, GREY.size), tag(279, GREY.size - 1)), "truncated"),
    "TIFF with idle strips": (STRIPS.replace(tag(278, 5), tag(278, 23)), "corrupt"),
    "TIFF without rows in a strip": (STRIPS.replace(tag(278, 5), tag(278, 0)), "corrupt"),
    "TIFF with a short palette": (TIFF_PALETTE.replace(PALETTE_TAG, SHORT_PALETTE_TAG), "corrupt"),
    "TIFF with reversed bits": (tiff(GREY).replace(struct.pack("<HHII", 296, 3, 1, 1), tag(266, 2)), "unsupported"),
    "TIFF CMYK": (pillow(CMYK, "TIFF"), "unsupported"),
    "TIFF transparent": (pillow(Image.fromarray(TRANSPARENT), "TIFF"), "unsupported"),
    "TIFF JPEG": (pillow(RGB, "TIFF", compression="jpeg"), "unsupported"),
    "TIFF signed": (tiff(GREY.astype("i2")), "unsupported"),
    "TIFF 32 bits": (tiff(GREY.astype("u4")), "unsupported"),
    "TIFF floats beyond one": (tiff(GREY.astype("f4")), "unsupported"),
    "TIFF NaN": (tiff(np.where(BILEVEL, np.nan, 0.5)), "not-finite"),
    "TIFF big": (tiff(GREY, bigtiff=True), "unsupported"),
    "TIFF deflated with wrong checksum": (tiff(GREY, compression="zlib")[:-1] + b"\0", "corrupt"),
    "constant": (pillow(np.zeros((4, 4), bool)), "empty"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "code"), REFUSED_PHOTOGRAPHS.values(), ids=REFUSED_PHOTOGRAPHS)
def test_a_photograph_that_cannot_be_scored_is_refused(photo: Path, content: bytes, code: str) -> None:
    assert refusal(photo, content) == code


@pytest.mark.parametrize(
    ("name", "reason"), [("JPEG with two frames", "2 frames"), ("TIFF without rows in a strip", "dimension of zero")]
)
def test_what_would_mislead_a_decoder_is_refused_before_it(photo: Path, name: str, reason: str) -> None:
    photo.write_bytes(REFUSED_PHOTOGRAPHS[name][0])
    with pytest.raises(InputError, match=reason):
        read_photograph(photo)


def test_an_empty_mask_is_read_where_it_is_expected(photo: Path) -> None:
    photo.write_bytes(pillow(np.zeros((4, 4), bool)))
    assert not read_photograph(photo, constant_ok=True).data.any()


WHOLE = {
    "PNG": PLAIN_PNG,
    "PNG palette": pillow(PALETTE),
    "JPEG": pillow(RGB, "JPEG", exif=exif(6)),
    "JPEG progressive": PROGRESSIVE,
    "TIFF": PLAIN_TIFF,
    "TIFF LZW": pillow(RGB, "TIFF", compression="tiff_lzw"),
    "TIFF deflated": tiff(RGB, photometric="rgb", compression="zlib", tile=(16, 16)),
    "TIFF G4": pillow(BILEVEL, "TIFF", compression="group4"),
}


@pytest.mark.parametrize("content", WHOLE.values(), ids=WHOLE)
def test_a_truncated_photograph_is_refused_whatever_pillow_is_told(
    photo: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert refusal(photo, b"") == InputErrorCode.TRUNCATED
    for length in [*range(37, len(content), 37), len(content) - 1]:
        assert refusal(photo, content[:length]) in (InputErrorCode.TRUNCATED, InputErrorCode.CORRUPT)


@pytest.mark.parametrize("content", [EXACT_PHOTOGRAPHS[name][0] for name in EXACT_PHOTOGRAPHS])
def test_pillows_own_limit_does_not_matter(photo: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    photo.write_bytes(content)
    assert read_photograph(photo).data.shape[1:] == (23, 31)


@pytest.mark.parametrize("name", ["PNG", "PNG palette"])
def test_a_flipped_bit_in_a_png_never_changes_a_pixel(photo: Path, name: str) -> None:
    for bit in np.random.default_rng(0).choice(8 * len(WHOLE[name]), 200, replace=False):
        damaged = bytearray(WHOLE[name])
        damaged[bit // 8] ^= 1 << bit % 8
        assert refusal(photo, bytes(damaged)) in (InputErrorCode.CORRUPT, InputErrorCode.TRUNCATED)


def packed_zeros(megabytes: int) -> bytes:
    packer = zlib.compressobj(1)
    block = bytes(MEGABYTE)
    return b"".join(packer.compress(block) for _ in range(megabytes)) + packer.flush()


BOMBS = {
    "PNG header": (SIGNATURE + png_header(60000, width=60000) + png_chunk(b"IDAT", b"") + END, "too-large"),
    "PNG pixels": (SIGNATURE + png_header(23) + png_chunk(b"IDAT", packed_zeros(200)) + END, "corrupt"),
    "JPEG header": (JPEG.replace(FRAME + b"\0\x17\0\x1f", FRAME + b"\xff\xdc\xff\xdc"), "too-large"),
    "TIFF header": (tiff(GREY).replace(tag(256, 31), tag(256, 1 << 31)), "too-large"),
    "TIFF tile": (tiff(GREY[:16, :16], tile=(16, 16)).replace(tag(322, 16), tag(322, 1 << 31)), "too-large"),
}


@pytest.mark.parametrize(("content", "code"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_costs_no_memory(photo: Path, content: bytes, code: str) -> None:
    photo.write_bytes(content)
    with traced() as peak, pytest.raises(InputError) as caught:
        read_photograph(photo)
    assert caught.value.code == code
    assert peak.bytes < 6 * MEGABYTE


def test_a_file_beyond_the_limit_is_refused_unread(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPD_ZOO_MAX_INPUT_BYTES", str(8 * 4 * GREY.size))
    photo.write_bytes(JPEG)
    read_photograph(photo)
    assert refusal(photo, JPEG + bytes(8 * 4 * GREY.size)) == InputErrorCode.TOO_LARGE


@given(st.binary(max_size=300), st.sampled_from([b"", *(content[:60] for content in WHOLE.values())]))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_bytes_are_refused_and_nothing_else(photo: Path, tail: bytes, head: bytes) -> None:
    told = (InputErrorCode.CORRUPT, InputErrorCode.TRUNCATED, InputErrorCode.UNSUPPORTED)
    assert refusal(photo, head + tail) in told


@pytest.mark.parametrize("content", WHOLE.values(), ids=WHOLE)
def test_a_damaged_photograph_gives_pixels_or_a_refusal(photo: Path, content: bytes) -> None:
    draw = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(content)
        for place in draw.integers(len(content), size=draw.integers(1, 7)):
            damaged[place] = draw.integers(256)
        photo.write_bytes(damaged)
        try:
            data = read_photograph(photo).data
        except InputError:
            continue
        assert data.shape[0] in (1, 3)
        assert data.min() >= 0
        assert data.max() <= 1


@pytest.mark.real
@pytest.mark.parametrize(
    ("pattern", "channels"), [("nih_cxr/images/*.png", 1), ("idrid/**/*.jpg", 3), ("idrid/**/*.tif", 1)]
)
def test_real_photographs_are_read_as_pillow_reads_them(open_images: Path, pattern: str, channels: int) -> None:
    path = min(open_images.glob(pattern))
    data = read_photograph(path).data
    with Image.open(path) as image:
        stored = np.atleast_3d(np.asarray(image)).astype(np.float32)
    assert len(data) == channels
    np.testing.assert_allclose(data, stored.transpose(2, 0, 1) / stored.max() * data.max(), atol=1e-6)
