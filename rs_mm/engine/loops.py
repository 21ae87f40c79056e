"""Training loops whose resume skips finished samples without loading them."""

from __future__ import annotations

import math
from typing import Any

from mmengine.dist import get_world_size
from mmengine.runner.loops import EpochBasedTrainLoop as _EpochBasedTrainLoop
from mmengine.runner.loops import IterBasedTrainLoop as _IterBasedTrainLoop
from mmengine.runner.loops import _InfiniteDataloaderIterator
from torch import nn
from torch.utils.data import DataLoader

from rs_mm.registry import LOOPS


@LOOPS.register_module()
class IterBasedTrainLoop(_IterBasedTrainLoop):
    """mmengine's loop, in which the sampler jumps to its position after a resume.

    mmengine itself loads and discards every finished batch, which takes hours late in a long run.
    With :class:`rs_mm.engine.samplers.InfiniteSampler` the position is enough. Other samplers are
    replayed as in mmengine.

    Args:
        val_interval: iterations from one validation to the next; ``'epoch'`` is the number of
            iterations that use every training sample once, for any batch size and number of
            processes.
        *args, **kwargs: see :class:`mmengine.runner.IterBasedTrainLoop`.
    """

    validates_first = False  # set by PreemptionHook in a run that ended before its validation
    epoch_samples = 0

    def __init__(self, *args: Any, val_interval: int | str = 1000, **kwargs: Any) -> None:
        each_epoch = val_interval == 'epoch'
        super().__init__(*args, val_interval=1 if each_epoch else val_interval, **kwargs)
        if each_epoch:
            self.val_interval = math.ceil(
                len(self.dataloader.dataset) / batch_of_all_processes(self.dataloader)
            )
            self.dynamic_intervals = [self.val_interval]

    def run(self) -> nn.Module:
        """Trains from the current iteration to ``max_iters``; returns the model."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        if self._iter > 0:
            self._skip_trained()
        if self.validates_first and self._validation_is_due():
            self.runner.val_loop.run()
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            self._decide_current_val_interval()
            if self._validation_is_due():
                self.runner.val_loop.run()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _skip_trained(self):
        loader = self.dataloader
        if not hasattr(loader.sampler, 'skip_to'):
            self.runner.logger.warning(
                f'{type(loader.sampler).__name__} cannot skip: {self._iter} batches are loaded '
                'again to reach the position of the resumed run.'
            )
            for _ in range(self._iter):
                next(self.dataloader_iterator)
            return
        loader.sampler.skip_to(self._iter * batch_of_all_processes(loader), self.runner.seed)
        # a new iterator ends workers that already loaded the first batches
        self.dataloader_iterator = _InfiniteDataloaderIterator(loader)

    def _validation_is_due(self):
        return (
            self.runner.val_loop is not None
            and self._iter >= self.val_begin
            and (self._iter % self.val_interval == 0 or self._iter == self._max_iters)
        )


@LOOPS.register_module()
class EpochBasedTrainLoop(_EpochBasedTrainLoop):
    """mmengine's loop, which can resume in the middle of an epoch.

    :class:`~rs_mm.engine.hooks.preemption.PreemptionHook` stores the number of finished samples of
    the epoch. A sampler that cannot skip begins the epoch again.
    """

    validates_first = False
    epoch_samples = 0

    def run(self) -> nn.Module:
        """Trains from the current epoch to ``max_epochs``; returns the model."""
        if self.validates_first and not self.epoch_samples and self._validation_is_due():
            self.runner.val_loop.run()
        return super().run()

    def run_epoch(self) -> None:
        """Runs one epoch, or the rest of an epoch."""
        batch = batch_of_all_processes(self.dataloader)
        done, self.epoch_samples = self.epoch_samples // batch, 0
        if done and not hasattr(self.dataloader.sampler, 'skip_to'):
            self.runner.logger.warning(
                f'{type(self.dataloader.sampler).__name__} cannot skip: epoch {self._epoch + 1} '
                'begins again.'
            )
            self._iter -= done
            done = 0
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        if done:
            self.dataloader.sampler.skip_to(done * batch)
        for index, data_batch in enumerate(self.dataloader, done):
            self.run_iter(index, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _validation_is_due(self):
        return (
            self.runner.val_loop is not None
            and self._epoch >= max(1, self.val_begin)
            and (self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs)
        )


def batch_of_all_processes(loader: DataLoader) -> int:
    """Returns the number of samples of one iteration in all processes."""
    return loader.batch_sampler.batch_size * get_world_size()
