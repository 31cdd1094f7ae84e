"""Export: every format is the same model, and nothing is signed that was not measured."""

import errno
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from huggingface_hub import ModelCard
from onnx import TensorProto, helper

import upd_zoo.export
from fake.artefact import config_of
from fake.results import made_result
from fake.stores import write_tiny_store
from fake.trained import COLOUR, GREY, trained_artefact
from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.folder import inventory, verify
from upd_zoo.artefact.proof import PROOF
from upd_zoo.artefact.provenance import PROVENANCE
from upd_zoo.artefact.record import read_record, write_record
from upd_zoo.artefact.records import (
    CALIBRATION,
    CARD,
    CONFIG,
    LEGAL,
    MANIFEST,
    ONNX,
    RDF,
    RESULTS,
    TORCHSCRIPT,
    WEIGHTS,
    Config,
    Manifest,
    Metrics,
)
from upd_zoo.card.writing import write_card
from upd_zoo.detector import Detector
from upd_zoo.errors import IntegrityError, ToleranceError, UsageError
from upd_zoo.export import export_artefact
from upd_zoo.export.formats import write_onnx, write_safetensors, write_torchscript
from upd_zoo.files import sha256_of, write_json
from upd_zoo.runtime.eager import load_detector, load_script
from upd_zoo.runtime.folder import FILES, load_folder
from upd_zoo.runtime.model import Array
from upd_zoo.runtime.onnx import onnx_predict
from upd_zoo.stores.store import Store

SECTIONS = (
    "Details",
    "Uses",
    "Out of scope",
    "Bias, risks, limitations",
    "How to start",
    "Training data",
    "Preprocessing",
    "Calibration",
    "Evaluation",
    "Formats",
    "Citation",
)


@pytest.fixture(scope="module", params=[GREY, COLOUR])
def artefact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_artefact(tmp_path_factory, request.param)


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_artefact(tmp_path_factory, GREY)


@pytest.fixture(scope="module")
def images(artefact: Path) -> Array:
    """Sixteen images of the domain, one of noise among them and one without any content."""
    found = np.array(Store(artefact.parent / "validation").images[:16])
    found[3] = np.random.default_rng(0).random(found[3].shape, np.float32)
    found[7] = 0
    return found


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


# One model, three formats


def test_every_backend_gives_the_same_maps_and_scores(artefact: Path, images: Array) -> None:
    models = {backend: load_folder(artefact, backend, "cpu", threads=1) for backend in FILES}
    maps, scores = models["torch"](images)
    assert (maps.shape, scores.shape) == ((16, 1, 128, 128), (16,))
    assert np.ptp(maps) > 0.01, "a map that says nothing has nothing to differ in"
    for backend in ("onnx", "torchscript"):
        found_maps, found_scores = models[backend](images)
        assert found_maps.dtype == found_scores.dtype == np.float32
        np.testing.assert_allclose(found_maps, maps, rtol=0, atol=1e-4)
        np.testing.assert_allclose(found_scores, scores, rtol=0, atol=1e-4)


def test_a_coarser_network_draws_nearly_the_same_maps_in_float32(artefact: Path, images: Array) -> None:
    fine = load_folder(artefact, "torch", "cpu", threads=1)
    coarse = load_folder(artefact, "torch", "cpu", threads=1, precision="bfloat16")
    assert (fine.precision, coarse.precision) == ("float32", "bfloat16")
    (maps, _), (found, scores) = fine(images), coarse(images)
    assert found.dtype == scores.dtype == np.float32
    assert 0 < np.abs(found - maps).max() < 0.1 * np.ptp(maps)
    assert len(np.unique(found)) > 10 * 2**8, "a map in bfloat16 would have few values"


@pytest.mark.parametrize("backend", FILES)
@pytest.mark.parametrize("batch", [1, 5])
def test_an_image_scores_the_same_in_every_company(artefact: Path, images: Array, backend: str, batch: int) -> None:
    model = load_folder(artefact, backend, "cpu", threads=1)
    maps, scores = model(images)
    parts = [model(images[start : start + batch]) for start in range(0, 16, batch)]
    np.testing.assert_allclose(np.concatenate([part[0] for part in parts]), maps, rtol=0, atol=1e-4)
    np.testing.assert_allclose(np.concatenate([part[1] for part in parts]), scores, rtol=0, atol=1e-4)


def test_plain_onnxruntime_gives_the_score_without_upd_zoo(artefact: Path, images: Array, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", images)
    script = (
        "import sys, numpy, onnxruntime; images = numpy.load('images.npy')\n"
        "session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])\n"
        "anomaly_map, score = session.run(None, {'image': images}); numpy.save('score.npy', score)\n"
        "assert not [name for name in sys.modules if name.startswith(('upd_', 'torch'))]"
    )
    subprocess.run([sys.executable, "-c", script, artefact / ONNX], cwd=tmp_path, check=True)
    _, expected = load_folder(artefact, device="cpu")(images)
    np.testing.assert_allclose(np.load(tmp_path / "score.npy"), expected, atol=1e-4)


def test_the_onnx_graph_is_one_file_of_the_standard_with_any_batch(artefact: Path) -> None:
    graph = onnx.load(artefact / ONNX, load_external_data=False)
    onnx.checker.check_model(graph, full_check=True)
    assert {opset.domain for opset in graph.opset_import} == {""}
    assert graph.opset_import[0].version >= 18
    assert not [tensor.name for tensor in graph.graph.initializer if tensor.external_data]
    assert [path.name for path in (artefact / "onnx").iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(artefact / ONNX, providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == ["image"]
    assert [value.name for value in session.get_outputs()] == ["anomaly_map", "score"]
    assert isinstance(session.get_inputs()[0].shape[0], str), "the batch is not fixed"


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_the_torchscript_graph_takes_any_batch(artefact: Path, images: Array, batch: int) -> None:
    script = load_script(artefact / TORCHSCRIPT)
    with torch.inference_mode():
        anomaly_map, score = script(torch.from_numpy(images[:batch]))
    assert (tuple(anomaly_map.shape), tuple(score.shape)) == ((batch, 1, 128, 128), (batch,))


# What is written


def test_the_manifest_lists_every_file_and_its_parity(artefact: Path) -> None:
    manifest = verify(artefact)
    expected = {CARD, CONFIG, WEIGHTS, ONNX, TORCHSCRIPT, CALIBRATION, RDF, PROVENANCE, *LEGAL, *PROOF}
    assert set(manifest.files) == expected
    assert manifest.files == inventory(artefact)
    measured = {(row.format, row.batch) for row in manifest.parity}
    assert measured == {(name, batch) for name in ("onnx", "torchscript", "safetensors") for batch in (1, 3, 16)}
    assert all(row.passed and row.rank_correlation > 0.999 for row in manifest.parity)
    assert manifest.versions.keys() >= {"python", "upd-zoo", "torch", "onnx", "numpy"}
    assert all(path.stat().st_size for path in artefact.rglob("*") if path.is_file())
    assert not [path for path in artefact.rglob(".*") if path.is_file()]


def test_the_artefact_names_no_place_of_this_machine(artefact: Path) -> None:
    base = str(artefact.parent).encode()
    home, here = str(Path.home()).encode(), str(Path(__file__).resolve().parents[2]).encode()
    for path in artefact.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert base not in content, path.name
        assert home + b"/" not in content, path.name
        assert here + b"/" not in content, path.name


def test_the_calibration_is_what_healthy_images_score(artefact: Path) -> None:
    store = Store(artefact.parent / "validation")
    calibration = read_record(artefact / CALIBRATION, Calibration)
    maps, scores = load_folder(artefact, device="cpu")(np.array(store.images))
    assert calibration.dataset == store.facts.name
    assert (calibration.image_scores.count, calibration.subject_scores.count) == (24, 12)
    np.testing.assert_allclose(calibration.image_scores.at(0.5), np.median(scores), atol=1e-4)
    np.testing.assert_allclose(calibration.image_threshold, np.quantile(scores, 0.95), atol=1e-4)
    np.testing.assert_allclose(
        calibration.subject_threshold, np.quantile(scores.reshape(12, 2).max(1), 0.95), atol=1e-4
    )
    inside = np.ones(maps.shape[0:1] + maps.shape[2:], bool)
    if store.facts.channels == 1:
        inside = np.array(store.images[:, 0]) > 0
    np.testing.assert_allclose(calibration.map_values.at(0.5), np.median(maps[:, 0][inside]), atol=1e-3)
    for quantiles in (calibration.image_scores, calibration.subject_scores, calibration.map_values):
        assert quantiles.values == sorted(quantiles.values)


def test_the_card_has_its_sections_labels_and_front_matter(artefact: Path) -> None:
    card, config = ModelCard.load(artefact / CARD), read_record(artefact / CONFIG, Config)
    assert [line[3:] for line in card.text.splitlines() if line.startswith("## ")] == list(SECTIONS)
    assert config.labels[0] == "tiny test store"
    assert config.labels[-1] == "calibrated on 12 healthy subjects"
    assert all(label in card.text for label in config.labels)
    assert "Not a medical device" in card.text
    assert f"upd-zoo score FOLDER -m {config.id}" in card.text
    assert "Not evaluated yet" in card.text
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "upd-zoo")
    assert config.method in card.data.tags


def test_the_card_shows_what_was_evaluated(grey: Path, tmp_path: Path) -> None:
    numbers = Metrics(ap_image=0.25, auroc=0.5, ap_pixel=None, dice=0.125)
    result = made_result(GREY, images=12, anomalous=6, metrics=numbers, printed={"ap_image": 0.3})
    write_json(tmp_path / RESULTS / "phantom-t2.json", result.model_dump(mode="json", by_alias=True))
    config, calibration = read_record(grey / CONFIG, Config), read_record(grey / CALIBRATION, Calibration)
    write_card(tmp_path, config, calibration, read_record(grey / MANIFEST, Manifest).parity)
    lines = (tmp_path / CARD).read_text(encoding="utf-8").splitlines()
    assert any("12 images, 6 of them anomalous" in line for line in lines)
    (row,) = (line for line in lines if line.startswith("| **this model**"))
    assert [cell.strip() for cell in row.split("|")[2:-1]] == ["0.250", "0.500", "0.125"]
    (theirs,) = (line for line in lines if line.startswith("| the study's"))
    assert [cell.strip() for cell in theirs.split("|")[2:-1]] == ["0.300", "n/a", "n/a"]
    found = {each.metric_type: each.metric_value for each in ModelCard.load(tmp_path / CARD).data.eval_results or ()}
    assert found == {"ap_image": 0.25, "auroc": 0.5, "dice": 0.125}


@pytest.mark.parametrize(
    ("domain", "terms"),
    [
        ("phantom-t2", ("apache-2.0", None)),
        ("idrid", ("apache-2.0", None)),
        ("ixi-t1", ("cc-by-sa-3.0", None)),
        ("camcan-t2", ("other", "camcan-data-use-agreement")),
    ],
)
def test_weights_keep_the_terms_of_restricted_data(
    grey: Path, tmp_path: Path, domain: str, terms: tuple[str, str | None]
) -> None:
    calibration = read_record(grey / CALIBRATION, Calibration)
    write_card(tmp_path, config_of(domain), calibration, [])
    data = ModelCard.load(tmp_path / CARD).data
    assert (data.license, data.license_name) == terms


def test_a_graph_tells_what_it_is_where_its_folder_is_lost(artefact: Path) -> None:
    config, calibration = read_record(artefact / CONFIG, Config), read_record(artefact / CALIBRATION, Calibration)
    facts = onnxruntime.InferenceSession(artefact / ONNX).get_modelmeta().custom_metadata_map
    assert (facts["upd_zoo.id"], facts["upd_zoo.labels"]) == (config.id, ", ".join(config.labels))
    assert float(facts["upd_zoo.image_threshold"]) == calibration.image_threshold
    assert facts["upd_zoo.data_licence"] == config.images.licence


# What is refused


def test_the_training_images_calibrate_nothing(grey: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="training images"):
        export_artefact(grey.parent / "run", Store(grey.parent / "train"), tmp_path / "artefact")
    assert not (tmp_path / "artefact").exists()


def test_images_of_another_kind_calibrate_nothing(grey: Path, tmp_path: Path) -> None:
    colour = write_tiny_store(tmp_path / "store", 3, name="phantom-fundus/validation")
    with pytest.raises(UsageError, match="3 channels"):
        export_artefact(grey.parent / "run", colour, tmp_path / "artefact")


def test_a_format_that_differs_is_not_signed_and_replaces_nothing(
    grey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shift(path: Path, device: str, threads: int | None) -> object:
        predict = onnx_predict(path, device, threads)

        def shifted(images: Array) -> tuple[Array, Array]:
            maps, scores = predict(images)
            return maps + np.float32(2e-4), scores

        return shifted

    monkeypatch.setattr(upd_zoo.export, "onnx_predict", shift)
    monkeypatch.setattr(
        upd_zoo.export, "write_onnx", lambda _detector, path, _channels, _side: _copy(grey / ONNX, path)
    )
    shutil.copytree(grey, tmp_path / "artefact")
    before = inventory(tmp_path)
    with pytest.raises(ToleranceError, match=r"onnx differs .* 2\.0e-04"):
        export_artefact(grey.parent / "run", Store(grey.parent / "validation"), tmp_path / "artefact")
    assert inventory(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["artefact"]


@pytest.mark.parametrize("place", ["", "run", "another model", "artefact with notes"])
def test_an_export_deletes_nothing_that_is_not_an_older_artefact_of_the_model(
    grey: Path, tmp_path: Path, place: str
) -> None:
    shutil.copytree(grey.parent / "run", tmp_path / "run")
    for name in ("another model", "artefact with notes"):
        shutil.copytree(grey, tmp_path / name)
    other = read_record(grey / MANIFEST, Manifest).model_copy(update={"id": "vae-phantom-t1"})
    write_record(tmp_path / "another model" / MANIFEST, other)
    (tmp_path / "artefact with notes" / "notes.txt").touch()
    before = inventory(tmp_path)
    with pytest.raises(UsageError, match="would be lost"):
        export_artefact(tmp_path / "run", Store(grey.parent / "validation"), tmp_path / place)
    assert inventory(tmp_path) == before


def test_an_export_replaces_an_older_artefact_of_the_model(
    grey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        upd_zoo.export, "write_onnx", lambda _detector, path, _channels, _side: _copy(grey / ONNX, path)
    )
    older = shutil.copytree(grey, tmp_path / "artefact")
    (older / ONNX).write_bytes(b"old")
    export_artefact(grey.parent / "run", Store(grey.parent / "validation"), older)
    assert verify(older).files[ONNX] == verify(grey).files[ONNX]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(source, target)


def test_an_unfinished_run_is_no_model(grey: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(grey.parent / "run", run)
    (run / WEIGHTS).unlink()
    with pytest.raises(IntegrityError, match="finish the training"):
        export_artefact(run, Store(grey.parent / "validation"), tmp_path / "artefact")


def _graph(initializer: onnx.TensorProto) -> onnx.ModelProto:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["b", 1, 128, 128])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", 1, 128, 128]) for name in ("anomaly_map", "score")
    ]
    nodes = [helper.make_node("Add", ["image", "shift"], [name]) for name in ("anomaly_map", "score")]
    graph = helper.make_graph(nodes, "graph", [image], outputs, [initializer])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize("location", ["secret", "../secret", "{absolute}"])
def test_a_graph_that_names_a_file_of_this_machine_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    (tmp_path / "onnx").mkdir()
    for folder in (tmp_path, tmp_path / "onnx"):
        (folder / "secret").write_bytes(np.array([5], np.float32).tobytes())
    tensor = TensorProto(name="shift", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location.format(absolute=tmp_path / "secret"))
    (tmp_path / ONNX).write_bytes(_graph(tensor).SerializeToString())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IntegrityError, match=r"cannot load model\.onnx"):
        onnx_predict(tmp_path / ONNX, "cpu", 1)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x08\x07" * 100, b"half"])
def test_what_is_no_graph_is_refused(tmp_path: Path, grey: Path, content: bytes) -> None:
    whole = (grey / ONNX).read_bytes()
    path = tmp_path / "model.onnx"
    path.write_bytes(whole[: len(whole) // 2] if content == b"half" else content)
    with pytest.raises(IntegrityError) as caught:
        onnx_predict(path, "cpu", 1)
    assert "\n" not in str(caught.value)


def test_a_graph_that_was_changed_is_never_loaded(grey: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(grey, tmp_path / "copy")
    before = sha256_of(copy / ONNX)
    (copy / ONNX).write_bytes((copy / ONNX).read_bytes()[:-1] + b"?")
    assert sha256_of(copy / ONNX) != before
    with pytest.raises(IntegrityError, match="SHA-256"):
        load_folder(copy, device="cpu")


@pytest.mark.parametrize(
    "write",
    [write_safetensors, partial(write_torchscript, channels=1, side=128), partial(write_onnx, channels=1, side=128)],
    ids=["safetensors", "TorchScript", "ONNX"],
)
def test_a_format_that_does_not_fit_on_the_disk_names_its_file_and_leaves_nothing(
    write: Callable[[Detector, Path], None], grey: Path, tmp_path: Path
) -> None:
    detector = load_detector(grey)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match="too large") as caught:
            write(detector, tmp_path / "model")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert str(caught.value.filename) == str(tmp_path / "model")
    assert not list(tmp_path.iterdir())
