"""The trainer: the only optimisation loop, deterministic by seed and resumable after a kill."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from upd_zoo.artefact.records import Phase
from upd_zoo.errors import UpdZooError, UsageError
from upd_zoo.files import naming, to_json, write_text
from upd_zoo.fitting.batches import Batches
from upd_zoo.fitting.checkpoint import CHECKPOINT, Checkpoint, Position, write_checkpoint
from upd_zoo.fitting.learner import Learner, Turn, trainable
from upd_zoo.fitting.levels import FOLDER as LEVELS
from upd_zoo.fitting.levels import KeptLevels, are_worth_keeping, recalling
from upd_zoo.fitting.precision import computing_in, precision_on
from upd_zoo.fitting.run import LOG, whole_lines
from upd_zoo.fitting.schedule import rate_factor
from upd_zoo.progress import Progress, Report, silent
from upd_zoo.recipe import Recipe
from upd_zoo.runtime.devices import cuda_devices, why_no_torch

_LOGGED_STEPS = 200
"""About how many lines a log gets."""
_CHECKPOINTS = 20
"""About how many times a run saves itself; a kill costs at most that share of it."""
_DEVICES: Final = ("auto", "cpu", "cuda")
_LAYOUT: Final = torch.channels_last
"""1.4 x faster than the default layout for the VAE and 1.2 x for RD on two cores."""


class Trainer:
    """Runs optimisation loops for a method, on whatever devices accelerate finds.

    Args:
        run: Folder of the run.
        recipe: Steps and optimiser.
        device: `auto`, `cpu` or `cuda`.
        on_progress: Told of every step, with its losses.
    """

    def __init__(self, run: Path, recipe: Recipe, device: str = "auto", on_progress: Report = silent) -> None:
        if device not in _DEVICES:
            raise UsageError(f"no device is called '{device}'", ", ".join(_DEVICES))
        reason = why_no_torch("cuda:0") if device == "cuda" or (device == "auto" and cuda_devices()) else ""
        if device == "cuda" and reason:
            raise UsageError(f"no CUDA device can be used: {reason}", "auto or cpu", "see upd-zoo doctor")
        self.run, self.recipe, self.on_progress = run, recipe, on_progress
        self.device_note = f"cuda:0 exists but cannot be used: {reason}" if reason else ""
        """What a user should know of the choice of device, which is mostly nothing."""
        self.accelerator = Accelerator(cpu=device == "cpu" or bool(reason))
        if device != "auto" and self.accelerator.device.type != device:
            raise UsageError(
                f"this process already trains on {self.accelerator.device.type}",
                "one device per process",
                "start another process",
            )
        self.precision = precision_on(self.device.type, recipe.precision)
        self.finished: list[str] = []

    @property
    def device(self) -> torch.device:
        """Where the method is trained."""
        device: torch.device = self.accelerator.device
        return device

    def minimise(
        self, method: Learner, batches: Batches, *, phase: str = "main", turns: Sequence[Turn] = (Turn(),)
    ) -> None:
        """Minimise the losses of a phase for its recipe's steps; goes on where a checkpoint stands.

        Args:
            method: Changed in place.
            batches: Training images.
            phase: Name of the phase in the recipe.
            turns: The updates of one step, in order; each has an optimiser of its own and moves only its part.

        Raises:
            UsageError: The recipe has no such phase.
            UpdZooError: A loss is no longer finite.
        """
        if phase not in self.recipe.phases:
            raise UsageError(f"the recipe of {method.id} has no phase {phase}", ", ".join(self.recipe.phases))
        budget = self.recipe.phases[phase]
        parts = [method.get_submodule(turn.part) for turn in turns]
        optimisers = [_optimiser(part, budget) for part in parts]
        start = self._restore(method, optimisers, phase)
        if phase in self.finished:
            return
        log_every, save_every = max(1, budget.steps // _LOGGED_STEPS), max(1, budget.steps // _CHECKPOINTS)
        method.train().to(memory_format=_LAYOUT)
        wrapped, *prepared = self.accelerator.prepare(method, *optimisers)
        kept, clock = self._kept(method, batches, budget.steps), _Clock()
        for step in range(start, budget.steps):
            with clock.waiting():
                images = batches.at(step, self.accelerator.process_index, self.accelerator.num_processes)
                images = images.to(self.device, memory_format=_LAYOUT)
            losses: dict[str, float] = {}
            for turn, part, optimiser in zip(turns, parts, prepared, strict=True):
                for group in optimiser.param_groups:
                    group["lr"] = group["initial_lr"] * rate_factor(budget.schedule, step)
                with _only(part, method), recalling(method, kept, batches.share(step)):
                    losses |= self._losses(wrapped, turn, optimiser, images, step)
                if budget.clip:
                    self.accelerator.clip_grad_norm_([*trainable(part)], budget.clip)
                optimiser.step()
            if (step + 1) % log_every == 0 or step + 1 == budget.steps:
                self._log(phase, step + 1, losses, clock)
            shown = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
            self.on_progress(Progress(phase, step + 1, budget.steps, shown))
            if (step + 1) % save_every == 0 and step + 1 < budget.steps:
                self._save(method, optimisers, phase, step + 1)
        self.finished.append(phase)
        self._save(method, optimisers, phase, budget.steps)
        if kept is not None:
            kept.remove()

    def visit(
        self, method: Learner, batches: Batches, *, phase: str = "statistics", share: float = 1.0
    ) -> Iterator[Tensor]:
        """Yield every training image once, in the store's order; the method is in evaluation mode, without gradients.

        Args:
            method: What will look at the images.
            batches: Training images.
            phase: What the progress calls this pass.
            share: Which part of the images, from the first, in (0, 1].

        Yields:
            (B, C, 128, 128) float32 on the device.
        """
        method.to(self.device).eval()
        count = max(1, int(share * len(batches.store)))
        seen = 0
        for images in batches.in_order(count):
            with torch.no_grad():
                yield images.to(self.device)
            seen += len(images)
            self.on_progress(Progress(phase, seen, count))

    def _kept(self, method: Learner, batches: Batches, steps: int) -> KeptLevels | None:
        """Return the levels of all training images, where that pays; a card computes them faster than a disk reads."""
        backbone, count = method.described_by(), len(batches.store)
        looks, single = steps * batches.batch_size, self.accelerator.num_processes == 1
        if backbone is None or self.device.type != "cpu" or not single:
            return None
        if not are_worth_keeping(backbone, count, looks, self.run):
            return None
        kept = KeptLevels(backbone, count, self.run / LEVELS)
        for images in self.visit(method, batches, phase="levels"):
            kept.append(backbone(images))
        method.train()
        return kept

    def _losses(self, wrapped: Any, turn: Turn, optimiser: Any, images: Tensor, step: int) -> dict[str, float]:
        """Return the losses of a batch; what moves has the gradient of the one that is descended."""
        optimiser.zero_grad(set_to_none=True)
        with computing_in(self.device, self.precision):
            losses = wrapped(images, turn.objective)
        self.accelerator.backward(losses["loss"])
        values = {name: float(value.detach()) for name, value in losses.items()}
        for name, value in values.items():
            if not np.isfinite(value):
                raise UpdZooError(
                    f"the {name} is {value} at step {step + 1}",
                    "a finite number",
                    "start again with another --seed in a new folder",
                )
        return values

    def _log(self, phase: str, step: int, losses: Mapping[str, float], clock: "_Clock") -> None:
        if self.accelerator.is_main_process:
            how = {"device": self.device.type, "threads": torch.get_num_threads()}
            line = {"phase": phase, "step": step, "losses": dict(losses), **clock.read(), **how}
            with naming(self.run / LOG), (self.run / LOG).open("a", encoding="utf-8") as stream:
                stream.write(to_json(line, indent=None) + "\n")

    def _save(self, method: Learner, optimisers: Sequence[torch.optim.Optimizer], phase: str, step: int) -> None:
        if self.accelerator.is_main_process:
            write_checkpoint(self.run / CHECKPOINT, method, optimisers, Position(phase, step, self.finished))

    def _restore(self, method: Learner, optimisers: Sequence[torch.optim.Optimizer], phase: str) -> int:
        """Put method, optimisers and random state where the checkpoint left them; return the step to go on from."""
        method.to(self.device)
        step = 0
        if (self.run / CHECKPOINT).is_file():
            checkpoint = Checkpoint(self.run / CHECKPOINT)
            self.finished = checkpoint.position.finished
            if checkpoint.position.phase == phase:
                checkpoint.restore(method, optimisers)
                step = checkpoint.position.step
            elif phase in self.finished:
                return 0
        self._forget_log_after(phase, step)
        return step

    def _forget_log_after(self, phase: str, step: int) -> None:
        """Keep of the log what lies before a step of a phase; a line that a kill cut short goes too."""
        if (self.run / LOG).is_file():
            kept = [line for line in whole_lines(self.run / LOG) if line["phase"] != phase or line["step"] <= step]
            write_text(self.run / LOG, "".join(to_json(line, indent=None) + "\n" for line in kept))


class _Clock:
    """Seconds since it was made, and how many of them images were waited for."""

    def __init__(self) -> None:
        self._began, self._waited = time.monotonic(), 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count what passes inside as waiting."""
        began = time.monotonic()
        yield
        self._waited += time.monotonic() - began

    def read(self) -> dict[str, float]:
        """Return both, as a line of the log has them."""
        return {"seconds": round(time.monotonic() - self._began, 3), "waiting": round(self._waited, 3)}


def _optimiser(part: nn.Module, budget: Phase) -> torch.optim.Optimizer:
    arguments = dict(budget.optimiser)
    factory = getattr(torch.optim, str(arguments.pop("name")))
    optimiser: torch.optim.Optimizer = factory(trainable(part), **arguments)
    for group in optimiser.param_groups:
        group["initial_lr"] = group["lr"]
    return optimiser


@contextmanager
def _only(part: nn.Module, method: Learner) -> Iterator[None]:
    """Let gradients reach the parameters of one part of a method and no other."""
    own = set(part.parameters())
    others = [parameter for parameter in trainable(method) if parameter not in own]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)
