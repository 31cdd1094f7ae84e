"""Draw the synthetic anomalies that methods train on, as their cards show them, and the report that the README shows.

    python scripts/pictures.py [--browser chromium]

For each method that plants anomalies: one line per phantom domain, two healthy images, each beside what becomes of it
and how strongly every pixel changed. With a browser: the report of the example photographs of the fundus.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
import torch
import typer
from PIL import Image
from torch import Tensor

from upd_harness.cli.app import run_alone
from upd_harness.cli.terminal import Terminal, reports_errors
from upd_harness.report.sheet import Line, panel, sheet
from upd_zoo.files import replacing
from upd_zoo.fitting.run import seed_everything
from upd_zoo.method import Method
from upd_zoo.names import ModelId
from upd_zoo.recipe import Recipe, load_recipe
from upd_zoo.registry import create, registered
from upd_zoo.sources.listed import source_of
from upd_zoo.sources.source import Request
from upd_zoo.stores.places import Part, StoreName

CARDS: Final = Path(__file__).resolve().parents[1] / "cards"
PICTURES: Final = CARDS / "pictures"
DOMAINS: Final = ("phantom-t2", "phantom-cxr", "phantom-fundus")
_SUBJECTS = 2
_WINDOW: Final = "1120,1390"
"""Width and height of the browser, in pixels: three cases are seen."""
_COLOURS: Final = 256
"""A palette takes 130 kB, all colours 510 kB."""


@dataclass(frozen=True, slots=True)
class Planted:
    """Healthy images (B, C, 128, 128) in [0, 1], and the same with synthetic anomalies, by name."""

    healthy: Tensor
    pictures: dict[str, Tensor]


def healthy_images(domain: str) -> Tensor:
    """Return the middle image of two healthy phantoms, (2, C, 128, 128) float32 in [0, 1]."""
    inputs = source_of(domain).opened(Request(subjects=_SUBJECTS))(StoreName(domain, Part.TRAIN))
    samples = [list(read()) for read in islice(inputs.values(), _SUBJECTS)]
    return torch.from_numpy(np.stack([found[len(found) // 2].image for found in samples]))


def plant(recipe: Recipe, healthy: Tensor, seed: int) -> Planted:
    """Return what the untrained method of a recipe plants in healthy images."""
    seed_everything(seed)
    method = create(recipe.method, healthy.shape[1], recipe.side, recipe.settings)
    pictures = method.synthetic(healthy * 2 - 1 if recipe.centred else healthy)
    return Planted(healthy, {name: (each + 1) / 2 if recipe.centred else each for name, each in pictures.items()})


def line_of(domain: str, planted: Planted) -> Line:
    """Return the panels of a domain, image after image."""
    panels = []
    for number, image in enumerate(planted.healthy):
        panels.append(panel(image.numpy()))
        for picture in planted.pictures.values():
            panels += [panel(picture[number].numpy()), panel(change(image, picture[number]))]
    return Line(domain, panels)


def change(image: Tensor, other: Tensor) -> npt.NDArray[np.floating]:
    """Return (1, H, W), the mean absolute difference over channels, divided by its maximum."""
    difference = (other - image).abs().mean(dim=0, keepdim=True)
    return (difference / difference.max().clamp(min=1e-6)).numpy()


def planters() -> list[str]:
    """Return the methods that plant anomalies."""
    return [name for name, kind in registered().items() if kind.synthetic is not Method.synthetic]


def drawings(seed: int) -> Iterator[tuple[str, list[str], list[Line]]]:
    """Yield the method, the heads of the columns and the lines of each sheet."""
    images = {domain: healthy_images(domain) for domain in DOMAINS}
    for method in planters():
        planted = {
            domain: plant(load_recipe(ModelId(method, None, domain)), healthy, seed)
            for domain, healthy in images.items()
        }
        heads = ["healthy", *(head for name in planted[DOMAINS[0]].pictures for head in (name, "change"))]
        yield method, heads, [line_of(domain, found) for domain, found in planted.items()]


def draw_report(browser: str, path: Path) -> None:
    """Score the example photographs of the fundus by the packaged model, and photograph the report.

    Args:
        browser: Chromium, or a program with its options.
        path: The PNG file to write.
    """
    with tempfile.TemporaryDirectory() as work:
        scores, shot = Path(work, "scores"), Path(work, "shot.png")
        program = str(Path(sys.executable).with_name("upd-zoo"))
        subprocess.run([program, "score", str(CARDS / "examples" / "fundus"), "-o", str(scores)], check=True)  # noqa: S603 - the command stands here
        # Its sandbox does not start for root, as whom containers run; the page is our own and loads nothing.
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={_WINDOW}"]
        page = (scores / "report.html").as_uri()
        subprocess.run([browser, *options, f"--screenshot={shot}", page], check=True, capture_output=True)  # noqa: S603 - a maintainer names the browser
        colours = Image.open(shot).convert("RGB").quantize(_COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=3)
        with replacing(path) as temporary:
            colours.save(temporary, "PNG", optimize=True)


@reports_errors
def main(
    out: Annotated[Path, typer.Option(help="Folder of the pictures.")] = PICTURES,
    seed: Annotated[int, typer.Option(help="Decides every draw.")] = 0,
    browser: Annotated[str | None, typer.Option(help="Chromium, to draw the report of the README too.")] = None,
) -> None:
    """Draw the synthetic anomalies of every method that plants some."""
    terminal = Terminal()
    if browser is not None:
        draw_report(browser, out / "report.png")
        terminal.data({"picture": str(out / "report.png")}, str(out / "report.png"))
    for method, heads, lines in drawings(seed):
        path = out / f"{method}.png"
        with replacing(path) as temporary:
            sheet(heads, lines).save(temporary, "PNG", optimize=True)
        terminal.data({"method": method, "picture": str(path)}, str(path))


if __name__ == "__main__":
    run_alone(main)
