"""IBN-a: instance norm beside batch norm in the early blocks of a ResNet."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class IBN(nn.Module):
    """Instance norm on the first half of the channels, batch norm on the rest (Pan et al. 2018).

    The two norms have the names of published IBN-Net checkpoints.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = channels // 2
        self.IN = nn.InstanceNorm2d(self.first, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.first)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to the same shape."""
        first, second = x.split([self.first, x.shape[1] - self.first], dim=1)
        return torch.cat([self.IN(first.contiguous()), self.BN(second.contiguous())], dim=1)


def add_ibn_a(resnet: nn.Module) -> None:
    """Replaces the first norm of each block of a timm ResNet by :class:`IBN`, except in the last
    stage."""
    for stage in (resnet.layer1, resnet.layer2, resnet.layer3):
        for block in stage:
            block.bn1 = IBN(block.bn1.num_features)
