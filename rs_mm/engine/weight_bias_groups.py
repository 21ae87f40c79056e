"""Four parameter groups with separate rates: weights and biases of the backbone and of the rest."""

from __future__ import annotations

from mmengine.optim import OptimWrapper
from torch import nn

from rs_mm.errors import ConfigError
from rs_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from rs_mm.unwrap import unwrap


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class WeightBiasOptimWrapperConstructor:
    """An optimizer constructor with learning rates by weight or bias, and by backbone or not.

    A parameter is a weight if its name contains ``weight`` (as for norm scales), otherwise a bias.
    SCCNet's published groups are meant to be backbone weights, backbone biases, other weights,
    other biases, with 1, 2, 10 and 20 times the rate. Its test for the backbone never matches. So
    in the published code the first two groups are empty, and the backbone, which gets no gradient,
    is in the last two. This is the default; it makes no difference while the backbone is frozen. To
    train the backbone set ``split_backbone=True``.

    Args:
        optim_wrapper_cfg: the wrapper with its ``optimizer``.
        paramwise_cfg: ``multipliers`` (four numbers, in the order above; default
            (1, 2, 10, 20)) and ``split_backbone`` (bool; default False).
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        self.wrapper_cfg = dict(optim_wrapper_cfg)
        self.optimizer_cfg = dict(self.wrapper_cfg.pop('optimizer'))
        options = dict(paramwise_cfg or {})
        self.multipliers = tuple(options.pop('multipliers', (1, 2, 10, 20)))
        self.split_backbone = options.pop('split_backbone', False)
        if options:
            raise ConfigError(
                f'`paramwise_cfg` has an unknown key {sorted(options)[0]!r}; this '
                'constructor reads `multipliers` and `split_backbone`.'
            )
        if len(self.multipliers) != 4:
            raise ConfigError(
                '`paramwise_cfg.multipliers` needs four numbers: backbone weights, '
                'backbone biases, other weights, other biases.'
            )

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Builds the optimizer wrapper of a model."""
        model = unwrap(model)
        groups = [[] for _ in self.multipliers]
        for name, parameter in model.named_parameters():
            other = not (self.split_backbone and name.startswith('backbone.'))
            groups[2 * other + ('weight' not in name)].append(parameter)
        rate = self.optimizer_cfg['lr']
        self.optimizer_cfg['params'] = [
            dict(params=group, lr=multiplier * rate)
            for group, multiplier in zip(groups, self.multipliers)
        ]
        optimizer = OPTIMIZERS.build(self.optimizer_cfg)
        return OPTIM_WRAPPERS.build(
            {'type': 'OptimWrapper', **self.wrapper_cfg}, default_args=dict(optimizer=optimizer)
        )
