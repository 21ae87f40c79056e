"""Checkpoints that survive a kill or a full disk."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook as _CheckpointHook
from mmengine.runner import Runner

from rs_mm.errors import ConfigError, suggest
from rs_mm.registry import HOOKS

PREEMPTED = 'preempted.pth'  # of a run that was told to end, until its next checkpoint


@HOOKS.register_module()
class CheckpointHook(_CheckpointHook):
    """mmengine's hook, which removes an outdated checkpoint only after the new one is written.

    Raises:
        ConfigError: the config has a key that the hook does not take (raised when the hook is
            built; mmengine raises at the first checkpoint); or the validation does not report the
            metric of ``save_best`` (raised before the training, if every metric has
            ``result_keys()``).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = inspect.signature(_CheckpointHook.__init__).parameters
        for key in self.args:  # for `Runner.save_checkpoint`, all of whose options are set already
            raise ConfigError(f"type='CheckpointHook' takes no key `{key}`{suggest(key, known)}.")

    def before_train(self, runner: Runner) -> None:
        reported = _reported(runner.val_loop)
        for key in self.save_best or ():
            if reported and key not in (*reported, 'auto'):
                raise ConfigError(
                    '`default_hooks.checkpoint.save_best`: the validation reports no '
                    f'`{key}`{suggest(key, reported)}. It reports '
                    f'{", ".join(reported)}.'
                )
        super().before_train(runner)

    def _save_best_checkpoint(self, runner, metrics):
        for key in self.key_indicators if self.save_best else ():
            value = metrics.get(key)
            if isinstance(value, float) and math.isnan(value):
                runner.logger.warning(
                    f'`{key}` is not a number, so this validation saves no best checkpoint.'
                )
        super()._save_best_checkpoint(runner, metrics)

    def _save_checkpoint_with_step(self, runner, step, meta):
        limit = self.max_keep_ckpts
        if limit <= 0:  # every checkpoint is kept
            super()._save_checkpoint_with_step(runner, step, meta)
            _remove_preempted(runner)
            return
        kept, before = self.keep_ckpt_ids, list(self.keep_ckpt_ids)
        if step not in kept:
            kept.append(step)  # the deque drops its oldest entry at the limit
            runner.message_hub.update_info('keep_ckpt_ids', list(kept))
        self.max_keep_ckpts = -1  # mmengine's own removal comes too early
        try:
            super()._save_checkpoint_with_step(runner, step, meta)
        except BaseException:
            kept.clear()
            kept.extend(before)
            raise
        finally:
            self.max_keep_ckpts = limit
        for outdated in set(before) - set(kept):
            self._remove(outdated)
        _remove_preempted(runner)

    def _remove(self, step):
        if not is_main_process():
            return
        path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):  # DeepSpeed writes folders
            self.file_backend.rmtree(path)


def _remove_preempted(runner):
    if is_main_process():
        Path(runner.work_dir, PREEMPTED).unlink(missing_ok=True)


def _reported(loop):
    """Returns the names of all metrics of a validation; empty if they are not known beforehand."""
    metrics = loop.evaluator.metrics if hasattr(loop, 'evaluator') else ()
    if not all(hasattr(metric, 'result_keys') for metric in metrics):
        return []
    return [
        f'{metric.prefix}/{key}' if metric.prefix else key
        for metric in metrics
        for key in metric.result_keys()
    ]
