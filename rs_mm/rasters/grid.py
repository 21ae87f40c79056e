"""Where rasters lie: the grid of pixels on the ground, and whether two of them agree."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from rs_mm.errors import DataError

from .describe import RasterInfo

# dates whose corners lie closer than this are taken for the same grid without resampling
TOLERANCE = 0.5
_WHOLE = 0.01  # of a pixel: a shift nearer to whole pixels than this is one of whole pixels


@dataclass(frozen=True)
class Grid:
    """Pixels on the ground.

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
        """The grid of a raster."""
        return cls(info.height, info.width, info.transform, info.crs)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def cut(self, rows: slice, columns: slice) -> Grid:
        """The part of these rows and columns."""
        transform = self.transform
        if transform is not None:
            from affine import Affine

            transform = transform @ Affine.translation(columns.start, rows.start)
        return Grid(rows.stop - rows.start, columns.stop - columns.start, transform, self.crs)

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Width and height of a pixel in units of the CRS."""
        t = self.transform
        return math.hypot(t.a, t.d), math.hypot(t.b, t.e)

    @property
    def angle(self) -> float:
        """How far rows are turned from the x axis, in degrees."""
        return math.degrees(math.atan2(self.transform.d, self.transform.a))


def same_crs(first: Any, second: Any, grid: Grid) -> bool:
    """Whether two CRSs give the same coordinates on this ground, however they are written.

    Args:
        first, second: ``rasterio.crs.CRS``; an unknown one (None) agrees with every other.
        grid: where to compare, in coordinates of the first.
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
    # both in units of the CRS; a hundredth of a pixel matters to no one
    return bool(np.abs(found - points).max() <= 0.01 * max(grid.pixel_size))


def offset(first: Grid, second: Grid) -> tuple[float, float]:
    """Columns and rows by which the corner of the second lies right of and below the first's."""
    x, y = second.transform @ (0, 0)
    return ~first.transform @ (x, y)


def whole_shift(first: Grid, second: Grid) -> tuple[int, int] | None:
    """The shift in (columns, rows) of two grids if it is one of whole pixels, else None."""
    columns, rows = offset(first, second)
    nearest = round(columns), round(rows)
    fits = max(abs(columns - nearest[0]), abs(rows - nearest[1])) <= _WHOLE
    return nearest if fits and _drift(first, second, nearest) <= _WHOLE else None


def _drift(first, second, shift=(0, 0)):
    """The largest distance, in pixels, between pixels of equal number, after the shift."""
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
    """Two rasters can be compared pixel by pixel, or a sentence says why not.

    Args:
        first, second: grids; one without georeference is only compared by size.
        names: of the rasters, for the message.
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
    """Rows and columns of the first grid that lie within the second; None if there are none.

    The grids have one CRS, one rotation and one pixel size.
    """
    columns, rows = offset(first, second)
    # within a hundredth of a pixel, a border is on the line
    top, left = (max(0, math.ceil(value - _WHOLE)) for value in (rows, columns))
    bottom = min(first.height, math.floor(rows + second.height + _WHOLE))
    right = min(first.width, math.floor(columns + second.width + _WHOLE))
    return (slice(top, bottom), slice(left, right)) if top < bottom and left < right else None


def crs_name(crs: Any) -> str:
    """``EPSG:32650`` where there is such a code, else the name in the CRS's text."""
    if crs is None:
        return 'an unknown coordinate system'
    code = crs.to_epsg()
    if code:
        return f'EPSG:{code}'
    text = crs.to_wkt()
    return text.split('"')[1] if '"' in text else text[:60]
