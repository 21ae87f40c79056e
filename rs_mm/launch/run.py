"""Opening a run: config, options, work folder, model, and a check of the weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

from rs_mm.launch.checkpoint_fit import check_checkpoint, check_start
from rs_mm.launch.config import build_runner, load_config, prepare


def open_run(
    config: str | Path,
    options: dict | list[str] | None = None,
    configure: Callable[[Config], None] | None = None,
    *,
    training: bool = False,
    work_dir: str | Path | None = None,
    launcher: str = 'none',
) -> Runner:
    """Reads a config, builds its runner, and checks that its checkpoint fits the model.

    Args:
        config: config file.
        options: overrides, as a dict of dotted keys or ``KEY=VALUE``.
        configure: changes the config in place before anything is built, as ``load_from``.
        training: whether a checkpoint may hold only a part of the model, or a state to resume.
        work_dir: folder of logs and checkpoints. Default: ``work_dirs/CONFIG_NAME``.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.

    Returns:
        The runner. It loads the checkpoint when it trains or tests, or by ``load_or_resume()``.

    Raises:
        ConfigError, MissingFileError, CheckpointError: one sentence about what does not fit.
    """
    cfg = prepare(load_config(config, options), launcher, work_dir, config)
    if configure is not None:
        configure(cfg)
    runner = build_runner(cfg)
    _check_weights(runner, training)
    return runner


def load_weights(runner: Runner) -> None:
    """Loads the weights of the config, or draws initial weights and logs this."""
    if runner.cfg.get('load_from'):
        runner.load_or_resume()
    else:
        keep_initial_weights(runner)


def keep_initial_weights(runner: Runner) -> None:
    """Draws the initial weights of the model, which a runner does only before a training."""
    if not runner.cfg.get('training_free'):
        runner.logger.warning(
            'no checkpoint was given: the weights are those the model starts training from'
        )
    if isinstance(runner, Runner):  # until it runs, a FlexibleRunner holds the config of the model
        runner._init_model_weights()


def _check_weights(runner, training):
    path = runner.cfg.get('load_from')
    if not path:
        return
    if training and not runner.cfg.get('resume'):
        check_start(runner.model, path)
    else:
        check_checkpoint(runner.model, path, resume=training)
