"""Images of one's own on the command line: from a folder to a model that scores."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fake.inputs import rows_of
from fake.own import write_brain, write_eye, write_mask
from fake.program import Answer, Command
from upd_harness.cli.program import app
from upd_harness.scoring.photographs import open_photograph
from upd_harness.scoring.volumes import open_volume
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CALIBRATION, CARD, CONFIG, Config
from upd_zoo.sources.collection import Collection
from upd_zoo.sources.folders import Folders
from upd_zoo.stores.domains import adopt
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import Scale


@pytest.fixture(autouse=True)
def leave_nothing_behind(tmp_path: Path) -> Iterator[None]:
    yield
    adopt(tmp_path / "nothing")


def write_collection(folder: Path, healthy: int, diseased: int) -> None:
    """Write eyes, and beside the diseased ones where they are so."""
    for number in range(healthy):
        write_eye(folder / "healthy" / f"eye {number}.png", number)
    for number in range(diseased):
        path = write_eye(folder / "diseased" / f"{number}.png", 80 + number, lesion=True)
        write_mask(folder / "masks" / path.name)


@pytest.fixture
def verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command within this process, for speed, by a user who has nothing yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UPD_ZOO_HUB", raising=False)
    monkeypatch.setenv("UPD_ZOO_DATA", "data")

    def run(*arguments: str) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app([*arguments], prog_name="upd-zoo")
        return Answer(int(ended.value.code or 0), *capsys.readouterr())

    return run


def test_what_is_learnt_from_is_cut_as_what_is_scored(tmp_path: Path, fundus: Config, brain: Config) -> None:
    for number in range(12):
        write_eye(tmp_path / "eyes" / f"{number}.png", number, size=(70 + number, 150))
        write_brain(tmp_path / "brains" / f"{number}.nii.gz", number)
    brain = brain.model_copy(update={"scale": Scale.ROBUST})
    for name, config, read in (("eyes", fundus, open_photograph), ("brains", brain, open_volume)):
        Collection.of(name, Folders(tmp_path / name)).prepare(tmp_path / "data")
        store = Store(tmp_path / "data" / name / "train")
        for file in sorted((tmp_path / name).iterdir()):
            rows = [row for row, each in enumerate(store.index) if each["source"] == f"healthy/{file.name}"]
            assert np.array_equal(store.images[rows], read(file, config).images), file.name


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("train", "padim-idrid", "--healthy", "eyes"), "padim"),
        (("train", "padim-idrid", "--modality", "fundus"), "add --healthy FOLDER"),
        (("prepare", "idrid", "--healthy", "eyes"), "'idrid' means the same everywhere"),
        (("prepare", "clinic", "--diseased", "eyes"), "add --healthy FOLDER"),
        (("prepare", "clinic", "--healthy", "eyes", "--masks", "eyes"), "add --diseased FOLDER"),
        (("prepare", "clinic", "--healthy", "eyes", "--root", "eyes"), "leave out --root"),
        (("prepare", "clinic", "--healthy", "eyes"), "at least 10"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    verb: Command, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    write_eye(tmp_path / "eyes" / "one.png", 1)
    done = verb(*arguments)
    assert done.is_one_error(2), done.err
    assert told in done.err


def test_a_named_collection_says_how_it_was_understood_and_what_to_look_at(verb: Command, tmp_path: Path) -> None:
    write_collection(tmp_path, healthy=30, diseased=3)
    for number in range(3, 8):  # of five persons one learns, whatever the split
        with Image.open(tmp_path / "healthy" / f"eye {number}.png") as healthy:
            healthy.save(tmp_path / "diseased" / f"{number}.png", compress_level=1)
        write_mask(tmp_path / "masks" / f"{number}.png")
    (tmp_path / "healthy" / "broken.png").write_bytes(b"\x89PNG")
    done = verb("prepare", "clinic", "--healthy", "healthy", "--diseased", "diseased", "--masks", "masks")
    assert done.code == 3, done.err
    assert "kind of images: fundus" in done.err
    assert "each stands for a person" in done.err
    assert "look at this: duplicates (clinic/train, clinic/test)" in done.err
    assert "healthy/broken.png: broken.png" in done.err
    assert done.err.splitlines()[-1] == "next: upd-zoo train METHOD-clinic --data data"
    again = verb("prepare", "clinic")
    assert again.is_one_error(2)
    assert "add --healthy FOLDER" in again.err
    larger = verb("train", "padim-clinic", "--side", "192")
    assert "upd-zoo prepare clinic --healthy FOLDER --side 192" in larger.err


@pytest.mark.slow
@pytest.mark.parametrize("persons", [12, 60])
def test_a_folder_becomes_a_model_that_scores_and_is_nobody_elses(verb: Command, tmp_path: Path, persons: int) -> None:
    for number in range(persons):
        write_eye(tmp_path / "healthy" / f"eye {number}.png", number)
    asked = ("train", "padim", "--healthy", "healthy", "-o", "mine", "--profile", "tiny", "--no-progress", "-d", "cpu")
    done = verb(*asked)
    assert (done.code, done.out) == (0, "mine/artefact\n"), done.err
    assert len(done.err.splitlines()) < 25
    config = read_record(tmp_path / "mine/artefact" / CONFIG, Config)
    assert (config.id, config.images.title, config.images.modality.id) == ("padim-own", "own images", "fundus")
    assert "own images" in config.labels
    assert config.weights_origin is not None
    assert (config.weights_origin.source, config.pretrain) == ("packaged", "imagenet")
    by_folds = any("folds" in label for label in config.labels)
    assert by_folds is (persons < 50)
    assert (tmp_path / "mine/run" / CALIBRATION).is_file() is by_folds
    card = (tmp_path / "mine/artefact" / CARD).read_text(encoding="utf-8")
    assert "known to their owner" in card
    assert "IDRiD" not in card
    for number in range(3):
        write_eye(tmp_path / "new" / f"{number}.png", 900 + number, lesion=number == 1)
    adopt(tmp_path / "nothing")
    scored = verb("score", "new", "-m", "mine", "-o", "scores", "-d", "cpu", "--no-progress")
    assert scored.code == 0, scored.err
    scores = {row["input"]: row["score"] for row in rows_of(tmp_path / "scores")}
    assert max(scores, key=lambda name: scores[name]) == "1.png"
    published = verb("publish", "mine/artefact", "--hub", "hub")
    assert published.code == 2
    assert "upd-zoo prepare NAME --healthy FOLDER" in published.err
    assert verb(*asked).is_one_error(2)


@pytest.mark.slow
def test_a_model_of_a_named_collection_is_evaluated_on_its_test_set(verb: Command, tmp_path: Path) -> None:
    write_collection(tmp_path, healthy=40, diseased=6)
    folders = ("--healthy", "healthy", "--diseased", "diseased", "--masks", "masks")
    assert verb("prepare", "clinic", *folders).code == 0
    done = verb("train", "padim-clinic", "--profile", "tiny", "-d", "cpu", "--no-progress")
    assert done.code == 0, done.err
    run = "out/runs/padim-clinic"
    result = verb("evaluate", "-m", run, "--test-set", "clinic", "-o", "eval", "-d", "cpu", "--json")
    assert result.code == 0, result.err
    assert (result.json["test_set"], result.json["anomalous"]) == ("clinic", 6)
    assert result.json["metrics"]["ap_pixel"] > result.json["baselines"]["random"]["ap_pixel"]
    published = verb("publish", f"{run}/artefact", "--hub", "hub", "--force", "--json")
    assert (published.code, published.json["model"]) == (0, "padim-clinic"), published.err


@pytest.mark.slow
@pytest.mark.real
def test_a_strangers_folder_of_photographs_goes_to_scores_in_two_commands(
    verb: Command, tmp_path: Path, open_images: Path
) -> None:
    photographs = sorted(open_images.glob("idrid/B. Disease Grading/1. Original Images/*/*.jpg"))
    assert len(photographs) > 60
    for number, path in enumerate(photographs[:70]):
        with Image.open(path) as image:
            small = image.resize((500 - number, 330))
            target = tmp_path / ("healthy" if number < 60 else "new") / f"Visite {number}.TIF"
            target.parent.mkdir(exist_ok=True)
            small.save(target, "TIFF")
    trained = verb("train", "padim", "--healthy", "healthy", "-o", "mine", "-d", "cpu")
    assert trained.code == 0, trained.err
    scored = verb("score", "new", "-m", "mine", "-o", "scores", "-d", "cpu")
    assert scored.code == 0, scored.err
    told = trained.err + trained.out + scored.err + scored.out
    assert len(told.splitlines()) < 30, told
    assert "of these persons, " in trained.err
    assert len(rows_of(tmp_path / "scores")) == 10
