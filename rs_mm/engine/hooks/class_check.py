"""A check that the head predicts the classes of the labels."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from rs_mm.errors import ConfigError
from rs_mm.registry import HOOKS


@HOOKS.register_module()
class ClassCheckHook(Hook):
    """Refuses a ``decode_head.num_classes`` that is not the number of classes of the dataset.

    Raises:
        ConfigError: before anything is trained or tested.
    """

    def before_train(self, runner: Runner) -> None:
        _check(runner.model, runner.train_dataloader)
        if runner.val_loop is not None:
            _check(runner.model, runner.val_loop.dataloader)

    def before_test(self, runner: Runner) -> None:
        _check(runner.model, runner.test_dataloader)


def _check(model, dataloader):
    while hasattr(model, 'module'):  # wrapper of several processes, or of test-time augmentation
        model = model.module
    classes = dataloader.dataset.metainfo['classes']
    # a model of another kind knows its classes by another name; its metric checks them
    found = getattr(getattr(model, 'decode_head', None), 'num_classes', len(classes))
    if found != len(classes):
        raise ConfigError(
            f'model.decode_head.num_classes={found}, but the dataset has '
            f'{len(classes)} classes ({", ".join(classes)}): set it to {len(classes)}.'
        )
