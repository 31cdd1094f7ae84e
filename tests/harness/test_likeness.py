"""Every input against what a model knows: other healthy images pass, odd ones are named, no lesion is refused."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fake.inputs import rows_of
from fake.knowledge import appearance_from, knowing
from upd_harness.scoring.folder import score_folder
from upd_harness.scoring.inputs import Input, Kind
from upd_harness.scoring.likeness import doubts
from upd_zoo.artefact.appearance import levels_of
from upd_zoo.caution import Caution, CautionCode
from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.runtime.model import Model
from upd_zoo.sources.phantoms import PHANTOMS
from upd_zoo.stores.places import Part, StoreName
from upd_zoo.vocabulary import DOMAINS, TEST_SETS, Framing

Array = npt.NDArray[np.float32]
Recipe = Callable[[Array], npt.NDArray[np.floating]]
BRAINS = ("phantom-t1", "phantom-t2")
PHOTOGRAPHS = ("phantom-cxr", "phantom-fundus")
KNOWN = {"brain-mri": 16, "chest-xray": 80, "fundus": 80}
"""Subjects to train on; those that are known are some third or fifth of them."""


@cache
def cases(target: str, part: Part) -> tuple[list[Array], list[bool]]:
    """Return the images of each subject, and whether it is diseased."""
    domain = DOMAINS.get(target) or DOMAINS[TEST_SETS[target].domain]
    inputs = PHANTOMS.draw(StoreName(target, part), 7, KNOWN[domain.modality.id])
    chosen = list(inputs.values())[:16]
    samples = [list(read()) for read in chosen]
    return [np.stack([one.image for one in each]) for each in samples], [any(s.anomalous for s in e) for e in samples]


@cache
def model_of(domain: str) -> Model:
    return knowing(domain, appearance_from(cases(domain, Part.VALIDATION)[0]))


def asked(name: str, images: Array, model: Model, *, is_volume: bool) -> list[Caution]:
    """Return what is said of images that were stored as they are."""
    source = Input(name, (), Kind.VOLUME if is_volume else Kind.PHOTOGRAPH, name, Path())
    return doubts(source, images, model, levels=levels_of(*images.swapaxes(0, 1)))


def judged(domain: str, images: npt.NDArray[np.floating]) -> str:
    """Return what is said of an input: its warning, its refusal, or nothing."""
    model = model_of(domain)
    is_volume = model.config.framing is Framing.SQUARE_SLICES and len(images) > 1
    try:
        cautions = asked("scan", images.astype(np.float32), model, is_volume=is_volume)
    except InputError as error:
        return f"refused: {error}" if error.code is InputErrorCode.IMPLAUSIBLE else str(error.code)
    assert {caution.code for caution in cautions} <= {CautionCode.UNLIKE}
    return " ".join(caution.message for caution in cautions)


def tissue_of(images: Array) -> npt.NDArray[np.bool_]:
    return np.asarray(images > images.min(axis=(1, 2, 3), keepdims=True) + 0.02)


def labels(number: int) -> Recipe:
    """Return what makes a label map of tissue, with labels of even steps of brightness."""
    return lambda images: np.where(tissue_of(images), np.ceil(images.mean(axis=1, keepdims=True) * number) / number, 0)


def noise(images: Array) -> npt.NDArray[np.floating]:
    return np.random.default_rng(0).random(images.shape)


MASK = "refused: scan: it looks like a mask or a label map"
ONE_VALUE = "refused: scan: it has one grey level everywhere"
ODD: dict[str, tuple[Recipe, str]] = {
    "mask": (lambda images: tissue_of(images).astype(float), MASK),
    "labels of 3 tissues": (labels(3), MASK),
    "labels of 16 parts": (labels(16), MASK),
    "black": (np.zeros_like, ONE_VALUE),
    "constant": (lambda images: np.full_like(images, 0.5), ONE_VALUE),
    "constant but for a grey level of noise": (lambda images: 0.5 + noise(images) / 255, "fall into a few"),
    "noise": (noise, "it is noisier"),
    "inverted": (lambda images: 1 - images, "it looks inverted"),
}


@pytest.mark.parametrize("domain", [*BRAINS, *PHOTOGRAPHS])
@pytest.mark.parametrize("odd", ODD)
def test_what_is_no_such_image_is_named(domain: str, odd: str) -> None:
    recipe, expected = ODD[odd]
    for images in cases(domain, Part.VALIDATION)[0][:3]:
        assert expected in judged(domain, recipe(images))


@pytest.mark.parametrize("domain", [*BRAINS, "phantom-cxr"])
@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (lambda images: images[:, :, ::-1], "it looks upside down"),
        (lambda images: np.rot90(images, 1, (2, 3)), "it looks turned by a quarter to the left"),
        (lambda images: np.rot90(images, -1, (2, 3)), "it looks turned by a quarter to the right"),
    ],
)
def test_an_image_on_its_head_or_side_is_told_with_both_likenesses(domain: str, recipe: Recipe, expected: str) -> None:
    for images in cases(domain, Part.VALIDATION)[0][:3]:
        told = judged(domain, recipe(images))
        assert expected in told
        assert "than as it is" in told


def test_swapped_colours_are_told() -> None:
    for images in cases("phantom-fundus", Part.VALIDATION)[0][:3]:
        assert "red and blue were swapped" in judged("phantom-fundus", images[:, ::-1])


@pytest.mark.parametrize("brain", BRAINS)
def test_a_chest_film_is_no_slice_of_a_brain(brain: str) -> None:
    told = [judged(brain, film) for film in cases("phantom-cxr", Part.VALIDATION)[0]]
    refused = [words for words in told if "refused: scan: it has no dark background around a brain" in words]
    assert len(refused) > len(told) / 2
    assert all("it shows more tissue" in words for words in {*told} - {*refused}), "films with wide dark borders"


@pytest.mark.parametrize(("known", "given"), [("phantom-t1", "phantom-cxr"), ("phantom-cxr", "phantom-t1")])
def test_another_organ_is_unlike(known: str, given: str) -> None:
    for images in cases(given, Part.VALIDATION)[0][:3]:
        assert judged(known, images[len(images) // 2 :][:1])


@pytest.mark.parametrize("domain", ["phantom-t2"])
def test_a_slice_alone_is_judged_by_what_slices_look_like(domain: str) -> None:
    volume = cases(domain, Part.VALIDATION)[0][0]
    assert [judged(domain, volume[[row]]) for row in range(10, len(volume) - 10, 5)] == [""] * len(
        range(10, len(volume) - 10, 5)
    )
    assert MASK in judged(domain, tissue_of(volume[[40]]).astype(float))
    assert "it may be inverted" in judged(domain, 1 - volume[[40]])


@pytest.mark.parametrize(
    "target",
    [
        BRAINS[0],
        *(pytest.param(each, marks=pytest.mark.slow) for each in (*BRAINS[1:], "phantom-stroke")),
        *PHOTOGRAPHS,
    ],
)
def test_other_healthy_subjects_pass_and_no_lesion_is_refused(target: str) -> None:
    domain = TEST_SETS[target].domain
    told = [(judged(domain, images), sick) for images, sick in zip(*cases(target, Part.TEST), strict=True)]
    assert [words for words, sick in told if words and not sick] == []
    assert not [words for words, _ in told if words.startswith("refused")]


def test_the_warning_gives_its_figures_and_those_of_healthy_images() -> None:
    model = model_of("phantom-cxr")
    dark = cases("phantom-cxr", Part.VALIDATION)[0][0] / np.float32(16)
    (caution,) = asked("film.png", dark, model, is_volume=False)
    healthy = model.calibration.appearance.images.mean
    assert f"it is darker ({dark.mean():.2f}, theirs {healthy.values[0]:.2f} to {healthy.values[-1]:.2f})" in (
        caution.message
    )
    assert caution.message.startswith("It is unlike the healthy images that vae-phantom-cxr knows: ")


def test_a_run_warns_of_what_is_unlike_and_fails_what_can_be_no_image(tmp_path: Path) -> None:
    film = cases("phantom-cxr", Part.VALIDATION)[0][0][0, 0]
    given = {"film": film, "inverted": 1 - film, "mask": (film > film.mean()).astype(float), "on-its-head": film[::-1]}
    (tmp_path / "films").mkdir()
    for name, image in given.items():
        Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(tmp_path / "films" / f"{name}.png")
    score_folder(model_of("phantom-cxr"), tmp_path / "films", tmp_path / "out")
    told = {
        row["input"]: [warning["code"] for warning in row["warnings"]] or (row["error"] or {}).get("code")
        for row in rows_of(tmp_path / "out")
    }
    expected = {"film.png": None, "inverted.png": ["unlike"], "mask.png": "implausible", "on-its-head.png": ["unlike"]}
    assert told == expected


@pytest.mark.parametrize("side", [256, 2000], ids=["little reduced", "much reduced"])
@pytest.mark.parametrize("number", [1, 3, 16], ids=["mask", "labels of 3 parts", "labels of 16 parts"])
def test_a_mask_is_refused_though_reducing_it_softens_its_edges(number: int, side: int, tmp_path: Path) -> None:
    film = Image.fromarray(cases("phantom-cxr", Part.VALIDATION)[0][0][0, 0]).resize((side, side))
    labels = np.rint(np.asarray(film) * number) * (255 // number)
    Image.fromarray(labels.clip(0, 255).astype(np.uint8)).save(tmp_path / "film_mask.png")
    score_folder(model_of("phantom-cxr"), tmp_path, tmp_path / "out")
    (row,) = rows_of(tmp_path / "out")
    assert row["status"] == "failed"
    assert "film_mask.png: it looks like a mask or a label map" in row["error"]["message"]


@pytest.mark.parametrize(("step", "letter"), [(1, 255), (4, 65535)])
def test_few_bits_of_a_range_are_not_called_a_mask(step: int, letter: int, tmp_path: Path) -> None:
    film = np.rint(cases("phantom-cxr", Part.VALIDATION)[0][0][0, 0] * 255).astype(np.uint16) * step
    film[:6, :10] = letter
    Image.fromarray(film).save(tmp_path / "film.png")
    score_folder(model_of("phantom-cxr"), tmp_path, tmp_path / "out")
    (row,) = rows_of(tmp_path / "out")
    assert row["error"]["code"] == InputErrorCode.IMPLAUSIBLE
    assert "fall into a few of the model's grey levels" in row["error"]["message"]
    assert "spread over all of its range" in row["error"]["message"]


@pytest.mark.parametrize("figure", ["mean", "spread"])
def test_a_dark_image_is_told_however_much_healthy_ones_differ(figure: str) -> None:
    films = cases("phantom-cxr", Part.VALIDATION)[0]
    unlike = [film * np.float32(0.5 + index % 8 / 14) for index, film in enumerate(films)]
    known = knowing("phantom-cxr", appearance_from(unlike))
    words = {"mean": "it is darker", "spread": "it has less contrast"}[figure]
    assert [asked("film.png", film, known, is_volume=False) for film in unlike] == [[]] * len(unlike)
    (caution,) = asked("film.png", films[0] / np.float32(16), known, is_volume=False)
    assert words in caution.message


def test_an_overexposed_image_is_told_however_much_healthy_ones_differ() -> None:
    films = cases("phantom-cxr", Part.VALIDATION)[0]
    unlike = [film * np.float32(0.5 + index % 8 / 14) for index, film in enumerate(films)]
    known = knowing("phantom-cxr", appearance_from(unlike))
    (caution,) = asked("film.png", np.minimum(films[0] * np.float32(8), 1), known, is_volume=False)
    assert "it is brighter" in caution.message


def test_of_few_subjects_no_range_is_known() -> None:
    images = cases("phantom-cxr", Part.VALIDATION)[0]
    few = knowing("phantom-cxr", appearance_from(images[:3]))
    assert asked("film.png", images[9][:, :, ::-1], few, is_volume=False) == []
    with pytest.raises(InputError, match="one grey level"):
        asked("film.png", np.zeros_like(images[0]), few, is_volume=False)


def test_a_volume_without_slices_is_not_judged() -> None:
    nothing = np.empty((0, 1, 128, 128), np.float32)
    assert doubts(Input.of(Path("scan.nii")), nothing, model_of("phantom-t1"), levels=2) == []
