"""Learning rates that shrink towards the first layers of a pretrained encoder."""

from __future__ import annotations

from typing import Any

from mmseg.engine.optimizers import LearningRateDecayOptimizerConstructor as MMSegConstructor
from timm.models import group_parameters
from torch import nn

from rs_mm.errors import ConfigError
from rs_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LearningRateDecayOptimizerConstructor(MMSegConstructor):
    """mmseg's layer-wise decay, also for encoders of timm, whose layers are found automatically.

    A layer ``n`` steps below the heads learns at ``lr * decay_rate ** n``; parameters outside the
    encoder learn at ``lr``. Biases, norms and position embeddings have no weight decay. A frozen
    parameter is left out. With a backbone of mmseg this is mmseg's own class.

    Source: Bao et al., "BEiT", ICLR 2022, appendix.

    Args:
        optim_wrapper_cfg: the wrapper with its ``optimizer``.
        paramwise_cfg: ``decay_rate`` (0 to 1); for backbones of mmseg ``num_layers`` and
            ``decay_type`` too, see its documentation.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        rate = (paramwise_cfg or {}).get('decay_rate')
        if not isinstance(rate, (int, float)) or not 0 < rate <= 1:
            raise ConfigError(
                f'optim_wrapper.paramwise_cfg.decay_rate must lie between 0 and 1, not {rate!r}.'
            )
        super().__init__(optim_wrapper_cfg, paramwise_cfg)

    def add_params(self, params: list[dict], module: nn.Module, **kwargs: Any) -> None:
        """Appends the groups of ``module``'s parameters to ``params``."""
        rate = self.paramwise_cfg['decay_rate']
        prefix, network = _timm_network(module)
        if network is None:
            if not hasattr(module, 'backbone'):
                raise ConfigError(
                    'LearningRateDecayOptimizerConstructor is for models with a TimmEncoder, or '
                    "with a backbone that mmseg's constructor supports."
                )
            return super().add_params(params, module, **kwargs)
        layers = group_parameters(network, network.group_matcher(coarse=False))
        depth = {f'{prefix}.{name}': n for n, names in layers.items() for name in names}
        top = max(depth.values()) + 1
        skip = getattr(network, 'no_weight_decay', set)()
        groups = {}
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            layer = depth.get(name, top)
            decays = parameter.dim() > 1 and name.removeprefix(f'{prefix}.') not in skip
            group = groups.setdefault(
                (layer, decays),
                dict(
                    params=[],
                    lr=self.base_lr * rate ** (top - layer),
                    weight_decay=self.base_wd if decays else 0.0,
                ),
            )
            group['params'].append(parameter)
        params.extend(groups[key] for key in sorted(groups))


def _timm_network(module):
    from rs_mm.models.backbones.timm_encoder import TimmEncoder

    for name, part in module.named_modules():
        if isinstance(part, TimmEncoder) and hasattr(part.model, 'group_matcher'):
            return f'{name}.model', part.model
    return None, None
