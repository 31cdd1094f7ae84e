"""The README's code does what it says."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from upd_harness.journal import read_rows
from upd_harness.scoring import score_folder
from upd_zoo.runtime import Model

README = Path(__file__).resolve().parents[2] / "README.md"


def snippet(marker: str) -> str:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    found: str = next(block for block in blocks if marker in block)
    return found


def test_plain_onnxruntime_gives_the_score_of_the_program(artefact: Path, model: Model, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (128, 128), np.uint8)
    (tmp_path / "inputs").mkdir()
    Image.fromarray(pixels).save(tmp_path / "inputs" / "image.png")
    score_folder(model, tmp_path / "inputs", tmp_path / "output")
    row = next(read_rows(tmp_path / "output" / "results.jsonl"))
    code = snippet("onnxruntime.InferenceSession").replace('"image.png"', f"{str(tmp_path / 'inputs/image.png')!r}")
    printed = subprocess.run([sys.executable, "-c", code], cwd=artefact, check=True, capture_output=True, text=True)
    assert abs(float(printed.stdout) - row["score"]) < 1e-4
    assert "upd_zoo" not in code


def test_one_line_loads_a_model(hub: Path) -> None:
    scope: dict[str, Any] = {"images": np.zeros((2, 1, 128, 128), np.float32)}
    exec(snippet("upd_zoo.load").replace('"out/demo/hub"', repr(str(hub))), scope)  # noqa: S102 - the README's own code
    assert scope["anomaly_map"].shape == (2, 1, 128, 128)
    assert scope["score"].shape == (2,)
