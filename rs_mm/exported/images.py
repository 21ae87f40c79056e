"""Preparing an image file for a network, by the steps of ``model.json``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rs_mm.errors import DataError
from rs_mm.rasters import read_pixels, to_uint8

from .resampling import resize


def prepare(image: str | Path | np.ndarray, steps: Sequence[dict]) -> np.ndarray:
    """Prepares one image by the steps.

    Args:
        image: a file, or an array (H, W) or (H, W, C) with the bands in file order.
        steps: steps from ``model.json``, each with its ``kind``.

    Returns:
        (C, h, w) float32.

    Raises:
        MissingFileError, DataError: the image cannot be read, or has other bands.
    """
    name = str(image) if isinstance(image, (str, Path)) else 'the image'
    array = read_pixels(image).array if isinstance(image, (str, Path)) else np.asarray(image)
    array = array[..., None] if array.ndim == 2 else array
    for step in steps:
        array = _STEPS[step['kind']](array, step, name)
    return np.ascontiguousarray(array.transpose(2, 0, 1), np.float32)


def _bands(array, step, name):
    """Chooses bands, or adapts their number by two rules: repeat a single band, drop a fourth
    (alpha)."""
    bands, wanted, count = step.get('bands'), step.get('count'), array.shape[2]
    if bands is not None:
        if max(bands) >= count:
            raise DataError(f'{name} has {count} bands, but the model takes bands {bands}.')
        return array[..., bands]
    if wanted in (None, count):
        return array
    if count == 1:
        return np.repeat(array, wanted, axis=2)
    if count == 4 and wanted == 3:
        return array[..., :3]
    raise DataError(f'{name} has {count} bands, but the model takes {wanted}.')


def _rgb(array, step, name):
    """Returns three bands of 8 bits: the first three or the only one, stretched by percentiles."""
    count = array.shape[2]
    bands = step.get('bands') or ([0, 1, 2] if count >= 3 else [0, 0, 0])
    if max(bands) >= count:
        raise DataError(f'{name} has {count} bands, but the model takes bands {bands}.')
    return to_uint8(array[..., bands])


def _resize(array, step, name):
    size = _target(array.shape[:2], step)
    if tuple(array.shape[:2]) != size:
        if step['by'] == 'opencv':
            array = _resize_with_opencv(array, size, step['kernel'])
        elif array.dtype == np.uint8:
            array = resize(array, size, step['kernel'], step['by'])
        else:
            raise DataError(f'{name} is {array.dtype}; this model resizes 8-bit images only.')
    crop = step.get('crop')
    if crop:  # the centre, rounded as in torchvision
        top, left = (int(round((a - b) / 2.0)) for a, b in zip(array.shape[:2], crop))
        array = array[top : top + crop[0], left : left + crop[1]]
    return array


def _target(shape, step):
    if 'size' in step:
        return tuple(step['size'])
    # the shorter side becomes `shortest`, the longer one is truncated to an integer
    side, (height, width) = step['shortest'], shape
    if height <= width:
        return side, int(side * width / height)
    return int(side * height / width), side


def _resize_with_opencv(array, size, kernel):
    import cv2  # of the raster layer

    modes = dict(
        area=cv2.INTER_AREA,
        bilinear=cv2.INTER_LINEAR,
        bicubic=cv2.INTER_CUBIC,
        nearest=cv2.INTER_NEAREST,
    )
    parts = [
        cv2.resize(
            np.ascontiguousarray(array[..., i : i + 4]), size[::-1], interpolation=modes[kernel]
        ).reshape(*size, -1)
        for i in range(0, array.shape[2], 4)  # OpenCV averages at most four bands at a time
    ]
    return np.concatenate(parts, axis=2)


def _normalise(array, step, name):
    """Computes ``(x / divisor - mean) / std``, band by band, in float32."""
    array = array.astype(np.float32)
    if step.get('divisor'):
        array = array / np.float32(step['divisor'])
    if step.get('mean') is None:
        return array
    mean, std = (np.asarray(step[key], np.float32) for key in ('mean', 'std'))
    if array.shape[2] != len(mean):
        raise DataError(f'{name} has {array.shape[2]} bands, but the model takes {len(mean)}.')
    return (array - mean) / std


_STEPS = dict(bands=_bands, rgb=_rgb, resize=_resize, normalise=_normalise)
