"""Networks that timm makes: whole ones, and feature backbones with frozen parameters."""

import importlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from torch import Tensor, nn
from typing_extensions import override

from upd_zoo.errors import OfflineError, UsageError, closest
from upd_zoo.layers.encoder import Encoder
from upd_zoo.layers.normalisation import DRAWN, Normalisation, Pixels
from upd_zoo.layers.receptive_field import first_centres
from upd_zoo.layers.resize import Grid

STRIDES = (4, 8, 16)
"""Strides of the levels that most of the study's feature-modelling methods read: layer1 to layer3 of a ResNet."""
_FIRST_WEIGHTS = {"resnet18": "resnet18.tv_in1k", "wide_resnet50_2": "wide_resnet50_2.tv_in1k"}
"""timm's tags of torchvision's first weights of the study's backbones, which the study and the originals have; those
that timm gives without a tag were learnt later by other recipes."""
_PADDINGS = ("zeros", "reflect")
_PLACEMENTS = ("looked-at", "edges", "corners")
_FEATURES = ("blocks", "expansion")
_LINEAR_BOTTLENECKS = ("efficientnet", "mobilenetv3")
"""timm's modules of networks whose blocks widen, filter and squeeze: MobileNetV2, V3 and their kin."""

_NOISE_SIDE = 64
"""Side of the image by which signed levels are found: two cells of the deepest one."""

_LEVEL = re.compile(r"^([A-Za-z]+)\.(\d+)\.")


def _timm() -> ModuleType:
    """Return timm, imported when the first backbone is made: with torchvision it takes 9 s that others need not pay."""
    return importlib.import_module("timm")


class TimmEncoder(Encoder):
    """A network that timm makes, whole but for its classifier, or levels of it.

    Files have timm's names for the whole network. What only a classifier or deeper levels need may lie in them.
    """

    __slots__ = ()

    @override
    def places(self, names: Iterable[str]) -> dict[str, str]:
        own, whole, found = self.tensors(), _whole(self.name), {}
        for name in names:
            # timm calls a level `stages_0` where the whole network has `stages.0`.
            place = name if name in own else _LEVEL.sub(r"\1_\2.", name)
            if place in own or name not in whole:
                found[name] = place
        return found

    @override
    def usual_pixels(self) -> Pixels:
        return _pixels(_timm().models.get_pretrained_cfg(self.name), f"timm's usual weights of {self.name}")

    @override
    def pretrained(self) -> tuple[dict[str, Tensor], str, Pixels]:
        try:
            fetched = _timm().create_model(_FIRST_WEIGHTS.get(self.name, self.name), pretrained=True)
        except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError, RuntimeError) as error:
            raise OfflineError(
                f"the ImageNet weights of {self.name} could not be fetched: {error}",
                "a network connection",
                "pass --weights FILE, a safetensors file; or --weights packaged, with the backbone mobilenetv2_100",
            ) from error
        config = SimpleNamespace(**fetched.pretrained_cfg)
        tag = str(getattr(config, "hf_hub_id", None) or config.url)
        return fetched.state_dict(), tag, _pixels(config, tag)


def _pixels(config: Any, told_by: str) -> Pixels:
    """Return what timm's configuration of weights says of pixels; drawn networks have none."""
    return DRAWN if config is None else Pixels(tuple(config.mean), tuple(config.std), told_by)


@cache
def _whole(name: str) -> frozenset[str]:
    """Return the names of all tensors of a timm network with its classifier."""
    with torch.device("meta"):
        return frozenset(_timm().create_model(name, pretrained=False).state_dict())


class WholeNetwork(nn.Module):
    """A timm network without its classifier, which describes images by its pooled features; its weights are drawn.

    Args:
        name: timm name of the network.
        normalise: Whether it normalises images in [0, 1] as its weights expect.

    Raises:
        UsageError: timm has no such network.
    """

    def __init__(self, name: str, *, normalise: bool = False) -> None:
        super().__init__()
        _check_name(name)
        self.name = name
        self.network = _timm().create_model(name, pretrained=False, num_classes=0)
        self.features: int = self.network.num_features
        self.normalisation = Normalisation() if normalise else None

    @property
    def encoder(self) -> Encoder:
        """What of it may start from weights learnt beforehand: all."""
        return TimmEncoder(self.name, {"": self.network}, self.forward, self.normalisation)

    def forward(self, images: Tensor) -> Tensor:
        """Return features (B, D) of images (B, 1 or 3, H, W)."""
        features: Tensor = self.network(_colour(images, self.normalisation))
        return features


def _check_name(name: str) -> None:
    if not _timm().is_model(name):
        raise UsageError(f"timm has no backbone called '{name}'", closest(name, _timm().list_models()))


class FeatureBackbone(nn.Module):
    """Feature levels of a timm network whose parameters are frozen.

    Grey images are repeated to the three channels that the network takes.

    Args:
        name: timm name of the network.
        side: Height and width of the images in pixels.
        strides: Strides of the levels, ascending powers of 2; what only deeper levels need is left out of the network.
        adapts: Whether batch normalisation follows the mode of the method. In training it then uses the statistics of
            the batch and re-estimates its running ones on the target domain; everything else, and without this all,
            stays in evaluation mode.
        padding: `zeros`, or `reflect` for convolutions that see their map mirrored at the border.
        features: `blocks`, what the blocks of the network answer, or `expansion`, what blocks with a linear bottleneck
            have widened and filtered just before it: more channels, and after a ReLU none of them signed. Networks
            without such bottlenecks answer the same to both.
        normalise: Whether images in [0, 1] are normalised by the mean and deviation that belong to the weights.

    Raises:
        UsageError: timm has no such network, it lacks one of the strides, its convolutions cannot pad so, or there are
            no such features.
    """

    def __init__(
        self,
        name: str,
        side: int,
        strides: Sequence[int] = STRIDES,
        *,
        adapts: bool = False,
        padding: str = "zeros",
        features: str = "blocks",
        normalise: bool = False,
    ) -> None:
        super().__init__()
        _check_name(name)
        if features not in _FEATURES:
            raise UsageError(f"no features are called '{features}'", ", ".join(_FEATURES))
        self.normalisation = Normalisation() if normalise else None
        self.name, self.strides, self.adapts, self.features = name, tuple(strides), adapts, features
        self.network = _make(name, features, _levels(name, self.strides))
        self.channels: tuple[int, ...] = tuple(self.network.feature_info.channels())
        self.sides: tuple[int, ...] = tuple(side // stride for stride in self.strides)
        self._recalled: list[Tensor] | None = None
        self.requires_grad_(False)
        self.eval()
        _pad(self, padding)
        self._check_levels(side)

    @property
    def encoder(self) -> Encoder:
        """What of it may start from weights learnt beforehand."""
        return TimmEncoder(self.name, {"": self.network}, None, self.normalisation)

    @property
    def signed(self) -> tuple[bool, ...]:
        """Which levels hold negative numbers, whatever the weights: those that no ReLU ends."""
        return _signed(self.name, self.features, self.strides)

    def grids(self, placement: str) -> tuple[Grid, ...]:
        """Return where the cells of each level lie in an image of the side that the levels are made for.

        Args:
            placement: `looked-at` (where they look; see `upd_zoo.layers.receptive_field`), or one of the conventions of
                resizing: `edges` (the outermost cells end with the image) or `corners` (they lie on its outermost
                pixels).

        Raises:
            UsageError: There is no such placement, or it cannot be found where the cells look.
        """
        if placement not in _PLACEMENTS:
            raise UsageError(f"no placement is called '{placement}'", ", ".join(_PLACEMENTS))
        cells = tuple(zip(self.sides, self.strides, strict=True))
        if placement == "edges":
            return tuple(Grid(side, (stride - 1) / 2, stride) for side, stride in cells)
        if placement == "corners":
            return tuple(Grid(side, 0, (side * stride - 1) / max(side - 1, 1)) for side, stride in cells)
        first = _first_centres(self.name, self.features, self.strides)
        return tuple(Grid(side, centre, stride) for (side, stride), centre in zip(cells, first, strict=True))

    def _check_levels(self, side: int) -> None:
        """Refuse networks whose levels are not maps of the sides that their strides promise."""
        try:
            with torch.no_grad():
                found = [tuple(level.shape[1:]) for level in self(torch.zeros(1, 3, side, side))]
        except (AssertionError, RuntimeError) as error:
            raise UsageError(f"{self.name} cannot take images of {side} pixels: {error}") from error
        expected = [(channels, level, level) for channels, level in zip(self.channels, self.sides, strict=True)]
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
        if self._recalled is not None:
            return self._recalled
        levels: list[Tensor] = self.network(_colour(images, self.normalisation))
        return levels

    @contextmanager
    def recalling(self, levels: list[Tensor]) -> Iterator[None]:
        """Answer with these levels, whatever images are asked for: they were computed of them before."""
        self._recalled = levels
        try:
            yield
        finally:
            self._recalled = None


def _colour(images: Tensor, normalisation: Normalisation | None) -> Tensor:
    """Return images (B, 1 or 3, H, W) in three channels, normalised if need be."""
    colour = images.expand(-1, 3, -1, -1)
    if normalisation is None:
        return colour
    normalised: Tensor = normalisation(colour)
    return normalised


def _make(name: str, features: str, levels: Sequence[int] = ()) -> Any:
    """Return timm's network that answers these levels, by their index; all where there are none given."""
    options: dict[str, Any] = {"out_indices": tuple(levels)} if levels else {}
    if features == "expansion" and _timm().models.is_model_in_modules(name, _LINEAR_BOTTLENECKS):
        options["feature_location"] = "expansion"
    return _timm().create_model(name, features_only=True, pretrained=False, **options)


@cache
def _levels(name: str, strides: tuple[int, ...]) -> tuple[int, ...]:
    """Return the index of the last level of each stride."""
    with torch.device("meta"):
        reductions = _make(name, "blocks").feature_info.reduction()
    try:
        return tuple(len(reductions) - 1 - reductions[::-1].index(stride) for stride in strides)
    except ValueError:
        raise UsageError(f"the levels of {name} have strides {reductions}", f"strides {strides} among them") from None


@cache
def _first_centres(name: str, features: str, strides: tuple[int, ...]) -> tuple[float, ...]:
    """Return the pixel at which the first cell of each level looks."""
    with torch.device("meta"):
        network = _make(name, features, _levels(name, strides))
    with torch.device("cpu"):
        return first_centres(network)


@cache
def _signed(name: str, features: str, strides: tuple[int, ...]) -> tuple[bool, ...]:
    """Return which levels of a network with drawn weights hold a negative number for an image of noise."""
    with torch.random.fork_rng(devices=()), torch.device("cpu"), torch.no_grad():
        torch.manual_seed(0)
        network = _make(name, features, _levels(name, strides)).eval()
        return tuple(bool((level < 0).any()) for level in network(torch.randn(1, 3, _NOISE_SIDE, _NOISE_SIDE)))


def _pad(backbone: FeatureBackbone, padding: str) -> None:
    """Give every convolution that pads its map this kind of padding.

    Raises:
        UsageError: The padding has no name, or a convolution computes its padding itself.
    """
    if padding not in _PADDINGS:
        raise UsageError(f"no padding is called '{padding}'", ", ".join(_PADDINGS))
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
