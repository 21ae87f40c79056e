"""Images beyond 8-bit RGB: choosing bands, stretching values, keeping the georeference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rs_mm.errors import ConfigError, DataError

# ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory, GeoDoubleParams,
# GeoAsciiParams: what places a raster on the ground (GeoTIFF 1.1, OGC 19-008r4, section 7)
_SCALE, _TIEPOINT, _TRANSFORMATION = 33550, 33922, 34264
GEO_TAGS = (_SCALE, _TIEPOINT, _TRANSFORMATION, 34735, 34736, 34737)


def select_bands(image: np.ndarray, bands: Sequence[int], name: str = 'image') -> np.ndarray:
    """Keeps the bands with these 0-based numbers, in this order; None keeps all."""
    if bands is None:
        return image
    missing = [b for b in bands if not 0 <= b < image.shape[2]]
    if missing:
        raise DataError(
            f'{name} has bands 0 to {image.shape[2] - 1}, but band {missing[0]} was asked for.'
        )
    return image[..., list(bands)]


def check_value_range(value_range: tuple[float, float] | None) -> None:
    """A range that is given must be (low, high) with low < high."""
    if value_range is not None and not value_range[0] < value_range[1]:
        raise ConfigError(
            f'value_range must be (low, high) with low < high, got {tuple(value_range)}.'
        )


def stretch(image: np.ndarray, low: float | np.ndarray, high: float | np.ndarray) -> np.ndarray:
    """Maps ``low`` to 0 and ``high`` to 255, clipped and rounded, as uint8.

    Args:
        image: (H, W, C), any real dtype. NaN becomes 0.
        low, high: scalars or one value per band.
    """
    scaled = (image.astype(np.float32) - low) * (255 / np.maximum(np.subtract(high, low), 1e-12))
    return np.rint(np.clip(np.nan_to_num(scaled, nan=0.0), 0, 255)).astype(np.uint8)


def read_geo_tags(path: str | Path) -> list:
    """The georeference of a TIFF as tifffile's ``extratags``; empty where there is none."""
    if Path(path).suffix.lower() not in ('.tif', '.tiff'):
        return []
    import tifffile

    with tifffile.TiffFile(path) as tif:
        found = [tif.pages[0].tags.get(code) for code in GEO_TAGS]
        return [
            (tag.code, tag.dtype, tag.count, tag.value, True) for tag in found if tag is not None
        ]


def pixel_grid(geo_tags: Sequence[tuple]) -> tuple | None:
    """Where a north-up raster lies.

    Args:
        geo_tags: from :func:`read_geo_tags`.

    Returns:
        (x, y) of the upper left corner, and (width, height) of a pixel, height
        positive downwards; None without georeference or where the raster is turned.
    """
    tags = {code: value for code, _, _, value, _ in geo_tags}
    if _TRANSFORMATION in tags:
        m = tags[_TRANSFORMATION]
        return None if m[1] or m[4] else ((m[3], m[7]), (m[0], -m[5]))
    if _SCALE in tags and _TIEPOINT in tags:
        (width, height), (i, j, _, x, y, _) = tags[_SCALE][:2], tags[_TIEPOINT][:6]
        return (x - i * width, y + j * height), (width, height)
    return None


def shift_geo_tags(geo_tags: Sequence[tuple], columns: int, rows: int) -> list:
    """The georeference after cutting ``columns`` and ``rows`` off at the left and the top."""
    grid, shifted = pixel_grid(geo_tags), []
    for code, dtype, count, value, once in geo_tags:
        if code == _TIEPOINT and grid is not None:
            (x, y), (width, height) = grid
            value = (0.0, 0.0, 0.0, x + columns * width, y - rows * height, value[5])
        if code == _TRANSFORMATION:
            m = list(value)
            m[3] += columns * m[0] + rows * m[1]
            m[7] += columns * m[4] + rows * m[5]
            value = tuple(m)
        shifted.append(
            (code, dtype, len(value) if isinstance(value, tuple) else count, value, once)
        )
    return shifted


def write_tiff(path: str | Path, image: np.ndarray, geo_tags: list = ()) -> None:
    """Writes a compressed TIFF that lies where ``geo_tags`` (:func:`read_geo_tags`) says.

    Args:
        path: file to write.
        image: (H, W), one band.
        geo_tags: tags of a raster with the same upper left corner and pixel size.
    """
    import tifffile

    tifffile.imwrite(
        path,
        image,
        compression='deflate',
        photometric='minisblack',
        metadata=None,
        extratags=list(geo_tags),
    )
