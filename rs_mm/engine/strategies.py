"""Sharded training of models that do not fit one device."""

import functools
import warnings

import torch
from mmengine._strategy.fsdp import FSDPStrategy as _FSDPStrategy
from mmengine.runner import set_random_seed
from torch.distributed.fsdp import (
    FullOptimStateDictConfig,
    FullStateDictConfig,
    FullyShardedDataParallel,
)
from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy

from rs_mm.engine.wrappers import for_gloo
from rs_mm.registry import STRATEGIES


@STRATEGIES.register_module()
class FSDPStrategy(_FSDPStrategy):
    """mmengine's fully sharded data parallel, with checkpoints that every other run can read.

    It differs from mmengine's in three defaults: rank 0 writes one file that is like a plain run's
    (mmengine: a folder of shards), modules are sharded one by one as they grow above
    ``min_num_params`` (mmengine: the model as one piece, which saves little memory), and it runs
    on CPUs too.

    Args:
        min_num_params (int): parameters from which on a module is a shard of its own.
            Default: 1,000,000.
        **kwargs: see mmengine's ``FSDPStrategy``.
    """

    def __init__(self, *, min_num_params=1_000_000, model_wrapper=None, state_dict_cfg='full',
                 **kwargs):
        wrapper = dict(type='MMFullyShardedDataParallel', auto_wrap_policy=functools.partial(
            size_based_auto_wrap_policy, min_num_params=min_num_params))
        if not torch.cuda.is_available():
            wrapper['device_id'] = torch.device('cpu')
        super().__init__(model_wrapper={**wrapper, **(model_wrapper or {})},
                         state_dict_cfg=state_dict_cfg, **kwargs)
        if state_dict_cfg == 'full' and not torch.cuda.is_available():
            # torch frees what it "offloads" from a CPU to a CPU while it is still in use
            self.state_dict_config = FullStateDictConfig(rank0_only=False)
            self.optim_state_dict_config = FullOptimStateDictConfig(rank0_only=False)

    def build_model(self, model):
        """Builds the model from its config, with the initial weights of a run that is not sharded.
        """
        set_random_seed(self.seed)  # the loaders were built meanwhile
        return super().build_model(model)

    def _wrap_model(self, model):
        model = self.convert_model(model)
        with warnings.catch_warnings():
            # of the calls that mmengine makes
            warnings.simplefilter('ignore', FutureWarning)
            return super()._wrap_model(model if torch.cuda.is_available() else for_gloo(model))

    def load_optim_state_dict(self, state_dict):
        """Takes the optimizer's state of a full checkpoint; each rank keeps its shards."""
        # torch has changed the order of these arguments since mmengine was written
        shards = FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model, optim=self.optim_wrapper.optimizer, optim_state_dict=state_dict)
        self.optim_wrapper.load_state_dict(shards)
