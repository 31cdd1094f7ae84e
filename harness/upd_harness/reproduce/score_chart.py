"""A picture of Tables II to V: for every test set, ours as dots with their intervals beside printed ones as rings.

A dotted line is the best trivial baseline: what lies left of it has found nothing that exposure or place do not tell.
"""

from collections.abc import Sequence
from io import BytesIO
from textwrap import fill
from typing import Any, Final, NamedTuple

from upd_harness.reproduce.estimate import Estimate

_OURS, _PRINTED, _TRIVIAL = "#0072b2", "#d55e00", "#595959"
_COLUMN: Final = 2.0
"""Inches of a panel."""
_LEAST: Final = 4.0
"""Inches that the explanation of the signs takes."""
_SIGNS: Final = 30
"""Of a line that is as wide as a panel."""

Row = tuple[str, Estimate | None, float | None]
"""A method, ours and the printed figure."""


class Panel(NamedTuple):
    """One metric on one test set.

    Attributes:
        title: What stands above.
        metric: What stands below.
        rows: Methods from top to bottom.
        trivial: The best trivial baseline; None where none was measured.
    """

    title: str
    metric: str
    rows: Sequence[Row]
    trivial: float | None


def chart(lines: Sequence[Sequence[Panel]], banner: str) -> bytes | None:
    """Return the picture as PNG; None where matplotlib is not installed.

    Args:
        lines: One below the other, of panels side by side.
        banner: What must stand above it.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        return None
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        names = [row[0] for row in lines[0][0].rows]
        size = (1 + max(_LEAST, _COLUMN * len(lines[0])), 0.8 + (0.7 + 0.19 * len(names)) * len(lines))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(lines), len(lines[0]), squeeze=False, sharey=True)
        for axes, panel in zip(grid.flat, (each for line in lines for each in line), strict=True):
            _draw(axes, panel)
        grid[0, 0].set_yticks(range(len(names)), names)
        figure.legend(handles=_key(grid[0, 0]), frameon=False, loc="outside lower center", ncols=2)
        figure.suptitle(fill(banner, _SIGNS * max(2, len(lines[0]))), fontsize=9, color=_PRINTED)
        return _saved(figure)


def _key(axes: Any) -> list[Any]:
    """Return what the signs mean, drawn beside the picture."""
    printed = axes.plot([], [], "o", mfc="none", color=_PRINTED, label="printed")
    trivial = axes.plot([], [], ":", color=_TRIVIAL, label="best trivial baseline")
    ours = axes.errorbar([], [], xerr=[], fmt=".", color=_OURS, label="ours, with its 95 % interval")
    return [*printed, *trivial, ours]


def _draw(axes: Any, panel: Panel) -> None:
    if panel.trivial is not None:
        axes.axvline(panel.trivial, linestyle=":", color=_TRIVIAL)
    for place, (_, ours, printed) in enumerate(panel.rows):
        if printed is not None:
            axes.plot(printed, place, "o", mfc="none", color=_PRINTED)
        if ours is not None:
            axes.errorbar(ours.mean, place, xerr=ours.half, fmt=".", color=_OURS)
    axes.set_title(panel.title, fontsize=9)
    axes.set_xlabel(panel.metric)
    axes.set_ylim(len(panel.rows) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.grid(axis="y", alpha=0.2)


def _saved(figure: Any) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
