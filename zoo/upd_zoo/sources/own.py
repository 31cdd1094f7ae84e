"""Images of one's own as a source: cut for the store exactly as an image is that a model scores.

Volumes that show brains only are taken as they are. Where most show whole heads, all are brought into the template's
space, and the models that learn from them know brains there.
"""

from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass
from functools import partial
from os.path import relpath
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from upd_zoo.artefact.record import Setting
from upd_zoo.brains.external import Extractor
from upd_zoo.brains.extraction import LARGEST
from upd_zoo.brains.grid import sitk
from upd_zoo.brains.scans import Scan, litres_shown
from upd_zoo.brains.shelf import read_scan, space_of
from upd_zoo.brains.template import load_template
from upd_zoo.errors import InputError, InputErrorCode, UsageError
from upd_zoo.images.framing import frame, frame_mask, grids_differ
from upd_zoo.images.gate import VOLUME_SUFFIXES, read_photograph, read_volume, suffix_of
from upd_zoo.images.intensity import background, check_background
from upd_zoo.images.taken import channels_taken, check_size
from upd_zoo.sources.folders import OwnFile, Plan
from upd_zoo.sources.photographs import outlined_in_any
from upd_zoo.sources.source import Inputs, Request, Source
from upd_zoo.stores.places import Part, StoreName, store_name
from upd_zoo.stores.slices import slices_of
from upd_zoo.stores.store import Sample
from upd_zoo.vocabulary import Domain, Protocol, Side

LABEL: Final = "own images"
_LOOKED_AT: Final = 5
"""Volumes, spread evenly over all, of which most must show a head for brains to be looked for in all."""


@dataclass(frozen=True, slots=True)
class OwnSource(Source):
    """Folders of one's own.

    Attributes:
        domain: What they are.
        plan: What each file is for.
        heads: Whether they are scans of heads, whose brains are to be found.
    """

    _: KW_ONLY
    domain: Domain
    plan: Plan
    heads: bool

    @classmethod
    def of(cls, domain: Domain, plan: Plan) -> "OwnSource":
        """Return the source of the images of a plan.

        Raises:
            UsageError: Diseased volumes come without masks, or whole heads are weighted in T2.
            MissingExtraError: They are heads, and what finds brains is not installed.
        """
        files = [file for each in plan.parts.values() for file in each]
        if any(_is_volume(file) and not file.healthy and file.masks is None for file in files):
            raise UsageError("diseased volumes say nothing of their slices", "masks of them", "add --masks DIR")
        heads = _are_heads(files)
        if heads:
            sitk()
        if heads and domain.contrast == "T2":
            raise UsageError(
                "these are whole heads in T2, and brains are found in T1", "brains alone", "strip the skulls first"
            )
        return cls("own", domain.title, (domain.id,), LABEL, domain=domain, plan=plan, heads=heads)

    def stores(self, protocol: Protocol, side: Side) -> tuple[StoreName, ...]:
        """Return the stores that it fills."""
        return tuple(store_name(self.domain.id, part, protocol, side) for part in self.plan.parts)

    @override
    def settings(self, request: Request) -> dict[str, Setting]:
        told: dict[str, Setting] = {"split_by": self.plan.by.value, "folds": self.plan.folds}
        return told | (
            space_of(load_template(request.template), _extractor(request)).model_dump() if self.heads else {}
        )

    @override
    def opened(self, request: Request) -> Callable[[StoreName], Inputs]:
        if not self.heads:
            self.refuse_what_brains_take(request)

        def inputs(store: StoreName) -> Inputs:
            read = self._reader(store, request)
            return {file.title: partial(read, file) for file in self.plan.parts[store.part]}

        return inputs

    def _reader(self, store: StoreName, request: Request) -> Callable[[OwnFile], Iterable[Sample]]:
        """Return what reads a file of a store."""
        with_truth, side = store.part is Part.TEST, store.side
        if store.scale is None:
            return partial(_photograph, domain=self.domain, with_truth=with_truth, side=side)
        if not self.heads:
            return partial(_scan, domain=self.domain, with_truth=with_truth, protocol=store.protocol, side=side)
        shelf = None if request.shelf is None else request.shelf / self.domain.id
        head = partial(_head, template=request.template, shelf=shelf, extractor=_extractor(request))
        return partial(head, protocol=store.protocol, side=side)


def _extractor(request: Request) -> Extractor | None:
    return Extractor.parse(request.extractor) if request.extractor else None


def _is_volume(file: OwnFile) -> bool:
    return suffix_of(file.path) in VOLUME_SUFFIXES


def _are_heads(files: Iterable[OwnFile]) -> bool:
    """Return whether most of some volumes show more than a brain."""
    volumes = [file for file in files if _is_volume(file)]
    looked_at = volumes[:: -(-len(volumes) // _LOOKED_AT) or 1]
    return 2 * sum(_litres(file) >= LARGEST for file in looked_at) > len(looked_at)


def _litres(file: OwnFile) -> float:
    try:
        volume = read_volume(file.path)
    except InputError:  # said where it is read for the store
        return 0.0
    return litres_shown(volume, background(volume.data))


def _photograph(file: OwnFile, *, domain: Domain, with_truth: bool, side: Side) -> list[Sample]:
    """Read a photograph, and its masks where they are known.

    Raises:
        InputError: A file cannot be read, is too small or of other colours, or a mask is missing or of another size.
    """
    photograph = read_photograph(file.path)
    check_size(photograph.stored, side, file.path.name)
    taken, _ = channels_taken(photograph.stored, domain.modality.channels, file.path.name)
    framing = domain.modality.framing
    image = np.concatenate([frame(photograph.channel(number)[None], framing, side) for number in range(taken)])
    mask = np.zeros(image.shape[1:], np.uint8) if with_truth else None
    if file.masks is not None:
        mask = frame_mask(outlined_in_any(_masks_of(file), photograph.stored.shape[1:]), framing, side)
    return [Sample(image, not file.healthy, file.subject, mask=mask)]


def _masks_of(file: OwnFile) -> tuple[Path, ...]:
    """Return the masks of a diseased image.

    Raises:
        InputError: It has none.
    """
    if not file.masks:
        stem = file.path.name.removesuffix(suffix_of(file.path))
        raise InputError(InputErrorCode.MISSING, f"{file.path.name} has no mask", f"one whose name begins with {stem}")
    return file.masks


def _scan(file: OwnFile, *, domain: Domain, with_truth: bool, protocol: Protocol, side: Side) -> list[Sample]:
    """Read a volume that shows a brain only, and its masks; a picture is taken for one slice.

    Raises:
        InputError: A file cannot be read, or shows more than a brain, or a mask is missing or lies elsewhere.
    """
    if not _is_volume(file):
        return _photograph(file, domain=domain, with_truth=with_truth, side=side)
    volume = read_volume(file.path)
    low = background(volume.data)
    check_background(volume.data, low, file.path.name)
    litres = litres_shown(volume, low)
    if litres >= LARGEST:
        raise InputError(
            InputErrorCode.IMPLAUSIBLE,
            f"{file.path.name}: it shows {litres:.1f} l above its background, and most others show brains only",
            f"a brain, of less than {LARGEST} l",
            "strip the skull, as of the others",
        )
    mask = None if file.masks is None else _truth(file, volume.data.shape)
    return slices_of(volume.data, volume.affine, file.subject, mask, protocol=protocol, side=side)


def _truth(file: OwnFile, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Return where any mask of a volume is set, (X, Y, Z)."""
    parts = [read_volume(path, constant_ok=True).data != 0 for path in _masks_of(file)]
    other = next((part.shape for part in parts if part.shape != shape), None)
    if other is not None:
        raise grids_differ(f"a mask of {file.path.name}", other, shape)
    return np.asarray(np.any(parts, axis=0), np.uint8)


def _head(
    file: OwnFile,
    *,
    template: Path | None,
    shelf: Path | None,
    extractor: Extractor | None,
    protocol: Protocol,
    side: Side,
) -> list[Sample]:
    """Find the brain in a scan of a head.

    Raises:
        InputError: A file cannot be read, or no brain was found that is believed; or it is a picture.
    """
    if not _is_volume(file):
        raise InputError(InputErrorCode.UNSUPPORTED, f"{file.path.name} is a picture among scans of heads", "NIfTI")
    masks = () if file.masks is None else tuple(relpath(path, file.root) for path in _masks_of(file))
    scan = Scan(file.subject, file.name, masks=masks, stripped=None)
    return read_scan(scan, file.root, template, shelf, extractor, protocol=protocol, side=side)
