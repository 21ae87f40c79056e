"""Cutting scenes into windows, and the positions of windows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rs_mm.errors import ConfigError, DataError

from .areas import pixel_metres
from .grid import Grid
from .reading import Raster, open_raster
from .values import stretch, stretch_limits

_PREVIEW = 1024  # longest side of the reduced image for the stretch


class Window(NamedTuple):
    """A part of a scene, in pixels."""

    row: int
    column: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return (
            slice(self.row, self.row + self.height),
            slice(self.column, self.column + self.width),
        )


@dataclass(frozen=True)
class TileSize:
    """The size of tiles and the distance of their starts.

    Attributes:
        tile, stride: size and distance in pixels, or in metres on the ground.
        metres: whether both are in metres.
    """

    tile: float
    stride: float
    metres: bool = False

    @classmethod
    def parse(cls, tile: str | float, stride: str | float | None = None) -> TileSize:
        """Reads ``256`` (pixels) or ``150m`` (metres); the stride is the tile by default.

        Raises:
            ConfigError: the text has another form, the numbers are not positive, or one is in
                metres and the other in pixels.
        """
        (size, metres), step = _number(tile, 'tile'), _number(stride or tile, 'stride')
        if step[1] != metres:
            raise ConfigError(f'tile {tile} and stride {stride}: give both in pixels or in metres.')
        return cls(size, step[0], metres)

    def in_pixels(self, grid: Grid, name: str = 'the image') -> tuple[int, int]:
        """Returns tile and stride in pixels of a raster, at least 1.

        Raises:
            DataError: they are in metres, and the raster has no georeference.
        """
        size = 1.0
        if self.metres:
            size = pixel_metres(grid)
            if size is None:
                raise DataError(
                    f'{name} has no georeference, so tiles of {self.tile:g} metres '
                    'cannot be cut from it; give the tile in pixels.'
                )
        return max(1, round(self.tile / size)), max(1, round(self.stride / size))


def _number(text, what):
    found = re.fullmatch(r'(\d+(?:\.\d+)?)\s*(m?)', str(text).strip())
    if not found or not float(found[1]):
        raise ConfigError(f'{what} {text!r}: write pixels (256) or metres on the ground (150m).')
    if not found[2] and float(found[1]) % 1:
        raise ConfigError(f'{what} {text}: pixels are whole numbers; metres end in m.')
    return float(found[1]), found[2] == 'm'


def cut(shape: tuple[int, int], tile: int, stride: int) -> list[Window]:
    """Returns windows of one size over a scene, row by row; the last of each row ends at the
    border.

    Args:
        shape: (height, width) of the scene. A side shorter than the tile gives shorter windows.
        tile: side of a window in pixels.
        stride: distance between the starts of neighbours.
    """
    (rows, height), (columns, width) = (_starts(length, tile, stride) for length in shape)
    return [Window(row, column, height, width) for row in rows for column in columns]


def _starts(length, tile, stride):
    last = max(0, length - tile)
    return [*range(0, last, stride), last], min(tile, length)


def footprint(transform: Any, crs: Any, window: Window) -> list[tuple[float, float]] | None:
    """Returns the corners of a window as (longitude, latitude), clockwise from the upper left.

    Returns:
        Four points; None without georeference.
    """
    if transform is None or crs is None:
        return None
    from rasterio.warp import transform as project

    (top, bottom), (left, right) = ((part.start, part.stop) for part in window.slices)
    a, b, c, d, e, f = tuple(transform)[:6]
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    points = [(a * x + b * y + c, d * x + e * y + f) for x, y in corners]
    return list(zip(*project(crs, 'EPSG:4326', *zip(*points))))


class SceneTiles:
    """An open scene with windows that are read as pictures.

    Args:
        path: the raster.
        bands: 0-based bands, in this order. Default: all but alpha.
        eight_bit: whether other types become uint8, by one stretch for the whole scene: the 2nd to
            the 98th percentile of each band in a reduced image.

    Attributes:
        info: the properties of the file.

    Raises:
        MissingFileError, DataError: the file cannot be read, or lacks a band.
    """

    def __init__(
        self, path: str | Path, bands: list[int] | None = None, eight_bit: bool = True
    ) -> None:
        self._raster: Raster = open_raster(path)
        self.info, self._bands, self._limits = self._raster.info, bands, None
        if eight_bit and self.info.dtype != 'uint8':
            pixels = self.preview_pixels(_PREVIEW)
            self._limits = stretch_limits([pixels.array], [pixels.valid])

    def __enter__(self) -> SceneTiles:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._raster.close()

    def preview_pixels(self, longest: int) -> Any:
        """Returns a reduced copy of the scene in its own type, with a longer side of at most
        ``longest``."""
        factor = max(1, -(-max(self.info.shape) // longest))
        height, width = (max(1, length // factor) for length in self.info.shape)
        return self._raster.read(self._bands, shape=(height, width))

    def preview(self, longest: int = _PREVIEW) -> np.ndarray:
        """Returns a reduced image of the scene, (h, w, C), with the values of :meth:`read`."""
        return self._picture(self.preview_pixels(longest).array)

    def read(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Returns the pixels of a window, (h, w, C), and which of them hold data, (h, w) bool."""
        pixels = self._raster.read(self._bands, (rows, columns))
        return self._picture(pixels.array), pixels.valid

    def tiles(
        self, windows: list[Window], least_valid: float = 0.5
    ) -> Iterator[tuple[Window, np.ndarray]]:
        """Yields the windows with enough data, and their pixels."""
        for window in windows:
            array, valid = self.read(*window.slices)
            if valid.mean() >= least_valid:
                yield window, array

    def _picture(self, array):
        return array if self._limits is None else stretch(array, *self._limits)
