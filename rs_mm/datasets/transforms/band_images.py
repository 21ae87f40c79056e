"""Loading, resizing and normalising of images with any number of bands and any depth.

``img`` is always an array (H, W, C), with the bands in the order of the file: RGB for a
photograph (not the BGR of mmcv), all bands of a GeoTIFF. Values keep the file's type until
:class:`NormalizeBands`.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from rs_mm.errors import ConfigError, DataError
from rs_mm.registry import TRANSFORMS

from ..pictures import choose_bands, read_picture, refuse_invalid


@TRANSFORMS.register_module()
class LoadBandImage(BaseTransform):
    """Loads ``img_path`` into ``img`` (H, W, C) in the file's own type; see
    :func:`~rs_mm.datasets.pictures.read_picture`.

    An existing ``img`` (pixels in memory) is used instead of the file.

    Args:
        bands: 0-based bands to keep, in this order. Default: all but
            alpha.
        num_bands: number of bands that the config wants. A single band is repeated. Any other
            number is a DataError; alpha is not counted as a band. Default: any number.
        fill: value of pixels without data (nodata value, mask, transparent, NaN
            or infinite). Default: an image with such pixels is a DataError.
    """

    def __init__(
        self,
        bands: Sequence[int] | None = None,
        num_bands: int | None = None,
        fill: float | None = None,
    ) -> None:
        self.bands = None if bands is None else list(bands)
        self.num_bands, self.fill = num_bands, fill

    def transform(self, results: dict) -> dict:
        path = results.get('img_path', 'the image')
        img = choose_bands(results['img'], self.bands, path) if 'img' in results else None
        img = self._read(path) if img is None else img
        count = img.shape[2]
        if self.bands is None and self.num_bands not in (None, count):
            if count == 1:
                img = np.repeat(img, self.num_bands, axis=2)
            else:
                raise DataError(
                    f'{path}: has {count} bands, the config wants '
                    f'{self.num_bands}; set `bands` to choose.'
                )
        results['img'] = img
        results['ori_shape'] = results['img_shape'] = img.shape[:2]
        return results

    def _read(self, path):
        picture = read_picture(path, self.bands, with_alpha=self.num_bands == 4)
        if self.fill is not None:
            return picture.filled(self.fill)
        return refuse_invalid(picture, '`fill` of LoadBandImage')


@TRANSFORMS.register_module()
class ResizeBands(BaseTransform):
    """Resizes ``img`` of any number of bands, keeping its type.

    Args:
        size: target size, an int for a square, or (height, width).
        interpolation: ``'area'`` (averages when shrinking; as published for OML),
            ``'bilinear'``, ``'bicubic'`` or ``'nearest'``. Default: ``'area'``.
    """

    MODES = dict(
        area=cv2.INTER_AREA,
        bilinear=cv2.INTER_LINEAR,
        bicubic=cv2.INTER_CUBIC,
        nearest=cv2.INTER_NEAREST,
    )

    def __init__(self, size: int | tuple[int, int], interpolation: str = 'area') -> None:
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        if interpolation not in self.MODES:
            raise ConfigError(
                f'ResizeBands: interpolation {interpolation!r} must be one of {sorted(self.MODES)}.'
            )
        self.interpolation = interpolation

    def transform(self, results: dict) -> dict:
        img = results['img']
        if img.shape[:2] != self.size:
            mode, (height, width) = self.MODES[self.interpolation], self.size
            # OpenCV resizes at most four channels at a time in area mode
            parts = [
                cv2.resize(
                    np.ascontiguousarray(img[..., i : i + 4]), (width, height), interpolation=mode
                ).reshape(height, width, -1)
                for i in range(0, img.shape[2], 4)
            ]
            img = np.concatenate(parts, axis=2)
        results['img'], results['img_shape'] = img, img.shape[:2]
        return results


@TRANSFORMS.register_module()
class ScaleBands(BaseTransform):
    """Multiplies ``img`` by ``1 / divisor`` and makes it float32.

    Args:
        divisor: 255 for 8-bit images, which then lie in [0, 1].
    """

    def __init__(self, divisor: float = 255.0) -> None:
        self.divisor = divisor

    def transform(self, results: dict) -> dict:
        results['img'] = results['img'].astype(np.float32) / np.float32(self.divisor)
        return results


@TRANSFORMS.register_module()
class NormalizeBands(BaseTransform):
    """Subtracts a mean and divides by a standard deviation, per band; the result is float32.

    Args:
        mean: one number per band, in the scale and band order of ``img``.
        std: as ``mean``.
        reverse_statistics: apply both lists in reversed band order. The published OML results on
            UCM, AID and WHDLD depend on it: images were decoded as BGR, normalised with statistics
            in RGB order, and only then reversed, so red had blue's statistics and blue had red's.
            ``False`` uses each band's own statistics. Default: False.
    """

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], reverse_statistics: bool = False
    ) -> None:
        if len(mean) != len(std):
            raise ConfigError(
                f'NormalizeBands: {len(mean)} means but {len(std)} standard deviations.'
            )
        order = -1 if reverse_statistics else 1
        self.mean = np.asarray(mean, np.float32)[::order].copy()
        self.std = np.asarray(std, np.float32)[::order].copy()

    def transform(self, results: dict) -> dict:
        img = results['img']
        if img.shape[2] != len(self.mean):
            raise DataError(
                f'{results.get("img_path", "an image")}: has {img.shape[2]} bands, but '
                f'NormalizeBands has statistics of {len(self.mean)}; set `num_bands` '
                'or `bands` of the loading transform.'
            )
        # band by band into contiguous planes, which packing uses without a copy
        planes = np.empty((img.shape[2], *img.shape[:2]), np.float32)
        for band, plane in enumerate(planes):
            np.subtract(img[..., band], self.mean[band], out=plane, dtype=np.float32)
            np.divide(plane, self.std[band], out=plane)
        results['img'] = planes.transpose(1, 2, 0)
        return results
