"""DSP, the deep semantic adjustment pyramid of DSQNet (named CFP in the official code)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from rs_mm.registry import MODELS

from ..utils.folding import foldable, folded


@MODELS.register_module()
class DSP(BaseModule):
    """A top-down pyramid in which every level also gets the adjusted deepest features.

    The deepest stage is adjusted once (``semantic``). Then every level fuses the adjusted stage,
    the level above and its own stage with a 1 x 1 conv block (convolution, norm, ReLU).

    A 1 x 1 convolution and a bilinear resize commute, so each level projects the coarse maps before
    it enlarges them; the result equals concatenation first.

    Args:
        in_channels: channels of the stages, fine to coarse.
        channels: width of the pyramid; the finest level has half this width.
        norm_cfg: norm of the conv blocks.
    """

    def __init__(self, in_channels: Sequence[int], channels: int, norm_cfg: dict) -> None:
        super().__init__()
        self.semantic = SemanticAdjustment(in_channels[-1], channels)
        self.levels = nn.ModuleList()
        for index, stage_channels in enumerate(in_channels):
            top = index == len(in_channels) - 1
            width = stage_channels + (1 if top else 2) * channels
            self.levels.append(
                ConvModule(width, channels if index else channels // 2, 1, norm_cfg=norm_cfg)
            )

    def forward(self, stages: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Turns the stages of one date into a map for matching and a map for the queries.

        Args:
            stages: (N, C_i, H_i, W_i), fine to coarse.

        Returns:
            (N, channels / 2, H_0, W_0) and (N, channels, H_-1, W_-1).
        """
        semantic = self.semantic(stages[-1])
        coarse = [semantic]
        for level, stage in zip(reversed(self.levels), reversed(stages)):
            out = _fuse(level, coarse, stage)
            coarse = [semantic, out]
        return out, semantic


def _fuse(block, coarse, stage):
    """Returns ``block(cat([*resized coarse, stage], 1))``, with the projection before the
    resize."""
    fold = foldable(block.norm)
    weight, bias = folded(block.conv, block.norm) if fold else (block.conv.weight, block.conv.bias)
    widths = [x.shape[1] for x in (*coarse, stage)]
    *coarse_weights, stage_weight = weight.split(widths, 1)
    out = F.conv2d(stage, stage_weight, bias)
    for x, part in zip(coarse, coarse_weights):
        out = out + _resize(F.conv2d(x, part), stage.shape[-2:])
    return block.activate(out if fold else block.norm(out))


def _resize(x, size):
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size=size, mode='bilinear', align_corners=False)


class SemanticAdjustment(nn.Module):
    """The adjustment of the deepest stage: a projection, a normalised 1 x 1 convolution and a
    per-pixel MLP.

    The last residual starts from the normalised map, as in the official code.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        groups = max(channels // 16, 1)
        self.project = nn.Conv2d(in_channels, channels, 1)
        self.norm1 = nn.GroupNorm(groups, channels)
        self.conv = nn.Conv2d(channels, channels, 1)
        self.norm2 = nn.GroupNorm(groups, channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, channels, H, W)."""
        x = self.project(x)
        x = self.conv(self.norm1(x)) + x
        x = self.norm2(x)
        return self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) + x
