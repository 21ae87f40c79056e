"""The loading step of a change detection config, applied to windows instead of files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rs_mm.errors import ConfigError, DataError
from rs_mm.rasters import (
    AlignedPair,
    Pixels,
    Raster,
    check_value_range,
    common_valid,
    stretch,
    stretch_limits,
)

_SAMPLE = 1_000_000  # pixels of a scene from which the stretch and the fill value are computed
_COLOUR, _BANDS = 'MultiImgLoadImageFromFile', 'MultiImgLoadTiff'


class PairLoading:
    """Reads windows of an aligned pair as the config's loader reads files; one object per pair.

    Pixels without data at either date get the mean of the scene at both dates.

    Args:
        step: config of the loading transform, e.g. ``dict(type='MultiImgLoadTiff', bands=...)``.
        bands: replaces the bands that the loader takes.
        value_range: replaces the range of the loader; these values become 0 and 255.

    Raises:
        ConfigError: ``value_range`` is empty.
    """

    def __init__(
        self,
        step: dict[str, Any],
        bands: Sequence[int] | None = None,
        value_range: Sequence[float] | None = None,
    ) -> None:
        check_value_range(value_range)
        self.step, self.kind = dict(step), step['type'].rpartition('.')[2]
        own = self.step if self.kind == _BANDS else {}
        self.bands = own.get('bands') if bands is None else list(bands)
        self.value_range = own.get('value_range') if value_range is None else tuple(value_range)
        if self.kind == _COLOUR and self.bands is not None and len(self.bands) != 3:
            raise ConfigError(
                f'the config loads colour images ({_COLOUR}), which have 3 bands, but '
                f'{len(self.bands)} were named; a model of other bands is trained with {_BANDS}.'
            )
        self.whole = self.kind not in (_COLOUR, _BANDS)
        if self.whole and (bands is not None or value_range is not None):
            raise ConfigError(
                f'the config loads images by {self.kind}, whose bands and values are its own; '
                'bands and value_range cannot be set beside it.'
            )
        self._limits = self._fill = self._loaded = None

    def choose_bands(self, first: Raster, second: Raster) -> None:
        """Chooses the bands to read if neither config nor user names them."""
        if self.bands is None and self.kind == _COLOUR:
            enough = min(first.info.bands, second.info.bands) >= 3
            self.bands = [0, 1, 2] if enough else [0, 0, 0]

    def fit(self, pair: AlignedPair, paths: Sequence[str | None]) -> None:
        """Reads the scene once, reduced, for its stretch, its mean, and valid pixels.

        Raises:
            DataError: no pixel holds data at both dates, or a date lacks a band.
        """
        if self.whole:
            self._load_whole(pair, paths)
        height, width = pair.grid.shape
        shrink = max(1.0, (height * width / _SAMPLE) ** 0.5)
        size = max(1, round(height / shrink)), max(1, round(width / shrink))
        sample = self._read(pair, None, None if shrink == 1 else size)
        valid = common_valid(sample)
        if not valid.any():
            # a reduced image may miss valid pixels; the scene run counts every pixel
            if shrink == 1:
                raise DataError(_nothing_valid(pair, sample))
            self._fill = None
            return
        arrays = [found.array for found in sample]
        deep = any(array.dtype != np.uint8 for array in arrays)
        if self.kind == _COLOUR and deep and self.value_range is None:
            # one stretch for both dates, so a change of brightness between them stays visible
            self._limits = stretch_limits(arrays, [valid, valid])
        loaded = [self._values(array)[valid] for array in arrays]
        self._fill = np.concatenate(loaded).mean(axis=0)

    def read(self, pair: AlignedPair, rows: slice, columns: slice) -> tuple[list, np.ndarray]:
        """Returns both dates of a window as the loader reads them, and a mask of common data."""
        found = self._read(pair, (rows, columns), None)
        return self._filled(found)

    def preview(
        self,
        pair: AlignedPair,
        shape: tuple[int, int] | None,
        window: tuple[slice, slice] | None = None,
    ) -> tuple[list, np.ndarray]:
        """Returns both dates, reduced or a window, as uint8 RGB for display, and a mask of common
        data."""
        found = self._read(pair, window, shape)
        images, valid = self._filled(found)
        shown = [image[..., _shown_bands(image.shape[2])] for image in images]
        if any(image.dtype != np.uint8 for image in shown) and valid.any():
            limits = stretch_limits(shown, [valid, valid])
            shown = [stretch(image, *limits) for image in shown]
        return [np.ascontiguousarray(image.astype(np.uint8)) for image in shown], valid

    def describe(self) -> str | None:
        """Describes the change of values for the user; None if there was none."""
        if self._limits is None:
            return None
        low, high = ('/'.join(f'{v:.5g}' for v in limits) for limits in self._limits)
        return f'values from {low} to {high} were stretched to 0 to 255'

    def _filled(self, found):
        valid = common_valid(found)
        images = [self._values(pixels.array) for pixels in found]
        if not valid.all() and self._fill is not None:
            for image in images:
                image[~valid] = (
                    np.rint(self._fill) if image.dtype == np.uint8 else self._fill
                ).astype(image.dtype)
        return images, valid

    def _values(self, array):
        """Returns a copy of pixels as the loader of the config would read them from a file."""
        if self.whole:
            return array.copy()
        if self.value_range is not None:
            array = stretch(array, *self.value_range)
        elif self._limits is not None:
            array = stretch(array, *self._limits)
        elif array.dtype == np.uint8:
            array = array.copy()
        elif self.kind == _BANDS:
            array = array.astype(np.float32)
        if self.kind == _COLOUR:
            array = array[..., ::-1]  # BGR, as mmcv decodes
            array = array.astype(np.float32) if self.step.get('to_float32') else array
        return np.ascontiguousarray(array)

    def _read(self, pair, window, shape):
        if self._loaded is None:
            return pair.read(self.bands, window, shape)
        rows, columns = window or (slice(None), slice(None))
        if shape is not None:
            rows, columns = np.ix_(
                *(
                    ((np.arange(n) + 0.5) * total / n).astype(int)
                    for n, total in zip(shape, pair.grid.shape)
                )
            )
        return [Pixels(p.array[rows, columns], p.valid[rows, columns]) for p in self._loaded]

    def _load_whole(self, pair, paths):
        """Loads the whole pair with a user-defined loader, which reads only files."""
        from rs_mm.registry import TRANSFORMS

        if None in paths:
            raise ConfigError(
                f'the config loads images by {self.kind}, which reads files: give paths instead '
                'of arrays.'
            )
        images = TRANSFORMS.build(self.step).transform(dict(img_path=[str(p) for p in paths]))[
            'img'
        ]
        shape = pair.grid.shape
        if any(image.shape[:2] != shape for image in images):
            raise DataError(
                f'{self.kind} gives images of {images[0].shape[:2]} and {images[1].shape[:2]} '
                f'pixels, but the dates share {shape}: it can only be used for dates on one grid.'
            )
        images = [image[..., None] if image.ndim == 2 else image for image in images]
        masks = [found.valid for found in pair.read()]
        self._loaded = [
            Pixels(image, mask & np.isfinite(image).all(axis=2))
            for image, mask in zip(images, masks)
        ]


def _shown_bands(count):
    """Returns red, green, blue: three bands are loaded as B, G, R, more bands in file order."""
    return [2, 1, 0] if count == 3 else [0, 1, 2] if count > 3 else [0, 0, 0]


def _nothing_valid(pair, sample):
    for number, found in enumerate(sample, 1):
        if not found.valid.any():
            where = '' if number == 1 else ' on the ground of date 1'
            return (
                f'date {number} holds no data{where}: all its pixels are nodata, NaN or infinite.'
            )
    return 'the dates have no pixel in common that holds data at both.'
