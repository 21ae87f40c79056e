"""A hook that stops a training when a loss or gradient is no longer finite."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from rs_mm.errors import DataError
from rs_mm.registry import HOOKS


@HOOKS.register_module()
class NumericGuardHook(Hook):
    """Watches loss terms and gradients for NaN and infinity.

    The flags stay on the model's device and are read only every ``interval`` iterations and before
    a checkpoint is written, so the host does not wait for a GPU in each step. No checkpoint is
    written after the first bad iteration. With float16 scaling an overflow that the scaler skips is
    not an error, since the optimizer does not step then.

    Args:
        interval: iterations between two reads of the flags. Default: 10.

    Raises:
        DataError: a value is not finite; the message names the first bad iteration, the rank, the
            loss terms and the files of its batch.
    """

    priority = 'VERY_HIGH'

    def __init__(self, interval: int = 10) -> None:
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        self._recent = deque(maxlen=self.interval + 1)
        self._gradient = None
        optimizers = getattr(runner.optim_wrapper, 'optim_wrappers', {'': runner.optim_wrapper})
        for wrapper in optimizers.values():
            wrapper.optimizer.register_step_pre_hook(self._watch_gradients)

    def _watch_gradients(self, optimizer, args, kwargs):
        gradients = [
            p.grad
            for group in optimizer.param_groups
            for p in group['params']
            if p.grad is not None and not p.grad.is_sparse
        ]
        if gradients:
            # the norm of a tensor is finite only if all values are
            self._gradient = torch.stack([n.float() for n in torch._foreach_norm(gradients)]).sum()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        terms = {
            name: value.detach()
            for name, value in (outputs or {}).items()
            if isinstance(value, torch.Tensor)
        }
        self._recent.append((runner.iter + 1, terms, self._gradient, batch_names(data_batch)))
        self._gradient = None
        if self.every_n_train_iters(runner, self.interval):
            self._look(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._look(runner)

    def after_train(self, runner: Runner) -> None:
        self._look(runner)

    def _look(self, runner):
        recent, self._recent = self._recent, deque(maxlen=self.interval + 1)
        for iteration, terms, gradient, names in recent:
            values = {name: float(value) for name, value in terms.items() if value.numel() == 1}
            bad = [name for name, value in values.items() if not _finite(value)]
            if gradient is not None and not _finite(float(gradient)):
                bad.append('the gradient')
            if bad:
                listed = ', '.join(f'{name} {value:.4g}' for name, value in values.items())
                raise DataError(
                    f'{" and ".join(bad)} stopped being a finite number at iteration {iteration} '
                    f'on rank {runner.rank} (losses: {listed}; batch: '
                    f'{", ".join(names) or "unnamed"}). The last checkpoint is from before. Look '
                    'at these files with tools/analysis_tools/check_dataset.py, or lower the '
                    'learning rate.'
                )


def _finite(value):
    return value - value == 0


def batch_names(data_batch: Any) -> list[str]:
    """Returns the files of a batch that its data samples name."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    names = []
    for sample in samples if isinstance(samples, (list, tuple)) else ():
        for key in ('img_path', 'query_name', 'name', 'img_id'):
            value = getattr(sample, key, None)
            if value is not None:
                names += map(str, value) if isinstance(value, (list, tuple)) else [str(value)]
                break
    return names
