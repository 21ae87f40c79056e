"""Polynomial decay that counts from one and, as in SCCNet, also counts validation."""

from __future__ import annotations

import math

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.runner import Runner

from rs_mm.engine.loops import batch_of_all_processes
from rs_mm.registry import HOOKS, PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class CountedPolyLR(LRSchedulerMixin, _ParamScheduler):
    """The schedule ``lr * (1 - t / end) ** power`` with t = 1 at the first iteration and 0 at t =
    end.

    Source: the published code of SCCNet. mmengine's ``PolyLR`` starts from t = 0 and multiplies in
    each step, which accumulates rounding errors over 200,000 steps.

    Args:
        optimizer: optimizer whose groups are set.
        power: exponent.
        end: t at which the rate reaches zero; the Runner fills in ``max_iters``.
    """

    def __init__(
        self,
        optimizer: OptimWrapper,
        power: float = 0.9,
        end: int = 200000,
        begin: int = 0,
        last_step: int = -1,
        by_epoch: bool = False,
        verbose: bool = False,
    ) -> None:
        self.power = power
        super().__init__(
            optimizer, begin=begin, end=end, last_step=last_step, by_epoch=by_epoch, verbose=verbose
        )

    def _get_value(self):
        share = max(0.0, 1 - (self.last_step + 1) / self.end)
        return [value * share**self.power for value in self.base_values]


@HOOKS.register_module()
class CountValidationHook(Hook):
    """A hook that advances the schedule in validation too, and ends the run with the schedule.

    In the published code of SCCNet, which validates after each epoch with batches of the training's
    size, a validation batch raises t and sets the rate like a training batch. On iSAID-5i about one
    in seven of the 200,000 steps therefore trains nothing. This hook counts such batches, for any
    batch size and number of processes of the validation. Without this hook, all steps train.
    """

    priority = 'LOW'

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        schedulers = runner.param_schedulers or []
        batches = math.ceil(
            len(runner.val_dataloader.dataset) / batch_of_all_processes(runner.train_dataloader)
        )
        for scheduler in schedulers:
            for _ in range(batches):
                scheduler.step()
        if any(s._global_step + 1 >= s.end for s in schedulers):
            runner.train_loop.stop_training = True
            runner.logger.info('The schedule has ended, validation steps counted: training stops.')
