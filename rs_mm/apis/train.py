"""Training from a config: what tools/train.py does."""

from __future__ import annotations

import torch
from mmengine.runner import find_latest_checkpoint

from rs_mm.apis.config import build_runner, load_config, prepare
from rs_mm.apis.matching import check_checkpoint
from rs_mm.errors import ConfigError


def train(config, options=None, *, work_dir=None, resume=None, amp=False, auto_scale_lr=False,
          launcher='none'):
    """Trains the model of a config.

    Args:
        config (str | Path): config file.
        options (dict | list[str] | None): overrides, as a dict of dotted keys or ``KEY=VALUE``.
        work_dir (str | None): folder of logs and checkpoints. Default: ``work_dirs/CONFIG_NAME``.
        resume (str | None): a checkpoint, or ``auto`` for the latest one of ``work_dir``.
        amp (bool): automatic mixed precision.
        auto_scale_lr (bool): scale the learning rate with the batch size.
        launcher (str): ``none``, ``pytorch``, ``slurm`` or ``mpi``.

    Returns:
        mmengine.runner.Runner: the runner after training.
    """
    cfg = prepare(load_config(config, options), launcher, work_dir, config)
    if amp:
        _use_amp(cfg)
    if auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise ConfigError('--auto-scale-lr needs `auto_scale_lr.base_batch_size` in the '
                              'config: the batch size its learning rate was chosen for.')
        cfg.auto_scale_lr.enable = True
    if resume:
        cfg.resume, cfg.load_from = True, None if resume == 'auto' else resume
    runner = build_runner(cfg)
    if cfg.get('resume'):
        # runs without a checkpoint yet start from the beginning
        latest = cfg.get('load_from') or find_latest_checkpoint(cfg.work_dir)
        if latest:
            check_checkpoint(runner.model, latest, resume=True)
    runner.train()
    return runner


def _use_amp(cfg):
    if not torch.cuda.is_available():
        raise ConfigError('--amp needs a CUDA device, and there is none.')
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise ConfigError(f'--amp replaces the plain `OptimWrapper`, and optim_wrapper.type is '
                          f'{kind!r}.')
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
