"""Geometric transforms of image pairs: every draw applies to both dates and the labels.

If a transform equals a single-image transform of mmseg or mmcv, that transform is applied to each
date. Draws come from numpy's global generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, Pad, RandomResize
from mmcv.transforms.utils import cache_randomness
from mmengine.logging import MMLogger
from mmseg.datasets import transforms as single

from rs_mm.errors import ConfigError, DataError
from rs_mm.registry import TRANSFORMS

from .multi_img_base import EachDate, fill_bands, keep_band_axis, one_per_band


@TRANSFORMS.register_module()
class MultiImgResize(EachDate, single.Resize):
    """Resizes to ``scale`` (w, h) or by ``scale_factor``; labels by nearest neighbour.

    Takes the arguments of mmseg's ``Resize``. With ``keep_ratio`` the image becomes the largest
    that fits into the box of the long and the short entry of ``scale``. As in the original,
    ``scale_factor`` is then recorded as (1, 1), which nothing reads; without ``keep_ratio`` it is
    correct.
    """

    def __init__(
        self,
        scale: int | tuple[int, int] | None = None,
        scale_factor: float | tuple[float, float] | None = None,
        **kwargs: Any,
    ) -> None:
        # config files and JSON hold lists, but mmcv needs tuples
        super().__init__(_as_tuple(scale), _as_tuple(scale_factor), **kwargs)

    def transform(self, results: dict) -> dict:
        results = super().transform(results)
        if self.keep_ratio:
            results['scale_factor'] = (1.0, 1.0)
        return results


def _as_tuple(value):
    return tuple(value) if isinstance(value, list) else value


@TRANSFORMS.register_module()
class MultiImgRandomResize(RandomResize):
    """Draws a scale, then resizes both dates to it; arguments of mmcv's ``RandomResize``."""

    def __init__(
        self,
        scale: tuple,
        ratio_range: tuple[float, float] | None = None,
        resize_type: str = 'rs_mm.MultiImgResize',
        **resize_kwargs: Any,
    ) -> None:
        if isinstance(scale, list) and all(isinstance(s, int) for s in scale):
            scale = tuple(scale)
        super().__init__(scale, ratio_range, resize_type, **resize_kwargs)


@TRANSFORMS.register_module()
class MultiImgResizeShortestEdge(BaseTransform):
    """Resizes the short edge to ``scale``, unless the long edge would exceed ``max_size``.

    The original reads the shape of the list of images and always fails; this class works.

    Args:
        scale: length of the short edge; for a tuple, the smaller entry.
        max_size: largest length of the long edge.
    """

    def __init__(self, scale: int | tuple[int, int], max_size: int) -> None:
        self.scale = min(scale) if isinstance(scale, (tuple, list)) else scale
        self.max_size = max_size

    def transform(self, results: dict) -> dict:
        h, w = results['img'][0].shape[:2]
        factor = min(self.scale / min(h, w), self.max_size / max(h, w))
        size = (int(w * factor + 0.5), int(h * factor + 0.5))
        return MultiImgResize(scale=size, keep_ratio=True)(results)

    def __repr__(self):
        return f'{type(self).__name__}(scale={self.scale}, max_size={self.max_size})'


@TRANSFORMS.register_module()
class MultiImgResizeToMultiple(EachDate, single.ResizeToMultiple):
    """Resizes so that both sides are multiples of ``size_divisor`` (mmseg's arguments)."""

    def transform(self, results: dict) -> dict:
        results = super().transform(results)
        results['img_shape'] = results['pad_shape'] = results['img'][0].shape
        return results


@TRANSFORMS.register_module()
class MultiImgRandomFlip(EachDate, single.RandomFlip):
    """Flips horizontally, vertically or both ways; arguments of mmseg's ``RandomFlip``."""


@TRANSFORMS.register_module()
class MultiImgRandomRotate(single.RandomRotate):
    """Rotates clockwise by a drawn angle; arguments of mmseg's ``RandomRotate``.

    Both the coin and the angle are always drawn. For ``pad_val`` see
    :class:`MultiImgRandomRotFlip`. As in the original ``img_shape`` keeps the size before an
    ``auto_bound`` rotation; the preprocessor writes the correct size.
    """

    def transform(self, results: dict) -> dict:
        """Rotates every image of ``results['img']`` and every label map."""
        rotate, angle = self.generate_degree()
        if rotate:
            _rotate(
                results,
                angle,
                self.pal_val,
                self.seg_pad_val,
                center=self.center,
                auto_bound=self.auto_bound,
            )
        return results


@TRANSFORMS.register_module()
class MultiImgRandomRotFlip(BaseTransform):
    """Rotates by a small angle, or rotates by quarter turns and flips, or does nothing.

    The order of draws: a coin for the rotation and, if it is true, an angle; always a second coin;
    if it is true and there was no rotation, the number of counter-clockwise quarter turns (0 to 3)
    and the axis of the flip that always follows (0: upside down).

    Args:
        rotate_prob: probability of the rotation, in [0, 1].
        flip_prob: probability of quarter turns and flip, if not rotated.
        degree: range of the angle; a number means plus or minus.
        pad_val: fills the corners of the images, one value per band. A single number fills only the
            first band, and the other bands get 0, as in the original.
        seg_pad_val: fills the corners of the labels.
    """

    def __init__(
        self,
        rotate_prob: float = 0.5,
        flip_prob: float = 0.5,
        degree: float | tuple[float, float] = (-20, 20),
        pad_val: float | Sequence[float] = 0,
        seg_pad_val: int = 255,
    ) -> None:
        if not (0 <= rotate_prob <= 1 and 0 <= flip_prob <= 1):
            raise ConfigError(
                f'{type(self).__name__}: rotate_prob and flip_prob must lie in '
                f'[0, 1], got {rotate_prob} and {flip_prob}.'
            )
        self.rotate_prob = rotate_prob
        self.flip_prob = flip_prob
        self.degree = (-degree, degree) if isinstance(degree, (int, float)) else tuple(degree)
        self.pad_val = pad_val
        self.seg_pad_val = seg_pad_val

    def transform(self, results: dict) -> dict:
        rotate = np.random.random() < self.rotate_prob
        if rotate:
            angle = np.random.uniform(min(self.degree), max(self.degree))
            _rotate(results, angle, self.pad_val, self.seg_pad_val)
        if np.random.random() < self.flip_prob and not rotate:
            turns, axis = np.random.randint(0, 4), np.random.randint(0, 2)
            _apply(results, *[lambda array: _turn(array, turns, axis)] * 2)
        return results

    def __repr__(self):
        return (
            f'{type(self).__name__}(rotate_prob={self.rotate_prob}, '
            f'flip_prob={self.flip_prob}, degree={self.degree})'
        )


def _rotate(results, angle, pad_val, seg_pad_val, **kwargs):
    def rotate(image):
        bands = image.shape[2]
        single_value = isinstance(pad_val, (int, float))
        fill = (
            [pad_val] + [0] * (bands - 1)
            if single_value
            else one_per_band(pad_val, bands, 'pad_val')
        )
        return fill_bands(
            lambda part, value: mmcv.imrotate(part, angle, border_value=value, **kwargs),
            image,
            fill,
        )

    _apply(
        results,
        rotate,
        lambda label: mmcv.imrotate(
            label, angle, border_value=seg_pad_val, interpolation='nearest', **kwargs
        ),
    )


def _turn(array, turns, axis):
    """Returns ``np.flip(np.rot90(array, turns), axis)``, several times as fast for images."""
    if array.dtype not in (np.uint8, np.float32) or array.ndim == 3 and array.shape[2] > 4:
        return np.flip(np.rot90(array, turns), axis).copy()
    if turns % 2 == 0:
        return cv2.flip(array, axis if turns == 0 else 1 - axis)
    array = cv2.transpose(array)
    return array if (turns == 1) == (axis == 0) else cv2.flip(array, -1)


def _apply(results, on_image, on_label):
    results['img'] = [keep_band_axis(on_image(image)) for image in results['img']]
    for key in results.get('seg_fields', []):
        results[key] = on_label(results[key])


@TRANSFORMS.register_module()
class MultiImgRandomCrop(EachDate, single.RandomCrop):
    """Crops both dates and the labels at one random place.

    Args:
        crop_size: (h, w).
        cat_max_ratio: if below 1, up to 10 places are tried until at least two classes are present
            and no class has this share or more; the last place is used without a check.
        ignore_index: label that does not count as a class.
        smaller_images: treatment of images that are smaller than the crop: ``keep`` leaves the
            short side unchanged (as in the original; batches are padded later), ``error`` stops.
            Default: as ``keep``, with one warning.

    Raises:
        DataError: the image is smaller than the crop, with ``smaller_images='error'``.
    """

    def __init__(
        self,
        crop_size: int | tuple[int, int],
        cat_max_ratio: float = 1.0,
        ignore_index: int = 255,
        smaller_images: str | None = None,
    ) -> None:
        if smaller_images not in (None, 'keep', 'error'):
            raise ConfigError(
                f"{type(self).__name__}: smaller_images must be 'keep' or "
                f"'error', got {smaller_images!r}."
            )
        super().__init__(_as_tuple(crop_size), cat_max_ratio, ignore_index)
        self.smaller_images = smaller_images

    def transform(self, results: dict) -> dict:
        h, w = results['img'][0].shape[:2]
        if self.smaller_images != 'keep' and (h < self.crop_size[0] or w < self.crop_size[1]):
            self._complain(h, w, results.get('img_path', ['the pair'])[0])
        results = super().transform(results)
        results['img_shape'] = results['img'][0].shape
        return results

    def _complain(self, height, width, name):
        finding = (
            f'crop_size {self.crop_size} is larger than the image {height} x {width} of {name}'
        )
        if self.smaller_images == 'error':
            raise DataError(
                f'{finding}; set a smaller crop_size, or put MultiImgPad or '
                'MultiImgResize before the crop.'
            )
        MMLogger.get_current_instance().warning(
            f'{finding}, and perhaps other images too: such crops stay smaller '
            "(smaller_images='keep' of MultiImgRandomCrop silences this, 'error' stops instead)."
        )
        self.smaller_images = 'keep'

    @cache_randomness
    def crop_bbox(self, results: dict) -> tuple[int, int, int, int]:
        """Draws the place as mmseg does, with a faster count of the classes."""
        box = self._draw_box(results['img'].shape)
        if self.cat_max_ratio < 1:
            for _ in range(10):
                label = self.crop(results['gt_seg_map'], box)
                counts = _count(label)
                counts[self.ignore_index : self.ignore_index + 1] = 0
                if (counts > 0).sum() > 1 and counts.max() / counts.sum() < self.cat_max_ratio:
                    break
                box = self._draw_box(results['img'].shape)
        return box

    def _draw_box(self, shape):
        margins = [max(side - crop, 0) for side, crop in zip(shape, self.crop_size)]
        top, left = (np.random.randint(0, margin + 1) for margin in margins)
        return top, top + self.crop_size[0], left, left + self.crop_size[1]


def _count(label):
    """Counts the pixels of each class: (K,) int64."""
    if label.dtype != np.uint8:
        return np.bincount(label.ravel())
    # several times as fast; its float32 counts are exact up to 2**24, more than the pixels of a
    # crop
    return cv2.calcHist([label], [0], None, [256], [0, 256]).ravel().astype(np.int64)


@TRANSFORMS.register_module()
class MultiImgPad(EachDate, Pad):
    """Pads at the right and bottom; arguments of mmcv's ``Pad`` (``size`` is (w, h)).

    ``pad_val`` fills all bands, of any number; ``dict(img=..., seg=...)`` may give the images one
    value per band. The original fails if only ``size_divisor`` is given; this class pads both dates
    to the multiple.
    """

    def __init__(self, size: int | tuple[int, int] | None = None, **kwargs: Any) -> None:
        super().__init__(_as_tuple(size), **kwargs)

    def _pad_img(self, results):
        image = results['img']
        size = image.shape[:2]
        if self.pad_to_square:
            size = (max(size), max(size))
        if self.size_divisor is not None:
            size = tuple(-(-side // self.size_divisor) * self.size_divisor for side in size)
        elif self.size is not None:
            size = self.size[::-1]
        values = one_per_band(self.pad_val.get('img', 0), image.shape[2], 'pad_val')
        image = fill_bands(
            lambda part, value: mmcv.impad(
                part, shape=size, pad_val=value, padding_mode=self.padding_mode
            ),
            image,
            values,
        )
        results.update(
            img=image,
            img_shape=image.shape[:2],
            pad_shape=image.shape,
            pad_fixed_size=self.size,
            pad_size_divisor=self.size_divisor,
        )

    def _pad_seg(self, results):
        for key in results.get('seg_fields', []):
            results[key] = mmcv.impad(
                results[key],
                shape=results['pad_shape'][:2],
                pad_val=self.pad_val.get('seg', 255),
                padding_mode=self.padding_mode,
            )


@TRANSFORMS.register_module()
class MultiImgRandomCutOut(EachDate, single.RandomCutOut):
    """Fills random rectangles, the same in both dates; arguments of mmseg's ``RandomCutOut``.

    ``fill_in`` is one number for all bands, or one per band.
    """

    def __init__(
        self,
        prob: float,
        n_holes: int | tuple[int, int],
        cutout_shape: tuple | None = None,
        cutout_ratio: tuple | None = None,
        fill_in: int = 0,
        seg_fill_in: int | None = None,
    ) -> None:
        super().__init__(prob, n_holes, cutout_shape, cutout_ratio, fill_in, seg_fill_in)

    def transform(self, results: dict) -> dict:
        one_per_band(self.fill_in, results['img'][0].shape[2], 'fill_in')
        return super().transform(results)


@TRANSFORMS.register_module()
class MultiImgExchangeTime(BaseTransform):
    """Swaps the two dates, and their semantic maps if both exist; the change label stays.

    Args:
        prob: probability of the swap, in [0, 1].
    """

    def __init__(self, prob: float = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise ConfigError(f'{type(self).__name__}: prob must lie in [0, 1], got {prob}.')
        self.prob = prob

    def transform(self, results: dict) -> dict:
        if np.random.random() < self.prob:
            results['img'] = results['img'][::-1]
            first, second = 'gt_seg_map_from', 'gt_seg_map_to'
            if first in results and second in results:
                results[first], results[second] = results[second], results[first]
        return results

    def __repr__(self):
        return f'{type(self).__name__}(prob={self.prob})'
