"""What the commands that make models say: what begins, and what to type next."""

import shlex

from upd_harness.cli.terminal import Terminal
from upd_zoo.artefact.records import Training


def begin(terminal: Terminal, model: str, training: Training, note: str) -> None:
    """Say what is trained, on what, and for how long."""
    if note:
        terminal.say(note)
    steps = f"{training.steps} steps of {training.batch_size} images" if training.steps else "no steps"
    terminal.say(
        f"{model} on {training.device}: {steps}, from {training.images} images of {training.subjects} subjects"
    )


def next_command(*words: object) -> str:
    """Return a line that names the command that follows."""
    return f"next: {shlex.join(map(str, words))}"
