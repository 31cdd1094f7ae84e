"""What all figures share: how matplotlib is set, colours that every eye tells apart, and pictures that stay small."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from PIL import Image

from upd_zoo.errors import MissingExtraError

COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Of lines and groups. Source: Okabe and Ito, Color Universal Design, 2008."""
MARKERS: Final = "osD^vPX"
"""Of lines, so that colour is never all that tells them apart."""
LARGEST: Final = 200_000
"""Bytes of a drawing."""
_DPI: Final = 150


@contextmanager
def figure_of(width: float, height: float) -> Iterator[Any]:
    """Yield an empty matplotlib figure of a size in inches; what is drawn and saved within looks like all figures.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("Drawing figures", "figures") from error
    with mpl.rc_context(
        {"svg.hashsalt": "upd-zoo", "font.size": 8, "axes.spines.top": False, "axes.spines.right": False}
    ):
        yield Figure(figsize=(width, height), layout="constrained")


def saved(figure: Any, suffix: str, dpi: int = _DPI) -> bytes:
    """Return a figure as PNG or SVG, the same bytes every time.

    Args:
        figure: What `figure_of` yielded, drawn.
        suffix: `.png` or `.svg`.
        dpi: Pixels per inch of PNG.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix[1:], dpi=dpi, metadata={"Date": None} if suffix == ".svg" else None)
    return buffer.getvalue() if suffix == ".svg" else within_limit(buffer.getvalue())


def within_limit(picture: bytes, limit: int = LARGEST) -> bytes:
    """Return a PNG with as many colours as fit in a number of bytes: all, or 256, 128, … of them, 16 at least."""
    colours = 512
    while len(picture) > limit and colours > 16:
        colours //= 2
        with Image.open(io.BytesIO(picture)) as opened:
            fewer = opened.convert("RGB").quantize(colours, dither=Image.Dither.NONE)
        buffer = io.BytesIO()
        fewer.save(buffer, "PNG", optimize=True)
        picture = min(picture, buffer.getvalue(), key=len)
    return picture


def png_of(picture: Image.Image) -> bytes:
    """Return a picture as PNG with all its colours: with few, images of patients and maps show edges that they lack."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
