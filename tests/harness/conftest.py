"""Real artefacts of a few seconds' training, made once per test run, on a hub that is a folder."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from fake.artefact import write_artefact
from fake.inputs import head, write_picture, write_volume
from fake.program import PROGRAM, Answer, Command, finished
from fake.runs import brightness
from fake.stores import write_tiny_store
from fake.trained import COLOUR, GREY, trained_artefact
from upd_harness.cli.program import app
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CONFIG, Config, PixelConvention
from upd_zoo.hub import open_hub
from upd_zoo.names import ModelId
from upd_zoo.runtime.folder import load_folder
from upd_zoo.runtime.model import Model
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import Framing


@pytest.fixture(scope="session")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grey model."""
    return trained_artefact(tmp_path_factory, GREY)


@pytest.fixture(scope="session")
def colour_artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A colour model."""
    return trained_artefact(tmp_path_factory, COLOUR)


@pytest.fixture(scope="session")
def model(artefact: Path) -> Model:
    return load_folder(artefact, device="cpu", threads=1)


@pytest.fixture(scope="session")
def colour_model(colour_artefact: Path) -> Model:
    return load_folder(colour_artefact, device="cpu", threads=1)


@pytest.fixture
def quick(colour_model: Model) -> Model:
    """A model of photographs that takes no time."""
    return replace(colour_model, network=brightness)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Three volumes and, for the model's batches, five slices as pictures."""
    for number, name in enumerate(("a/scan.nii.gz", "b.nii", "c.nii.gz")):
        write_volume(tmp_path / "scans" / name, head(number))
    for number in range(5):
        write_picture(tmp_path / "scans" / f"slice-{number}.png", number, colour=False)
    return tmp_path / "scans"


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for number in range(10):
        write_picture(tmp_path / "photographs" / f"{number}.png", number)
    return tmp_path / "photographs"


@pytest.fixture(scope="session")
def hub(artefact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub that holds the grey model."""
    folder = tmp_path_factory.mktemp("hub")
    open_hub(str(folder)).publish(artefact, ModelId.parse(GREY), force=True)
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared stores, of which there is one: a test set with masks."""
    folder = tmp_path_factory.mktemp("data")
    write_tiny_store(folder / "phantom-t2" / "test", 1, 12, 3, masks=True, anomalous=6, name="phantom-t2/test")
    return folder


@pytest.fixture(scope="session")
def tested_store(data: Path) -> Store:
    return Store(data / "phantom-t2" / "test")


@pytest.fixture
def environment(hub: Path, data: Path, tmp_path: Path) -> dict[str, str]:
    """Variables of a user who has the hub and the stores, and no network."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "UPD_ZOO_", "COLUMNS"))}
    own = {"UPD_ZOO_HUB": str(hub), "UPD_ZOO_DATA": str(data), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    return kept | own | {"HF_ENDPOINT": "http://127.0.0.1:9", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def upd_zoo(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Run a command within this process, for speed."""
    for name in os.environ.keys() - environment.keys():
        monkeypatch.delenv(name)
    # The last two are what the program sets for itself.
    own = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_VERBOSITY": "error"}
    for name, value in (environment | own).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, **variables: str) -> Answer:
        capsys.readouterr()
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                app([str(argument) for argument in arguments], prog_name="upd-zoo")
        return Answer(int(ended.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def program(environment: dict[str, str], tmp_path: Path) -> Command:
    """Run the installed program."""

    def run(*arguments: str | Path, **variables: str) -> Answer:
        return finished([str(PROGRAM), *map(str, arguments)], environment | variables, tmp_path)

    return run


@pytest.fixture
def brain(tmp_path: Path) -> Config:
    """A model of brain slices."""
    return read_record(write_artefact(tmp_path / "artefact") / CONFIG, Config)


@pytest.fixture
def fundus(brain: Config) -> Config:
    """A model of colour photographs."""
    return brain.model_copy(
        update={"input": PixelConvention(channels=3), "framing": Framing.CENTRE_CROP, "scale": None}
    )


@pytest.fixture
def chest(brain: Config) -> Config:
    """A model of grey photographs."""
    return brain.model_copy(update={"framing": Framing.STRETCH, "scale": None})
