"""What an image file stores, whichever container it comes in, and how a reader refuses one."""

import zlib
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from upd_zoo.caution import Caution, CautionCode
from upd_zoo.errors import InputError, InputErrorCode

ACCEPTED: Final = "a PNG, JPEG or TIFF file with one image, grey or RGB, 8 or 16 bits per channel"
_BLOCK: Final = 1 << 20


class Samples(NamedTuple):
    """What an image file stores, before it becomes a photograph.

    Attributes:
        values: (H, W, S), S = 1 to 4; bool, uint8, uint16 or floating; higher is brighter.
        has_alpha: Whether the last channel is opacity.
        orientation: How the stored rows and columns lie, 1 to 8 as in Exif.
        bits: How many bits of each sample the file says are in use, from the lowest; None where it says nothing.
        cautions: What is doubtful about the file.
    """

    values: npt.NDArray[Any]
    has_alpha: bool = False
    orientation: int = 1
    bits: int | None = None
    cautions: tuple[Caution, ...] = ()


def corrupt(problem: str) -> InputError:
    """Return the error for a file that breaks the rules of its format."""
    return InputError(InputErrorCode.CORRUPT, problem, ACCEPTED, "copy or export the file again")


def truncated(problem: str) -> InputError:
    """Return the error for a file that ends before its image does."""
    return InputError(InputErrorCode.TRUNCATED, problem, ACCEPTED, "copy or export the file again")


def unsupported(problem: str) -> InputError:
    """Return the error for a whole file that holds something else than a grey or RGB image."""
    return InputError(InputErrorCode.UNSUPPORTED, problem, ACCEPTED, "save it again in one of these formats")


def trailing(data: bytes, end: int) -> tuple[Caution, ...]:
    """Return the caution for what follows after the end of the image, at the byte `end`; none where nothing does."""
    if end == len(data):
        return ()
    message = (
        f"{len(data) - end} bytes follow after the end of the image and were not read: the preview of a camera, or "
        "another file appended by mistake."
    )
    return (Caution(CautionCode.TRAILING, message),)


def refuse_beyond(height: int, width: int, promised: int, most_bytes: int) -> None:
    """Refuse an image that would take more than `most_bytes` bytes, decoded or as one float32 for each pixel.

    Args:
        height: Rows of the image.
        width: Columns of the image.
        promised: Bytes of its decoded samples.
        most_bytes: The limit.

    Raises:
        InputError: It would.
    """
    largest = max(promised, np.dtype(np.float32).itemsize * height * width)
    if largest > most_bytes:
        problem = f"the header promises {height} x {width} pixels, which take {largest} bytes"
        accepted = f"at most {most_bytes} bytes"
        next_step = "save the image at a smaller size, or raise UPD_ZOO_MAX_INPUT_BYTES where there is memory for it"
        raise InputError(InputErrorCode.TOO_LARGE, problem, accepted, next_step)


def inflate(deflated: bytes | memoryview, least: int, most: int) -> bytes:
    """Return the content of one zlib stream, of `least` to `most` bytes, proven by its Adler-32.

    Raises:
        InputError: The stream ends too early or does not have this length.
        zlib.error: The stream is damaged.
    """
    stream = zlib.decompressobj()
    content = stream.decompress(deflated, most + 1)
    _check_length(stream, len(content), least, most)
    return content


def prove(deflated: bytes | memoryview, length: int) -> None:
    """Check what `inflate` checks of a stream of `length` bytes, and hold only a block of them.

    Raises:
        InputError: The stream ends too early or does not have this length.
        zlib.error: The stream is damaged.
    """
    stream, seen = zlib.decompressobj(), 0
    for start in range(0, len(deflated), _BLOCK):
        rest = deflated[start : start + _BLOCK]
        while rest and seen <= length:
            seen += len(stream.decompress(rest, _BLOCK))
            rest = stream.unconsumed_tail
    _check_length(stream, seen, length, length)


def _check_length(stream: Any, seen: int, least: int, most: int) -> None:
    if seen > most:
        raise corrupt("its compressed pixels continue after the image's end")
    if seen < least or not stream.eof:
        raise truncated("its compressed pixels end too early")
