"""Few-shot segmentation with exported networks: supports are encoded once, then compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rs_mm.errors import ConfigError, DataError
from rs_mm.rasters import Grid, Layer, describe, open_raster, write_raster

from .images import prepare
from .model import ExportedModel


class FewShotRunner:
    """A runner that finds the class of the supports in images.

    Args:
        model: an export of the task ``few_shot``; it may hold supports already.
    """

    def __init__(self, model: ExportedModel) -> None:
        self.model = model
        self._names = list(model.info['graphs']['support']['outputs'])
        self._supports: dict[str, np.ndarray] | None = None
        if model.info.get('supports'):
            self._supports = {name: model.array(name) for name in self._names}

    def fit(self, images: Sequence[str | Path], masks: Sequence[str | Path]) -> FewShotRunner:
        """Encodes supports: images and masks of equal size, non-zero for the class.

        Raises:
            DataError: the numbers differ, or a mask is empty or has another size than its image.
        """
        if not images or len(images) != len(masks):
            raise DataError(f'{len(images)} supports need as many masks, but {len(masks)} came.')
        height, width = self.model.info['size']
        prepared, labels = [], []
        for image, mask in zip(images, masks):
            with open_raster(mask) as raster:
                values = raster.read(stored=raster.info.colour != 'white_is_zero').array
            if values.shape[:2] != describe(image).shape:
                raise DataError(f'{mask} has another size than its image {image}.')
            prepared.append(prepare(image, self.model.info['steps']))
            label = _nearest(values.any(2), (height, width)).astype(np.float32)
            if not label.any():
                raise DataError(f'{mask} shows nothing at {width} x {height} pixels.')
            labels.append(label)
        found = self.model.run('support', image=np.stack(prepared), mask=np.stack(labels))
        self._supports = dict(zip(self._names, found))
        return self

    def logits(self, image: str | Path | np.ndarray) -> np.ndarray:
        """Computes the logits for each support, (K, 2, h, w) at the size of the network.

        Raises:
            ConfigError: there are no supports.
        """
        if self._supports is None:
            raise ConfigError(
                'there are no supports: give --support IMAGE MASK, or export the model with some.'
            )
        query = prepare(image, self.model.info['steps'])[None]
        found = self.model.run('model', query=query, **self._supports)[0]
        if not np.isfinite(found).all():
            raise DataError('the prediction is NaN or infinite; is the exported model damaged?')
        return found

    def __call__(self, image: str | Path | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Computes the mask by a vote of the supports and the mean probability, at the network's
        size.

        Returns:
            (h, w) uint8 of 0 and 1, and (h, w) float32.
        """
        logits = self.logits(image)
        votes = logits.argmax(1).sum(0).astype(np.float32)
        # the published vote: shares of the largest count, in float32, because 2 / 5 must reach 0.4
        mask = votes / max(votes.max(), 1) >= np.float32(self.model.info['vote_threshold'])
        shares = np.exp(logits - logits.max(1, keepdims=True))
        probability = (shares[:, 1] / shares.sum(1)).mean(0)
        return mask.astype(np.uint8), probability.astype(np.float32)

    def files(self, image: str | Path, out: str | Path) -> list[Path]:
        """Writes ``NAME_mask.png`` (``.tif`` with a georeference): 255 where the class was found.

        The mask has the size of the image.
        """
        mask, _ = self(image)
        info = describe(image)
        mask = _nearest(mask, info.shape) * np.uint8(255)
        Path(out).mkdir(parents=True, exist_ok=True)
        placed = info.georeferenced
        path = Path(out) / f'{Path(image).stem}_mask.{"tif" if placed else "png"}'
        layer = Layer('uint8', name='found')
        write_raster(path, Grid.of(info), [(0, mask)], layer, 'GTiff' if placed else 'PNG')
        return [path]


def _nearest(array, size):
    """Resizes by the pixel at floor(i * old / new), as torch's ``nearest`` does."""
    rows, columns = (
        np.floor(np.arange(new) * (np.float32(old) / np.float32(new))).astype(int)
        for old, new in zip(array.shape, size)
    )
    return array[np.ix_(rows, columns)]
