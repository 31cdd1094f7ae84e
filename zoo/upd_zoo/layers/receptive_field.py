"""Where in an image the cells of a network's levels look: the centres of their receptive fields.

Strides and paddings of all layers on the way decide it, of convolutions of 3 pixels with a padding of 1 and of patches
without padding alike. It is measured: a copy of the network becomes a chain of plain means, which answers an image of
pixel numbers with the mean pixel number that each cell sees.

Cell i of a stride s looks at pixel s · i in networks whose convolutions are odd and padded on both sides, such as
ResNets and MobileNetV2, at s · i + (s - 1) / 2 in ConvNeXt, and at s · i + s - 1 in TensorFlow's networks, which pad on
the right alone. Both conventions of resizing place cells of a ResNet too far right and down, by up to half a cell.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from upd_zoo.errors import UsageError

_WIDTH = 512
"""Of the strip that is looked at, in pixels."""
_HEIGHT = 32
_NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
_ACTIVATIONS = ("torch.nn.modules.activation", "timm.layers.activations")


def first_centres(network: nn.Module) -> tuple[float, ...]:
    """Return the pixel at which the first cell of each level looks, were it not at the border.

    Args:
        network: Images (B, 3, H, W) -> levels of strides that are powers of 2; changed in place, of no use then.

    Raises:
        UsageError: The network is no chain of layers whose means can be taken.
    """
    _make_mean(network)
    # From the middle, at which a cell of any such stride would look if the first one looked at 0.
    pixels = torch.arange(_WIDTH, dtype=torch.float64) - _WIDTH // 2
    images = torch.stack((torch.ones_like(pixels), pixels))[:, None, None].expand(2, 3, _HEIGHT, _WIDTH)
    try:
        with torch.no_grad():
            seen = [_in_the_middle(level) for level in network(images)]
        found = all(bool(ones.isfinite() & (ones > 0)) for ones, _ in seen)
    except RuntimeError:  # of layers that make their weights from others
        found = False
    if not found:
        raise UsageError(
            "the places at which cells of this network look cannot be found",
            "a network of plain convolutions, such as resnet18 or mobilenetv2_100",
            "use placement 'edges' or 'corners'",
        )
    return tuple(round(float(total / ones), 3) + 0.0 for ones, total in seen)


def _in_the_middle(level: Tensor) -> Tensor:
    """Return (2,), what a level (2, C, h, w) says of the cell at its middle."""
    return level[:, 0, level.shape[2] // 2, level.shape[3] // 2]


def _make_mean(network: nn.Module) -> None:
    """Let every layer answer a weighted mean of what it sees, the same in all channels."""
    network.to_empty(device="cpu").double().eval()
    for name, parameter in network.named_parameters():
        share = 0.0 if name.endswith("bias") else 1 / parameter[0].numel() if parameter.dim() > 1 else 1.0
        nn.init.constant_(parameter, share)
    for buffer in network.buffers():
        buffer.fill_(1)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            _thin(module)
        answer = _plain(module)
        if answer is not None:
            module.forward = answer  # hooks of the module stay


def _thin(convolution: nn.Conv2d) -> None:
    """Let a convolution compute one channel of its mean, which all others repeat."""
    kernel = torch.ones(1, 1, *convolution.kernel_size, dtype=torch.float64)
    convolution.weight, convolution.groups = nn.Parameter(kernel / kernel.numel()), 1
    if convolution.bias is not None:
        convolution.bias = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    channels = convolution.out_channels
    convolution.register_forward_pre_hook(lambda _, inputs: inputs[0].mean(1, keepdim=True))
    convolution.register_forward_hook(lambda _, __, output: output.repeat(1, channels, 1, 1))


def _plain(module: nn.Module) -> Callable[..., Tensor] | None:
    """Return what a module that is no mean does instead; None where it is one."""
    kind = type(module)
    if "sigmoid" in kind.__name__.lower():  # a gate, held open
        return torch.ones_like
    if isinstance(module, _NORMALISATIONS) or kind.__module__.startswith(_ACTIVATIONS):
        return _unchanged
    if isinstance(module, nn.MaxPool2d):
        return partial(F.avg_pool2d, kernel_size=module.kernel_size, stride=module.stride, padding=module.padding)
    return None


def _unchanged(images: Tensor, *_: object) -> Tensor:
    return images
