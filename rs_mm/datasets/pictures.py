"""The reader of images for all datasets: a file's tags are applied, or the file is refused.

The reader uses :mod:`rs_mm.rasters`, with three faster ways that give the same pixels: for ordinary
PNG and TIFF files without further tags, and for JPEG, which is decoded by the library that the
published pipelines use.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import ImageOps

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.limits import check_pixels
from rs_mm.rasters.describe import TIFF_SUFFIXES
from rs_mm.rasters.optional import has_rasterio
from rs_mm.rasters.plain import open_plain
from rs_mm.rasters.reading import Raster, check_bands, finite, open_raster
from rs_mm.rasters.tiff import open_tiff, read_page
from rs_mm.rasters.whole import (
    check_header,
    check_jpeg_end,
    check_one_frame,
    open_by_pillow,
)

from .png import read_plain_png

JPEG_SUFFIXES = ('.jpg', '.jpeg')
_OPENCV_SUFFIXES = ('.png', '.bmp', '.ppm', '.pgm', '.pbm')
_PILLOW_SUFFIXES = ('.gif', '.webp')  # always of 8 bits
_NODATA, _ORIENTATION = 42113, 274
_BLACK_IS_ZERO, _RGB = 1, 2


@dataclass
class Picture:
    """Pixels of a file, and which of them hold data.

    Attributes:
        path: the file.
        array: (H, W, C) in the file's own type, bands in file order, alpha left out unless named.
        valid: (H, W) bool; None if all pixels count.
        stray: number of pixels that are NaN or infinite without being declared as nodata.
    """

    path: str
    array: np.ndarray
    valid: np.ndarray | None = None
    stray: int = 0

    def __post_init__(self):
        if self.valid is not None and self.valid.all():
            self.valid = None

    @property
    def trouble(self) -> str:
        """Describes the pixels that do not count; empty if all count."""
        if self.valid is None:
            return ''
        share = 1 - self.valid.mean()
        what = 'are NaN or infinite' if self.stray else 'hold no data (nodata value, mask or alpha)'
        return f'{self.path}: {share:.2%} of its pixels {what}'

    def filled(self, value: float | None = None) -> np.ndarray:
        """Returns the array with the pixels that do not count set to a value.

        Args:
            value: None: the mean of each band's other pixels, which is neutral for a network.

        Raises:
            DataError: no pixel counts.
        """
        if self.valid is None:
            return self.array
        if not self.valid.any():
            raise DataError(f'{self.path}: no pixel holds data: all are nodata, NaN or infinite.')
        array = self.array.copy()
        if value is None:
            value = array[self.valid].mean(axis=0, dtype=np.float64)
            value = np.rint(value) if array.dtype.kind in 'iu' else value
        array[~self.valid] = value
        return array


def read_picture(
    path: str | Path, bands: Sequence[int] | None = None, with_alpha: bool = False
) -> Picture:
    """Reads an image of any format, depth and number of bands.

    Args:
        path: the file.
        bands: 0-based bands to keep, in this order; an alpha band that is named is a band like any
            other. Default: all but alpha.
        with_alpha: whether alpha counts as a band by default.

    Raises:
        MissingFileError: the file does not exist.
        DataError: the file is damaged, truncated, lacks a band, or has a property that is not
            understood; the message names it.
        ConfigError: the format needs rasterio, which is not installed.
    """
    if not Path(path).is_file() and not Path(path).is_dir():
        raise MissingFileError(f'{path}: no such image.')
    array = read_plain_png(path)
    if array is None:
        array = _ordinary_tiff(path)
    if array is not None:
        return _picture(path, choose_bands(array, bands, path))
    if is_jpeg(path):
        return Picture(str(path), choose_bands(decode_jpeg(path), bands, path))
    if str(path).lower().endswith(_PILLOW_SUFFIXES) and not has_rasterio():
        colours = _read_with_pillow(path)
        chosen = colours[..., :3] if bands is None and not with_alpha else colours
        return Picture(str(path), choose_bands(chosen, bands, path), colours[..., 3] > 0)
    with _open(Path(path)) as raster:
        info = raster.info
        size = info.stored_bands * np.dtype(info.dtype).itemsize
        check_pixels(info.height, info.width, path, size)
        if bands is None and with_alpha:
            bands = range(info.stored_bands)
        pixels = raster.read(bands)
    declared = any(value is not None and np.isnan(value) for value in info.nodata)
    stray = 0 if declared else int((~finite(pixels.array)).sum())
    return Picture(str(path), pixels.array, pixels.valid, stray)


def read_valid(
    path: str | Path, bands: Sequence[int] | None = None, with_alpha: bool = False
) -> np.ndarray:
    """Reads like :func:`read_picture` an image whose pixels must all count: (H, W, C), the file's
    type.

    Raises:
        DataError: also if pixels are nodata, NaN or infinite; the message says how many.
    """
    return refuse_invalid(read_picture(path, bands, with_alpha))


def refuse_invalid(picture: Picture, option: str = '') -> np.ndarray:
    """Returns the array of an image whose pixels must all count.

    Args:
        option: a setting that would accept other pixels, for the message.
    """
    if picture.valid is None:
        return picture.array
    advice = f', or set {option}' if option else ''
    raise DataError(
        f'{picture.trouble}; a whole picture is needed here: cut these parts off or fill '
        f'them{advice}.'
    )


def read_rgb(path: str | Path) -> np.ndarray:
    """Reads a photograph of 8 bits as (H, W, 3) uint8 RGB; JPEG with Pillow, as published.

    Raises:
        DataError: as :func:`read_valid`; also if the file has more than 8 bits, or other than one
            or three bands besides alpha.
    """
    image = read_plain_png(path, bands=3)
    if image is not None:
        return image
    if is_jpeg(path):
        return pillow_jpeg(path)
    array = read_valid(path)
    check_eight_bits(array, path, 'this reader')
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array


def check_eight_bits(array: np.ndarray, path: str | Path, reader: str, instead: str = '') -> None:
    """Refuses an image that a reader of ordinary pictures would change.

    Args:
        array: (H, W, C).
        path, reader: for the message.
        instead: what reads such an image, for the message.

    Raises:
        DataError: the type is not uint8, or the number of bands is not one or three.
    """
    if array.dtype == np.uint8 and array.shape[2] in (1, 3):
        return
    found = f'{array.shape[2]} bands of {array.dtype}' if array.shape[2] > 1 else str(array.dtype)
    raise DataError(
        f'{path}: it has {found}, and {reader} takes 8-bit pictures, grey or RGB; '
        + (instead or 'bring it to 8 bits first, e.g. with gdal_translate -scale')
        + '.'
    )


def is_jpeg(path: str | Path) -> bool:
    """Returns whether a file has a suffix of JPEG."""
    return str(path).lower().endswith(JPEG_SUFFIXES)


def is_tiff(path: str | Path) -> bool:
    """Returns whether a file has a suffix of TIFF."""
    return str(path).lower().endswith(TIFF_SUFFIXES)


def decode_jpeg(path: str | Path) -> np.ndarray:
    """Decodes a JPEG with OpenCV, upright: (H, W) or (H, W, 3) RGB, uint8."""
    content = _jpeg_content(path)
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_ANYCOLOR)
    except cv2.error as error:
        raise DataError(f'{path}: the image cannot be decoded ({error.err}).') from error
    if image is None:
        raise DataError(f'{path}: the image cannot be decoded; the file is damaged or no image.')
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def pillow_jpeg(path: str | Path) -> np.ndarray:
    """Decodes a JPEG with Pillow, upright: (H, W, 3) uint8 RGB."""
    content = _jpeg_content(path)
    try:
        with open_by_pillow(io.BytesIO(content), path) as file:
            ImageOps.exif_transpose(file, in_place=True)  # else it is copied
            return np.asarray(file if file.mode == 'RGB' else file.convert('RGB'))
    except (DataError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise many types for a damaged file
        raise DataError(
            f'{path}: the image cannot be decoded ({type(error).__name__}); the file is damaged '
            'or no image.'
        ) from error


def choose_bands(
    array: np.ndarray, bands: Sequence[int] | None, name: str | Path = 'the image'
) -> np.ndarray:
    """Keeps the bands with these 0-based numbers, in this order; None keeps all.

    Raises:
        DataError: a band is missing; the message begins with ``name``.
    """
    array = array[..., None] if array.ndim == 2 else array
    return array if bands is None else array[..., check_bands(bands, array.shape[2], str(name))]


def _jpeg_content(path):
    """Returns the bytes of a complete file whose size is within the limit."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError(f'{path}: no such image.') from error
    check_jpeg_end(content, path)
    check_header(content, path)
    return content


def _picture(path, array):
    if array.dtype.kind != 'f':
        return Picture(str(path), array)
    good = finite(array)
    return Picture(str(path), array, good, int((~good).sum()))


def _open(path):
    if has_rasterio() or path.suffix.lower() in TIFF_SUFFIXES:
        return open_raster(path)
    if path.suffix.lower() in _OPENCV_SUFFIXES:
        return Raster(*open_plain(path))
    raise ConfigError(f'{path}: reading this format needs rasterio: pip install "rs_mm[geo]".')


def _read_with_pillow(path):
    check_one_frame(path)
    try:
        with open_by_pillow(path, path) as file:
            return np.asarray(ImageOps.exif_transpose(file).convert('RGBA'))
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise many types for a damaged file
        raise DataError(
            f'{path}: the image cannot be decoded ({type(error).__name__}); the file is damaged '
            'or no image.'
        ) from error


def _ordinary_tiff(path):
    """Decodes a TIFF of one page, grey, RGB or bands, without further tags; returns None for
    others.

    All decoders give the same pixels for such a file; tifffile is the fastest and does not need
    GDAL.
    """
    if not str(path).lower().endswith(('.tif', '.tiff')):
        return None
    if any(os.path.exists(f'{path}{end}') for end in ('.aux.xml', '.msk')):
        return None
    with open_tiff(path) as file:
        if len(file.pages) != 1 or not _is_ordinary(file.pages[0]):
            return None
        count = file.pages[0].samplesperpixel
        array = read_page(file, file.pages[0], path)
    return array if array.ndim == 2 + (count > 1) else None


def _is_ordinary(page):
    bits = page.bitspersample
    tags = page.tags
    orientation = tags.get(_ORIENTATION)
    return (
        page.photometric in (_BLACK_IS_ZERO, _RGB)
        and page.dtype is not None
        and page.dtype.kind in 'iuf'
        and bits == page.dtype.itemsize * 8
        and not page.subfiletype
        and _NODATA not in tags
        and (orientation is None or orientation.value == 1)
        and not any(int(kind) in (1, 2) for kind in page.extrasamples or ())
    )
