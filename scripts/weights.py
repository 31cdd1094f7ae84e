"""Write the light backbone that the package brings: `python scripts/weights.py mobilenetv2_100.safetensors`.

What it reads are ImageNet weights with timm's names, converted from Google's release in 8 bits (Apache-2.0). All but
the head is kept, and convolutions go back to 8 bits, each of their rows with its scale: 2.1 MB.
"""

import sys
from pathlib import Path
from typing import Final

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from upd_zoo.layers.encoder import HEAD, SCALE, in_full, packaged_weights

_CONVOLUTION: Final = 4
"""Axes of its weights."""
_LARGEST: Final = 127


def main(source: Path) -> None:
    """Write the weights into the package."""
    with safe_open(source, "pt") as file:
        metadata = file.metadata() | {"changed": "without head; convolutions in 8 bits, a scale for each row"}
        names = [name for name in sorted(file.keys()) if not name.startswith(HEAD)]
        tensors = {name: file.get_tensor(name) for name in names if not name.endswith("num_batches_tracked")}
    small = {key: each for name, tensor in tensors.items() for key, each in _small(name, tensor).items()}
    path = packaged_weights(source.stem)
    save_file(small, path, metadata)
    full = in_full(small)
    errors = [float((tensor - full[name]).norm() / tensor.norm()) for name, tensor in tensors.items()]
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB; weights change by {max(errors):.1e} of their norm at most")


def _small(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Return a tensor as it is kept: a convolution in 8 bits with its scales."""
    if tensor.dim() != _CONVOLUTION:
        return {name: tensor.float().contiguous()}
    scale = tensor.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / _LARGEST
    return {name: (tensor / scale).round().to(torch.int8).contiguous(), name + SCALE: scale.float().contiguous()}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
