"""Small rasters for tests."""

import numpy as np
import rasterio
from rasterio.transform import from_origin

UTM = dict(crs='EPSG:32650', transform=from_origin(500000, 4000000, 10, 10))


def write(path, array, **profile):
    """Writes (H, W) or (H, W, C) by rasterio, all bands without a colour."""
    array = np.atleast_3d(array)
    height, width, count = array.shape
    colours = profile.pop('colours', None)
    profile = dict(driver='GTiff', dtype=array.dtype, photometric='minisblack') | profile
    with rasterio.open(path, 'w', height=height, width=width, count=count, **profile) as file:
        if colours:
            file.colorinterp = colours
        file.write(array.transpose(2, 0, 1))
    return path


def smooth(height, width, bands=3, seed=0):
    """A smooth picture, uint8, so that resampling it changes little."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (9 + b) + seed) * np.cos(y / (7 + b)) for b in range(bands)]
    return (np.stack(waves, 2) * 100 + 128).astype(np.uint8)
