"""Checkpoints: all that a stopped training needs to go on, in one safetensors file.

    method.<name>                      parameters and buffers
    optimiser.<turn>.<index>.<slot>    what each optimiser remembers of its parameters
    random.cpu, random.cuda            state of torch's generators

Its metadata holds the position (phase, step, finished phases) and the optimisers' settings, as JSON.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from upd_zoo.errors import IntegrityError
from upd_zoo.runtime.tensors import check_finite, open_tensors, write_tensors

CHECKPOINT: Final = "checkpoint.safetensors"
_AGAIN: Final = "start again in a new folder"


@dataclass(frozen=True, slots=True)
class Position:
    """How far a training has come.

    Attributes:
        phase: The phase that was last saved.
        step: Steps of it that are done.
        finished: Names of the phases that have ended.
    """

    phase: str
    step: int
    finished: list[str]


class Checkpoint:
    """A checkpoint that was read.

    Args:
        path: Its file.

    Raises:
        IntegrityError: The file is no checkpoint, or holds weights that are not finite.
    """

    def __init__(self, path: Path) -> None:
        try:
            with open_tensors(path, _AGAIN) as file:
                metadata: dict[str, Any] = json.loads(file.metadata()["position"])
                self._groups = metadata.pop("groups")
                self.position = Position(**metadata)
                self._tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise IntegrityError(f"{path.name} is not a checkpoint: it has no position", "", _AGAIN) from error
        check_finite(_below(self._tensors, "method."), path, _AGAIN)

    def restore(self, method: nn.Module, optimisers: Sequence[torch.optim.Optimizer]) -> None:
        """Put a method, its optimisers and torch's generators where the checkpoint left them."""
        method.load_state_dict(_below(self._tensors, "method."))
        for turn, (optimiser, groups) in enumerate(zip(optimisers, self._groups, strict=True)):
            slots = _slots(_below(self._tensors, f"optimiser.{turn}."))
            optimiser.load_state_dict({"state": slots, "param_groups": groups})
        torch.set_rng_state(self._tensors["random.cpu"])
        if "random.cuda" in self._tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(self._tensors["random.cuda"])


def write_checkpoint(
    path: Path, method: nn.Module, optimisers: Sequence[torch.optim.Optimizer], position: Position
) -> None:
    """Write a checkpoint, whole or not at all."""
    states = [optimiser.state_dict() for optimiser in optimisers]
    tensors = {f"method.{name}": value for name, value in method.state_dict().items()}
    tensors |= {
        f"optimiser.{turn}.{index}.{name}": torch.as_tensor(value)
        for turn, state in enumerate(states)
        for index, slots in state["state"].items()
        for name, value in slots.items()
        if value is not None
    }
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    metadata = asdict(position) | {"groups": [state["param_groups"] for state in states]}
    write_tensors(path, plain(tensors), {"position": json.dumps(metadata)})


def plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies that safetensors can write: on the CPU, contiguous, sharing no memory."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _slots(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, slot = name.split(".", 1)
        slots.setdefault(int(index), {})[slot] = tensor
    return slots
