"""Global pooling of a feature map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rs_mm.errors import ConfigError
from rs_mm.registry import MODELS


@MODELS.register_module()
class GlobalPool(nn.Module):
    """(N, C, H, W) -> (N, C).

    Args:
        mode: ``avg``, ``max`` or ``gem`` (generalised mean with one learnable power, Radenovic et
            al. 2018: values are clamped at 1e-6 from below).
        power: initial power of ``gem``.
    """

    def __init__(self, mode: str = 'max', power: float = 3.0) -> None:
        super().__init__()
        if mode not in ('avg', 'max', 'gem'):
            raise ConfigError(f'pool.mode is {mode!r}; use "avg", "max" or "gem".')
        self.mode = mode
        if mode == 'gem':
            self.power = nn.Parameter(torch.tensor([float(power)]))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C)."""
        if self.mode == 'avg':
            return x.mean((2, 3))
        if self.mode == 'max':
            return x.amax((2, 3))
        return x.clamp(min=1e-6).pow(self.power).mean((2, 3)).pow(1 / self.power)
