"""Decoding whole pictures without GDAL: JPEG, and common formats without rasterio."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from rs_mm.errors import ConfigError, DataError

from .describe import RasterInfo, describe, tiff_facts
from .optional import has_rasterio
from .orientation import picture_orientation
from .reading import Pixels, invert, nodata_mask, turn
from .tiff import open_tiff, read_page
from .whole import check_header, check_one_frame, check_whole

_NODATA, _WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 42113, 0, 1, 2
_JPEG_START = b'\xff\xd8'


def open_plain(path: Path) -> tuple[RasterInfo, None, Pixels]:
    """Decodes a PNG, JPEG or BMP with OpenCV and applies its orientation.

    Returns: The arguments of :class:`~rs_mm.rasters.reading.Raster`.

    Raises:
        DataError: the file is damaged or ends too early.
    """
    import cv2

    check_whole(path)
    check_one_frame(path)
    content = np.fromfile(path, np.uint8)
    check_header(content.tobytes(), path)
    # only a mode that ignores the orientation keeps alpha; JPEG has no alpha
    jpeg = content[:2].tobytes() == _JPEG_START
    mode = cv2.IMREAD_ANYCOLOR if jpeg else cv2.IMREAD_UNCHANGED
    try:
        image = cv2.imdecode(content, mode) if content.size else None
    except cv2.error as error:
        raise DataError(f'{path}: the image cannot be decoded ({error.err}).') from error
    if image is None:
        raise DataError(f'{path}: the image cannot be decoded; the file is damaged or no image.')
    if image.ndim == 2:
        image = image[..., None]
    else:
        code = cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
        image = cv2.cvtColor(image, code)
    image = image if jpeg else turn(image, picture_orientation(path))
    alpha = 3 if image.shape[2] == 4 else None
    info = _info(path, image, alpha, {1: 'grey'}.get(image.shape[2], 'rgb'))
    if jpeg and has_rasterio():  # a world file or .aux.xml may hold a georeference
        placed = describe(path)
        info = replace(info, crs=placed.crs, transform=placed.transform)
    valid = np.ones(image.shape[:2], bool) if alpha is None else image[..., alpha] > 0
    return info, None, Pixels(image, valid)


def open_plain_tiff(path: Path) -> tuple[RasterInfo, None, Pixels]:
    """Reads a TIFF with tifffile: grey, RGB or several bands; other TIFFs need rasterio.

    Raises:
        DataError: the file is damaged, has several pages or complex pixels.
        ConfigError: its colour model needs rasterio.
    """
    facts = tiff_facts(path)
    if facts['pages'] > 1:
        raise DataError(f'{path}: it holds {facts["pages"]} pages; write one image to a file.')
    with open_tiff(path) as file:
        page = file.pages[facts['page'] - 1]
        array = read_page(file, page, path)
        photometric, bits = int(page.photometric), page.bitspersample
        tag, extra = page.tags.get(_NODATA), tuple(map(int, page.extrasamples or ()))
    if array.dtype.kind == 'c':
        raise DataError(f'{path}: its pixels are complex numbers ({array.dtype}).')
    if photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        raise ConfigError(
            f'{path}: reading this TIFF (photometric interpretation {photometric}) needs '
            'rasterio: pip install "rs_mm[geo]".'
        )
    if array.dtype == bool:
        array = array.view(np.uint8) * 255  # 1 is white in a picture
    array = array[..., None] if array.ndim == 2 else array
    array = turn(array, facts['orientation'])
    alpha = next(
        (array.shape[2] - len(extra) + i for i, k in enumerate(extra) if k in (1, 2)), None
    )
    nodata = _number(tag.value) if tag is not None else None
    bands = [b for b in range(array.shape[2]) if b != alpha]
    valid = nodata_mask(array[..., bands], [nodata] * len(bands))
    if alpha is not None:
        valid &= array[..., alpha] > 0
    colour = 'rgb' if photometric == _RGB else 'grey' if len(bands) == 1 else 'other'
    info = replace(_info(path, array, alpha, colour), driver='GTiff')
    info = replace(info, nodata=(nodata,) * array.shape[2])
    if photometric == _WHITE_IS_ZERO:
        bits = bits if isinstance(bits, int) and bits > 1 else None
        array = invert(array, replace(info, bits=bits))
    return info, None, Pixels(array, valid)


def _number(text):
    try:
        return float(str(text).strip().rstrip('\0'))
    except ValueError:
        return None


def _info(path, array, alpha, colour):
    height, width, count = array.shape
    return RasterInfo(
        path=path,
        driver=path.suffix[1:].upper().replace('JPG', 'JPEG'),
        width=width,
        height=height,
        bands=count - (alpha is not None),
        stored_bands=count,
        dtype=str(array.dtype),
        alpha=alpha,
        colour=colour,
        nodata=(None,) * count,
        descriptions=(None,) * count,
        scales=(1.0,) * count,
        offsets=(0.0,) * count,
    )
