"""A hook that saves a run when a scheduler ends it."""

from __future__ import annotations

import signal
from typing import Any

import torch
import torch.distributed as dist
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner

from rs_mm.engine.loops import batch_of_all_processes
from rs_mm.engine.preemption import Preempted, caught
from rs_mm.files import atomic_write
from rs_mm.registry import HOOKS

from .checkpoint import PREEMPTED


@HOOKS.register_module()
class PreemptionHook(Hook):
    """Writes a checkpoint at the end of the step in which SIGTERM or SIGUSR1 came, and ends the
    run.

    The processes of a run agree on the last step. Each process sends its state to the others during
    its next step, so the run ends one step after the first process received the signal.
    ``--resume`` takes the checkpoint, ``preempted.pth``; the first regular checkpoint replaces it.
    In the middle of an epoch, the checkpoint stores the number of finished samples, and the resumed
    run continues with the next one. The resumed run repeats an interrupted validation.

    ``tools/train.py`` adds this hook to every run.

    Raises:
        Preempted: the checkpoint is written; the process then ends with status 128 + signal.
    """

    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        # in a separate process group, which never waits for a device and is not mixed with
        # gradients
        self._group = dist.new_group(backend='gloo') if get_world_size() > 1 else None
        self._asked = None

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if number := self._agreed():
            done = (batch_idx + 1) * batch_of_all_processes(runner.train_dataloader)
            by_epoch = runner.train_loop.max_epochs > 1
            self._leave(runner, number, iter=runner.iter + 1, epoch_samples=done * by_epoch)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if hasattr(self, '_group') and (number := self._agreed()):
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):  # during a validation the averaged weights are in use
                    hook.after_val_epoch(runner)
            self._leave(runner, number, iter=runner.iter, epoch_samples=0)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if runner._resume and 'preempted' in checkpoint.get('meta', {}):
            runner.train_loop.epoch_samples = checkpoint['meta'].get('epoch_samples', 0)
            runner.train_loop.validates_first = True

    def _agreed(self):
        """Returns the signal that all processes know; 0 if there is none."""
        if self._group is None:
            return caught()
        number = 0
        if self._asked is not None:
            flag, work = self._asked
            work.wait()
            number = int(flag)
        flag = torch.tensor(caught())
        if not number:
            work = dist.all_reduce(flag, dist.ReduceOp.MAX, group=self._group, async_op=True)
            self._asked = flag, work
        return number

    def _leave(self, runner, number, **meta):
        name = signal.Signals(number).name
        meta.update(epoch=runner.epoch, preempted=name)
        runner.save_checkpoint(runner.work_dir, PREEMPTED, meta=meta, by_epoch=False)
        if is_main_process():
            with atomic_write(f'{runner.work_dir}/last_checkpoint', 'w') as note:
                note.write(f'{runner.work_dir}/{PREEMPTED}')
        if self._group is not None:
            dist.barrier(group=self._group)
        runner.logger.warning(
            f'{name}: iteration {meta["iter"]} is saved as {PREEMPTED}; continue with --resume'
        )
        raise Preempted(128 + number)
