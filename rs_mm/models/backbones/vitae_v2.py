"""ViTAEv2-S without window shift, the backbone of DSQNet's second model.

Zhang et al., ViTAEv2: Vision Transformer Advanced by Exploring Inductive Bias, IJCV 2023.
Tokens are kept as (N, H, W, C). This is the channels-last layout of the (N, C, H, W) map that the
convolutions take, so no copy is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from mmengine.model.weight_init import constant_init, trunc_normal_init
from torch import Tensor, nn

from rs_mm.errors import ConfigError
from rs_mm.registry import MODELS

from ..utils.folding import foldable, folded
from ..utils.linear import map_linear
from ..utils.pretrained import load_pretrained
from ..utils.stage_checks import check_divides, check_stages
from ..utils.windows import window_attention

_SOURCE = 'https://github.com/ViTAE-Transformer/ViTAE-Transformer (ViTAEv2-S, ImageNet-1K)'


@MODELS.register_module()
class ViTAE_Window_NoShift_basic(BaseModule):  # noqa: N801  the published name
    """ViTAEv2: four stages, each one reduction cell and several normal cells.

    The published class has relative position tables that are switched off and a norm per stage
    that is never applied; this class leaves them out (3,272 parameters for ViTAEv2-S), and ignores
    them in checkpoints.

    Images may have any size: an image is padded with zeros to a multiple of
        ``downsample_ratios[0]``, which
    changes nothing at the sizes the published class can run.

    Args:
        in_channels: bands of the image.
        embed_dims: width of one dilated convolution of the PRM, per stage.
        token_dims: token width, per stage; the channels of the outputs.
        downsample_ratios: 4 or 2, per stage.
        kernel_sizes: kernel of the PRM's convolutions, per stage.
        dilations: their dilations, per stage.
        rc_heads, rc_groups: attention heads and convolution groups of the
            reduction cells.
        nc_depths, nc_heads, nc_groups: number of normal cells, their heads and
            their convolution groups.
        attention: ``'window'`` or ``'full'`` (all tokens), per stage.
        window_size: side of a window.
        mlp_ratio: MLP ratio of the normal cells.
        drop_path_rate: largest stochastic depth rate.
        drop_path_over_whole_depth: False, as published: the rates of each stage start at the depth
            of the previous stage instead of the sum of all previous depths, so the largest is 0.208
            instead of 0.3. True: they rise over the whole depth to ``drop_path_rate``.
        init_cfg: ``dict(type='Pretrained', checkpoint='ViTAEv2-S.pth.tar')``.

    Examples:
        >>> backbone = ViTAE_Window_NoShift_basic()
        >>> [tuple(x.shape) for x in backbone(torch.rand(1, 3, 64, 96))]
        [(1, 64, 16, 24), (1, 128, 8, 12), (1, 256, 4, 6), (1, 512, 2, 3)]
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        embed_dims: Sequence[int] = (64, 64, 128, 256),
        token_dims: Sequence[int] = (64, 128, 256, 512),
        downsample_ratios: Sequence[int] = (4, 2, 2, 2),
        kernel_sizes: Sequence[int] = (7, 3, 3, 3),
        dilations: Sequence[Sequence[int]] = ((1, 2, 3, 4), (1, 2, 3), (1, 2), (1, 2)),
        rc_heads: Sequence[int] = (1, 1, 2, 4),
        rc_groups: Sequence[int] = (1, 16, 32, 64),
        nc_depths: Sequence[int] = (2, 2, 8, 2),
        nc_heads: Sequence[int] = (1, 2, 4, 8),
        nc_groups: Sequence[int] = (1, 32, 64, 128),
        attention: Sequence[str] = ('window', 'window', 'full', 'full'),
        window_size: int = 7,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.3,
        drop_path_over_whole_depth: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not set(attention) <= {'window', 'full'}:
            raise ConfigError(
                f'attention={attention} of the ViTAE backbone: every entry must be '
                "'window' or 'full'."
            )
        name = type(self).__name__
        check_stages(
            name,
            embed_dims=embed_dims,
            token_dims=token_dims,
            downsample_ratios=downsample_ratios,
            kernel_sizes=kernel_sizes,
            dilations=dilations,
            rc_heads=rc_heads,
            rc_groups=rc_groups,
            nc_depths=nc_depths,
            nc_heads=nc_heads,
            nc_groups=nc_groups,
            attention=attention,
        )
        for key, divisors, widths in (
            ('rc_heads', rc_heads, token_dims),
            ('nc_heads', nc_heads, token_dims),
            ('rc_groups', rc_groups, (in_channels, *token_dims)),
            ('rc_groups', rc_groups, embed_dims),
            ('rc_groups', rc_groups, token_dims),
            ('nc_groups', nc_groups, token_dims),
        ):
            check_divides(name, key, divisors, widths)
        rates = torch.linspace(0, drop_path_rate, sum(nc_depths)).tolist()
        self.layers = nn.ModuleList()
        for stage, depth in enumerate(nc_depths):
            if drop_path_over_whole_depth:
                start = sum(nc_depths[:stage])
            else:
                start = nc_depths[stage - 1] if stage else 0
            window = window_size if attention[stage] == 'window' else None
            self.layers.append(
                Stage(
                    ReductionCell(
                        in_channels,
                        embed_dims[stage],
                        token_dims[stage],
                        downsample_ratios[stage],
                        kernel_sizes[stage],
                        dilations[stage],
                        rc_heads[stage],
                        rc_groups[stage],
                        window,
                    ),
                    [
                        NormalCell(
                            token_dims[stage],
                            nc_heads[stage],
                            nc_groups[stage],
                            mlp_ratio,
                            window,
                            rates[start + cell],
                        )
                        for cell in range(depth)
                    ],
                )
            )
            in_channels = token_dims[stage]
        self.first_ratio = downsample_ratios[0]

    def init_weights(self) -> None:
        if self.init_cfg is not None:
            load_pretrained(self, self.init_cfg, _SOURCE)
            return
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_init(module, std=0.02, bias=0.0)
            elif isinstance(module, nn.LayerNorm):
                constant_init(module, val=1.0, bias=0.0)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Stage outputs of images (N, C, H, W): four (N, C_i, H_i, W_i), strides 4 8 16 32."""
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.first_ratio, 0, -height % self.first_ratio))
        x = x.contiguous(memory_format=torch.channels_last)
        outputs = []
        for layer in self.layers:
            x = layer(x)
            outputs.append(x)
        return outputs


class Stage(nn.Module):
    """One reduction cell ``RC`` and normal cells ``NC``; maps (N, C, H, W) to (N, C', H', W')."""

    def __init__(self, reduction: ReductionCell, cells: Sequence[NormalCell]) -> None:
        super().__init__()
        self.RC = reduction
        self.NC = nn.ModuleList(cells)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, C', H', W'), smaller by the ratio of the reduction cell."""
        tokens = self.RC(x)
        for cell in self.NC:
            tokens = cell(tokens)
        return _as_map(tokens)


class ReductionCell(nn.Module):
    """Pyramid of dilated convolutions, attention, and a parallel convolution branch."""

    def __init__(
        self,
        in_channels: int,
        embed_dim: int,
        token_dim: int,
        ratio: int,
        kernel: int,
        dilations: Sequence[int],
        heads: int,
        groups: int,
        window: int | None,
    ) -> None:
        super().__init__()
        strides = (2, 2, 1) if ratio == 4 else (2, 1, 1)
        self.PCM = ConvBranch((in_channels, embed_dim, embed_dim, token_dim), strides, groups)
        self.PRM = PyramidReduction(in_channels, embed_dim, kernel, ratio, dilations)
        self.attn = ReductionAttention(embed_dim * len(dilations), token_dim, heads, window)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to tokens (N, H', W', token_dim)."""
        return self.attn(self.PRM(x), _as_tokens(self.PCM(x)))


class PyramidReduction(nn.Module):
    """PRM: one strided convolution per dilation, GELU, concatenated along channels."""

    def __init__(
        self, in_channels: int, embed_dim: int, kernel: int, ratio: int, dilations: Sequence[int]
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList()
        for dilation in dilations:
            padding = math.ceil(((kernel - 1) * dilation + 1 - ratio) / 2)
            self.convs.append(
                nn.Sequential(
                    nn.Conv2d(in_channels, embed_dim, kernel, ratio, padding, dilation), nn.GELU()
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to tokens (N, H', W', embed_dim * dilations)."""
        return torch.cat([_as_tokens(conv(x)) for conv in self.convs], -1)


class ReductionAttention(nn.Module):
    """Attention from the PRM's width to the token width, without a residual, then the MLP."""

    def __init__(self, in_dim: int, dim: int, heads: int, window: int | None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(in_dim)
        self.attn = Attention(
            in_dim, dim, heads, window, qkv_bias=window is not None, add_values=window is None
        )
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, dim)

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        """Tokens (N, H, W, in_dim) and a branch (N, H, W, dim) to (N, H, W, dim)."""
        x = self.attn(self.norm1(x)) + branch
        return x + self.mlp(self.norm2(x))


class NormalCell(nn.Module):
    """Attention and a convolution branch in parallel, then the MLP; three drop paths."""

    def __init__(
        self,
        dim: int,
        heads: int,
        groups: int,
        mlp_ratio: float,
        window: int | None,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, dim, heads, window)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, int(dim * mlp_ratio))
        self.PCM = ConvBranch((dim, int(dim * mlp_ratio), dim, dim), (1, 1, 1), groups)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (N, H, W, dim) to the same shape."""
        branch = _as_tokens(self.PCM(_as_map(x)))
        x = x + self.drop_path(self.attn(self.norm1(x))) + self.drop_path(branch)
        return x + self.drop_path(self.mlp(self.norm2(x)))


class ConvBranch(nn.Sequential):
    """PCM: three grouped 3 x 3 convolutions, batch norm and SiLU after the first two.

    In evaluation the batch norms are folded into the convolutions. Grouped convolutions on a CPU
    are faster on planes than on channels-last maps.
    """

    def __init__(self, widths: Sequence[int], strides: Sequence[int], groups: int) -> None:

        def conv(index):
            return nn.Conv2d(widths[index], widths[index + 1], 3, strides[index], 1, groups=groups)

        super().__init__(
            conv(0),
            nn.BatchNorm2d(widths[1]),
            nn.SiLU(inplace=True),
            conv(1),
            nn.BatchNorm2d(widths[2]),
            nn.SiLU(inplace=True),
            conv(2),
        )
        self.on_planes = groups > 1

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, widths[0], H, W) to (N, widths[-1], H', W')."""
        if self.on_planes:
            x = x.contiguous()
        if not all(foldable(norm) for norm in (self[1], self[4])):
            return super().forward(x)
        for conv, norm, activate in (tuple(self)[:3], tuple(self)[3:6]):
            x = activate(
                F.conv2d(x, *folded(conv, norm), conv.stride, conv.padding, groups=conv.groups)
            )
        return self[6](x)


class Attention(nn.Module):
    """Self-attention among all tokens, or inside windows without shift, mask or position bias.

    Args:
        in_dim, dim: width of the incoming and of the outgoing tokens.
        heads: number of heads.
        window: side of a window; None attends to all tokens.
        qkv_bias: bias of the joint projection.
        add_values: adds the values to the projected result, as reduction cells with full attention
            do.
    """

    def __init__(
        self,
        in_dim: int,
        dim: int,
        heads: int,
        window: int | None,
        qkv_bias: bool = True,
        add_values: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.window, self.add_values = heads, window, add_values
        self.scale = (dim // heads) ** -0.5
        self.qkv = nn.Linear(in_dim, dim * 3, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (N, H, W, in_dim) to (N, H, W, dim)."""
        qkv = map_linear(self.qkv, x)
        if self.window is None:
            out = self._full(qkv)
        else:
            out = window_attention(
                qkv, self.heads, self.window, scale=self.scale, pad_value=self.qkv.bias
            )
        out = map_linear(self.proj, out)
        return out + qkv.chunk(3, -1)[2] if self.add_values else out

    def _full(self, qkv):
        batch, height, width, _ = qkv.shape
        qkv = qkv.reshape(batch, height * width, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(*qkv, scale=self.scale)
        return out.transpose(1, 2).reshape(batch, height, width, -1)


class MLP(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (N, H, W, dim) to the same shape."""
        return map_linear(self.fc2, map_linear(self.fc1, x, gelu=True))


def _as_map(tokens):
    """(N, H, W, C) -> (N, C, H, W), the same memory."""
    return tokens.permute(0, 3, 1, 2)


def _as_tokens(x):
    """(N, C, H, W) -> (N, H, W, C), the same memory if the map is channels-last."""
    return x.permute(0, 2, 3, 1)
