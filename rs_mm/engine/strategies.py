"""Sharded training of models that do not fit one device."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from mmengine._strategy.fsdp import FSDPStrategy as _FSDPStrategy
from mmengine.runner import set_random_seed
from torch import nn
from torch.distributed.fsdp import (
    FullOptimStateDictConfig,
    FullStateDictConfig,
    FullyShardedDataParallel,
)
from torch.distributed.fsdp.wrap import lambda_auto_wrap_policy

from rs_mm.engine.distributed_wrapper import for_gloo
from rs_mm.errors import ConfigError, suggest
from rs_mm.registry import STRATEGIES


@STRATEGIES.register_module()
class FSDPStrategy(_FSDPStrategy):
    """mmengine's fully sharded data parallel, with checkpoints that every other run can read.

    Rank 0 writes one file like a plain run (mmengine writes a folder of shards by default). The
    initial weights equal those of a plain run, and the strategy also works on CPUs.

    Args:
        units: modules of the model, such as ``backbone``, that are gathered only while
            they compute; the rest is gathered for the whole step. A unit must be used only through
            its ``forward``, as backbones and encoders are. Default: none.
        **kwargs: see mmengine's ``FSDPStrategy``.

    Raises:
        ConfigError: the model has no module of a unit's name.
    """

    def __init__(
        self,
        *,
        units: Sequence[str] = (),
        model_wrapper: dict | None = None,
        state_dict_cfg: str = 'full',
        **kwargs: Any,
    ) -> None:
        wrapper = dict(type='MMFullyShardedDataParallel')
        if not torch.cuda.is_available():
            wrapper['device_id'] = torch.device('cpu')
        super().__init__(
            model_wrapper={**wrapper, **(model_wrapper or {})},
            state_dict_cfg=state_dict_cfg,
            **kwargs,
        )
        self.units = units
        if state_dict_cfg == 'full' and not torch.cuda.is_available():
            # torch frees data that it "offloads" from a CPU to a CPU while the data is still in use
            self.state_dict_config = FullStateDictConfig(rank0_only=False)
            self.optim_state_dict_config = FullOptimStateDictConfig(rank0_only=False)

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Builds the model from its config, with the initial weights of an unsharded run."""
        set_random_seed(self.seed)  # the loaders were built in the meantime
        return super().build_model(model)

    def _wrap_model(self, model):
        model = self.convert_model(model)
        if not torch.cuda.is_available():
            model = for_gloo(model)
        units = {submodule(model, name, 'strategy.units') for name in self.units}
        self.model_wrapper['auto_wrap_policy'] = functools.partial(
            lambda_auto_wrap_policy, lambda_fn=lambda module: module in units
        )
        with warnings.catch_warnings():
            # warnings about calls of mmengine
            warnings.simplefilter('ignore', FutureWarning)
            return super()._wrap_model(model)

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Loads the optimizer's state of a full checkpoint; each rank keeps its shards."""
        # torch has changed the order of these arguments since mmengine was written
        shards = FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model, optim=self.optim_wrapper.optimizer, optim_state_dict=state_dict
        )
        self.optim_wrapper.load_state_dict(shards)


def submodule(model: nn.Module, name: str, key: str) -> nn.Module:
    """Returns the module of a dotted name; ``key`` is the config key of the name.

    Raises:
        ConfigError: the model does not have the module.
    """
    try:
        return model.get_submodule(name)
    except AttributeError:
        known = [child for child, _ in model.named_modules()]
        raise ConfigError(
            f'{key}: the model has no module `{name}`{suggest(name, known)}; it has '
            f'{", ".join(child for child, _ in model.named_children())}, and theirs '
            'by dots.'
        ) from None
