"""The shelf of prepared brain scans: each scan is prepared once, kept there, and sliced from there.

    SHELF/<subject>-<key>.npz    slices, masks and numbers of a prepared scan
    SHELF/<subject>-<key>.json   plausibility of the brain that was found, and the hashes of what it was made from
    SHELF/<subject>-<key>.png    what was found in a scan that is not believed, to look at

The key is a hash of the scan's files, of the template, of the extractor, of the scale, of the slices' side and of the
version of the preparation: what is on the shelf is taken only for what would be made again. A stopped preparation so
goes on where it was.
"""

import hashlib
import importlib.metadata
import time
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np

from upd_zoo.artefact.records import Space
from upd_zoo.brains.external import Extractor
from upd_zoo.brains.pictures import picture_of
from upd_zoo.brains.scans import Scan, check_brain, prepare_scan, samples_of
from upd_zoo.brains.template import Template, load_template
from upd_zoo.errors import InputError
from upd_zoo.files import replacing, sha256_of, write_json
from upd_zoo.stores.store import Sample
from upd_zoo.vocabulary import STUDY_SIDE, Scale, Side

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
    scale: Scale,
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
        return samples_of(scan, brain, chosen, scale, side)
    place = shelf / f"{scan.subject}-{_key(scan, root, chosen, extractor, scale, side)}"
    standing = _taken(place.with_suffix(".npz"), scan)
    if standing is None:
        standing = _put(place, scan, root, chosen, extractor, scale, side)
    return standing


def _key(scan: Scan, root: Path, template: Template, extractor: Extractor | None, scale: Scale, side: Side) -> str:
    digest = hashlib.sha256(f"{VERSION} {template.sha256} {extractor} {scale} {asdict(scan)}".encode())
    digest.update(b"" if side == STUDY_SIDE else str(side).encode())  # what older versions left is of the study's
    for name in scan.files:
        path = root / name
        digest.update((sha256_of(path) if path.is_file() else "missing").encode())
    return digest.hexdigest()[:16]


def _put(
    place: Path,
    scan: Scan,
    root: Path,
    template: Template,
    extractor: Extractor | None,
    scale: Scale,
    side: Side,
) -> list[Sample]:
    """Prepare a scan and put it on the shelf; of one without a plausible brain, a picture."""
    began = time.monotonic()
    brain = prepare_scan(scan, root, template, extractor)
    place.parent.mkdir(parents=True, exist_ok=True)
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
        "scale": scale.value,
        "seconds": round(time.monotonic() - began, 1),
        "upd_zoo": importlib.metadata.version("upd-zoo"),
    }
    write_json(place.with_suffix(".json"), record)
    samples = samples_of(scan, brain, template, scale, side)
    _write(place.with_suffix(".npz"), samples)
    return samples


def _write(path: Path, samples: list[Sample]) -> None:
    images, masks = (np.stack([getattr(sample, part) for sample in samples]) for part in ("image", "mask"))
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, images=images, masks=masks, numbers=[sample.slice for sample in samples])


def _taken(path: Path, scan: Scan) -> list[Sample] | None:
    """Return the slices on the shelf; None where there are none, or none that are whole."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            images, masks, numbers = arrays["images"], arrays["masks"], arrays["numbers"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error):
        return None
    return [
        Sample(image, bool(mask.any()), scan.subject, int(number), mask=mask, sex=scan.sex, age=scan.age)
        for image, mask, number in zip(images, masks, numbers, strict=True)
    ]
