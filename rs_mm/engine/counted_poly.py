"""Polynomial decay that counts from one and, as SCCNet does, counts validation too."""

from mmengine.hooks import Hook
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from rs_mm.registry import HOOKS, PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class CountedPolyLR(LRSchedulerMixin, _ParamScheduler):
    """``lr * (1 - t / end) ** power`` with t = 1 at the first iteration, so that t = end gives 0.

    Source: the published code of SCCNet. mmengine's ``PolyLR`` starts from t = 0 and multiplies
    its way down, which drifts over 200,000 steps.

    Args:
        optimizer (OptimWrapper): whose groups are set.
        power (float): exponent.
        end (int): t at which the rate reaches zero; the Runner fills in ``max_iters``.
    """

    def __init__(self, optimizer, power=0.9, end=200000, begin=0, last_step=-1, by_epoch=False,
                 verbose=False):
        self.power = power
        super().__init__(optimizer, begin=begin, end=end, last_step=last_step, by_epoch=by_epoch,
                         verbose=verbose)

    def _get_value(self):
        share = max(0.0, 1 - (self.last_step + 1) / self.end)
        return [value * share ** self.power for value in self.base_values]


@HOOKS.register_module()
class CountValidationHook(Hook):
    """Validation iterations advance the schedule as well, and the run ends with the schedule.

    In the published code of SCCNet a validation batch raises t and sets the rate as a training
    batch does: with a validation after each epoch about one in seven of the 200,000 steps trains
    nothing. Leave this hook out to train for all of them.
    """

    priority = 'LOW'

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        for scheduler in runner.param_schedulers or []:
            scheduler.step()

    def after_val_epoch(self, runner, metrics=None):
        if any(s._global_step + 1 >= s.end for s in runner.param_schedulers or []):
            runner.train_loop.stop_training = True
            runner.logger.info('The schedule has ended, validation steps counted: training stops.')
