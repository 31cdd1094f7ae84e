"""The code of the README, and of the card on scoring, does what it says."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from fake.program import Command
from upd_harness.scoring.folder import score_folder
from upd_harness.scoring.journal import read_rows
from upd_zoo.artefact.records import CARD, CONFIG
from upd_zoo.files import write_text
from upd_zoo.runtime.model import Model
from upd_zoo.vocabulary import Framing

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "cards" / "examples" / "fundus"


def snippet(marker: str, document: str = "README.md") -> str:
    """Return the block of code or output of a document that holds some words."""
    blocks = re.findall(r"```(?:python)?\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)
    found: str = next(block for block in blocks if marker in block)
    return found


def plain_code() -> str:
    return snippet("onnxruntime.InferenceSession", "cards/scoring.md")


def smooth(height: int, width: int, channels: int) -> npt.NDArray[np.float64]:
    """Return (H, W) or (H, W, C) in [0, 1]: tissue of slow waves, black beyond an ellipse."""
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    waves = [0.5 + 0.3 * np.sin(3 * rows + number) * np.cos(4 * columns - number) for number in range(channels)]
    inside = (rows / 0.9) ** 2 + (columns / 0.8) ** 2 < 1
    return np.where(inside[..., None], np.stack(waves, axis=-1), 0).squeeze()


def score_of_the_program(model: Model, image: Path, work: Path) -> float:
    score_folder(model, image, work / "output")
    (row,) = read_rows(work / "output" / "results.jsonl")
    return float(row["score"])


def score_of_the_snippet(artefact: Path, image: Path) -> float:
    code = plain_code().replace('"image.png"', repr(str(image)))
    assert "upd_zoo" not in code
    printed = subprocess.run([sys.executable, "-c", code], cwd=artefact, check=True, capture_output=True, text=True)
    return float(printed.stdout)


SIZES = [
    pytest.param((128, 128), marks=pytest.mark.slow),
    (150, 201),
    pytest.param((201, 150), marks=pytest.mark.slow),
    (64, 65),
]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("framing", [Framing.SQUARE_SLICES, Framing.STRETCH])
def test_plain_onnxruntime_gives_the_score_of_the_program_for_grey_images(
    artefact: Path, model: Model, tmp_path: Path, bits: int, size: tuple[int, int], framing: Framing
) -> None:
    largest = 2**bits - 1
    pixels = np.rint(smooth(*size, 1) * largest).astype(f"uint{bits}")
    Image.fromarray(pixels).save(tmp_path / "image.png")
    model, folder = framed(model, artefact, framing, tmp_path)
    expected = score_of_the_program(model, tmp_path / "image.png", tmp_path)
    assert score_of_the_snippet(folder, tmp_path / "image.png") == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_plain_onnxruntime_gives_the_score_of_the_program_for_colour_images(
    colour_artefact: Path, colour_model: Model, tmp_path: Path, size: tuple[int, int]
) -> None:
    Image.fromarray(np.rint(smooth(*size, 3) * 255).astype(np.uint8)).save(tmp_path / "image.png")
    expected = score_of_the_program(colour_model, tmp_path / "image.png", tmp_path)
    assert score_of_the_snippet(colour_artefact, tmp_path / "image.png") == pytest.approx(expected, abs=1e-4)


def framed(model: Model, artefact: Path, framing: Framing, work: Path) -> tuple[Model, Path]:
    """Return a model of another framing, and its folder."""
    copy = shutil.copytree(artefact, work / "artefact")
    text = (copy / CONFIG).read_text(encoding="utf-8")
    write_text(copy / CONFIG, text.replace(model.config.framing, framing))
    return replace(model, config=model.config.model_copy(update={"framing": framing})), copy


def test_the_card_of_a_model_shows_the_same_code(artefact: Path) -> None:
    assert plain_code() in (artefact / CARD).read_text(encoding="utf-8")


def test_a_folder_becomes_a_table_a_file_its_map_and_an_array_maps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my-images").mkdir()
    with Image.open(EXAMPLES / "healthy-1.jpg") as photograph:
        photograph.save(tmp_path / "my-images" / "first.png")
        shape = photograph.height, photograph.width
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UPD_ZOO_HUB", raising=False)
    scope: dict[str, Any] = {"images": np.zeros((1, 3, 256, 256), np.float32)}
    exec(snippet("upd_zoo.load"), scope)  # noqa: S102 - the README's own code
    (row,) = scope["table"]
    assert row.score == scope["prediction"].score == scope["frame"]["score"][0]
    assert scope["anomaly_map"].shape == shape
    assert (scope["maps"].shape, scope["scores"].shape) == ((1, 1, 256, 256), (1,))
    assert scope["model"].config.id in {row.id for row in scope["rows"]}
    assert [path.name for path in tmp_path.iterdir()] == ["my-images"]


def test_a_torch_module_answers_and_learns_on(artefact: Path, model: Model) -> None:
    images = np.full((2, 1, 128, 128), 0.5, np.float32)
    scope: dict[str, Any] = {"images": torch.from_numpy(images)}
    exec(snippet("upd_zoo.load_module", "cards/scoring.md").replace('"my-model"', repr(str(artefact))), scope)  # noqa: S102 - the card's own code
    np.testing.assert_allclose(scope["score"], model(images)[1], atol=1e-4)
    assert scope["loss"].isfinite()


@pytest.mark.slow
def test_the_first_command_prints_what_the_readme_shows(upd_zoo: Command, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "upd-zoo-examples" / "fundus")
    answer = upd_zoo("score", "upd-zoo-examples/fundus", "--no-progress", UPD_ZOO_HUB="")
    assert answer.code == 0, answer.err
    assert answer.err.splitlines() + answer.out.splitlines() == snippet("4 scored").splitlines()
