"""Random augmentations of images with any number of bands; draws come from ``np.random``.

The defaults equal the published OML training, with its peculiarities; each docstring says which
argument gives the usual behaviour. ``img`` is an array (H, W, C).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from rs_mm.errors import ConfigError
from rs_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomFlipRotateBands(BaseTransform):
    """Flips ``img`` left-right or top-down, or rotates it by 90, 180 or 270 degrees.

    Args:
        hflip: probability of the left-right flip. Default: 0.5.
        vflip: probability of the top-down flip. Default: 0.
        rotate: probability of a rotation, by an angle drawn uniformly. Default: 0.
        one_of: first pick one of the three uniformly, then apply it with its own
            probability. This is the published behaviour; with the defaults one image in six is
            flipped. False: apply each of the three independently. Default: True.
    """

    def __init__(
        self, hflip: float = 0.5, vflip: float = 0.0, rotate: float = 0.0, one_of: bool = True
    ) -> None:
        self.probs, self.one_of = (hflip, vflip, rotate), one_of

    def transform(self, results: dict) -> dict:
        img = results['img']
        for index in [np.random.randint(3)] if self.one_of else range(3):
            if np.random.rand() < self.probs[index]:
                img = _turn(img) if index == 2 else np.flip(img, 1 - index)
        results['img'], results['img_shape'] = img, img.shape[:2]
        return results


def _turn(img):
    return np.rot90(img, np.random.randint(1, 4))


@TRANSFORMS.register_module()
class RandomPhotometricBands(BaseTransform):
    """Applies one of: blur, brightness, contrast, gamma, or all four in this order.

    Blur is a 3 x 3 box; brightness and contrast change by at most 0.1, gamma is in [0.9, 1]. The
    result is float32 in [0, ``max_value``].

    Args:
        prob: probability of any change. Default: 0.5.
        weights: relative weights of the five choices.
        published: True: as in the published code, the blur runs over bands and rows instead of rows
            and columns (so it mixes bands), and the brightness and contrast steps also change the
            other quantity, by at most 0.2. False: without these two errors. Default: True.
        max_value: white; 1 for photographs scaled to [0, 1]. The published code always clips at 1,
            which would destroy reflectances; give 10000 for reflectances.
    """

    def __init__(
        self,
        prob: float = 0.5,
        weights: Sequence[float] = (0.1, 0.1, 0.1, 0.1, 1.0),
        published: bool = True,
        max_value: float = 1.0,
    ) -> None:
        if len(weights) != 5 or min(weights) < 0 or not sum(weights):
            raise ConfigError(
                'RandomPhotometricBands: `weights` needs five numbers >= 0 (blur, '
                f'brightness, contrast, gamma, all), not {list(weights)}.'
            )
        self.prob, self.weights = prob, np.asarray(weights) / np.sum(weights)
        self.published, self.max_value = published, max_value

    def transform(self, results: dict) -> dict:
        if np.random.rand() >= self.prob:
            return results
        steps = (self._blur, self._brightness, self._contrast, self._gamma)
        choice = np.random.choice(5, p=self.weights)
        # one plane per band, so all further steps run over contiguous memory
        img = np.array(results['img'].transpose(2, 0, 1), np.float32, order='C')
        for step in steps if choice == 4 else steps[choice : choice + 1]:
            img = step(img)
        results['img'] = img.transpose(1, 2, 0)
        return results

    def _blur(self, img):
        for axis in (0, 1) if self.published else (1, 2):
            img = _box3(img, axis)
        return img

    def _brightness(self, img):
        return self._shift_and_stretch(img, 0.1, 0.2 if self.published else 0.0)

    def _contrast(self, img):
        return self._shift_and_stretch(img, 0.2 if self.published else 0.0, 0.1)

    def _shift_and_stretch(self, img, brightness, contrast):
        stretch = 1 + np.random.uniform(-contrast, contrast)
        shift = np.random.uniform(-brightness, brightness) * self.max_value
        img *= np.float32(stretch)
        img += np.float32(shift)
        return np.clip(img, 0, self.max_value, out=img)

    def _gamma(self, img):
        gamma = np.random.uniform(0.9, 1.0)
        img /= self.max_value
        np.power(np.clip(img, 0, 1, out=img), np.float32(gamma), out=img)
        img *= self.max_value
        return img


def _box3(img, axis):
    """Returns the mean of three neighbours along an axis, mirrored about the edge element."""
    img = np.moveaxis(img, axis, 0)
    if len(img) == 1:
        return np.moveaxis((img + img + img) / 3, 0, axis)
    out = np.empty_like(img)
    np.add(img[:-2], img[1:-1], out=out[1:-1])
    out[1:-1] += img[2:]
    for edge, inner in ((0, 1), (-1, -2)):
        np.add(img[inner], img[edge], out=out[edge])
        out[edge] += img[inner]
    out /= 3
    return np.moveaxis(out, 0, axis)


@TRANSFORMS.register_module()
class RandomEraseBands(BaseTransform):
    """Fills a random rectangle of ``img``, in all bands.

    Args:
        prob: probability of the step; 0 in the published configs. Default: 0.
        area: share of the image's area. Default: (0.02, 0.4).
        min_aspect: the ratio of height to width is in [min_aspect, 1 / min_aspect].
            Default: 0.3.
        fill: value of the rectangle. Default: 0.
    """

    def __init__(
        self,
        prob: float = 0.0,
        area: tuple[float, float] = (0.02, 0.4),
        min_aspect: float = 0.3,
        fill: float = 0.0,
    ) -> None:
        self.prob, self.area, self.min_aspect, self.fill = prob, area, min_aspect, fill

    def transform(self, results: dict) -> dict:
        if np.random.rand() >= self.prob:
            return results
        height, width = results['img'].shape[:2]
        for _ in range(100):  # a rectangle that does not fit is drawn again
            area = np.random.uniform(*self.area) * height * width
            aspect = np.random.uniform(self.min_aspect, 1 / self.min_aspect)
            rows, cols = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
            if rows < height and cols < width:
                top = np.random.randint(height - rows + 1)
                left = np.random.randint(width - cols + 1)
                results['img'] = results['img'].copy()
                results['img'][top : top + rows, left : left + cols] = self.fill
                break
        return results


@TRANSFORMS.register_module()
class TorchvisionTransforms(BaseTransform):
    """Applies transforms of ``torchvision.transforms.v2`` to ``img``, as a (C, H, W) tensor.

    Args:
        ops: for each transform a dict with the class name in ``type`` and its arguments.

    Examples:
        >>> dict(type='TorchvisionTransforms', ops=[
        ...     dict(type='RandomGrayscale', p=0.2),
        ...     dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4)])
    """

    def __init__(self, ops: Sequence[dict]) -> None:
        from torchvision.transforms import v2

        built = []
        for op in map(dict, ops):
            name = op.pop('type', None)
            if not isinstance(name, str) or not hasattr(v2, name):
                raise ConfigError(
                    f'TorchvisionTransforms: type={name!r} is not a transform of '
                    'torchvision.transforms.v2.'
                )
            built.append(getattr(v2, name)(**op))
        self.ops = v2.Compose(built)

    def transform(self, results: dict) -> dict:
        import torch

        # a view with the bands last in memory, which torchvision resizes several times as fast
        img = torch.from_numpy(np.ascontiguousarray(results['img'])).permute(2, 0, 1)
        results['img'] = self.ops(img).permute(1, 2, 0).numpy()
        results['img_shape'] = results['img'].shape[:2]
        return results
