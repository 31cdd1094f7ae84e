"""The models of a run: the one that the user named, or one for each kind of image, of which every input finds its own.

Where nobody named a model, an input is scored by the model that knows images laid out as it is, and by none where none
does: a wrong model scores everything high, and its number looks like any other. So what a named model only warns of is
refused here, with the name of the option that insists.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from upd_harness.scoring.cases import Case, open_case
from upd_harness.scoring.heads import Heads
from upd_harness.scoring.inputs import Input
from upd_harness.scoring.likeness import Compared, compare, doubts
from upd_harness.scoring.photographs import photograph_case
from upd_zoo.artefact.records import Config
from upd_zoo.caution import CautionCode
from upd_zoo.errors import InputError, InputErrorCode, MissingExtraError, UsageError
from upd_zoo.hub.packaged import defaults
from upd_zoo.images.gate import read_photograph
from upd_zoo.names import ModelId
from upd_zoo.runtime.model import Model
from upd_zoo.vocabulary import Modality

_OF_THE_KIND: Final = (InputErrorCode.IMPLAUSIBLE, InputErrorCode.CHANNELS, InputErrorCode.UNSUPPORTED)
"""Refusals that another model may not share."""
_INSIST: Final = "name the model that shall score it with -m MODEL (upd-zoo list), or leave it out by --exclude"

_STRIP: Final = "strip the skull, or name a model with -m MODEL --prepare"


@dataclass(frozen=True, slots=True)
class Scorer:
    """A model of a run.

    Attributes:
        model: What scores.
        revision: Of the model, as the user named it.
        heads: How scans are prepared; None where they are scored as they are.
        unprepared: What to install so that whole heads can be prepared; empty where nothing is missing.
    """

    model: Model
    revision: str = "main"
    heads: Heads | None = None
    unprepared: str = ""

    @property
    def modality(self) -> Modality:
        """Which kind of images it knows."""
        return self.model.config.images.modality

    @property
    def described(self) -> dict[str, Any]:
        """What every row says of it."""
        return {
            "model": {"id": self.model.config.id, "revision": self.revision, "sha256": self.model.manifest_sha256},
            "backend": self.model.backend,
            "precision": self.model.precision,
            "space": None if self.heads is None else self.heads.space.model_dump(),
        }

    def open(self, source: Input) -> Case:
        """Read an input as the model takes it.

        Raises:
            InputError: It cannot be read, or is no image of the model's kind.
        """
        return open_case(source, self.model.config) if self.heads is None else self.heads.open(source)


class Chosen(NamedTuple):
    """An input as the model that scores it sees it."""

    scorer: Scorer
    case: Case


@dataclass(frozen=True, slots=True)
class Panel:
    """The models of a run.

    Attributes:
        scorers: The models.
        named: Whether the user named the one that there is.
    """

    scorers: tuple[Scorer, ...]
    named: bool = True

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same of the models in every part of a run."""
        if self.named:
            return self.scorers[0].described
        return {"models": {scorer.modality.id: scorer.described for scorer in self.scorers}}

    def listed(self, inputs: Sequence[Input]) -> Sequence[Input]:
        """Return what is to be scored of what was found: no scan that only guides the preparation of another."""
        for scorer in self.scorers:
            inputs = inputs if scorer.heads is None else scorer.heads.chosen(inputs)
        return inputs

    def open(self, source: Input) -> Chosen:
        """Read an input, find its model, and compare it with the healthy images that this one knows.

        Raises:
            InputError: It cannot be read, or is no image that a model of the run knows.
        """
        if not self.named:
            return self._chosen(source)
        (scorer,) = self.scorers
        case = scorer.open(source)
        case.cautions.extend(doubts(source, case.images, scorer.model, levels=case.levels))
        return Chosen(scorer, case)

    def _chosen(self, source: Input) -> Chosen:
        """Find the model that knows an input best.

        Raises:
            InputError: None knows it.
        """
        refusals: list[tuple[Scorer, InputError]] = []
        known: list[tuple[Compared, Chosen]] = []
        for scorer, see in self._views(source):
            try:
                case = see()
                _check_prepared(source, scorer, case)
                compared = compare(source, case.images, scorer.model, levels=case.levels)
            except InputError as error:
                if error.code not in _OF_THE_KIND:
                    raise
                refusals.append((scorer, error))
                continue
            if compared.is_kind:
                known.append((compared, Chosen(scorer, case)))
            else:
                refusals.append((scorer, _unlike(source, compared)))
        if not known:
            raise _unknown(source, refusals)
        compared, chosen = max(known, key=lambda each: (not each[0].doubts, each[0].likeness))
        chosen.case.cautions.extend(compared.cautions)
        return chosen

    def _views(self, source: Input) -> Iterator[tuple[Scorer, Callable[[], Case]]]:
        """Yield the models that take such files, each with what gives the input as it sees it; pictures are read once.

        Raises:
            InputError: A picture cannot be read.
        """
        if source.is_volume:
            for scorer in self.scorers:
                if scorer.model.config.scale is not None:
                    yield scorer, partial(scorer.open, source)
            return
        (path,) = source.files
        photograph = read_photograph(path)
        for scorer in self.scorers:
            yield scorer, partial(photograph_case, photograph, path.name, scorer.model.config)


def packaged_panel(load: Callable[[ModelId], Model], prepare: Callable[[Config], Heads] = Heads.known_to) -> Panel:
    """Return the models of this package that are taken where none is named, one for each kind of image.

    Args:
        load: Gives a model ready to run.
        prepare: Gives what prepares whole heads for a model; asked where the model knows brains in a space of their
            own.

    Raises:
        UsageError: No model lies in this package.
        UpdZooError: One of them is damaged or does not run.
    """
    found = defaults()
    if not found:
        raise UsageError("no model is named, and this package holds none", "-m MODEL", "upd-zoo list")
    return Panel(tuple(_ready(name, load(name), prepare) for name in found.values()), named=False)


def _ready(name: ModelId, model: Model, prepare: Callable[[Config], Heads]) -> Scorer:
    if model.config.space is None:
        return Scorer(model, name.revision)
    try:
        return Scorer(model, name.revision, prepare(model.config))
    except MissingExtraError as error:
        return Scorer(model, name.revision, unprepared=error.next_step)


def _check_prepared(source: Input, scorer: Scorer, case: Case) -> None:
    """Refuse a whole head that nothing here can prepare."""
    skull = next((caution for caution in case.cautions if caution.code is CautionCode.SKULL), None)
    if skull is not None:
        problem = f"{source.files[0].name}: {skull.message.partition(', and the model')[0]}"
        remedy = scorer.unprepared or _STRIP
        raise InputError(InputErrorCode.IMPLAUSIBLE, problem, "a brain without its skull", remedy)


def _unlike(source: Input, compared: Compared) -> InputError:
    told = "; ".join(compared.doubts) or f"its layout is another ({compared.likeness:.2f} like the mean of its images)"
    return InputError(InputErrorCode.UNSUPPORTED, f"{source.files[0].name}: {told}")


def _unknown(source: Input, refusals: Sequence[tuple[Scorer, InputError]]) -> InputError:
    """Return the error that says why no model of the run knows an input; the one reason there is, if it helps itself.

    That an image has other colours than a model takes is told where nothing nearer is to be told.
    """
    name, kind = source.files[0].name, "a volume" if source.is_volume else "a picture"
    if not refusals:
        wanted = "brain scans" if source.is_volume else "pictures"
        problem = f"{name}: there is no model of {wanted} in the package"
        remedy = "train one with upd-zoo train METHOD --healthy FOLDER, or name one with -m MODEL"
        return InputError(InputErrorCode.UNSUPPORTED, problem, "", remedy)
    told = [each for each in refusals if each[1].code is not InputErrorCode.CHANNELS] or refusals
    if len(told) == 1 and told[0][1].code is InputErrorCode.IMPLAUSIBLE:
        return told[0][1]
    reasons = [f"for {scorer.model.config.id}, {error.problem.removeprefix(f'{name}: ')}" for scorer, error in told]
    problem = f"{name}: no packaged model knows such {kind}" + "".join(f"; {reason}" for reason in reasons)
    accepted = " or ".join(sorted({scorer.modality.title for scorer, _ in refusals}))
    return InputError(InputErrorCode.UNSUPPORTED, problem, accepted and f"{accepted}, as the models know it", _INSIST)
