"""Making a Runner from a config file and command-line options."""

from __future__ import annotations

import datetime
import functools
import inspect
import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.fileio import load
from mmengine.logging import print_log
from mmengine.runner import Runner

from rs_mm import compat
from rs_mm.errors import ConfigError, MissingFileError, suggest
from rs_mm.launch.config_errors import why_unreadable
from rs_mm.launch.config_files import find_config, find_our_config
from rs_mm.launch.config_variables import check_names, merge_options

# top-level keys of a config that rs_mm reads, in addition to the arguments of mmengine's Runner
_OWN_KEYS = {
    'activation_checkpointing',
    'channels_last',
    'compile',
    'custom_imports',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'strategy',
    'sync_bn',
    'torch_cfg',
    'training_free',
    'tta_model',
    'tta_pipeline',
    'vis_backends',
}
_RUNNER_KEYS = _OWN_KEYS | set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'}

_TIMEOUT = 1800  # seconds that a process waits for the others, as in mmengine
_LOADER_TIMEOUT = 600  # seconds that a loader waits for a batch of its workers
_OTHER_SCOPES = ('rs_mm', 'opencd', 'mmengine', 'mmcv')
# variables of launchers for the rank of a process, the number of processes, and the rank on the
# machine
_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
# arguments of torch's DataLoader that a config may leave out
_LOADER_KEYS = ('timeout', 'drop_last', 'pin_memory', 'persistent_workers', 'prefetch_factor')
_runs = itertools.count()


def load_config(path: str | Path, options: dict | list[str] | None = None) -> Config:
    """Reads a config file and applies ``--cfg-options``.

    Args:
        path: the config file, or the name of a config of rs_mm; see
            :func:`~rs_mm.launch.config_files.find_config`.
        options: dotted keys -> values, or ``KEY=VALUE`` strings.

    Raises:
        MissingFileError: the file does not exist.
        ConfigError: the file cannot be read, a name in it is almost the name of a setting, or an
            option has an unknown key.
    """
    compat.apply_for_runs()
    _inherit_ours()
    path = find_config(path)
    if path.is_dir():
        raise ConfigError(f'{path} is a folder; give the path of a config file in it.')
    if not path.is_file():
        raise MissingFileError(f'there is no config {path}.')
    if path.suffix not in ('.py', '.json', '.yaml', '.yml'):
        raise ConfigError(f'{path} is not a config: configs are .py, .yaml and .json files.')
    try:
        if path.suffix != '.py' and not isinstance(load(path), dict):
            raise ConfigError(f'{path} holds no settings, `KEY: VALUE` each.')
        cfg = Config.fromfile(path)
        if path.suffix != '.py':
            _check_types(cfg._cfg_dict, path)
    except ConfigError:
        raise
    except Exception as error:  # a config is a program of the user
        raise ConfigError(why_unreadable(path, error)) from error
    check_names(cfg, path, _RUNNER_KEYS)
    return apply_options(cfg, options)


@functools.cache
def _inherit_ours():
    compat.find_bases_by('rs_mm', find_our_config)


def _check_types(node, path):
    """Checks that ``type`` names a registered class in a config that is data.

    mmengine's registries import unknown names: ``type: os.system`` would be called.
    """
    if isinstance(node, dict):
        kind = node.get('type')
        scope, *rest = kind.split('.') if isinstance(kind, str) else ('',)
        if rest and (len(rest) > 1 or scope not in {*MODULE2PACKAGE, *_OTHER_SCOPES}):
            raise ConfigError(
                f"{path}: type='{kind}' is not a name in a registry. A config of YAML or JSON is "
                'data and names registered classes only; a .py config may name anything.'
            )
    for part in node.values() if isinstance(node, dict) else node:
        if isinstance(part, (dict, list, tuple)):
            _check_types(part, path)


def apply_options(cfg: Config, options: dict | Sequence[str]) -> Config:
    """Applies ``--cfg-options`` to a config, in place; see :func:`load_config`."""
    options = options if isinstance(options, dict) else parse_options(options or [])
    for key in options:
        _check_option(cfg, key)
    try:
        merge_options(cfg, options, _RUNNER_KEYS)
    except (TypeError, KeyError) as error:
        raise ConfigError(f'--cfg-options {" ".join(options)}: {error}') from error
    return cfg


def parse_options(pairs: Iterable[str]) -> dict:
    """Converts ``['a.b=1', 'c=[x,y]']`` to ``{'a.b': 1, 'c': ['x', 'y']}``."""
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition('=')
        if not equals or not key:
            raise ConfigError(f'--cfg-options {pair}: write KEY=VALUE, without spaces around =.')
        try:
            options[key] = DictAction._parse_iterable(value)
        except (AssertionError, RecursionError) as error:
            raise ConfigError(
                f'--cfg-options {pair}: the value must be a number, a word or a '
                '[list,of,them]; set the keys of a dict one by one, as '
                f'{key}.NAME=VALUE.'
            ) from error
    return options


def _check_option(cfg, dotted):
    """Checks a new key; it may only be added to a dict with a ``type``, whose class then checks
    it."""
    node, walked = cfg._cfg_dict, []
    keys = dotted.split('.')
    for depth, key in enumerate(keys):
        if isinstance(node, (list, tuple)):
            if not key.isdigit() or int(key) >= len(node):
                raise ConfigError(
                    f'--cfg-options {dotted}: `{".".join(walked)}` is a list of '
                    f'{len(node)}; name an entry by its number from 0.'
                )
            node = node[int(key)]
        elif isinstance(node, dict):
            new = key not in node
            known = _RUNNER_KEYS if depth == 0 else ()
            if depth == 1 and walked[0].endswith('_dataloader'):
                known = _LOADER_KEYS
            if new and key not in known and not (node.get('type') and depth == len(keys) - 1):
                place = f'`{".".join(walked)}`' if walked else 'the config'
                raise ConfigError(
                    f'--cfg-options {dotted}: {place} has no key `{key}`'
                    f'{suggest(key, [*node, *known])}.'
                )
            if new:
                return
            node = node[key]
        elif node is None:
            return
        else:
            raise ConfigError(
                f'--cfg-options {dotted}: `{".".join(walked)}` is {node!r}, it has no keys.'
            )
        walked.append(key)


def prepare(
    cfg: Config,
    launcher: str = 'none',
    work_dir: str | Path | None = None,
    config_path: str | Path | None = None,
) -> Config:
    """Adapts a config to this machine: folder of the run, launcher, backend.

    Args:
        cfg: changed in place and returned.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        work_dir: overrides the config's. Default: ``work_dirs/CONFIG_NAME``.
        config_path: the config file, for this default.
    """
    import torch

    compat.apply_for_runs()
    if work_dir is not None:
        cfg.work_dir = str(work_dir)
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(config_path or 'run').stem)
    cfg.launcher = launcher
    set_up_torch(cfg.get('torch_cfg') or {})
    for name in ('train', 'val', 'test'):
        loader = cfg.get(f'{name}_dataloader')
        if isinstance(loader, dict) and torch.cuda.is_available():
            # otherwise each copy to the GPU is made twice, and the host waits for it
            loader.setdefault('pin_memory', True)
        if isinstance(loader, dict) and loader.get('num_workers') == 0:
            # options of workers, which torch refuses without workers
            loader.pop('persistent_workers', None)
            loader.pop('prefetch_factor', None)
            loader.pop('timeout', None)
        elif isinstance(loader, dict) and 'num_workers' in loader:
            loader.setdefault('timeout', _LOADER_TIMEOUT)  # torch waits for ever
    if cfg.get('sync_bn') and 'FSDP' in (cfg.get('strategy') or {}).get('type', ''):
        cfg.strategy.setdefault('sync_bn', cfg.sync_bn)  # the plain Runner reads it
    if launcher != 'none':
        _prepare_distributed(cfg, launcher, torch.cuda.is_available())
    return cfg


def is_first_process(launcher: str) -> bool:
    """Returns whether this process is the only one of a job, or its first."""
    return launcher == 'none' or os.environ.get(_VARIABLES[launcher][0], '0') == '0'


def set_up_torch(settings: dict) -> None:
    """Applies a config's ``torch_cfg``, settings that mmengine's ``env_cfg`` does not have.

    Args:
        settings: ``tf32=dict(convolutions=bool, products=bool)``; ``keep_freed_memory``
            (bool, see :mod:`rs_mm.engine.host_memory`). Missing settings do not change.
    """
    import torch

    from rs_mm.engine.host_memory import keep_freed_memory

    known = ('tf32', 'keep_freed_memory')
    for key in set(settings) - set(known):
        raise ConfigError(f'`torch_cfg` has no key `{key}`{suggest(key, known)}.')
    if 'tf32' in settings:
        torch.backends.cudnn.allow_tf32 = settings['tf32']['convolutions']
        torch.backends.cuda.matmul.allow_tf32 = settings['tf32']['products']
    if settings.get('keep_freed_memory'):
        keep_freed_memory()


def _prepare_distributed(cfg, launcher, cuda):
    import torch
    import torch.distributed as dist

    settings = cfg.setdefault('env_cfg', {}).setdefault('dist_cfg', {})
    if not cuda and settings.get('backend', 'nccl') == 'nccl':
        settings['backend'] = 'gloo'
    backend = settings.setdefault('backend', 'nccl')
    if not dist.is_backend_available(backend):
        there = [name for name in dist.Backend.backend_list if dist.is_backend_available(name)]
        raise ConfigError(
            f'env_cfg.dist_cfg.backend={backend!r} is not in this build of torch, '
            f'which has {", ".join(there)}.'
        )
    if cuda:
        local = int(os.environ.get('LOCAL_RANK', os.environ.get('SLURM_LOCALID', 0)))
        if local >= torch.cuda.device_count():
            raise ConfigError(
                f'process {local} of this machine has no GPU: there are '
                f'{torch.cuda.device_count()}; start no more processes than GPUs.'
            )
        return
    cfg.model_wrapper_cfg = {
        'type': 'rs_mm.DistributedDataParallel',
        'broadcast_buffers': False,
        'find_unused_parameters': cfg.get('find_unused_parameters', False),
        **(cfg.get('model_wrapper_cfg') or {}),
    }
    _init_on_cpu(launcher, backend, settings.get('timeout', _TIMEOUT))


def _init_on_cpu(launcher, backend, timeout):
    """Sets up several processes; mmengine needs CUDA, so on a CPU the process group is made
    here."""
    import torch.distributed as dist

    for ours, theirs in zip(_VARIABLES['pytorch'], _VARIABLES[launcher]):
        if theirs not in os.environ:
            raise ConfigError(
                f'--launcher {launcher} needs the environment variable {theirs}; '
                'start the tool through tools/dist_train.sh, torchrun, srun or '
                'mpirun, or leave the option out.'
            )
        os.environ[ours] = os.environ[theirs]
    os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
    os.environ.setdefault('MASTER_PORT', '29500')
    if not dist.is_initialized():
        dist.init_process_group(backend, timeout=datetime.timedelta(seconds=timeout))
    print_log(f'no CUDA: the processes communicate with {backend}', 'current')


def build_runner(cfg: Config) -> Runner:
    """Builds the Runner of a prepared config, with the hooks and settings of every run of rs_mm."""
    from mmengine.registry import RUNNERS

    from rs_mm.engine.compiling import compile_parts
    from rs_mm.engine.hooks import RUN_HOOKS
    from rs_mm.engine.preemption import begin_worker

    compat.apply_for_runs()
    compat.start_workers_by(begin_worker)
    # mmengine keeps visualizers by name for the life of the process, and loggers by name and
    # second. With the same name, a second run would draw and log into the folder of the first run
    run = next(_runs)
    if isinstance(cfg.get('visualizer'), dict):
        cfg.visualizer.name = f'visualizer{run}'
    if run:
        name = cfg.get('experiment_name') or Path(cfg.filename or 'run').stem
        cfg.experiment_name = f'{name}_run{run}'
    if 'model' not in cfg:
        raise ConfigError(
            f'{cfg.filename or "the config"} has no `model`, so there is nothing to run.'
        )
    for key in ('channels_last', 'activation_checkpointing', 'compile'):
        if cfg.get(key) and 'runner_type' in cfg:
            raise ConfigError(
                f'`{key}` is for the plain Runner, and `runner_type` is '
                f'{cfg.runner_type!r}; leave one of them out.'
            )
    runner = Runner.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
    _lay_out(runner.model, cfg)
    if cfg.get('compile'):
        compat.leave_step_uncompiled(runner)
        compile_parts(runner.model, {} if cfg.compile is True else cfg.compile)
        runner.logger.info('the networks are compiled: the first steps take minutes')
    for hook in RUN_HOOKS:
        runner.register_hook(hook())
    return runner


def _lay_out(model, cfg):
    import torch

    from rs_mm.engine.strategies import submodule
    from rs_mm.unwrap import unwrap

    for name in cfg.get('activation_checkpointing') or ():  # mmengine switches it on
        submodule(unwrap(model), name, 'activation_checkpointing')
    if cfg.get('channels_last'):
        # a convolution returns the layout of its weights, so inputs are not changed
        model.to(memory_format=torch.channels_last)
