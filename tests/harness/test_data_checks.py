"""Checks of prepared stores: each finds what was planted, and nothing in stores that are as they should be."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake.program import Command
from fake.stores import draw_samples
from upd_harness.checks.stores import as_document, as_text, balance, check, stores_to_check
from upd_zoo.errors import NotFoundError, ToleranceError, UsageError
from upd_zoo.progress import Progress
from upd_zoo.stores.store import Sample, Store, write_store
from upd_zoo.vocabulary import DOMAINS

SUBJECTS = 12


def samples(seed: int, prefix: str, *, anomalous: int = 0) -> list[Sample]:
    """Return two images each of some subjects, lit from above, so that up and down differ."""
    shade = np.linspace(1, 0.5, 128, dtype=np.float32)[:, None]
    drawn = draw_samples(1, 2 * SUBJECTS, seed, anomalous=anomalous)
    return [replace(each, image=each.image * shade, subject=f"{prefix}-{each.subject}") for each in drawn]


def write(folder: Path, name: str, each: Sequence[Sample]) -> Store:
    write_store(folder / name, name, each, channels=1, has_masks=False, provenance={"source": "made"})
    return Store(folder / name)


@pytest.fixture
def parts() -> tuple[list[Sample], list[Sample]]:
    """Images to train on and to test with, as they should be."""
    return samples(1, "a"), samples(2, "b", anomalous=8)


def found(folder: Path, parts: tuple[list[Sample], list[Sample]]) -> dict[str, str]:
    stores = [write(folder, name, each) for name, each in zip(("idrid/train", "idrid/test"), parts, strict=True)]
    return {finding.check: finding.problem for finding in check(stores)}


def test_nothing_is_found_where_nothing_is_wrong(tmp_path: Path, parts: tuple[list[Sample], list[Sample]]) -> None:
    assert found(tmp_path, parts) == {}


def test_a_subject_in_two_parts_is_found(tmp_path: Path, parts: tuple[list[Sample], list[Sample]]) -> None:
    train, test = parts
    assert found(tmp_path, (train, [replace(test[0], subject=train[0].subject), *test[1:]])) == {
        "subjects": f"in both: {train[0].subject}"
    }


def test_the_same_picture_under_another_name_is_found_even_after_noise(
    tmp_path: Path, parts: tuple[list[Sample], list[Sample]]
) -> None:
    train, test = parts
    noise = np.random.default_rng(0).normal(0, 0.004, train[5].image.shape).astype(np.float32)
    copied = replace(test[3], image=np.clip(train[5].image + noise, 0, 1))
    problems = found(tmp_path, (train, [*test[:3], copied, *test[4:]]))
    assert problems == {"duplicates": f"{train[5].source}[{train[5].slice}] = {test[3].source}[{test[3].slice}]"}


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_an_image_that_shows_nothing_is_found(
    tmp_path: Path, parts: tuple[list[Sample], list[Sample]], value: float
) -> None:
    train, test = parts
    flat = replace(train[2], image=np.full_like(train[2].image, value))
    problems = found(
        tmp_path, ([*train[:2], flat, *train[3:]], [*test[:2], replace(test[2], image=flat.image), *test[3:]])
    )
    assert f"{train[2].source}[{train[2].slice}]" in problems["empty"]
    assert "duplicates" not in problems, "what shows nothing is no duplicate"


def test_a_subject_of_another_brightness_is_found(tmp_path: Path, parts: tuple[list[Sample], list[Sample]]) -> None:
    train, test = parts
    dark = [replace(each, image=each.image * np.float32(0.3)) for each in train[6:8]]
    assert found(tmp_path, ([*train[:6], *dark, *train[8:]], test)) == {"brightness": f"stand out: {train[6].subject}"}


def test_a_subject_upside_down_is_found(tmp_path: Path, parts: tuple[list[Sample], list[Sample]]) -> None:
    train, test = parts
    turned = [replace(each, image=each.image[:, ::-1].copy()) for each in train[6:8]]
    problems = found(tmp_path, ([*train[:6], *turned, *train[8:]], test))
    assert problems["orientation"] == f"look upside down: {train[6].subject}"


def test_images_that_look_the_same_upside_down_are_not_accused(
    tmp_path: Path, parts: tuple[list[Sample], list[Sample]]
) -> None:
    train, test = parts
    either = [replace(each, image=np.float32(0.5) * (each.image + each.image[:, ::-1])) for each in train]
    turned = [replace(each, image=each.image[:, ::-1].copy()) for each in either[6:8]]
    assert "orientation" not in found(tmp_path, ([*either[:6], *turned, *either[8:]], test))


def test_a_view_that_tells_the_diseased_is_found(tmp_path: Path, parts: tuple[list[Sample], list[Sample]]) -> None:
    train, test = parts
    sick = [
        replace(each, anomalous=number >= 12, view="AP" if number >= 12 else "PA") for number, each in enumerate(test)
    ]
    assert found(tmp_path, (train, sick)) == {"balance": "diseased by view: AP 100%, PA 0%"}
    store = Store(tmp_path / "idrid/test")
    assert balance(store, "view") == {"AP": (1.0, 12), "PA": (0.0, 12)}


def test_a_figure_of_the_whole_image_that_tells_the_diseased_is_found_and_of_slices_is_none(
    tmp_path: Path, parts: tuple[list[Sample], list[Sample]]
) -> None:
    train, test = parts
    single = [replace(each, subject=f"{number}", slice=0, anomalous=number >= 12) for number, each in enumerate(test)]
    dark = [replace(each, image=each.image * np.float32(0.4 if each.anomalous else 1)) for each in single]
    problem = found(tmp_path / "one", (train, dark))["exposure"]
    assert "mean brightness (AUROC 1.00, lower in disease)" in problem
    assert "foreground" not in problem
    sliced = [replace(each, slice=number) for number, each in enumerate(dark)]
    assert "exposure" not in found(tmp_path / "many", (train, sliced))


def test_progress_counts_every_image(tmp_path: Path, parts: tuple[list[Sample], list[Sample]]) -> None:
    stores = [write(tmp_path, name, each) for name, each in zip(("idrid/train", "idrid/test"), parts, strict=True)]
    seen: list[Progress] = []
    check(stores, seen.append)
    assert (seen[-1].done, seen[-1].total) == (4 * SUBJECTS, 4 * SUBJECTS)
    assert {each.what for each in seen} == {"idrid/train", "idrid/test"}


def test_a_store_of_the_other_protocol_is_pointed_to(tmp_path: Path, parts: tuple[list[Sample], list[Sample]]) -> None:
    write(tmp_path, "chexpert/train-study", parts[0])
    with pytest.raises(NotFoundError, match=r"No store of chexpert for protocol sound .* add --protocol study"):
        stores_to_check(tmp_path, DOMAINS["chexpert"])


def test_the_stores_of_a_domain_are_found_and_told_of(tmp_path: Path, parts: tuple[list[Sample], list[Sample]]) -> None:
    with pytest.raises(NotFoundError, match="upd-zoo prepare idrid"):
        stores_to_check(tmp_path, DOMAINS["idrid"])
    write(tmp_path, "idrid/train", parts[0])
    write(tmp_path, "idrid-lesions/test", parts[1])
    stores = stores_to_check(tmp_path, DOMAINS["idrid"])
    assert [store.facts.name for store in stores] == ["idrid/train", "idrid-lesions/test"]
    assert "nothing was found" in as_text(stores, [])
    document = as_document(stores, [])
    assert document["stores"]["idrid-lesions/test"]["diseased"] == 8


def test_the_command_tells_what_it_found_by_its_exit_code(
    upd_zoo: Command, tmp_path: Path, parts: tuple[list[Sample], list[Sample]]
) -> None:
    train, test = parts
    write(tmp_path, "idrid/train", train)
    write(tmp_path, "idrid/test", test)
    fine = upd_zoo("doctor", "data", "idrid", "--data", tmp_path)
    assert (fine.code, fine.out.splitlines()[-1]) == (0, "nothing was found")
    write(tmp_path, "idrid/test", [replace(test[0], subject=train[0].subject), *test[1:]])
    wrong = upd_zoo("doctor", "data", "idrid", "--data", tmp_path, "--json")
    assert wrong.code == ToleranceError.exit_code
    assert [finding["check"] for finding in wrong.json["findings"]] == ["subjects"]
    assert upd_zoo("doctor", "data", "nowhere").code == UsageError.exit_code
    assert upd_zoo("doctor", "data", "ddr", "--data", tmp_path).code == NotFoundError.exit_code
