"""A neck that fuses the features of two dates."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, cat

from rs_mm.errors import ConfigError
from rs_mm.registry import MODELS

_POLICIES = {
    'concat': lambda first, second: cat([first, second], 1),
    'sum': lambda first, second: first + second,
    'diff': lambda first, second: second - first,
    'abs_diff': lambda first, second: (first - second).abs(),
}


@MODELS.register_module()
class FeatureFusionNeck(BaseModule):
    """A neck that fuses two dates stage by stage.

    Args:
        policy: ``'concat'`` (channels of date 1, then of date 2), ``'sum'``, ``'diff'``
            (date 2 minus date 1) or ``'abs_diff'``.
        out_indices: the stages to return.
    """

    def __init__(self, policy: str, out_indices: Sequence[int] = (0, 1, 2, 3)) -> None:
        super().__init__()
        if policy not in _POLICIES:
            raise ConfigError(
                f"policy='{policy}' of FeatureFusionNeck is unknown; choose one of "
                f'{", ".join(_POLICIES)}.'
            )
        self.policy, self.out_indices = policy, out_indices

    def fused_channels(self, channels: Sequence[int]) -> tuple[int, ...]:
        """Returns the channels after the fusion of stages that have ``channels`` per date.

        Raises:
            ConfigError: ``out_indices`` names a stage that does not exist.
        """
        if not all(0 <= index < len(channels) for index in self.out_indices):
            raise ConfigError(
                f'out_indices={tuple(self.out_indices)} of FeatureFusionNeck names stages that the '
                f'backbone does not give: it has {len(channels)}; set the out_indices of the '
                'backbone, or of the neck, accordingly.'
            )
        times = 2 if self.policy == 'concat' else 1
        return tuple(times * channels[index] for index in self.out_indices)

    def forward(self, first: list[Tensor], second: list[Tensor]) -> tuple[Tensor, ...]:
        """Stages of date 1 and of date 2, each (N, C_i, H_i, W_i), to the fused stages."""
        fuse = _POLICIES[self.policy]
        return tuple(fuse(first[index], second[index]) for index in self.out_indices)
