"""Attention on the last feature map: CBAM and dual attention."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from rs_mm.errors import ConfigError
from rs_mm.registry import MODELS


class ChannelGate(nn.Module):
    """Channel weights from the average and the maximum through one shared two-layer MLP."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(channels, channels // reduction),
            nn.ReLU(),
            nn.Linear(channels // reduction, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        weights = self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3)))
        return x * weights.sigmoid()[:, :, None, None]


class SpatialGate(nn.Module):
    """Pixel weights from the channel-wise maximum and mean."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.bn = nn.BatchNorm2d(1, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        summary = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], dim=1)
        return x * self.bn(self.conv(summary)).sigmoid()


@MODELS.register_module()
class CBAM(BaseModule):
    """Convolutional block attention (Woo et al. 2018): channel gate, then spatial gate.

    Args:
        in_channels: channels of the map (filled in by :class:`ImageEmbedder`).
        reduction: factor by which the MLP narrows.
    """

    def __init__(self, in_channels: int, reduction: int = 16, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if in_channels < reduction:
            raise ConfigError(
                f'neck.reduction {reduction} leaves nothing of {in_channels} '
                'channels; use a smaller one.'
            )
        self.channel_gate = ChannelGate(in_channels, reduction)
        self.spatial_gate = SpatialGate()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return self.spatial_gate(self.channel_gate(x))


class ConvReluNorm(nn.Module):
    """3x3 convolution with bias, ReLU, then batch norm (in this order, as published)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        return self.bn(self.conv(x).relu())


class PositionAttention(nn.Module):
    """Every pixel gathers from all pixels (Fu et al. 2019, eq. 1 and 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 8, 1)
        self.key = nn.Conv2d(channels, channels // 8, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        query, key, value = (f(x).flatten(2) for f in (self.query, self.key, self.value))
        attention = (query.transpose(1, 2) @ key).softmax(-1)  # (N, HW, HW)
        return self.gamma * (value @ attention.transpose(1, 2)).view_as(x) + x


class ChannelAttention(nn.Module):
    """Every channel gathers from all channels; softmax of row maximum - energy (Fu et al. 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        flat = x.flatten(2)
        energy = flat @ flat.transpose(1, 2)  # (N, C, C)
        attention = (energy.amax(-1, keepdim=True) - energy).softmax(-1)
        return self.gamma * (attention @ flat).view_as(x) + x


@MODELS.register_module()
class DualAttention(BaseModule):
    """Position and channel attention side by side, summed, then widened back.

    Args:
        in_channels: channels of the map (filled in by :class:`ImageEmbedder`); the attentions
            work at a quarter of it.
    """

    def __init__(self, in_channels: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        inner = in_channels // 4
        if inner < 8:
            raise ConfigError(f'neck DualAttention needs at least 32 channels, not {in_channels}.')
        self.position_in = ConvReluNorm(in_channels, inner)
        self.position = PositionAttention(inner)
        self.position_out = ConvReluNorm(inner, inner)
        self.channel_in = ConvReluNorm(in_channels, inner)
        self.channel = ChannelAttention()
        self.channel_out = ConvReluNorm(inner, inner)
        self.fuse = ConvReluNorm(inner, in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        position = self.position_out(self.position(self.position_in(x)))
        channel = self.channel_out(self.channel(self.channel_in(x)))
        return self.fuse(position + channel)
