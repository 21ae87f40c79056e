"""Testing a checkpoint by a config's metrics: what tools/test.py does."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
from mmengine.config import ConfigDict
from mmengine.dist import is_main_process

from rs_mm.datasets.wrapped_datasets import with_settings
from rs_mm.errors import ConfigError
from rs_mm.launch.run import keep_initial_weights, open_run

_WITHOUT_WINDOWS = ('agg', 'cairo', 'pdf', 'pgf', 'ps', 'svg', 'template')


def test(
    config,
    checkpoint=None,
    options=None,
    *,
    work_dir=None,
    out=None,
    show=False,
    show_dir=None,
    tta=False,
    launcher='none',
) -> dict:
    """Tests a model by the metrics of its config.

    Args:
        config (str | Path): config file.
        checkpoint (str | None): its weights; None keeps those that the config starts from.
        options (dict | list[str] | None): overrides, as a dict of dotted keys or ``KEY=VALUE``.
        work_dir (str | None): folder of the logs. Default: ``work_dirs/CONFIG_NAME``.
        out (str | None): ``.json`` for the metrics, ``.pkl`` for mmengine's dump of predictions.
        show (bool): open each picture in a window.
        show_dir (str | None): folder for the pictures.
        tta (bool): test-time augmentation by the config's ``tta_model`` and ``tta_pipeline``.
        launcher (str): ``none``, ``pytorch``, ``slurm`` or ``mpi``.

    Returns:
        dict[str, float]: the metrics.
    """
    if out and Path(out).suffix not in ('.json', '.pkl'):
        raise ConfigError(
            f'--out {out}: the name must end in .json (metrics) or .pkl (predictions).'
        )

    def configure(cfg):
        cfg.resume, cfg.load_from = False, checkpoint or cfg.get('load_from')
        if show or show_dir:
            _switch_drawing_on(cfg, show, show_dir)
        if tta:
            _use_tta(cfg)
        if out and out.endswith('.pkl'):
            _dump_predictions(cfg, out)

    runner = open_run(config, options, configure, work_dir=work_dir, launcher=launcher)
    if not runner.cfg.load_from and not runner.cfg.get('training_free'):
        keep_initial_weights(runner)
    metrics = runner.test()
    if out and out.endswith('.json') and is_main_process():
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(json.dumps(metrics, indent=1, default=float) + '\n')
    return metrics


test.__test__ = False  # pytest: this is no test


def _dump_predictions(cfg, out):
    evaluators = cfg.test_evaluator
    evaluators = list(evaluators) if isinstance(evaluators, list) else [evaluators]
    cfg.test_evaluator = [*evaluators, dict(type='DumpResults', out_file_path=out)]


def _switch_drawing_on(cfg, show, show_dir):
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise ConfigError(
            '--show-dir: this config has no `default_hooks.visualization`, the hook that draws.'
        )
    if show and matplotlib.get_backend().lower() in _WITHOUT_WINDOWS:
        raise ConfigError(
            '--show opens windows, and there is no display for them (matplotlib '
            f'draws with {matplotlib.get_backend()}); save the pictures with '
            '--show-dir DIR instead.'
        )
    hook.update(draw=True, show=show)
    if _is_own_hook(hook):
        hook.out_dir = show_dir
        return
    # hooks of mmseg and Open-CD draw through a visualizer that knows the folder
    if show:
        hook.setdefault('wait_time', 2)
    if show_dir and cfg.get('visualizer'):
        cfg.visualizer.save_dir = show_dir
        if not cfg.visualizer.get('vis_backends'):
            cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]


def _is_own_hook(hook):
    from rs_mm.registry import HOOKS

    HOOKS.import_from_location()
    return hook.type.split('.')[-1] in HOOKS.module_dict


def _use_tta(cfg):
    """The model is wrapped in the config's TTA model and the test pipeline replaced by its own."""
    if 'tta_pipeline' not in cfg:
        raise ConfigError('--tta: this config has no `tta_pipeline`.')
    cfg.test_dataloader.dataset = with_settings(
        cfg.test_dataloader.dataset, pipeline=cfg.tta_pipeline
    )
    model = cfg.get('tta_model') or ConfigDict(type='mmseg.SegTTAModel')
    cfg.model = ConfigDict(**model, module=cfg.model)
