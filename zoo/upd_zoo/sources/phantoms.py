"""Synthetic people with synthetic diseases, so that everything runs without a data-use agreement or a download.

A phantom is a function of seed and subject alone. Subjects are numbered, each part from a start of its own, so that no
subject is in two parts and more subjects only ever add to fewer. Of the test subjects every second one is diseased.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from upd_zoo.errors import UsageError
from upd_zoo.images.framing import frame, frame_mask
from upd_zoo.phantoms.brain import Lesion, Weighting, brain_phantom
from upd_zoo.phantoms.chest import Finding, chest_phantom
from upd_zoo.phantoms.fundus import fundus_phantom
from upd_zoo.sources.source import Inputs, SyntheticSource
from upd_zoo.stores.places import Part, StoreName
from upd_zoo.stores.slices import slices_of
from upd_zoo.stores.store import Sample
from upd_zoo.vocabulary import BRAIN_MRI, CHEST_XRAY, FUNDUS, STUDY_SIDE, Modality, Protocol, Side, get_domain

Maker: TypeAlias = Callable[[int, int, int | None], Iterable[Sample]]
"""Makes the samples of one subject from seed, subject and its number among the diseased; None if it is healthy."""

_FIRST: Final = {Part.TRAIN: 0, Part.VALIDATION: 1_000_000, Part.TEST: 2_000_000}
_MOST: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many subjects each part has."""

    train: int
    validation: int
    test: int

    def scaled(self, train: int) -> "Sizes":
        """Return sizes in the same proportion for another number of subjects to train on.

        Validation keeps at least one subject; a test has an even number, at least two.

        Raises:
            UsageError: `train` is not a possible number of subjects.
        """
        if not 1 <= train <= _MOST:
            raise UsageError(f"{train} subjects cannot be trained on", f"1 to {_MOST}")
        validation = max(1, round(self.validation * train / self.train))
        return Sizes(train, validation, 2 * max(1, round(self.test * train / self.train / 2)))


DEFAULT_SIZES: Final = {
    BRAIN_MRI.id: Sizes(16, 6, 12),
    CHEST_XRAY.id: Sizes(500, 100, 200),
    FUNDUS.id: Sizes(500, 100, 200),
}
"""Subjects of each modality, a brain having some 80 slices: a domain takes 10 to 30 seconds on one core."""


def _brain(
    weighting: Weighting, lesion: Lesion, protocol: Protocol, seed: int, subject: int, diseased: int | None
) -> list[Sample]:
    phantom = brain_phantom(weighting, seed, subject, None if diseased is None else lesion)
    return slices_of(phantom.image, phantom.affine, _name(subject), phantom.mask, protocol=protocol, side=STUDY_SIDE)


def _chest(side: Side, seed: int, subject: int, diseased: int | None) -> list[Sample]:
    findings = list(Finding)
    phantom = chest_phantom(seed, subject, None if diseased is None else findings[diseased % len(findings)], side)
    return [_flat(phantom.image[None], phantom.mask, CHEST_XRAY, side, subject)]


def _fundus(side: Side, seed: int, subject: int, diseased: int | None) -> list[Sample]:
    phantom = fundus_phantom(seed, subject, diseased is not None, side)
    return [_flat(phantom.image, phantom.mask, FUNDUS, side, subject)]


def _flat(
    image: npt.NDArray[np.floating], mask: npt.NDArray[np.uint8], modality: Modality, side: Side, subject: int
) -> Sample:
    square = frame(np.asarray(image, np.float32), modality.framing, side)
    truth = frame_mask(mask, modality.framing, side)
    return Sample(square, bool(truth.any()), _name(subject), mask=truth)


def _name(subject: int) -> str:
    return f"subject-{subject}"


_SCANS: Final = {
    "phantom-t1": (Weighting.T1, Lesion.TUMOUR),
    "phantom-t2": (Weighting.T2, Lesion.TUMOUR),
    "phantom-stroke": (Weighting.T1, Lesion.STROKE),
}
_PHOTOGRAPHS: Final[dict[str, Callable[[Side, int, int, int | None], list[Sample]]]] = {
    "phantom-cxr": _chest,
    "phantom-fundus": _fundus,
}


def _maker_of(store: StoreName) -> Maker:
    if store.target not in _SCANS:
        return partial(_PHOTOGRAPHS[store.target], store.side)
    if store.side != STUDY_SIDE:  # enlarged, they would show no more than they have
        raise UsageError(
            f"slices of brain phantoms are drawn with {STUDY_SIDE} x {STUDY_SIDE} pixels",
            f"a side of {STUDY_SIDE} for {store.target}",
            f"leave out --side {store.side}, or take phantom-cxr or phantom-fundus",
        )
    return partial(_brain, *_SCANS[store.target], store.protocol)


def _draw(store: StoreName, seed: int, subjects: int | None) -> Inputs:
    """List the subjects of a store."""
    sizes = DEFAULT_SIZES[get_domain(store.target).modality.id]
    if subjects is not None:
        sizes = sizes.scaled(subjects)
    count = {Part.TRAIN: sizes.train, Part.VALIDATION: sizes.validation, Part.TEST: sizes.test}[store.part]
    diseased = [number // 2 if store.part is Part.TEST and number % 2 else None for number in range(count)]
    first, make = _FIRST[store.part], _maker_of(store)
    return {_name(first + number): partial(make, seed, first + number, nth) for number, nth in enumerate(diseased)}


PHANTOMS: Final = SyntheticSource(
    "phantom", "phantoms", (*_SCANS, *_PHOTOGRAPHS), "synthetic phantoms", generator=2, draw=_draw
)
