"""The conversion of values of any type to 8 bits, and the stretch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rs_mm.errors import ConfigError, DataError

PERCENTILES = (2, 98)


def select_bands(image: np.ndarray, bands: Sequence[int] | None, name: str = 'image') -> np.ndarray:
    """Keeps the bands with these 0-based numbers, in this order; None keeps all.

    Raises:
        DataError: a band is not there; the message begins with ``name``.
    """
    if bands is None:
        return image
    missing = [b for b in bands if not 0 <= b < image.shape[2]]
    if missing:
        raise DataError(
            f'{name} has bands 0 to {image.shape[2] - 1}, but band {missing[0]} was asked for.'
        )
    return image[..., list(bands)]


def check_value_range(value_range: Sequence[float] | None) -> None:
    """Checks that a given range is (low, high) with low < high."""
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


def stretch_limits(
    images: Sequence[np.ndarray],
    valid: Sequence[np.ndarray] | None = None,
    percentiles: Sequence[float] = PERCENTILES,
) -> tuple[np.ndarray, np.ndarray]:
    """Computes two percentiles of each band over the valid pixels of all images together.

    One stretch for all images keeps a change of brightness between dates visible.

    Args:
        images: each (H, W, C).
        valid: for each image (H, W) bool; None: all finite pixels.
        percentiles: the two percentiles; by default the 2nd and the 98th.

    Returns:
        Low and high, each (C,) float32.

    Raises:
        DataError: no pixel is valid.
    """
    masks = [None] * len(images) if valid is None else valid
    values = np.concatenate([_counted(image, mask) for image, mask in zip(images, masks)])
    if not len(values):
        raise DataError('no pixel of the image holds data: all are nodata, NaN or infinite.')
    low, high = np.percentile(values, percentiles, axis=0)
    return low.astype(np.float32), high.astype(np.float32)


def to_uint8(
    image: np.ndarray,
    valid: np.ndarray | None = None,
    value_range: Sequence[float] | None = None,
    percentiles: Sequence[float] = PERCENTILES,
) -> np.ndarray:
    """Converts an image of any depth to 8 bits, by the rule of all tools.

    uint8 is unchanged; other types are stretched from the 2nd to the 98th percentile of the valid
    pixels, band by band. With ``value_range``, every type is stretched from this range.

    Args:
        image: (H, W, C).
        valid: (H, W) bool, pixels that count.
        value_range: (low, high): values that become 0 and 255.
        percentiles: the percentiles that become 0 and 255 without ``value_range``.

    Raises:
        DataError: no pixel is valid.
        ConfigError: ``value_range`` is empty.
    """
    check_value_range(value_range)
    if value_range is not None:
        return stretch(image, *value_range)
    if image.dtype == np.uint8:
        return image
    return stretch(image, *stretch_limits([image], [valid], percentiles))


def _counted(image, mask):
    if mask is None:
        mask = np.isfinite(image).all(axis=2) if image.dtype.kind == 'f' else None
    pixels = image.reshape(-1, image.shape[2]) if mask is None else image[mask]
    return pixels.astype(np.float32)
