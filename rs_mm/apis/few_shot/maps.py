"""Writing georeferenced masks, probabilities and polygons, strip by strip."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rs_mm.rasters import Grid, Layer, pixel_areas, regions, write_polygons, write_raster

_COLOURS = {0: (0, 0, 0), 1: (255, 60, 60)}
Strips = Callable[[], Iterable[tuple[int, np.ndarray, np.ndarray]]]


@dataclass
class MapFiles:
    """The files of an image, and figures.

    Attributes:
        paths: the files.
        pixels: pixels of the class.
        known: pixels with data.
        area_m2: area of the class in square metres; NaN without georeference.
        score: mean probability of the class; 0 if it was not found.
    """

    paths: list[Path]
    pixels: int
    known: int
    area_m2: float
    score: float


def write_maps(
    stem: Path,
    grid: Grid,
    strips: Strips,
    class_name: str,
    tags: dict[str, str] | None = None,
    polygons: str = '.gpkg',
    min_area: float = 0.0,
) -> MapFiles:
    """Writes ``STEM_mask.tif``, ``STEM_probability.tif`` and ``STEM_polygons.gpkg``.

    Args:
        stem: path without the endings.
        grid: grid of the scene.
        strips: yields (first row, mask, probability) from top to bottom, at each call; the mask
            is 1 for the class and 255 without data.
        class_name: name of class 1.
        tags: tags of the rasters.
        polygons: suffix of the file of polygons.
        min_area: polygons with a smaller area in square metres are left out.

    Raises:
        DataError: a file cannot be written.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [
        stem.with_name(f'{stem.name}_{end}')
        for end in ('mask.tif', 'probability.tif', f'polygons{polygons}')
    ]
    names = {0: 'background', 1: class_name}
    mask = Layer('uint8', 255, 'class', _COLOURS, names, tags=tags or {})
    probability = Layer(
        'float32', float('nan'), f'probability of {class_name}', tags=tags or {}, average=True
    )
    write_raster(paths[0], grid, ((row, part) for row, part, _ in strips()), mask)
    write_raster(paths[1], grid, ((row, part) for row, _, part in strips()), probability)
    found = regions(grid, strips(), [1], min_area)
    write_polygons(paths[2], found, grid, {1: class_name})
    return MapFiles(paths, *_measure(grid, strips))


def _measure(grid, strips):
    areas = pixel_areas(grid)
    pixels, known, area, total = 0, 0, 0.0, 0.0
    for row, mask, probability in strips():
        found = mask == 1
        pixels += int(found.sum())
        known += int((mask != 255).sum())
        total += float(probability[found].sum(dtype=np.float64))
        if areas is not None:
            area += float(found.sum(1) @ areas[row : row + len(mask)])
    return pixels, known, area if areas is not None else float('nan'), total / max(1, pixels)
