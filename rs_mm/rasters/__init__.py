"""Rasters of any kind and size: open, describe, read with a mask, align, tile, write.

rasterio and numpy, no torch. ``describe(path)`` returns the properties of a file,
``open_raster(path)`` reads it window by window, ``read_pixels(path)`` at once. ``align_pair`` puts
two dates on one grid; ``SceneRun`` runs a model over a scene in blended tiles and can resume;
``write_raster`` and ``write_polygons`` write maps strip by strip. The package can be imported
without rasterio (the extra ``geo``); functions that need it raise an error.
"""

from rs_mm.files import check_writable

from .align import AlignedPair, align_pair, common_valid, on_grid
from .areas import pixel_areas, pixel_metres
from .describe import RasterInfo, describe
from .grid import Grid
from .optional import geo_package, has_rasterio, rasterio_or_raise
from .polygon_files import check_polygon_file, write_polygons
from .polygons import PatchCount, Region, by_size, regions
from .reading import Pixels, Raster, open_raster, raster_from_array, read_pixels
from .scene import SceneRun
from .scratch import Scratch, check_free_space
from .tiling import Tiling
from .values import check_value_range, stretch, stretch_limits, to_uint8
from .windows import SceneTiles, TileSize, Window, cut, footprint
from .writing import Layer, write_raster

__all__ = [
    'AlignedPair',
    'Grid',
    'Layer',
    'PatchCount',
    'Pixels',
    'Raster',
    'RasterInfo',
    'Region',
    'SceneRun',
    'SceneTiles',
    'Scratch',
    'TileSize',
    'Tiling',
    'Window',
    'align_pair',
    'by_size',
    'check_free_space',
    'check_polygon_file',
    'check_value_range',
    'check_writable',
    'common_valid',
    'cut',
    'describe',
    'footprint',
    'geo_package',
    'has_rasterio',
    'on_grid',
    'open_raster',
    'pixel_areas',
    'pixel_metres',
    'raster_from_array',
    'rasterio_or_raise',
    'read_pixels',
    'regions',
    'stretch',
    'stretch_limits',
    'to_uint8',
    'write_polygons',
    'write_raster',
]
