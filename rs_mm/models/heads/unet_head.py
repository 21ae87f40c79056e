"""The decoder of a U-Net over the stages of any encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from rs_mm.registry import MODELS


@MODELS.register_module()
class UNetHead(BaseDecodeHead):
    """From the coarsest stage up: enlarge, join with the next finer stage, two convolutions.

    Logits have the resolution of the finest stage; mmseg's loss enlarges them to the label.

    Source: Ronneberger et al., "U-Net", MICCAI 2015, Fig. 1; as a change detector: Corley et al.,
    "A Change Detection Reality Check", 2024, sec. 3.

    Args:
        in_channels: channels of the stages, fine to coarse.
        channels: width of the finest level; each coarser level has twice the width of the finer
            one.
        in_index: which stages to take.
        **kwargs: see :class:`mmseg.models.decode_heads.BaseDecodeHead`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 64,
        in_index: Sequence[int] = (0, 1, 2, 3),
        **kwargs: Any,
    ) -> None:
        super().__init__(
            in_channels,
            channels,
            in_index=list(in_index),
            input_transform='multiple_select',
            **kwargs,
        )
        levels, below = [], in_channels[-1]
        for level, width in reversed(list(enumerate(in_channels[:-1]))):
            out = channels * 2**level
            levels.append(nn.Sequential(self._block(below + width, out), self._block(out, out)))
            below = out
        self.levels = nn.ModuleList(levels)

    def _block(self, in_channels, out_channels):
        return ConvModule(
            in_channels,
            out_channels,
            3,
            padding=1,
            norm_cfg=self.norm_cfg,
            act_cfg=self.act_cfg,
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Stages (N, C_i, H_i, W_i) to logits (N, classes, H_0, W_0)."""
        *finer, x = self._transform_inputs(inputs)
        for level, stage in zip(self.levels, reversed(finer)):
            x = F.interpolate(
                x, size=stage.shape[2:], mode='bilinear', align_corners=self.align_corners
            )
            x = level(torch.cat([x, stage], 1))
        return self.cls_seg(x)
