"""A hook that profiles training steps on request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.profiler import ProfilerActivity, profile

from rs_mm.registry import HOOKS


@HOOKS.register_module()
class ProfilerHook(Hook):
    """Records a window of training iterations with ``torch.profiler``, on the first process.

    The folder of the run's log gets ``trace_iter_N.json`` (for https://ui.perfetto.dev or
    ``chrome://tracing``), the log a table of the most expensive operators. Switch it on with
    ``--cfg-options default_hooks.profiler.iterations=5``.

    Args:
        iterations: length of the window; 0 records nothing. Default: 0.
        skip: iterations before the window, while caches fill. Default: 10.
    """

    priority = 'VERY_LOW'  # the work of other hooks belongs to the step

    def __init__(self, iterations: int = 0, skip: int = 10) -> None:
        self.iterations, self.skip = iterations, skip
        self.profiler = None

    @master_only
    def before_train(self, runner: Runner) -> None:
        self._start = runner.iter + self.skip

    @master_only
    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self.iterations and runner.iter == self._start:
            activities = [ProfilerActivity.CPU]
            if torch.cuda.is_available():
                activities.append(ProfilerActivity.CUDA)
            self.profiler = profile(activities=activities, record_shapes=True)
            self.profiler.start()

    @master_only
    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if self.profiler is not None and runner.iter + 1 == self._start + self.iterations:
            self._finish(runner)

    @master_only
    def after_train(self, runner: Runner) -> None:
        if self.profiler is not None:
            self._finish(runner)
        elif self.iterations and runner.iter <= self._start:
            runner.logger.warning(
                f'nothing was profiled: the training ended before iteration '
                f'{self._start}; lower default_hooks.profiler.skip'
            )

    def _finish(self, runner):
        profiler, self.profiler = self.profiler, None
        profiler.stop()
        path = Path(runner.log_dir) / f'trace_iter_{self._start}.json'
        profiler.export_chrome_trace(str(path))
        by = 'self_cuda_time_total' if torch.cuda.is_available() else 'self_cpu_time_total'
        table = profiler.key_averages().table(sort_by=by, row_limit=15, max_name_column_width=40)
        runner.logger.info(f'iterations {self._start} to {runner.iter} in {path}\n{table}')
