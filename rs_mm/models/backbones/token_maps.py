"""Blocks of a vision transformer as the maps of hypercorrelation methods."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from rs_mm.errors import ConfigError
from rs_mm.models.utils.pretrained import pretrained_file
from rs_mm.registry import MODELS

from . import timm_network as network
from .timm_weights import load_weights


@MODELS.register_module()
class TokenMapBackbone(BaseModule):
    """A plain vision transformer of timm that returns one map for each chosen block, in three
    groups.

    All maps have the resolution of the patches; images are resized to whole patches, so a mask and
    a map cover the same ground. Tokens without a position (class, registers) are left out.

    Args:
        arch: timm's name, e.g. ``vit_small_patch14_dinov2``, ``vit_small_patch16_dinov3``.
        blocks: numbers of the blocks, from 0, of three groups, shallow to deep. Default: the
            second half of the blocks, in three groups of (nearly) equal size.
        norm: whether the network's last norm is applied to every map.
        frozen: no gradients, no updates.
        timm_args: further arguments of the network.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)``, see :class:`TimmEncoder`.

    Attributes:
        map_counts: maps of each group; the head's ``in_channels``.

    Raises:
        ConfigError: the network is not a plain transformer, or has no block of that number.
    """

    def __init__(
        self,
        arch: str = 'vit_small_patch14_dinov2',
        blocks: Sequence[Sequence[int]] | None = None,
        norm: bool = True,
        frozen: bool = True,
        timm_args: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.arch, self.norm, self.frozen = arch, norm, frozen
        self.net = network.create(arch, dict(timm_args or {}))
        count = len(getattr(self.net, 'blocks', ()))
        if network.stages(self.net) or not count or not hasattr(self.net, 'patch_embed'):
            raise ConfigError(
                f'`arch` {arch!r} of the backbone is not a plain vision transformer; use e.g. '
                'vit_small_patch14_dinov2, or PreActivationBackbone for a ResNet or VGG.'
            )
        self.blocks = _halves(count) if blocks is None else [list(group) for group in blocks]
        chosen = [number for group in self.blocks for number in group]
        if len(self.blocks) != 3 or not all(self.blocks) or chosen != sorted(set(chosen)):
            raise ConfigError(
                f'`blocks` {self.blocks} of the backbone must be three groups of block numbers, '
                'shallow to deep, each block once.'
            )
        if chosen[0] < 0 or chosen[-1] >= count:
            raise ConfigError(f'`blocks` {self.blocks}: {arch} has the blocks 0 to {count - 1}.')
        self.map_counts = tuple(len(group) for group in self.blocks)
        self.net.prune_intermediate_layers(chosen, prune_norm=not norm, prune_head=True)
        if frozen:
            self.requires_grad_(False)
        self.train(self.training)

    def init_weights(self) -> None:
        """Loads the pretrained weights that ``init_cfg`` names; without it nothing changes."""
        checkpoint = pretrained_file(self)
        if checkpoint:
            load_weights(self.net, self.arch, checkpoint)

    def train(self, mode: bool = True) -> nn.Module:
        """Training mode; a frozen network stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.net.eval()
        return self

    def forward(self, x: Tensor) -> tuple[list[Tensor], ...]:
        """Computes the maps.

        Args:
            x: (B, 3, H, W), normalised.

        Returns:
            For each of three groups, from shallow to deep, a list of its maps (B, C, h, w).
        """
        patch = self.net.patch_embed.patch_size
        size = [max(round(length / side), 1) * side for length, side in zip(x.shape[2:], patch)]  # type: ignore[arg-type]
        if size != list(x.shape[2:]):
            x = F.interpolate(x, size, mode='bilinear', align_corners=False, antialias=True)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            maps = self.net.forward_intermediates(
                x,
                indices=[number for group in self.blocks for number in group],
                norm=self.norm,
                output_fmt='NCHW',
                intermediates_only=True,
            )
        given = iter(maps)
        return tuple([next(given) for _ in group] for group in self.blocks)


def _halves(count):
    """Divides the second half of the blocks into three groups; the deepest group gets the
    remainder."""
    numbers = list(range(count - max(count // 2, min(count, 3)), count))
    third = max(len(numbers) // 3, 1)
    return [numbers[:third], numbers[third : 2 * third], numbers[2 * third :]]
