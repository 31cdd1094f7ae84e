"""The prepared store: images at model size in one memory-mapped file, with what is known of each.

    images.npy    (N, C, side, side) float32 in [0, 1]
    masks.npy     (N, side, side) uint8, 1 where pathological; only where pixel truth exists
    index.csv     subject, slice, anomalous, source, sex, age, view, site: one row per image; the last four where known
    store.json    what it holds, how it was made, SHA-256 of the arrays

Every reader fills it, training and evaluation read it, and neither holds it in memory.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, ClassVar, Final, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from upd_zoo.artefact.record import Record, Setting, Sha256, read_record, write_record
from upd_zoo.errors import IntegrityError, NotFoundError, UpdZooError
from upd_zoo.files import replacing_folder
from upd_zoo.vocabulary import DOMAINS, STUDY_SIDE, Scale, Side

IMAGES: Final = "images.npy"
MASKS: Final = "masks.npy"
INDEX: Final = "index.csv"
FACTS: Final = "store.json"
_COLUMNS = ("subject", "slice", "anomalous", "source")
_TRAITS = ("sex", "age", "view", "site")
"""Columns of what may confound a test; stores of older versions lack them."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image at model size and what is known of it.

    Attributes:
        image: (C, side, side) float32 in [0, 1].
        anomalous: Whether it shows pathology.
        subject: Which person; images of one subject never lie on both sides of a split.
        slice: Axial position of a slice in its volume; 0 for photographs.
        source: File it came from, relative to the data set's folder.
        mask: (side, side) uint8, 1 where pathological; None where pixel truth is not known.
        sex: `F` or `M`; empty where it is not known.
        age: In whole years; None where it is not known.
        view: Projection of a radiograph, such as `PA` or `AP`; empty where there is none or it is not known.
        site: Hospital or scanner that it comes from, as its data set calls it; empty where that is not known.
    """

    image: npt.NDArray[np.float32]
    anomalous: bool
    subject: str
    slice: int = 0
    source: str = ""
    mask: npt.NDArray[np.uint8] | None = None
    sex: str = ""
    age: int | None = None
    view: str = ""
    site: str = ""


class Facts(Record):
    """What a store holds and how it was made.

    Attributes:
        name: Domain or test set, and part, such as `idrid/train`.
        labels: What a reader of any number computed on it must be told.
        provenance: Source, seed, versions and settings of the preparation.
        side: Height and width of every image in pixels.
    """

    remedy: ClassVar[str] = "prepare it again with upd-zoo prepare --force"
    schema_: Literal["upd-zoo/store/1"] = Field(default="upd-zoo/store/1", alias="schema")
    name: str
    images: int
    channels: Literal[1, 3]
    subjects: int
    anomalous: int
    has_masks: bool
    labels: list[str]
    provenance: dict[str, Setting]
    sha256: dict[str, Sha256]
    side: Side = STUDY_SIDE

    @property
    def scale(self) -> Scale | None:
        """Which value of a brain scan became 1; None of photographs, and where an older version prepared the store."""
        scale = self.provenance.get("scale")
        return None if scale is None else Scale(str(scale))

    @property
    def folds(self) -> int:
        """Into how many parts its subjects are divided for calibration; 0 where a store of others is for it."""
        return int(str(self.provenance.get("folds", 0)))


class _GrowingArray:
    """An .npy file whose first axis grows; its header is written again at the end, in the room numpy leaves for it."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self._shape, self._dtype = shape, np.dtype(dtype)
        self._file: IO[bytes] = path.open("wb")
        self.digest = hashlib.sha256()
        self.count = 0
        self._write_header()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def append(self, array: npt.NDArray[Any]) -> None:
        if array.shape != self._shape or array.dtype != self._dtype:
            expected = f"shape {self._shape} and type {self._dtype}"
            raise UpdZooError(f"an image of shape {array.shape} and type {array.dtype} was given", expected)
        data = np.ascontiguousarray(array).tobytes()
        self.digest.update(data)
        self._file.write(data)
        self.count += 1

    def _write_header(self) -> None:
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (self.count, *self._shape)}
        np.lib.format.write_array_header_1_0(self._file, header)


def write_store(
    folder: Path | str,
    name: str,
    samples: Iterable[Sample],
    *,
    channels: Literal[1, 3],
    has_masks: bool,
    labels: Iterable[str] = (),
    provenance: Mapping[str, Setting] | None = None,
    side: Side = STUDY_SIDE,
) -> Facts:
    """Write a store, whole or not at all, in memory that does not grow with the number of samples.

    Args:
        folder: Where the store will be; an older store there is replaced.
        name: Domain or test set and part.
        samples: The images; every one with a mask if `has_masks`.
        channels: Channels of every image.
        has_masks: Whether pixel truth is known.
        labels: What a reader of any number computed on it must be told.
        provenance: How it was made.
        side: Height and width of every image in pixels.

    Raises:
        UsageError: The folder holds anything but a store.
        UpdZooError: There is no sample, or one has another shape or type, or lacks its mask.
    """
    with replacing_folder(Path(folder), (IMAGES, MASKS, INDEX, FACTS)) as temporary:
        subjects, anomalous, hashes = _write_arrays(temporary, samples, (channels, side, side), has_masks)
        images = sum(subjects.values())
        if images == 0:
            raise UpdZooError(f"no image was found for {name}", "at least one", "check the folder of the data set")
        facts = Facts(
            name=name,
            images=images,
            channels=channels,
            subjects=len(subjects),
            anomalous=anomalous,
            has_masks=has_masks,
            labels=list(labels),
            provenance=dict(provenance or {}),
            sha256=hashes,
            side=side,
        )
        write_record(temporary / FACTS, facts)
    return facts


def _write_arrays(
    folder: Path, samples: Iterable[Sample], shape: tuple[int, int, int], has_masks: bool
) -> tuple[Counter[str], int, dict[str, str]]:
    """Write images, masks and index; return the images of each subject, the anomalous ones, and hashes by file."""
    subjects: Counter[str] = Counter()
    anomalous = 0
    with ExitStack() as stack:
        arrays = {IMAGES: stack.enter_context(_GrowingArray(folder / IMAGES, shape, "<f4"))}
        if has_masks:
            arrays[MASKS] = stack.enter_context(_GrowingArray(folder / MASKS, shape[1:], "|u1"))
        stream = stack.enter_context((folder / INDEX).open("w", newline="", encoding="utf-8"))
        index = csv.writer(stream, lineterminator="\n")
        index.writerow((*_COLUMNS, *_TRAITS))
        for sample in samples:
            if not (sample.image.min() >= 0 and sample.image.max() <= 1):  # NaN is neither
                raise UpdZooError(f"{sample.source or sample.subject} has pixels outside [0, 1]", "float32 in [0, 1]")
            arrays[IMAGES].append(sample.image)
            if has_masks:
                arrays[MASKS].append(_mask_of(sample))
            known = (sample.subject, sample.slice, int(sample.anomalous), sample.source)
            index.writerow((*known, sample.sex, sample.age, sample.view, sample.site))
            subjects[sample.subject] += 1
            anomalous += sample.anomalous
    return subjects, anomalous, {name: array.digest.hexdigest() for name, array in arrays.items()}


def _mask_of(sample: Sample) -> npt.NDArray[np.uint8]:
    if sample.mask is None:
        raise UpdZooError(f"{sample.source or sample.subject} has no mask", "a mask for every image of this store")
    if sample.mask.max() > 1:
        raise UpdZooError(f"the mask of {sample.source or sample.subject} has other values than 0 and 1")
    return sample.mask


def _is_whole(row: Mapping[str, str]) -> bool:
    return {*_COLUMNS} <= row.keys() <= {*_COLUMNS, *_TRAITS} and None not in row.values()


def _whose(domain: str) -> str:
    """Return the option of `upd-zoo prepare` that images of one's own need."""
    return " --healthy FOLDER" if domain in DOMAINS and DOMAINS[domain].own else ""


def preparing(target: str, store: str) -> str:
    """Return the command that prepares a store.

    Args:
        target: Its domain or test set.
        store: Its folder, such as `train-study-256`.
    """
    words = store.split("-")[1:]
    how = "".join(f" --{'side' if word.isdecimal() else 'protocol'} {word}" for word in words)
    return f"upd-zoo prepare {target}{_whose(target)}{how}"


class Store:
    """A prepared store, read through memory maps.

    Args:
        folder: What `write_store` wrote.

    Raises:
        NotFoundError: There is no store in the folder.
        IntegrityError: The arrays do not have the shape that `store.json` states.
    """

    def __init__(self, folder: Path | str) -> None:
        folder = Path(folder)
        if not (folder / FACTS).is_file():
            raise NotFoundError(
                f"there is no prepared store in {folder}",
                f"a folder with {FACTS}, below what --data or UPD_ZOO_DATA names",
                preparing(folder.parent.name, folder.name),
            )
        self.folder = folder
        self.facts = read_record(folder / FACTS, Facts)
        if self.facts.images < 1:
            raise self._broken(FACTS, "says that it holds no image", "at least one image")
        square = self.facts.side, self.facts.side
        self.images: npt.NDArray[np.float32] = self._map(IMAGES, (self.facts.channels, *square), "<f4")
        self.masks: npt.NDArray[np.uint8] | None = self._map(MASKS, square, "|u1") if self.facts.has_masks else None

    def __len__(self) -> int:
        return self.facts.images

    @cached_property
    def index(self) -> list[dict[str, str]]:
        """One row per image, with the columns of `index.csv`; an unknown sex, age, view or site is empty."""
        try:
            with (self.folder / INDEX).open(newline="", encoding="utf-8") as stream:
                rows = list(csv.DictReader(stream))
        except FileNotFoundError:
            rows = []
        if len(rows) != len(self) or not all(_is_whole(row) for row in rows):
            raise self._broken(INDEX, f"does not have {len(self)} whole rows")
        return [dict.fromkeys(_TRAITS, "") | row for row in rows]

    @cached_property
    def subjects(self) -> list[str]:
        """Subject of each image."""
        return [row["subject"] for row in self.index]

    @cached_property
    def anomalous(self) -> npt.NDArray[np.bool_]:
        """(N,) whether each image shows pathology."""
        return np.array([row["anomalous"] == "1" for row in self.index])

    @property
    def sha256(self) -> str:
        """Hash of the images, by which results and models name their data."""
        return self.facts.sha256[IMAGES]

    def check_health(self) -> None:
        """Refuse a store of diseased images, from which a model would learn that disease is usual.

        Raises:
            IntegrityError: It holds one.
        """
        diseased = max(self.facts.anomalous, int(self.anomalous.sum()))
        if diseased:
            raise IntegrityError(
                f"the store {self.facts.name} holds {diseased} diseased images",
                "healthy images only, to train and to calibrate",
                "prepare it again without them",
            )

    def shared_with(self, other: "Store") -> tuple[list[str], int]:
        """Return the subjects that are in another store of the same source too, and how many images are there too."""
        same_source = self.facts.provenance.get("source") == other.facts.provenance.get("source")
        subjects = {*self.subjects} & {*other.subjects} if same_source else set()
        known = {hashlib.sha256(image.tobytes()).digest() for image in other.images}
        return sorted(subjects), sum(hashlib.sha256(image.tobytes()).digest() in known for image in self.images)

    def _map(self, name: str, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
        try:
            array: npt.NDArray[Any] = np.load(self.folder / name, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise self._broken(name, f"cannot be read: {error}") from error
        if array.shape != (self.facts.images, *shape) or array.dtype != np.dtype(dtype):
            raise self._broken(name, f"holds {array.dtype} of shape {array.shape}")
        return array

    def _broken(self, name: str, how: str, accepted: str = f"what {FACTS} says") -> IntegrityError:
        return IntegrityError(f"{name} of the store {self.facts.name} {how}", accepted, "prepare it again")
