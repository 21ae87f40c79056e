"""Colour and contrast transforms of image pairs, drawn for each date; labels do not change."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform, Normalize
from mmseg.datasets import transforms as single

from rs_mm.errors import ConfigError, DataError
from rs_mm.registry import TRANSFORMS

from .multi_img_base import EachDate


@TRANSFORMS.register_module()
class MultiImgPhotoMetricDistortion(single.PhotoMetricDistortion):
    """Changes brightness, contrast, saturation and hue, each with probability 1/2, for each date.

    Draws per date: brightness coin, delta; mode coin; in mode 1 the contrast coin and factor;
    saturation coin, factor; hue coin, shift; in mode 0 the contrast comes last. Values are clipped
    and cut to uint8 after every step.

    Args:
        brightness_delta: largest brightness change.
        contrast_range, saturation_range: ranges of the factors.
        hue_delta: largest shift of the hue (0..179).
        consistent_contrast_mode: draw the mode coin once, before the dates. As in the original, a
            drawn 0 counts as not drawn, and each date then draws its own mode; so only mode 1 is
            really shared.
    """

    def __init__(
        self,
        brightness_delta: int = 32,
        contrast_range: tuple[float, float] = (0.5, 1.5),
        saturation_range: tuple[float, float] = (0.5, 1.5),
        hue_delta: int = 18,
        consistent_contrast_mode: bool = False,
    ) -> None:
        super().__init__(brightness_delta, contrast_range, saturation_range, hue_delta)
        self.consistent_contrast_mode = consistent_contrast_mode

    def transform(self, results: dict) -> dict:
        mode = np.random.randint(2) if self.consistent_contrast_mode else 0
        results['img'] = [self._distort(image, mode) for image in results['img']]
        return results

    def _distort(self, image, mode):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise DataError(
                f'{type(self).__name__} needs uint8 images of three bands, got '
                f'{image.dtype} of shape {image.shape}; leave it out for other bands.'
            )
        image = self.brightness(image)
        mode = mode or np.random.randint(2)
        if mode == 1:
            image = self.contrast(image)
        image = self.saturation(image)
        image = self.hue(image)
        return image if mode == 1 else self.contrast(image)

    # the result for a pixel depends only on its 8 bits, so each step is computed for the 256 levels

    def convert(self, img: np.ndarray, alpha: int = 1, beta: int = 0) -> np.ndarray:
        """Returns ``alpha * img + beta``, clipped and truncated to uint8, for brightness and
        contrast."""
        return cv2.LUT(img, super().convert(_LEVELS, alpha, beta))

    def saturation(self, img: np.ndarray) -> np.ndarray:
        """Multiplies the saturation by a random factor, or returns the image unchanged."""
        if not np.random.randint(2):
            return img
        factor = np.random.uniform(self.saturation_lower, self.saturation_upper)
        return _change_hsv(img, 1, super().convert(_LEVELS, factor))

    def hue(self, img: np.ndarray) -> np.ndarray:
        """Shifts the hue by a random number, or returns the image unchanged."""
        if not np.random.randint(2):
            return img
        shift = np.random.randint(-self.hue_delta, self.hue_delta)
        return _change_hsv(img, 0, ((_LEVELS.astype(int) + shift) % 180).astype(np.uint8))


_LEVELS = np.arange(256, dtype=np.uint8)


def _change_hsv(img, plane, table):
    planes = list(cv2.split(cv2.cvtColor(img, cv2.COLOR_BGR2HSV)))
    planes[plane] = cv2.LUT(planes[plane], table)
    return cv2.cvtColor(cv2.merge(planes), cv2.COLOR_HSV2BGR)


@TRANSFORMS.register_module()
class MultiImgNormalize(EachDate, Normalize):
    """Normalises each date to float32; arguments of mmcv's ``Normalize``.

    Only for pipelines whose preprocessor does not normalise.
    """


@TRANSFORMS.register_module()
class MultiImgCLAHE(EachDate, single.CLAHE):
    """Contrast-limited histogram equalisation per band; arguments of mmseg's ``CLAHE``."""

    def __init__(self, clip_limit: float = 40.0, tile_grid_size: Sequence[int] = (8, 8)) -> None:
        super().__init__(clip_limit, tuple(tile_grid_size))


@TRANSFORMS.register_module()
class MultiImgAdjustGamma(EachDate, single.AdjustGamma):
    """Gamma correction of 8-bit images; arguments of mmseg's ``AdjustGamma``."""


@TRANSFORMS.register_module()
class MultiImgRerange(EachDate, single.Rerange):
    """Stretches a date to ``min_value`` .. ``max_value``; a constant image becomes the minimum."""

    def transform(self, results: dict) -> dict:
        constant = [np.ptp(image) == 0 for image in results['img']]
        images = results['img']
        results['img'] = [
            _with_range(image) if flat else image for image, flat in zip(images, constant)
        ]
        results = super().transform(results)
        for i in np.flatnonzero(constant):
            results['img'][i] = np.full(images[i].shape, float(self.min_value))
        return results


def _with_range(image):
    stand_in = np.zeros_like(image)
    stand_in.flat[0] = 1
    return stand_in


@TRANSFORMS.register_module()
class MultiImgRGB2Gray(EachDate, single.RGB2Gray):
    """Weighted mean of the bands, repeated; arguments of mmseg's ``RGB2Gray``."""

    def __init__(
        self, out_channels: int | None = None, weights: Sequence[float] = (0.299, 0.587, 0.114)
    ) -> None:
        super().__init__(out_channels, tuple(weights))

    def transform(self, results: dict) -> dict:
        bands = results['img'][0].shape[2]
        if len(self.weights) != bands:
            raise DataError(
                f'{type(self).__name__}: weights={self.weights} has '
                f'{len(self.weights)} entries, but the images have {bands} band(s): '
                'give one weight per band.'
            )
        return super().transform(results)


@TRANSFORMS.register_module()
class MultiImgAlbu(BaseTransform):
    """Applies augmentations of the optional package albumentations, with one draw for both dates.

    The dates are stacked along the channels and converted from BGR to RGB. Tested with
    albumentations 2.0.8.

    Args:
        transforms: albumentations by class name (``type``) and arguments; may nest.
        keymap: maps keys of the results to those of albumentations (``image``, ``mask``). As in the
            original, the default does not name ``gt_seg_map``, so geometric augmentations do not
            transform the label; give ``dict(img='image', gt_seg_map='mask')`` for them.
        additional_targets: further targets of ``albumentations.Compose``.
        update_pad_shape: write the new shape to ``pad_shape``.
    """

    def __init__(
        self,
        transforms: list[dict],
        keymap: dict | None = None,
        additional_targets: dict | None = None,
        update_pad_shape: bool = False,
    ) -> None:
        try:
            import albumentations
        except ImportError as error:
            raise ConfigError(
                f'{type(self).__name__} needs the package albumentations: '
                '`pip install albumentations==2.0.8`.'
            ) from error
        self.transforms = transforms
        self.keymap = dict(keymap or dict(img='image', gt_semantic_seg='mask'))
        self.update_pad_shape = update_pad_shape
        self.aug = albumentations.Compose(
            [self._build(albumentations, t) for t in transforms],
            additional_targets=additional_targets,
        )

    def _build(self, package, cfg):
        cfg = dict(cfg)
        name = cfg.pop('type')
        if not hasattr(package, name):
            raise ConfigError(f'{type(self).__name__}: albumentations has no {name!r}.')
        if 'transforms' in cfg:
            cfg['transforms'] = [self._build(package, t) for t in cfg['transforms']]
        return getattr(package, name)(**cfg)

    def transform(self, results: dict) -> dict:
        images = results['img']
        bands = images[0].shape[2]
        stacked = np.concatenate([image[..., ::-1] for image in images], axis=2)
        given = {
            theirs: results[ours]
            for ours, theirs in self.keymap.items()
            if ours in results and ours != 'img'
        }
        out = self.aug(image=np.ascontiguousarray(stacked), **given)
        for ours, theirs in self.keymap.items():
            if ours in results and ours != 'img':
                results[ours] = out[theirs]
        dates = np.split(out['image'], np.arange(bands, stacked.shape[2], bands), axis=2)
        results['img'] = [np.ascontiguousarray(date[..., ::-1]) for date in dates]
        results['img_shape'] = results['img'][0].shape[:2]
        if self.update_pad_shape:
            results['pad_shape'] = results['img'][0].shape
        return results

    def __repr__(self):
        return f'{type(self).__name__}(transforms={self.transforms})'
