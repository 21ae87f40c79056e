"""Rasters of any kind and size: open, describe, read with a mask, align, tile, write.

rasterio and numpy, no torch. ``describe(path)`` says what a file is, ``open_raster(path)`` reads
it window by window, ``read_pixels(path)`` at once. The package imports without rasterio (the
extra ``geo``); what needs it says so.
"""

from .describe import RasterInfo, describe
from .optional import geo_package, has_rasterio, rasterio_or_raise
from .reading import Pixels, Raster, open_raster, read_pixels
from .values import check_value_range, stretch, stretch_limits, to_uint8

__all__ = [
    'Pixels',
    'Raster',
    'RasterInfo',
    'check_value_range',
    'describe',
    'geo_package',
    'has_rasterio',
    'open_raster',
    'rasterio_or_raise',
    'read_pixels',
    'stretch',
    'stretch_limits',
    'to_uint8',
]
