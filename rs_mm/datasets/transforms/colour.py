"""Random colour changes of RGB images like torchvision's, but several times as fast."""

from __future__ import annotations

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from rs_mm.errors import ConfigError, DataError
from rs_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomColour(BaseTransform):
    """Turns ``img`` grey at random, then jitters brightness, contrast, saturation and hue.

    The transform equals torchvision's ``RandomGrayscale`` and ``ColorJitter`` on an 8-bit image,
    computed with OpenCV: the four changes have a random order, each by a factor from [1 - x, 1 +
    x], the hue by a shift from [-x, x] of the full circle. Results differ from torchvision's by a
    few grey levels, from rounding. Draws come from ``np.random``.

    Args:
        grey: probability of a grey image.
        brightness, contrast, saturation: half width x of the factor's range, in [0, 1].
        hue: half width of the shift's range, in [0, 0.5].
    """

    def __init__(
        self,
        grey: float = 0.2,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.4,
    ) -> None:
        for name, value, top in (
            ('grey', grey, 1),
            ('brightness', brightness, 1),
            ('contrast', contrast, 1),
            ('saturation', saturation, 1),
            ('hue', hue, 0.5),
        ):
            if not 0 <= value <= top:
                raise ConfigError(f'RandomColour: `{name}` must lie in [0, {top}], not {value}.')
        self.grey = grey
        self.changes = [
            (change, amount)
            for change, amount in (
                (change_brightness, brightness),
                (change_contrast, contrast),
                (change_saturation, saturation),
                (change_hue, hue),
            )
            if amount
        ]

    def transform(self, results: dict) -> dict:
        img = np.ascontiguousarray(results['img'])
        if img.dtype != np.uint8 or img.shape[2] != 3:
            raise DataError(
                f'{results.get("img_path", "an image")}: RandomColour is for 8-bit RGB '
                f'images, not for {img.dtype} with {img.shape[2]} bands.'
            )
        if np.random.rand() < self.grey:
            img = cv2.merge([cv2.cvtColor(img, cv2.COLOR_RGB2GRAY)] * 3)
        for index in np.random.permutation(len(self.changes)):
            change, amount = self.changes[index]
            centre = 0 if change is change_hue else 1
            img = change(img, np.random.uniform(centre - amount, centre + amount))
        results['img'] = img
        return results


def change_brightness(img: np.ndarray, factor: float) -> np.ndarray:
    """Multiplies every value."""
    return cv2.LUT(img, _clip(_VALUES * factor))


def change_contrast(img: np.ndarray, factor: float) -> np.ndarray:
    """Blends with the mean grey level: 0 gives a uniform image, 1 the image itself."""
    mean = int(cv2.cvtColor(img, cv2.COLOR_RGB2GRAY).mean() + 0.5)
    return cv2.LUT(img, _clip(_VALUES * factor + mean * (1 - factor)))


def change_saturation(img: np.ndarray, factor: float) -> np.ndarray:
    """Blends with the grey image."""
    grey = cv2.merge([cv2.cvtColor(img, cv2.COLOR_RGB2GRAY)] * 3)
    return cv2.addWeighted(img, factor, grey, 1 - factor, 0)


def change_hue(img: np.ndarray, shift: float) -> np.ndarray:
    """Turns the hue by ``shift`` of the full circle."""
    hsv = cv2.cvtColor(img, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(int(shift * 255) % 256)  # wraps round
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


_VALUES = np.arange(256, dtype=np.float32)


def _clip(values):
    return values.clip(0, 255).astype(np.uint8)
