"""Packages of the extra ``geo``, asked for only where they are needed."""

from __future__ import annotations

import importlib
import logging
from types import ModuleType

from rs_mm.errors import ConfigError


def has_rasterio() -> bool:
    """Whether rasterio is installed and works."""
    try:
        import rasterio  # noqa: F401
    except ImportError:
        return False
    return True


def rasterio_or_raise(what: str) -> ModuleType:
    """The module rasterio, or a sentence that says what needs it.

    Args:
        what: begins the sentence, e.g. ``'a.tif: reading this file'``.

    Raises:
        ConfigError: rasterio is not installed.
    """
    return geo_package('rasterio', what)


def geo_package(name: str, what: str) -> ModuleType:
    """A module of the extra ``geo``, or a sentence that says what needs it.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f'{what} needs {name} ({error}): pip install "rs_mm[geo]".') from error
    if name == 'rasterio':
        importlib.import_module('rasterio.errors')
        # libtiff's remarks on tags that it passes over are no matter for the user
        logging.getLogger('rasterio._env').setLevel(logging.ERROR)
    return module
