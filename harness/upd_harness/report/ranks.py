"""The critical-difference picture: contestants on an axis of mean ranks, bars over those that cannot be told apart."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from upd_zoo.errors import MissingExtraError
from upd_zoo.files import replacing


def draw_ranks(
    path: Path, ranks: Mapping[str, float], difference: float, cliques: Sequence[Sequence[str]], title: str
) -> None:
    """Draw it, as PNG or SVG by the suffix of the path.

    Args:
        path: The file.
        ranks: Mean rank of each contestant, best first.
        difference: The critical one.
        cliques: Groups of contestants that cannot be told apart.
        title: What the ranks are of.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("Drawing mean ranks", "figures") from None
    count = len(ranks)
    depth = 1.2 + 0.28 * len(cliques)
    with mpl.rc_context({"font.size": 9, "svg.hashsalt": "upd-zoo"}):
        figure = Figure(figsize=(7.2, 0.75 + 0.3 * (depth + (count + 1) // 2)), layout="constrained")
        axes = figure.add_subplot()
        axes.set(xlim=(count + 0.15, 0.85), ylim=(depth + (count + 1) // 2, -1.6), title=title)
        axes.set_axis_off()
        axes.title.set_visible(True)
        _draw_axis(axes, count, difference)
        for number, members in enumerate(cliques):
            height = 0.45 + 0.28 * number
            ends = [ranks[members[0]] - 0.04, ranks[members[-1]] + 0.04]
            axes.plot(ends, [height] * 2, color="#b2461e", linewidth=3.2, solid_capstyle="butt")
        _draw_names(axes, ranks, depth)
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw_axis(axes: Any, count: int, difference: float) -> None:
    """Draw the axis of ranks, best on the right, and above it a bar as long as the critical difference."""
    axes.plot([1, count], [0, 0], color="black", linewidth=1)
    for rank in range(1, count + 1):
        axes.plot([rank, rank], [-0.18, 0], color="black", linewidth=1)
        axes.text(rank, -0.25, str(rank), ha="center", va="bottom")
    shown = min(difference, count - 1)
    axes.plot([count, count - shown], [-1.15] * 2, color="#b2461e", linewidth=2)
    note = f"critical difference {difference:.2f}" + (", more than any possible one" if difference > count - 1 else "")
    axes.text(count, -1.3, note, ha="left", va="bottom", color="#b2461e")


def _draw_names(axes: Any, ranks: Mapping[str, float], depth: float) -> None:
    """Lead from every rank to a name: the better half at the right side, the others at the left."""
    count, half = len(ranks), len(ranks) // 2
    for place, (name, rank) in enumerate(ranks.items()):
        right = place < half or count == 1
        row = place if right else count - 1 - place
        height, side = depth + row, 0.95 if right else count + 0.05
        axes.plot([rank, rank, side], [0, height, height], color="#555555", linewidth=0.8)
        text = f"{name}  {rank:.2f}" if right else f"{rank:.2f}  {name}"
        axes.text(
            side - 0.03 if right else side + 0.03,
            height,
            text,
            ha="left" if right else "right",
            va="center",
            clip_on=False,
        )
