"""Images from a user: a path, an array, a Pillow image, a rasterio dataset, or a list of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from rs_mm.datasets.wrapped_datasets import takes_eight_bit  # noqa: F401
from rs_mm.errors import DataError, MissingFileError
from rs_mm.rasters import RasterInfo


@dataclass
class Picture:
    """One image from a user.

    Attributes:
        name: stem of the file, or ``image 3`` for its position in the list.
        path: the file, which the loading step of the config reads; None for pixels in memory.
        array: (H, W, C) pixels in memory, bands in file order; None for a file.
        crs, transform: georeference of pixels in memory from a rasterio dataset; None otherwise.
    """

    name: str
    path: str | None = None
    array: np.ndarray | None = None
    crs: Any = None
    transform: Any = None

    def source(self) -> str | np.ndarray:
        """The path, or the pixels without a file."""
        return self.array if self.path is None else self.path

    def results(self, number: int = 0) -> dict:
        """Returns the input of a pipeline of one image; with ``img`` the loading step reads no
        file."""
        found = dict(img_path=self.path or self.name, name=self.name, sample_idx=number)
        return found if self.array is None else dict(found, img=self.array)


def say_unplaced(info: RasterInfo) -> None:
    """Says in the log that a map of this file will lie nowhere, where that may surprise."""
    if info.placed_by:
        print_log(
            f'{info.path} lies on the ground by {info.placed_by} alone and is taken as a picture '
            'without georeference; gdalwarp -t_srs EPSG:4326 writes it on a grid.',
            'current',
            30,
        )


def is_many(given: Any) -> bool:
    """Returns whether a user gave a list of images instead of one."""
    return isinstance(given, (list, tuple))


def as_pictures(given: Any, eight_bit: bool = True) -> list[Picture]:
    """Returns every given image, in order.

    Args:
        given: one image or a list: path, array (H, W) or (H, W, C) with the bands in file order,
            Pillow image, or open rasterio dataset.
        eight_bit: whether the model takes values from 0 to 255. Arrays of floats from 0 to 1 are
            then multiplied by 255, and a log line says so.

    Raises:
        MissingFileError: a file does not exist.
        DataError: an image has an unknown type, or an array has another shape, type or range.
    """
    if not is_many(given):
        return [as_picture(given, eight_bit=eight_bit)]
    if not len(given):
        raise DataError('the list of images is empty; give at least one.')
    return [as_picture(item, f'image {i}', eight_bit) for i, item in enumerate(given, 1)]


def as_picture(given: Any, name: str = 'image', eight_bit: bool = True) -> Picture:
    """Converts one given image; see :func:`as_pictures`. ``name`` is the name of an array."""
    if isinstance(given, Picture):
        return given
    if isinstance(given, (str, Path)):
        return _file(Path(given))
    if hasattr(given, 'colorinterp') and hasattr(given, 'read'):
        return _dataset(given, name, eight_bit)
    if hasattr(given, 'getbands') and hasattr(given, 'convert'):
        return Picture(name, array=check_array(_from_pillow(given), name, eight_bit))
    if isinstance(given, np.ndarray):
        return Picture(name, array=check_array(given, name, eight_bit))
    raise DataError(
        f'{name} is of type {type(given).__name__}; give a path, a numpy array (H, W, C), a '
        'Pillow image, an open rasterio dataset, or a list of these.'
    )


def check_array(array: np.ndarray, name: str, eight_bit: bool = True) -> np.ndarray:
    """Converts an image array to (H, W, C).

    Args:
        array: (H, W) or (H, W, C) of integers, floats or bools.
        name: name of the array for errors.
        eight_bit: see :func:`as_pictures`. The result is then uint8, except for longer integers,
            which the loading step of the config treats like a file of this type.

    Raises:
        DataError: the array has another shape or type, is empty, or has floats outside 0 to 255.
    """
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise DataError(f'{name} has shape {array.shape}; an image is (H, W) or (H, W, C).')
    if array.ndim == 3 and array.shape[0] <= 4 < 16 <= min(array.shape[1:]):
        raise DataError(
            f'{name} has shape {array.shape}, which looks like (C, H, W); give (H, W, C), e.g. '
            'array.transpose(1, 2, 0).'
        )
    if array.dtype.kind not in 'buif':
        raise DataError(f'{name} is an array of {array.dtype}; give integers or floats.')
    array = array[..., None] if array.ndim == 2 else array
    if array.dtype == bool:
        return array * np.uint8(255)
    if array.dtype.kind == 'f' and eight_bit:
        return _eight_bits(array, name)
    return array


def _eight_bits(array, name):
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(f'{name} holds NaN or infinite values; fill them first.')
    if low < 0 or high > 255:
        raise DataError(
            f'{name} holds floats from {low:g} to {high:g}, but the model takes 0 to 255 (or 0 to '
            '1); stretch them first.'
        )
    share = high <= 1
    print_log(
        f'{name}: floats from {low:g} to {high:g} are taken as '
        + ('shares of 255' if share else 'values from 0 to 255'),
        'current',
    )
    return np.rint(array * 255 if share else array).astype(np.uint8)


def _file(path):
    if path.is_dir():
        raise DataError(f'{path} is a folder; give the images in it, as a list.')
    if not path.exists():
        raise MissingFileError(f'{path}: no such image.')
    return Picture(path.stem, path=str(path))


def _dataset(dataset, name, eight_bit):
    """Converts a rasterio dataset: a plain file becomes its path, other datasets are read."""
    path = Path(dataset.name)
    if type(dataset).__name__ == 'DatasetReader' and path.is_file():
        return Picture(path.stem, path=str(path))
    from rasterio.enums import ColorInterp

    kept = [i + 1 for i, kind in enumerate(dataset.colorinterp) if kind != ColorInterp.alpha]
    if kept == [1] and dataset.colorinterp[0] == ColorInterp.palette:
        table = np.zeros((256, 3), np.uint8)
        for index, colour in dataset.colormap(1).items():
            table[index] = colour[:3]
        array = table[dataset.read(1)]
    else:
        array = dataset.read(kept).transpose(1, 2, 0)
    return Picture(
        name,
        array=check_array(np.ascontiguousarray(array), name, eight_bit),
        crs=dataset.crs,
        transform=None if dataset.transform.is_identity else dataset.transform,
    )


def _from_pillow(image):
    """Returns the pixels of a Pillow image as from a file: upright, without palette."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode in ('1', 'LA'):  # alpha is not a band
        image = image.convert('L')
    elif image.mode not in ('L', 'RGB', 'F') and not image.mode.startswith('I'):
        image = image.convert('RGB')
    return np.asarray(image)
