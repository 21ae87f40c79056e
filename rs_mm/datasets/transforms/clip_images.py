"""Loading and preprocessing of images for CLIP towers."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from rs_mm.errors import ConfigError
from rs_mm.rasters.values import to_uint8
from rs_mm.registry import TRANSFORMS

from ..pictures import (
    Picture,
    choose_bands,
    is_jpeg,
    is_tiff,
    pillow_jpeg,
    read_picture,
    refuse_invalid,
)


@TRANSFORMS.register_module()
class LoadRGBImage(BaseTransform):
    """Loads ``img_path`` of any format into ``img`` ((H, W, 3) uint8 RGB).

    A file may have any number of bands and any type: three bands are chosen, and values beyond 8
    bits are stretched per image and band. An existing ``img`` (H, W, C) is treated in the same way.

    Args:
        bands: 0-based bands to show as red, green and blue, of TIFFs and
            of arrays that are not ordinary pictures. Default: the first three bands, or the first
            as grey if there are fewer.
        percentiles: percentiles of a band that become 0 and 255.
        fill: brightness, 0 to 255, of pixels without data (nodata value, mask,
            transparent, NaN or infinite). Default: an image with such pixels is a DataError.
    """

    def __init__(
        self,
        bands: Sequence[int] | None = None,
        percentiles: Sequence[float] = (2, 98),
        fill: float | None = None,
    ) -> None:
        if bands is not None and len(bands) != 3:
            raise ConfigError(
                f'LoadRGBImage: bands={list(bands)} must be three numbers, for red, green and blue.'
            )
        self.bands = None if bands is None else list(bands)
        self.percentiles, self.fill = tuple(percentiles), fill

    def transform(self, results: dict) -> dict:
        path = str(results['img_path'])
        if 'img' in results:
            array = results['img']
            valid = np.isfinite(array).all(2) if array.dtype.kind == 'f' else None
            img = self._show(Picture(path, array, valid, stray=1))
        elif is_jpeg(path):
            img = pillow_jpeg(path)
        else:
            img = self._show(read_picture(path))
        results['img'] = img
        results['ori_shape'] = results['img_shape'] = img.shape[:2]
        return results

    def _show(self, picture):
        if self.fill is None:
            refuse_invalid(picture, '`fill` of LoadRGBImage')
        array, bands = picture.array, self.bands
        ordinary = array.dtype == np.uint8 and array.shape[2] <= 3
        if bands is None or (ordinary and not is_tiff(picture.path)):
            bands = [0, 1, 2] if array.shape[2] >= 3 else [0, 0, 0]
        image = choose_bands(picture.array, bands, picture.path)
        if not image.flags.c_contiguous:
            image = np.ascontiguousarray(image)
        if picture.valid is not None and not picture.valid.any():
            picture.filled()  # says that nothing is there
        image = to_uint8(image, picture.valid, percentiles=self.percentiles)
        if picture.valid is not None:
            image[~picture.valid] = self.fill
        return image

    def __repr__(self):
        fill = '' if self.fill is None else f', fill={self.fill}'
        return f'{type(self).__name__}(bands={self.bands}, percentiles={self.percentiles}{fill})'


@TRANSFORMS.register_module()
class OpenCLIPPreprocess(BaseTransform):
    """The evaluation transform of open_clip: resize, centre crop, normalise.

    ``img`` ((H, W, 3) uint8 RGB) becomes a float32 tensor (3, size, size). The defaults are those
    of OpenAI's CLIP and of RemoteCLIP; other weights may need other values (see
    ``open_clip.get_pretrained_cfg(arch, tag)``).

    Args:
        size: side of the result.
        mean, std: per channel, of values in [0, 1].
        interpolation: ``bicubic`` or ``bilinear``, antialiased.
        resize_mode: ``shortest``: the shorter side becomes ``size`` and the centre is cut
            out; ``squash``: both sides become ``size``; ``longest``: padded.
    """

    def __init__(
        self,
        size: int = 224,
        mean: Sequence[float] = (0.48145466, 0.4578275, 0.40821073),
        std: Sequence[float] = (0.26862954, 0.26130258, 0.27577711),
        interpolation: str = 'bicubic',
        resize_mode: str = 'shortest',
    ) -> None:
        from open_clip.transform import image_transform

        self.preprocess = image_transform(
            size,
            is_train=False,
            mean=tuple(mean),
            std=tuple(std),
            interpolation=interpolation,
            resize_mode=resize_mode,
        )

    def transform(self, results: dict) -> dict:
        img = self.preprocess(Image.fromarray(results['img']))
        results['img'], results['img_shape'] = img, tuple(img.shape[1:])
        return results

    def __repr__(self):
        # addresses of functions would give another text in every process
        steps = re.sub(r' at 0x[0-9a-f]+', '', ' '.join(repr(self.preprocess).split()))
        return f'{type(self).__name__}({steps})'
