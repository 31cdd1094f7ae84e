"""The shelf of prepared brain scans: each scan is prepared once, kept there, and sliced from there.

    SHELF/<subject>-<key>.npz    slices, masks and numbers of a prepared scan
    SHELF/<subject>-<key>.json   plausibility of the brain that was found, and the hashes of what it was made from
    SHELF/<subject>-<key>.png    what was found in a scan that is not believed, to look at
    SHELF/<subject>-<key>.brain  where the brain lies in a T1 scan
    SHELF/<subject>-<key>.shift  where another scan of that head lies beside it

The key of slices is a hash of the scan's files, of the template, of the extractor, of the protocol, of the slices'
side and of the version of the preparation: what is on the shelf is taken only for what would be made again. A stopped
preparation so goes on where it was. The keys of the last two hold the scans alone that are looked at, and neither
protocol nor side, for finding a brain takes nearly all of the time: slices of another side, another protocol or another
contrast are cut from what was found before, with the same bytes as if it were found again (tests).
"""

import hashlib
import importlib.metadata
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from upd_zoo.artefact.records import Space
from upd_zoo.brains.external import Extractor
from upd_zoo.brains.extraction import Evidence, Found
from upd_zoo.brains.grid import Matrix
from upd_zoo.brains.pictures import picture_of
from upd_zoo.brains.scans import Scan, check_brain, prepare_scan, samples_of
from upd_zoo.brains.template import Template, load_template
from upd_zoo.errors import InputError
from upd_zoo.files import replacing, sha256_of, write_json
from upd_zoo.stores.store import Sample
from upd_zoo.vocabulary import SCALES, STUDY_SIDE, Protocol, Side

VERSION: Final = 4
"""Of the preparation; raised whenever the same scan gives other slices."""


def space_of(template: Template, extractor: Extractor | None) -> Space:
    """Return what says in records how scans are prepared."""
    return Space(
        template=template.name,
        template_sha256=template.sha256,
        extractor="upd-zoo" if extractor is None else extractor.name,
        preparation=VERSION,
    )


def read_scan(
    scan: Scan,
    root: Path,
    template: Path | None,
    shelf: Path | None,
    extractor: Extractor | None = None,
    *,
    protocol: Protocol,
    side: Side,
) -> list[Sample]:
    """Return the slices of a scan, from the shelf if it is there.

    Raises:
        InputError: A file is missing or cannot be read, or no brain was found that is believed.
    """
    chosen = load_template(template)
    if shelf is None:
        brain = prepare_scan(scan, root, chosen, extractor)
        check_brain(scan.image, brain.found.evidence)
        return samples_of(scan, brain, chosen, protocol, side)
    place = shelf / f"{scan.subject}-{_key(scan, root, chosen, extractor, protocol, side)}"
    standing = _taken(place.with_suffix(".npz"), scan)
    if standing is None:
        standing = _put(place, scan, root, chosen, extractor, protocol, side)
    return standing


def _key(
    scan: Scan, root: Path, template: Template, extractor: Extractor | None, protocol: Protocol, side: Side
) -> str:
    known = {name: value for name, value in asdict(scan).items() if name not in _LATER}
    masks = " masks of the study" if protocol is Protocol.STUDY else ""  # older versions had one rule
    said = f"{VERSION} {template.sha256} {extractor} {SCALES[protocol]} {known}{masks}"
    own_side = "" if side == STUDY_SIDE else str(side)  # what older versions left is of the study's
    return _hash(f"{said}{own_side}", root, scan.files)


def _hash(said: str, root: Path, names: Iterable[str]) -> str:
    """Return the key of what is said of some files, and of what they hold."""
    digest = hashlib.sha256(said.encode())
    for name in names:
        path = root / name
        digest.update((sha256_of(path) if path.is_file() else "missing").encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class _Kept:
    """Where a brain and the shift of another scan of its head lie on the shelf; see `Keeper`."""

    of_brain: Path
    of_shift: Path

    @classmethod
    def of(cls, scan: Scan, root: Path, template: Template, extractor: Extractor | None, shelf: Path) -> "_Kept":
        guide, part = (scan.guide, scan.guide_part) if scan.guide else (scan.image, scan.part)
        said = f"{VERSION} {template.sha256} {extractor} {part} {scan.stripped}"
        brain = _hash(said, root, [guide])
        shift = _hash(f"{VERSION} {part} {scan.part}", root, [guide, scan.image])
        return cls(shelf / f"{scan.subject}-{brain}.brain", shelf / f"{scan.subject}-{shift}.shift")

    def brain(self, find: Callable[[], Found]) -> Found:
        """Return the brain as it was found before, or find it."""
        kept = _arrays(self.of_brain, "mask", "transform", "attempts", *_EVIDENCE)
        if kept is not None:
            evidence = Evidence(*(float(kept[name]) for name in _EVIDENCE))
            return Found(kept["mask"], kept["transform"], evidence, int(kept["attempts"]))
        found = find()
        arrays = {"mask": found.mask, "transform": found.transform, "attempts": found.attempts}
        _save(self.of_brain, **arrays, **asdict(found.evidence))
        return found

    def shift(self, find: Callable[[], Matrix]) -> Matrix:
        """Return the transform as it was found before, or find it."""
        kept = _arrays(self.of_shift, "shift")
        if kept is not None:
            return kept["shift"]
        shift = find()
        _save(self.of_shift, shift=shift)
        return shift


_LATER: Final = ("site",)
"""What changes no slice, and would make those anew that older versions left, which did not know it."""
_EVIDENCE: Final = tuple(field.name for field in fields(Evidence))


def _put(
    place: Path,
    scan: Scan,
    root: Path,
    template: Template,
    extractor: Extractor | None,
    protocol: Protocol,
    side: Side,
) -> list[Sample]:
    """Prepare a scan and put it on the shelf; of one without a plausible brain, a picture."""
    began = time.monotonic()
    place.parent.mkdir(parents=True, exist_ok=True)
    brain = prepare_scan(scan, root, template, extractor, _Kept.of(scan, root, template, extractor, place.parent))
    try:
        check_brain(scan.image, brain.found.evidence)
    except InputError as error:
        picture = place.with_suffix(".png")
        with replacing(picture) as temporary:
            picture_of(scan, root, brain).save(temporary, "PNG")
        raise InputError(error.code, error.problem, error.accepted, f"look at {picture}") from error
    record = {
        "subject": scan.subject,
        "files": {name: sha256_of(root / name) for name in scan.files},
        "template": {"name": template.name, "sha256": template.sha256},
        "found": {**asdict(brain.found.evidence), "attempts": brain.found.attempts},
        "extractor": None if extractor is None else extractor.name,
        "protocol": protocol.value,
        "seconds": round(time.monotonic() - began, 1),
        "upd_zoo": importlib.metadata.version("upd-zoo"),
    }
    write_json(place.with_suffix(".json"), record)
    samples = samples_of(scan, brain, template, protocol, side)
    _write(place.with_suffix(".npz"), samples)
    return samples


def _write(path: Path, samples: list[Sample]) -> None:
    images, masks = (np.stack([getattr(sample, part) for sample in samples]) for part in ("image", "mask"))
    _save(path, images=images, masks=masks, numbers=[sample.slice for sample in samples])


def _save(path: Path, **arrays: Any) -> None:
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def _arrays(path: Path, *names: str) -> dict[str, npt.NDArray[Any]] | None:
    """Return arrays of a file on the shelf; None where there is none, or none that is whole."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error):
        return None


def _taken(path: Path, scan: Scan) -> list[Sample] | None:
    """Return the slices on the shelf; None where there are none, or none that are whole."""
    kept = _arrays(path, "images", "masks", "numbers")
    if kept is None:
        return None
    return [
        Sample(
            image,
            bool(mask.any()),
            scan.subject,
            int(number),
            mask=mask,
            sex=scan.sex,
            age=scan.age,
            site=scan.site,
        )
        for image, mask, number in zip(*kept.values(), strict=True)
    ]
