"""Testing a checkpoint by the metrics of a config, for tools/test.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmengine.config import ConfigDict
from mmengine.dist import is_main_process

from rs_mm.datasets.wrapped_datasets import with_settings
from rs_mm.engine.hooks.visualization import SampleVisualizationHook
from rs_mm.errors import ConfigError
from rs_mm.evaluation import sample_scores
from rs_mm.files import check_file_writable, check_writable, write_json, write_metrics
from rs_mm.launch.config import parse_options
from rs_mm.launch.model_loading import LoadedModel
from rs_mm.launch.run import keep_initial_weights, load_weights, open_run
from rs_mm.visualization.curve_plots import write_curves

_WITHOUT_WINDOWS = ('agg', 'cairo', 'pdf', 'pgf', 'ps', 'svg', 'template')


def test(
    config: str | Path,
    checkpoint: str | None = None,
    options: dict | list[str] | None = None,
    *,
    work_dir: str | None = None,
    out: str | None = None,
    show: bool = False,
    show_dir: str | None = None,
    tta: bool = False,
    launcher: str = 'none',
    out_samples: str | None = None,
    worst: int = 0,
    out_curves: str | None = None,
    backend: str | Path = 'torch',
) -> dict:
    """Tests a model by the metrics of its config.

    Args:
        config: config file.
        checkpoint: its weights; None keeps the initial weights of the config.
        options: overrides, as a dict of dotted keys or ``KEY=VALUE``.
        work_dir: folder of the logs. Default: ``work_dirs/CONFIG_NAME``.
        out: ``.json`` for the metrics, ``.pkl`` for mmengine's dump of predictions.
        show: open each picture in a window.
        show_dir: folder for the pictures.
        tta: test-time augmentation by the config's ``tta_model`` and ``tta_pipeline``.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        out_samples: a table (CSV) with the scores of every pair, episode, image or
            query; see :mod:`rs_mm.evaluation.sample_scores`.
        worst: draw only this number of samples, with the lowest scores, into ``show_dir``.
        out_curves: folder for confusion matrices, precision and recall over the threshold, and
            scores per class, if the metrics have them: PNG and CSV.
        backend: the back end of the network; see :func:`~rs_mm.apis.backends.use_backend`.

    Returns:
        The metrics.
    """
    if worst and not show_dir:
        raise ConfigError('--worst N draws into the folder of --show-dir DIR; name one.')
    if out and Path(out).suffix not in ('.json', '.pkl'):
        raise ConfigError(
            f'--out {out}: the name must end in .json (metrics) or .pkl (predictions).'
        )
    if out:
        check_file_writable(out, '--out')
    if show_dir:
        check_writable(show_dir, '--show-dir')

    def configure(cfg):
        cfg.resume, cfg.load_from = False, checkpoint or cfg.get('load_from')
        if show or show_dir:
            _switch_drawing_on(cfg, show, show_dir, draw=not worst)
        if tta:
            _use_tta(cfg)
        if out and out.endswith('.pkl'):
            _dump_predictions(cfg, out)

    runner = open_run(config, options, configure, work_dir=work_dir, launcher=launcher)
    if not runner.cfg.load_from and not runner.cfg.get('training_free'):
        keep_initial_weights(runner)
    if backend != 'torch':
        _use_backend(runner, backend)
    if out_curves:
        for metric in runner.test_loop.evaluator.metrics:
            metric.keep_curves = True
    metrics = runner.test()
    if out and out.endswith('.json') and is_main_process():
        write_metrics(out, metrics)
    if is_main_process():
        _keep_details(runner, config, checkpoint, options, out_samples, worst, out_curves)
    return metrics


def _use_backend(runner, backend):
    from rs_mm.apis.backends import use_backend

    load_weights(runner)
    device = str(next(runner.model.parameters()).device)
    name = Path(runner.cfg.filename or 'config').stem
    use_backend(LoadedModel(runner.model.eval(), runner.cfg, name, device, {}), backend)


def draw_rows(
    config: str | Path,
    checkpoint: dict,
    options: dict | list[str] | None,
    rows: Sequence[int],
    show_dir: str,
    *,
    work_dir: str | None = None,
) -> dict[int, str]:
    """Draws some samples of a config's test set as ``test`` draws them.

    Args:
        config, checkpoint, options: see :func:`test`.
        rows: positions in the dataset, as in the column ``row`` of ``--out-samples``.
        show_dir: folder for the pictures.
        work_dir: folder of the logs.

    Returns:
        Row -> file name below ``show_dir``.
    """

    def configure(cfg):
        cfg.resume, cfg.load_from = False, checkpoint or cfg.get('load_from')
        _switch_drawing_on(cfg, False, show_dir, draw=False)

    runner = open_run(config, options, configure, work_dir=work_dir)
    hook = _drawing_hook(runner)
    if isinstance(hook, SampleVisualizationHook):
        load_weights(runner)
        runner.test_loop.evaluator.dataset_meta = runner.test_loop.dataloader.dataset.metainfo
        runner.visualizer.dataset_meta = runner.test_loop.dataloader.dataset.metainfo
    else:  # retrieval can draw only after the whole test
        if not runner.cfg.load_from and not runner.cfg.get('training_free'):
            keep_initial_weights(runner)
        runner.test()
    return hook.draw_chosen(runner, rows)


def _keep_details(runner, config, checkpoint, options, out_samples, worst, out_curves):
    metrics = runner.test_loop.evaluator.metrics
    if out_samples or worst:
        rows = sample_scores.collect_rows(metrics)
    if out_samples:
        sample_scores.write_csv(out_samples, rows)
        if not isinstance(options, dict):
            options = parse_options(options or [])
        origin = dict(config=str(config), checkpoint=checkpoint, options=options)
        write_json(f'{out_samples}.run.json', origin)
        runner.logger.info(f'The scores of {len(rows)} samples are in {out_samples}')
    if worst:
        chosen = sample_scores.worst(rows, worst)
        drawn = _drawing_hook(runner).draw_chosen(runner, [int(row['row']) for row in chosen])
        key = sample_scores.columns(rows)[0]
        lines = [f'{row[key]:10.4f}  {drawn.get(int(row["row"]), "(not drawn)")}' for row in chosen]
        runner.logger.info(f'the {len(chosen)} samples of the lowest {key}:\n' + '\n'.join(lines))
    if out_curves:
        written = write_curves(out_curves, metrics)
        runner.logger.info(f'{len(written)} tables and pictures of classes are in {out_curves}')


def _drawing_hook(runner):
    for hook in runner.hooks:
        if hasattr(hook, 'draw_chosen'):
            return hook
    raise ConfigError(
        'this config has no `default_hooks.visualization` that draws chosen samples; '
        'SampleVisualizationHook, RetrievalVisualizationHook and those that inherit them do.'
    )


test.__test__ = False  # pytest must not collect this function


def _dump_predictions(cfg, out):
    evaluators = cfg.test_evaluator
    evaluators = list(evaluators) if isinstance(evaluators, list) else [evaluators]
    cfg.test_evaluator = [*evaluators, dict(type='DumpResults', out_file_path=out)]


def _check_display():
    import matplotlib  # takes half a second, only needed for windows

    if matplotlib.get_backend().lower() in _WITHOUT_WINDOWS:
        raise ConfigError(
            '--show opens windows, and there is no display for them (matplotlib '
            f'draws with {matplotlib.get_backend()}); save the pictures with '
            '--show-dir DIR instead.'
        )


def _switch_drawing_on(cfg, show, show_dir, draw=True):
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise ConfigError(
            '--show-dir: this config has no `default_hooks.visualization`, the hook that draws.'
        )
    if show:
        _check_display()
    hook.update(draw=draw, show=show)
    if _is_own_hook(hook):
        hook.out_dir = show_dir
        return
    # hooks of mmseg and Open-CD draw with a visualizer that has the folder
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
    """Wraps the model in the config's TTA model and replaces the test pipeline by the TTA
    pipeline."""
    if 'tta_pipeline' not in cfg:
        raise ConfigError('--tta: this config has no `tta_pipeline`.')
    cfg.test_dataloader.dataset = with_settings(
        cfg.test_dataloader.dataset, pipeline=cfg.tta_pipeline
    )
    model = cfg.get('tta_model') or ConfigDict(type='mmseg.SegTTAModel')
    cfg.model = ConfigDict(**model, module=cfg.model)
