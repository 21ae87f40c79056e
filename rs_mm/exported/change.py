"""Change detection with an exported network, in blended tiles like ``tools/predict_change.py``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rs_mm.errors import ConfigError, DataError
from rs_mm.rasters import (
    AlignedPair,
    Layer,
    SceneRun,
    Scratch,
    Tiling,
    align_pair,
    check_writable,
    common_valid,
    open_raster,
    stretch,
    stretch_limits,
    write_raster,
)

from .model import ExportedModel

UNCHANGED, CHANGED, NODATA = 0, 255, 127
_SAMPLE = 1_000_000  # pixels of a scene from which the stretch is computed
_PICTURES = ('.png', '.jpg', '.jpeg', '.bmp')


class ChangeRunner:
    """A runner that finds changes between two rasters of any size.

    Args:
        model: an export of the task ``change``.
    """

    def __init__(self, model: ExportedModel) -> None:
        self.model = model
        info = model.info
        self.tile: tuple[int, int] = tuple(info['tile'])
        self.stride: tuple[int, int] = tuple(info['stride'])
        self.divisor: int = info['divisor']
        self.mean = np.asarray(info['mean'], np.float32)[:, None, None]
        self.std = np.asarray(info['std'], np.float32)[:, None, None]

    def predict(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Computes the logits of one pair, averaged over overlapping windows of the exported size.

        Args:
            images: two (H, W, C) arrays in the value range of the model, RGB.

        Returns:
            (classes, H, W) float32.
        """
        pair = [
            (image.transpose(2, 0, 1).astype(np.float32) - self.mean) / self.std for image in images
        ]
        stacked = np.concatenate(pair)
        height, width = stacked.shape[1:]
        # pads at the right and bottom like the model's preprocessor, up to one window
        padded = [
            max(tile, -(-length // self.divisor) * self.divisor)
            for tile, length in zip(self.tile, (height, width))
        ]
        stacked = np.pad(stacked, ((0, 0), (0, padded[0] - height), (0, padded[1] - width)))
        total, count = None, np.zeros(padded, np.float32)
        for top in _starts(padded[0], self.tile[0], self.stride[0]):
            for left in _starts(padded[1], self.tile[1], self.stride[1]):
                at = (slice(top, top + self.tile[0]), slice(left, left + self.tile[1]))
                found = self.model.run('model', pair=stacked[(None, slice(None), *at)])[0][0]
                if total is None:
                    total = np.zeros((len(found), *padded), np.float32)
                total[(slice(None), *at)] += found
                count[at] += 1
        return (total / count)[:, :height, :width]

    def files(
        self,
        image1: str | Path,
        image2: str | Path,
        out: str | Path,
        stem: str | None = None,
        align: str = 'none',
        bands: Sequence[int] | None = None,
        value_range: Sequence[float] | None = None,
        tile: int = 1024,
        overlap: int = 256,
        probability: bool = False,
    ) -> list[Path]:
        """Predicts a pair of files and writes the mask on the grid of date 1.

        Args:
            image1, image2: dates 1 and 2, of any format that GDAL reads.
            out: folder to write into.
            stem: start of the file names. Default: the stems of the dates.
            align: see :func:`rs_mm.rasters.align_pair`.
            bands: 0-based bands for red, green, blue. Default: the first three, or the only band.
            value_range: (low, high) that become black and white. Default: 8-bit values are
                unchanged, others are stretched from the 2nd to the 98th percentile of both dates.
            tile, overlap: size and overlap of the blended tiles.
            probability: also write the probability of change, float32, -1 without data.

        Returns:
            ``STEM_change.tif`` (``.png`` for a picture without georeference): 0 unchanged, 255
            changed, 127 no data (with more than two classes: class numbers, 255 no data); and
            optionally ``STEM_probability.tif``.

        Raises:
            MissingFileError, DataError: the dates cannot be read or compared, or no pixel has data.
        """
        check_writable(out)
        image1, image2 = Path(image1), Path(image2)
        stem = stem or '_'.join(dict.fromkeys((image1.stem, image2.stem)))
        with open_raster(image1) as first, open_raster(image2) as second:
            if bands is None:
                few = min(raster.info.bands for raster in (first, second)) < 3
                bands = [0, 0, 0] if few else [0, 1, 2]
            plain = image1.suffix.lower() in _PICTURES and not first.info.georeferenced
            pair = align_pair(first, second, align, list(bands))
            try:
                pixels = PairPixels(pair, list(bands), value_range)
                size = (tile, overlap)
                return self._scene(pixels, size, Path(out), stem, plain, probability)
            finally:
                pair.close()

    def _scene(self, pixels, size, out, stem, plain, probability):
        grid = pixels.pair.grid
        scratch = Scratch(out / f'.{stem}.unfinished', {})
        run = SceneRun(
            Tiling(grid.height, grid.width, *size),
            pixels.read,
            lambda tiles: [self._probabilities(images) for images in tiles],
            self._reduce,
            scratch,
        )
        try:
            run.run()
            return self._write(run, grid, out, stem, plain, probability)
        finally:
            scratch.remove()

    def _probabilities(self, images):
        logits = self.predict(images)
        if not np.isfinite(logits).all():
            raise DataError('the prediction is NaN or infinite; is the exported model damaged?')
        if len(logits) == 1:
            return 1 / (1 + np.exp(-logits))
        shares = np.exp(logits - logits.max(0))
        shares /= shares.sum(0)
        if len(logits) > 2:
            return shares
        changed, found = 1 - shares[0], logits.argmax(0) > 0
        # almost equal logits have a larger one, but their probabilities both round to one half
        changed[found & (changed <= 0.5)] = np.nextafter(np.float32(0.5), np.float32(1))
        changed[~found & (changed > 0.5)] = 0.5
        return changed[None]

    def _reduce(self, blended):
        known = ~np.isnan(blended[0])
        if len(blended) == 1:
            changed = blended[0]
            mask = np.where(changed > self.model.info.get('threshold', 0.5), CHANGED, UNCHANGED)
            mask[~known] = NODATA
        else:
            changed, mask = 1 - blended[0], np.where(known, blended.argmax(0), 255)
        return dict(mask=mask.astype(np.uint8), probability=changed.astype(np.float32))

    def _write(self, run, grid, out, stem, plain, probability):
        out.mkdir(parents=True, exist_ok=True)
        nodata = NODATA if len(self.model.classes) <= 2 else 255
        layer = Layer('uint8', nodata, 'change', classes=dict(enumerate(self.model.classes)))
        paths = [out / f'{stem}_change.{"png" if plain else "tif"}']
        write_raster(paths[0], grid, run.strips('mask'), layer, 'PNG' if plain else 'GTiff')
        if probability:
            paths.append(out / f'{stem}_probability.tif')
            strips = (
                (first, np.where(np.isnan(rows), np.float32(-1), rows))
                for first, rows in run.strips('probability')
            )
            layer = Layer('float32', -1.0, 'probability of change', average=True)
            write_raster(paths[-1], grid, strips, layer)
        return paths


class PairPixels:
    """A reader of windows of two aligned dates in 8 bits; pixels without data get the scene's mean.

    Args:
        pair: result of :func:`rs_mm.rasters.align_pair`.
        bands: 0-based bands that are read.
        value_range: (low, high) that become 0 and 255. Default: 8-bit values as they are, others
            from the 2nd to the 98th percentile of both dates together.

    Raises:
        DataError: no pixel holds data at both dates.
    """

    def __init__(
        self, pair: AlignedPair, bands: list[int], value_range: Sequence[float] | None
    ) -> None:
        self.pair, self.bands, self._limits, self._fill = pair, bands, value_range, None
        height, width = pair.grid.shape
        shrink = max(1.0, (height * width / _SAMPLE) ** 0.5)
        size = max(1, round(height / shrink)), max(1, round(width / shrink))
        found = pair.read(bands, None, None if shrink == 1 else size)
        valid = common_valid(found)
        if not valid.any():
            if shrink == 1:
                raise DataError('the dates have no pixel in common that holds data at both.')
            return
        arrays = [pixels.array for pixels in found]
        if value_range is None and any(array.dtype != np.uint8 for array in arrays):
            self._limits = stretch_limits(arrays, [valid, valid])
        self._fill = np.concatenate([self._values(array)[valid] for array in arrays]).mean(axis=0)

    def read(self, rows: slice, columns: slice) -> tuple[list[np.ndarray], np.ndarray]:
        """Reads both dates of a window, (h, w, 3) uint8 RGB, and a mask of common data."""
        found = self.pair.read(self.bands, (rows, columns))
        valid = common_valid(found)
        images = [self._values(pixels.array) for pixels in found]
        if not valid.all() and self._fill is not None:
            for image in images:
                image[~valid] = np.rint(self._fill).astype(np.uint8)
        return images, valid

    def _values(self, array):
        return array.copy() if self._limits is None else stretch(array, *self._limits)


def find_pairs(first: str | Path, second: str | Path) -> list[tuple[Path, Path]]:
    """Finds the pair of two files, or the files with equal names in two folders.

    Raises:
        ConfigError: one is a folder and the other a file.
        DataError: no names are equal.
    """
    first, second = Path(first), Path(second)
    if first.is_dir() != second.is_dir():
        raise ConfigError(f'{first} and {second}: give two files or two folders.')
    if not first.is_dir():
        return [(first, second)]
    names = sorted(p.name for p in first.iterdir() if p.is_file() and (second / p.name).is_file())
    if not names:
        raise DataError(f'{first} and {second} hold no files with equal names.')
    return [(first / name, second / name) for name in names]


def _starts(length, tile, stride):
    if length <= tile:
        return [0]
    return [*range(0, length - tile, stride), length - tile]
