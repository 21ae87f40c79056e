"""Figures per band over several rasters, and config lines with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rs_mm.errors import DataError, RSMMError
from rs_mm.rasters import check_value_range, open_raster, stretch
from rs_mm.rasters.formats import is_image

PERCENTILES = (0.5, 2, 50, 98, 99.5)
_PIXELS = 4_000_000  # of a file; a larger one is read reduced
_SAMPLE = 4_000_000  # values of a band that percentiles are taken from, over all files


@dataclass
class BandStatistics:
    """Figures of rasters with equal bands.

    Attributes:
        files: number of files read.
        failed: (file, reason) of unreadable files.
        dtype: type of the pixels; several types are listed with a comma.
        pixels: counted pixels with data.
        valid_share: share of all pixels that hold data.
        low, high, mean, std: figures of each band, over the pixels with data.
        percentiles: percentage to a list with one value per band.
        names: names of the bands, if the files have them.
    """

    files: int
    failed: list[tuple[str, str]]
    dtype: str
    pixels: int
    valid_share: float
    low: list[float]
    high: list[float]
    mean: list[float]
    std: list[float]
    percentiles: dict[float, list[float]]
    names: list[str | None]


def band_statistics(
    files: Iterable[str | Path],
    bands: Sequence[int] | None = None,
    value_range: Sequence[float] | None = None,
) -> BandStatistics:
    """Computes mean, standard deviation and percentiles of each band, over all pixels with data.

    A file of more than 4 million pixels is read reduced, from its overviews if it has any.

    Args:
        files: rasters with the same number of bands.
        bands: bands to use, counted from 0. Default: all except alpha.
        value_range: (low, high) that first become 0 and 255, as with ``value_range`` of
            ``MultiImgLoadTiff``.

    Raises:
        DataError: the files differ in bands, or no pixel of any holds data.
        ConfigError: ``value_range`` is empty.
    """
    check_value_range(value_range)
    made, failed = _Moments(), []
    for path in files:
        try:
            with open_raster(path) as raster:
                height, width = raster.info.shape
                shrink = max(1.0, (height * width / _PIXELS) ** 0.5)
                size = None if shrink == 1 else (round(height / shrink), round(width / shrink))
                pixels, info = raster.read(bands, shape=size), raster.info
        except RSMMError as error:
            failed.append((str(path), str(error)))
            continue
        array = pixels.array if value_range is None else stretch(pixels.array, *value_range)
        made.add(array[pixels.valid], pixels.valid, info, bands, path)
    if not made.count:
        reason = f' ({failed[0][1]})' if failed else ''
        raise DataError(f'no pixel of {made.files + len(failed)} file(s) holds data{reason}.')
    return made.statistics(failed)


class _Moments:
    """Accumulates sums in float64, and an even sample of values."""

    def __init__(self):
        self.files = self.count = self.all = 0
        self.sum = self.squares = self.low = self.high = None
        self.sample, self.types, self.names = [], {}, []
        self.rng = np.random.default_rng(0)

    def add(self, values, valid, info, bands, path):
        count = values.shape[1]
        if self.sum is None:
            self.sum, self.squares = np.zeros(count), np.zeros(count)
            self.low, self.high = np.full(count, np.inf), np.full(count, -np.inf)
            self.names = _band_names(info, bands, count)
            self.shift = values.mean(axis=0, dtype=np.float64) if len(values) else np.zeros(count)
        if count != len(self.sum):
            raise DataError(
                f'{path} has {count} bands, but the files before it {len(self.sum)}; name `bands`, '
                'or look at them apart.'
            )
        self.files += 1
        self.all += valid.size
        self.types[str(values.dtype)] = True
        if not len(values):
            return
        self.count += len(values)
        far = values.astype(np.float64) - self.shift  # values near 0, so squares keep their digits
        self.sum += far.sum(axis=0)
        self.squares += (far**2).sum(axis=0)
        self.low = np.minimum(self.low, values.min(axis=0))
        self.high = np.maximum(self.high, values.max(axis=0))
        keep = min(1.0, _SAMPLE / 8 / len(values))
        self.sample.append(values[self.rng.random(len(values)) < keep].astype(np.float32))
        if sum(map(len, self.sample)) > _SAMPLE:
            self.sample = [part[::2] for part in self.sample]

    def statistics(self, failed):
        mean = self.sum / self.count
        sample = np.concatenate(self.sample)
        values = np.percentile(sample, PERCENTILES, axis=0)
        return BandStatistics(
            files=self.files,
            failed=failed,
            dtype=', '.join(self.types),
            pixels=self.count,
            valid_share=self.count / self.all,
            low=self.low.tolist(),
            high=self.high.tolist(),
            mean=(mean + self.shift).tolist(),
            std=np.sqrt(np.maximum(self.squares / self.count - mean**2, 0)).tolist(),
            percentiles={p: row.tolist() for p, row in zip(PERCENTILES, values)},
            names=self.names,
        )


def _band_names(info, bands, count):
    names = list(info.descriptions or [])
    chosen = [b for b in range(len(names)) if b != info.alpha] if bands is None else list(bands)
    found = [names[b] if b < len(names) else None for b in chosen]
    return found if len(found) == count else [None] * count


def image_files(paths: Sequence[str | Path], pattern: str = '*') -> list[Path]:
    """Returns given files, and the images in given folders and their subfolders, sorted.

    Raises:
        DataError: a path does not exist, or a folder holds no image.
    """
    found = []
    for path in map(Path, paths):
        inside = [path] if path.is_file() else sorted(p for p in path.rglob(pattern) if is_image(p))
        if not inside:
            raise DataError(f'{path} does not exist, or holds no image.')
        found += inside
    return found


def config_lines(found: BandStatistics, value_range: Sequence[float] | None = None) -> str:
    """Returns lines to paste into a change detection config: loader and normalisation."""
    count = len(found.mean)
    colour = count == 3 and found.dtype == 'uint8' and value_range is None
    mean, std = (
        '[' + ', '.join(f'{value:.6g}' for value in values) + ']'
        for values in (found.mean, [max(value, 1e-6) for value in found.std])
    )
    lines = [f'model = dict(data_preprocessor=dict(mean={mean} * 2, std={std} * 2']
    lines[0] += f', bgr_to_rgb={colour}))'
    if count != 3:
        lines.append(f'# model.backbone_inchannels and backbone.in_channels: {count}')
    if not colour:
        given = (
            '' if value_range is None else f', value_range=({value_range[0]:g}, {value_range[1]:g})'
        )
        lines.append(f"load = dict(type='MultiImgLoadTiff'{given})  # first step of the pipelines")
    return '\n'.join(lines)


def format_statistics(found: BandStatistics) -> str:
    """Returns a table with a line per band."""
    from prettytable import PrettyTable

    table = PrettyTable(
        ['band', 'name', 'min', 'mean', 'std', 'max', *(f'{p:g} %' for p in PERCENTILES)]
    )
    for band in range(len(found.mean)):
        row = [found.low[band], found.mean[band], found.std[band], found.high[band]]
        row += [found.percentiles[p][band] for p in PERCENTILES]
        table.add_row([band, found.names[band] or '', *(f'{value:.6g}' for value in row)])
    head = (
        f'{found.files} file(s) of {found.dtype}, {found.pixels:,} pixels counted, '
        f'{found.valid_share:.1%} of the pixels hold data'
    )
    lines = [head, table.get_string()]
    lines += [f'  NOT READ: {reason}' for _, reason in found.failed[:20]]
    return '\n'.join(lines)


def as_json(found: BandStatistics) -> dict[str, Any]:
    """Returns the figures in JSON types."""
    return vars(found) | dict(percentiles={f'{p:g}': v for p, v in found.percentiles.items()})
