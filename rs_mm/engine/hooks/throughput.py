"""A hook that logs the speed of a training and the share of waiting for data."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from rs_mm.registry import HOOKS


@HOOKS.register_module()
class ThroughputHook(Hook):
    """Adds the speed of a training to the log, and so to TensorBoard.

    - ``samples_per_second`` of all processes together (episodes, for few-shot segmentation);
    - ``data_wait``: the share of an iteration spent waiting for the loader. If it is much above
      0.1, more workers or a faster pipeline help, and a faster GPU does not;
    - ``peak_memory_mib`` allocated on the GPU of this process so far, if there is one.

    The hook reads the times of mmengine's ``IterTimerHook``, so it must come after that hook.
    """

    priority = 'BELOW_NORMAL'

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        hub = runner.message_hub
        seconds = hub.get_scalar('train/time').current()
        if seconds <= 0:
            return
        samples = runner.train_dataloader.batch_sampler.batch_size * get_world_size()
        hub.update_scalar('train/samples_per_second', samples / seconds)
        hub.update_scalar('train/data_wait', hub.get_scalar('train/data_time').current() / seconds)
        if torch.cuda.is_available():
            hub.update_scalar('train/peak_memory_mib', torch.cuda.max_memory_allocated() / 2**20)
