"""A hook for random draws that depend on the iteration, and for checkpoints as data."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from rs_mm.engine.samplers import derive_seed
from rs_mm.registry import HOOKS


@HOOKS.register_module()
class ReproducibleHook(Hook):
    """Makes a resumed run equal to one that was never interrupted.

    - Before each training iteration torch's generators (dropout, drop path, …) are seeded from the
      run's seed, the iteration and the rank; their state need not be stored.
    - After a resume, the samplers take the seed of the checkpoint.
    - The config stored in a checkpoint is removed before mmengine reads it, because it is Python
      source and a comparison would run it.

    ``tools/train.py`` adds this hook to every run.
    """

    priority = 'VERY_HIGH'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint.get('meta', {}).pop('config', None)

    def before_train(self, runner: Runner) -> None:
        sampler = runner.train_dataloader.sampler
        if hasattr(sampler, 'seed') and runner.seed is not None:
            sampler.seed = runner.seed

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        torch.manual_seed(derive_seed(runner.seed, runner.iter, runner.rank))
