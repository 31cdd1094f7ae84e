"""A model that fails on one batch ends a run in one error; what was scored before is kept, and goes on from there."""

from dataclasses import replace
from pathlib import Path

import pytest

from fake.inputs import head, rows_of, write_volume
from upd_harness.scoring.folder import score_folder
from upd_harness.scoring.settings import Settings
from upd_zoo.errors import UpdZooError
from upd_zoo.runtime.model import Array, Model, Watched

CASES = 8


def failing_after(model: Model, calls: int) -> Model:
    """Return a model whose runtime fails after some calls."""
    left = calls

    def run(images: Array, _control: object) -> tuple[Array, Array]:
        nonlocal left
        left -= 1
        if left < 0:
            raise RuntimeError("out of memory\nin a kernel")
        return model.network(images)

    return replace(model, network=Watched(run, (RuntimeError,)))


def test_rows_before_a_failure_are_kept_and_the_run_goes_on(model: Model, tmp_path: Path) -> None:
    for number in range(CASES):
        write_volume(tmp_path / "in" / f"{number}.nii.gz", head(number))
    settings = Settings(workers=1)
    with pytest.raises(UpdZooError, match=r"The model failed on a batch of .* out of memory in a kernel"):
        score_folder(failing_after(model, CASES - 1), tmp_path / "in", tmp_path / "out", settings)
    kept = [row for row in rows_of(tmp_path / "out") if row["status"] == "ok"]
    assert 0 < len(kept) < CASES
    summary = score_folder(model, tmp_path / "in", tmp_path / "out", replace(settings, mode="continue"))
    assert (summary.ok, summary.failed, summary.reused) == (CASES, 0, len(kept))
