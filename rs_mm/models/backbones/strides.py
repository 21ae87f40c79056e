"""Output strides and paddings that timm itself does not offer."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from rs_mm.errors import ConfigError

# (stride, dilation) of the last two stages of a ResNet by output stride, as in the code of Imbriaco
# et al.: at 16 the third stage keeps its resolution, and the fourth has a stride and dilates.
_FIRST_BLOCK = {32: ((2, 1), (2, 1)), 16: ((1, 1), (2, 2)), 8: ((1, 2), (1, 4))}


def dilate_first_block(model: nn.Module, output_stride: int) -> None:
    """Sets an output stride as the original OML code does: only the first blocks dilate.

    The convolution with the stride gets the dilation; if it is a 1x1 convolution (SE-ResNet), the
    dilation has no effect.
    """
    stages = [getattr(model, name, None) for name in ('layer3', 'layer4')]
    if None in stages or output_stride not in _FIRST_BLOCK:
        raise ConfigError(
            'encoder.dilate="first" is for ResNet and SE-ResNet families with '
            'output_stride 8, 16 or 32; use dilate="all" or "none" here.'
        )
    for stage, (stride, dilation) in zip(stages, _FIRST_BLOCK[output_stride]):
        for name, conv in _striding_convs(stage[0]):
            conv.stride = (stride, stride)
            if 'downsample' not in name and conv.kernel_size != (1, 1):
                conv.dilation = conv.padding = (dilation, dilation)
        _replace_striding_pools(stage[0], stride)


def remove_strides(model: nn.Module, output_stride: int) -> None:
    """Sets an output stride by setting the strides of the last stages to 1, without dilation."""
    stages = list(getattr(model, 'blocks', [])) or [
        getattr(model, f'layer{i}') for i in range(1, 5) if hasattr(model, f'layer{i}')
    ]
    striding = [stage for stage in stages if any(_striding_convs(stage))]
    stride = 32
    while stride > output_stride and striding:
        stage = striding.pop()
        for _, conv in _striding_convs(stage):
            conv.stride = (1, 1)
        _replace_striding_pools(stage, 1)
        stride //= 2
    if stride != output_stride:
        raise ConfigError(
            f'encoder.output_stride {output_stride} cannot be reached with '
            'dilate="none" by this model; use 32.'
        )


def _striding_convs(module):
    return [
        (name, conv)
        for name, conv in module.named_modules()
        if isinstance(conv, nn.Conv2d) and conv.stride != (1, 1)
    ]


def _replace_striding_pools(module, stride):
    for layer in module.modules():
        if isinstance(layer, nn.AvgPool2d):
            layer.kernel_size = layer.stride = stride


class FixedPadConv2d(nn.Conv2d):
    """A convolution padded by kernel - stride in total, the smaller half first."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, C', H', W'); H' is H / stride, rounded up."""
        pads = []
        for kernel, stride in reversed(list(zip(self.kernel_size, self.stride))):
            total = max(kernel - stride, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads))


def fix_padding(model: nn.Module) -> None:
    """Gives every spatial convolution a padding that does not depend on the input size.

    TensorFlow's "same" padding, which timm's ``tf_efficientnet_*`` use, is equal for even input
    sizes and different for odd ones.
    """
    for module in list(model.modules()):
        for name, conv in list(module.named_children()):
            if isinstance(conv, nn.Conv2d) and conv.kernel_size != (1, 1):
                new = FixedPadConv2d(
                    conv.in_channels,
                    conv.out_channels,
                    conv.kernel_size,  # type: ignore[arg-type]
                    conv.stride,  # type: ignore[arg-type]
                    0,
                    conv.dilation,  # type: ignore[arg-type]
                    conv.groups,
                    conv.bias is not None,
                )
                new.load_state_dict(conv.state_dict())
                setattr(module, name, new)
