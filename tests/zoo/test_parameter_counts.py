"""The study's networks, weighed: millions of parameters to the third decimal.

Source: cards/study.md, section 2, the part of each network that is used.
"""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from upd_zoo.registry import registered

ROOT = Path(__file__).resolve().parents[2]
USED = {
    "vae-camcan-t2": 3.266,
    "vae-camcan-t1": 13.117,
    "vae-ddr": 13.117,
    "vae-chexpert": 3.414,
    "r-vae-chexpert": 3.414,
    "f-anogan-chexpert": 28.036,
    "h-tae-s-chexpert": 47.417,
    "fae-chexpert": 10.285 + 0.683,
    "rd-camcan-t1": 108.665,
    "expvae-chexpert": 268.935,
    "amcons-chexpert": 14.841,
    "pii-chexpert": 2.591,
    "dae-chexpert": 7.703,
    "cutpaste-chexpert": 2 * 13.348,
}
TRAINABLE = {"fae-camcan-t2": 10.285, "cflow-ad-camcan-t2": 24.705, "cflow-ad-chexpert": 81.648, "padim-ddr": 0.0}
"""CFLOW-AD: the decoders of the reference less their permutation matrices, 46.725 less 22.020, 169.728 less 88.080."""
_LARGE = 20
"""Millions of parameters, which take seconds to draw: such networks are left to make test-all."""
PARTS = {"critic": 12.468, "encoder": 5.781, "generator": 9.786}


@pytest.fixture(scope="module")
def pages() -> Iterator[Any]:
    """The script that counts."""
    sys.path.insert(0, str(ROOT / "scripts"))
    yield importlib.import_module("pages")
    sys.path.remove(str(ROOT / "scripts"))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if size > _LARGE else []) for name, size in USED.items()]
)
def test_the_network_has_the_studys_size(name: str, pages: Any) -> None:
    assert sum(pages.count(pages.build(name))) == pytest.approx(USED[name], abs=6e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINABLE)
def test_training_moves_as_much_as_in_the_study(name: str, pages: Any) -> None:
    assert pages.count(pages.build(name))[0] == pytest.approx(TRAINABLE[name], abs=5e-4)


def test_f_anogan_is_three_networks(pages: Any) -> None:
    method = pages.build("f-anogan-chexpert")
    sizes = {name: sum(pages.count(part)) for name, part in method.named_children() if [*part.parameters()]}
    assert {name: round(size, 3) for name, size in sizes.items()} == PARTS


@pytest.mark.slow
def test_the_table_is_current_and_whole(pages: Any) -> None:
    assert (pages.CARDS / "parameters.md").read_text(encoding="utf-8") == pages.parameters_page()
    assert pages.published().keys() <= registered().keys()
