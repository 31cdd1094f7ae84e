"""Whether what stands in published.toml can be what a study printed: it is held against itself alone."""

import math

import pytest

from upd_harness.evaluation.published import TABLES, printed_of, published
from upd_harness.reproduce.estimate import rounding_of
from upd_harness.reproduce.material import Material
from upd_harness.reproduce.order import columns, stand_ins
from upd_zoo.vocabulary import TEST_SETS, get_domain

METHODS = 13
NOT_BEST_BUT_BOLD = {("table-ii", "brats-t2", "r-vae"), ("table-ii", "brats-t1", "r-vae")}
IMPOSSIBLE = {("table-ii", "h-tae-s", "brats-t2")}
"""Its Dice is too low for its AP; so it is printed."""


def cells(item: str) -> list[tuple[str, str, list[float]]]:
    return [(method, *each) for method, row in published(item)["printed"].items() for each in row.items()]


@pytest.mark.parametrize("item", TABLES)
def test_every_method_has_every_figure_of_every_test_set(item: str) -> None:
    printed, bold = published(item)["printed"], published(item)["bold"]
    assert len(printed) == METHODS - TABLES[item] + 1
    assert ("h-tae-s" in printed) is not TABLES[item]
    for row in printed.values():
        assert row.keys() == bold.keys() <= {*columns()}
        assert {name: len(each) for name, each in row.items()} == {name: len(each) for name, each in bold.items()}
    for name, metrics in bold.items():
        assert len(metrics) == (4 if TEST_SETS[name].has_masks else 2)


def test_there_are_as_many_figures_as_the_tables_have() -> None:
    counts = {item: sum(len(each[2]) for each in cells(item)) for item in TABLES}
    assert counts == {"table-ii": 14 * 16, "table-iii": 14 * 6, "table-iv": 13 * 16, "table-v": 13 * 6}


@pytest.mark.parametrize("item", TABLES)
def test_what_is_bold_is_the_highest_of_its_column(item: str) -> None:
    printed = published(item)["printed"]
    for column, metrics in published(item)["bold"].items():
        for index, bold in enumerate(metrics):
            values = {method: row[column][index] for method, row in printed.items()}
            best = {method for method, value in values.items() if value == max(values.values())}
            assert best == {method for method in bold if (item, column, method) not in NOT_BEST_BUT_BOLD}


@pytest.mark.parametrize("item", TABLES)
def test_the_random_classifier_is_what_chance_gives(item: str) -> None:
    for ap_image, auroc, *pixels in published(item)["printed"]["random"].values():
        assert auroc == 0.5
        assert 0.25 < ap_image <= 0.5
        if pixels:
            share, dice = pixels
            least, most = (2 * each / (1 + each) for each in (share - rounding_of(share), share + rounding_of(share)))
            assert least - 0.005 <= dice <= most + 0.005
    rows = [published(each)["printed"]["random"] for each in TABLES if each != item]
    for column, row in published(item)["printed"]["random"].items():
        assert all(other.get(column, row) == row for other in rows)


def highest_precision(dice: float) -> float:
    """Return the highest AP that a curve can have whose best Dice is so: precision p at recall r is at most dr/(2r-d).

    Integrated over r, from where that bound is 1.
    """
    certain = dice / (2 - dice)
    rest = dice / 2 * (1 - certain) + dice**2 / 4 * math.log((2 - dice) / (2 * certain - dice))
    return certain + rest


def test_no_average_precision_is_higher_than_its_dice_allows_but_one() -> None:
    found = {
        (item, method, column)
        for item in TABLES
        for method, column, values in cells(item)
        for ap, dice in (values[2:],)[: len(values) // 4]
        if ap - rounding_of(ap) > highest_precision(dice + rounding_of(dice))
    }
    assert found == IMPOSSIBLE


def test_speed_and_size_are_known_of_every_method() -> None:
    assert published("table-vi").keys() == published("table-ii")["printed"].keys() - {"random"}
    for row in published("table-vi").values():
        assert row["fps"] > 0
        assert row["millions"] > 0


@pytest.mark.parametrize("material", Material)
def test_what_stands_for_a_test_set_shows_the_same_kind_of_image(material: Material) -> None:
    for column in columns():
        for each in stand_ins(material, column):
            assert get_domain(each.id).modality is get_domain(column).modality
            assert get_domain(each.id).contrast == get_domain(column).contrast


def test_what_was_printed_stands_by_method_test_set_and_start() -> None:
    plain, after_ccd = (printed_of("padim", "brats-t2", ccd=ccd) for ccd in (False, True))
    assert {*plain} == {"ap_image", "auroc", "ap_pixel", "dice"}
    assert plain != after_ccd
    assert printed_of("padim", "idrid", ccd=False) == {}
    assert printed_of("patchcore", "brats-t2", ccd=False) == {}
