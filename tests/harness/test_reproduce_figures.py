"""Figures 2 to 4 and Table VI: what is computed, what falls on which image, what is judged, and what is missing."""

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fake.orders import order_of
from fake.stores import draw_samples, write_tiny_store
from fake.trained import GREY
from upd_harness.evaluation.published import published
from upd_harness.grid.plan import ARTEFACT, FINISHED
from upd_harness.reproduce.drawing import LARGEST, within_limit
from upd_harness.reproduce.fig_2 import dice_of, measure
from upd_harness.reproduce.fig_3 import RULE, lot
from upd_harness.reproduce.fig_4 import FRACTIONS, Point, drawn, groups
from upd_harness.reproduce.influence import influence
from upd_harness.reproduce.items import reproduce
from upd_harness.reproduce.order import Order
from upd_harness.reproduce.page import write_reproduction
from upd_harness.reproduce.table_vi import cell
from upd_harness.speed.rates import NETWORK, PATIENCE, WHOLE, rates_of, shortest
from upd_zoo.errors import NotFoundError
from upd_zoo.runtime.model import Array, Model, Watched
from upd_zoo.stores.store import Sample, Store, write_store

# Influence


def made(subjects: int, noise: float = 0.0) -> tuple[list[np.ndarray], list[str]]:
    """Return y = 2 + 3 x₁ - x₂ and both x, ten points of each subject, and whose they are."""
    generator = np.random.default_rng(0)
    first, second, error = generator.normal(size=(3, 10 * subjects)) * [[2.0], [0.5], [noise]]
    y = 2 + 3 * first - second + error
    return [y, first, second], [f"s{number // 10}" for number in range(10 * subjects)]


def test_slopes_are_those_that_the_points_were_made_with() -> None:
    (y, first, second), subjects = made(20, noise=1.0)
    found = influence(y, first, second, subjects)
    assert found is not None
    expected = 3 * first.std(), -second.std()
    for slope, value in zip((found.first, found.second), expected, strict=True):
        assert slope.interval is not None
        assert slope.interval[0] < value < slope.interval[1]
        assert slope.value == pytest.approx(value, abs=0.2)
    inverse = np.linalg.inv(np.cov(np.stack([first, second])))  # slopes as covariances, a formula of their own
    slopes = inverse @ [np.cov(first, y)[0, 1], np.cov(second, y)[0, 1]]
    assert [found.first.value, found.second.value] == pytest.approx(slopes * [first.std(), second.std()])
    assert (found.points, found.subjects) == (200, 20)


def test_points_on_a_plane_are_explained_wholly() -> None:
    (y, first, second), subjects = made(5)
    found = influence(y, first, second, subjects)
    assert found is not None
    assert found.explained == pytest.approx(1)
    assert found.first.interval == pytest.approx((found.first.value, found.first.value))


def test_two_subjects_have_slopes_and_no_interval() -> None:
    (y, first, second), subjects = made(2)
    found = influence(y, first, second, subjects)
    assert found is not None
    assert found.first.interval is None


@pytest.mark.parametrize("factor", [0.0, 2.0])
def test_what_does_not_determine_slopes_has_none(factor: float) -> None:
    (y, first, _), subjects = made(5)
    assert influence(y, first, factor * first, subjects) is None
    assert influence(y[:3], first[:3], first[:3] ** 2, subjects[:3]) is None


# Figure 2


def test_every_lesion_is_placed_by_size_and_contrast_and_has_its_dice(tmp_path: Path) -> None:
    samples = []
    for number, brightness in enumerate((0.0, 0.75, 0.25)):
        image, mask = np.zeros((1, 128, 128), np.float32), np.zeros((128, 128), np.uint8)
        image[:, 32:96, 32:96] = 0.5
        if brightness:
            mask[32:64, 32:96] = 1
            image[:, mask == 1] = brightness
        samples.append(Sample(image, bool(number), f"s{number}", slice=number, mask=mask))
    write_store(tmp_path / "test", "phantom-t2/test", samples, channels=1, has_masks=True)
    seen: list[int] = []

    def bright_half(images: Array) -> tuple[Array, Array]:
        return images, images.max(axis=(1, 2, 3))

    slices = measure(bright_half, Store(tmp_path / "test"), 0.6, seen.append)
    assert slices.dice.tolist() == [1, 0]
    assert slices.sizes == pytest.approx([0.5, 0.5])
    assert slices.contrasts == pytest.approx([0.75 - 0.625, 0.25 - 0.375])
    assert (slices.subjects, slices.numbers, seen) == (["s1", "s2"], [1, 2], [2])
    assert slices.influence() is None


def test_dice_is_twice_the_overlap_over_both() -> None:
    truth, found = np.zeros((2, 1, 4, 4), np.bool_)
    truth[0, 0, :3], found[0, 0, 1:] = True, True
    assert dice_of(found, truth) == pytest.approx([2 * 2 / 6])


# Figure 3


def test_the_lot_falls_on_a_diseased_image_of_a_subject_drawn_first(tmp_path: Path) -> None:
    samples = [
        replace(sample, subject="many" if number < 9 else f"one-{number}", anomalous=number > 2)
        for number, sample in enumerate(draw_samples(1, 16, 0, masks=True))
    ]
    drawn_from: Counter[str] = Counter()
    for turn in range(16):
        folder = tmp_path / str(turn)
        write_store(folder, "phantom-t2/test", samples[turn:] + samples[:turn], channels=1, has_masks=True)
        store = Store(folder)
        row = lot(store)
        assert row == lot(Store(folder))
        assert store.anomalous[row]
        drawn_from[store.subjects[row]] += 1
    assert len(drawn_from) > 3
    assert drawn_from["many"] < 8  # it has 6 of 13 images, and is one subject of 8


# Figure 4


def test_shares_that_are_as_many_subjects_are_one_training() -> None:
    tenth = {0.1: [0, 0.01, 0.05, 0.1], 0.25: [0.25], 0.5: [0.5], 0.75: [0.75], 1: [1]}
    assert groups(FRACTIONS, 10) == tenth
    assert [*groups(FRACTIONS, 1000)] == [*FRACTIONS]
    assert [*groups(FRACTIONS, None)] == [*FRACTIONS]


def points(test_set: str, pixel: float | None) -> Iterator[Point]:
    for number, method in enumerate(("fae", "vae")):
        for fraction in FRACTIONS:
            for seed in (0, 1):
                value = 0.2 + 0.3 * fraction**0.5 + 0.1 * number + 0.05 * seed
                yield Point(test_set, method, method.upper(), fraction, 1, seed, value, pixel and pixel * value)


def test_a_test_set_without_masks_has_an_empty_panel_and_small_pictures_stay_so() -> None:
    pictures = drawn([*points("phantom-cxr", None), *points("phantom-t2", 0.5)], "made")
    assert len(pictures[".png"]) <= LARGEST
    assert drawn([*points("phantom-cxr", None)], "made")[".png"] != pictures[".png"]


def test_a_picture_loses_colours_until_it_fits() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8))
    buffer = BytesIO()
    noise.save(buffer, "PNG")
    fewer = within_limit(buffer.getvalue(), 40_000)
    assert len(fewer) <= 40_000 < len(buffer.getvalue())
    assert within_limit(fewer, 40_000) == fewer


# All of them, of one model


@pytest.fixture
def order(artefact: Path, data: Path, tmp_path: Path) -> Order:
    """An order whose folder of models holds one, and whose stores are of one test set."""
    shutil.copytree(data, tmp_path / "data")
    own = tmp_path / "data" / "models" / f"{GREY}@seed-0"
    shutil.copytree(artefact, own / ARTEFACT)
    (own / FINISHED).write_text("{}")
    return order_of(tmp_path / "data", methods=("vae",), only=("brats-t2",))


@pytest.mark.parametrize("item", ["fig-2", pytest.param("fig-3", marks=pytest.mark.slow), "fig-4"])
def test_a_figure_shows_what_is_there_and_says_of_whom_it_is(item: str, order: Order, tmp_path: Path) -> None:
    result = reproduce(item, order)
    written = {path.suffix: path for path in write_reproduction(result, tmp_path / "out")}
    assert {*written} == {".md", ".json", ".csv", ".png", ".html"}
    for suffix in (".md", ".html", ".json"):
        assert "PHANTOMS, NOT THE STUDY'S DATA" in written[suffix].read_text().replace("&#39;", "'")
    assert "phantom-t2" in written[".json"].read_text()
    assert result.pictures == reproduce(item, order).pictures
    assert (RULE in written[".md"].read_text()) is (item == "fig-3")


@pytest.mark.slow
def test_figures_say_what_they_lack(order: Order) -> None:
    lacking = reproduce("fig-4", order)
    (point,) = lacking.document["points"]
    assert (point["fraction"], point["method"]) == (1.0, "vae")
    assert len(lacking.document["missing"]) == len(FRACTIONS) - 1
    both = replace(order, methods=("vae", "dae"))
    assert [*reproduce("fig-2", both).document["missing"]] == ["dae-phantom-t2@seed-0 on phantom-t2"]
    assert "dae-phantom-t2@seed-0" in reproduce("fig-2", both).markdown


@pytest.mark.parametrize("item", ["fig-2", "fig-3", "fig-4"])
def test_nothing_is_not_drawn(item: str, tmp_path: Path) -> None:
    write_tiny_store(tmp_path / "phantom-t2" / "test", 1, 4, masks=True, anomalous=2, name="phantom-t2/test")
    with pytest.raises(NotFoundError, match="--train"):
        reproduce(item, order_of(tmp_path, only=("brats-t2",)))


# Table VI


def measured(parameters: float, model: str = "rd-chexpert") -> dict[str, object]:
    return {"method": "rd", "model": model, "size": {"parameters": parameters}}


@pytest.mark.parametrize(
    ("parameters", "verdict"),
    [
        (10.4e6, "equal"),
        (7.6e6, "equal with 2.500 besides: a layer"),
        (8.2e6, "differs by +0.7"),
        (30e6, "differs by +22.5"),
    ],
)
def test_parameters_are_judged_with_what_the_study_counts_besides(parameters: float, verdict: str) -> None:
    printed = {"fps": 1.0, "millions": 10, "besides": 2.5, "remark": "a layer"}
    assert cell(measured(parameters), printed)["verdict"] == verdict


def test_another_backbone_is_not_judged() -> None:
    found = cell(measured(1e6, "rd.resnet18-chexpert"), published("table-vi")["rd"])
    assert found["verdict"] == "not judged: another backbone"


def test_the_shortest_time_counts_and_rounds_end_with_the_time() -> None:
    pauses = iter([0.0, 0.05, 0.02, 0.05])
    times = shortest({"a": lambda: time.sleep(next(pauses)), "b": lambda: None}, 3, 60)
    assert times["a"][1] == times["b"][1] == 3
    assert 0.02 <= times["a"][0] < 0.05
    assert shortest({"a": lambda: None}, 9, 0)["a"][1] == 1


def test_many_images_are_not_tried_where_one_takes_too_long(
    model: Model, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quick(images: Array, _control: object) -> tuple[Array, Array]:
        return np.zeros((len(images), 1, *images.shape[2:]), np.float32), np.zeros(len(images), np.float32)

    images = np.zeros((3, 1, 128, 128), np.float32)
    single = scans.parent / "single"
    single.mkdir()
    shutil.copy(next(scans.glob("*.png")), single / "a.png")
    fast = replace(model, network=Watched(quick, ()))
    rates = rates_of(fast, images, single, 2, 0)
    assert {*rates} == {NETWORK, WHOLE}
    assert [rate.batch_size for rate in rates[WHOLE]] == [1, 3]
    assert all(rate.per_second for pair in rates.values() for rate in pair)
    monkeypatch.setattr("upd_harness.speed.rates.PATIENCE", 0.0)
    assert PATIENCE > 0
    assert [rate.per_second is None for rate in rates_of(fast, images, single, 1, 0)[NETWORK]] == [False, True]


@pytest.mark.slow
def test_table_six_measures_a_method_and_finds_its_size_equal(tmp_path: Path) -> None:
    result = reproduce("table-vi", order_of(tmp_path, methods=("vae", "amcons"), backbone=None))
    verdicts = [each["verdict"].split(":")[0] for each in result.document["cells"]]
    assert verdicts == ["equal", "equal with 33.555 besides"]
    assert result.outside == 0
    assert result.document["machine"]["processor"]
    assert all(rate["per_second"] for each in result.document["cells"] for rate in each["rates"][WHOLE])
