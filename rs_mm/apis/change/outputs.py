"""Writing the results of a scene: mask, probability, polygons, picture, and figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rs_mm.rasters import (
    Grid,
    Layer,
    PatchCount,
    Region,
    SceneRun,
    pixel_areas,
    regions,
    write_polygons,
    write_raster,
)

IGNORED = 255
UNCHANGED, CHANGED, NODATA = 0, 255, 127  # numbers in the mask of a model of two classes
STEPS = 250  # of the probability in 8 bits, so that 250 is 1
_PICTURES = ('.png', '.jpg', '.jpeg', '.bmp')


@dataclass
class OutputOptions:
    """The outputs besides mask and picture.

    Attributes:
        probability: ``float32``, ``uint8`` (250 is 1) or None.
        polygons: file for polygons of the changes, or a suffix such as ``.gpkg``: one file per pair
            beside the mask; None: no polygons.
        min_area: patches with a smaller area in square metres (without georeference: in pixels) get
            no polygon.
        simplify: tolerance of the outlines in units of the CRS; 0 keeps the outlines of the pixels.
        cog: whether rasters are cloud-optimised GeoTIFFs.
    """

    probability: str | None = None
    polygons: str | None = None
    min_area: float = 0.0
    simplify: float = 0.0
    cog: bool = False


@dataclass
class Summary:
    """The figures of one pair.

    Attributes:
        changed_share: share of the pixels with data that changed.
        changed_area_m2: changed area; NaN without georeference.
        valid_share: share of all pixels that hold data.
        patches: number of patches of change.
        largest: the largest patches, the largest first.
    """

    changed_share: float
    changed_area_m2: float
    valid_share: float
    patches: int = 0
    largest: list[Region] = field(default_factory=list)


def output_paths(stem: Path, first: Path, georeferenced: bool, options: OutputOptions) -> dict:
    """Returns the files of a pair: ``mask``, ``picture``, and optional ``probability`` and
    ``polygons``.

    Args:
        stem: folder and start of the names.
        first: date 1; for a plain picture without georeference the mask is a PNG.
        georeferenced: whether date 1 is georeferenced.
        options: outputs to write.
    """
    plain = first.suffix.lower() in _PICTURES and not georeferenced and not options.cog
    paths = dict(mask=stem.with_name(f'{stem.name}_change.{"png" if plain else "tif"}'))
    if options.probability:
        paths['probability'] = stem.with_name(f'{stem.name}_probability.tif')
    if options.polygons:
        given = options.polygons
        beside = stem.with_name(f'{stem.name}_change{given}')
        paths['polygons'] = beside if given.startswith('.') and '/' not in given else Path(given)
    paths['picture'] = stem.with_name(f'{stem.name}_picture.png')
    return paths


def bytes_needed(shape: tuple[int, int], options: OutputOptions) -> int:
    """Returns the disk space for a map of (height, width): temporary data and the files."""
    per_pixel = 5 + 1 + {None: 0, 'uint8': 1, 'float32': 4}[options.probability]
    return int(shape[0] * shape[1] * per_pixel * 1.1)


def write_maps(
    paths: dict[str, Path],
    scene: SceneRun,
    grid: Grid,
    classes: Sequence[str],
    palette: Sequence[tuple[int, int, int]],
    tags: dict[str, str],
    options: OutputOptions,
) -> Summary:
    """Writes rasters and polygons of a scene that has been run.

    Args:
        paths: from :func:`output_paths`.
        scene: its strips hold ``mask`` (class indices, 255 without data) and ``probability``.
        grid: grid of the scene.
        classes, palette: names and colours of the classes.
        tags: tags of the files.
        options: outputs and their settings.

    Raises:
        DataError: a file cannot be written.
    """
    driver = 'COG' if options.cog else 'GTiff'
    mask_driver = 'PNG' if paths['mask'].suffix == '.png' else driver
    layer = _mask_layer(classes, palette, tags)
    strips = ((first, numbers(rows, len(classes))) for first, rows in scene.strips('mask'))
    write_raster(paths['mask'], grid, strips, layer, mask_driver)
    if 'probability' in paths:
        as_bytes = options.probability == 'uint8'
        write_raster(
            paths['probability'],
            grid,
            _probability_strips(scene, as_bytes),
            Layer(
                dtype='uint8' if as_bytes else 'float32',
                nodata=255 if as_bytes else -1.0,
                name='probability of change',
                scale=1 / STEPS if as_bytes else None,
                tags=tags,
                average=True,
            ),
            driver,
        )
    return _summarise(scene, grid, classes, paths.get('polygons'), options)


def numbers(mask: np.ndarray, class_count: int) -> np.ndarray:
    """Converts class indices to the numbers in the file: with two classes 0, 255, and 127 for no
    data."""
    if class_count > 2:
        return mask
    return np.where(mask == IGNORED, NODATA, np.where(mask > 0, CHANGED, UNCHANGED)).astype(
        np.uint8
    )


def _mask_layer(classes, palette, tags):
    if len(classes) > 2:
        colours = dict(enumerate(palette)) | {IGNORED: (127, 127, 127)}
        return Layer(
            'uint8', IGNORED, 'class of change', colours, dict(enumerate(classes)), tags=tags
        )
    grey = {n: (n, n, n) for n in (UNCHANGED, NODATA, CHANGED)}
    names = {UNCHANGED: classes[0], CHANGED: classes[-1]}
    return Layer('uint8', NODATA, 'change', grey, names, tags=tags)


def _probability_strips(scene, as_bytes) -> Iterator[tuple[int, np.ndarray]]:
    for first, rows in scene.strips('probability'):
        known = ~np.isnan(rows)
        if as_bytes:
            scaled = np.rint(np.nan_to_num(rows) * STEPS)
            yield first, np.where(known, scaled, 255).astype(np.uint8)
        else:
            yield first, np.where(known, rows, np.float32(-1))


def _summarise(scene, grid, classes, polygons: Path | None, options: OutputOptions) -> Summary:
    """Shares, area and patches of a scene that has been run; polygons in the same pass."""
    areas = pixel_areas(grid)
    changed, area, patches = 0, 0.0, PatchCount()
    pairs = zip(scene.strips('mask'), scene.strips('probability'))

    def strips() -> Iterable:
        nonlocal changed, area
        for (first, mask), (_, probability) in pairs:
            per_row = ((mask > 0) & (mask != IGNORED)).sum(axis=1)
            changed += int(per_row.sum())
            if areas is not None:
                area += float(per_row @ areas[first : first + len(mask)])
            yield first, mask, probability

    numbers_of = range(1, max(2, len(classes)))
    found = patches(regions(grid, strips(), numbers_of, geometry=polygons is not None))
    kept = (r for r in found if (r.pixels if areas is None else r.area_m2) >= options.min_area)
    if polygons is not None:
        write_polygons(polygons, kept, grid, dict(enumerate(classes)), options.simplify)
    for _ in found:  # without a file of polygons, the patches are only counted
        pass
    return Summary(
        changed_share=changed / scene.valid_pixels,
        changed_area_m2=area if areas is not None else float('nan'),
        valid_share=scene.valid_pixels / (grid.height * grid.width),
        patches=patches.count,
        largest=patches.largest,
    )
