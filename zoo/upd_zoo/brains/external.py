"""Brain extraction by a program of one's own choice, such as HD-BET, in the environment that it needs.

    hd-bet                                       on the CPU, without test-time augmentation
    hd-bet -i {head} -o {brain}                  on a GPU, its default
    mri_synthstrip -i {head} -o {brain}          any other; `{brain}` is what it writes, brain or mask

The program gets the scan upright as `.nii.gz` and writes another on the same grid, 0 where no brain is. What it found
is believed or not on the same evidence as what is found here.

Source: Isensee et al., Automated brain extraction of multisequence MRI using artificial neural networks, Human Brain
Mapping 40 (2019); its command line is that of version 2.
"""

import gzip
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import nibabel as nib
import numpy as np

from upd_zoo.brains.grid import Bools
from upd_zoo.errors import InputError, InputErrorCode, UsageError
from upd_zoo.images.framing import grids_differ
from upd_zoo.images.gate import read_volume
from upd_zoo.images.nifti import Volume

KNOWN: Final = {"hd-bet": "hd-bet -i {head} -o {brain} -device cpu --disable_tta"}
"""Commands that may be called by a name."""
_HEAD, _BRAIN = "{head}", "{brain}"


@dataclass(frozen=True, slots=True)
class Extractor:
    """A program that finds brains.

    Attributes:
        command: Its path and arguments, of which two name the files that it reads and writes.
    """

    command: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Extractor":
        """Read a name of `KNOWN`, or a command with `{head}` and `{brain}`.

        Raises:
            UsageError: A place for a file is missing, or there is no such program.
        """
        words = shlex.split(KNOWN.get(text, text))
        if not any(_HEAD in word for word in words) or not any(_BRAIN in word for word in words):
            raise UsageError(
                f"'{text}' does not say where the program reads and writes",
                f"{', '.join(KNOWN)}, or a command with {_HEAD} and {_BRAIN}",
                f"--extractor '{KNOWN['hd-bet']}'",
            )
        if shutil.which(words[0]) is None:
            raise UsageError(
                f"there is no program {words[0]} on the PATH",
                "an installed program",
                f"install {words[0]} into an environment of its own, and link it into a folder of the PATH",
            )
        return cls(tuple(words))

    @property
    def name(self) -> str:
        """Name of the program, without its folder."""
        return Path(self.command[0]).name

    def extract(self, head: Volume) -> Bools:
        """Return where the brain of a head (X, Y, Z) is.

        Raises:
            InputError: The program failed (`unreadable`), or wrote another grid (`geometry`) or what cannot be read.
        """
        with TemporaryDirectory(prefix="upd-zoo-") as folder:
            files = {_HEAD: Path(folder) / "head.nii.gz", _BRAIN: Path(folder) / "brain.nii.gz"}
            content = nib.Nifti1Image(head.data, head.affine).to_bytes()
            files[_HEAD].write_bytes(gzip.compress(content, 1, mtime=0))
            self._run(files)
            found = read_volume(files[_BRAIN], constant_ok=True).data
        if found.shape != head.data.shape:
            raise grids_differ(f"what {self.name} wrote", found.shape, head.data.shape)
        return np.asarray(found != 0)

    def _run(self, files: dict[str, Path]) -> None:
        words = list(self.command)
        for place, path in files.items():
            words = [word.replace(place, str(path)) for word in words]
        try:
            done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603 - the user's own command
        except OSError as error:
            raise InputError(InputErrorCode.UNREADABLE, f"{self.name} cannot be run: {error.strerror}") from error
        if done.returncode or not files[_BRAIN].is_file():
            said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
            raise InputError(
                InputErrorCode.UNREADABLE,
                f"{self.name} ended with {done.returncode} and wrote no brain; it said: {said}",
                "a brain",
                f"run it by hand: {shlex.join(self.command)}",
            )
