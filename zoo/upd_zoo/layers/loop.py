"""A loop that stays a loop in every format.

A step that is repeated five hundred times must not become five hundred copies of itself in a file. Each way of looking
at a model has its own loop: Python's when it is run, TorchScript's when it is traced, and torch's `while_loop`, which
becomes one ONNX `Loop`, when it is exported.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[Tensor, Tensor, list[Tensor]], Tensor]
"""(index, state, given) -> next state, of the same shape and dtype; `index` is a scalar int64 that counts from 0.

A function at the top of its module that TorchScript can compile. It reads no tensor but these: a trace would keep the
values that any other has at that moment, and would not say so.
"""


def repeat(step: Step, times: int, state: Tensor, given: list[Tensor]) -> Tensor:
    """Return the state after `times` steps.

    Args:
        step: What is repeated.
        times: How often.
        state: Where to begin; it is not changed.
        given: What every step reads and none changes.
    """
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return _scripted(step)(times, state, given)
    if torch.compiler.is_exporting():
        return _exported(step, times, state, given)
    for index in torch.arange(times, device=state.device):
        state = step(index, state, given)
    return state


def _scripted(step: Step) -> Callable[[int, Tensor, list[Tensor]], Tensor]:
    """Return the loop in TorchScript, which a trace calls instead of following it."""
    body = torch.jit.script(step)

    def loop(times: int, state: Tensor, given: list[Tensor]) -> Tensor:
        for index in range(times):
            state = body(torch.tensor(index, device=state.device), state, given)
        return state

    scripted: Callable[[int, Tensor, list[Tensor]], Tensor] = torch.jit.script(loop)
    return scripted


def _exported(step: Step, times: int, state: Tensor, given: list[Tensor]) -> Tensor:
    def unfinished(index: Tensor, *_: Tensor) -> Tensor:
        return index < times

    def advance(index: Tensor, state: Tensor, *given: Tensor) -> tuple[Tensor, Tensor]:
        return index + 1, step(index, state, list(given))

    start = torch.zeros((), dtype=torch.int64, device=state.device)
    # The operator itself, for `torch.while_loop` compiles the step first: 38 s of an export instead of 17 s.
    result: tuple[Tensor, Tensor] = torch.ops.higher_order.while_loop(
        unfinished, advance, (start, state.clone()), tuple(given)
    )
    return result[1]
