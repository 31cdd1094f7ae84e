"""The installed program, and what it answers."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).with_name("upd-zoo")


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def is_one_error(self, code: int) -> bool:
        """Return whether the command said exactly one line, an error, and ended with this exit code."""
        lines = self.err.strip().splitlines()
        return self.code == code and len(lines) == 1 and lines[0].startswith("error: ") and not self.out


Command = Callable[..., Answer]


def finished(
    command: list[str],
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
    timeout: float | None = 60,
    **options: Any,
) -> Answer:
    """Run a command to its end."""
    options |= {"capture_output": True, "text": True, "timeout": timeout}
    done = subprocess.run(command, env=environment, cwd=folder, **options)
    return Answer(done.returncode, done.stdout, done.stderr)
