"""The artefact: a folder that holds one model, and the contract between who makes it and who uses it.

    README.md                  model card
    config.json                Config: what the model is and how it was made; data only
    model.safetensors          weights and every buffer
    onnx/model.onnx            one file; image -> anomaly_map, score
    torchscript/model.ts       the same graph for libtorch
    calibration.json           what healthy images score and look like: `upd_zoo.artefact.calibration`
    manifest.json              Manifest: size and SHA-256 of every other file, versions, parity of the formats
    provenance.json            what trained it, and on whom: `upd_zoo.artefact.provenance`
    results/<test set>.json    Result: what it scores where
    model.sig                  who vouches for all of this, where somebody does: `upd_zoo.artefact.statement`

The JSON Schemas of these records are published beside this module, in `schemas/`.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from upd_zoo.artefact.findings import Stratum, SubjectLevel
from upd_zoo.artefact.record import Fraction, Record, SafePath, Setting, Sha256
from upd_zoo.artefact.renamed import with_todays_names
from upd_zoo.errors import UsageError
from upd_zoo.vocabulary import (
    MODALITIES,
    STUDY_SIDE,
    Access,
    Domain,
    Foreground,
    Framing,
    Pretrain,
    Protocol,
    Scale,
    ScoreRule,
    Side,
    get_domain,
)

CARD: Final = "README.md"
DATA_TERMS: Final = "DATA_LICENSE.md"
LEGAL: Final = ("LICENSE", DATA_TERMS, "CITATION.cff")
CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
ONNX: Final = "onnx/model.onnx"
RDF: Final = "rdf.yaml"
TORCHSCRIPT: Final = "torchscript/model.ts"
CALIBRATION: Final = "calibration.json"
MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "model.sig"
RESULTS: Final = "results"

_MOST_FILES: Final = 1000
EXPORT_AGAIN: Final = "train and export the model again with this version, or pull a revision that was made with it"


def _distinct(files: dict[str, "FileRecord"]) -> dict[str, "FileRecord"]:
    """Refuse a manifest that lists itself, its signature, or one file as the folder of another."""
    folders = {str(folder) for name in files for folder in PurePosixPath(name).parents}
    if clash := ({MANIFEST, SIGNATURE} | folders) & files.keys():
        raise ValueError(f"'{min(clash)}' cannot be a file of its own")
    return files


class PixelConvention(Record):
    """What every format of the model takes: float32 of shape (B, channels, height, width) within [minimum, maximum]."""

    channels: Literal[1, 3]
    height: Side = STUDY_SIDE
    width: Side = STUDY_SIDE
    minimum: Literal[0] = 0
    maximum: Literal[1] = 1

    @property
    def side(self) -> Side:
        """Height and width of the images in pixels."""
        return self.height

    @model_validator(mode="after")
    def _is_square(self) -> Self:
        if self.height != self.width:
            raise ValueError(f"an image of {self.height} x {self.width} pixels is no square")
        return self


class WeightsOrigin(Record):
    """Where a backbone's weights came from before training.

    Attributes:
        backbone: Name of the network: timm's, or that of the method whose own it is.
        source: `random` (drawn from the run's seed), `file` (a local file), `timm` (downloaded through timm), `ccd`
            (pre-trained on the model's own domain) or `packaged` (those that upd-zoo brings).
        name: Name of the file, of the timm tag or of the pre-trained backbone; empty for random weights. Never a full
            path.
        sha256: Hash of the weights as loaded: names, shapes and bytes of every tensor.
        unfolded: Whether batch normalisations that were folded into convolutions then got statistics of training images
            back; see `upd_zoo.layers.folding`.
        mean: What the network takes off red, green and blue in [0, 1]; None where it does not normalise.
        std: What it divides them by then.
        pixels: Who says so: the file, or timm's tag; empty where the weights were drawn.
    """

    backbone: str
    source: Literal["random", "file", "timm", "ccd", "packaged"]
    name: str
    sha256: Sha256
    unfolded: bool = False
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    pixels: str = ""


class Phase(Record):
    """One optimisation.

    Attributes:
        steps: Optimiser steps.
        optimiser: Name of a torch optimiser under `name`, and its arguments.
        schedule: How the learning rate moves, under `name`, and its arguments; empty where it stays.
        clip: Norm to which longer gradients are shortened before a step; 0 where they stay as they are.
    """

    steps: Annotated[int, Field(ge=1)]
    optimiser: dict[str, Setting]
    schedule: dict[str, Setting] = Field(default={})
    clip: Annotated[float, Field(ge=0)] = 0.0


class Space(Record):
    """The space that brain scans are brought into before they are sliced, and how.

    Attributes:
        template: File name of the brain that they are aligned with.
        template_sha256: Hash of that file.
        extractor: What finds brains in whole heads: `upd-zoo`, or the name of another program.
        preparation: Version of the preparation.
    """

    template: str
    template_sha256: Sha256
    extractor: str
    preparation: int

    @classmethod
    def of(cls, provenance: Mapping[str, Setting]) -> Self | None:
        """Return what the provenance of a store says of it; None where its images were framed as they were."""
        names = cls.model_fields.keys()
        return cls.model_validate({name: provenance[name] for name in names}) if names <= provenance.keys() else None


class Training(Record):
    """How the model was trained.

    Attributes:
        phases: What was minimised, by name and in order; empty where the method learns without gradients.
        images: Number of training images.
        subjects: Number of different subjects among them.
        store: SHA-256 of the prepared store's images.
        fraction: Share of that store's subjects that was trained on; 0 is a single subject.
        precision: Numbers in which products and convolutions were computed.
    """

    profile: str
    seed: int
    phases: dict[str, Phase]
    batch_size: int
    images: int
    subjects: int
    store: Sha256
    device: str
    fraction: Fraction = 1.0
    precision: str = "float32"

    @property
    def steps(self) -> int:
        """Optimiser steps over all phases."""
        return sum(phase.steps for phase in self.phases.values())


class Backbone(Record):
    """What a pre-trained network is; with `model.safetensors` it is all that a model can start from.

    Attributes:
        id: `ccd.<network>-<domain>`.
        encoder: Name of the network: timm's, or that of the method whose own it is.
        settings: Arguments of the pre-training's class.
        weights_origin: What the pre-training itself started from.
        side: Height and width, in pixels, of the images that it saw.
        labels: What a reader of any number of a model that starts here must be told.
    """

    remedy: ClassVar[str] = "pre-train it again with upd-zoo pretrain"
    schema_: Literal["upd-zoo/backbone/1"] = Field(default="upd-zoo/backbone/1", alias="schema")
    id: str
    encoder: str
    domain: str
    protocol: Protocol
    settings: dict[str, Setting]
    weights_origin: WeightsOrigin
    training: Training
    labels: list[str]
    side: Side = STUDY_SIDE


class OwnImages(Record):
    """The facts of a domain that only its owner knows by name; see `upd_zoo.vocabulary.Domain`."""

    title: str
    modality: str
    contrast: str
    licence: str

    @classmethod
    def of(cls, domain: Domain) -> Self | None:
        """Return the facts of a domain; None where its name says them everywhere."""
        if not domain.own:
            return None
        facts = {"title": domain.title, "contrast": domain.contrast, "licence": domain.licence}
        return cls(modality=domain.modality.id, **facts)


class Config(Record):
    """What a model is; with `model.safetensors` it is the whole model.

    Attributes:
        id: Canonical name, without revision.
        settings: Arguments of the method's class.
        weights_origin: What the training started from; None where all weights were drawn.
        pretraining: How these weights were made, where it was by CCD.
        space: What brain scans were brought into; None where images were framed as they were.
        scale: Which value of a brain scan becomes 1; None where images are photographs.
        smoothing: Standard deviation, in pixels of the model's image, of the Gaussian that smooths maps; 0 for none.
        erosion: Pixels of the model's image by which tissue is eroded before it is the foreground.
        own: What its domain is, where that is of a user's own images; None where the domain's name says it.
        labels: What a reader of any number of this model must be told, such as "synthetic phantoms".
    """

    remedy: ClassVar[str] = EXPORT_AGAIN
    schema_: Literal["upd-zoo/config/2"] = Field(default="upd-zoo/config/2", alias="schema")
    id: str
    method: str
    title: str
    domain: str
    pretrain: Pretrain
    protocol: Protocol
    settings: dict[str, Setting]
    input: PixelConvention
    framing: Framing
    centred: bool
    foreground: Foreground
    score_rule: ScoreRule
    weights_origin: WeightsOrigin | None
    pretraining: Backbone | None = None
    space: Space | None = None
    scale: Scale | None = None
    smoothing: Annotated[float, Field(ge=0)] = 0.0
    erosion: Annotated[int, Field(ge=0)] = 0
    own: OwnImages | None = None
    training: Training
    labels: list[str]

    @property
    def images(self) -> Domain:
        """What it was trained on.

        Raises:
            UsageError: The domain is neither listed nor described here.
        """
        if self.own is None:
            return get_domain(self.domain)
        modality = MODALITIES[self.own.modality]
        return Domain(self.domain, self.own.title, modality, Access.OWN, self.own.licence, self.own.contrast)

    @model_validator(mode="before")
    @classmethod
    def _by_todays_names(cls, document: Any) -> Any:
        if isinstance(document, dict) and isinstance(document.get("settings"), dict):
            return document | {"settings": with_todays_names(document.get("method"), document["settings"])}
        return document

    @model_validator(mode="after")
    def _tissue_to_erode(self) -> Self:
        if self.erosion and self.foreground is Foreground.EVERYWHERE:
            raise ValueError("where every pixel can be anomalous, there is no foreground to erode")
        return self

    @model_validator(mode="after")
    def _scaled_if_of_slices(self) -> Self:
        if (self.scale is None) is (self.framing is Framing.SQUARE_SLICES):
            raise ValueError("models of brain scans, and no others, name a scale")
        return self

    def check_space(self, template: str, sha256: str) -> None:
        """Refuse brains in another space than those that the model was trained on.

        Args:
            template: File name of the template that they are aligned with.
            sha256: Hash of that file.

        Raises:
            UsageError: It is another template.
        """
        if self.space is not None and self.space.template_sha256 != sha256:
            raise UsageError(
                f"{self.id} knows brains in the space of {self.space.template}, not of {template}",
                f"the file with SHA-256 {self.space.template_sha256[:12]}…",
                f"add --template path/to/{self.space.template} where brains are prepared",
            )

    def check_side(self, name: str, side: Side) -> None:
        """Refuse a store of images of another size than the model takes.

        Args:
            name: The store, such as `idrid/test`.
            side: Height and width of its images in pixels.

        Raises:
            UsageError: It is another size.
        """
        if self.input.side != side:
            raise UsageError(
                f"{self.id} takes images of {self.input.side} pixels, those of {name} have {side}",
                f"a store of images of {self.input.side} pixels",
                f"upd-zoo prepare {name.partition('/')[0]} --side {self.input.side}",
            )

    def check_scale(self, name: str, scale: Scale | None) -> None:
        """Refuse a store whose scans are scaled otherwise than those that the model was trained on.

        Args:
            name: The store.
            scale: How its scans are scaled; None where it does not say.

        Raises:
            UsageError: It is another scale.
        """
        if self.scale is not scale:
            raise UsageError(
                f"{self.id} knows images scaled by '{self.scale}', those of {name} by '{scale}'",
                "both by the same rule",
                f"prepare the data set again with --protocol {self.protocol}",
            )


class FileRecord(Record):
    """Size and hash of one file."""

    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


class Parity(Record):
    """How far one format is from the eager model, on images of its own domain.

    Attributes:
        format: `onnx`, `torchscript` or `safetensors`.
        batch: Number of images per call.
        map_difference: Largest absolute difference of the maps.
        score_difference: Largest absolute difference of the scores.
        map_range: Largest minus smallest value of the eager maps, for scale.
        score_range: Likewise of the eager scores.
        rank_correlation: Spearman's correlation of all map values of both, smallest over the images.
        tolerance: Largest difference allowed, relative to the range.
        least_rank_correlation: Allowed instead, where rounding grows on the way to the map; None where it does not.
    """

    format: str
    batch: int
    map_difference: float
    score_difference: float
    map_range: float
    score_range: float
    rank_correlation: float
    tolerance: float
    least_rank_correlation: float | None = None

    @property
    def passed(self) -> bool:
        """Whether both differences lie within the tolerance, or pixels rank alike where that is enough."""
        if self.least_rank_correlation is not None and self.rank_correlation >= self.least_rank_correlation:
            return True
        by_map = self.map_difference <= self.tolerance * self.map_range
        return by_map and self.score_difference <= self.tolerance * max(self.map_range, self.score_range)


class Manifest(Record):
    """Size and hash of every file of the artefact but itself and its signature, and how it came to be.

    Attributes:
        created: When the model was exported, in UTC, such as "2026-01-31T12:00:00Z".
        changed: When results were last put into the artefact; None where it is as it was exported.
        signed_by: SHA-256 of the public key, as a PEM file, by which `model.sig` is checked; None where it is not
            signed.
        source_commit: Of the code that exported it; None where that is not known.
        versions: Of what exported it.
        parity: How far its formats are from the eager model.
    """

    remedy: ClassVar[str] = EXPORT_AGAIN
    schema_: Literal["upd-zoo/manifest/1"] = Field(default="upd-zoo/manifest/1", alias="schema")
    id: str
    created: str
    changed: str | None = None
    signed_by: Sha256 | None = None
    source_commit: str | None
    versions: dict[str, str]
    parity: list[Parity]
    files: Annotated[dict[SafePath, FileRecord], Field(max_length=_MOST_FILES), AfterValidator(_distinct)]

    @property
    def as_of(self) -> str:
        """When it became what it is."""
        return self.changed or self.created


class Metrics(Record):
    """The study's four metrics; None where one is not defined.

    Attributes:
        ap_image: Average precision of image scores, AP_i.
        auroc: Area under the ROC curve of image scores.
        ap_pixel: Average precision of map values, AP_p.
        dice: Best Dice over all thresholds, ⌈Dice⌉.
        dice_threshold: Map value at which it is reached: a pixel is positive at or above it.
        study_dice: The study's ⌈Dice⌉: the best of 100 thresholds evenly spaced from the highest to the lowest value.
        aupro: Mean share of each lesion that is found, over false-positive rates up to 0.3; of the model alone.
    """

    ap_image: Fraction | None
    auroc: Fraction | None
    ap_pixel: Fraction | None
    dice: Fraction | None
    dice_threshold: float | None = None
    study_dice: Fraction | None = None
    aupro: Fraction | None = None


class Result(Record):
    """What a model, or a trivial baseline, scores on one test set.

    Attributes:
        intervals: The least and the greatest of 95 % of the draws of other subjects, by metric.
        healthy: Hash of the healthy images that baselines learnt from; None where they learnt from none.
        tallies: Hash of the file beside it, of the same name and ending in .npz, that keeps scores of images and
            digests of the pixels of subjects; None where none was kept.
        subject_level: How whole subjects are judged; None in results of older versions.
        strata: How well lesions of which size and contrast are found.
        probes: Spearman's correlation of the scores of healthy images with their slice, foreground and brightness.
        left_out: Baselines that could not be measured, and why.
        printed: What the study printed of this method on this test set, by metric; empty where it printed nothing.
    """

    remedy: ClassVar[str] = "evaluate the model again with upd-zoo evaluate --overwrite"
    schema_: Literal["upd-zoo/result/1"] = Field(default="upd-zoo/result/1", alias="schema")
    model: str
    revision: str
    manifest: Sha256
    test_set: str
    store: Sha256
    healthy: Sha256 | None = None
    seed: int
    backend: str
    precision: str = "float32"
    images: int
    anomalous: int
    subjects: int
    metrics: Metrics
    intervals: dict[str, tuple[float, float]]
    baselines: dict[str, Metrics]
    labels: list[str]
    tallies: Sha256 | None = None
    subject_level: SubjectLevel | None = None
    strata: list[Stratum] = Field(default=[])
    probes: dict[str, float] = Field(default={})
    left_out: dict[str, str] = Field(default={})
    printed: dict[str, Fraction] = Field(default={})

    def rival(self, metric: str) -> float | None:
        """Return the highest value that a trivial baseline has of a metric; None where none has one.

        Args:
            metric: Its field in `Metrics`.
        """
        return max(
            (each for base in self.baselines.values() if (each := getattr(base, metric)) is not None), default=None
        )
