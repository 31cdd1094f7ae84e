"""What is measured on a test set: a model of the zoo, or anybody's graph."""

from dataclasses import dataclass
from typing import Any, Final, Self

from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.records import Config
from upd_zoo.errors import UsageError
from upd_zoo.runtime.graph import Graph
from upd_zoo.runtime.model import Model, Predict
from upd_zoo.stores.store import Facts
from upd_zoo.vocabulary import STUDY_SIDE, Foreground, Modality, Pretrain, ScoreRule, Side, side_of

_LOCAL: Final = "local"


@dataclass(frozen=True, slots=True)
class Rules:
    """By what rules baselines are measured beside it.

    Attributes:
        foreground: Which pixels of an image count.
        erosion: Pixels by which tissue is eroded first.
        score: How a map becomes the score of its image.
    """

    foreground: Foreground
    erosion: int
    score: ScoreRule

    @classmethod
    def of(cls, config: Config) -> Self:
        """Return the rules that a model obeys."""
        return cls(config.foreground, config.erosion, config.score_rule)


@dataclass(frozen=True, slots=True, repr=False)
class Tested:
    """What is measured.

    Attributes:
        name: Of the model, or of the file of a graph.
        title: Of its method; of a graph its name.
        revision: Of the model; `local` of a file.
        sha256: Hash that names all of it: of a model's manifest, or of a graph's file.
        seed: Of the training; 0 where nobody says.
        backend: Library through which it runs.
        precision: In which arithmetic.
        device: Where.
        labels: What a reader of any number of it must be told.
        domain: What it was trained on; empty where nobody says.
        rules: Those that baselines obey beside it.
        predict: Images to maps and scores.
        calibration: What healthy images score; None where nobody says, and thresholds with it.
        method: Id of its method; empty of a graph.
        ccd: Whether it started from CCD pre-training.
    """

    __test__ = False  # no test, although its name begins like one

    name: str
    title: str
    revision: str
    sha256: str
    seed: int
    backend: str
    precision: str
    device: str
    labels: tuple[str, ...]
    domain: str
    rules: Rules
    predict: Predict
    calibration: Calibration | None = None
    method: str = ""
    ccd: bool = False

    def described(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Return what identifies it, and where and how it runs, as records of runs tell both."""
        identity = {"id": self.name, "revision": self.revision, "sha256": self.sha256, "title": self.title}
        ran = {"device": self.device, "backend": self.backend, "precision": self.precision}
        return identity | {"domain": self.domain, "labels": [*self.labels]}, ran

    @classmethod
    def of(cls, model: Model, revision: str = "main") -> Self:
        """Return a model of the zoo under one of its revisions."""
        config = model.config
        return cls(
            name=config.id,
            title=config.title,
            revision=revision,
            sha256=model.manifest_sha256,
            seed=config.training.seed,
            backend=model.backend,
            precision=model.precision,
            device=model.device,
            labels=tuple(config.labels),
            domain=config.domain,
            rules=Rules.of(config),
            predict=model,
            calibration=model.calibration,
            method=config.method,
            ccd=config.pretrain is Pretrain.CCD,
        )

    @classmethod
    def by_graph(cls, graph: Graph, facts: Facts, modality: Modality, rule: ScoreRule | None = None) -> Self:
        """Return a graph of a file, ready for the images of a store.

        Args:
            graph: The graph.
            facts: Of the store.
            modality: Of its images, whose rules the baselines obey.
            rule: How its map is scored, where it gives no score; None for the rule of the modality.

        Raises:
            UsageError: The graph does not fit the images, or a rule is named although it gives scores itself.
        """
        bound = graph.bound(facts.channels, facts.side, rule or modality.score_rule)
        if bound.score_name is not None and rule is not None:
            raise UsageError(
                f"{graph.name} scores images itself, by its output '{bound.score_name}'",
                "--score for a graph that gives a map alone",
                "leave --score out",
            )
        used = rule or modality.score_rule
        labels = [f"graph of a file: {graph.name}"]
        if bound.score_name is None:
            labels.append(f"image score: {used} of the map")
        return cls(
            name=graph.name,
            title=graph.name,
            revision=_LOCAL,
            sha256=graph.sha256,
            seed=0,
            backend="onnx",
            precision="float32",
            device=graph.device,
            labels=tuple(labels),
            domain="",
            rules=Rules(modality.foreground, 0, used),
            predict=bound.network,
        )


def side_for(graph: Graph, asked: int | None = None) -> Side:
    """Return the height and width, in pixels, of the images on which a graph is measured.

    Args:
        graph: The graph.
        asked: What the user asks for; None for the graph's own, and the study's where it takes any.

    Raises:
        UsageError: No store has such images.
    """
    try:
        return side_of(asked or graph.side or STUDY_SIDE)
    except UsageError as error:
        if asked is not None:
            raise
        raise UsageError(
            f"{graph.name} takes images of {graph.side} x {graph.side} pixels, which no store has",
            error.accepted,
            "export it with a resize as its first layer, and one back as its last",
        ) from error
