"""Feature backbones with frozen parameters, any of timm's, and the record of where their weights came from."""

import hashlib
import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import safetensors.torch
import torch
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from safetensors import SafetensorError
from torch import Tensor, nn
from typing_extensions import override

from upd_zoo.artefact import WeightsOrigin
from upd_zoo.errors import IntegrityError, NotFoundError, OfflineError, UsageError, closest
from upd_zoo.vocabulary import IMAGE_SIZE

STRIDES = (4, 8, 16)
"""Strides of the levels that most of the study's feature-modelling methods read: layer1 to layer3 of a ResNet."""
_PADDINGS = ("zeros", "reflect")

_LEVEL = re.compile(r"^([A-Za-z]+)\.(\d+)\.")


def _timm() -> ModuleType:
    """Return timm, imported when the first backbone is made: with torchvision it takes 9 s that others need not pay."""
    return importlib.import_module("timm")


class FeatureBackbone(nn.Module):
    """Feature levels of a timm network whose parameters are frozen.

    Grey images are repeated to the three channels that the network takes. Nothing is normalised, as in the study.

    Args:
        name: timm name of the network.
        strides: Strides of the levels, ascending powers of 2; what only deeper levels need is left out of the network.
        adapts: Whether batch normalisation follows the mode of the method. In training it then uses the statistics of
            the batch and re-estimates its running ones on the target domain; everything else, and without this all,
            stays in evaluation mode.
        padding: `zeros`, or `reflect` for convolutions that see their map mirrored at the border.

    Raises:
        UsageError: timm has no such network, it lacks one of the strides, or its convolutions cannot pad so.
    """

    def __init__(
        self, name: str, strides: Sequence[int] = STRIDES, *, adapts: bool = False, padding: str = "zeros"
    ) -> None:
        super().__init__()
        if not _timm().is_model(name):
            raise UsageError(f"timm has no backbone called '{name}'", closest(name, _timm().list_models()))
        self.name, self.strides, self.adapts = name, tuple(strides), adapts
        self.network = self._network(pretrained=False)
        self.channels: tuple[int, ...] = tuple(self.network.feature_info.channels())
        self.sides: tuple[int, ...] = tuple(IMAGE_SIZE // stride for stride in self.strides)
        self.requires_grad_(False)
        self.eval()
        _pad(self, padding)
        self._check_levels()

    def _network(self, *, pretrained: bool) -> Any:
        """Return the network up to its deepest level, as timm makes it."""
        levels = _levels(self.name, self.strides)
        return _timm().create_model(self.name, features_only=True, pretrained=pretrained, out_indices=levels)

    def _check_levels(self) -> None:
        """Refuse networks whose levels are not maps of the sides that their strides promise."""
        try:
            with torch.no_grad():
                found = [tuple(level.shape[1:]) for level in self(torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE))]
        except (AssertionError, RuntimeError) as error:
            raise UsageError(f"{self.name} cannot take images of {IMAGE_SIZE} pixels: {error}") from error
        expected = [(channels, side, side) for channels, side in zip(self.channels, self.sides, strict=True)]
        if found != expected:
            raise UsageError(f"the levels of {self.name} have shapes {found}", f"shapes {expected}")

    @override
    def train(self, mode: bool = True) -> "FeatureBackbone":
        """Stay in evaluation mode, so that running statistics never move; those of a backbone that adapts do."""
        super().train(False)
        for module in self.modules():
            if self.adapts and isinstance(module, nn.BatchNorm2d):
                module.train(mode)
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the levels, (B, channels[i], sides[i], sides[i]) each, of (B, 1 or 3, H, W)."""
        levels: list[Tensor] = self.network(images.expand(-1, 3, -1, -1))
        return levels


def _levels(name: str, strides: tuple[int, ...]) -> list[int]:
    """Return the index of the last level of each stride."""
    reductions = _timm().create_model(name, features_only=True, pretrained=False).feature_info.reduction()
    try:
        return [len(reductions) - 1 - reductions[::-1].index(stride) for stride in strides]
    except ValueError:
        raise UsageError(f"the levels of {name} have strides {reductions}", f"strides {strides} among them") from None


def _pad(backbone: FeatureBackbone, padding: str) -> None:
    """Give every convolution that pads its map this kind of padding.

    Raises:
        UsageError: The padding has no name, or a convolution computes its padding itself.
    """
    if padding not in _PADDINGS:
        raise UsageError(f"no padding is called '{padding}'", f"paddings: {', '.join(_PADDINGS)}")
    if padding == "zeros":  # what timm has
        return
    for convolution in backbone.modules():
        if not isinstance(convolution, nn.Conv2d) or convolution.kernel_size == (1, 1):
            continue
        if type(convolution) is not nn.Conv2d or isinstance(convolution.padding, str):
            raise UsageError(
                f"{backbone.name} has a {type(convolution).__name__}, which pads in its own way",
                f"padding '{padding}' with networks of plain convolutions, such as resnet18",
                "use padding 'zeros'",
            )
        convolution.padding_mode = "reflect"


def initialise(backbone: FeatureBackbone, source: str) -> WeightsOrigin:
    """Give a backbone its weights.

    Args:
        backbone: Changed in place.
        source: `random` (keep what the seed drew), `timm` (ImageNet weights through timm, needs the network), or the
            path of a safetensors file with timm's names.

    Returns:
        Where the weights came from, with their hash.

    Raises:
        NotFoundError: The file does not exist.
        IntegrityError: The file is no safetensors file, or has not every tensor of the backbone.
        OfflineError: `timm` was asked for, and the weights could not be fetched.
    """
    if source == "random":
        name = ""
    elif source == "timm":
        name = _load_from_timm(backbone)
    else:
        name = _load_from_file(backbone, Path(source))
    kind = source if source in ("random", "timm") else "file"
    return WeightsOrigin.model_validate(
        {"backbone": backbone.name, "source": kind, "name": name, "sha256": tensors_sha256(backbone.state_dict())}
    )


def _load_from_timm(backbone: FeatureBackbone) -> str:
    try:
        fetched = backbone._network(pretrained=True)
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError, RuntimeError) as error:
        raise OfflineError(
            f"the ImageNet weights of {backbone.name} could not be fetched: {error}",
            "a network connection",
            "pass a local safetensors file with --weights FILE, or --weights random",
        ) from error
    backbone.network.load_state_dict(fetched.state_dict())
    return str(fetched.pretrained_cfg.get("hf_hub_id") or fetched.pretrained_cfg.get("url", ""))


def _load_from_file(backbone: FeatureBackbone, path: Path) -> str:
    if not path.is_file():
        raise NotFoundError(f"the weights file {path} does not exist", "random, timm, or a safetensors file")
    try:
        tensors = safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise IntegrityError(f"{path.name} is not a safetensors file: {error}") from error
    expected = backbone.network.state_dict()
    # timm calls a level `stages_0` where the whole network has `stages.0`.
    tensors = {_LEVEL.sub(r"\1_\2.", name) if name not in expected else name: tensors[name] for name in tensors}
    missing = [name for name in expected if name not in tensors and not name.endswith("num_batches_tracked")]
    if missing:
        raise IntegrityError(f"{path.name} lacks {len(missing)} tensors of {backbone.name}, the first {missing[0]}")
    try:
        backbone.network.load_state_dict({name: tensors.get(name, value) for name, value in expected.items()})
    except RuntimeError as error:
        raise IntegrityError(f"{path.name} does not fit {backbone.name}: {error}") from error
    return path.name


def tensors_sha256(tensors: dict[str, Tensor]) -> str:
    """Return one hash of named tensors: of every name, type, shape and byte, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(
            tensor.view(torch.uint8).numpy().tobytes() if tensor.dim() else bytes(str(tensor.item()), "ascii")
        )
    return digest.hexdigest()
