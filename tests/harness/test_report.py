"""The report says what a run found, to anyone, offline, whatever the files are called."""

import base64
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from fake.memory import traced
from upd_harness.report.html import GalleryItem, not_clearly_better, write_evaluation_report, write_score_report
from upd_harness.report.overlay import colour_map, overlay, thumbnail
from upd_harness.report.ranking import survey
from upd_zoo.errors import UsageError

MODEL = {"id": "rd-phantom-t2", "revision": "seed-1", "sha256": "9f" * 32}
RUN: dict[str, Any] = {
    "schema": "upd-zoo/run/2",
    "command": "score",
    "arguments": {"batch_size": 32, "device": "auto", "precision": None},
    "model": {**MODEL, "title": "RD", "domain": "phantom-t2", "labels": ["synthetic phantoms", "quick profile"]},
    "versions": {"upd-zoo": "0.1.0"},
    "device": "cpu",
    "backend": "onnx",
    "started": "2026-11-23T10:00:00+00:00",
    "seconds": 3725.0,
    "counts": {"ok": 0, "failed": 0, "anomalous": 0},
    "results_sha256": "ab" * 32,
}
RESULT: dict[str, Any] = {
    "schema": "upd-zoo/result/1",
    "model": "rd-phantom-t2",
    "revision": "seed-1",
    "manifest": "cd" * 32,
    "test_set": "phantom-t2",
    "store": "ef" * 32,
    "seed": 1,
    "backend": "onnx",
    "images": 40,
    "anomalous": 20,
    "subjects": 4,
    "metrics": {"ap_image": 0.846, "auroc": 0.871, "ap_pixel": 0.412, "dice": 0.468, "dice_threshold": 0.31},
    "intervals": {"ap_image": (0.801, 0.885), "auroc": (0.83, 0.905), "ap_pixel": (0.35, 0.47), "dice": (0.42, 0.51)},
    "baselines": {
        "random": {"ap_image": 0.5, "auroc": 0.498, "ap_pixel": 0.021, "dice": 0.041, "dice_threshold": 0.1},
        "intensity": {"ap_image": 0.62, "auroc": 0.655, "ap_pixel": 0.433, "dice": 0.3, "dice_threshold": 0.9},
    },
    "labels": ["synthetic phantoms"],
}
HOSTILE = "a<script>alert(1)</script>\"'onerror=x\u202egnp\udcff{{ 7*7 }}.png"


def row(name: str = "scan.png", score: float | None = 0.5, **changes: Any) -> dict[str, Any]:
    return {
        "schema": "upd-zoo/score/3",
        "input": name,
        "status": "ok",
        "error": None,
        "model": MODEL,
        "score": score,
        "percentile": 91.25,
        "threshold": 0.4,
        "is_anomalous": score is not None and score > 0.4,
        "slice_scores": None,
        "outputs": {"map": "maps/scan.png", "overlay": None, "thumbnail": "thumbnails/scan.jpg"},
        "geometry": None,
        "warnings": [],
        "seconds": 0.25,
        **changes,
    }


def failed(name: str, message: str = "the file ends early") -> dict[str, Any]:
    error = {"code": "truncated", "message": message}
    return row(name, None, status="failed", error=error, outputs=None, percentile=None, is_anomalous=None)


class Page(HTMLParser):
    """A page as a browser without JavaScript sees it: elements with their attributes, and the text outside scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.hidden_in: str | None = None
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.hidden_in = tag if tag in ("script", "style") else None

    def handle_endtag(self, tag: str) -> None:
        self.hidden_in = None

    def handle_data(self, data: str) -> None:
        if self.hidden_in is None:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def charts(self) -> list[ElementTree.Element]:
        return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", self.source, re.S)]  # noqa: S314 - our own page


def score_page(output: Path, *rows: dict[str, Any], **changes: Any) -> Page:
    return Page(write_score_report(output, RUN | changes, survey(iter(rows))))


def evaluation_page(output: Path, **changes: Any) -> Page:
    return Page(write_evaluation_report(output, RESULT | changes, RUN, []))


def small_jpeg() -> bytes:
    return thumbnail(np.full((1, 32, 32), 0.4), np.linspace(0, 1, 1024).reshape(32, 32), 0.2, 0.8)


def assert_self_contained(page: Page) -> None:
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#")), (tag, name)
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert not [name for name in attributes if name.startswith("on")]
    assert "url(" not in page.source
    assert "@import" not in page.source


def test_colours_brighten_in_equal_steps_of_lightness() -> None:
    colours = colour_map(np.linspace(0, 1, 256)[None])[0] / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    # CIE L*, another measure of lightness than the one that the map was built in.
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    lightness = np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)
    assert np.diff(lightness[::8]).min() > 0.5
    assert lightness[0] < 5
    assert lightness[-1] > 95
    assert np.abs(lightness - np.linspace(lightness[0], lightness[-1], 256)).max() < 6


def test_colours_keep_their_order_without_red_or_green_cones() -> None:
    colours = colour_map(np.linspace(0, 1, 64)[None])[0] / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    # Long and middle cones, which protanopes and deuteranopes lack; Hunt, Pointer and Estévez through sRGB to XYZ.
    for cone in ((0.3139, 0.6395, 0.0466), (0.1551, 0.7579, 0.0870)):
        assert np.diff(linear @ cone).min() > 0


def test_colours_of_values_outside_the_scale() -> None:
    low, high = colour_map(np.array([[0.0, 1.0]]))[0]
    outside = colour_map(np.array([[np.nan, -np.inf, -3, 3, np.inf]]))[0]
    assert (outside == [low, low, low, high, high]).all()


def test_low_values_leave_the_image_as_it_is() -> None:
    image = np.linspace(0, 1, 64).reshape(1, 8, 8)
    picture = np.asarray(overlay(image, np.full((8, 8), 0.3), 0.3, 0.9))
    assert (picture == np.rint(255 * image[0])[..., None]).all()


def test_more_anomalous_pixels_hide_more_of_the_image() -> None:
    levels = np.tile(np.linspace(0, 1, 11), (2, 1))
    dark, light = (np.asarray(overlay(np.full((1, 2, 11), grey), levels, 0, 1), dtype=int) for grey in (0.1, 0.9))
    left_of_image = (light - dark)[0].mean(axis=1)
    assert (np.diff(left_of_image) < 0).all()
    assert left_of_image[-1] > 10


def test_a_scale_without_width_has_two_ends() -> None:
    picture = np.asarray(overlay(np.zeros((1, 1, 3)), np.array([[0.0, 1.0, 2.0]]), 1.0, 1.0))
    assert (picture[0, :2] == 0).all()
    assert picture[0, 2].min() > 150


def test_colour_images_keep_their_colours() -> None:
    image = np.zeros((3, 4, 4))
    image[0] = 1
    assert (np.asarray(overlay(image, np.zeros((4, 4)), 0.5, 1))[..., :] == (255, 0, 0)).all()


def test_the_truth_is_a_line_around_the_lesion() -> None:
    mask = np.zeros((9, 9))
    mask[4, 4] = 1
    bare, marked = (np.asarray(overlay(np.full((1, 9, 9), 0.5), np.zeros((9, 9)), 0, 1, m)) for m in (None, mask))
    changed = {tuple(place) for place in np.argwhere((bare != marked).any(axis=-1)).tolist()}
    assert changed == {(3, 4), (5, 4), (4, 3), (4, 5)}


@pytest.mark.parametrize(
    ("image", "mask"), [((2, 8, 8), (8, 8)), ((8, 8), (8, 8)), ((1, 8, 9), (8, 8)), ((1, 8, 8), (8, 9))]
)
def test_shapes_that_do_not_belong_together(image: tuple[int, ...], mask: tuple[int, ...]) -> None:
    for draw in (overlay, thumbnail):
        with pytest.raises(UsageError, match="do not belong together"):
            draw(np.zeros(image), np.zeros((8, 8)), 0, 1, np.zeros(mask))


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (np.nan, 1.0)])
def test_a_backward_scale_is_refused(low: float, high: float) -> None:
    with pytest.raises(UsageError, match="runs backwards"):
        overlay(np.zeros((1, 8, 8)), np.zeros((8, 8)), low, high)


def test_a_thumbnail_has_a_panel_more_with_truth() -> None:
    image, zeros = np.zeros((1, 64, 32)), np.zeros((64, 32))
    sizes = [
        Image.open(BytesIO(data)).size for data in (thumbnail(image, zeros, 0, 1), thumbnail(image, zeros, 0, 1, zeros))
    ]
    assert sizes == [(2 * 96 + 4, 192), (3 * 96 + 8, 192)]


def test_labels_and_purpose_are_always_said(tmp_path: Path) -> None:
    for page in (score_page(tmp_path / "score"), evaluation_page(tmp_path / "evaluation")):
        assert "Research only, not a medical device." in page.text
        assert "synthetic phantoms" in page.text
        assert "quick profile" in page.text
        assert "rd-phantom-t2@seed-1" in page.text


def test_hostile_names_and_messages_stay_text(tmp_path: Path) -> None:
    page = score_page(
        tmp_path, row(HOSTILE, warnings=[{"code": "unlike", "message": HOSTILE}]), failed(HOSTILE, HOSTILE)
    )
    assert len(page.all("script")) == 1
    assert page.text.count(r"a<script>alert(1)</script>") == 4
    assert "{{ 7*7 }}" in page.text
    assert "\u202e" not in page.source
    assert r"\u202egnp\udcff" in page.text
    assert_self_contained(page)


def test_reports_need_nothing_from_outside(tmp_path: Path) -> None:
    (tmp_path / "thumbnails").mkdir()
    (tmp_path / "thumbnails/scan.jpg").write_bytes(small_jpeg())
    page = score_page(tmp_path, row(slice_scores=[0.1, 0.2]))
    assert_self_contained(page)
    assert len([image for image in page.all("img") if (image["src"] or "").startswith("data:image/jpeg")]) == 1
    assert all(image["alt"] for image in page.all("img"))
    item = GalleryItem("Highest", small_jpeg(), "score 0.9")
    assert_self_contained(Page(write_evaluation_report(tmp_path, RESULT, RUN, [item], healthy_scores=[0.1])))


def test_the_policy_admits_the_pages_own_script_and_style_alone(tmp_path: Path) -> None:
    page = score_page(tmp_path)
    policy = next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta) or ""
    assert policy.startswith("default-src 'none'")
    for tag in ("script", "style"):
        body = re.search(rf"<{tag}>(.*?)</{tag}>", page.source, re.S)
        assert body is not None
        digest = base64.b64encode(hashlib.sha256(body[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_failures_come_first_then_cases_by_score(tmp_path: Path) -> None:
    rows = [row("low.png", 0.1), failed("broken.png"), row("none.png", None), row("high.png", 0.9), row("mid.png", 0.5)]
    text = score_page(tmp_path, *rows).text
    order = [text.index(name) for name in ("broken.png", "high.png", "mid.png", "low.png", "none.png")]
    assert order == sorted(order)
    assert "truncated" in text
    assert "the file ends early" in text


def test_equal_scores_keep_their_order(tmp_path: Path) -> None:
    text = score_page(tmp_path, *(row(f"{name}.png", 0.5) for name in "cab")).text
    assert text.index("c.png") < text.index("a.png") < text.index("b.png")


def test_counts_are_those_of_the_rows(tmp_path: Path) -> None:
    rows = [row(score=0.9), row(score=0.8), row(score=0.1), failed("f")]
    source = score_page(tmp_path, *rows).source
    tiles = re.findall(r"<dt>([a-z ]+)</dt><dd>([\d,]+)</dd>", source)
    assert tiles == [("scored", "3"), ("above threshold", "2"), ("failed", "1")]


def test_a_run_of_failures(tmp_path: Path) -> None:
    page = score_page(tmp_path, *(failed(f"f{place}") for place in range(502)))
    assert "No input was scored: see the failed inputs above." in page.text
    assert "And 2 more; all of them are in results.csv" in page.text
    assert "f499" in page.text
    assert "f500" not in page.text


def test_an_empty_run(tmp_path: Path) -> None:
    page = score_page(tmp_path)
    assert "No input was scored." in page.text
    assert "Failed inputs" not in page.text


def test_thousands_of_cases_make_a_bounded_page(tmp_path: Path) -> None:
    (tmp_path / "thumbnails").mkdir()
    (tmp_path / "thumbnails/scan.jpg").write_bytes(small_jpeg())

    def many(count: int) -> Iterator[dict[str, Any]]:
        for place in range(count):
            yield row(f"{place:06d}.png", place / count, slice_scores=[0.1] * 8)

    report = write_score_report(tmp_path, RUN, survey(many(5000)))
    page = Page(report)
    assert len(page.all("article")) == 300
    assert len(page.all("tr")) < 2050
    assert "And 2,700 more with lower scores" in page.text
    assert page.text.index("004999.png") < page.text.index("004700.png") < page.text.index("004699.png")
    assert "002699.png" not in page.text
    assert report.stat().st_size < 8_000_000


def test_memory_does_not_grow_with_the_rows() -> None:
    def peak_of(count: int) -> int:
        rows = (row(f"{place}.png", (place * 7919 % 10007) / 10007, slice_scores=[0.1] * 20) for place in range(count))
        with traced() as peak:
            survey(rows)
        return peak.bytes

    peak_of(3000)  # the first call also fills the interpreter's own caches
    assert peak_of(9000) < 1.1 * peak_of(3000)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), None])
def test_numbers_that_are_none_are_a_dash(tmp_path: Path, bad: float | None) -> None:
    broken: dict[str, Any] = {
        "percentile": bad,
        "threshold": bad,
        "seconds": bad,
        "slice_scores": [0.1, bad, 0.3],
        "is_anomalous": None,
    }
    page = score_page(tmp_path, row(score=bad, **broken), row(score=0.2), seconds=bad)
    assert not re.search(r"\b(nan|inf|None)\b", page.text, re.I)
    assert "no threshold" in page.text
    assert not re.search(r"=\"[^\"]*\b(nan|inf)\b", page.source, re.I)


@pytest.mark.parametrize(
    "name", ["thumbnails/gone.jpg", "thumbnails", "../secret.jpg", "/etc/hostname", "a\0b", "text.jpg"]
)
def test_a_picture_that_is_not_there_or_not_ours_is_left_out(tmp_path: Path, name: str) -> None:
    output = tmp_path / "output"
    (output / "thumbnails").mkdir(parents=True)
    (tmp_path / "secret.jpg").write_bytes(small_jpeg())
    (output / "text.jpg").write_bytes(b"not a picture")
    page = score_page(output, row(outputs={"map": None, "overlay": None, "thumbnail": name}), row(outputs=None))
    assert page.text.count("no picture") == 2
    assert "data:image/jpeg" not in page.source


def test_a_volume_shows_its_slices(tmp_path: Path) -> None:
    scores = [None, 0.1, 0.3, None, 0.8, None, 0.2]
    geometry = {"shape": [197, 233, 7], "spacing_mm": [1.0, 1.0, 3.5], "orientation": "RAS"}
    page = score_page(tmp_path, row("v.nii.gz", 0.8, slice_scores=scores, geometry=geometry))
    chart = next(chart for chart in page.charts if "axial" in chart.attrib["aria-label"])
    words = [text.text for text in chart.iter("text")]
    assert {"slice 4", "threshold", "score", "slice number, counted from 0"} <= set(words)
    path = next(chart.iter("path")).attrib["d"]
    assert path.count("M") == 3
    assert path.count("L") == 1
    peak, line = next(chart.iter("circle")), next(e for e in chart.iter("line") if e.attrib["class"] == "threshold")
    assert float(peak.attrib["cy"]) < float(line.attrib["y1"])
    assert re.search(r"Size 197 . 233 . 7 voxels Spacing 1 . 1 . 3\.5 mm", page.text)


@pytest.mark.parametrize("scores", [[0.5], [0.5, 0.5], [0.0], [None, -3.0], [1e-9, 2e9], []])
def test_any_slices_make_valid_charts(tmp_path: Path, scores: list[float | None]) -> None:
    for threshold in (None, 0.5):
        page = score_page(tmp_path, row(slice_scores=scores, threshold=threshold))
        axial = [chart for chart in page.charts if "axial" in chart.attrib["aria-label"]]
        assert len(axial) == bool(scores)
        for element in (element for chart in axial for element in chart.iter()):
            assert all(0 <= float(element.get(name, 0)) <= 560 for name in ("x", "x1", "x2", "cx", "y", "y1", "cy"))


def test_a_volume_without_any_tissue_has_no_chart(tmp_path: Path) -> None:
    page = score_page(tmp_path, row(slice_scores=[None, None]))
    assert not [chart for chart in page.charts if "axial" in chart.attrib["aria-label"]]


def test_the_colour_bar_carries_map_values_where_known(tmp_path: Path) -> None:
    labels = [
        [text.text for text in score_page(tmp_path, row(), **changes).charts[0].iter("text")]
        for changes in ({}, {"colours": {"low": 0.2, "high": 0.6}})
    ]
    assert labels == [["0 %", "25 %", "50 %", "75 %", "100 %"], ["0.2", "0.3", "0.4", "0.5", "0.6"]]


def test_provenance(tmp_path: Path) -> None:
    for page in (score_page(tmp_path / "score"), evaluation_page(tmp_path / "evaluation")):
        for fact in ("9f" * 32, "ab" * 32, "1 h 02 min", "2026-11-23T10:00:00+00:00", "batch_size", "0.1.0", "onnx"):
            assert fact in page.text


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    report = write_score_report(tmp_path, RUN, survey([row("old.png")]))
    with pytest.raises(KeyError):
        write_score_report(tmp_path, RUN | {"colours": {}}, survey([row("new.png")]))
    assert "old.png" in Page(report).text
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_failures_and_warnings_are_counted_by_their_codes(tmp_path: Path) -> None:
    skull, bits = ({"code": code, "message": "doubtful"} for code in ("skull", "bits"))
    rows = [row("a", warnings=[skull, bits]), row("b", warnings=[skull, skull]), failed("c"), failed("d")]
    page = score_page(tmp_path, *rows)
    assert "Failed, by reason truncated 2" in page.text
    assert re.search(r"Warnings, by reason skull 2 bits 1|Warnings, by reason bits 1 skull 2", page.text)
    assert page.text.count("skull doubtful") == 3
    assert "by reason" not in score_page(tmp_path, row()).text


def test_what_was_not_scored_is_told(tmp_path: Path) -> None:
    left_out = {"left_out": {"DICOM": 1200, HOSTILE: 1}, "earlier_results": ["out", HOSTILE]}
    page = score_page(tmp_path, row(), **left_out)
    assert "Not taken for inputs DICOM 1,200" in page.text
    assert "Results of an earlier run, left out out/" in page.text
    assert len(page.all("script")) == 1
    assert "Not taken" not in score_page(tmp_path, row()).text


def test_metrics_stand_beside_their_baselines(tmp_path: Path) -> None:
    page = evaluation_page(tmp_path)
    rows = re.findall(r"<tr><th scope=\"row\">(?:AP|AUROC|best Dice).*?</tr>", page.source, re.S)
    numbers = [re.findall(r"\b0\.\d{3}\b", re.sub(r"<svg.*?</svg>", "", line, flags=re.S)) for line in rows]
    assert numbers[0] == ["0.846", "0.801", "0.885", "0.500", "0.620"]
    assert numbers[3] == ["0.468", "0.420", "0.510", "0.041", "0.300"]
    assert ["not clearly better" in line for line in rows] == [False, False, True, False]
    assert not_clearly_better(RESULT) == ["AP_p"]


def test_every_baseline_has_a_sign_of_its_own(tmp_path: Path) -> None:
    names = ("random", "intensity", "darkness", "gaussian", "position", "exposure")
    page = evaluation_page(tmp_path, baselines=dict.fromkeys(names, RESULT["baselines"]["random"]))
    signs = re.findall(r'<th scope="col" class="number">(.)<br>', page.source)
    assert len(signs) == len({*signs}) == 1 + len(names)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"test_set": "nih-cxr"}, "this test set has no lesion masks"),
        ({"anomalous": 0}, "nothing in these images is anomalous"),
        ({"anomalous": 40}, "no image is healthy"),
    ],
)
def test_a_metric_that_is_not_defined_says_why(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    nothing = dict.fromkeys(RESULT["metrics"])
    page = evaluation_page(tmp_path, metrics=nothing, intervals={}, baselines={"random": nothing}, **changes)
    assert page.text.count("not defined:") == 4
    assert reason in page.text
    assert "None" not in page.text
    assert page.charts


def test_histograms_of_both_groups(tmp_path: Path) -> None:
    report = write_evaluation_report(
        tmp_path,
        RESULT,
        RUN,
        [],
        healthy_scores=np.array([0.1, 0.2, np.nan]),
        anomalous_scores=np.array([0.6, 0.9, 0.7]),
    )
    chart = next(chart for chart in Page(report).charts if "Histogram" in chart.attrib["aria-label"])
    assert chart.attrib["aria-label"] == "Histogram of the scores of 2 healthy and 3 anomalous images"
    assert [path.attrib["class"] for path in chart.iter("path")] == ["healthy", "anomalous"]


@pytest.mark.parametrize("scores", [[], [0.5], [0.5, 0.5, 0.5]])
def test_one_group_alone_is_a_histogram_too(tmp_path: Path, scores: list[float]) -> None:
    page = Page(write_evaluation_report(tmp_path, RESULT, RUN, [], anomalous_scores=scores))
    charts = [chart for chart in page.charts if "Histogram" in chart.attrib["aria-label"]]
    assert [len(list(chart.iter("path"))) for chart in charts] == [1] * bool(scores)


def test_the_gallery_shows_its_strips(tmp_path: Path) -> None:
    strips = [GalleryItem("Highest <b>", small_jpeg(), HOSTILE), GalleryItem("Lowest", b"not a picture", "score 0.1")]
    page = Page(write_evaluation_report(tmp_path, RESULT, RUN, strips))
    pictures = [image["src"] or "" for image in page.all("img")][1:]
    assert pictures == ["data:image/jpeg;base64," + base64.b64encode(strips[0].jpeg).decode()]
    assert "Highest <b>" in page.text
    assert page.text.count("no picture") == 1
    assert_self_contained(page)
