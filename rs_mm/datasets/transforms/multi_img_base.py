"""The base of transforms of image pairs: one random draw for both dates and the labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from mmcv.transforms.utils import cache_random_params

from rs_mm.errors import DataError


class EachDate:
    """A mixin before a single-image transform that applies it to every date with the same random
    draws.

    ``results['img']`` is a list of (H, W, C) arrays, one per date. The label maps named in
    ``results['seg_fields']`` are transformed once, together with date 1. Draws are shared if the
    single-image transform marks them with mmcv's ``cache_randomness``.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # mmcv lists a draw twice if a subclass overrides it. It then wraps the draw again at every
        # call, until the recursion limit ends the training
        names = getattr(cls, '_methods_with_randomness', [])
        names[:] = dict.fromkeys(names)

    def transform(self, results: dict) -> dict:
        """Transforms every image of ``results['img']`` and every label map."""
        images, fields = results['img'], results.get('seg_fields', [])
        transformed = []
        with cache_random_params(self):
            for date, image in enumerate(images):
                results['img'] = image
                results['seg_fields'] = fields if date == 0 else []
                results = super().transform(results)
                transformed.append(keep_band_axis(results['img']))
        results['img'], results['seg_fields'] = transformed, fields
        return results


def one_per_band(value: float | Sequence[float], bands: int, key: str) -> list:
    """Converts a number, or one number per band, to a list with one number per band.

    Args:
        value: value of ``key`` in the config.
        bands: number of bands of the image.
        key: name of the key for the error.
    """
    values = np.ravel(value).tolist()
    if len(values) not in (1, bands):
        raise DataError(
            f'{key}={value} has {len(values)} entries, but the image has {bands} '
            'band(s): give one number, or one per band.'
        )
    return values if len(values) == bands else values * bands


def keep_band_axis(image: np.ndarray) -> np.ndarray:
    """Restores the last axis of one-band images, which OpenCV drops."""
    return image[..., None] if image.ndim == 2 else image


def fill_bands(function: Callable, image: np.ndarray, fill: Sequence[float]) -> np.ndarray:
    """Applies ``function(image, fill)`` to any number of bands, because OpenCV fills at most four
    per call.

    Args:
        function: takes (H, W, up to 4) and a value per band, and returns an image.
        image: (H, W, bands).
        fill: one value per band.
    """
    parts = [
        keep_band_axis(function(image[..., i : i + 4], tuple(fill[i : i + 4])))
        for i in range(0, image.shape[2], 4)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, 2)
