"""Encoders: the networks that may start from weights learnt beforehand, and how such weights enter them."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from upd_zoo.artefact.records import WeightsOrigin
from upd_zoo.errors import IntegrityError, NotFoundError, UsageError
from upd_zoo.layers.normalisation import DRAWN, Normalisation, Pixels, pixels_told
from upd_zoo.runtime.tensors import open_tensors, read_tensors

PACKAGED: Final = "packaged"
"""What to start from is called so where the package brings it."""
HEAD: Final = ("conv_head.", "bn2.", "classifier.")
"""How names of tensors begin that packaged weights leave out: those of the last layers, from which no level is read."""
SCALE: Final = ":scale"
"""Follows the name of a tensor of 8 bits in the name of its scales, one for each of its rows."""
_COUNTER = "num_batches_tracked"
"""Ends the names of tensors that say nothing of what was learnt; a file may lack them."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """A network that may start from weights learnt beforehand.

    Attributes:
        name: What the weights are called: the method's id, or timm's name of the network.
        parts: Its modules, by what comes before the names of their tensors in a file.
        describe: Images (B, 1 or 3, H, W) as the method takes them -> features (B, D), through all parts; None
            where these are but the levels that a method reads of a whole network.
        normalisation: What makes pixels in [0, 1] those that the weights expect; None where nothing does.
    """

    name: str
    parts: Mapping[str, nn.Module]
    describe: Callable[[Tensor], Tensor] | None
    normalisation: Normalisation | None = None

    def tensors(self) -> dict[str, Tensor]:
        """Return the parameters and buffers of all parts, by the name that each has in a file."""
        return {
            f"{prefix}.{name}" if prefix else name: tensor
            for prefix, part in self.parts.items()
            for name, tensor in part.state_dict().items()
        }

    def places(self, names: Iterable[str]) -> dict[str, str]:
        """Return where in `tensors` each name of a file belongs, without those that are rightly left in the file.

        A name that belongs to nothing has itself as its place.
        """
        return {name: name for name in names}

    def usual_pixels(self) -> Pixels:
        """Return the pixels of the weights that are usual for this network, for files that say nothing of theirs."""
        return DRAWN

    def pretrained(self) -> tuple[dict[str, Tensor], str, Pixels]:
        """Return weights learnt on ImageNet, with timm's names, the tag under which timm has them, and their pixels.

        Raises:
            UsageError: There are none for this network.
            OfflineError: They could not be fetched.
        """
        raise UsageError(f"timm has no weights of the encoder of {self.name}", "random, or weights made by CCD")

    def fill(self, tensors: Mapping[str, Tensor], source: str, drawn: tuple[str, ...] = ()) -> None:
        """Take over weights, all of them or none.

        Args:
            tensors: By their names in a file.
            source: What to call them in errors.
            drawn: How names of tensors begin that may be missing: they stay as the seed drew them.

        Raises:
            IntegrityError: A tensor is missing, belongs to nothing, or has another shape.
        """
        own = self.tensors()
        given = {place: tensors[name] for name, place in self.places(tensors).items()}
        missing = [name for name in own if name not in given and not name.startswith(drawn)]
        wrong = [name for name in given if name in own and given[name].shape != own[name].shape]
        _check_tensors(f"{source} lacks {{}} tensors of {self.name}", missing)
        _check_tensors(f"{source} has {{}} tensors for which {self.name} has no use", given.keys() - own.keys())
        _check_tensors(f"{source} has {{}} tensors that do not fit {self.name}", wrong)
        for name, tensor in given.items():
            own[name].copy_(tensor)


def _check_tensors(complaint: str, names: Iterable[str]) -> None:
    """Refuse weights where names are complained of; those that say nothing of what was learnt do not count."""
    counted = sorted(name for name in names if not name.endswith(_COUNTER))
    if counted:
        raise IntegrityError(f"{complaint.format(len(counted))}, the first {counted[0]}")


def initialise(encoders: Sequence[Encoder], source: str) -> WeightsOrigin:
    """Give encoders of one kind their weights.

    Args:
        encoders: At least one; changed in place.
        source: `random` (keep what the seed drew), `timm` (ImageNet weights through timm, needs the network),
            `packaged` (those that the package brings), or the path of a safetensors file.

    Returns:
        Where the weights came from, with their hash.

    Raises:
        UsageError: `timm` was asked for, and has no such network, or `packaged`, and the package brings none of it.
        NotFoundError: The file does not exist.
        IntegrityError: The file is no safetensors file, or does not hold the tensors of the encoders.
        OfflineError: `timm` was asked for, and the weights could not be fetched.
    """
    first, drawn = encoders[0], HEAD if source == PACKAGED else ()
    if source == "random":
        return origin_of(encoders, source, "", DRAWN)
    kind = source if source in {"timm", PACKAGED} else "file"
    if kind == "timm":
        tensors, name, pixels = first.pretrained()
    else:
        path = packaged_weights(first.name) if kind == PACKAGED else Path(source)
        tensors, name = in_full(read_weights(path)), path.name
        pixels = _pixels_of(path) or first.usual_pixels()
    for encoder in encoders:
        encoder.fill(tensors, name, drawn)
    return origin_of(encoders, kind, name, pixels)


def in_full(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors without those that are scales: a tensor of 8 bits is multiplied by its scale, row by row."""
    scaled = {name: name + SCALE for name in tensors if name + SCALE in tensors}
    full = {name: tensors[name].float() * tensors[scale] for name, scale in scaled.items()}
    return {name: tensor for name, tensor in tensors.items() if name not in scaled.values()} | full


def packaged_weights(network: str) -> Path:
    """Return where the package has weights of a network, or would have them."""
    return Path(str(files("upd_zoo"))) / "weights" / f"{network}.safetensors"


def origin_of(encoders: Sequence[Encoder], source: str, name: str, pixels: Pixels) -> WeightsOrigin:
    """Let encoders of one kind normalise pixels as their weights expect, and return the record of these.

    Args:
        encoders: At least one, with their weights.
        source: Kind of the source.
        name: Its name.
        pixels: What the weights expect, if the encoders normalise.
    """
    first = encoders[0]
    fields: dict[str, object] = {"backbone": first.name, "source": source, "name": name}
    for encoder in encoders:
        if encoder.normalisation is not None:
            encoder.normalisation.adopt(pixels.mean, pixels.std)
            fields |= {"mean": pixels.mean, "std": pixels.std, "pixels": pixels.told_by}
    return WeightsOrigin.model_validate(fields | {"sha256": tensors_sha256(first.tensors())})


def _pixels_of(path: Path) -> Pixels | None:
    with open_tensors(path, "download or make the file again, or pass --weights random") as file:
        return pixels_told(file.metadata() or {}, path.name)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file of weights to start from.

    Raises:
        NotFoundError: The file does not exist.
        IntegrityError: It is no safetensors file, or holds a NaN or infinity.
    """
    if path == packaged_weights(path.stem) and not path.is_file():
        brought = ", ".join(sorted(each.stem for each in path.parent.glob("*.safetensors")))
        raise UsageError(
            f"the package brings no weights of {path.stem}", f"packaged with {brought}", "add --weights timm, or a file"
        )
    if not path.is_file():
        raise NotFoundError(f"the weights file {path} does not exist", "random, timm, or a safetensors file")
    return read_tensors(path, "download or make the file again, or pass --weights random")


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return one hash of named tensors: of every name, type, shape and byte, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(
            tensor.view(torch.uint8).numpy().tobytes() if tensor.dim() else bytes(str(tensor.item()), "ascii")
        )
    return digest.hexdigest()
