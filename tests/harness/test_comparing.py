"""Models compared on the same images: what is told apart, what is not, and what cannot be compared."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import studentized_range

from fake.results import made_result
from upd_harness.cli.program import app
from upd_harness.evaluation.compare import compare, write
from upd_harness.evaluation.contestants import Entry, names_of
from upd_harness.evaluation.metrics import image_metrics
from upd_harness.evaluation.paired import holm
from upd_harness.evaluation.ranking import MOST, Ranking, critical_difference, ranking
from upd_harness.evaluation.stored import Kept
from upd_harness.evaluation.subjects import SubjectTally
from upd_harness.evaluation.tally import ScoreTally
from upd_harness.report.ranks import draw_ranks
from upd_zoo.artefact.record import write_record
from upd_zoo.artefact.records import RESULTS, Metrics
from upd_zoo.errors import NotFoundError, UpdZooError, UsageError

IMAGES = 80
DISEASED = np.arange(IMAGES) % 2 == 1


def evaluated(
    folder: Path,
    model: str,
    test_set: str,
    strength: float,
    *,
    seed: int = 0,
    store: str = "1",
    of: str = "s",
    side: int | None = None,
) -> Path:
    """Write an evaluation in which diseased images lie higher by so much; return its folder.

    Args:
        folder: Where it goes.
        model: Whose it is.
        test_set: What it is on.
        strength: By how much.
        seed: Of the model.
        store: A digit of the hash of the images.
        of: What the names of subjects begin with.
        side: Of maps that are measured too; None for image scores alone.
    """
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=IMAGES) + strength * DISEASED
    found = image_metrics(scores, DISEASED)
    metrics = Metrics(ap_image=found.average_precision, auroc=found.auroc, ap_pixel=None, dice=None)
    path = folder / f"{model}-{test_set}-{seed}" / RESULTS / f"{test_set}.json"
    names, pixels = [f"{of}{n}" for n in range(IMAGES)], None
    if side is not None:
        masks = np.zeros((IMAGES, side, side), np.uint8)
        masks[DISEASED, :2] = 1
        maps, tally, pixels = (rng.random(masks.shape) + masks).astype(np.float32), ScoreTally(), SubjectTally()
        tally.update(maps, masks)
        pixels.update(maps, masks, names)
        pixels.close()
        metrics = metrics.model_copy(update={"ap_pixel": tally.result().average_precision})
    kept = Kept(scores, DISEASED, names, pixels)
    known = {"seed": seed, "revision": f"seed-{seed}", "metrics": metrics, "store": store * 64}
    write_record(path, made_result(model, test_set, **known, tallies=kept.write(path.with_suffix(".npz"))))
    return path.parents[1]


def test_a_better_model_is_told_apart_and_an_equal_one_is_not(tmp_path: Path) -> None:
    places = [
        evaluated(tmp_path, "rd-phantom-t2", "phantom-t2", 2.5, seed=0),
        evaluated(tmp_path, "padim-phantom-t2", "phantom-t2", 0.0, seed=0),
        evaluated(tmp_path, "fae-phantom-t2", "phantom-t2", 2.4, seed=7),
    ]
    found = {(d.metric, d.first, d.second): d for d in compare(places, 500).differences}
    better, equal = found["auroc", "rd", "padim"], found["auroc", "rd", "fae"]
    assert better.interval[0] > 0
    assert better.corrected < 0.05
    assert equal.interval[0] < 0 < equal.interval[1]
    assert equal.corrected > 0.05
    assert {metric for metric, _, _ in found} == {"ap_image", "auroc"}


def test_the_images_of_both_are_drawn_together(tmp_path: Path) -> None:
    """The same scores, a little higher where diseased: apart they have wide intervals, together a narrow one."""
    first = evaluated(tmp_path / "one", "rd-phantom-t2", "phantom-t2", 1.1)
    second = evaluated(tmp_path / "two", "fae-phantom-t2", "phantom-t2", 1.0)
    comparison = compare([first, second], 500)
    (paired,) = [d for d in comparison.differences if d.metric == "auroc"]
    alone = np.quantile(comparison.field["phantom-t2"]["rd"].drawn["auroc"], (0.025, 0.975))
    assert np.ptp(paired.interval) < np.ptp(alone) / 4


def test_seeds_of_one_contestant_are_averaged(tmp_path: Path) -> None:
    places = [evaluated(tmp_path, "rd-phantom-t2", "phantom-t2", 1.0, seed=seed) for seed in range(3)]
    places.append(evaluated(tmp_path, "fae-phantom-t2", "phantom-t2", 1.0, seed=5))
    comparison = compare(places, 200)
    standing = comparison.field["phantom-t2"]["rd"]
    aurocs = [result.metrics.auroc for result in standing.results]
    assert len(aurocs) == 3
    assert standing.value("auroc") == pytest.approx(np.mean([each for each in aurocs if each is not None]))
    assert len(comparison.differences) == 2


def entry(model: str, folder: str, place: str = "", **known: Any) -> Entry:
    """Return a result that lies in a folder of a place that was named, or is that place."""
    test_set = known.get("test_set", "phantom-t2")
    return Entry(
        made_result(model, **{"manifest": hashlib.sha256(folder.encode()).hexdigest()} | known),
        Path("/made", place, folder, RESULTS, f"{test_set}.json"),
        Path("/made", place or folder),
    )


RD, FAE = "rd-phantom-t2", "fae-phantom-t2"


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([entry(RD, "a", seed=0), entry(RD, "b", seed=1), entry(FAE, "c")], ["rd", "rd", "fae"]),
        ([entry(RD, "a", seed=0), entry(RD, "b", seed=1)], ["rd, seed 0", "rd, seed 1"]),
        ([entry(RD, "a", revision="main"), entry(RD, "b", seed=1, revision="v2")], ["rd", "rd, revision v2"]),
        (
            [entry("rd-ixi-t2", "a", test_set="open-ms-t2"), entry("rd-camcan-t2", "b", test_set="open-ms-t2")],
            ["rd", "rd, camcan-t2"],
        ),
        ([entry(RD, "one/ev"), entry(RD, "two/ev")], ["rd, in one/ev", "rd, in two/ev"]),
        (
            [entry(RD, f"{RD}{start}@seed-{seed}", "grid", seed=seed) for start in ("", "+random") for seed in (0, 1)],
            ["rd", "rd", "rd, +random", "rd, +random"],
        ),
        ([entry("rd-phantom-t2-ccd", "a"), entry("rd.resnet18-phantom-t2", "b")], ["rd-ccd", "rd.resnet18"]),
        ([entry("their maps", "a"), entry(FAE, "b")], ["their maps", "fae"]),
    ],
)
def test_a_name_tells_as_much_as_is_needed(entries: list[Entry], expected: list[str]) -> None:
    assert names_of(entries) == expected


def test_one_model_under_two_revisions_takes_part_once() -> None:
    same = {"manifest": "a" * 64}
    with pytest.raises(UsageError, match="are of rd-phantom-t2@seed-0"):
        names_of([entry(RD, "a", **same), entry(RD, "b", revision="seed-0", **same)])


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]), ([0.5, 0.9], [1.0, 1.0]), ([], []), ([0.2], [0.2])],
)
def test_holm_is_that_of_a_worked_example(values: Sequence[float], expected: Sequence[float]) -> None:
    assert holm(values) == pytest.approx(expected)


@pytest.mark.parametrize("count", range(2, MOST + 1))
def test_the_critical_difference_is_that_of_the_studentised_range(count: int) -> None:
    expected = studentized_range.ppf(0.95, count, np.inf) / np.sqrt(2) * np.sqrt(count * (count + 1) / (6 * 7))
    assert critical_difference(count, 7) == pytest.approx(expected, abs=2e-3)


def test_only_so_many_contestants_can_be_ranked() -> None:
    with pytest.raises(UsageError, match="21 contestants"):
        critical_difference(MOST + 1, 5)


def test_ranks_are_means_over_test_sets_and_ties_share_theirs(tmp_path: Path) -> None:
    strengths = {"rd": 2.0, "fae": 0.8, "vae": 0.0}
    places = [
        evaluated(tmp_path, f"{name}-{domain}", domain, strength)
        for name, strength in strengths.items()
        for domain in ("phantom-t2", "phantom-t1", "phantom-fundus")
    ]
    found = ranking(compare(places, 100).field, "auroc")
    assert found is not None
    assert dict(found.ranks) == {"rd": 1.0, "fae": 2.0, "vae": 3.0}
    assert found.difference == pytest.approx(critical_difference(3, 3))
    places += [evaluated(tmp_path, f"dae-{domain}", domain, 2.0) for domain in ("phantom-t2", "phantom-t1")]
    again = ranking(compare(places, 100).field, "auroc")
    assert again is not None
    assert "dae" not in again.ranks  # it lacks a test set


def test_cliques_hold_neighbours_that_are_closer_than_the_critical_difference() -> None:
    found = Ranking("auroc", ("a", "b"), {"one": 1.0, "two": 1.8, "three": 2.7, "four": 4.5}, 1.0)
    assert found.cliques == [("one", "two"), ("two", "three")]


@pytest.mark.slow  # importing matplotlib takes seconds
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_picture_of_ranks_is_drawn_and_is_the_same_bytes_again(tmp_path: Path, suffix: str) -> None:
    drawn = []
    for name in ("one", "two"):
        path = tmp_path / f"{name}{suffix}"
        draw_ranks(path, {"rd": 1.2, "fae": 1.9, "vae": 2.9}, 1.1, [("rd", "fae")], "Mean rank")
        drawn.append(path.read_bytes())
    assert drawn[0] == drawn[1]
    assert drawn[0].startswith((b"\x89PNG", b"<?xml"))


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    first = evaluated(tmp_path, "rd-phantom-t2", "phantom-t2", 1.0)
    other = evaluated(tmp_path, "fae-phantom-t2", "phantom-t2", 1.0, store="2", of="t")
    twin = evaluated(tmp_path / "again", "rd-phantom-t2", "phantom-t2", 1.0)
    elsewhere = evaluated(tmp_path, "fae-phantom-t1", "phantom-t1", 1.0)
    (tmp_path / "nothing").mkdir()
    cases: list[tuple[list[Path], type[UpdZooError], str]] = [
        ([first, other], UsageError, "of different images"),
        ([first, twin], UsageError, "Two results on phantom-t2 are of rd-phantom-t2@seed-0"),
        ([first, elsewhere], UsageError, "No two results are of the same test set"),
        ([tmp_path / "nothing"], NotFoundError, "There is no result"),
    ]
    for places, error, message in cases:
        with pytest.raises(error, match=message):
            compare(places, 100)
    old = tmp_path / "old" / RESULTS / "phantom-t2.json"
    write_record(old, made_result("rd-phantom-t2"))
    with pytest.raises(NotFoundError, match=r"kept no scores.*--overwrite"):
        compare([old, first], 100)


@pytest.mark.parametrize(("store", "compared"), [("1", True), ("2", False)])
def test_the_same_subjects_in_another_size_are_compared_by_whole_images_alone(
    tmp_path: Path, store: str, compared: bool
) -> None:
    small = evaluated(tmp_path / "small", "rd-phantom-t2", "phantom-t2", 1.0, side=8)
    large = evaluated(tmp_path / "large", "rd-phantom-t2", "phantom-t2", 2.0, side=12, store=store, seed=1)
    other = evaluated(tmp_path / "other", "fae-phantom-t2", "phantom-t2", 2.0, side=8)
    comparison = compare([small, large, other], 100)
    assert {d.metric for d in comparison.differences} == {"ap_image", "auroc"} | ({"ap_pixel"} if compared else set())
    write(comparison, tmp_path / "out")
    page = (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    assert ("no pixels are compared" in page) is not compared
    assert ("AP_p" in page) is compared


@pytest.mark.slow  # it draws
def test_the_command_writes_a_page_a_document_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, strength in (("rd", 2.0), ("fae", 1.0)):
        for domain in ("phantom-t2", "phantom-t1"):
            evaluated(tmp_path / "grid", f"{name}-{domain}", domain, strength)
    out = tmp_path / "out"
    options = ("-o", str(out), "--resamples", "100", "--json")
    with pytest.raises(SystemExit) as ended:
        app(["compare", str(tmp_path / "grid"), *options], prog_name="upd-zoo")
    assert not ended.value.code
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert {each["contestant"] for each in document["standings"]} == {"rd", "fae"}
    assert "ranks-auroc.png" in (out / "comparison.md").read_text(encoding="utf-8")
    assert (out / "ranks-auroc.png").is_file()
