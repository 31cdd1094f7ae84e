"""What a program is given of scored images: a row for each, and what makes them.

Reading files as a model takes them, preparing heads and judging inputs are the harness's trade, which knows this
package; this package does not know it, but for the one name below. Whoever calls `upd_zoo.score` or `Model.predict`
gets what lies behind it, imported when it is called.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from types import ModuleType
from typing import Any, Final, Literal, overload

import numpy as np
import numpy.typing as npt

from upd_zoo.errors import UpdZooError

_SCORING: Final = "upd_harness.scoring.table"


def scoring() -> ModuleType:
    """Return what scores files: the one place of this package that leads to the harness, which comes with it."""
    return import_module(_SCORING)


@dataclass(frozen=True, slots=True)
class Scored:
    """One image, and what a model says of it.

    Attributes:
        input: Path relative to the folder that was scored, with slashes; of a single file, its name.
        status: `ok`, or `failed` where it could not be scored; then everything but `error` is empty.
        score: Higher is more anomalous; comparable between images of one model alone.
        percentile: Percentage in [0, 100] of healthy images, which the model was not trained on, that score lower.
        threshold: What the score is held against, set on those healthy images.
        is_anomalous: Whether the score lies above it.
        model: Name of the model.
        warnings: Why the score may not mean what it seems to, as whole sentences.
        error: Why the image could not be scored, with what to do; else empty.
    """

    input: str
    status: Literal["ok", "failed"]
    score: float | None
    percentile: float | None
    threshold: float | None
    is_anomalous: bool | None
    model: str
    warnings: tuple[str, ...]
    error: str


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a model says of one file.

    Attributes:
        anomaly_map: In the file's own shape, (H, W) or (X, Y, Z), float32, higher is more anomalous; NaN where nothing
            was looked at.
        scored: Score, percentile and warnings.
    """

    anomaly_map: npt.NDArray[np.float32]
    scored: Scored

    @property
    def score(self) -> float | None:
        """Of the file, higher is more anomalous."""
        return self.scored.score

    @property
    def percentile(self) -> float | None:
        """Percentage in [0, 100] of healthy images that score lower."""
        return self.scored.percentile

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why the score may not mean what it seems to."""
        return self.scored.warnings


@dataclass(frozen=True, slots=True)
class Table(Sequence[Scored]):
    """The images of a folder in the order of their names."""

    rows: tuple[Scored, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Scored: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Scored, ...]: ...
    def __getitem__(self, index: int | slice) -> Scored | tuple[Scored, ...]:
        return self.rows[index]

    def __iter__(self) -> Iterator[Scored]:
        return iter(self.rows)

    def to_pandas(self) -> Any:
        """Return the rows as a `pandas.DataFrame`.

        Raises:
            UpdZooError: pandas is not installed, which is no part of this package's own needs.
        """
        try:
            pandas: Any = import_module("pandas")
        except ImportError as error:
            raise UpdZooError("a data frame needs pandas", "", "pip install pandas") from error
        columns = [field.name for field in fields(Scored)]
        return pandas.DataFrame([asdict(row) for row in self.rows], columns=columns)
