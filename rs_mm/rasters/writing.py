"""Writing rasters strip by strip: GeoTIFF, cloud-optimised GeoTIFF or PNG."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rs_mm.errors import DataError

from .grid import Grid
from .optional import rasterio_or_raise
from .scratch import reason

_BLOCK = 512
_SMALLEST_OVERVIEW = 256


@dataclass
class Layer:
    """The properties of a written band.

    Attributes:
        dtype: type of the numbers.
        nodata: number that means no data, or None.
        name: name of the band.
        colours: number to (red, green, blue); a colour table.
        classes: number to name, kept as band tags ``class_0=...``.
        scale: physical value of 1, or None.
        tags: tags of the file, e.g. model and date.
        average: whether overviews average values (continuous values) or pick them (classes).
    """

    dtype: str
    nodata: float | None = None
    name: str | None = None
    colours: dict[int, tuple[int, int, int]] | None = None
    classes: dict[int, str] = field(default_factory=dict)
    scale: float | None = None
    tags: dict[str, str] = field(default_factory=dict)
    average: bool = False


def write_raster(
    path: str | Path,
    grid: Grid,
    strips: Iterable[tuple[int, np.ndarray]],
    layer: Layer,
    driver: str = 'GTiff',
) -> None:
    """Writes one band. An interrupted write leaves no file with the final name.

    Args:
        path: file to write.
        grid: its size and georeference.
        strips: (first row, (rows, width) array), from top to bottom, without a gap.
        layer: type, nodata, names, colours, tags.
        driver: ``GTiff`` (tiled, deflate, with overviews), ``COG``, or ``PNG`` (no colours; a
            nodata value becomes the transparent grey).

    Raises:
        DataError: the disk is full, or the system refuses to write.
        ConfigError: rasterio is not installed.
    """
    rasterio = rasterio_or_raise(f'{path}: writing rasters')
    path = Path(path)
    part = path.with_name(f'.{path.name}.part.tif')
    final = path.with_name(f'.{path.name}.final{path.suffix}')
    try:
        with _writing(path, rasterio):
            _write_tiff(rasterio, part, grid, strips, layer, driver)
            _check_written(rasterio, part, grid)
            if driver == 'GTiff':
                _add_overviews(rasterio, part, grid, layer)
            if driver != 'GTiff':
                _convert(rasterio, part, final, driver, layer)
            os.replace(part if driver == 'GTiff' else final, path)
    finally:
        for left in (part, final):
            left.unlink(missing_ok=True)
            Path(f'{left}.aux.xml').unlink(missing_ok=True)


@contextlib.contextmanager
def _writing(path, rasterio) -> Iterator[None]:
    """Turns errors of GDAL and the system into a sentence; GDAL only logs some of its errors."""
    logger, refused = logging.getLogger('rasterio._env'), _Errors()
    logger.addHandler(refused)
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
            yield
        if refused.texts:
            raise DataError(f'{path} cannot be written: {refused.texts[0]}.')
    except OSError as error:  # includes RasterioIOError
        text = refused.texts[0] if refused.texts else reason(error)
        raise DataError(f'{path} cannot be written: {text}.') from error
    except rasterio.errors.RasterioError as error:
        raise DataError(f'{path} cannot be written: {str(error).rstrip(".")}.') from error
    finally:
        logger.removeHandler(refused)
        logger.setLevel(level)
        logger.propagate = propagate


class _Errors(logging.Handler):
    def __init__(self):
        super().__init__(logging.ERROR)
        self.texts = []

    def emit(self, record):
        text = record.getMessage()
        full = 'No space left' in text or 'File too large' in text
        self.texts.append('the disk is full' if full else text.rstrip('.'))


def _write_tiff(rasterio, part, grid, strips, layer, driver):
    from rasterio.windows import Window

    profile = dict(
        driver='GTiff',
        height=grid.height,
        width=grid.width,
        count=1,
        dtype=layer.dtype,
        crs=grid.crs,
        nodata=layer.nodata,
        compress='deflate',
        bigtiff='if_safer',
        num_threads='all_cpus',
    )
    if grid.transform is not None:
        profile['transform'] = grid.transform
    if np.dtype(layer.dtype).kind == 'f':
        profile['predictor'] = 3
    if min(grid.shape) > _BLOCK:
        profile.update(tiled=True, blockxsize=_BLOCK, blockysize=_BLOCK)
    with rasterio.open(part, 'w', **profile) as file:
        for first, rows in strips:
            window = Window(0, first, grid.width, len(rows))
            file.write(rows.astype(layer.dtype, copy=False), 1, window=window)
        _say(file, layer, colours=driver != 'PNG')


def _check_written(rasterio, part, grid):
    """Checks a written file: GDAL writes the directory last, and does not always report a
    failure."""
    from rasterio.windows import Window

    try:
        with rasterio.open(part) as file:
            file.read(1, window=Window(0, grid.height - 1, grid.width, 1))
    except rasterio.errors.RasterioError as error:
        raise OSError(errno.ENOSPC, 'it cannot be read back') from error


def _add_overviews(rasterio, part, grid, layer):
    factors = [2**k for k in range(1, 12) if max(grid.shape) / 2**k >= _SMALLEST_OVERVIEW]
    if factors:
        method = 'average' if layer.average else 'nearest'
        with rasterio.Env(COMPRESS_OVERVIEW='DEFLATE'), rasterio.open(part, 'r+') as file:
            file.build_overviews(factors, rasterio.enums.Resampling[method])


def _say(file, layer, colours):
    if layer.name:
        file.set_band_description(1, layer.name)
    if layer.scale is not None:
        file.scales = (layer.scale,)
    if layer.colours and colours:
        file.write_colormap(1, {number: (*rgb, 255) for number, rgb in layer.colours.items()})
    file.update_tags(**layer.tags)
    file.update_tags(1, **{f'class_{number}': name for number, name in layer.classes.items()})


def _convert(rasterio, part, final, driver, layer):
    import rasterio.shutil

    options: dict[str, Any] = {}
    if driver == 'COG':
        method = 'average' if layer.average else 'nearest'
        options = dict(compress='deflate', overview_resampling=method, bigtiff='if_safer')
    with rasterio.Env(GDAL_PAM_ENABLED=driver != 'PNG'):
        rasterio.shutil.copy(part, final, driver=driver, **options)
