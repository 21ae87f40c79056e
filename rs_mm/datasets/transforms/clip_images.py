"""From any image file to what a CLIP tower takes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.registry import TRANSFORMS

from ..png import read_plain_png
from .band_images import read_image


def to_uint8(img: np.ndarray, percentiles: Sequence[float] = (2, 98)) -> np.ndarray:
    """Stretches every band of an image to 0 … 255; uint8 stays as it is.

    Args:
        img: (H, W, C) of any numeric type; not finite values become 0.
        percentiles: the two percentiles of a band that become 0 and 255.

    Returns:
        (H, W, C) uint8.
    """
    if img.dtype == np.uint8:
        return img
    img = img.astype(np.float64)
    valid = np.isfinite(img)
    low, high = np.nanpercentile(
        np.where(valid, img, np.nan) if not valid.all() else img, percentiles, axis=(0, 1)
    )
    scaled = (img - low) / np.maximum(high - low, np.finfo(np.float64).tiny)
    return (np.where(valid, scaled, 0).clip(0, 1) * 255).round().astype(np.uint8)


@TRANSFORMS.register_module()
class LoadRGBImage(BaseTransform):
    """Loads ``img_path`` into ``img`` ((H, W, 3) uint8 RGB), whatever the format.

    TIFFs may have any number of bands and any type: three are chosen, and values beyond 8 bits are
    stretched per image and band. Everything else goes through Pillow. An ``img`` that is there
    already (H, W, C) is treated as a TIFF's.

    Args:
        bands: 0-based bands of a TIFF to show as red, green and blue.
            Default: the first three, or the first alone as grey if there are fewer.
        percentiles: see :func:`to_uint8`.
    """

    def __init__(
        self, bands: Sequence[int] | None = None, percentiles: Sequence[float] = (2, 98)
    ) -> None:
        if bands is not None and len(bands) != 3:
            raise ConfigError(
                f'LoadRGBImage: bands={list(bands)} must be three numbers, for red, green and blue.'
            )
        self.bands = None if bands is None else list(bands)
        self.percentiles = tuple(percentiles)

    def transform(self, results: dict) -> dict:
        path = str(results['img_path'])
        if 'img' in results:
            img = self._choose(results['img'], path)
        elif path.lower().endswith(('.tif', '.tiff')):
            img = self._choose(read_image(path), path)
        else:
            img = _from_pillow(path)
        results['img'] = img
        results['ori_shape'] = results['img_shape'] = img.shape[:2]
        return results

    def _choose(self, img, path):
        count = img.shape[2]
        bands = self.bands or ([0, 1, 2] if count >= 3 else [0, 0, 0])
        if max(bands) >= count:
            raise DataError(f'{path}: has {count} bands, but bands {bands} are asked for.')
        return to_uint8(img[..., bands], self.percentiles)

    def __repr__(self):
        return f'{type(self).__name__}(bands={self.bands}, percentiles={self.percentiles})'


def _from_pillow(path):
    img = read_plain_png(path, bands=3)
    if img is not None:
        return img
    try:
        with Image.open(path) as file:
            return np.asarray(file.convert('RGB'))
    except FileNotFoundError as error:
        raise MissingFileError(f'{path}: no such image.') from error
    except Exception as error:  # Pillow's decoders raise many types for a damaged file
        raise DataError(
            f'{path}: the image cannot be decoded ({type(error).__name__}); the '
            'file is damaged or no image.'
        ) from error


@TRANSFORMS.register_module()
class OpenCLIPPreprocess(BaseTransform):
    """The evaluation transform of open_clip: resize, centre crop, normalise.

    ``img`` ((H, W, 3) uint8 RGB) becomes a float32 tensor (3, size, size). The defaults are those
    of OpenAI's CLIP and of RemoteCLIP; weights of other origin may want others (see
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
        # memory addresses of functions inside would make it another text in every process
        steps = re.sub(r' at 0x[0-9a-f]+', '', ' '.join(repr(self.preprocess).split()))
        return f'{type(self).__name__}({steps})'
