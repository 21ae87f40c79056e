"""Checks before the first step for errors that would occur later in a run."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from rs_mm.engine.schedule_check import check_schedules
from rs_mm.models.losses.map_loss_check import check_map_losses
from rs_mm.registry import HOOKS
from rs_mm.unwrap import unwrap


@HOOKS.register_module()
class RunCheckHook(Hook):
    """Checks losses, schedules, metrics and heads of a built run before they are used.

    - Losses and pixel samplers of segmentation heads are tried on a small map
      (:func:`~rs_mm.models.losses.map_loss_check.check_map_losses`).
    - A learning-rate schedule must last as long as the training
      (:func:`~rs_mm.engine.schedule_check.check_schedules`).
    - A metric with ``check_dataset(dataset)`` checks the dataset that it will measure.
    - A module with ``check_images(model, dataset)`` checks the images that it will get.

    ``tools/train.py`` and ``tools/test.py`` add this hook to every run.

    Raises:
        ConfigError, DataError: before anything is trained or tested.
    """

    def before_train(self, runner: Runner) -> None:
        model = unwrap(runner.model)
        for remark in check_map_losses(model):
            runner.logger.warning(remark)
        schedulers = runner.param_schedulers or []
        groups = schedulers.values() if isinstance(schedulers, dict) else [schedulers]
        for group in groups:
            for remark in check_schedules(group, runner.train_loop, runner._resume):
                runner.logger.warning(remark)
        _check_images(model, runner.train_dataloader.dataset)
        if _validates(runner) and isinstance(runner.val_loop.dataloader, DataLoader):
            self._check_metrics(runner.val_loop)
            _check_images(model, runner.val_loop.dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        if isinstance(runner.test_loop.dataloader, DataLoader):
            self._check_metrics(runner.test_loop)

    def _check_metrics(self, loop):
        for metric in getattr(loop.evaluator, 'metrics', ()):
            if hasattr(metric, 'check_dataset'):
                metric.check_dataset(loop.dataloader.dataset)


def _validates(runner):
    """Returns whether this training reaches a validation."""
    if getattr(runner.val_loop, 'dataloader', None) is None:
        return False
    loop = runner.train_loop
    last = loop.max_epochs if isinstance(loop, EpochBasedTrainLoop) else loop.max_iters
    return loop.val_begin <= last


def _check_images(model, dataset):
    for module in model.modules():
        if hasattr(module, 'check_images'):
            module.check_images(model, dataset)
