"""The head of DSQNet: pyramid, matching query, flow fusion, classifier."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from rs_mm.errors import ConfigError
from rs_mm.registry import MODELS

from ..utils.siamese import both_dates


@MODELS.register_module()
class DSQNetHead(BaseDecodeHead):
    """The head of DSQNet: change logits at the resolution of the finest stage.

    Both dates pass through the pyramid, the matching query exchanges the contents of their regions,
    and a flow field aligns each date with the other before their differences are classified. Loss:
    mmseg's (logits enlarged to the label, pixel sampler, cross entropy).

    Args:
        in_channels: channels of the stages of *one date*, fine to coarse; a change detector fills
            them in if its backbone states them.
        channels: width of the whole head, a multiple of 16; 128 and 64 are published.
        dsp: pyramid, built with this head's ``in_channels``, ``channels``, ``norm_cfg``.
        bmq: matching query, built in the same way; None leaves it out.
        norm_cfg: norm of the conv blocks, ``dict(type='SyncBN')`` as published.
        loss_decode: ``dict(type='mmseg.CrossEntropyLoss')`` as published.
        num_classes: classes; 2 for unchanged and changed.
        in_index: which stages to take.
        dropout_ratio, ignore_index, sampler, align_corners, init_cfg: see
            :class:`mmseg.models.decode_heads.BaseDecodeHead`.
    """

    channels_of_one_date = True  # `in_channels`, although the stages hold both dates

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        *,
        dsp: dict,
        bmq: dict | None,
        norm_cfg: dict,
        loss_decode: dict,
        num_classes: int = 2,
        in_index: Sequence[int] = (0, 1, 2, 3),
        dropout_ratio: float = 0.1,
        ignore_index: int = 255,
        sampler: dict | None = None,
        align_corners: bool = False,
        init_cfg: dict = dict(type='Normal', std=0.01, override=dict(name='conv_seg')),  # noqa: B006
    ) -> None:
        if channels % 16:
            raise ConfigError(f'channels={channels} of DSQNetHead must be a multiple of 16.')
        if num_classes < 2:
            raise ConfigError(
                f'num_classes={num_classes} of DSQNetHead must be at least 2: '
                'unchanged is a class, too.'
            )
        super().__init__(
            in_channels,
            channels,
            num_classes=num_classes,
            out_channels=num_classes,
            in_index=in_index,
            input_transform='multiple_select',
            norm_cfg=norm_cfg,
            loss_decode=loss_decode,
            dropout_ratio=dropout_ratio,
            ignore_index=ignore_index,
            sampler=sampler,
            align_corners=align_corners,
            init_cfg=init_cfg,
        )
        shared = dict(channels=channels, norm_cfg=norm_cfg)
        self.dsp = MODELS.build(dict(in_channels=in_channels, **shared, **dsp))
        self.bmq = None if bmq is None else MODELS.build(dict(**shared, **bmq))
        self.norm_conv = ConvModule(channels // 2, channels // 2, 1, norm_cfg=norm_cfg)
        self.fusion = FlowDualAlignment(channels)

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Stages with the channels of date 1 then date 2 to logits (N, classes, H_0, W_0)."""
        return self.cls_seg(self.fuse(inputs))

    # mmseg's methods call `forward` directly, which bypasses hooks and torch.compile
    def loss(self, inputs: tuple[Tensor, ...], batch_data_samples: list, train_cfg: dict) -> dict:
        return self.loss_by_feat(self(inputs), batch_data_samples)

    def predict(
        self, inputs: tuple[Tensor, ...], batch_img_metas: list[dict], test_cfg: dict
    ) -> Tensor:
        return self.predict_by_feat(self(inputs), batch_img_metas)

    def fuse(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Returns the features before the classifier: (N, channels, H_0, W_0)."""
        stages = self._transform_inputs(inputs)
        given = [stage.shape[1] / 2 for stage in stages]
        if given != list(self.in_channels):
            raise ConfigError(
                f'in_channels={list(self.in_channels)} of DSQNetHead do not fit: '
                f'the stages have {[round(width) for width in given]} channels per '
                "date (the neck must be FeatureFusionNeck with policy='concat')."
            )
        dates = zip(*(stage.chunk(2, 1) for stage in stages))
        first, second = both_dates(self.dsp, *dates)
        maps, semantics = zip(first, second)
        if self.bmq is not None:
            maps = self.bmq(maps, semantics)
        return self.fusion(*both_dates(self.norm_conv, *maps))


class FlowDualAlignment(nn.Module):
    """Warps each date towards the other by a learned flow and returns both differences."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.flow = nn.Sequential(
            nn.Conv2d(channels, channels, 5, padding=2, groups=channels),
            nn.InstanceNorm2d(channels),
            nn.GELU(),
            nn.Conv2d(channels, 4, 1, bias=False),
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two maps (N, C/2, H, W) to (N, C, H, W)."""
        flow_first, flow_second = self.flow(torch.cat([first, second], 1)).chunk(2, 1)
        return torch.cat(
            [self.warp(first, flow_first) - second, self.warp(second, flow_second) - first], 1
        )

    @staticmethod
    def warp(x: Tensor, flow: Tensor) -> Tensor:
        """Samples ``x`` at every pixel plus its ``flow`` (N, 2, H, W; x then y, half pixels)."""
        height, width = x.shape[-2:]
        rows = torch.linspace(-1, 1, height, device=x.device, dtype=flow.dtype)
        columns = torch.linspace(-1, 1, width, device=x.device, dtype=flow.dtype)
        identity = torch.stack(torch.meshgrid(columns, rows, indexing='xy'), -1)
        grid = identity + flow.permute(0, 2, 3, 1) / flow.new_tensor([width, height])
        return F.grid_sample(x, grid.to(x.dtype), align_corners=True)
