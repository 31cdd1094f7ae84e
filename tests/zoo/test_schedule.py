"""How the rate of learning moves: as torch moves it, and by a name that is known."""

import pytest
import torch

from upd_zoo.errors import UsageError
from upd_zoo.fitting.schedule import rate_factor


def test_a_schedule_is_torchs_own() -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=5)
    for step in range(40):
        (rate,) = (group["lr"] for group in optimiser.param_groups)
        assert 2 * rate_factor({"name": "cosine", "period": 5, "every": 3}, step) == pytest.approx(rate, abs=1e-12)
        if step % 3 == 2:
            optimiser.step()
            reference.step()


def test_an_unknown_schedule_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean cosine"):
        rate_factor({"name": "cosin"}, 0)
