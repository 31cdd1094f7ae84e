"""Promises of the split: by name alone, stable for ever, fair on average."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upd_zoo.errors import UsageError
from upd_zoo.sources.splits import cut, part_of, position, shuffled

SHARES = {"train": 0.6, "validation": 0.15, "test": 0.25}


@given(st.text(), st.text())
def test_a_position_lies_in_the_unit_interval(subject: str, salt: str) -> None:
    assert 0 <= position(subject, salt) < 1


def test_positions_are_the_same_in_every_version() -> None:
    # A change of these numbers moves people who were trained on into the test.
    assert position("B/a/IDRiD_001", "upd-zoo/idrid") == pytest.approx(0.06664214045979899, abs=1e-15)
    assert position("", "") == pytest.approx(0.4304816492364817, abs=1e-15)


def test_salt_and_subject_are_kept_apart() -> None:
    assert position("ab", "c") != position("b", "ca")


def test_the_shares_are_met_on_average() -> None:
    parts = [part_of(f"subject-{number}", SHARES, "salt") for number in range(4000)]
    for part, share in SHARES.items():
        assert parts.count(part) / len(parts) == pytest.approx(share, abs=0.03)


def test_another_salt_is_another_split() -> None:
    subjects = [f"subject-{number}" for number in range(50)]
    assert [part_of(s, SHARES, "one") for s in subjects] != [part_of(s, SHARES, "two") for s in subjects]


@given(st.text())
def test_the_parts_cut_the_interval_in_their_order(subject: str) -> None:
    place = position(subject, "salt")
    expected = "train" if place < 0.6 else "validation" if place < 0.75 else "test"
    assert part_of(subject, SHARES, "salt") == expected


@given(st.text())
def test_a_share_of_nothing_gets_nobody(subject: str) -> None:
    assert part_of(subject, {"none": 0.0, "all": 1.0, "rest": 0.0}, "salt") == "all"


@pytest.mark.parametrize("shares", [{"a": 0.5, "b": 0.4}, {"a": 1.5, "b": -0.5}, {"a": 2.0}])
def test_shares_that_divide_no_whole_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="add up to 1"):
        part_of("subject", shares, "salt")


@pytest.mark.parametrize("items", [0, 1, 2, 3, 360, 400, 4492, 20_000])
@pytest.mark.parametrize("seed", [0, 42, 4_294_967_295])
def test_items_are_shuffled_as_torch_permutes_them(items: int, seed: int) -> None:
    import torch

    expected = torch.randperm(items, generator=torch.Generator().manual_seed(seed))
    assert shuffled(range(items), seed) == expected.tolist()


def test_the_shuffle_of_the_study_is_the_same_in_every_version() -> None:
    assert shuffled(range(10)) == [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]


@pytest.mark.parametrize(
    ("items", "percent", "first"), [(4492, 95, 4267), (5509, 95, 5233), (400, 90, 360), (757, 90, 681), (0, 90, 0)]
)
def test_a_cut_rounds_down_and_loses_nothing(items: int, percent: int, first: int) -> None:
    head, tail = cut(range(items), percent)
    assert len(head) == first
    assert [*head, *tail] == list(range(items))
