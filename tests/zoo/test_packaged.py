"""Models that lie in the package: found first, checked, never copied; and whoever names a hub does not get them."""

import shutil
from pathlib import Path

import pytest

from fake.artefact import write_artefact
from fake.packaged import add_result, put
from upd_zoo.artefact.records import CARD, CONFIG, ONNX, TORCHSCRIPT, WEIGHTS
from upd_zoo.errors import IntegrityError, NotFoundError, UpdZooError, UsageError
from upd_zoo.hub import VARIABLE, open_hub, packaged
from upd_zoo.hub.catalogue import Figure
from upd_zoo.names import ModelId

NAME = "vae-phantom-t1"
MODEL = ModelId.parse(NAME)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("upd_zoo.hub.transfer.Transfer.document", refuse)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that holds one model."""
    put(tmp_path / "packaged", add_result(write_artefact(tmp_path / "made"), "phantom-t1"), monkeypatch=monkeypatch)
    return tmp_path / "packaged"


def test_a_packaged_model_is_used_where_it_lies(package: Path, tmp_path: Path) -> None:
    pulled = open_hub(cache_dir=tmp_path / "cache", offline=True).fetch(MODEL)
    assert pulled.packaged
    assert pulled.folder == package / NAME / "main"
    assert (pulled.folder / ONNX).read_bytes() == b"graph"
    assert not (tmp_path / "cache").exists()


def test_every_name_of_a_packaged_model_finds_it(package: Path) -> None:
    assert open_hub().fetch(ModelId.parse("vae-phantom-stroke"), [ONNX]).folder == package / NAME / "main"


def test_no_weights_are_packaged_that_could_be_trained_on(package: Path) -> None:
    folder = package / NAME / "main"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {CARD, CONFIG, ONNX} < names
    assert not {WEIGHTS, TORCHSCRIPT} & names
    with pytest.raises(NotFoundError, match=f"has no {WEIGHTS}"):
        open_hub().fetch(MODEL, [WEIGHTS])


@pytest.mark.parametrize("damage", [b"grapH", None], ids=["changed", "missing"])
def test_a_damaged_package_is_told_and_not_used(package: Path, damage: bytes | None) -> None:
    path = package / NAME / "main" / ONNX
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    with pytest.raises(IntegrityError, match="The packaged vae-phantom-t1 is damaged") as caught:
        open_hub().fetch(MODEL)
    assert caught.value.next_step == "install upd-zoo again"


def test_whoever_names_a_hub_gets_what_that_hub_has(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_hub(tmp_path / "hub")
    other.publish(write_artefact(tmp_path / "theirs", onnx=b"theirs"), MODEL)
    assert (open_hub(tmp_path / "hub", tmp_path / "cache").fetch(MODEL).folder / ONNX).read_bytes() == b"theirs"
    monkeypatch.setenv(VARIABLE, str(tmp_path / "hub"))
    assert not open_hub(cache_dir=tmp_path / "cache").fetch(MODEL).packaged
    assert [row.packaged for row in open_hub().catalogue()] == [False]


def test_what_is_not_packaged_is_looked_for_on_the_default_hub(package: Path, tmp_path: Path) -> None:
    for name in ("vae-phantom-t2", f"{NAME}@seed-1"):
        with pytest.raises(NotFoundError, match="is not published yet"):
            open_hub(cache_dir=tmp_path).fetch(ModelId.parse(name))


def test_a_model_that_is_not_published_has_its_packaged_relatives_named(package: Path, tmp_path: Path) -> None:
    told = {}
    for name in ("rd-brats-t1", "rd-brats-t2", "rd-idrid"):
        with pytest.raises(NotFoundError) as caught:
            open_hub(cache_dir=tmp_path).fetch(ModelId.parse(name))
        told[name] = caught.value.accepted
    assert "vae-phantom-t1 (Synthetic brains, T1; in this package) or rd-ixi-t1" in told["rd-brats-t1"]
    assert "vae-phantom-t1 (Synthetic brains, T1, T1 instead; in this package)" in told["rd-brats-t2"]
    assert NAME not in told["rd-idrid"]


def test_the_package_is_listed_first_with_what_its_models_score(package: Path) -> None:
    (row,) = open_hub().catalogue()
    assert (row.id, row.packaged, dict(row.bytes)) == (NAME, True, {"onnx": 5})
    assert row.results["phantom-t1"].figures["auroc"] == Figure(0.8, (0.7, 0.9), None)


def test_an_empty_package_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "FOLDER", tmp_path / "nowhere")
    assert (len(packaged.packaged()), packaged.defaults()) == (0, {})
    assert len(open_hub().catalogue()) == 0


def test_what_is_taken_for_each_kind_is_data_that_is_checked(package: Path) -> None:
    assert packaged.defaults() == {"brain-mri": MODEL}
    for models in ({"brains": MODEL}, {"fundus": MODEL}):
        with pytest.raises(UsageError):
            packaged.write_defaults(models)
    with pytest.raises(NotFoundError):
        packaged.write_defaults({"brain-mri": ModelId.parse("vae-phantom-t2")})
    path = package / packaged.DEFAULTS
    for text in ("", path.read_text().replace("/1", "/9"), path.read_text().replace(NAME, "nonsense")):
        path.write_text(text)
        with pytest.raises(IntegrityError, match="cannot be read"):
            packaged.defaults()


def test_a_model_that_is_packaged_again_takes_the_place_of_the_old_one(package: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "made")
    packaged.package(write_artefact(tmp_path / "made", onnx=b"newer graph"), MODEL)
    pulled = open_hub().fetch(MODEL)
    assert (pulled.folder / ONNX).read_bytes() == b"newer graph"
    assert not (pulled.folder / "results" / "phantom-t1.json").exists()
    with pytest.raises(UpdZooError):
        packaged.package(tmp_path / "made", ModelId.parse("vae-phantom-t2"))
