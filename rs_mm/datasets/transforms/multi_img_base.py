"""What every transform of an image pair shares: one draw for both dates and the labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from mmcv.transforms.utils import cache_random_params

from rs_mm.errors import DataError


class EachDate:
    """Put before a single-image transform: applies it to every date with the same random draws.

    ``results['img']`` is a list of (H, W, C) arrays, one per date. The label maps named in
    ``results['seg_fields']`` are transformed once, together with date 1. Draws are shared as far
    as the single-image transform marks them with mmcv's ``cache_randomness``.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # mmcv lists a draw that a subclass overrides twice, and then wraps it once more at every
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
    """A number, or one number per band, as a list with one per band.

    Args:
        value: what the config gives under ``key``.
        bands: of the image.
        key: to name in the error.
    """
    values = np.ravel(value).tolist()
    if len(values) not in (1, bands):
        raise DataError(
            f'{key}={value} has {len(values)} entries, but the image has {bands} '
            'band(s): give one number, or one per band.'
        )
    return values if len(values) == bands else values * bands


def keep_band_axis(image: np.ndarray) -> np.ndarray:
    """OpenCV drops the last axis of one-band images; this gives it back."""
    return image[..., None] if image.ndim == 2 else image


def fill_bands(function: Callable, image: np.ndarray, fill: Sequence[float]) -> np.ndarray:
    """``function(image, fill)`` for any number of bands: OpenCV fills four at most in one call.

    Args:
        function: from (H, W, up to 4) and as many values to an image.
        image: (H, W, bands).
        fill: one value per band.
    """
    parts = [
        keep_band_axis(function(image[..., i : i + 4], tuple(fill[i : i + 4])))
        for i in range(0, image.shape[2], 4)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, 2)
