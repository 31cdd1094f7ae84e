"""The catalogue: what is written is read back, and a name that is nearly right gets an answer."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upd_zoo.errors import IntegrityError, NotFoundError, UsageError
from upd_zoo.hub.catalogue import PACKAGED, Catalogue, Figure, Measured, Row
from upd_zoo.names import ModelId
from upd_zoo.vocabulary import Pretrain, Protocol

RD = Row("rd-camcan-t2", "main", "RD", Pretrain.IMAGENET, Protocol.STUDY, "study", (), "2026-01-31", {"onnx": 12})
SEED = replace(RD, revision="seed-1", labels=("quick profile",))
VAE = Row("vae-phantom-t1", "main", "VAE", Pretrain.NONE, labels=("synthetic phantoms",))
CCD = Row("vae-phantom-t1-ccd", "main", "VAE", Pretrain.CCD)
ANOGAN = Row("f-anogan-idrid", "main", "f-AnoGAN")

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def catalogue_of(*rows: Row) -> Catalogue:
    catalogue = Catalogue()
    for row in rows:
        catalogue = catalogue.add(row)
    return catalogue


def test_the_packaged_catalogue_invents_no_model(tmp_path: Path) -> None:
    packaged = Catalogue.read()
    packaged.write(tmp_path / "again.toml")
    assert (tmp_path / "again.toml").read_bytes() == PACKAGED.read_bytes()
    assert len(packaged) == 0


@given(TEXTS, st.lists(TEXTS), st.dictionaries(TEXTS, st.integers(0, 2**62)), st.sampled_from([None, *Pretrain]))
def test_rows_survive_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory,
    title: str,
    labels: list[str],
    sizes: dict[str, int],
    pretrain: Pretrain | None,
) -> None:
    path = tmp_path_factory.mktemp("catalogue") / "catalogue.toml"
    catalogue = catalogue_of(RD, Row("vae-idrid", "", title, pretrain, labels=tuple(labels), bytes=sizes))
    catalogue.write(path)
    assert Catalogue.read(path) == catalogue


@given(TEXTS, st.floats(0, 1), st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1)), st.none() | st.floats(0, 1))
def test_results_survive_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory,
    test_set: str,
    value: float,
    interval: tuple[float, float] | None,
    trivial: float | None,
) -> None:
    path = tmp_path_factory.mktemp("catalogue") / "catalogue.toml"
    measured = Measured(12, 6, {"auroc": Figure(value, interval, trivial), "ap_image": Figure(value)})
    catalogue = catalogue_of(replace(RD, results={test_set: measured}), VAE)
    catalogue.write(path)
    assert Catalogue.read(path) == catalogue


@pytest.mark.parametrize(
    "text",
    [
        "",
        "schema = 'upd-zoo/catalogue/2'\n[[model]]\nid = 'vae-idrid'\nresults = { x = { images = 1, anomalous = '' } }",
        "schema = 'upd-zoo/catalogue/2'\n[[model]]\nid = 'vae-idrid'\nresults = { x = { images = 1 } }",
        "schema = 'upd-zoo/catalogue/2'\n[[model]]\nid = 'vae-idrid'\n"
        "results = { x = { images = 1, anomalous = 1, auroc = { value = 7 } } }",
        "schema = 'upd-zoo/catalogue/1'",
        "not toml",
        "schema = 'upd-zoo/catalogue/2'\nmodel = 3",
        "schema = 'upd-zoo/catalogue/2'\nmodel = [3]",
        "schema = 'upd-zoo/catalogue/2'\n[[model]]",
        "schema = 'upd-zoo/catalogue/2'\n[[model]]\nid = 'rd-brats-t2'",
        "schema = 'upd-zoo/catalogue/2'\n[[model]]\nid = 'rd-idrid@seed-1'",
        "schema = 'upd-zoo/catalogue/2'\n[[model]]\nid = '../../rd'",
        "schema = 'upd-zoo/catalogue/2'\n[[model]]\nid = 'rd-idrid'\nlabels = 'text'",
        "schema = 'upd-zoo/catalogue/2'\n[[model]]\nid = 'rd-idrid'\ntitle = 3",
        "schema = 'upd-zoo/catalogue/2'\n[[model]]\nid = 'rd-idrid'\npretrain = 'magic'",
        "schema = 'upd-zoo/catalogue/2'\n[[model]]\nid = 'rd-idrid'\nbytes = { onnx = 'big' }",
        "schema = 'upd-zoo/catalogue/2'\n[[model]]\nid = 'rd-idrid'\nunknown = 1",
    ],
)
def test_a_file_that_is_no_catalogue_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "catalogue.toml").write_text(text)
    with pytest.raises(IntegrityError, match="is not a catalogue"):
        Catalogue.read(tmp_path / "catalogue.toml")


def test_a_missing_catalogue_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        Catalogue.read(tmp_path / "catalogue.toml")


def test_rows_are_ordered_by_name_and_revision() -> None:
    rows = [(row.id, row.revision) for row in catalogue_of(CCD, SEED, VAE, RD)]
    assert rows == [
        ("rd-camcan-t2", "main"),
        ("rd-camcan-t2", "seed-1"),
        ("vae-phantom-t1", "main"),
        ("vae-phantom-t1-ccd", "main"),
    ]


def test_every_revision_keeps_its_own_facts() -> None:
    catalogue = catalogue_of(RD, SEED, replace(RD, title="RD again"))
    assert [(row.revision, row.title, row.labels) for row in catalogue] == [
        ("main", "RD again", ()),
        ("seed-1", "RD", ("quick profile",)),
    ]


def test_every_name_of_a_model_finds_its_row() -> None:
    catalogue = catalogue_of(RD, SEED, VAE, CCD)
    assert catalogue.get(ModelId.parse("rd-brats-t2")) is RD
    assert catalogue.get(ModelId.parse("rd-camcan-t2@seed-1")) is SEED
    assert catalogue.get(ModelId.parse("vae-phantom-stroke-ccd")).pretrain is Pretrain.CCD


def test_an_unknown_model_is_answered_with_the_closest_and_what_to_type() -> None:
    with pytest.raises(NotFoundError, match=r"rd-atlas .*rd-camcan-t1.*Did you mean rd-camcan-t2.*upd-zoo list"):
        catalogue_of(RD, VAE).get(ModelId.parse("rd-atlas"))


def test_an_unknown_revision_is_answered_with_the_closest() -> None:
    with pytest.raises(NotFoundError, match=r"'seed-2'.*[Dd]id you mean seed-1.*upd-zoo list"):
        catalogue_of(RD, SEED).get(ModelId.parse("rd-brats-t2@seed-2"))


def test_a_row_without_known_revisions_refuses_none() -> None:
    catalogue = catalogue_of(Row("rd-idrid"))
    assert catalogue.get(ModelId.parse("rd-idrid@seed-2")).id == "rd-idrid"


def test_filters_combine() -> None:
    catalogue = catalogue_of(RD, VAE, CCD)
    assert catalogue.filter() == catalogue
    assert [row.id for row in catalogue.filter(method="rd")] == ["rd-camcan-t2"]
    assert [row.id for row in catalogue.filter(domain="brats-t2")] == ["rd-camcan-t2"]
    assert [row.id for row in catalogue.filter("vae", "phantom-t1", Pretrain.CCD)] == ["vae-phantom-t1-ccd"]
    assert len(catalogue.filter(method="rd", domain="phantom-t1")) == 0


@pytest.mark.parametrize("name", ["f-anogan", "f-AnoGAN", "F_ANOGAN", "f_anogan"])
def test_a_method_is_found_by_what_is_printed_of_it_in_any_case(name: str) -> None:
    assert list(catalogue_of(RD, VAE, ANOGAN).filter(method=name)) == [ANOGAN]


def test_a_method_that_a_hub_has_no_model_of_finds_nothing() -> None:
    assert len(catalogue_of(RD).filter(method="PaDiM")) == 0


def test_filtering_by_no_method_is_answered_with_the_closest() -> None:
    with pytest.raises(UsageError, match=r"(?i)no method is called 'vea'.*did you mean vae"):
        Catalogue().filter(method="vea")


def test_filtering_by_no_domain_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="Did you mean camcan-t1"):
        Catalogue().filter(domain="camcam-t1")


def test_listing_needs_neither_torch_nor_pydantic_nor_the_library_of_the_hub() -> None:
    program = (
        "import sys\n"
        "from upd_zoo.hub import open_hub\n"
        "list(open_hub('hf://upd-zoo').catalogue())\n"
        "print([name for name in ('torch', 'pydantic', 'huggingface_hub', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
