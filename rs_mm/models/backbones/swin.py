"""Swin Transformer: mmseg's modules and parameters, with a faster forward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model.weight_init import trunc_normal_
from mmseg.models.backbones.swin import SwinTransformer as MMSegSwinTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rs_mm.errors import ConfigError
from rs_mm.registry import MODELS

from ..utils.linear import map_linear
from ..utils.pretrained import load_pretrained
from ..utils.stage_checks import check_divides, check_stages
from ..utils.windows import shift_mask, window_attention


@MODELS.register_module()
class SwinTransformer(MMSegSwinTransformer):
    """Swin Transformer with fused window attention.

    Modules, parameter names, arguments and results are the same as in mmseg's class; only the
    forward differs. Queries, keys and values are computed before windows are padded (a padded token
    is zero, so its projection is the bias). Without gradients the attention is PyTorch's fused
    kernel. Shift masks are built once per size. Outputs are channels-last.

    Unlike mmseg's class it loads the *original* ImageNet checkpoints
    (``swin_tiny_patch4_window7_224.pth``): ``init_cfg=dict(type='Pretrained', checkpoint=...)``.
    Checkpoints in mmseg's naming load too.

    Args:
        embed_dims: channels of the first stage; each further stage has twice as many.
        depths, num_heads, strides: blocks, attention heads and downsampling of
            each stage.
        out_indices: stages to return.
        **kwargs: see :class:`mmseg.models.backbones.SwinTransformer`.

    Raises:
        ConfigError: the settings have different numbers of stages.
    """

    def __init__(
        self,
        embed_dims: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        strides: Sequence[int] = (4, 2, 2, 2),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        **kwargs: Any,
    ) -> None:
        check_stages('SwinTransformer', depths=depths, num_heads=num_heads, strides=strides)
        check_divides(
            'SwinTransformer',
            'num_heads',
            num_heads,
            [embed_dims * 2**stage for stage in range(len(depths))],
        )
        if not all(0 <= index < len(depths) for index in out_indices):
            raise ConfigError(
                f'out_indices={tuple(out_indices)} of SwinTransformer must name some '
                f'of its {len(depths)} stages, counted from 0.'
            )
        super().__init__(
            embed_dims=embed_dims,
            depths=depths,
            num_heads=num_heads,
            strides=strides,
            out_indices=out_indices,
            **kwargs,
        )

    def train(self, mode: bool = True) -> SwinTransformer:
        super().train(mode)
        return self  # mmseg's `train` returns None

    def init_weights(self) -> None:
        if self.init_cfg is None:
            super().init_weights()
            for name, table in self.named_parameters():
                if name.endswith('relative_position_bias_table'):
                    trunc_normal_(table, std=0.02)
        else:
            load_pretrained(
                self,
                self.init_cfg,
                'https://github.com/microsoft/Swin-Transformer (ImageNet-1K models)',
                rename=rename_official,
            )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Stage outputs of images (N, C, H, W): one (N, C_i, H_i, W_i) per ``out_indices``."""
        # channels-last, so that the tokens are the map
        x, size = self.patch_embed(x.contiguous(memory_format=torch.channels_last))
        if self.use_abs_pos_embed:
            x = x + self.absolute_pos_embed
        x = self.drop_after_pos(x).unflatten(1, size)  # tokens as (N, H, W, C) from here on
        outputs = []
        for index, stage in enumerate(self.stages):
            for block in stage.blocks:
                if block.with_cp and x.requires_grad:
                    x = checkpoint(_block, block, x, use_reentrant=False)
                else:
                    x = _block(block, x)
            if index in self.out_indices:
                outputs.append(getattr(self, f'norm{index}')(x).permute(0, 3, 1, 2))
            if stage.downsample is not None:
                x = _merge(stage.downsample, x)
        return outputs


def _block(block, x):
    """mmseg's SwinBlock."""
    x = x + _attend(block.attn, block.norm1(x))
    (expand, activate, _), contract, *_ = block.ffn.layers
    if block.training or not isinstance(activate, nn.GELU):
        return block.ffn(block.norm2(x), identity=x)
    return x + map_linear(contract, map_linear(expand, block.norm2(x), gelu=True))


def _attend(attention, x):
    """mmseg's ShiftWindowMSA: (shifted) window attention."""
    core, window, shift = attention.w_msa, attention.window_size, attention.shift_size
    bias = core.relative_position_bias_table[core.relative_position_index.view(-1)]
    bias = bias.view(window**2, window**2, core.num_heads).permute(2, 0, 1)[None]
    if shift:
        bias = bias + shift_mask(*x.shape[1:3], window, shift, x.device)
    out = window_attention(
        map_linear(core.qkv, x),
        core.num_heads,
        window,
        scale=core.scale,
        pad_value=core.qkv.bias,
        shift=shift,
        bias=bias,
        dropout=core.attn_drop.p if core.training else 0.0,
    )
    return attention.drop(core.proj_drop(map_linear(core.proj, out)))


def _merge(merging, x):
    """Patch merging in one copy, in the channel order of mmseg's module."""
    height, width = x.shape[1:3]
    if merging.sampler.kernel_size != (2, 2) or merging.sampler.stride != (2, 2):
        x, size = merging(x.flatten(1, 2), (height, width))
        return x.unflatten(1, size)
    x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
    # a permutation gives the same and takes five times as long
    x = torch.stack([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], -1).flatten(3)
    if merging.norm is not None:
        x = merging.norm(x)
    return map_linear(merging.reduction, x)


def rename_official(state: dict) -> dict:
    """Converts names and layout of Microsoft's checkpoints to those of mmseg's modules.

    A state dict that is not in the official naming (no ``layers.``) is returned unchanged.
    """
    renamed = {}
    for name, value in state.items():
        if name.startswith('layers.'):
            name = name.replace('layers.', 'stages.', 1)
            name = name.replace('.attn.', '.attn.w_msa.')
            name = name.replace('.mlp.fc1.', '.ffn.layers.0.0.')
            name = name.replace('.mlp.fc2.', '.ffn.layers.1.')
            if '.downsample.' in name:
                value = _merge_order(value)
        elif name.startswith('patch_embed.proj.'):
            name = name.replace('.proj.', '.projection.')
        renamed[name] = value
    return renamed


def _merge_order(value):
    """Patch merging: the official four neighbours (0,0) (1,0) (0,1) (1,1), each with all its
    channels, become mmseg's channels, each with its neighbours in row-major order."""
    blocks = value.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :]
    return blocks.transpose(-1, -2).flatten(-2).contiguous()
