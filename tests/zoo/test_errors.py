"""Errors speak in three beats, carry their exit code, and survive the way from one process to another."""

import pickle
import re

import pytest

from upd_zoo import errors
from upd_zoo.errors import InputError, InputErrorCode, MissingExtraError, UpdZooError, UsageError, closest

TREE = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, UpdZooError)]
ONE_OF_EACH: list[UpdZooError] = [
    InputError(InputErrorCode.TRUNCATED, "a.nii ends early", "a whole file", "copy it again"),
    MissingExtraError("Training", "train"),
    *(kind("it broke", "it whole", "mend it") for kind in TREE if kind not in (InputError, MissingExtraError)),
]


def test_the_tree_drawn_in_the_docstring_is_the_tree() -> None:
    drawn = dict(re.findall(r"(\w+Error)\s+(\d)  ", errors.__doc__ or ""))
    assert {name: int(code) for name, code in drawn.items()} == {kind.__name__: kind.exit_code for kind in TREE}


def test_no_two_errors_share_an_exit_code() -> None:
    codes = [kind.exit_code for kind in TREE]
    assert sorted(codes) == list(range(1, len(TREE) + 1))


def test_three_beats_make_one_line() -> None:
    error = UsageError("the size is\n  7 ", "an even size.", "pass --size 8")
    assert str(error) == "The size is 7. Accepted: an even size. Do this: pass --size 8."
    assert (error.accepted, error.next_step) == ("an even size.", "pass --size 8")


@pytest.mark.parametrize("name", ["scan.nii.gz", "vae-idrid", "/data/scan", "out/runs", "idrid: the file", "3 images"])
def test_a_name_keeps_its_letters_where_it_begins_a_sentence(name: str) -> None:
    assert str(UpdZooError(f"{name} is not right")) == f"{name} is not right."


def test_an_input_keeps_its_name_also_where_it_begins_with_a_word() -> None:
    assert str(InputError(InputErrorCode.EMPTY, "my photo.jpg: it is empty")) == "my photo.jpg: it is empty."


def test_empty_beats_leave_no_trace() -> None:
    assert str(UsageError("no.", "", "try again")) == "No. Do this: try again."


def test_a_question_ends_as_a_question() -> None:
    assert str(UsageError("no method is called 'rdd'", closest("rdd", ["rd"]))).endswith("'rdd'. Did you mean rd?")


def test_a_missing_extra_says_what_to_install() -> None:
    assert str(MissingExtraError("Training", "train")).endswith("'train'. Do this: pip install 'upd-zoo[train]'.")


@pytest.mark.parametrize("error", ONE_OF_EACH, ids=lambda error: type(error).__name__)
def test_an_error_reaches_another_process_unchanged(error: UpdZooError) -> None:
    arrived = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)


def test_the_nearest_names_are_offered_best_first() -> None:
    assert closest("brats-t", ["brats-t1", "brats-t2", "idrid"]) in (
        "did you mean brats-t1 or brats-t2?",
        "did you mean brats-t2 or brats-t1?",
    )


def test_where_nothing_is_near_everything_is_listed() -> None:
    assert closest("xyz", ["vae", "rd"]) == "rd, vae"
    assert closest("xyz", []) == "nothing, for none is known"
