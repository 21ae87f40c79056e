"""The grid of a raster on the ground, and the comparison of two grids."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from rs_mm.errors import DataError

from .describe import RasterInfo

# dates whose corners are closer than this (in pixels) count as one grid without resampling
TOLERANCE = 0.5
_WHOLE = 0.01  # in pixels: a shift that is closer than this to whole pixels counts as whole pixels


@dataclass(frozen=True)
class Grid:
    """A grid of pixels on the ground.

    Attributes:
        height, width: in pixels.
        transform: ``affine.Affine`` from (column, row) to (x, y); None without georeference.
        crs: ``rasterio.crs.CRS``; None if unknown.
    """

    height: int
    width: int
    transform: Any = None
    crs: Any = None

    @classmethod
    def of(cls, info: RasterInfo) -> Grid:
        """Returns the grid of a raster."""
        return cls(info.height, info.width, info.transform, info.crs)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def cut(self, rows: slice, columns: slice) -> Grid:
        """Returns the part with these rows and columns."""
        transform = self.transform
        if transform is not None:
            from affine import Affine

            transform = transform @ Affine.translation(columns.start, rows.start)
        return Grid(rows.stop - rows.start, columns.stop - columns.start, transform, self.crs)

    @property
    def pixel_size(self) -> tuple[float, float]:
        """The width and height of a pixel in units of the CRS."""
        t = self.transform
        return math.hypot(t.a, t.d), math.hypot(t.b, t.e)

    @property
    def angle(self) -> float:
        """The rotation of the rows from the x axis, in degrees."""
        return math.degrees(math.atan2(self.transform.d, self.transform.a))


def same_crs(first: Any, second: Any, grid: Grid) -> bool:
    """Returns whether two CRSs give the same coordinates on this ground, in any notation.

    Args:
        first, second: ``rasterio.crs.CRS``; an unknown CRS (None) agrees with every other.
        grid: area of the comparison, in coordinates of the first.
    """
    if first is None or second is None or first == second:
        return True
    from rasterio.errors import RasterioError
    from rasterio.warp import transform

    points = _corners(grid)
    try:
        found = np.column_stack(transform(first, second, *points.T))
    except (RasterioError, ValueError):
        return False
    # both in units of the CRS; a hundredth of a pixel does not matter
    return bool(np.abs(found - points).max() <= 0.01 * max(grid.pixel_size))


def offset(first: Grid, second: Grid) -> tuple[float, float]:
    """Returns columns and rows by which the second corner is right of and below the first."""
    x, y = second.transform @ (0, 0)
    return ~first.transform @ (x, y)


def whole_shift(first: Grid, second: Grid) -> tuple[int, int] | None:
    """Returns the shift in (columns, rows) of two grids if it is in whole pixels, else None."""
    columns, rows = offset(first, second)
    nearest = round(columns), round(rows)
    fits = max(abs(columns - nearest[0]), abs(rows - nearest[1])) <= _WHOLE
    return nearest if fits and _drift(first, second, nearest) <= _WHOLE else None


def _drift(first, second, shift=(0, 0)):
    """Returns the largest distance, in pixels, between equal pixels of two grids, after the
    shift."""
    corners = _pixel_corners(second)
    places = np.array([~first.transform @ (second.transform @ tuple(p)) for p in corners])
    return float(np.abs(places - corners - shift).max())


def _pixel_corners(grid):
    return np.array([(x, y) for x in (0, grid.width) for y in (0, grid.height)], float)


def _corners(grid):
    return np.array([grid.transform @ tuple(p) for p in _pixel_corners(grid)])


def check_same_grid(
    first: Grid, second: Grid, names: tuple[str, str], how: str = '', how_shifted: str = ''
) -> None:
    """Checks that two rasters can be compared pixel by pixel.

    Args:
        first, second: grids; without a georeference only the size is compared.
        names: names of the rasters, for the message.
        how: how to put them on one grid, appended to the message.
        how_shifted: the same for grids that are only shifted.

    Raises:
        DataError: CRS, rotation, pixel size, place or size differ.
    """
    if first.transform is not None and second.transform is not None:
        check_same_crs(first, second, names, how)
        if _drift(first, second) > TOLERANCE:
            check_same_pixels(first, second, names, how)
            columns, rows = offset(first, second)
            raise DataError(
                f'{names[0]} and {names[1]} do not show the same ground: the upper left corner of '
                f'date 2 lies {columns:.4g} columns right and {rows:.4g} rows below that of '
                f'date 1{how_shifted}.'
            )
    if first.shape != second.shape:
        files = '' if names[0] == 'date 1' else f' ({names[0]}, {names[1]})'
        raise DataError(
            f'date 1 has {first.height} x {first.width} pixels and date 2 has {second.height} x '
            f'{second.width}{files}: both must show the same ground at the same size{how_shifted}.'
        )


def check_same_crs(first: Grid, second: Grid, names: tuple[str, str], how: str = '') -> None:
    """Raises a DataError that names both coordinate systems, if they differ."""
    if not same_crs(first.crs, second.crs, first):
        raise DataError(
            f'{names[0]} is in {crs_name(first.crs)} and {names[1]} in {crs_name(second.crs)}: '
            f'equal coordinates are other places{how}.'
        )


def check_same_pixels(first: Grid, second: Grid, names: tuple[str, str], how: str = '') -> None:
    """Raises a DataError that names rotation or pixel sizes, if they differ."""
    longest = max(*first.shape, *second.shape)
    if abs(math.remainder(second.angle - first.angle, 360)) > math.degrees(TOLERANCE / longest):
        raise DataError(
            f'the rows of {names[0]} are turned by {first.angle:.4g} degrees and those of '
            f'{names[1]} by {second.angle:.4g}{how}.'
        )
    (w1, h1), (w2, h2) = first.pixel_size, second.pixel_size
    if not np.allclose((w1, h1), (w2, h2), rtol=TOLERANCE / longest, atol=0):
        raise DataError(
            f'the pixels of {names[0]} measure {w1:g} x {h1:g} and those of {names[1]} '
            f'{w2:g} x {h2:g}{how}.'
        )


def shared_window(first: Grid, second: Grid) -> tuple[slice, slice] | None:
    """Returns rows and columns of the first grid that are within the second; None if there are
    none.

    Both grids have the same CRS, rotation and pixel size.
    """
    columns, rows = offset(first, second)
    # a border within a hundredth of a pixel counts as on the line
    top, left = (max(0, math.ceil(value - _WHOLE)) for value in (rows, columns))
    bottom = min(first.height, math.floor(rows + second.height + _WHOLE))
    right = min(first.width, math.floor(columns + second.width + _WHOLE))
    return (slice(top, bottom), slice(left, right)) if top < bottom and left < right else None


def crs_name(crs: Any) -> str:
    """Returns a code such as ``EPSG:32650``, or else the name in the CRS's text."""
    if crs is None:
        return 'an unknown coordinate system'
    code = crs.to_epsg()
    if code:
        return f'EPSG:{code}'
    text = crs.to_wkt()
    return text.split('"')[1] if '"' in text else text[:60]
