"""From Python, as in a notebook: a table of scores, the map of one file, and which models there are."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import upd_zoo
from fake.inputs import head, rows_of, write_picture, write_volume
from fake.packaged import put
from fake.stores import draw_image
from upd_harness.scoring.folder import score_folder
from upd_zoo.errors import InputError, NotFoundError
from upd_zoo.hub import VARIABLE
from upd_zoo.runtime.model import Model

COLOUR = "vae-phantom-fundus"


@pytest.fixture
def eyes(tmp_path: Path) -> Path:
    """Two pictures of the kind that the colour model knows, one that is wider than high, and a file that is broken."""
    folder = tmp_path / "eyes"
    folder.mkdir()
    for number, width in enumerate((128, 200)):
        pixels = np.rint(255 * draw_image(3, np.random.default_rng(40 + number))).astype(np.uint8).transpose(1, 2, 0)
        around = np.pad(pixels, ((0, 0), ((width - 128) // 2,) * 2, (0, 0)))
        Image.fromarray(around).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def test_a_folder_becomes_a_table(
    artefact: Path, colour_artefact: Path, eyes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    put(tmp_path / "packaged", artefact, colour_artefact, monkeypatch=monkeypatch)
    assert [row.id for row in upd_zoo.list_models("*-phantom-fundus")] == [COLOUR]

    table = upd_zoo.score(eyes)

    assert [row.input for row in table] == ["0.png", "1.png", "broken.png"]
    assert [(row.status, row.model) for row in table] == [("ok", COLOUR), ("ok", COLOUR), ("failed", "")]
    assert "broken.png" in table[2].error
    assert (table[2].score, table[2].is_anomalous) == (None, None)
    frame = table.to_pandas()
    assert list(frame["score"].dropna()) == [row.score for row in table[:2]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["eyes", "packaged"], "nothing is written"


def test_a_table_says_what_a_run_of_the_program_says(colour_model: Model, eyes: Path, tmp_path: Path) -> None:
    table = upd_zoo.score(eyes, colour_model)
    score_folder(colour_model, eyes, tmp_path / "out")
    for told, row in zip(table, rows_of(tmp_path / "out"), strict=True):
        assert (told.input, told.status, told.score, told.percentile) == (
            row["input"], row["status"], row["score"], row["percentile"]
        )  # fmt: skip
        assert list(told.warnings) == [warning["message"] for warning in row["warnings"]]


def test_a_prediction_has_the_shape_of_its_file(model: Model, colour_model: Model, eyes: Path, tmp_path: Path) -> None:
    wide = colour_model.predict(eyes / "1.png")
    assert wide.anomaly_map.shape == (128, 200)
    assert np.isnan(wide.anomaly_map[:, 0]).all(), "the model looks at the central square"
    score_folder(colour_model, eyes / "1.png", tmp_path / "out")
    (row,) = rows_of(tmp_path / "out")
    assert (wide.score, wide.percentile) == (row["score"], row["percentile"])
    np.testing.assert_array_equal(wide.anomaly_map, tifffile.imread(tmp_path / "out" / row["outputs"]["map"]))
    volume = write_volume(tmp_path / "scan.nii.gz", head(0, (24, 28, 12)))
    assert model.predict(str(volume)).anomaly_map.shape == (24, 28, 12)


def test_one_bad_file_is_an_error_with_its_reason(colour_model: Model, eyes: Path) -> None:
    with pytest.raises(InputError, match="broken"):
        colour_model.predict(eyes / "broken.png")
    with pytest.raises(NotFoundError, match="takes a folder"):
        colour_model.predict(eyes)
    write_picture(eyes / "grey.png", 1, colour=False)
    with pytest.raises(InputError, match="grey image"):
        colour_model.predict(eyes / "grey.png")
