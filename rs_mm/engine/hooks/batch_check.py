"""A check that the batch is large enough for the losses."""

from __future__ import annotations

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from rs_mm.errors import ConfigError
from rs_mm.registry import HOOKS


@HOOKS.register_module()
class BatchCheckHook(Hook):
    """Refuses a global batch below the ``min_batch`` of a loss.

    A metric loss of one sample is zero, so the run would learn nothing. The last batch of an
    epoch may be smaller, as published. An epoch without any batch is refused too.

    ``tools/train.py`` adds this hook to every run.

    Raises:
        ConfigError: before anything is trained.
    """

    def before_train(self, runner: Runner) -> None:
        size, processes = runner.train_dataloader.batch_sampler.batch_size, get_world_size()
        if runner.train_loop.max_iters == 0:
            raise ConfigError(
                f'train_dataloader.batch_size={size}: the {len(runner.train_dataloader.dataset)} '
                f'training samples do not fill one batch on {processes} process(es); lower it.'
            )
        for module in runner.model.modules():
            needed = getattr(module, 'min_batch', 1)
            if size * processes < needed:
                raise ConfigError(
                    f'train_dataloader.batch_size={size} on {processes} process(es) makes batches '
                    f'of {size * processes}, and {type(module).__name__} compares at least '
                    f'{needed} samples; raise it.'
                )
