"""The ground area of pixels."""

from __future__ import annotations

import math

import numpy as np

from .grid import Grid


def pixel_areas(grid: Grid) -> np.ndarray | None:
    """Computes the square metres of a pixel in each row.

    In a projected system the unit of the system is used. The ellipsoid (Karney, J. Geodesy 87,
    2013, as in PROJ) is used if coordinates are degrees, and for web Mercator, whose units are not
    metres on the ground.

    Args:
        grid: grid of the raster.

    Returns: (height,) float64; None without georeference.
    """
    if grid.transform is None or grid.crs is None:
        return None
    t = grid.transform
    if grid.crs.is_projected and grid.crs.to_epsg() != 3857:
        metres = grid.crs.linear_units_factor[1]
        return np.full(grid.height, abs(t.a * t.e - t.b * t.d) * metres**2)
    return _geodesic(grid) if grid.crs.is_geographic or grid.crs.is_projected else None


def pixel_metres(grid: Grid) -> float | None:
    """Computes the side in metres of a square with the ground area of a pixel in the raster's
    centre.

    Args:
        grid: grid of the raster.

    Returns: The side; None without georeference.
    """
    row = grid.height // 2
    area = pixel_areas(grid.cut(slice(row, row + 1), slice(0, grid.width)))
    return None if area is None else math.sqrt(area[0])


def _geodesic(grid):
    from pyproj import Geod
    from rasterio.warp import transform

    from .optional import geo_package

    geo_package('pyproj', 'the area of pixels in degrees')
    middle = grid.width // 2
    corners = [
        grid.transform @ (middle + dx, row) for row in range(grid.height + 1) for dx in (0, 1)
    ]
    x, y = map(np.asarray, zip(*corners))
    if not grid.crs.is_geographic:
        x, y = map(np.asarray, transform(grid.crs, 'EPSG:4326', x, y))
    x, y = x.reshape(-1, 2), y.reshape(-1, 2)
    geod = Geod(ellps='WGS84')
    areas = [
        geod.polygon_area_perimeter(
            [x[r, 0], x[r, 1], x[r + 1, 1], x[r + 1, 0]],
            [y[r, 0], y[r, 1], y[r + 1, 1], y[r + 1, 0]],
        )[0]
        for r in range(grid.height)
    ]
    return np.abs(areas)
