"""Preparation: from a data set, or from nothing, to the stores that training and evaluation read.

    DATA/<domain>/train         healthy
    DATA/<domain>/validation    healthy, other subjects
    DATA/<test set>/test        healthy and diseased, other subjects again

Beside the store of a data set, `train.txt` lists its subjects.

Where a data set has splits of the study's own, and of brain scans, which the study scales otherwise, the study's stores
lie beside these as `train-study`, `validation-study` and `test-study`; `upd_zoo.stores.places` alone decides which of
the two a protocol reads. Stores of images of another side than the study's lie beside them too, as `train-256`.
"""

import importlib.metadata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Final

from threadpoolctl import threadpool_limits

from upd_zoo.artefact.record import Setting
from upd_zoo.errors import InputError, IntegrityError, NotFoundError
from upd_zoo.progress import Progress, Report, silent
from upd_zoo.sources.listed import source_of
from upd_zoo.sources.side_by_side import side_by_side
from upd_zoo.sources.source import DownloadedSource, Inputs, Request, Source
from upd_zoo.sources.splits import extend_list, read_list
from upd_zoo.stores.places import Part, StoreName, store_name, store_path
from upd_zoo.stores.store import Facts, Sample, Store, write_store
from upd_zoo.vocabulary import (
    STUDY_SIDE,
    TEST_SETS,
    Domain,
    Protocol,
    Side,
    TestSet,
    get_domain,
    has_study_splits,
    test_sets_of,
)

SHELF: Final = "shelf"
"""Folder, beside the stores, where what took long to prepare is kept."""
STUDY_LABEL: Final = "the study's own split"
_DEFAULT: Final = Request()


@dataclass(frozen=True, slots=True)
class Failure:
    """One input that a store had to do without.

    Attributes:
        store: The store.
        input: Name of the input: a file, relative to the data set's folder.
        error: Why it cannot be used.
    """

    store: StoreName
    input: str
    error: InputError


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a preparation came to.

    Attributes:
        stores: What each store holds, in the order train, validation, test sets.
        failures: Inputs left out; empty if all were used.
    """

    stores: tuple[Facts, ...]
    failures: tuple[Failure, ...]


def stores_of(
    target: Domain | TestSet, protocol: Protocol = Protocol.SOUND, side: Side = STUDY_SIDE
) -> tuple[StoreName, ...]:
    """Return the stores that a preparation under a protocol fills.

    Of a domain, these are its train and validation images and those test sets of its models that come from the same
    source; of a test set, it is its own store.

    Raises:
        NotFoundError: No source serves the target.
    """
    if isinstance(target, TestSet):
        return (store_name(target.id, Part.TEST, protocol, side),)
    source = source_of(target.id)
    tests = (test.id for test in test_sets_of(target.id) if test.id in source.serves)
    return (
        store_name(target.id, Part.TRAIN, protocol, side),
        store_name(target.id, Part.VALIDATION, protocol, side),
        *(store_name(test, Part.TEST, protocol, side) for test in tests),
    )


def prepare(
    target: Domain | TestSet,
    data: Path,
    request: Request = _DEFAULT,
    *,
    protocol: Protocol = Protocol.SOUND,
    side: Side = STUDY_SIDE,
    jobs: int = 1,
    force: bool = False,
    on_progress: Report = silent,
) -> Preparation:
    """Fill the stores of a domain or of a test set.

    An input that cannot be used is reported and left out. A store that stands, made in the same way from the same
    inputs, is left as it is; whether a file changed under its old name is not looked at.

    Args:
        target: What to prepare; see `stores_of`.
        data: Folder of the prepared stores.
        request: What the source is asked for; its shelf is put beside the stores where none is named.
        protocol: `study` for the study's own splits, where the source has them, and its scale of brain scans.
        side: Height and width of the images in pixels.
        jobs: Inputs read at the same time, in processes of their own.
        force: Whether to make again what stands.
        on_progress: Told of every input.

    Raises:
        UsageError: The source takes no such option, or lacks one.
        NotFoundError: No source serves the target, or the data set is not in `root`.
        InputError: No input of a store can be used, or a table of the data set is damaged.
        IntegrityError: A subject was listed in another part before.
        MissingExtraError: The phantoms' own requirements are not installed.
    """
    source, names = source_of(target.id), stores_of(target, protocol, side)
    return fill(source, names, data, request, jobs=jobs, force=force, on_progress=on_progress)


def fill(
    source: Source,
    names: Iterable[StoreName],
    data: Path,
    request: Request = _DEFAULT,
    *,
    jobs: int = 1,
    force: bool = False,
    on_progress: Report = silent,
) -> Preparation:
    """Fill some stores from a source, as `prepare` does, which says what is raised.

    Args:
        source: Where the images come from.
        names: Stores of domains and test sets that are known.
        data: Folder of the prepared stores.
        request: What the source is asked for.
        jobs: Inputs read at the same time, in processes of their own.
        force: Whether to make again what stands.
        on_progress: Told of every input.
    """
    request = replace(request, shelf=request.shelf or data / SHELF)
    inputs_of = source.opened(request)
    facts: list[Facts] = []
    failures: list[Failure] = []
    for name in names:
        inputs = inputs_of(name)
        if not inputs:
            raise NotFoundError(
                f"nothing in the folder of {source.title} falls into {name}",
                "one input at least",
                "take more of the data set: who is in which part goes by name",
            )
        provenance = _provenance(source, name, request, len(inputs))
        standing = None if force else _standing(store_path(data, *name), inputs, provenance)
        if standing is None:
            samples = _in_their_part(_samples(name, inputs, jobs, failures, on_progress), _taken(data, source, name))
            standing = _write(store_path(data, *name), name, samples, source, provenance)
        else:
            on_progress(Progress(str(name), len(inputs), len(inputs)))
        if isinstance(source, DownloadedSource):
            extend_list(_list_of(data, name), Store(data / str(name)).subjects)
        facts.append(standing)
    return Preparation(tuple(facts), tuple(failures))


def _provenance(source: Source, name: StoreName, request: Request, inputs: int) -> dict[str, Setting]:
    return {
        "source": source.id,
        "generator": source.generator,
        "protocol": name.protocol.value,
        "seed": request.seed,
        "inputs": inputs,
        **({} if name.scale is None else {"scale": name.scale.value}),
        **source.settings(request),
        "upd_zoo": importlib.metadata.version("upd-zoo"),
    }


def _standing(folder: Path, inputs: Inputs, provenance: dict[str, Setting]) -> Facts | None:
    """Return the facts of the store in `folder` if it was made in this way and lacks no input."""
    try:
        store = Store(folder)
    except (NotFoundError, IntegrityError):
        return None
    whole = {row["source"] for row in store.index} == set(inputs)
    return store.facts if whole and store.facts.provenance == provenance else None


def _list_of(data: Path, name: StoreName) -> Path:
    """Return the text file that lists the subjects of a store, one for all sides of its images."""
    return data / f"{name._replace(side=STUDY_SIDE)}.txt"


def _taken(data: Path, source: Source, name: StoreName) -> dict[str, StoreName]:
    """Return who is listed in another part than a store's; the study's own splits go by image, and list nobody."""
    if _is_split_by_the_study(name):
        return {}
    others = (StoreName(target, part) for target in source.serves for part in Part if part is not name.part)
    return {subject: other for other in others for subject in read_list(_list_of(data, other))}


def _is_split_by_the_study(name: StoreName) -> bool:
    return has_study_splits(name.target) and name.protocol is Protocol.STUDY


def _in_their_part(samples: Iterator[Sample], taken: dict[str, StoreName]) -> Iterator[Sample]:
    for sample in samples:
        if sample.subject in taken:
            raise IntegrityError(
                f"{sample.subject} was in {taken[sample.subject]} before",
                "every subject in the part that it was first put in",
                f"prepare with the version that wrote {taken[sample.subject]}.txt, or into another folder",
            )
        yield sample


def _samples(name: StoreName, inputs: Inputs, jobs: int, failures: list[Failure], report: Report) -> Iterator[Sample]:
    """Yield the samples of all inputs, in order; what fails is added to `failures`."""
    unusable: list[Failure] = []
    outcomes = map(_outcome, inputs.values()) if jobs == 1 else side_by_side(_outcome, inputs.values(), jobs)
    for done, (file, outcome) in enumerate(zip(inputs, outcomes, strict=True), start=1):
        if isinstance(outcome, InputError):
            unusable.append(Failure(name, file, outcome))
        else:
            yield from (replace(sample, source=file) for sample in outcome)
        report(Progress(str(name), done, len(inputs), file))
    if unusable and len(unusable) == len(inputs):
        first = unusable[0].error
        raise InputError(first.code, f"None of {len(inputs)} inputs of {name} can be used. {first}") from first
    failures.extend(unusable)


def _outcome(read: Callable[[], Iterable[Sample]]) -> list[Sample] | InputError:
    """Return what an input gives, or why it cannot be used."""
    try:
        return list(read())
    except InputError as error:
        return error


def _write(
    folder: Path, name: StoreName, samples: Iterator[Sample], source: Source, provenance: dict[str, Setting]
) -> Facts:
    # The products behind phantoms are small: two BLAS threads make them 3.5 times slower than one.
    with threadpool_limits(1, "blas"):
        first = list(islice(samples, 1))  # what stops every input stops here, before a file is opened
        return write_store(
            folder,
            str(name),
            chain(first, samples),
            channels=get_domain(name.target).modality.channels,
            has_masks=name.part is Part.TEST and TEST_SETS[name.target].has_masks,
            labels=[source.label, *([STUDY_LABEL] if _is_split_by_the_study(name) else [])],
            provenance=provenance,
            side=name.side,
        )
