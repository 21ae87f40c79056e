"""All changes of the behaviour of dependencies.

:func:`apply` runs when ``rs_mm`` is imported, before mmcv or mmseg are. It fills two gaps that
would prevent their import, and changes nothing that exists:

1. ``mmcv-lite`` has no compiled module ``mmcv._ext``, yet mmsegmentation imports ``mmcv.ops``. With
   an empty module the import works; *calling* a compiled op raises an error that says what to
   install.
2. Python dropped ``pkgutil.find_loader`` (3.14) and setuptools dropped ``pkg_resources``; mmengine
   and mmcv still need both.

One import is delayed: mmengine imports ``transformers``, which takes an eighth of the start, for
one optimizer.

:func:`apply_for_runs` runs when a config is read or a run is built. It changes mmengine for the
whole process:

3. mmengine reads checkpoints through :mod:`rs_mm.checkpoint` and downloads with
   ``weights_only=True``. mmengine's own checkpoints hold a few types beyond tensors; while one
   loads, guarded substitutes are allowed for them (``checkpoint_types.py``). 4. mmengine's loader
   of YAML configs runs the functions that tags name; here YAML is data. 5. mmengine's activation
   checkpointing loses the gradients of a network's first module. 6. mmengine writes checkpoints in
   place; here an interrupted write leaves no incomplete file. 7. torch's data loader passes tensors
   through a socket of its worker, and ignores its timeout if the worker is stopped; here the
   timeout works.

:func:`start_workers_by` changes how a runner starts the workers of its loaders, and
:func:`find_bases_by` how a config finds its base configs. Single objects are changed by
:func:`leave_step_uncompiled` (a runner whose networks are compiled) and :func:`synchronise_on_cpu`
(a batch norm that gloo synchronises).
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import pkgutil
import signal
import sys
import threading
import types
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the import of rs_mm imports neither torch nor mmengine
    from mmengine.runner import Runner
    from torch import nn

_INSTALL_FULL_MMCV = (
    'this needs a compiled op of mmcv, and mmcv-lite is installed. Install the full package '
    '(`pip uninstall -y mmcv-lite && pip install "mmcv>=2.1.0,<2.2"`) to use it.'
)

_applied: list[bool] = []


def apply() -> None:
    """Fills the gaps that prevent the import of the mm packages; replaces nothing."""
    _provide_find_loader()
    _provide_pkg_resources()
    _provide_mmcv_ext()
    _leave_transformers_out()


def apply_for_runs() -> None:
    """Changes the behaviour of mmengine in this process; a second call has no effect."""
    if _applied:
        return
    _applied.append(True)
    _offer_adafactor()
    _download_safely()
    _load_checked()
    _read_yaml_as_data()
    _checkpoint_activations_of_images()
    _write_atomically()
    _write_json_without_nan()
    _end_waiting_for_workers()
    # mmseg warns about its deprecated builders, and about a default that the configs intend
    for message in ('.*would be deprecated soon.*', 'Default ``avg_non_ignore`` is False'):
        warnings.filterwarnings('ignore', message=message, module='mmseg')


def start_workers_by(function: Callable) -> None:
    """Makes mmengine's runners start each loader worker by another function."""
    from mmengine.runner import runner

    runner.default_worker_init_fn = function


def find_bases_by(scope: str, find: Callable[[str], Any]) -> None:
    """Lets ``_base_ = 'SCOPE::NAME'`` inherit the file ``find(NAME)``.

    mmengine has a fixed list of packages for this, and marks the values that it inherits from them.
    """
    import functools

    from mmengine.config import Config

    place = Config._get_cfg_path

    @functools.wraps(place)
    def _get_cfg_path(cfg_path, filename):
        before, colons, name = cfg_path.partition('::')
        if colons and before == scope:
            return str(find(name)), None
        return place(cfg_path, filename)

    Config._get_cfg_path = staticmethod(_get_cfg_path)


def _provide_find_loader() -> None:
    if not hasattr(pkgutil, 'find_loader'):

        def find_loader(name):
            spec = importlib.util.find_spec(name)
            return None if spec is None else spec.loader

        pkgutil.find_loader = find_loader


def _provide_pkg_resources() -> None:
    """Implements mmengine's ``is_installed`` and ``get_installed_path`` with
    ``importlib.metadata``."""
    if importlib.util.find_spec('pkg_resources') is not None:
        return
    from importlib import metadata

    class DistributionNotFound(Exception):
        pass

    class _Distribution:
        def __init__(self, name):
            try:
                found = metadata.distribution(name)
            except metadata.PackageNotFoundError as error:
                raise DistributionNotFound(name) from error
            self.version, self.location = found.version, str(found.locate_file(''))
            self._found = found

        def has_metadata(self, name):
            return self._found.read_text(name) is not None

        def get_metadata_lines(self, name):
            return (self._found.read_text(name) or '').splitlines()

    module = types.ModuleType('pkg_resources')
    module.DistributionNotFound = DistributionNotFound
    module.get_distribution = _Distribution
    module.fixup_namespace_packages = lambda *args: None  # pytest reads the path of the module
    # importlib.reload, which mmengine calls, searches for the module again
    keep = _KeepModule()
    module.__spec__ = importlib.machinery.ModuleSpec('pkg_resources', loader=keep)
    sys.modules['pkg_resources'] = module
    sys.meta_path.append(keep)


class _KeepModule(importlib.abc.Loader):
    """A finder and loader of a module that is already complete."""

    def find_spec(self, name, path=None, target=None):
        if name == 'pkg_resources':
            return importlib.machinery.ModuleSpec(name, loader=self)
        return None

    def create_module(self, spec):
        return sys.modules.get(spec.name)

    def exec_module(self, module):
        pass


class _MissingOps(types.ModuleType):
    """A replacement for ``mmcv._ext``: it has every op, and each raises an error with the install
    command."""

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args, **kwargs):
            raise RuntimeError(f'mmcv op `{name}`: {_INSTALL_FULL_MMCV}')

        return missing


def check_installed() -> None:
    """Raises an error with the install command if the mm packages are missing.

    Raises:
        ImportError: mmengine or mmcv is not installed.
    """
    for name in ('mmengine', 'mmcv'):
        if importlib.util.find_spec(name) is None:
            raise ImportError(
                f'rs_mm needs {name}: `pip install -r requirements/mminstall.txt` installs '
                'mmcv-lite (no compiler needed) together with mmengine and mmsegmentation.'
            )


def _provide_mmcv_ext() -> None:
    mmcv = importlib.util.find_spec('mmcv')
    if mmcv is None:  # rasters and exported models do not need them
        return
    # not with find_spec('mmcv._ext'), which imports mmcv and torch
    places = mmcv.submodule_search_locations
    if importlib.machinery.PathFinder.find_spec('mmcv._ext', places) is None:
        module = _MissingOps('mmcv._ext')
        # loader=None, because mmengine asks pkgutil whether mmcv is the full package
        module.__spec__ = importlib.machinery.ModuleSpec('mmcv._ext', loader=None)
        sys.modules['mmcv._ext'] = module


def _download_safely() -> None:
    """Makes mmengine download with ``torch.hub`` and read the files safely."""
    import functools

    import torch
    from mmengine.runner import checkpoint

    from rs_mm.checkpoint import cannot_download
    from rs_mm.checkpoint_types import safe_globals

    load = checkpoint.load_url

    @functools.wraps(load)
    def load_url(url, *args, **kwargs):
        try:
            with torch.serialization.safe_globals(safe_globals()):
                return load(url, *args, **kwargs | dict(weights_only=True))
        except (OSError, RuntimeError) as error:  # no network, a changed address, a failed transfer
            raise cannot_download(url, error) from error

    checkpoint.load_url = load_url


def _load_checked() -> None:
    """Makes mmengine's Runner and ``init_cfg`` read local checkpoints with
    :mod:`rs_mm.checkpoint`."""
    from mmengine.runner import CheckpointLoader

    from rs_mm.checkpoint import load_from_local

    CheckpointLoader.register_scheme(prefixes='', loader=load_from_local, force=True)


def _read_yaml_as_data() -> None:
    """Replaces mmengine's YAML loader, which calls any function in a tag, by a loader of data."""
    import yaml
    from mmengine.fileio import register_handler
    from mmengine.fileio.handlers import YamlHandler

    from rs_mm.limits import check_entries

    @register_handler(['yaml', 'yml'])
    class SafeYamlHandler(YamlHandler):
        def load_from_fileobj(self, file, **kwargs):
            kwargs.setdefault('Loader', getattr(yaml, 'CSafeLoader', yaml.SafeLoader))
            content = super().load_from_fileobj(file, **kwargs)
            check_entries(content, getattr(file, 'name', 'the YAML file'))
            return content


def _checkpoint_activations_of_images() -> None:
    """Replaces torch's older, re-entrant checkpointing in mmengine's ``activation_checkpointing``.

    The older way gives no gradients to a module whose inputs need none, such as the stem, whose
    input is the image.
    """
    import functools

    from mmengine.runner import activation_checkpointing
    from torch.utils.checkpoint import checkpoint

    activation_checkpointing.checkpoint = functools.partial(checkpoint, use_reentrant=False)


def _write_atomically() -> None:
    """Replaces mmengine's writing in place, where a kill or a full disk leaves an incomplete
    file."""
    from mmengine.fileio import LocalBackend, register_backend

    from rs_mm.checkpoint_digest import sealed
    from rs_mm.files import atomic_write

    class AtomicLocalBackend(LocalBackend):
        """Writes a file without leaving an incomplete one, and a checkpoint with its SHA-256."""

        def put(self, obj, filepath):
            with atomic_write(filepath) as file:
                file.writelines(sealed(obj) if str(filepath).endswith('.pth') else [obj])

    register_backend('local', AtomicLocalBackend, prefixes='', force=True)


def _write_json_without_nan() -> None:
    """Replaces the bare NaN that mmengine writes for missing scores, which JSON parsers refuse."""
    from mmengine.fileio import register_handler
    from mmengine.fileio.handlers import JsonHandler

    from rs_mm.files import plain

    @register_handler('json')
    class StrictJsonHandler(JsonHandler):
        def dump_to_fileobj(self, obj, file, **kwargs):
            super().dump_to_fileobj(plain(obj), file, **kwargs)

        def dump_to_str(self, obj, **kwargs):
            return super().dump_to_str(plain(obj), **kwargs)


def leave_step_uncompiled(runner: Runner) -> None:
    """Prevents a runner from compiling its whole training step, as mmengine's ``compile`` would."""
    runner._maybe_compile = lambda step: None


def synchronise_on_cpu(module: nn.Module) -> None:
    """Gives a ``nn.SyncBatchNorm`` the forward of a batch norm that also runs through gloo.

    torch's wrapper for many processes refuses every subclass of ``SyncBatchNorm`` off the GPU, so
    the class changes and the parameters stay.
    """
    from rs_mm.engine.distributed_wrapper import GlooSyncBatchNorm

    module.__class__ = GlooSyncBatchNorm


def _end_waiting_for_workers() -> None:
    import functools

    from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter as LoaderIterator

    take = LoaderIterator._try_get_data

    @functools.wraps(take)
    def _try_get_data(self, *args, **kwargs):
        seconds = self._timeout
        if not seconds or threading.current_thread() is not threading.main_thread():
            return take(self, *args, **kwargs)

        def end(*_):
            raise RuntimeError(f'DataLoader timed out after {seconds} seconds')

        before = signal.signal(signal.SIGALRM, end)
        signal.setitimer(signal.ITIMER_REAL, seconds + min(seconds, 30))  # its own comes first
        try:
            return take(self, *args, **kwargs)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    LoaderIterator._try_get_data = _try_get_data


class _WithoutTransformers(importlib.abc.MetaPathFinder):
    """Hides ``transformers`` while mmengine makes its list of optimizers."""

    def find_spec(self, name, path=None, target=None):
        if name == 'transformers':
            builder = sys.modules.get('mmengine.optim.optimizer.builder')
            if builder is not None and not hasattr(builder, 'TRANSFORMERS_OPTIMIZERS'):
                raise ModuleNotFoundError('transformers is imported when Adafactor is asked for')
        return None


def _leave_transformers_out() -> None:
    if not any(isinstance(finder, _WithoutTransformers) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WithoutTransformers())


def _offer_adafactor() -> None:
    """Builds the optimizer that mmengine would have registered; it is imported at this time."""
    from mmengine.registry import OPTIMIZERS

    if 'Adafactor' in OPTIMIZERS.module_dict or not importlib.util.find_spec('transformers'):
        return

    def adafactor(*args, **kwargs):
        from transformers import Adafactor

        return Adafactor(*args, **kwargs)

    OPTIMIZERS.register_module(name='Adafactor', module=adafactor)
