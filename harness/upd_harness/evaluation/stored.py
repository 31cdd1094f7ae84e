"""What an evaluation keeps beside its result, so that models are compared without scoring anything again.

    results/<test set>.npz    of each image its score, truth, subject and slice; of each subject digests of its pixels

Nothing in it is pickled. The result names its hash.
"""

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from upd_harness.evaluation.digest import Floats
from upd_harness.evaluation.resampling import numbered
from upd_harness.evaluation.subjects import SubjectTally
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import Result
from upd_zoo.errors import IntegrityError, NotFoundError
from upd_zoo.files import replacing

SUFFIX: Final = ".npz"
_AGAIN: Final = "evaluate the model again with upd-zoo evaluate --overwrite"


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What is kept of a model on a test set.

    Attributes:
        scores: (N,) one per image.
        anomalous: (N,) whether it shows pathology.
        subjects: N names, of whom each image is.
        pixels: Digests of the pixels of each subject; None where their truth is not known.
    """

    scores: Floats
    anomalous: npt.NDArray[np.bool_]
    subjects: Sequence[str]
    pixels: SubjectTally | None

    def write(self, path: Path) -> str:
        """Write it into a file, whole or not at all; return the hash of the file."""
        names, numbers = numbered(self.subjects)
        arrays = {"names": np.array(names), "numbers": numbers, "scores": self.scores, "anomalous": self.anomalous}
        if self.pixels is not None:
            arrays |= {"pixel_names": np.array(self.pixels.names), **self.pixels.to_arrays()}
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)
        return hashlib.sha256(path.read_bytes()).hexdigest()


def read_kept(path: Path, sha256: str) -> Kept:
    """Read what `Kept.write` wrote.

    Raises:
        NotFoundError: There is no such file.
        IntegrityError: It is another one than its result names.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"{path.name} does not lie beside its result", "", _AGAIN) from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise IntegrityError(f"{path.name} is not what its result was computed from", f"SHA-256 {sha256[:12]}…", _AGAIN)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            pixels = SubjectTally.from_arrays(arrays["pixel_names"].tolist(), arrays) if "of" in arrays else None
            subjects = arrays["names"][arrays["numbers"]].tolist()
            return Kept(arrays["scores"], arrays["anomalous"], subjects, pixels)
    except (KeyError, ValueError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise IntegrityError(f"{path.name} cannot be read: {error}", "", _AGAIN) from error


def read_result(path: Path) -> tuple[Result, Kept]:
    """Return a result and what is kept beside it.

    Args:
        path: The `results/<test set>.json` of an evaluation.

    Raises:
        NotFoundError: There is no such file, or an older version wrote it, which kept nothing.
        IntegrityError: One of them is damaged.
    """
    result = read_record(path, Result)
    if result.tallies is None:
        raise NotFoundError(f"{path.name} was written by a version that kept no scores beside it", "", _AGAIN)
    return result, read_kept(path.with_suffix(SUFFIX), result.tallies)
