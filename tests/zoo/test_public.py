"""What `import upd_zoo` gives: its names, models that say what they are, and paths as text or as paths."""

from pathlib import Path

import numpy as np
import pytest

import upd_zoo
from fake.stores import write_tiny_store
from fake.trained import GREY, trained_artefact
from upd_zoo.artefact.folder import verify
from upd_zoo.hub.hub import Hub
from upd_zoo.runtime.folder import load_folder
from upd_zoo.stores.store import Store


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_artefact(tmp_path_factory, GREY)


@pytest.fixture
def hub(artefact: Path, tmp_path: Path) -> Hub:
    hub = upd_zoo.open_hub(str(tmp_path / "hub"), cache_dir=str(tmp_path / "cache"))
    hub.publish(artefact, upd_zoo.ModelId.parse(GREY), force=True)
    return hub


def test_the_package_lists_its_public_names() -> None:
    assert dir(upd_zoo) == sorted(upd_zoo.__all__)
    assert {"Model", "ModelId", "load", "open_hub"} <= {*dir(upd_zoo)}


def test_a_model_says_in_one_line_what_it_is(artefact: Path, hub: Hub) -> None:
    model = load_folder(artefact, device="cpu", threads=1)
    assert "tiny test store" in model.config.labels
    told = f"[{', '.join(model.config.labels)}]: images (B, 1, 128, 128), onnx on cpu>"
    assert repr(model) == f"<Model {GREY} {told}"
    assert repr(upd_zoo.load(GREY, hub=hub, device="cpu", threads=1)) == f"<Model {GREY}@main {told}"


def test_what_takes_a_path_takes_text(artefact: Path, hub: Hub, tmp_path: Path) -> None:
    written = write_tiny_store(tmp_path / "store")
    assert Store(str(tmp_path / "store")).sha256 == written.sha256
    assert verify(str(artefact)) == verify(artefact)
    assert upd_zoo.open_hub(tmp_path / "hub").location == hub.location
    images = np.array(written.images[:2])
    expected, _ = load_folder(artefact, device="cpu", threads=1)(images)
    for model in (
        load_folder(str(artefact), device="cpu", threads=1),
        upd_zoo.load(artefact, device="cpu", threads=1),
        upd_zoo.load(str(artefact), device="cpu", threads=1),
    ):
        assert np.array_equal(model(images)[0], expected)
