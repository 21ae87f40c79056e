"""Reading the pixels of a raster and their validity, by one rule for every format.

The file's tags are applied: palette, polarity (WhiteIsZero), colour space, orientation, alpha,
masks, nodata. A file that cannot be read as one picture is refused, and the error names it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rs_mm.errors import DataError, MissingFileError
from rs_mm.limits import check_pixels

from .describe import TIFF_SUFFIXES, RasterInfo, describe_dataset, open_gdal
from .optional import has_rasterio
from .whole import check_one_frame, check_whole

_JPEG = ('.jpg', '.jpeg')
_PLAIN = ('.png', '.bmp', *_JPEG)


@dataclass
class Pixels:
    """Pixels and their validity.

    Attributes:
        array: (H, W, C) in the order of the file's bands (red, green, blue for a photograph).
        valid: (H, W) bool; False where the file declares no data (nodata value, mask, fully
            transparent alpha) or a band that was read is NaN or infinite.
    """

    array: np.ndarray
    valid: np.ndarray


class Raster:
    """An open raster; made by :func:`open_raster`.

    Only one thread may read from it at a time.

    Attributes:
        info: the properties of the file.
        dataset: the rasterio dataset, for its profile and for warping; None for a file that is
            decoded as a whole (JPEG, rotated pictures, and all files without rasterio).
    """

    def __init__(self, info: RasterInfo, dataset: Any = None, whole: Pixels | None = None) -> None:
        self.info, self.dataset, self._whole = info, dataset, whole

    def __enter__(self) -> Raster:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        if self.dataset is not None:
            self.dataset.close()

    def read(
        self,
        bands: Sequence[int] | None = None,
        window: tuple[slice, slice] | None = None,
        shape: tuple[int, int] | None = None,
        stored: bool = False,
    ) -> Pixels:
        """Reads bands of a window.

        Args:
            bands: 0-based bands, in this order; an alpha band that is named is an ordinary band and
                masks nothing. Default: all bands except alpha.
            window: rows and columns, e.g. ``np.s_[0:512, 512:1024]``. Default: everything.
            shape: (height, width) to reduce to, from overviews if there are any; values are picked
                from the file (nearest). Default: the size of the window.
            stored: return the stored numbers, without palette and polarity, for labels, whose
                numbers are classes.

        Raises:
            DataError: a band is missing, the window exceeds the raster, or the file is damaged.
        """
        bands = self._bands(bands, stored)
        rows, columns = self._window(window)
        if self._whole is not None:
            if stored and self.info.colour in ('palette', 'white_is_zero'):
                raise DataError(
                    f'{self.info.path}: its stored numbers cannot be read, because the picture is '
                    'to be turned; write it upright first.'
                )
            return self._from_whole(bands, rows, columns, shape)
        return self._from_dataset(bands, rows, columns, shape, stored)

    def _bands(self, bands, stored):
        info = self.info
        count = info.bands if info.colour == 'palette' and not stored else info.stored_bands
        if bands is None:
            return [b for b in range(count) if b != info.alpha]
        return check_bands(bands, count, str(info.path))

    def _window(self, window):
        (height, width), whole = self.info.shape, (slice(None), slice(None))
        limits = [part.indices(n)[:2] for part, n in zip(window or whole, (height, width))]
        for (start, stop), part in zip(limits, window or whole):
            if start >= stop or part.step not in (None, 1) or (part.stop or stop) > stop:
                raise DataError(
                    f'{self.info.path}: the window {window} is empty or leaves the raster of '
                    f'{height} x {width} pixels.'
                )
        return limits

    def _from_whole(self, bands, rows, columns, shape):
        array, valid = self._whole.array, self._whole.valid
        at = (slice(*rows), slice(*columns))
        if shape is not None:
            at = np.ix_(*(_nearest(limits, n) for limits, n in zip((rows, columns), shape)))
        # an alpha band that is named is an ordinary band
        named = self.info.alpha is not None and self.info.alpha in bands
        where = np.ones_like(valid[at]) if named else valid[at].copy()
        pixels = Pixels(array[at][..., bands], where)
        pixels.valid &= finite(pixels.array)
        return pixels

    def _from_dataset(self, bands, rows, columns, shape, stored):
        info, indexed = self.info, self.info.colour == 'palette' and not stored
        wanted = [0] if indexed else bands
        raw, mask = self._read_raw(wanted, rows, columns, shape)
        valid = mask & nodata_mask(raw, [info.nodata[b] for b in wanted])
        if indexed:
            colours = info.palette[np.minimum(raw[..., 0], len(info.palette) - 1)]
            valid &= colours[..., 3] > 0
            raw = colours[..., bands]
        elif not stored:
            raw = invert(raw, info) if info.colour == 'white_is_zero' else raw
            raw = fill_depth(raw, info)
        return Pixels(raw, valid & finite(raw))

    def _read_raw(self, bands, rows, columns, shape):
        from rasterio.errors import RasterioError
        from rasterio.windows import Window

        window = Window.from_slices(rows, columns)
        size = shape or (rows[1] - rows[0], columns[1] - columns[0])
        masked_by = self.info.alpha if self.info.alpha not in bands else None
        pixel = len(bands) * np.dtype(self.info.dtype).itemsize
        check_pixels(*size, self.info.path, pixel)
        indexes = [b + 1 for b in [*bands, *([] if masked_by is None else [masked_by])]]
        try:
            planes = self.dataset.read(indexes, window=window, out_shape=(len(indexes), *size))
            mask = np.ones(size, bool)
            if masked_by is not None:
                mask = planes[-1] != 0
                planes = planes[:-1]
            if self.info.has_mask:
                mask &= self.dataset.read_masks(1, window=window, out_shape=size) != 0
        except (RasterioError, MemoryError) as error:
            text = str(error.__cause__ or error).rstrip('.')
            raise DataError(f'{self.info.path}: the image cannot be read ({text}).') from error
        return np.ascontiguousarray(planes.transpose(1, 2, 0)), mask


def open_raster(path: str | Path) -> Raster:
    """Opens a raster of any format that GDAL reads, for reading window by window.

    JPEG is decoded as a whole with OpenCV, as in published pipelines. Without rasterio, PNG,
    JPEG, BMP and plain TIFF can still be read.

    Args:
        path: the file.

    Returns:
        A context manager.

    Raises:
        MissingFileError: the file does not exist.
        DataError: the file is not a raster, is damaged, or cannot be read as one picture; the
            message names the reason (complex numbers, 4 pages, ...).
        ConfigError: the format needs rasterio, which is not installed.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if not path.exists():
        raise MissingFileError(f'{path}: no such image.')
    if suffix in _JPEG or (suffix in _PLAIN and not has_rasterio()):
        from .plain import open_plain

        return Raster(*open_plain(path))
    if suffix in TIFF_SUFFIXES and not has_rasterio():
        from .plain import open_plain_tiff

        return Raster(*open_plain_tiff(path))
    dataset = open_gdal(path)
    try:
        if path.is_file():
            check_whole(path)
            check_one_frame(path)
        info = describe_dataset(dataset, path)
        if info.pages > 1:
            raise DataError(
                f'{path}: it holds {info.pages} pages, which may be bands, rows or several '
                'images; write one image with its bands to a file (e.g. gdalbuildvrt -separate).'
            )
        if info.page != 1:
            dataset.close()
            dataset = open_gdal(path, info.page)
    except BaseException:
        dataset.close()
        raise
    raster = Raster(info, dataset)
    return raster if info.orientation == 1 else _upright(raster)


def raster_from_array(
    array: np.ndarray, name: str = 'image', crs: Any = None, transform: Any = None
) -> Raster:
    """Makes a raster of pixels in memory; NaN and infinite pixels are not valid.

    Args:
        array: (H, W) or (H, W, C), bands in file order.
        name: replaces the path in messages.
        crs, transform: georeference.
    """
    array = array[..., None] if array.ndim == 2 else array
    height, width, count = array.shape
    info = RasterInfo(
        path=Path(name),
        driver='MEM',
        width=width,
        height=height,
        bands=count,
        stored_bands=count,
        dtype=str(array.dtype),
        crs=crs,
        transform=transform,
        nodata=(None,) * count,
        scales=(1.0,) * count,
        offsets=(0.0,) * count,
        colour={1: 'grey', 3: 'rgb'}.get(count, 'other'),
    )
    return Raster(info, whole=Pixels(array, np.ones(array.shape[:2], bool)))


def read_pixels(
    path: str | Path,
    bands: Sequence[int] | None = None,
    window: tuple[slice, slice] | None = None,
    shape: tuple[int, int] | None = None,
    stored: bool = False,
) -> Pixels:
    """Opens a raster and reads it once; see :func:`open_raster` and :meth:`Raster.read`."""
    with open_raster(path) as raster:
        return raster.read(bands, window, shape, stored)


def check_bands(bands: Sequence[int], count: int, name: str) -> list[int]:
    """Returns the bands as a list, after a check that ``name`` has them."""
    missing = [b for b in bands if not 0 <= b < count]
    if missing:
        raise DataError(f'{name} has bands 0 to {count - 1}, but band {missing[0]} was asked for.')
    return list(bands)


def nodata_mask(array: np.ndarray, nodata: Sequence[float | None]) -> np.ndarray:
    """Compares pixels with the declared nodata values.

    A value that can be a colour (an integer of 0 or more) marks a pixel as empty only if all bands
    that were read hold it. A negative or fractional value, or a value in a band of floats, marks a
    pixel in any single band.

    Args:
        array: (H, W, C) as stored.
        nodata: the value of each band, or None.

    Returns: (H, W) bool, True where there is data.
    """
    if all(value is None for value in nodata):
        return np.ones(array.shape[:2], bool)
    empty = [
        np.zeros(array.shape[:2], bool) if value is None else _equals(array[..., i], value)
        for i, value in enumerate(nodata)
    ]
    together = np.any if any_band_empties(array.dtype, nodata) else np.all
    return ~together(empty, axis=0)


def any_band_empties(dtype: Any, nodata: Sequence[float | None]) -> bool:
    """Returns whether nodata in one band is enough; see :func:`nodata_mask`."""
    floats = np.issubdtype(np.dtype(dtype), np.floating)
    return floats or any(value is not None and value < 0 for value in nodata)


def _equals(plane, value):
    if np.isnan(value):
        return np.isnan(plane) if plane.dtype.kind == 'f' else np.zeros(plane.shape, bool)
    if plane.dtype.kind == 'f':
        # a declared -3.4e38 is a rounded text of the float32 that is stored
        return plane == plane.dtype.type(value) if np.isfinite(value) else np.isinf(plane)
    return plane == value


def finite(array: np.ndarray) -> np.ndarray:
    """Returns (H, W) bool: True where all bands of (H, W, C) are finite."""
    if array.dtype.kind != 'f':
        return np.ones(array.shape[:2], bool)
    return np.isfinite(array).all(axis=2)


def invert(array: np.ndarray, info: RasterInfo) -> np.ndarray:
    """Inverts a picture whose 0 is white.

    Raises:
        DataError: the type is signed, so white has no number.
    """
    if array.dtype.kind != 'u':
        raise DataError(f'{info.path}: 0 is white, but its pixels are {array.dtype}.')
    white = 2 ** (info.bits or array.dtype.itemsize * 8) - 1
    return (white - array).astype(array.dtype)


def fill_depth(array: np.ndarray, info: RasterInfo) -> np.ndarray:
    """Scales samples of 1, 2 or 4 bits to 0 to 255, as all decoders of pictures do."""
    if info.bits is None or info.bits >= 8 or array.dtype != np.uint8:
        return array
    return array * np.uint8(255 // (2**info.bits - 1))


def _nearest(limits, count):
    start, stop = limits
    return start + ((np.arange(count) + 0.5) * (stop - start) / count).astype(np.intp)


def _upright(raster):
    """Reads a picture with an orientation tag as a whole, and rotates it."""
    orientation = raster.info.orientation
    stored = replace(
        raster.info,
        orientation=1,
        height=raster.dataset.height,
        width=raster.dataset.width,
    )
    with contextlib.closing(Raster(stored, raster.dataset)) as lying:
        count = stored.bands if stored.colour == 'palette' else stored.stored_bands
        pixels = lying.read()
        array = lying.read(range(count)).array
    return Raster(
        raster.info,
        whole=Pixels(turn(array, orientation), turn(pixels.valid, orientation)),
    )


def turn(array: np.ndarray, orientation: int) -> np.ndarray:
    """Rotates stored rows and columns to the upright picture (TIFF 6.0, tag 274; same in EXIF)."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return array[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
