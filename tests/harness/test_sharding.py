"""A test set in shards: what each process counted adds up to what one would have, to the last bit."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from fake.program import Command
from upd_harness.engines.engine import Answer, Ended, Item
from upd_harness.evaluation.contenders import gather
from upd_harness.evaluation.run import Gathering, evaluate
from upd_harness.evaluation.sharding import Loading, Sharded, cuts_of
from upd_harness.evaluation.tally import ScoreTally
from upd_harness.evaluation.tested import Tested
from upd_zoo.errors import IntegrityError
from upd_zoo.runtime.model import Model
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import get_test_set


class HereEngine:
    """Carries out items in this process, the last one first, and hands answers over as another process would."""

    def each(self, work: Callable[[Item], Answer], items: Sequence[Item]) -> Iterator[Ended[Item, Answer]]:
        for item in reversed(items):
            yield Ended(item, pickle.loads(pickle.dumps(work(item))), None)  # noqa: S301 - what was just pickled


def written(folder: Path) -> dict[str, bytes]:
    """Return what an evaluation wrote but the page and the record of the run, which tell the time."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("run.json", "report.html"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.slow
@pytest.mark.parametrize("shards", [2, 5])
def test_shards_add_up_to_the_whole(
    model: Model, artefact: Path, tested_store: Store, tmp_path: Path, shards: int
) -> None:
    loading = Loading(artefact, "onnx", "cpu", 1, "float32")
    ways: dict[str, Gathering] = {
        "whole": partial(gather, batch_size=3),
        "shards": Sharded(loading, HereEngine(), shards, 3),
    }
    for name, way in ways.items():
        evaluate(model, get_test_set("phantom-t2"), tested_store, tmp_path / name, gathering=way)
    assert len(written(tmp_path / "whole")) == 3
    assert written(tmp_path / "whole") == written(tmp_path / "shards")


@pytest.mark.slow
def test_another_model_in_the_place_of_the_model_is_refused(
    model: Model, colour_artefact: Path, tested_store: Store
) -> None:
    way = Sharded(Loading(colour_artefact, "onnx", "cpu", 1, "float32"), HereEngine(), 2, 3)
    with pytest.raises(IntegrityError, match="holds another model"):
        way(Tested.of(model), tested_store)


@pytest.mark.parametrize("shards", [1, 2, 3, 9])
def test_shards_are_cut_between_subjects_and_leave_nothing_out(shards: int) -> None:
    subjects = [subject for subject in "aaabbbbbcddddd" for _ in range(3)]
    cuts = cuts_of(subjects, shards)
    assert [row for first, last in cuts for row in range(first, last)] == [*range(len(subjects))]
    assert all(subjects[first] != subjects[first - 1] for first, _ in cuts[1:])
    assert len(cuts) == min(shards, 4)


def test_a_tally_crosses_to_another_process_small_and_whole() -> None:
    generator, tally = np.random.default_rng(0), ScoreTally()
    tally.update(generator.random((4, 32, 32), np.float32), generator.random((4, 32, 32)) < 0.1)
    crossed = pickle.dumps(tally)
    assert len(crossed) < 200_000
    assert pickle.loads(crossed).result() == tally.result()  # noqa: S301 - what was just pickled


@pytest.mark.slow
def test_a_sharded_evaluation_is_the_same_from_the_command_line(
    upd_zoo: Command, artefact: Path, tested_store: Store, tmp_path: Path
) -> None:
    data = tested_store.folder.parents[1]
    options = ("-m", artefact, "--test-set", "phantom-t2", "--data", data, "--threads", "1", "--batch-size", "5")
    for name, more in {"whole": (), "shards": ("--shards", "3", "--jobs", "2")}.items():
        answer = upd_zoo("evaluate", *options, "-o", tmp_path / name, *more)
        assert answer.code == 0, answer.err
    assert written(tmp_path / "whole") == written(tmp_path / "shards")
