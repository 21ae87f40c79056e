"""Packages of the extra ``geo``, asked for only where they are needed."""

from __future__ import annotations

import importlib
import logging
import os
from types import ModuleType

from rs_mm.errors import ConfigError


def has_rasterio() -> bool:
    """Whether rasterio is installed and works."""
    try:
        rasterio_or_raise('reading rasters')
    except ConfigError:
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
    if name == 'rasterio':
        # GDAL keeps decoded blocks in 5 % of the memory, each process for itself: a few rows of
        # blocks of a wide scene are enough; whoever sets the variable decides
        os.environ.setdefault('GDAL_CACHEMAX', '256')
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f'{what} needs {name} ({error}): pip install "rs_mm[geo]".') from error
    if name == 'rasterio':
        importlib.import_module('rasterio.errors')
        # libtiff's remarks on tags that it passes over are no matter for the user
        log = logging.getLogger('rasterio._env')
        if log.level != logging.ERROR:  # each setting makes all loggers forget what they know
            log.setLevel(logging.ERROR)
    return module
