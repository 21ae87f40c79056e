"""Packages of the extra ``geo``, imported only when needed."""

from __future__ import annotations

import importlib
import logging
import os
from types import ModuleType

from rs_mm.errors import ConfigError


def has_rasterio() -> bool:
    """Returns whether rasterio is installed and works."""
    try:
        rasterio_or_raise('reading rasters')
    except ConfigError:
        return False
    return True


def rasterio_or_raise(what: str) -> ModuleType:
    """Returns the module rasterio.

    Args:
        what: start of the error message, e.g. ``'a.tif: reading this file'``.

    Raises:
        ConfigError: rasterio is not installed.
    """
    return geo_package('rasterio', what)


def geo_package(name: str, what: str) -> ModuleType:
    """Returns a module of the extra ``geo``.

    Raises:
        ConfigError: the package is not installed.
    """
    if name == 'rasterio':
        # in each process, GDAL keeps decoded blocks in 5 % of the memory; a few rows of blocks of a
        # wide scene are enough. A value of the user is kept
        os.environ.setdefault('GDAL_CACHEMAX', '256')
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f'{what} needs {name} ({error}): pip install "rs_mm[geo]".') from error
    if name == 'rasterio':
        importlib.import_module('rasterio.errors')
        # libtiff's remarks on ignored tags do not matter for the user
        log = logging.getLogger('rasterio._env')
        if log.level != logging.ERROR:  # each setting clears the caches of all loggers
            log.setLevel(logging.ERROR)
    return module
