"""Change maps of two files of any size, on the grid of date 1; resumable."""

from __future__ import annotations

import datetime
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from rs_mm.apis.change.detector import ChangeDetector, ChangeScene
from rs_mm.apis.change.outputs import (
    IGNORED,
    OutputOptions,
    Summary,
    bytes_needed,
    output_paths,
    write_maps,
)
from rs_mm.errors import ConfigError, DataError
from rs_mm.rasters import Scratch, check_free_space, check_writable, open_raster, rasterio_or_raise
from rs_mm.rasters.polygon_files import check_polygon_file
from rs_mm.rasters.scene import Times
from rs_mm.rasters.scratch import system_errors
from rs_mm.version import __version__
from rs_mm.visualization.change_quicklook import MaskPreview, draw_quicklook, preview_shape
from rs_mm.visualization.sheet import save_sheet


@dataclass
class PairResult:
    """The result of :func:`predict_files`.

    Attributes:
        written: the files, mask first.
        summary: shares and area.
        notes: remarks for the user about the pair.
        seconds: total time.
        times: seconds by kind of work.
    """

    written: list[Path]
    summary: Summary
    notes: list[str]
    seconds: float
    times: Times

    def row(self) -> dict:
        """Returns the figures for a table; empty if there are none."""
        found = self.summary
        return dict(
            changed_share=f'{found.changed_share:.6f}',
            changed_area_m2=''
            if np.isnan(found.changed_area_m2)
            else f'{found.changed_area_m2:.1f}',
            valid_share=f'{found.valid_share:.6f}',
            seconds=f'{self.seconds:.1f}',
        )


def predict_files(
    detector: ChangeDetector,
    image1: str | Path,
    image2: str | Path,
    out: str | Path,
    bands: Sequence[int] | None = None,
    value_range: Sequence[float] | None = None,
    align: str = 'none',
    options: OutputOptions | None = None,
    stem: str | None = None,
    resume: bool = False,
    progress: bool = False,
) -> PairResult:
    """Predicts a pair of files and writes the mask, a picture, and optional outputs.

    Args:
        detector: the model.
        image1, image2: dates 1 and 2, of any format that GDAL reads.
        out: folder to write into.
        bands, value_range, align: see :meth:`ChangeDetector.__call__`.
        options: outputs besides mask and picture.
        stem: start of the file names, possibly with folders. Default: the stems of the dates.
        resume: continue a stopped run with its remaining tiles.
        progress: print the progress on standard error.

    Returns:
        ``STEM_change.tif`` (``.png`` for a plain picture without georeference): 0
        unchanged, 255 changed, 127 no data; with more than two classes, class indices and 255 for
        no data. ``STEM_picture.png``, and optionally ``STEM_probability.tif`` and polygons.
        GeoTIFFs are on the grid of date 1.

    Raises:
        DataError: the images do not show the same ground, hold no common data, or a file cannot
            be read or written.
        ConfigError: ``out`` is not a folder, or an output needs a missing package.
    """
    start, options = time.perf_counter(), options or OutputOptions()
    check_writable(out)
    rasterio_or_raise('writing change maps')
    image1, image2 = Path(image1), Path(image2)
    stem = Path(out) / (stem or pair_stem(image1, image2))
    with open_raster(image1) as first, open_raster(image2) as second:
        paths = output_paths(stem, image1, first.info.georeferenced, options)
        if 'polygons' in paths:
            check_polygon_file(paths['polygons'])
        check_free_space(stem.parent, bytes_needed(first.info.shape, options), 'the map')
        scratch = Scratch(
            stem.with_name(f'.{stem.name}.unfinished'),
            identity(detector, image1, image2, bands, value_range, align),
            resume,
        )
        keep = False
        try:
            made = detector.scene(
                first, second, [image1, image2], bands, value_range, align, scratch, progress
            )
            keep = len(made.scene.tiling) > 1
            try:
                summary = _run_and_write(detector, made, paths, options, (image1, image2))
            finally:
                made.pair.close()
        except (DataError, ConfigError) as error:
            if keep and any(scratch.folder.glob('done_*')):
                raise type(error)(
                    f'{error} The finished tiles are kept in {scratch.folder}; --resume continues.'
                ) from error
            scratch.remove()
            raise
        scratch.remove()
    notes = [*made.pair.notes, *filter(None, [made.loading.describe()])]
    return PairResult(
        list(paths.values()), summary, notes, time.perf_counter() - start, made.scene.times
    )


def pair_stem(image1: Path, image2: Path) -> str:
    """Returns the stems of the dates, once if they are equal."""
    return '_'.join(dict.fromkeys((image1.stem, image2.stem)))


def identity(
    detector: ChangeDetector,
    image1: Path,
    image2: Path,
    bands: Sequence[int] | None,
    value_range: Sequence[float] | None,
    align: str,
) -> dict:
    """Returns what the numbers of a map depend on: inputs, model and options."""
    return dict(
        dates=[_file_identity(path) for path in (image1, image2)],
        checkpoint=checkpoint_digest(detector.checkpoint),
        config=hashlib.sha256(repr(detector.cfg.to_dict()).encode()).hexdigest()[:16],
        bands=None if bands is None else list(bands),
        value_range=None if value_range is None else list(value_range),
        align=align,
        resize=detector.resize,
        tile=detector.tile,
        overlap=detector.overlap,
        batch=detector.batch,
        threshold=detector.threshold,
        device=str(detector.device).partition(':')[0],
        rs_mm=__version__,
    )


def _file_identity(path):
    stat = path.stat()
    return [str(path.resolve()), stat.st_size, stat.st_mtime_ns]


@lru_cache
def checkpoint_digest(path: str | Path | None) -> str | None:
    """Returns the SHA-256 of a checkpoint file; None without a checkpoint, or for a URL."""
    if path is None or not Path(path).is_file():
        return None if path is None else str(path)
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _run_and_write(detector, made: ChangeScene, paths, options, images):
    made.scene.run()
    start = time.perf_counter()
    paths['mask'].parent.mkdir(parents=True, exist_ok=True)
    tags = _tags(detector, images)
    grid, scene = made.pair.grid, made.scene
    summary = write_maps(paths, scene, grid, detector.classes, detector.palette, tags, options)
    picture = _picture(detector, made, summary, images)
    with system_errors(paths['picture']):
        save_sheet(paths['picture'], picture)
    scene.times.writing += time.perf_counter() - start
    return summary


def _tags(detector, images):
    now = datetime.datetime.now(datetime.timezone.utc)
    return dict(
        TIFFTAG_SOFTWARE=f'rs_mm {__version__}',
        MODEL=type(detector.model).__name__,
        CONFIG=detector.name,
        CHECKPOINT=Path(detector.checkpoint).name if detector.checkpoint else 'none',
        CHECKPOINT_SHA256=checkpoint_digest(detector.checkpoint) or 'none',
        DATE_1=images[0].name,
        DATE_2=images[1].name,
        THRESHOLD='most probable class' if detector.threshold is None else str(detector.threshold),
        PREDICTED=now.isoformat(timespec='seconds'),
    )


def _picture(detector, made, summary, images):
    grid, scene = made.pair.grid, made.scene
    small = preview_shape(*grid.shape)
    preview = MaskPreview(grid.shape, small)
    for first, rows in scene.strips('mask'):
        preview.add(first, rows)
    dates, valid = made.loading.preview(made.pair, small)
    preview.mask[~valid & (preview.mask == 0)] = IGNORED

    def window(rows, columns):
        shown, _ = made.loading.preview(made.pair, None, (rows, columns))
        return shown, _mask_window(scene, rows, columns)

    share = f'{summary.changed_share:.1%} changed'
    if not np.isnan(summary.changed_area_m2):
        share += f', {summary.changed_area_m2 / 1e4:,.1f} ha'
    return draw_quicklook(
        pair_stem(*images),
        dates,
        preview.mask,
        detector.classes,
        detector.palette,
        f'prediction over date 2\n{share}',
        grid,
        summary.largest,
        window,
    )


def _mask_window(scene, rows, columns):
    parts = []
    for strip, (first, last) in enumerate(scene.tiling.strips()):
        top, bottom = max(rows.start, first), min(rows.stop, last)
        if top < bottom:
            found = scene.strip('mask', strip)
            parts.append(found[top - first : bottom - first, columns])
    return np.concatenate(parts)
