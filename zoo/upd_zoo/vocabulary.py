"""The words of the study: what a model is trained on, what it is scored on, and what it is called.

A *domain* is a set of healthy images that a model learns from; a *test set* is what it is scored on. The study trains
on CamCAN and tests on BraTS, so the two have different names, and a test set names its domain here and nowhere else.
Everything is a frozen record; nothing in this module opens a file.

Source: section V of the study (data sets), and section V-D on image-level scores (maximum for brain MRI and fundus,
mean for chest X-ray).
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Literal

from upd_zoo.errors import UsageError, closest, did_you_mean
from upd_zoo.roster import known_methods
from upd_zoo.suggestions import nearest_models

IMAGE_SIZE: Final = 128
"""Height and width, in pixels, of the image that every detector takes."""


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
    """How an image of any size becomes a square of `IMAGE_SIZE` pixels."""

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


@dataclass(frozen=True, slots=True)
class Domain:
    """A set of healthy images that a model learns from.

    Attributes:
        access: `agreement` (a data-use agreement), `open`, or `synthetic` (made on this machine).
        licence: Under which terms the images come, as their owner names them.
        contrast: `T1` or `T2` of brain scans; empty for other images.
    """

    id: str
    title: str
    modality: Modality
    access: str
    licence: str
    contrast: str = ""

    @property
    def synthetic(self) -> bool:
        """Whether the images are phantoms; results on them are labelled as such."""
        return self.access == "synthetic"


_AGREEMENT, _OPEN, _SYNTHETIC = "agreement", "open", "synthetic"

DOMAINS: Final = {
    domain.id: domain
    for domain in (
        Domain("camcan-t1", "CamCAN, T1", BRAIN_MRI, _AGREEMENT, "CamCAN data-use agreement", "T1"),
        Domain("camcan-t2", "CamCAN, T2", BRAIN_MRI, _AGREEMENT, "CamCAN data-use agreement", "T2"),
        Domain("chexpert", "CheXpert, no finding", CHEST_XRAY, _AGREEMENT, "Stanford research use agreement"),
        Domain("ddr", "DDR, grade 0", FUNDUS, _AGREEMENT, "terms of the DDR authors"),
        Domain("ixi-t1", "IXI, T1", BRAIN_MRI, _OPEN, "CC BY-SA 3.0", "T1"),
        Domain("ixi-t2", "IXI, T2", BRAIN_MRI, _OPEN, "CC BY-SA 3.0", "T2"),
        Domain("nih-cxr", "NIH ChestX-ray14, no finding", CHEST_XRAY, _OPEN, "no restriction; attribution"),
        Domain("idrid", "IDRiD, grade 0", FUNDUS, _OPEN, "CC BY 4.0"),
        Domain("phantom-t1", "Synthetic brains, T1", BRAIN_MRI, _SYNTHETIC, "Apache-2.0", "T1"),
        Domain("phantom-t2", "Synthetic brains, T2", BRAIN_MRI, _SYNTHETIC, "Apache-2.0", "T2"),
        Domain("phantom-cxr", "Synthetic chest radiographs", CHEST_XRAY, _SYNTHETIC, "Apache-2.0"),
        Domain("phantom-fundus", "Synthetic fundus photographs", FUNDUS, _SYNTHETIC, "Apache-2.0"),
    )
}


@dataclass(frozen=True, slots=True)
class TestSet:
    """Images, healthy and diseased, that a model is scored on.

    Attributes:
        domain: Identifier of the domain whose models are scored here.
        has_masks: Whether pixel truth exists; without it only image-level metrics are computed.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    id: str
    title: str
    domain: str
    has_masks: bool


TEST_SETS: Final = {
    test_set.id: test_set
    for test_set in (
        TestSet("brats-t2", "BraTS 2020, T2", "camcan-t2", True),
        TestSet("brats-t1", "BraTS 2020, T1", "camcan-t1", True),
        TestSet("atlas", "ATLAS R2.0", "camcan-t1", True),
        TestSet("chexpert-effusion", "CheXpert, pleural effusion", "chexpert", False),
        TestSet("chexpert-opacity", "CheXpert, lung opacity", "chexpert", False),
        TestSet("chexpert-enlarged", "CheXpert, enlarged cardiomediastinum", "chexpert", False),
        TestSet("ddr", "DDR", "ddr", True),
        TestSet("msd-brats-t1", "Medical Segmentation Decathlon Task01, T1", "ixi-t1", True),
        TestSet("msd-brats-t2", "Medical Segmentation Decathlon Task01, T2", "ixi-t2", True),
        TestSet("open-ms-t1", "Open MS, T1", "ixi-t1", True),
        TestSet("open-ms-t2", "Open MS, T2", "ixi-t2", True),
        TestSet("nih-cxr", "NIH ChestX-ray14", "nih-cxr", False),
        TestSet("idrid", "IDRiD Part B, grades", "idrid", False),
        TestSet("idrid-lesions", "IDRiD Part A, lesion masks", "idrid", True),
        TestSet("phantom-t1", "Synthetic brains with tumours, T1", "phantom-t1", True),
        TestSet("phantom-t2", "Synthetic brains with tumours, T2", "phantom-t2", True),
        TestSet("phantom-stroke", "Synthetic brains with strokes, T1", "phantom-t1", True),
        TestSet("phantom-cxr", "Synthetic chest radiographs with findings", "phantom-cxr", True),
        TestSet("phantom-fundus", "Synthetic fundus photographs with lesions", "phantom-fundus", True),
    )
}


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


_METHOD = re.compile(r"(?P<method>[a-z][a-z0-9]*(?:-[a-z0-9]+)*)(?:\.(?P<backbone>[a-z0-9_]+(?:\.[a-z0-9_]+)?))?")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_GRAMMAR = "<method>[.<backbone>]-<domain or test set>[-ccd][@<revision>], such as rd-brats-t2 or vae-idrid@seed-1"


def _nearest(name: str) -> str:
    """Return what a name that does not follow the grammar may have meant, or the grammar."""
    near = nearest_models(name, known_methods(), {*DOMAINS, *TEST_SETS})
    return did_you_mean(near) if near else _GRAMMAR


@dataclass(frozen=True, slots=True)
class ModelId:
    """The name of a model: `<method>[.<backbone>]-<domain or test set>[-ccd][@<revision>]`.

    Attributes:
        method: Identifier of the method, such as `rd`.
        backbone: timm name of the feature backbone where it is not the method's own; else None.
        target: Domain or test set as the user wrote it.
        ccd: Whether the weights started from CCD pre-training.
        revision: `main`, or a seed such as `seed-1`.
    """

    method: str
    backbone: str | None
    target: str
    ccd: bool = False
    revision: str = "main"

    @classmethod
    def parse(cls, text: str) -> "ModelId":
        """Read a model name.

        Raises:
            UsageError: `text` does not follow the grammar, or names no known domain or test set.
        """
        name, at, revision = text.partition("@")
        if at and not _REVISION.fullmatch(revision):
            raise UsageError(f"'{revision}' is not a revision", _GRAMMAR)
        stem = name.removesuffix("-ccd")
        targets = [target for target in {*DOMAINS, *TEST_SETS} if stem.endswith(f"-{target}")]
        if not targets:
            raise UsageError(f"'{text}' ends in no known domain or test set", _nearest(name), "upd-zoo list")
        target = max(targets, key=len)
        match = _METHOD.fullmatch(stem[: -len(target) - 1])
        if match is None:
            raise UsageError(f"'{text}' does not begin with a method", _nearest(name), "upd-zoo list")
        return cls(match["method"], match["backbone"], target, name.endswith("-ccd"), revision or "main")

    @property
    def domain(self) -> Domain:
        """The domain that the weights were trained on."""
        return get_domain(self.target)

    @property
    def canonical(self) -> "ModelId":
        """The one name under which the weights are stored: the target replaced by its domain."""
        return replace(self, target=self.domain.id)

    @property
    def name(self) -> str:
        """The name without its revision, which is also the name of the repository on the Hub."""
        method = self.method if self.backbone is None else f"{self.method}.{self.backbone}"
        return f"{method}-{self.target}{'-ccd' if self.ccd else ''}"

    def __str__(self) -> str:
        return self.name if self.revision == "main" else f"{self.name}@{self.revision}"
