"""Training from a config, for tools/train.py."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

from rs_mm.checkpoint_digest import verify
from rs_mm.engine.preemption import catching_signals
from rs_mm.errors import CheckpointError, ConfigError
from rs_mm.launch.config import is_first_process
from rs_mm.launch.run import open_run
from rs_mm.launch.work_dir import claim, newest_checkpoint, older_checkpoint, release


def train(
    config: str | Path,
    options: dict | list[str] | None = None,
    *,
    work_dir: str | Path | None = None,
    resume: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    launcher: str = 'none',
) -> Runner:
    """Trains the model of a config.

    Args:
        config: config file.
        options: overrides, as a dict of dotted keys or ``KEY=VALUE``.
        work_dir: folder of logs and checkpoints. Default: ``work_dirs/CONFIG_NAME``.
        resume: a checkpoint, or ``auto`` for the latest checkpoint of ``work_dir``.
        amp: automatic mixed precision: float16, or bfloat16 on a CPU.
        auto_scale_lr: scale the learning rate with the batch size.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.

    Returns:
        The runner after training.
    """

    def configure(cfg):
        _check_trainable(cfg, config)
        if amp:
            _use_amp(cfg)
        if auto_scale_lr:
            _scale_lr(cfg)
        if is_first_process(launcher):
            claim(cfg.work_dir)
        _choose_start(cfg, resume)

    try:
        runner = open_run(
            config, options, configure, training=True, work_dir=work_dir, launcher=launcher
        )
        with catching_signals():
            runner.train()
    finally:
        release()
    return runner


def _check_trainable(cfg: Config, config) -> None:
    if cfg.get('training_free') or not cfg.get('train_cfg'):
        why = 'is of a training-free model' if cfg.get('training_free') else 'has no `train_cfg`'
        raise ConfigError(
            f'{config} {why}: there is nothing to train; evaluate it with tools/test.py.'
        )


def _use_amp(cfg):
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise ConfigError(
            f'--amp replaces the plain `OptimWrapper`, and optim_wrapper.type is {kind!r}.'
        )
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def _scale_lr(cfg):
    if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
        raise ConfigError(
            '--auto-scale-lr needs `auto_scale_lr.base_batch_size` in the '
            'config: the batch size its learning rate was chosen for.'
        )
    cfg.auto_scale_lr.enable = True


def _choose_start(cfg, resume):
    """Sets ``load_from`` to an undamaged checkpoint; a run without a checkpoint starts from the
    beginning."""
    if resume:
        cfg.resume, cfg.load_from = True, None if resume == 'auto' else resume
    if not cfg.get('resume'):
        return
    if not cfg.get('load_from'):
        cfg.load_from = newest_checkpoint(cfg.work_dir)
        cfg.resume = cfg.load_from is not None
    elif Path(cfg.load_from).is_file():
        try:
            verify(cfg.load_from)
        except CheckpointError as error:
            other = older_checkpoint(cfg.load_from)
            offer = f' The previous one is undamaged: --resume {other}' if other else ''
            raise CheckpointError(f'{error}{offer}') from error
