"""A photograph in, its map and overlay out: what is looked at, what is refused, and what it costs."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from fake.inputs import write_picture
from upd_harness.scoring.cases import Case, open_case
from upd_harness.scoring.inputs import Input
from upd_zoo.artefact.records import Config, PixelConvention
from upd_zoo.caution import CautionCode
from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.runtime.model import Array
from upd_zoo.vocabulary import Side


def refusal(path: Path, config: Config) -> InputError:
    with pytest.raises(InputError) as caught:
        open_case(Input.of(path), config)
    assert path.name in str(caught.value)
    return caught.value


def codes(case: Case) -> list[CautionCode]:
    return [caution.code for caution in case.cautions]


def written(case: Case, folder: Path, maps: Array) -> dict[str, str]:
    """Write the results of `eye.png`, and return where they are."""
    source = Input.of(Path("eye.png"))
    case.write(folder, source, maps, (0, 1))
    return source.outputs


def test_a_photograph_gets_map_and_overlay_of_its_own_size(tmp_path: Path, fundus: Config) -> None:
    pixels = np.full((90, 200, 3), 40, np.uint8)
    pixels[60:68, 120:128] = 250
    Image.fromarray(pixels).save(tmp_path / "eye.png")
    case = open_case(Input.of(tmp_path / "eye.png"), fundus)
    assert case.images.shape == (1, 3, 128, 128)
    assert case.describe() == {"shape": [90, 200], "channels": 3}
    outputs = written(case, tmp_path / "out", case.images[:, 0])
    anomaly_map = tifffile.imread(tmp_path / "out" / outputs["map"])
    assert (anomaly_map.shape, anomaly_map.dtype) == ((90, 200), np.float32)
    assert np.abs(np.argwhere(anomaly_map > 0.6).mean(axis=0) - (63.5, 123.5)).max() <= 1
    with Image.open(tmp_path / "out" / outputs["overlay"]) as picture:
        assert picture.size == (200, 90)


@pytest.mark.parametrize("side", [128, 192, 256])
def test_a_lesion_in_a_corner_stays_there_whatever_the_models_side(tmp_path: Path, chest: Config, side: Side) -> None:
    wanted = chest.model_copy(update={"input": PixelConvention(channels=1, height=side, width=side)})
    pixels = np.full((500, 400), 40, np.uint8)
    pixels[10:40, 360:390] = 250
    Image.fromarray(pixels).save(tmp_path / "eye.png")
    case = open_case(Input.of(tmp_path / "eye.png"), wanted)
    assert case.images.shape == (1, 1, side, side)
    anomaly_map = tifffile.imread(tmp_path / "out" / written(case, tmp_path / "out", case.images[:, 0])["map"])
    assert anomaly_map.shape == (500, 400)
    assert np.abs(np.argwhere(anomaly_map > 0.6).mean(axis=0) - (24.5, 374.5)).max() <= 1


def test_an_image_is_coarse_beside_the_models_own_side(tmp_path: Path, chest: Config) -> None:
    write_picture(tmp_path / "film.png", 0, colour=False, size=(200, 220))
    fine = chest.model_copy(update={"input": PixelConvention(channels=1, height=256, width=256)})
    assert codes(open_case(Input.of(tmp_path / "film.png"), chest)) == []
    case = open_case(Input.of(tmp_path / "film.png"), fine)
    assert codes(case) == [CautionCode.COARSE]
    assert "looks at 256 x 256 pixels and finds 200 x 220" in case.cautions[0].message


def test_a_grey_image_stored_in_colour_loses_two_channels_with_a_warning(tmp_path: Path, chest: Config) -> None:
    write_picture(tmp_path / "grey.png", 0, colour=False, size=(140, 160))
    Image.open(tmp_path / "grey.png").convert("RGB").save(tmp_path / "stored.png")
    plain, stored = (open_case(Input.of(tmp_path / name), chest) for name in ("grey.png", "stored.png"))
    np.testing.assert_array_equal(plain.images, stored.images)
    assert codes(plain) == []
    assert codes(stored) == [CautionCode.CHANNELS]
    assert "one channel is used" in stored.cautions[0].message


def test_colour_and_grey_are_not_taken_for_one_another(tmp_path: Path, chest: Config, fundus: Config) -> None:
    colour = write_picture(tmp_path / "colour.png", 0)
    grey = write_picture(tmp_path / "grey.png", 0, colour=False)
    assert refusal(colour, chest).code is InputErrorCode.CHANNELS
    assert refusal(grey, fundus).code is InputErrorCode.CHANNELS


def test_a_picture_given_to_a_model_of_slices_is_taken_for_one_with_a_warning(tmp_path: Path, brain: Config) -> None:
    (caution,) = open_case(
        Input.of(write_picture(tmp_path / "slice.png", 0, colour=False, size=(128, 140))), brain
    ).cautions
    assert "axial slice" in caution.message


# What the model looks at


def eye(height: int, width: int, radius: float, centre: tuple[float, float] | None = None) -> npt.NDArray[np.uint8]:
    """Return (height, width, 3), a disc of one colour in a border that is nearly black."""
    row, column = centre or (height / 2 - 0.5, width / 2 - 0.5)
    distance = np.hypot(*np.meshgrid(np.arange(height) - row, np.arange(width) - column, indexing="ij"))
    border = np.random.default_rng(0).integers(0, 10, (height, width, 3))
    return np.where(distance[..., None] < radius, (210, 120, 40), border).astype(np.uint8)


def save(path: Path, pixels: npt.NDArray[np.uint8]) -> Path:
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (eye(240, 320, 118), False),
        (eye(240, 360, 150), False),  # as IDRiD: a tenth is lost, also in training
        (eye(240, 440, 190), True),
        (eye(440, 240, 190), True),
        (eye(240, 480, 100, (120, 100)), True),
        (eye(320, 320, 220), False),
    ],
)
def test_tissue_beyond_the_central_square_is_said(
    tmp_path: Path, fundus: Config, pixels: npt.NDArray[np.uint8], said: bool
) -> None:
    case = open_case(Input.of(save(tmp_path / "eye.png", pixels)), fundus)
    assert codes(case) == [CautionCode.CROPPED] * said


def test_the_share_of_tissue_that_is_not_looked_at_is_told(tmp_path: Path, fundus: Config) -> None:
    pixels = eye(200, 400, 2000)
    (caution,) = open_case(Input.of(save(tmp_path / "eye.png", pixels)), fundus).cautions
    assert "50 % of the tissue" in caution.message


def test_a_radiograph_is_stretched_and_loses_nothing(tmp_path: Path, chest: Config) -> None:
    assert codes(open_case(Input.of(save(tmp_path / "chest.png", eye(200, 400, 190)[..., 0])), chest)) == []


def test_what_was_not_looked_at_has_no_value_and_is_striped(tmp_path: Path, fundus: Config) -> None:
    case = open_case(Input.of(save(tmp_path / "eye.png", eye(100, 200, 1000))), fundus)
    outputs = written(case, tmp_path, np.zeros((1, 128, 128), np.float32))
    anomaly_map = tifffile.imread(tmp_path / outputs["map"])
    assert np.isnan(anomaly_map[:, :50]).all()
    assert np.isnan(anomaly_map[:, 150:]).all()
    assert (anomaly_map[:, 50:150] == 0).all()
    with Image.open(tmp_path / outputs["overlay"]) as picture:
        red = np.asarray(picture)[..., 0].astype(int)
    assert (red[:, 50:150] == 210).all()
    assert set(np.unique(red[:, :50])) == {52, 126}
    assert red[:, :50].mean() == pytest.approx(89, abs=2)


# What is no such image


@pytest.mark.parametrize("size", [(1, 1), (8, 6), (31, 400), (400, 31)])
def test_an_image_of_few_pixels_is_refused(tmp_path: Path, chest: Config, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    path = save(tmp_path / "icon.png", pixels)
    assert refusal(path, chest).code in (InputErrorCode.IMPLAUSIBLE, InputErrorCode.EMPTY)
    if size != (1, 1):
        assert f"{size[0]} x {size[1]}" in refusal(path, chest).problem


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_image_of_one_value_is_refused(tmp_path: Path, chest: Config, value: int) -> None:
    path = save(tmp_path / "blank.png", np.full((64, 64), value, np.uint8))
    assert refusal(path, chest).code is InputErrorCode.EMPTY


def test_single_bits_are_an_image(tmp_path: Path, chest: Config) -> None:
    pixels = eye(64, 80, 20)[..., 0] > 100
    Image.fromarray(pixels).save(tmp_path / "bits.png")
    case = open_case(Input.of(tmp_path / "bits.png"), chest)
    written(case, tmp_path, case.images[:, 0])
    assert set(np.unique(case.images)) >= {0, 1}


# What it costs


def test_a_large_photograph_is_kept_small_and_drawn_small(tmp_path: Path, fundus: Config) -> None:
    pixels = eye(2100, 3000, 1000)
    case = open_case(Input.of(save(tmp_path / "eye.png", pixels)), fundus)
    assert case.nbytes < pixels.nbytes / 3
    outputs = written(case, tmp_path, case.images[:, 2])
    assert tifffile.imread(tmp_path / outputs["map"]).shape == (2100, 3000)
    with Image.open(tmp_path / outputs["overlay"]) as picture:
        assert picture.size == (1500, 1050)


def test_a_preview_is_where_the_photograph_is(tmp_path: Path, fundus: Config) -> None:
    pixels = eye(1700, 1700, 300, (500, 1200))
    case = open_case(Input.of(save(tmp_path / "eye.png", pixels)), fundus)
    outputs = written(case, tmp_path, np.zeros((1, 128, 128), np.float32))
    with Image.open(tmp_path / outputs["overlay"]) as picture:
        assert picture.size == (850, 850)
        shown = np.argwhere(np.asarray(picture)[..., 0] > 100).mean(axis=0)
    np.testing.assert_allclose(shown, (250, 600), atol=0.5)


@pytest.mark.parametrize(("height", "width", "said"), [(127, 300, True), (300, 127, True), (128, 128, False)])
def test_a_picture_that_must_be_enlarged_is_told(
    tmp_path: Path, chest: Config, height: int, width: int, said: bool
) -> None:
    film = write_picture(tmp_path / "chest.png", 0, colour=False, size=(height, width))
    case = open_case(Input.of(film), chest)
    assert codes(case) == [CautionCode.COARSE] * said
    assert all(f"finds {height} x {width}" in caution.message for caution in case.cautions)
