"""Claims of the study: what they compare, when they hold, and that its own figures bear them out."""

import math
import tomllib
from dataclasses import replace

import numpy as np
import pytest

from upd_harness.evaluation.published import TABLES
from upd_harness.reproduce.claims import Finding, all_claims, checked, described, read_claims, shown
from upd_harness.reproduce.estimate import Drawn, Estimate, half_of_difference
from upd_harness.reproduce.scores import Printed

DOCUMENT = """
[groups]
ours = ["rd", "fae"]

[[claims]]
id = "leads"
section = "VI"
tables = ["table-ii"]
says = "Ours lead."
[[claims.comparisons]]
more = { best_of = ["ours"] }
less = { best_of = ["vae"] }
on = ["atlas", "ddr"]
metrics = ["dice"]
"""
EACH = """
[groups]
ours = ["rd", "fae"]

[[claims]]
id = "each"
section = "VI"
tables = ["table-iv"]
says = "Each gains."
[[claims.comparisons]]
each = ["ours"]
more = { best_of = ["each"], ccd = true }
less = { best_of = ["each"], on = "ddr", times = 0.5 }
on = ["atlas"]
metrics = ["dice"]

[[claims.comparisons]]
more = { chance = true, times = 2.0 }
less = { best_of = ["rd"] }
on = ["atlas"]
metrics = ["dice"]
"""


class Table:
    """Figures by method and test set, all known equally well."""

    def __init__(self, values: dict[tuple[str, str], float], seeds: int = 3, spread: float = 0.01) -> None:
        self.values, self.seeds, self.spread = values, seeds, spread

    def of(self, method: str, column: str, metric: str, *, ccd: bool) -> Estimate | None:
        assert metric == "dice"
        value = self.values.get((f"{method}-ccd" if ccd else method, column))
        return None if value is None else Estimate(value, self.seeds, self.spread, 0.01)

    def chance(self, column: str, metric: str) -> Estimate | None:
        return self.of("random", column, metric, ccd=False)


def finding(text: str, table: Table) -> tuple[Finding, str]:
    (only,) = checked(read_claims(tomllib.loads(text)), table)
    return only.finding, only.reason


def scores(atlas: float, ddr: float, **changes: float | None) -> dict[tuple[str, str], float]:
    """Return figures in which a VAE has 0.5 everywhere, FAE 0.1, and RD what is given."""
    known = {("vae", "atlas"): 0.5, ("vae", "ddr"): 0.5, ("fae", "atlas"): 0.1, ("fae", "ddr"): 0.1}
    known |= {("rd", "atlas"): atlas, ("rd", "ddr"): ddr}
    return {key: value for key, value in known.items() if changes.get(key[0], 0.0) is not None}


@pytest.mark.parametrize(
    ("atlas", "ddr", "expected"),
    [
        (0.8, 0.7, Finding.HOLDS),
        (0.8, 0.3, Finding.DOES_NOT),
        (0.3, 0.3, Finding.DOES_NOT),
        (0.8, 0.51, Finding.UNTOLD),
    ],
)
def test_a_claim_holds_where_all_that_it_compares_do(atlas: float, ddr: float, expected: Finding) -> None:
    assert finding(DOCUMENT, Table(scores(atlas, ddr)))[0] is expected


def test_wider_intervals_tell_less() -> None:
    assert finding(DOCUMENT, Table(scores(0.6, 0.6)))[0] is Finding.HOLDS
    told, why = finding(DOCUMENT, Table(scores(0.6, 0.6), spread=0.05))
    assert (told, why) == (Finding.UNTOLD, "lies within its interval: 2")


@pytest.mark.parametrize(
    ("atlas", "lacking", "expected", "why"),
    [
        (0.8, "fae", Finding.HOLDS, ""),  # the best of a side can only rise
        (0.3, "fae", Finding.UNTOLD, "holds: 1; is behind, with the methods that are here: 1"),
        (0.3, "rd", Finding.UNTOLD, "is behind, with the methods that are here: 2"),
        (0.8, "vae", Finding.UNTOLD, "lacks a figure: 2"),
    ],
)
def test_what_is_missing_cannot_be_overlooked(atlas: float, lacking: str, expected: Finding, why: str) -> None:
    assert finding(DOCUMENT, Table(scores(atlas, 0.8, **{lacking: None}))) == (expected, why)


@pytest.mark.parametrize(
    ("known", "expected"),
    [(0.9, "does not hold: 2"), (0.2, "is ahead of the methods that are here: 2")],
)
def test_a_rival_that_is_not_here_can_only_make_it_worse(known: float, expected: str) -> None:
    text = DOCUMENT.replace('best_of = ["vae"]', 'best_of = ["vae", "dae"]')
    found = {key: known if key[0] == "vae" else value for key, value in scores(0.5, 0.5).items()}
    assert finding(text, Table(found))[1] == expected


def test_a_single_seed_tells_nothing() -> None:
    told, why = finding(DOCUMENT, Table(scores(0.8, 0.2), seeds=1))
    assert (told, why) == (Finding.UNTOLD, "is of one seed, and ahead: 1; is of one seed, and behind: 1")


def test_figures_of_the_same_images_are_compared_draw_by_draw() -> None:
    draws = np.random.default_rng(0).normal(0.5, 0.1, 1000)
    first, second = (
        Estimate(mean, 3, 0.001, 0.1, drawn=Drawn("store", draws + shift)) for mean, shift in ((0.55, 0.05), (0.5, 0.0))
    )
    elsewhere = replace(second, drawn=Drawn("another store", draws))
    assert half_of_difference(first, second) == pytest.approx(4.303 * 0.001 * math.sqrt(2 / 3))
    assert half_of_difference(first, elsewhere) == pytest.approx(1.96 * 0.1 * math.sqrt(2), rel=0.01)
    twice = second.times(2.0)
    assert half_of_difference(first, twice) == pytest.approx(1.96 * draws.std(), rel=0.05)


def test_each_of_a_group_is_compared_with_itself_and_with_chance() -> None:
    (claim,) = read_claims(tomllib.loads(EACH))
    told = [(str(more), str(less)) for more, less in claim.comparisons]
    assert told == [
        ("rd (CCD) on atlas", "0.5 x rd on ddr"),
        ("fae (CCD) on atlas", "0.5 x fae on ddr"),
        ("2 x random on atlas", "rd on atlas"),
    ]
    known = {("rd-ccd", "atlas"): 0.3, ("fae-ccd", "atlas"): 0.3, ("rd", "ddr"): 0.2, ("fae", "ddr"): 0.2}
    table = Table(known | {("random", "atlas"): 0.2, ("rd", "atlas"): 0.1}, spread=0.001)
    (only,) = checked([claim], table)
    assert [each.value for each in only.differences] == pytest.approx([0.2, 0.2, 0.3])
    assert only.finding is Finding.HOLDS
    (record,) = described([only])
    assert record["comparisons"][0]["interval"] == pytest.approx([0.2 - 0.0224, 0.2 + 0.0224], abs=1e-3)
    assert "holds" in shown([only]).text


def test_what_the_study_says_is_borne_out_by_what_it_printed_but_for_effusion() -> None:
    found = {each.claim.id: each.in_print for each in checked(all_claims(), Printed())}
    assert {name for name, told in found.items() if told is Finding.DOES_NOT} == {"effusion-is-found-best"}
    untold = {name for name, told in found.items() if told is Finding.UNTOLD}
    assert untold == {"pre-training-helps-features-on-brains", "pre-training-hurts-features-on-fundus"}


def test_claims_have_names_of_their_own_and_stand_on_tables() -> None:
    names = [claim.id for claim in all_claims()]
    assert len(names) == len({*names})
    for claim in all_claims():
        assert claim.comparisons
        assert {*claim.tables} <= {*TABLES}
