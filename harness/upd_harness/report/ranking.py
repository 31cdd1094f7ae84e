"""What a report needs of a stream of result rows, kept in memory that does not grow with the stream."""

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

PICTURED: Final = 300
"""Cases shown with a picture, most anomalous first."""
LISTED: Final = 2000
"""Cases after those that are named in a table; whatever follows is only counted."""
NAMED: Final = 500
"""Failed inputs that are named."""
_MESSAGE: Final = 600

Entry = tuple[float, int, "Case"]


@dataclass(frozen=True, slots=True)
class Case:
    """One scored input, as shown.

    Numbers are finite or None; paths are relative to the output folder; a warning is a code and a message.
    """

    input: str
    score: float | None
    percentile: float | None
    threshold: float | None
    is_anomalous: bool | None
    seconds: float | None
    warnings: tuple[tuple[str, str], ...]
    thumbnail: str | None
    anomaly_map: str | None
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    slice_scores: tuple[float | None, ...]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Case":
        """Take from a row of `results.jsonl` what is shown."""
        outputs, geometry = row.get("outputs") or {}, row.get("geometry") or {}
        return cls(
            input=str(row["input"]),
            score=finite(row.get("score")),
            percentile=finite(row.get("percentile")),
            threshold=finite(row.get("threshold")),
            is_anomalous=row.get("is_anomalous"),
            seconds=finite(row.get("seconds")),
            warnings=tuple((each["code"], _shortened(each["message"])) for each in row.get("warnings") or ()),
            thumbnail=outputs.get("thumbnail"),
            anomaly_map=outputs.get("map"),
            shape=tuple(geometry.get("shape") or ()),
            spacing=tuple(geometry.get("spacing_mm") or ()),
            slice_scores=tuple(finite(score) for score in row.get("slice_scores") or ()),
        )


@dataclass(frozen=True, slots=True)
class Unscored:
    """One input without a score, and why."""

    input: str
    code: str
    message: str

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Unscored":
        """Take from a row of `results.jsonl` what is shown."""
        error = row.get("error") or {}
        return cls(str(row["input"]), str(error.get("code") or ""), _shortened(error.get("message") or ""))


@dataclass(slots=True)
class Survey:
    """A stream of rows in short.

    Attributes:
        counts: Inputs by status, and `anomalous`, those above their threshold.
        failures: Failed inputs by the code of their error.
        warnings: Inputs by the codes of their warnings; one with two codes counts for both.
        failed: The first failed inputs.
        pictured: The highest-scoring cases, highest first.
        listed: The cases that follow, without their slices.
    """

    counts: Counter[str] = field(default_factory=Counter[str])
    failures: Counter[str] = field(default_factory=Counter[str])
    warnings: Counter[str] = field(default_factory=Counter[str])
    failed: list[Unscored] = field(default_factory=list)
    pictured: list[Case] = field(default_factory=list)
    listed: list[Case] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        """How many inputs have a row."""
        return self.counts["ok"] + self.counts["failed"]

    @property
    def counted(self) -> dict[str, int]:
        """The counts that `run.json` keeps."""
        return {name: self.counts[name] for name in ("ok", "failed", "anomalous")}

    @property
    def unnamed(self) -> dict[str, int]:
        """How many inputs of each status are counted but not named."""
        named = {"ok": len(self.pictured) + len(self.listed), "failed": len(self.failed)}
        return {status: self.counts[status] - number for status, number in named.items()}


def survey(rows: Iterable[Mapping[str, Any]]) -> Survey:
    """Read all rows once; equal scores keep their order, and a case without a score comes last."""
    found, pictured, listed = Survey(), list[Entry](), list[Entry]()
    for index, row in enumerate(rows):
        found.counts[row["status"]] += 1
        found.warnings.update(sorted({each["code"] for each in row.get("warnings") or ()}))
        if row["status"] != "ok":
            unscored = Unscored.of(row)
            found.failures[unscored.code] += 1
            if len(found.failed) < NAMED:
                found.failed.append(unscored)
            continue
        case = Case.of(row)
        found.counts["anomalous"] += case.is_anomalous is True
        _keep(pictured, listed, (-math.inf if case.score is None else case.score, -index, case))
    found.pictured = [case for _, _, case in sorted(pictured, reverse=True)]
    found.listed = [case for _, _, case in sorted(listed, reverse=True)]
    return found


def _keep(pictured: list[Entry], listed: list[Entry], entry: Entry) -> None:
    """Put an entry among the pictured; the lowest of too many moves to the listed, and from there out."""
    heapq.heappush(pictured, entry)
    if len(pictured) > PICTURED:
        score, order, case = heapq.heappop(pictured)
        heapq.heappush(listed, (score, order, replace(case, slice_scores=())))
    if len(listed) > LISTED:
        heapq.heappop(listed)


def finite(value: float | None) -> float | None:
    """Return the number, or None where there is none or it is NaN or infinite."""
    return None if value is None or not math.isfinite(value) else float(value)


def _shortened(text: str) -> str:
    return text if len(text) <= _MESSAGE else text[:_MESSAGE] + "…"
