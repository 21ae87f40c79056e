"""Swin Transformer: mmseg's modules and parameters, with a faster forward."""

import math

import torch
from mmengine.model.weight_init import trunc_normal_
from mmseg.models.backbones.swin import SwinTransformer as MMSegSwinTransformer
from torch import Tensor

from rs_mm.registry import MODELS

from ..utils.pretrained import load_pretrained
from ..utils.windows import window_attention


@MODELS.register_module()
class SwinTransformer(MMSegSwinTransformer):
    """Swin Transformer with fused window attention.

    Modules, parameter names, arguments and results are those of mmseg's class, only the forward
    differs: queries, keys and values are computed before windows are padded (a padded token is
    zero, so its projection is the bias), the attention is PyTorch's fused one where no gradient is
    wanted, and shift masks are built once per size.

    Unlike mmseg's class it loads the *original* ImageNet checkpoints
    (``swin_tiny_patch4_window7_224.pth``): ``init_cfg=dict(type='Pretrained', checkpoint=...)``.
    Checkpoints in mmseg's naming load too.

    Args:
        **kwargs: see :class:`mmseg.models.backbones.SwinTransformer`.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._masks = {}

    def init_weights(self):
        if self.init_cfg is None:
            super().init_weights()
            for name, table in self.named_parameters():
                if name.endswith('relative_position_bias_table'):
                    trunc_normal_(table, std=0.02)
        else:
            load_pretrained(self, self.init_cfg,
                            'https://github.com/microsoft/Swin-Transformer (ImageNet-1K models)',
                            rename=rename_official)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Stage outputs of images (N, C, H, W): one (N, C_i, H_i, W_i) per ``out_indices``."""
        x, size = self.patch_embed(x)
        if self.use_abs_pos_embed:
            x = x + self.absolute_pos_embed
        x = self.drop_after_pos(x)
        outputs = []
        for index, stage in enumerate(self.stages):
            for block in stage.blocks:
                x = x + self._attend(block.attn, block.norm1(x), size)
                x = block.ffn(block.norm2(x), identity=x)
            if index in self.out_indices:
                out = getattr(self, f'norm{index}')(x)
                outputs.append(out.unflatten(1, size).permute(0, 3, 1, 2).contiguous())
            if stage.downsample is not None:
                x, size = stage.downsample(x, size)
        return outputs

    def _attend(self, attention, x, size):
        """(Shifted) window attention of tokens (N, H*W, C)."""
        core, window, shift = attention.w_msa, attention.window_size, attention.shift_size
        bias = core.relative_position_bias_table[core.relative_position_index.view(-1)]
        bias = bias.view(window**2, window**2, core.num_heads).permute(2, 0, 1)[None]
        if shift:
            grid = tuple(math.ceil(length / window) for length in size)
            bias = bias + self._shift_mask(grid, window, shift, x)[:, None]
        out = window_attention(
            core.qkv(x).unflatten(1, size), core.num_heads, window, scale=core.scale,
            pad_value=core.qkv.bias, shift=shift, bias=bias,
            dropout=core.attn_drop.p if self.training else 0.)
        return attention.drop(core.proj_drop(core.proj(out.flatten(1, 2))))

    def _shift_mask(self, grid, window, shift, like):
        """-100 between tokens of a window that were not neighbours before the shift."""
        key = (grid, window, shift, like.device, like.dtype)
        if key not in self._masks:
            zones = []
            for count in grid:
                line = torch.zeros(count * window, device=like.device)
                line[-window:-shift], line[-shift:] = 1, 2
                zones.append(line)
            zone = (3 * zones[0][:, None] + zones[1]).view(grid[0], window, grid[1], window)
            zone = zone.transpose(1, 2).reshape(-1, window * window)
            self._masks[key] = ((zone[:, None] != zone[:, :, None]) * -100.).to(like.dtype)
        return self._masks[key]


def rename_official(state: dict) -> dict:
    """Names and layout of Microsoft's checkpoints -> those of mmseg's modules.

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
