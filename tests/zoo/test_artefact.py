"""The artefact: records refuse what they do not know, and changed bytes are found before they are used."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fake.knowledge import APPEARANCE
from upd_zoo.artefact.calibration import Calibration, Quantiles
from upd_zoo.artefact.folder import inventory
from upd_zoo.artefact.metrics import BESIDE, METRICS
from upd_zoo.artefact.provenance import Images, Provenance, Work
from upd_zoo.artefact.record import MOST_RECORD_BYTES, Record, Setting, read_record, write_record
from upd_zoo.artefact.records import (
    CALIBRATION,
    CONFIG,
    MANIFEST,
    Backbone,
    Config,
    FileRecord,
    Manifest,
    Metrics,
    Parity,
    Phase,
    PixelConvention,
    Result,
    Training,
    WeightsOrigin,
)
from upd_zoo.errors import IntegrityError, NotFoundError
from upd_zoo.files import write_json
from upd_zoo.schemas import SCHEMAS
from upd_zoo.vocabulary import Foreground, Framing, Pretrain, Protocol, Scale, ScoreRule

SHA = "0123456789abcdef" * 4
SETTINGS: dict[str, Setting] = {"width": 16, "kl_weight": 1e-3, "exact": 1.0, "on": True, "off": None, "layers": [1, 2]}

TRAINING = Training(
    profile="full",
    seed=10,
    phases={"main": Phase(steps=30000, optimiser={"name": "Adam", "lr": 1e-4, "betas": [0.0, 0.9]})},
    batch_size=64,
    images=8,
    subjects=4,
    store=SHA,
    device="cpu",
)
CONFIG_RECORD = Config(
    id="vae-phantom-t2",
    method="vae",
    title="VAE",
    domain="phantom-t2",
    pretrain=Pretrain.NONE,
    protocol=Protocol.SOUND,
    settings=SETTINGS,
    input=PixelConvention(channels=1),
    framing=Framing.SQUARE_SLICES,
    centred=False,
    foreground=Foreground.ABOVE_MINIMUM,
    score_rule=ScoreRule.MAXIMUM,
    weights_origin=WeightsOrigin(backbone="resnet18", source="random", name="", sha256=SHA),
    scale=Scale.ROBUST,
    training=TRAINING,
    labels=["synthetic phantoms"],
)
QUANTILES = Quantiles(count=5, levels=[0, 0.25, 0.5, 0.75, 1], values=[0, 1, 1, 2, 6])
CALIBRATION_RECORD = Calibration(
    dataset="phantom-t2/validation",
    image_scores=QUANTILES,
    subject_scores=QUANTILES,
    map_values=QUANTILES,
    appearance=APPEARANCE,
    false_positive_rate=0.05,
    image_threshold=1.5,
    subject_threshold=2.5,
    map_threshold=0.5,
)
PARITY = Parity(
    format="onnx", batch=2, map_difference=1e-6, score_difference=2e-6, map_range=0.5, score_range=0.5,
    rank_correlation=0.999, tolerance=1e-5,
)  # fmt: skip
MANIFEST_RECORD = Manifest(
    id="vae-phantom-t2",
    created="2025-01-01T00:00:00Z",
    source_commit=None,
    versions={"torch": "2.11"},
    parity=[PARITY],
    files={"onnx/model.onnx": FileRecord(sha256=SHA, bytes=3)},
)
SCORES = Metrics(ap_image=0.5, auroc=1, ap_pixel=None, dice=None)
RESULT_RECORD = Result(
    model="vae-phantom-t2",
    revision="main",
    manifest=SHA,
    test_set="phantom-t2",
    store=SHA,
    seed=10,
    backend="onnx",
    images=8,
    anomalous=4,
    subjects=4,
    metrics=SCORES,
    intervals={"auroc": (0.25, 0.75)},
    baselines={"intensity": SCORES},
    labels=[],
)
BACKBONE_RECORD = Backbone(
    id="ccd.resnet18-phantom-t2",
    encoder="resnet18",
    domain="phantom-t2",
    protocol=Protocol.STUDY,
    settings=SETTINGS,
    weights_origin=WeightsOrigin(backbone="resnet18", source="file", name="a.safetensors", sha256=SHA, unfolded=True),
    training=TRAINING,
    labels=["synthetic phantoms"],
)
NUMBERS = {"config": 2, "backbone": 1, "calibration": 2, "manifest": 1, "result": 1, "provenance": 1}
PROVENANCE_RECORD = Provenance(
    recipe="0" * 64,
    subjects="1" * 64,
    calibration=Images(store="2" * 64, subjects="3" * 64),
    work=[Work(source_commit=None, code="4" * 64, versions={"torch": "2"}, hardware="a processor")],
)
RECORDS: dict[str, Record] = {
    "config": CONFIG_RECORD,
    "backbone": BACKBONE_RECORD,
    "calibration": CALIBRATION_RECORD,
    "manifest": MANIFEST_RECORD,
    "result": RESULT_RECORD,
    "provenance": PROVENANCE_RECORD,
}


def test_every_metric_of_a_result_has_a_title_and_a_meaning_of_its_own() -> None:
    told = (*METRICS, *BESIDE)
    assert [metric.id for metric in told] == [name for name in Metrics.model_fields if name != "dice_threshold"]
    for field in ("title", "meaning"):
        assert len({getattr(metric, field) for metric in told}) == len(told)


def plain(record: Record) -> dict[str, Any]:
    return record.model_dump(mode="json", by_alias=True)


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    """A whole artefact with a stand-in for the graph."""
    write_record(tmp_path / CONFIG, CONFIG_RECORD)
    write_record(tmp_path / CALIBRATION, CALIBRATION_RECORD)
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_bytes(b"\x08\x07graph")
    write_record(tmp_path / MANIFEST, MANIFEST_RECORD.model_copy(update={"files": inventory(tmp_path)}))
    return tmp_path


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_read_back_with_every_type(name: str, tmp_path: Path) -> None:
    record = RECORDS[name]
    write_record(tmp_path / "a.json", record)
    again = read_record(tmp_path / "a.json", type(record))
    assert again == record
    assert repr(again) == repr(record), "1, 1.0 and True are equal and not the same"


@given(
    st.dictionaries(st.text(max_size=3), st.one_of(st.none(), st.booleans(), st.integers(), st.floats(-1e300, 1e300)))
)
def test_settings_keep_their_types(settings: dict[str, Setting]) -> None:
    record = CONFIG_RECORD.model_copy(update={"settings": settings})
    assert repr(Config.model_validate_json(json.dumps(plain(record)))) == repr(record)


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_says_which_schema_it_follows(name: str) -> None:
    assert plain(RECORDS[name])["schema"] == f"upd-zoo/{name}/{NUMBERS[name]}"
    assert {*SCHEMAS} == {*RECORDS}


@pytest.mark.parametrize("update", [{"scale": None}, {"framing": "stretch"}])
def test_models_of_brain_scans_and_no_others_name_a_scale(update: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="name a scale"):
        Config.model_validate(plain(CONFIG_RECORD) | update)


def test_only_tissue_can_be_eroded() -> None:
    everywhere = {"foreground": "everywhere", "erosion": 2}
    with pytest.raises(ValidationError, match="no foreground to erode"):
        Config.model_validate(plain(CONFIG_RECORD) | everywhere)


def test_a_configuration_from_before_residuals_had_names_means_what_it_did(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", plain(CONFIG_RECORD) | {"settings": {"width": 16, "dynamic_range": 255.0}})
    assert read_record(tmp_path / "config.json", Config).settings == {"width": 16, "residual": "ssim-8-bit"}


def test_a_configuration_from_before_maps_were_treated_says_that_they_were_not() -> None:
    older = plain(CONFIG_RECORD)
    del older["smoothing"], older["erosion"]
    assert Config.model_validate(older) == CONFIG_RECORD
    assert (CONFIG_RECORD.smoothing, CONFIG_RECORD.erosion) == (0, 0)


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_of_another_schema_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        type(RECORDS[name]).model_validate(plain(RECORDS[name]) | {"schema": f"upd-zoo/{name}/9"})


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_of_an_older_schema_says_how_it_is_made_anew(name: str, tmp_path: Path) -> None:
    write_json(tmp_path / "record.json", {"schema": f"upd-zoo/{name}/0"})
    with pytest.raises(IntegrityError) as caught:
        read_record(tmp_path / "record.json", type(RECORDS[name]))
    assert caught.value.problem == f"record.json was made by an older upd-zoo, with the schema upd-zoo/{name}/0"
    assert caught.value.accepted == f"upd-zoo/{name}/{NUMBERS[name]}"
    assert " again " in caught.value.next_step


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_of_a_newer_schema_asks_for_a_newer_program(name: str, tmp_path: Path) -> None:
    write_json(tmp_path / "record.json", plain(RECORDS[name]) | {"schema": f"upd-zoo/{name}/10", "surprise": 1})
    with pytest.raises(IntegrityError, match=r"made by a newer upd-zoo.* install a newer"):
        read_record(tmp_path / "record.json", type(RECORDS[name]))


@pytest.mark.parametrize("schema", ["upd-zoo/other/1", "upd-zoo/config/x", "upd-zoo/config/", "config", None, 1])
def test_any_other_schema_is_damage(schema: str, tmp_path: Path) -> None:
    write_json(tmp_path / CONFIG, plain(CONFIG_RECORD) | {"schema": schema})
    with pytest.raises(IntegrityError, match=r"config\.json is not a config record: schema"):
        read_record(tmp_path / CONFIG, Config)


@pytest.mark.parametrize("name", RECORDS)
def test_unknown_fields_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        type(RECORDS[name]).model_validate(plain(RECORDS[name]) | {"surprise": 1})


def test_records_do_not_change() -> None:
    with pytest.raises(ValidationError):
        PARITY.batch = 7


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_numbers_that_are_none_are_refused(number: float) -> None:
    with pytest.raises(ValidationError):
        Parity.model_validate(plain(PARITY) | {"map_range": number})
    with pytest.raises(ValidationError):
        Config.model_validate(plain(CONFIG_RECORD) | {"settings": {"width": number}})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"schema": "upd-zoo/config/2"}',
        json.dumps(plain(CONFIG_RECORD)).replace("0.001", "NaN").encode(),
        json.dumps(plain(CONFIG_RECORD)).replace("0.001", "1e999").encode(),
        json.dumps(plain(CONFIG_RECORD))[:-1].encode(),
    ],
)
def test_a_file_that_is_no_record_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_bytes(content)
    with pytest.raises(IntegrityError, match=r"config\.json is not a config record") as caught:
        read_record(tmp_path / CONFIG, Config)
    assert "\n" not in str(caught.value)


def test_a_record_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"config\.json"):
        read_record(tmp_path / CONFIG, Config)


def test_a_record_below_a_file_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "model").touch()
    with pytest.raises(NotFoundError):
        read_record(tmp_path / "model" / CONFIG, Config)


@pytest.mark.parametrize("name", ["a", "results/brats-t2.json", "onnx/model.onnx", "a b", "a..b"])
def test_plain_relative_paths_are_safe(name: str) -> None:
    files = {name: {"sha256": SHA, "bytes": 0}}
    assert [*Manifest.model_validate(plain(MANIFEST_RECORD) | {"files": files}).files] == [name]


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "/etc/passwd", "../x", "a/../../x", "a/..", "./a", "a//b", "a/", "a\\b", "C:/x", "C:x"),
        *("//host/x", ".hidden", "a/.git/hooks", "..a", "a\0b", "a\nb", "a\x1b[2Jb", "a\u202eb", "a" * 201),
    ],
)
def test_paths_that_lead_elsewhere_are_refused(name: str) -> None:
    files = {name: {"sha256": SHA, "bytes": 0}}
    with pytest.raises(ValidationError):
        Manifest.model_validate(plain(MANIFEST_RECORD) | {"files": files})


@pytest.mark.parametrize("digest", ["", SHA[:-1], SHA + "0", SHA.upper(), SHA[:-1] + "g", SHA + "\n"])
def test_hashes_have_64_small_hexadecimal_digits(digest: str) -> None:
    with pytest.raises(ValidationError):
        FileRecord(sha256=digest, bytes=0)


@pytest.mark.parametrize("names", [["a", "a/b"], ["a/b/c", "a"], [MANIFEST]])
def test_a_manifest_lists_no_file_that_cannot_be_one(names: list[str]) -> None:
    files = {name: {"sha256": SHA, "bytes": 0} for name in names}
    with pytest.raises(ValidationError, match="cannot be a file of its own"):
        Manifest.model_validate(plain(MANIFEST_RECORD) | {"files": files})


def test_a_manifest_has_an_end() -> None:
    files = {f"results/{number}.json": {"sha256": SHA, "bytes": 0} for number in range(1001)}
    with pytest.raises(ValidationError, match="at most 1000"):
        Manifest.model_validate(plain(MANIFEST_RECORD) | {"files": files})
    files.popitem()
    assert len(Manifest.model_validate(plain(MANIFEST_RECORD) | {"files": files}).files) == 1000


def test_a_file_has_no_negative_length() -> None:
    with pytest.raises(ValidationError):
        FileRecord(sha256=SHA, bytes=-1)


def test_a_record_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    write_record(tmp_path / CONFIG, CONFIG_RECORD)
    with (tmp_path / CONFIG).open("ab") as stream:
        stream.write(b" " * MOST_RECORD_BYTES)
    with pytest.raises(IntegrityError, match="too long for a record"):
        read_record(tmp_path / CONFIG, Config)


def test_a_pointer_of_git_lfs_is_told_from_a_damaged_record(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n")
    with pytest.raises(IntegrityError, match=r"config\.json is a pointer of Git LFS.*git lfs pull"):
        read_record(tmp_path / CONFIG, Config)
