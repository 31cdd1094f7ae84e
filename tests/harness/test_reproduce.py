"""Tables and figures of the study: what is counted and measured, what is drawn, and what is said of what is missing."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fake.ddr import write_ddr
from fake.orders import order_of
from fake.program import Command
from fake.stores import draw_image, write_tiny_store
from upd_harness.evaluation.published import published
from upd_harness.reproduce.fig_1 import BLOCK, measure
from upd_harness.reproduce.items import reproduce
from upd_harness.reproduce.page import write_reproduction
from upd_zoo.errors import MissingExtraError, NotFoundError, UsageError
from upd_zoo.sources.preparation import prepare
from upd_zoo.sources.source import Request
from upd_zoo.stores.places import Part, store_name
from upd_zoo.stores.store import Sample, Store, write_store
from upd_zoo.vocabulary import DOMAINS, TEST_SETS, Protocol


def test_what_is_not_known_is_named_with_what_is() -> None:
    with pytest.raises(UsageError, match="table-i"):
        reproduce("table-ix", order_of(Path()))


# Table I


def test_every_printed_count_is_of_a_store_that_the_study_reads() -> None:
    for name in published("table-i"):
        target, part = name.split("/")
        assert target in (TEST_SETS if part == Part.TEST else DOMAINS)
        assert store_name(target, part, Protocol.STUDY).protocol is Protocol.STUDY


@pytest.mark.parametrize(("protocol", "sick"), [(Protocol.STUDY, 1), (Protocol.SOUND, 2)])
def test_what_is_prepared_is_counted_beside_what_was_printed(tmp_path: Path, protocol: Protocol, sick: int) -> None:
    root = write_ddr(tmp_path / "root", {"train": (0,) * 780}, {"test": (("EX",),) * 2})
    prepare(TEST_SETS["ddr"], tmp_path / "data", Request(root), protocol=protocol)
    result = reproduce("table-i", order_of(tmp_path / "data"))
    (cell,) = (each for each in result.document["cells"] if each["store"] == "ddr/test")
    images = Store(tmp_path / "data" / str(store_name("ddr", "test", protocol))).facts.images
    assert cell["published"] == 1340
    assert cell[protocol.value]["images"] == images
    assert cell[protocol.value]["anomalous"] == sick
    other = next(each for each in Protocol if each is not protocol)
    assert cell[other.value] is None
    assert cell["verdict"] == (f"differs by {images - 1340}" if protocol is Protocol.STUDY else "not prepared")
    (row,) = (line for line in result.text.splitlines() if line.startswith("ddr/test"))
    assert f"{images} ({sick} anomalous)" in row


def test_a_count_that_was_met_is_equal_and_a_slip_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_store(tmp_path / "chexpert" / "validation-study", 1, 5, name="chexpert/validation-study")
    write_tiny_store(tmp_path / "ddr" / "train-study", 3, 6, name="ddr/train-study")
    printed = published("table-i") | {"ddr/train": {"images": 6}}
    monkeypatch.setattr("upd_harness.reproduce.table_i.published", lambda _: printed)
    verdicts = {cell["store"]: cell["verdict"] for cell in reproduce("table-i", order_of(tmp_path)).document["cells"]}
    assert verdicts["ddr/train"] == "equal"
    assert verdicts["chexpert/validation"] == "differs by -250 (225 by its own arithmetic: a slip)"
    assert verdicts["atlas/test"] == "not prepared"


# Figure 1


def square(images: int, brightness: float, side: int, channels: int = 1) -> list[Sample]:
    """Return images of a grey square of 64 x 64, in which a square lesion lies; the first has none."""
    samples = []
    for number in range(images):
        image, mask = np.zeros((channels, 128, 128), np.float32), np.zeros((128, 128), np.uint8)
        image[:, 32:96, 32:96] = 0.5
        if number:
            mask[40 : 40 + side, 40 : 40 + side] = 1
            image[:, mask == 1] = brightness
        samples.append(Sample(image, bool(number), f"s{number}", mask=mask))
    return samples


def store_of(folder: Path, target: str, samples: list[Sample], name: str = "test") -> Store:
    channels = DOMAINS[TEST_SETS[target].domain].modality.channels
    write_store(folder / target / name, f"{target}/{name}", samples, channels=channels, has_masks=True, labels=["made"])
    return Store(folder / target / name)


@pytest.mark.parametrize(("target", "whole"), [("brats-t1", 64 * 64), ("ddr", 128 * 128)])
def test_sizes_are_shares_of_the_brain_or_of_the_image(target: str, whole: int, tmp_path: Path) -> None:
    channels = DOMAINS[TEST_SETS[target].domain].modality.channels
    samples = square(BLOCK + 2, 0.75, 16, channels)
    seen: list[int] = []
    panel = measure(TEST_SETS[target], store_of(tmp_path, target, samples), seen.append)
    np.testing.assert_allclose(panel.sizes, np.full(BLOCK + 1, 256 / whole))
    np.testing.assert_allclose(panel.lesions, 0.75, rtol=1e-6)
    np.testing.assert_allclose(panel.rest, 0.5 if whole == 64 * 64 else 0.5 * (4096 - 256) / (16384 - 256), rtol=1e-5)
    assert panel.brighter == 1
    assert seen == [BLOCK, BLOCK + 2]


def test_colours_are_averaged_and_a_lesion_that_covers_all_has_no_rest(tmp_path: Path) -> None:
    image = np.stack([np.full((128, 128), value, np.float32) for value in (0.1, 0.2, 0.6)])
    covered = Sample(image, True, "s0", mask=np.ones((128, 128), np.uint8))
    panel = measure(TEST_SETS["ddr"], store_of(tmp_path, "ddr", [covered]), lambda _: None)
    assert panel.lesions == pytest.approx([0.3])
    assert np.isnan(panel.rest).all()
    assert panel.brighter is None
    result = reproduce("fig-1", order_of(tmp_path))
    write_reproduction(result, tmp_path / "out")
    assert result.document["panels"][0]["other_brightness"]["quartiles"] == []


@pytest.fixture
def two_sets(tmp_path: Path) -> Path:
    """Stores of two test sets, one of which the study splits by itself, and one without masks."""
    store_of(tmp_path, "atlas", square(5, 0.2, 8), "test-study")
    store_of(tmp_path, "atlas", square(9, 0.9, 8))
    store_of(tmp_path, "phantom-t2", square(4, 0.9, 20))
    write_tiny_store(tmp_path / "idrid" / "test", 3, 4, anomalous=2, name="idrid/test")
    return tmp_path


def test_every_test_set_with_masks_has_a_panel_the_studys_own_first(two_sets: Path) -> None:
    panels = {panel["test_set"]: panel for panel in reproduce("fig-1", order_of(two_sets)).document["panels"]}
    assert panels.keys() == {"atlas", "phantom-t2"}
    assert panels["atlas"]["store"] == "atlas/test-study"
    assert (panels["atlas"]["images"], panels["atlas"]["brighter"], panels["atlas"]["published"]) == (4, 0, "darker")
    assert (panels["phantom-t2"]["brighter"], panels["phantom-t2"]["published"]) == (1, None)
    for panel in panels.values():
        for part in ("size", "lesion_brightness", "other_brightness"):
            assert sum(panel[part]["counts"]) == panel["images"]
        assert panel["labels"] == ["made"]


def test_the_figure_is_drawn_the_same_every_time(two_sets: Path, tmp_path: Path) -> None:
    result = reproduce("fig-1", order_of(two_sets))
    assert result.pictures == reproduce("fig-1", order_of(two_sets)).pictures
    paths = write_reproduction(result, tmp_path / "out")
    assert sorted(path.name for path in paths) == [f"fig-1.{kind}" for kind in ("html", "json", "md", "png", "svg")]
    assert json.loads((tmp_path / "out" / "fig-1.json").read_text()) == result.document
    with Image.open(tmp_path / "out" / "fig-1.png") as picture:
        assert len(picture.convert("RGB").getcolors(1 << 20) or ()) > 3


def test_without_a_test_set_the_figure_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="upd-zoo prepare phantom-t2"):
        reproduce("fig-1", order_of(tmp_path))


def test_healthy_stores_alone_make_no_figure(tmp_path: Path) -> None:
    image = draw_image(1, np.random.default_rng(0))
    store_of(tmp_path, "atlas", [Sample(image, False, "s", mask=np.zeros((128, 128), np.uint8))])
    with pytest.raises(NotFoundError, match="shows a lesion"):
        reproduce("fig-1", order_of(tmp_path))


def test_without_matplotlib_the_extra_is_named(two_sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"upd-zoo\[figures\]"):
        reproduce("fig-1", order_of(two_sets))


# The program


@pytest.mark.parametrize("item", ["table-i", "fig-1"])
def test_the_program_tells_and_writes(item: str, upd_zoo: Command, two_sets: Path) -> None:
    done = upd_zoo("reproduce", item, "--data", two_sets, "-o", two_sets / "out")
    assert done.code == 0, done.err
    assert f"{two_sets / 'out' / item}.json" in done.out
    assert "atlas" in (two_sets / "out" / f"{item}.md").read_text()
    told = json.loads(upd_zoo("reproduce", item, "--data", two_sets, "--json").out)
    assert told == json.loads((two_sets / "out" / f"{item}.json").read_text())
