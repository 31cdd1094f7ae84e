"""What is wrong with prepared stores, looked for before anything is trained on them or measured.

Images are read once, block by block; of each, a sketch of 1 kB and a few numbers stay in memory.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt

from upd_harness.checks.progress import in_turn
from upd_harness.evaluation.exposure import figures_of, names_of
from upd_harness.evaluation.metrics import image_metrics
from upd_harness.report.text import table
from upd_zoo.errors import NotFoundError
from upd_zoo.progress import Report, silent
from upd_zoo.stores.places import Part, store_name
from upd_zoo.stores.store import FACTS, Store
from upd_zoo.vocabulary import STUDY_SIDE, Domain, Protocol, Side, test_sets_of

Floats = npt.NDArray[np.float32]

BLOCK: Final = 256
"""Images that are read at a time."""
FLAT: Final = 1e-3
"""Standard deviation below which an image shows nothing."""
DARK: Final = 0.01
"""Brightness up to which a square is dark."""
SAME: Final = 0.01
"""Mean squared difference, as a share of the variance, below which two images are the same picture."""
LEAST_SHOWN: Final = 16
"""Of 64 squares, how many are not dark in an image that shows enough to be recognised; ends of a brain do not."""
OUTLIER: Final = 6.0
"""Robust standard deviations from which a subject's brightness stands out."""
ORIENTED: Final = 3.0
"""Robust standard deviations by which a part must look less like itself when turned over, for turned subjects to be
told from others: of brains 9 and more, of fundi upside down about 2."""
LEAST_ORIENTED: Final = 0.01
"""Difference of correlations that is no rounding."""
UNBALANCED: Final = 0.2
"""Difference of the shares of diseased between two groups, or of an AUROC from chance, that confounds a test."""
SCHEMA: Final = "upd-zoo/data-checks/1"
_SURE: Final = 4.0
"""Standard deviations of chance from which an AUROC is none, whichever of a dozen figures it is of."""
_TRAITS: Final = ("view", "sex", "site")
_LEAST_GROUP: Final = 10
_SHOWN: Final = 5
_SKETCH: Final = 16
_PAIRED: Final = 1024
"""Images that are compared with all others at a time."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should look at.

    Attributes:
        check: Which check found it.
        stores: Where.
        problem: What was found, with names of files or subjects.
        advice: What to do next.
        count: How many times.
    """

    check: str
    stores: tuple[str, ...]
    problem: str
    advice: str
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """What is kept of a store after its images were read.

    Attributes:
        sketches: (N, 256) means of 16 x 16 squares of every image, over its channels.
        variances: (N,) of its pixels.
        flat: (N,) whether an image shows nothing.
        rich: (N,) whether it shows enough to be recognised.
        thumbnails: Mean image (16, 16) of every subject.
        brightness: Mean of the pixels above 0 of every subject.
        figures: (N, F) of every image, as `upd_harness.evaluation.exposure` names them.
    """

    store: Store
    sketches: Floats
    variances: Floats
    flat: npt.NDArray[np.bool_]
    rich: npt.NDArray[np.bool_]
    thumbnails: Mapping[str, Floats]
    brightness: Mapping[str, float]
    figures: npt.NDArray[np.float64]


def stores_to_check(
    data: Path, domain: Domain, protocol: Protocol = Protocol.SOUND, side: Side = STUDY_SIDE
) -> list[Store]:
    """Return the stores of a domain and of its test sets that are there.

    Raises:
        NotFoundError: None is there.
    """
    there = _stores_there(data, domain, protocol, side)
    if not there:
        kinds = product(Protocol, get_args(Side))
        others = [(one, size) for one, size in kinds if _stores_there(data, domain, one, size)]
        next_step = _added(*others[0]) if others else f"upd-zoo prepare {domain.id}"
        missing = f"no store of {domain.id} for protocol {protocol} and {side} pixels is in {data}"
        raise NotFoundError(missing, "", next_step)
    return [Store(folder) for folder in there]


def _added(protocol: Protocol, side: Side) -> str:
    return f"add --protocol {protocol}" + ("" if side == STUDY_SIDE else f" --side {side}")


def _stores_there(data: Path, domain: Domain, protocol: Protocol, side: Side) -> list[Path]:
    names = [store_name(domain.id, part, protocol, side) for part in (Part.TRAIN, Part.VALIDATION)]
    names += [store_name(test_set.id, Part.TEST, protocol, side) for test_set in test_sets_of(domain.id)]
    return [data / str(name) for name in names if (data / str(name) / FACTS).is_file()]


def check(stores: Sequence[Store], on_progress: Report = silent) -> list[Finding]:
    """Return everything that was found in stores that are used together, train first.

    Args:
        stores: Of one domain.
        on_progress: Told how many images were read of all stores.
    """
    looks = [_look(store, report) for store, report in in_turn(stores, on_progress)]
    findings = [finding for pair in combinations(looks, 2) for finding in (*_shared(*pair), *_repeated(*pair))]
    for look in looks:
        findings += [*_empty(look), *_bright(look), *_turned(look), *_confounded(look.store), *_told(look)]
    return findings


def _look(store: Store, report: Callable[[int], None]) -> _Look:
    sketches, variances = np.empty((len(store), _SKETCH**2), np.float32), np.empty(len(store), np.float32)
    flat, rich = np.empty((2, len(store)), np.bool_)
    thumbnails: dict[str, Floats] = defaultdict(lambda: np.zeros((_SKETCH, _SKETCH), np.float32))
    light: dict[str, list[float]] = defaultdict(list)
    figures = []
    for start in range(0, len(store), BLOCK):
        block = np.array(store.images[start : start + BLOCK])
        images = block.mean(axis=1)
        figures.append(figures_of(block))
        rows, small = slice(start, start + len(images)), _shrunk(images, _SKETCH)
        sketches[rows], variances[rows] = small.reshape(len(small), -1), block.var(axis=(1, 2, 3))
        flat[rows] = images.std(axis=(1, 2)) < FLAT
        rich[rows] = ~flat[rows] & ((_shrunk(images, 8) > DARK).sum(axis=(1, 2)) >= LEAST_SHOWN)
        for subject, image, sketch in zip(store.subjects[rows], images, small, strict=True):
            thumbnails[subject] += sketch
            light[subject].append(float(image[image > 0].mean()) if (image > 0).any() else 0.0)
        report(rows.stop)
    brightness = {subject: float(np.mean(each)) for subject, each in light.items()}
    return _Look(store, sketches, variances, flat, rich, thumbnails, brightness, np.concatenate(figures))


def _shrunk(images: Floats, side: int) -> Floats:
    """Return images (N, H, W) as means of squares, (N, side, side)."""
    size = images.shape[-1] // side
    return np.asarray(images.reshape(len(images), side, size, side, size).mean(axis=(2, 4)), np.float32)


def _shared(first: _Look, second: _Look) -> Iterator[Finding]:
    """Yield subjects that are in two parts of one data set."""
    facts = [look.store.facts for look in (first, second)]
    parts = [fact.name.partition("/")[2] for fact in facts]
    if facts[0].provenance.get("source") != facts[1].provenance.get("source") or parts[0] == parts[1]:
        return
    both = sorted({*first.store.subjects} & {*second.store.subjects})
    if both:
        names = facts[0].name, facts[1].name
        yield Finding("subjects", names, f"in both: {_some(both)}", "split by subject, and prepare again", len(both))


def _repeated(first: _Look, second: _Look) -> Iterator[Finding]:
    """Yield pairs of images of different parts that are the same picture; two test sets may share theirs."""
    names = first.store.facts.name, second.store.facts.name
    if names[0].partition("/")[2] == names[1].partition("/")[2]:
        return
    pairs = [pair for pair in _candidates(first, second) if _is_same(first.store, second.store, *pair)]
    if pairs:
        shown = _some([f"{_name(first.store, one)} = {_name(second.store, other)}" for one, other in pairs])
        yield Finding("duplicates", names, shown, "keep one of each in one part", len(pairs))


def _candidates(first: _Look, second: _Look) -> Iterator[tuple[int, int]]:
    """Yield pairs of images whose sketches are no further apart than the same pictures' can be.

    Means of squares are never further apart than what they are means of, so no pair is missed.
    """
    ones, others = np.flatnonzero(first.rich), np.flatnonzero(second.rich)
    seen = second.sketches[others]
    for start in range(0, len(ones), _PAIRED):
        rows = ones[start : start + _PAIRED]
        sketches = first.sketches[rows]
        apart = np.square(sketches).sum(axis=1)[:, None] + np.square(seen).sum(axis=1) - 2 * sketches @ seen.T
        near = np.argwhere(apart <= SAME * _SKETCH**2 * first.variances[rows, None])
        yield from ((int(rows[one]), int(others[other])) for one, other in near)


def _is_same(first: Store, second: Store, one: int, other: int) -> bool:
    image, candidate = np.asarray(first.images[one]), np.asarray(second.images[other])
    return float(np.square(image - candidate).mean()) < SAME * float(image.var())


def _empty(look: _Look) -> Iterator[Finding]:
    rows = np.flatnonzero(look.flat)
    if len(rows):
        names = [_name(look.store, int(row)) for row in rows]
        yield Finding(
            "empty", (look.store.facts.name,), f"show nothing: {_some(names)}", "leave these files out", len(rows)
        )


def _bright(look: _Look) -> Iterator[Finding]:
    """Yield subjects whose brightness is far from that of the others."""
    values = np.array([*look.brightness.values()])
    middle = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - middle))
    far = [name for name, value in look.brightness.items() if abs(value - middle) > OUTLIER * max(spread, 0.01)]
    if far:
        yield Finding(
            "brightness", (look.store.facts.name,), f"stand out: {_some(far)}", "look at these images", len(far)
        )


def _turned(look: _Look) -> Iterator[Finding]:
    """Yield subjects that look more like the mean of all when they are turned over."""
    means = {name: image / max(float(image.max()), 1e-6) for name, image in look.thumbnails.items()}
    if len(means) < _LEAST_GROUP:
        return
    whole = np.mean([*means.values()], axis=0)
    for axis, what in ((0, "upside down"), (1, "left to right")):
        names = _unlike([*means], [_like(im, whole) - _like(np.flip(im, axis), whole) for im in means.values()])
        if names:
            problem = f"look {what}: {_some(names)}"
            yield Finding("orientation", (look.store.facts.name,), problem, "look at these images", len(names))


def _unlike(names: Sequence[str], margins: Sequence[float]) -> list[str]:
    """Return whose likeness to all falls short by half of the usual margin, where there is a usual one."""
    usual = float(np.median(margins))
    spread = 1.4826 * float(np.median(np.abs(np.subtract(margins, usual))))
    if usual <= max(LEAST_ORIENTED, ORIENTED * spread):
        return []
    return [name for name, margin in zip(names, margins, strict=True) if margin < -usual / 2]


def _like(first: Floats, second: Floats) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1]) if first.std() > 0 else 0.0


def _confounded(store: Store) -> Iterator[Finding]:
    """Yield traits by which the share of diseased images differs."""
    for trait in _TRAITS:
        shares = {
            group: share for group, (share, count) in balance(store, trait).items() if group and count >= _LEAST_GROUP
        }
        if len(shares) > 1 and max(shares.values()) - min(shares.values()) > UNBALANCED:
            listed = ", ".join(f"{group} {share:.0%}" for group, share in shares.items())
            advice = f"report results by {trait}; a model that tells {trait}s apart seems to find disease"
            yield Finding("balance", (store.facts.name,), f"diseased by {trait}: {listed}", advice, len(shares))


def _told(look: _Look) -> Iterator[Finding]:
    """Yield figures of whole images that tell the diseased by themselves: the camera may differ, and not the eye.

    Not of slices: the figures of a slice follow its place, and lesions have theirs.
    """
    store, anomalous = look.store, look.store.anomalous
    if len({row["slice"] for row in store.index}) > 1:
        return
    sick, well = (len({*np.array(store.subjects)[rows]}) for rows in (anomalous, ~anomalous))
    if min(sick, well) < _LEAST_GROUP:
        return
    chance = np.sqrt((sick + well + 1) / (12 * sick * well))  # standard deviation of the AUROC of what knows nothing
    found = []
    for name, values in zip(names_of(store.facts.channels), look.figures.T, strict=True):
        auroc = image_metrics(values, anomalous).auroc or 0.0
        if abs(auroc - 0.5) > max(UNBALANCED, _SURE * chance):
            found.append(
                f"{name} (AUROC {max(auroc, 1 - auroc):.2f}, {'higher' if auroc > 0.5 else 'lower'} in disease)"
            )
    if found:
        problem = f"a figure of the whole image tells the diseased: {', '.join(found)}"
        advice = "hold models against the baselines of upd-zoo evaluate; what sees this alone seems to find disease"
        yield Finding("exposure", (store.facts.name,), problem, advice, len(found))


def balance(store: Store, trait: str) -> dict[str, tuple[float, int]]:
    """Return the share of diseased images and the number of images, by what a trait (`view`, `sex`, `site`) is."""
    groups: dict[str, list[bool]] = defaultdict(list)
    for row, anomalous in zip(store.index, store.anomalous, strict=True):
        groups[row[trait]].append(bool(anomalous))
    return {group: (sum(each) / len(each), len(each)) for group, each in sorted(groups.items())}


def as_document(stores: Sequence[Store], findings: Sequence[Finding]) -> dict[str, Any]:
    """Return what was looked at and found, for programs."""
    looked = {
        store.facts.name: {
            "images": len(store),
            "subjects": store.facts.subjects,
            "diseased": store.facts.anomalous,
            **{trait: balance(store, trait) for trait in _TRAITS},
        }
        for store in stores
    }
    return {"schema": SCHEMA, "stores": looked, "findings": [asdict(finding) for finding in findings]}


def as_text(stores: Sequence[Store], findings: Sequence[Finding]) -> str:
    """Return what was looked at and found, for people."""
    facts = [store.facts for store in stores]
    rows = [(each.name, str(each.images), str(each.subjects), str(each.anomalous)) for each in facts]
    lines = [table(("store", "images", "subjects", "diseased"), rows), ""]
    for finding in findings:
        lines += [
            f"{finding.check} ({', '.join(finding.stores)}): {finding.count}: {finding.problem}",
            f"  {finding.advice}",
        ]
    return "\n".join(lines if findings else [*lines, "nothing was found"])


def _name(store: Store, row: int) -> str:
    known: dict[str, Any] = store.index[row]
    return f"{known['source']}[{known['slice']}]"


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
