"""Antialiased resizing of 8-bit images in numpy, equal to Pillow and torch to the last bit.

Both libraries weigh the pixels under a kernel, which is wider when shrinking, along the rows and
then along the columns, in integers. Pillow's weights have 22 fractional bits, torch's as many as
fit into 16 bits.
"""

from __future__ import annotations

import numpy as np

_PILLOW_BITS = 22
_SUPPORT = dict(bilinear=1.0, bicubic=2.0)


def resize(image: np.ndarray, size: tuple[int, int], kernel: str, rule: str) -> np.ndarray:
    """Resizes an image.

    Args:
        image: (H, W, C) uint8.
        size: (height, width) of the result.
        kernel: ``bilinear`` or ``bicubic``.
        rule: ``pillow`` or ``torch``, the library whose rounding is used.

    Returns:
        (height, width, C) uint8.
    """
    image = _along_rows(image, size[1], kernel, rule)
    return _along_rows(image.transpose(1, 0, 2), size[0], kernel, rule).transpose(1, 0, 2)


def _along_rows(image, length, kernel, rule):
    if image.shape[1] == length:
        return image
    starts, weights = _weights(image.shape[1], length, kernel)
    bits = _PILLOW_BITS if rule == 'pillow' else _bits_of_torch(weights)
    scaled = weights * (1 << bits)
    # away from zero at one half
    whole = np.trunc(scaled + np.where(scaled < 0, -0.5, 0.5)).astype(np.int64)
    columns = np.minimum(starts[:, None] + np.arange(weights.shape[1]), image.shape[1] - 1)
    out = np.empty((image.shape[0], length, image.shape[2]), np.uint8)
    half = 1 << (bits - 1)
    step = max(1, 2**22 // max(1, columns.size * image.shape[2]))
    for first in range(0, len(image), step):  # a few rows at a time fit into the cache
        part = image[first : first + step].astype(np.int64)
        found = np.einsum('hokc,ok->hoc', part[:, columns], whole)
        out[first : first + step] = np.clip((found + half) >> bits, 0, 255)
    return out


def _weights(old, new, kernel):
    """Returns the first pixel of each result, and the normalised weights of the pixels from
    there."""
    scale = old / new
    widened = max(scale, 1.0)
    support = _SUPPORT[kernel] * widened
    centre = (np.arange(new) + 0.5) * scale
    starts = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    stops = np.minimum((centre + support + 0.5).astype(np.int64), old)
    offsets = np.arange(int((stops - starts).max()))
    places = (starts[:, None] + offsets - centre[:, None] + 0.5) / widened
    weights = _KERNELS[kernel](np.abs(places))
    weights[offsets >= (stops - starts)[:, None]] = 0
    return starts, weights / weights.sum(1, keepdims=True)


def _bilinear(x):
    return np.clip(1 - x, 0, None)


def _bicubic(x, a=-0.5):
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


_KERNELS = dict(bilinear=_bilinear, bicubic=_bicubic)


def _bits_of_torch(weights):
    """Returns the largest number of bits with which the largest weight fits into 16 bits."""
    bits = 0
    while bits < 22 and int(0.5 + weights.max() * (1 << (bits + 1))) < (1 << 15):
        bits += 1
    return bits
