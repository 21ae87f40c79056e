"""The only place that adapts a dependency's behaviour.

:func:`apply` runs once, when ``rs_mm`` is imported, and before mmcv or mmseg are. It mends four
things:

1. ``mmcv-lite`` has no compiled module ``mmcv._ext``, yet mmsegmentation imports ``mmcv.ops``. A
   stand-in lets the import pass; *calling* a compiled op raises an error that says what to install.
2. Python dropped ``pkgutil.find_loader`` (3.14) and setuptools dropped ``pkg_resources``; mmengine
   and mmcv still ask for both.
3. torch >= 2.6 loads checkpoints with ``weights_only=True``. mmengine's own checkpoints hold a few
   harmless types that have to be named as safe, and mmengine downloads with the older default.
4. mmengine checkpoints activations in a way that loses the gradients of a network's first module.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import pkgutil
import sys
import types
import warnings

_INSTALL_FULL_MMCV = (
    'this needs a compiled op of mmcv, and mmcv-lite is installed. Install the full package '
    '(`pip uninstall -y mmcv-lite && pip install "mmcv>=2.1.0,<2.2"`) to use it.'
)


def apply() -> None:
    """Applies every adaptation; calling it again changes nothing."""
    _provide_find_loader()
    _provide_pkg_resources()
    _provide_mmcv_ext()
    _register_safe_globals()
    _download_safely()
    _checkpoint_activations_of_images()
    # mmseg tells its own builders to be replaced, and of a default that our configs mean
    for message in ('.*would be deprecated soon.*', 'Default ``avg_non_ignore`` is False'):
        warnings.filterwarnings('ignore', message=message, module='mmseg')


def _provide_find_loader() -> None:
    if not hasattr(pkgutil, 'find_loader'):

        def find_loader(name):
            spec = importlib.util.find_spec(name)
            return None if spec is None else spec.loader

        pkgutil.find_loader = find_loader


def _provide_pkg_resources() -> None:
    """mmengine's ``is_installed`` and ``get_installed_path`` on ``importlib.metadata``."""
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
    # importlib.reload, which mmengine calls, goes through the module's spec
    module.__spec__ = importlib.machinery.ModuleSpec('pkg_resources', loader=_KeepModule())
    sys.modules['pkg_resources'] = module


class _KeepModule:
    """A loader whose module is already complete."""

    def find_spec(self, name, path=None, target=None):
        if name == 'pkg_resources':
            return importlib.machinery.ModuleSpec(name, loader=self)
        return None

    def create_module(self, spec):
        return sys.modules.get(spec.name)

    def exec_module(self, module):
        pass


class _MissingOps(types.ModuleType):
    """Stands in for ``mmcv._ext``: has every op, and each says how to get the real one."""

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args, **kwargs):
            raise RuntimeError(f'mmcv op `{name}`: {_INSTALL_FULL_MMCV}')

        return missing


def _provide_mmcv_ext() -> None:
    if importlib.util.find_spec('mmcv') is None:
        raise ImportError(
            'rs_mm needs mmcv: `pip install -r requirements/mminstall.txt` installs mmcv-lite '
            '(no compiler needed) together with mmengine and mmsegmentation.'
        )
    if importlib.util.find_spec('mmcv._ext') is None:
        module = _MissingOps('mmcv._ext')
        # loader=None: mmengine asks pkgutil whether mmcv is full, and must hear no
        module.__spec__ = importlib.machinery.ModuleSpec('mmcv._ext', loader=None)
        sys.modules['mmcv._ext'] = module


def _history_buffer_statistic(owner, name):
    """What ``getattr`` may do while a checkpoint loads: name one of HistoryBuffer's statistics."""
    from mmengine.logging.history_buffer import HistoryBuffer

    if owner is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean'):
        raise ValueError(
            f'the checkpoint asks for the attribute {name!r} of {owner!r}, which a '
            'file of weights has no use for; it was not loaded.'
        )
    return getattr(owner, name)


def _register_safe_globals() -> None:
    import numpy as np
    import torch
    from mmengine.logging.history_buffer import HistoryBuffer

    # numpy < 2 pickled under another module name than numpy >= 2 does; accept both
    from numpy import dtypes

    core = np._core if hasattr(np, '_core') else np.core
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            (_history_buffer_statistic, 'builtins.getattr'),
            np.ndarray,
            np.dtype,
            *[getattr(dtypes, name) for name in dtypes.__all__ if name.endswith('DType')],
            *[
                (function, f'{module}.multiarray.{name}')
                for module in ('numpy._core', 'numpy.core')
                for name, function in (
                    ('_reconstruct', core.multiarray._reconstruct),
                    ('scalar', core.multiarray.scalar),
                )
            ],
            argparse.Namespace,  # plain data: timm's training script stores its arguments
        ]
    )


def _download_safely() -> None:
    """mmengine asks ``torch.hub`` for downloads without the safe reading; ask with it."""
    import functools

    from mmengine.runner import checkpoint

    if not isinstance(checkpoint.load_url, functools.partial):
        checkpoint.load_url = functools.partial(checkpoint.load_url, weights_only=True)


def _checkpoint_activations_of_images() -> None:
    """mmengine's ``activation_checkpointing`` relies on torch's older, re-entrant way.

    It gives no gradients at all to a module whose inputs need none, such as a stem that sees the
    image itself.
    """
    import functools

    from mmengine.runner import activation_checkpointing
    from torch.utils.checkpoint import checkpoint

    activation_checkpointing.checkpoint = functools.partial(checkpoint, use_reentrant=False)
