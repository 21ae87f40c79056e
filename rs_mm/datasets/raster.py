"""Images beyond 8-bit RGB: choosing bands, stretching values, keeping the georeference."""

from pathlib import Path

import numpy as np

from rs_mm.errors import DataError

# ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory, GeoDoubleParams,
# GeoAsciiParams: what places a raster on the ground (GeoTIFF 1.1, OGC 19-008r4, section 7)
GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737)
_TIFF_SUFFIXES = ('.tif', '.tiff')


def select_bands(image, bands, name='image') -> np.ndarray:
    """Keeps the bands with these 0-based numbers, in this order; None keeps all."""
    if bands is None:
        return image
    missing = [b for b in bands if not 0 <= b < image.shape[2]]
    if missing:
        raise DataError(f'{name} has bands 0 to {image.shape[2] - 1}, but band {missing[0]} was '
                        'asked for.')
    return image[..., list(bands)]


def stretch(image, low, high) -> np.ndarray:
    """Maps ``low`` to 0 and ``high`` to 255, clipped and rounded, as uint8.

    Args:
        image (np.ndarray): (H, W, C), any real dtype. NaN becomes 0.
        low, high (float | np.ndarray): scalars or one value per band.
    """
    scaled = (image.astype(np.float32) - low) * (255 / np.maximum(np.subtract(high, low), 1e-12))
    return np.rint(np.clip(np.nan_to_num(scaled, nan=0.0), 0, 255)).astype(np.uint8)


def read_geo_tags(path) -> list:
    """The georeference of a TIFF as tifffile's ``extratags``; empty where there is none."""
    if Path(path).suffix.lower() not in _TIFF_SUFFIXES:
        return []
    import tifffile
    with tifffile.TiffFile(path) as tif:
        found = [tif.pages[0].tags.get(code) for code in GEO_TAGS]
        return [(tag.code, tag.dtype, tag.count, tag.value, True) for tag in found
                if tag is not None]


def write_tiff(path, image, geo_tags=()) -> None:
    """Writes a compressed TIFF that lies where ``geo_tags`` (:func:`read_geo_tags`) says.

    Args:
        path (str | Path): file to write.
        image (np.ndarray): (H, W), one band.
        geo_tags (list): tags of a raster with the same upper left corner and pixel size.
    """
    import tifffile
    tifffile.imwrite(path, image, compression='deflate', photometric='minisblack', metadata=None,
                     extratags=list(geo_tags))
