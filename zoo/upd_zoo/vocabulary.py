"""The words of the study: what a model is trained on, what it is scored on, and what it is called.

A *domain* is a set of healthy images that a model learns from; a *test set* is what it is scored on. The study trains
on CamCAN and tests on BraTS, so the two have different names, and a test set names its domain here and nowhere else.
Everything is a frozen record; which domains and test sets there are is read from `domains.toml`.

Source: section V of the study (data sets), and section V-D on image-level scores (maximum for brain MRI and fundus,
mean for chest X-ray).
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal, cast, get_args

from upd_zoo.errors import UsageError, closest

Side = Literal[128, 192, 256]
"""Height and width, in pixels, of the images of a model: multiples of 64, to which networks can halve them down."""
STUDY_SIDE: Final = 128
"""That of the study."""


class Foreground(StrEnum):
    """Which pixels of the input can be anomalous."""

    ABOVE_MINIMUM = "above-minimum"
    """Pixels above the image's own minimum: tissue, where the background was set to a constant."""
    EVERYWHERE = "everywhere"


class ScoreRule(StrEnum):
    """How a map becomes one score per image, unless the method brings its own score."""

    MAXIMUM = "maximum"
    MEAN = "mean"


class Framing(StrEnum):
    """How an image of any size becomes the square that a model takes."""

    SQUARE_SLICES = "square-slices"
    """Axial slices, padded with background to a square in millimetres, then resized (brain MRI)."""
    STRETCH = "stretch"
    """Resized to the square whatever its aspect ratio (chest X-ray)."""
    CENTRE_CROP = "centre-crop"
    """Shorter side resized, then the centre kept (fundus photographs)."""


class Scale(StrEnum):
    """Which value of a brain scan becomes 1, its background being 0; values of photographs keep their type's range."""

    ROBUST = "robust"
    """A high quantile of the tissue, which no single voxel moves; what lies above it becomes 1 too."""
    MAXIMUM = "maximum"
    """The largest value, as in the study."""


class Pretrain(StrEnum):
    """Where a network's weights come from before the method is trained."""

    NONE = "none"
    IMAGENET = "imagenet"
    CCD = "ccd"


class Protocol(StrEnum):
    """`study` repeats what the study's code did, quirks included; `sound` is the corrected form."""

    STUDY = "study"
    SOUND = "sound"


SCALES: Final = {Protocol.STUDY: Scale.MAXIMUM, Protocol.SOUND: Scale.ROBUST}
"""How the brain scans of a protocol's stores are scaled."""


def side_of(pixels: int) -> Side:
    """Return the side of an image that models can have.

    Raises:
        UsageError: No model has it.
    """
    if pixels in get_args(Side):
        return cast("Side", pixels)
    sides = ", ".join(map(str, get_args(Side)))
    raise UsageError(f"no model takes images of {pixels} x {pixels} pixels", f"a side of {sides}")


@dataclass(frozen=True, slots=True)
class Modality:
    """A kind of image, and the rules that the study fixes for it."""

    id: str
    title: str
    channels: Literal[1, 3]
    framing: Framing
    foreground: Foreground
    score_rule: ScoreRule


BRAIN_MRI: Final = Modality(
    "brain-mri", "Brain MRI", 1, Framing.SQUARE_SLICES, Foreground.ABOVE_MINIMUM, ScoreRule.MAXIMUM
)
CHEST_XRAY: Final = Modality("chest-xray", "Chest X-ray", 1, Framing.STRETCH, Foreground.EVERYWHERE, ScoreRule.MEAN)
FUNDUS: Final = Modality(
    "fundus", "Retinal photograph", 3, Framing.CENTRE_CROP, Foreground.EVERYWHERE, ScoreRule.MAXIMUM
)
MODALITIES: Final = {modality.id: modality for modality in (BRAIN_MRI, CHEST_XRAY, FUNDUS)}


class Access(StrEnum):
    """How one comes by images."""

    AGREEMENT = "agreement"
    """By a data-use agreement."""
    OPEN = "open"
    SYNTHETIC = "synthetic"
    """They are made on this machine."""
    OWN = "own"
    """They are a user's own: of no published data set, their terms known to the user alone."""


@dataclass(frozen=True, slots=True)
class Domain:
    """A set of healthy images that a model learns from.

    Attributes:
        licence: Under which terms the images come, as their owner names them.
        contrast: `T1` or `T2` of brain scans; empty for other images.
        study_splits: Whether the study's own choice and split of the images is known, and filled beside the sound one.
        attribution: Whom to name where weights that learnt from them are given on; empty where nobody asks for it.
        registered: Whether the images lie in one space as they come, so that a pixel of a slice is one place of the
            body. Prepared brain scans do too, and their stores say so.
    """

    id: str
    title: str
    modality: Modality
    access: Access
    licence: str
    contrast: str = ""
    study_splits: bool = False
    attribution: str = ""
    registered: bool = False

    @property
    def synthetic(self) -> bool:
        """Whether the images are phantoms; results on them are labelled as such."""
        return self.access is Access.SYNTHETIC

    @property
    def own(self) -> bool:
        """Whether the images are a user's own, and the domain is known only where its stores are."""
        return self.access is Access.OWN


@dataclass(frozen=True, slots=True)
class TestSet:
    """Images, healthy and diseased, that a model is scored on.

    Attributes:
        domain: Identifier of the domain whose models are scored here.
        has_masks: Whether pixel truth exists; without it only image-level metrics are computed.
        study_splits: Whether the study's own choice of the images is known, and filled beside the sound one.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    id: str
    title: str
    domain: str
    has_masks: bool
    study_splits: bool = False


_KINDS: Final = ("domains", "test_sets")
_SET: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
"""What a domain or test set may be called, for a model's name ends in it."""


def is_set_name(name: str) -> bool:
    """Return whether a domain or test set may be called so: small letters, digits and single dashes, no -ccd."""
    return _SET.fullmatch(name) is not None and not name.endswith("-ccd")


def read_sets(path: Path) -> tuple[dict[str, Domain], dict[str, TestSet]]:
    """Return the domains and the test sets that a file states, by identifier.

    Args:
        path: TOML with a table `domains.<id>` for each domain and `test_sets.<id>` for each test set.

    Raises:
        UsageError: The file is no TOML, or a table lacks a key, has one that is not known, or has a value of another
            kind; or a test set is of no domain of the file.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path.name} cannot be read: {error}", "TOML") from error
    unknown = [key for key in document if key not in _KINDS or not isinstance(document[key], dict)]
    if unknown:
        raise UsageError(f"'{unknown[0]}' in {path.name} is no table that is known", ", ".join(_KINDS))
    tables = {kind: document.get(kind, {}) for kind in _KINDS}
    domains = {name: _domain(_Table(path, "domains", name, table)) for name, table in tables["domains"].items()}
    test_sets = {
        name: _test_set(_Table(path, "test_sets", name, table), domains) for name, table in tables["test_sets"].items()
    }
    return domains, test_sets


def _domain(table: "_Table") -> Domain:
    found = Domain(
        table.name,
        table.text("title"),
        MODALITIES[table.text("modality", MODALITIES)],
        Access(table.text("access", Access)),
        table.text("licence"),
        table.text("contrast", default=""),
        table.flag("study_splits", default=False),
        table.text("attribution", default=""),
        table.flag("registered", default=False),
    )
    table.check_nothing_is_left()
    return found


def _test_set(table: "_Table", domains: Mapping[str, Domain]) -> TestSet:
    domain = table.text("domain", domains)
    if table.name in domains and table.name != domain:
        raise UsageError(f"{table.place} is of {domain}, and a domain of its own name is there", "a name of its own")
    found = TestSet(
        table.name,
        table.text("title"),
        domain,
        table.flag("has_masks"),
        table.flag("study_splits", default=False),
    )
    table.check_nothing_is_left()
    return found


class _Table:
    """A table of the file, whose values are taken key by key."""

    def __init__(self, path: Path, kind: str, name: str, values: object) -> None:
        self.name, self.place = name, f"{kind}.{name} of {path.name}"
        if not is_set_name(name):
            raise UsageError(
                f"'{name}' is no name for {kind} in {path.name}", "small letters, digits and single dashes, no -ccd"
            )
        if not isinstance(values, dict):
            raise UsageError(f"{self.place} is no table", f"[{kind}.{name}] and its keys below")
        self._left = dict(values)

    def text(self, key: str, among: Iterable[str] = (), default: str | None = None) -> str:
        """Take a text that is one of some, if any are given."""
        value, known = self._left.pop(key, default), list(among)
        if not isinstance(value, str) or (known and value not in known):
            raise UsageError(f"'{key}' in {self.place} is {value!r}", ", ".join(known) or "a text")
        return value

    def flag(self, key: str, default: bool | None = None) -> bool:
        """Take a truth value."""
        value = self._left.pop(key, default)
        if not isinstance(value, bool):
            raise UsageError(f"'{key}' in {self.place} is {value!r}", "true or false")
        return value

    def check_nothing_is_left(self) -> None:
        """Refuse a key that nobody took, which may be a slip of the pen."""
        if self._left:
            raise UsageError(f"{self.place} has the key '{next(iter(self._left))}'", "a key that other tables have")


DOMAINS, TEST_SETS = read_sets(Path(__file__).with_name("domains.toml"))


def get_domain(name: str) -> Domain:
    """Return the domain called `name`, or the one that the test set called `name` belongs to.

    Raises:
        UsageError: Neither a domain nor a test set has this name.
    """
    if name in DOMAINS:
        return DOMAINS[name]
    if name in TEST_SETS:
        return DOMAINS[TEST_SETS[name].domain]
    raise UsageError(f"no domain or test set is called '{name}'", closest(name, {*DOMAINS, *TEST_SETS}))


def get_test_set(name: str) -> TestSet:
    """Return the test set called `name`.

    Raises:
        UsageError: No test set has this name.
    """
    if name in TEST_SETS:
        return TEST_SETS[name]
    raise UsageError(f"no test set is called '{name}'", closest(name, TEST_SETS))


def test_sets_of(domain: str) -> tuple[TestSet, ...]:
    """Return the test sets on which models of `domain` are scored."""
    return tuple(test_set for test_set in TEST_SETS.values() if test_set.domain == domain)


def has_study_splits(target: str) -> bool:
    """Return whether the study's own choice and split of a domain's or a test set's images is known."""
    found = [sets[target].study_splits for sets in (DOMAINS, TEST_SETS) if target in sets]
    return any(found)
