"""Alignment of two dates on one grid: unchanged, cut to the shared ground, resampled, or by
pixel."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rs_mm.errors import DataError

from .grid import (
    Grid,
    check_same_crs,
    check_same_grid,
    check_same_pixels,
    shared_window,
    whole_shift,
)
from .reading import Pixels, Raster, any_band_empties

ALIGN = ('none', 'ground', 'resample', 'crop')
_HOW = (
    '; put date 2 on the grid of date 1 with --align resample, or go by the pixels with '
    '--align crop'
)
_HOW_GROUND = (
    '; cut both to what they share with --align ground, put date 2 on the grid of date 1 with '
    '--align resample, or go by the pixels with --align crop'
)


class AlignedPair:
    """Two dates on one grid; made by :func:`align_pair`.

    Attributes:
        grid: the common grid.
        notes: remarks for the user.
    """

    def __init__(self, grid: Grid, views: list, notes: Sequence[str] = ()) -> None:
        self.grid, self._views, self.notes = grid, views, list(notes)

    def read(
        self,
        bands: Sequence[int] | None = None,
        window: tuple[slice, slice] | None = None,
        shape: tuple[int, int] | None = None,
    ) -> list[Pixels]:
        """Reads both dates of a window of the grid; see :meth:`Raster.read`.

        Raises:
            DataError: a date lacks a band, or a file is damaged.
        """
        whole = (slice(0, self.grid.height), slice(0, self.grid.width))
        rows, columns = window or whole
        found = []
        for raster, top, left in self._views:
            moved = (
                slice(rows.start + top, rows.stop + top),
                slice(columns.start + left, columns.stop + left),
            )
            found.append(raster.read(bands, moved, shape))
        return found

    def close(self) -> None:
        """Closes the files for resampling; the rasters stay open."""
        for raster, _, _ in self._views:
            if isinstance(raster, _Warped):
                raster.close()


def align_pair(
    first: Raster, second: Raster, how: str = 'none', bands: Sequence[int] | None = None
) -> AlignedPair:
    """Puts date 2 on the grid of date 1.

    Args:
        first, second: dates 1 and 2.
        how: ``none``: the grids must agree, to half a pixel. ``ground``: both are cut to the ground
            that they share; date 2 is resampled if it is shifted by a part of a pixel.
            ``resample``: date 2 is warped onto the grid of date 1 (bilinear; palettes nearest).
            ``crop``: both are cut to the smaller height and width from the upper left corner,
            without regard to the georeference.
        bands: bands that will be read; an alpha band among them is resampled like any other.

    Raises:
        DataError: the dates cannot be aligned in this way; the message names another way.
    """
    a, b = Grid.of(first.info), Grid.of(second.info)
    names = (str(first.info.path), str(second.info.path))
    _check_scales(first, second, names)
    if how == 'crop':
        height, width = min(a.height, b.height), min(a.width, b.width)
        grid = a.cut(slice(0, height), slice(0, width))
        return AlignedPair(grid, [(first, 0, 0), (second, 0, 0)])
    for info in (first.info, second.info):
        if info.placed_by:
            raise DataError(
                f'{info.path} lies on the ground by {info.placed_by} alone, so that its pixels are '
                'no grid; write it on one first, e.g. with gdalwarp -t_srs EPSG:4326, or go by the '
                'pixels with --align crop.'
            )
    if how == 'none':
        check_same_grid(a, b, names, _HOW, _HOW_GROUND)
        return AlignedPair(a, [(first, 0, 0), (second, 0, 0)], _notes(a, b))
    for grid, name in zip((a, b), names):
        if grid.transform is None:
            raise DataError(
                f'{name} has no georeference, which --align {how} needs; go by the pixels with '
                '--align crop.'
            )
    return _cut(first, second, names) if how == 'ground' else _resampled(first, second, a, bands)


def _check_scales(first, second, names):
    for key in ('scales', 'offsets'):
        ours, theirs = (set(getattr(raster.info, key)) for raster in (first, second))
        if ours != theirs:
            raise DataError(
                f'{names[0]} and {names[1]} declare different {key} of their values '
                f'({sorted(ours)} and {sorted(theirs)}): write physical values first, e.g. with '
                'gdal_translate -unscale.'
            )


def _notes(a, b):
    if (a.transform is None) != (b.transform is None):
        return ['only one of the dates has a georeference: it is taken for both']
    if a.transform is None or whole_shift(a, b) == (0, 0):
        return []
    return [
        'the dates lie less than half a pixel apart, and are compared as they are '
        '(--align resample moves date 2)'
    ]


def _cut(first, second, names):
    a, b = Grid.of(first.info), Grid.of(second.info)
    check_same_crs(a, b, names, _HOW)
    check_same_pixels(a, b, names, _HOW)
    window = shared_window(a, b)
    if window is None:
        raise DataError(f'{names[0]} and {names[1]} have no ground in common.')
    rows, columns = window
    grid, shift = a.cut(rows, columns), whole_shift(a, b)
    if shift is None:
        moved = _Warped(second, grid)
        note = 'the dates are apart by parts of a pixel: date 2 was resampled'
        return AlignedPair(grid, [(first, rows.start, columns.start), (moved, 0, 0)], [note])
    dx, dy = shift
    views = [
        (first, rows.start, columns.start),
        (second, rows.start - dy, columns.start - dx),
    ]
    return AlignedPair(grid, views)


def _resampled(first, second, grid, bands):
    b = Grid.of(second.info)
    for info in (first.info, second.info):
        if info.crs is None and (first.info.crs or second.info.crs):
            raise DataError(
                f'{info.path} names no coordinate system, which --align resample needs.'
            )
    if grid.crs == b.crs and grid.shape == b.shape and whole_shift(grid, b) == (0, 0):
        return AlignedPair(grid, [(first, 0, 0), (second, 0, 0)])
    moved = _Warped(second, grid, bands)
    return AlignedPair(grid, [(first, 0, 0), (moved, 0, 0)])


def on_grid(raster: Raster, grid: Grid) -> Raster:
    """Returns a raster of classes on another grid, by the nearest pixel; unchanged if the grids
    agree.

    Args:
        raster: raster with a georeference, or with the size of the grid.
        grid: the other grid.

    Raises:
        DataError: the raster has no georeference and another size.
    """
    own = Grid.of(raster.info)
    if own.transform is None or grid.transform is None:
        if own.shape != grid.shape:
            raise DataError(
                f'{raster.info.path} has {own.height} x {own.width} pixels and no common '
                f'georeference with the dates of {grid.height} x {grid.width}.'
            )
        return raster
    if own.shape == grid.shape and own.crs == grid.crs and whole_shift(grid, own) == (0, 0):
        return raster
    return _Warped(raster, grid, nearest=True)


class _Warped(Raster):
    """A raster on another grid; pixels outside the raster are not valid."""

    def __init__(self, raster, grid, bands=None, nearest=False):
        from rasterio.enums import Resampling
        from rasterio.vrt import WarpedVRT

        info, self._opened = raster.info, []
        source = raster.dataset if raster.dataset is not None else self._stored(raster)
        indexed = info.palette is not None
        as_data = bands is not None and info.alpha in bands
        if as_data:
            source = self._without_alpha(source)
        keeps_alpha = info.alpha is not None and not as_data and raster.dataset is not None
        options = {} if keeps_alpha else dict(add_alpha=True)
        if any_band_empties(source.dtypes[0], source.nodatavals):
            options['UNIFIED_SRC_NODATA'] = 'NO'
        unknown = None if grid.crs is not None else 'EPSG:3857'  # one for both; never looked at
        self.vrt = WarpedVRT(
            source,
            src_crs=unknown,
            crs=unknown or grid.crs,
            transform=grid.transform,
            height=grid.height,
            width=grid.width,
            resampling=Resampling.nearest if nearest or indexed else Resampling.bilinear,
            **options,
        )
        stored = self.vrt.count
        alpha = info.alpha if keeps_alpha else stored - 1
        warped = replace(
            info,
            crs=grid.crs,
            transform=grid.transform,
            height=grid.height,
            width=grid.width,
            alpha=alpha,
            has_mask=False,
            nodata=(None,) * stored,
            stored_bands=stored,
        )
        super().__init__(warped, self.vrt)

    def _stored(self, raster):
        """Returns a picture that was decoded as a whole as a dataset with its mask as alpha."""
        from rasterio.io import MemoryFile

        pixels, info = raster.read(), raster.info
        file = MemoryFile()
        planes = pixels.array.transpose(2, 0, 1)
        with file.open(
            driver='GTiff',
            height=info.height,
            width=info.width,
            count=len(planes),
            dtype=planes.dtype,
            crs=info.crs,
            transform=info.transform,
            photometric='minisblack',
        ) as made:
            made.write(planes)
            made.write_mask(pixels.valid)
        dataset = file.open()
        self._opened += [dataset, file]
        return dataset

    def _without_alpha(self, dataset):
        """Returns the dataset as a VRT whose alpha band is an ordinary band."""
        import rasterio
        import rasterio.shutil

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / 'bands.vrt'
            rasterio.shutil.copy(dataset.name, path, driver='VRT')
            text = path.read_text().replace('>Alpha<', '>Undefined<')
        made = rasterio.open(text)
        self._opened.append(made)
        return made

    def _bands(self, bands: Any, stored: bool) -> list[int]:
        if bands is None and self.info.palette is None:
            return [b for b in range(self.info.stored_bands) if b != self.info.alpha]
        return super()._bands(bands, stored)

    def close(self) -> None:
        """Closes the warped view and its temporary files, but not the raster."""
        for dataset in [self.vrt, *self._opened]:
            dataset.close()


def common_valid(pixels: Sequence[Pixels]) -> np.ndarray:
    """Returns (H, W) bool: True where every date holds data."""
    return np.logical_and.reduce([found.valid for found in pixels])
