"""The pixels of a test set by subject, in memory that grows with the subjects alone: what resampling needs.

Maps come batch by batch and are forgotten once the next subject begins. What stays is a digest of the normal and one of
the anomalous pixels of each subject. Anomalous pixels have a second weight, one over the size of their lesion, so that
a sum of it counts lesions: source of the per-region overlap.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from upd_harness.evaluation.digest import Digest, Floats, Values, digest
from upd_harness.evaluation.regions import region_sizes
from upd_zoo.errors import IntegrityError

_MOST_PIXELS: Final = 1 << 22
"""Of one subject that are held at a time, 17 MB; of a subject with more there are several digests."""
_KEPT: Final = (
    ("normal", "normal", np.uint32),
    ("anomalous", "anomalous", np.uint32),
    ("regions", "anomalous", np.float32),
)
"""What is counted: normal pixels, anomalous ones, and lesions, of which a pixel is its share; whose values its digests
have; and how its weights are written down."""


@dataclass(slots=True)
class SubjectTally:
    """Pixels of subjects, counted batch by batch; `close` it after the last batch.

    Attributes:
        names: Subjects in the order of their first image.
        digests: Number of the subject, and its normal, anomalous and region digest; a subject may have several.
    """

    names: list[str] = field(default_factory=list)
    digests: list[tuple[int, tuple[Digest, ...]]] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)
    _held: list[tuple[Values, Values, Floats]] = field(default_factory=list)
    _pixels: int = 0
    _subject: str | None = None

    def update(self, maps: npt.NDArray[np.float32], masks: npt.NDArray[np.uint8], subjects: Sequence[str]) -> None:
        """Count the pixels of images.

        Args:
            maps: (B, H, W), finite; higher is more anomalous.
            masks: (B, H, W), 1 where pathological.
            subjects: Whose each of them is.
        """
        for one_map, mask, subject in zip(maps, np.asarray(masks) != 0, subjects, strict=True):
            if subject != self._subject or self._pixels + one_map.size > _MOST_PIXELS:
                self.close()
                self._subject = subject
            lesions = one_map[mask]
            shares = 1 / region_sizes(mask[None]) if lesions.size else np.empty(0)
            self._held.append((one_map[~mask], lesions, shares))
            self._pixels += one_map.size

    def close(self) -> None:
        """Make a digest of what is held."""
        if self._held and self._subject is not None:
            normal, anomalous, shares = (np.concatenate(arrays) for arrays in zip(*self._held, strict=True))
            number = self._numbers.setdefault(self._subject, len(self.names))
            if number == len(self.names):
                self.names.append(self._subject)
            self.digests.append((number, (*digest(normal), *digest(anomalous, shares))))
        self._held.clear()
        self._pixels = 0

    def merge(self, later: "SubjectTally") -> None:
        """Add what another, closed tally has counted of later images."""
        numbers = [self._numbers.setdefault(name, len(self._numbers)) for name in later.names]
        self.names = [*self._numbers]
        self.digests.extend((numbers[number], kinds) for number, kinds in later.digests)

    def counts(self, thresholds: Values) -> npt.NDArray[np.float64]:
        """Return (3, S, T): normal pixels, anomalous ones and lesions of subjects at or above thresholds (T,)."""
        found = np.zeros((len(_KEPT), len(self.names), len(thresholds)))
        for number, kinds in self.digests:
            for kind, each in enumerate(kinds):
                found[kind, number] += each.from_value(thresholds)
        return found

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return everything the tally knows as arrays, without names of subjects."""
        arrays: dict[str, npt.NDArray[Any]] = {"of": np.array([number for number, _ in self.digests], np.int32)}
        for kind, (name, values, kept) in enumerate(_KEPT):
            found = [kinds[kind] for _, kinds in self.digests]
            if name == values:
                arrays[f"{name}_sizes"] = np.array([len(each.values) for each in found], np.int32)
                arrays[f"{name}_values"] = _joined([each.values for each in found], np.float32)
            arrays[f"{name}_at"] = _joined([each.at for each in found], kept)
            arrays[f"{name}_above"] = _joined([each.above for each in found], kept)
        return arrays

    @classmethod
    def from_arrays(cls, names: Sequence[str], arrays: Mapping[str, npt.NDArray[Any]]) -> "SubjectTally":
        """Return the tally that `to_arrays` described.

        Args:
            names: Of the subjects.
            arrays: As `to_arrays` returned them.

        Raises:
            IntegrityError: They are not such arrays.
        """
        try:
            parts = [_split(name, values, arrays) for name, values, _ in _KEPT]
            tally = cls([*names], [(int(n), kinds) for n, *kinds in zip(arrays["of"], *parts, strict=True)])  # type: ignore[misc]
        except (KeyError, ValueError, IndexError) as error:
            raise IntegrityError("the arrays are not those of subjects", "", "evaluate the model again") from error
        return tally


def _joined(parts: Sequence[npt.NDArray[Any]], kept: npt.DTypeLike) -> npt.NDArray[Any]:
    return np.concatenate(parts).astype(kept) if parts else np.empty(0, kept)


def _split(name: str, values: str, arrays: Mapping[str, npt.NDArray[Any]]) -> list[Digest]:
    cuts = arrays[f"{values}_sizes"].cumsum()[:-1]
    sizes = [f"{values}_values", f"{name}_at", f"{name}_above"]
    if any(len(arrays[each]) != arrays[f"{values}_sizes"].sum() for each in sizes):
        raise ValueError("columns of one digest are as long as each other")
    highest, *weights = (np.split(arrays[each], cuts) for each in sizes)
    return [
        Digest(kept, at.astype(np.float64), above.astype(np.float64))
        for kept, at, above in zip(highest, *weights, strict=True)
    ]
