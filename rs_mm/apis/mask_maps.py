"""A map of predicted masks in one HTML file: pictures, mask, and a polygon per patch."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rs_mm.datasets.transforms.clip_images import LoadRGBImage
from rs_mm.errors import DataError
from rs_mm.rasters import (
    Grid,
    by_size,
    describe,
    open_raster,
    read_pixels,
    regions,
)
from rs_mm.visualization.web_map import Bounds, Item, Overlay, Shapes, WebMap

_SIDE = 1024  # of a picture on the map
_MOST = 2000  # polygons of a mask, the largest ones
_STRIP = 1024  # rows that are polygonised at a time
_COLOURS = ('#e02828', '#f08c00', '#1c7ed6', '#7048e8', '#0ca678', '#d6336c')


@dataclass
class MappedMask:
    """The file of a mask, and its pictures.

    Attributes:
        path: the mask: 0 is nothing, other values are classes.
        pictures: files by the name of their layer, e.g. ``date 1``.
        name: name of the entry in the list. Default: the mask's stem.
        blank: values without meaning, besides the nodata value of the file.
        facts: facts for the list.
    """

    path: Path
    pictures: dict[str, Path] = field(default_factory=dict)
    name: str = ''
    blank: tuple[int, ...] = ()
    facts: str = ''


def mask_map(
    title: str, masks: Sequence[MappedMask], classes: dict[int, str] | None = None
) -> WebMap:
    """Makes a map of masks. Georeferenced masks are at their places, other masks side by side in
    pixels.

    Args:
        title: heading.
        masks: predicted masks. If some are georeferenced, the others are only listed.
        classes: names of mask values. Default: ``class 1`` and so on; ``found`` for a single value.
    """
    placed = [mask for mask in masks if _on_earth(mask.path)]
    page = WebMap(title, f'{len(masks)} maps', geographic=bool(placed))
    found: dict[int, list[dict]] = {}
    right = 0
    for mask in masks:
        name = mask.name or mask.path.stem
        if placed and mask not in placed:
            page.items.append(Item(name, f'{mask.facts} (without a place)'))
            continue
        place = _Place(mask.path) if placed else _Place(mask.path, right)
        for layer, path in mask.pictures.items():
            image, bounds = place.picture(path)
            page.overlays.append(Overlay(f'{name}, {layer}', image, bounds, layer))
        value_of, image, bounds = place.mask(mask.blank)
        page.overlays.append(Overlay(f'{name}, mask', image, bounds, 'mask', 0.6))
        for region in _patches(mask.path, value_of):
            found.setdefault(region.class_index, []).append(place.feature(region, name))
        page.items.append(Item(name, mask.facts, image[..., :3], bounds))
        right = place.right + 20
    values = sorted(found)
    for value in values:
        label = (classes or {}).get(value) or ('found' if len(values) == 1 else f'class {value}')
        colour = colour_of(value)
        page.shapes.append(Shapes(f'{label} ({len(found[value])})', found[value], colour))
        page.legend.append((label, colour))
    return page


def colour_of(value: int) -> str:
    """Returns the CSS colour of a mask value; 255 has the colour of 1."""
    return _COLOURS[(1 if value == 255 else value) % len(_COLOURS) - 1]


def _on_earth(path):
    info = describe(path)
    return info.georeferenced and info.crs is not None


def _patches(path, values):
    """Returns the largest patches of the values, with outlines."""
    with open_raster(path) as raster:
        height = raster.info.height
        rows = [slice(first, min(first + _STRIP, height)) for first in range(0, height, _STRIP)]
        strips = (
            (part.start, raster.read(None, (part, slice(None)), stored=True).array[..., 0], None)
            for part in rows
        )
        return heapq.nsmallest(_MOST, regions(Grid.of(raster.info), strips, values), by_size)


class _Place:
    """The position of a mask and its pictures on the map: on Earth, or in pixels from ``left``
    on."""

    def __init__(self, mask: Path, left: int | None = None):
        self.path, self.left = mask, left
        self.info = describe(mask)
        self.right = (left or 0) + self.info.width

    def mask(self, blank: tuple[int, ...]) -> tuple[list[int], np.ndarray, Bounds]:
        """Returns the values that are classes, and the mask in colours with transparency."""
        array, _, bounds = self._read(self.path, nearest=True)
        values = set(np.unique(array[..., 0]).tolist()) if array.size else set()
        nodata = {int(value) for value in self.info.nodata if value is not None}
        chosen = sorted(int(v) for v in values - {0} - nodata - set(blank))
        image = np.zeros((*array.shape[:2], 4), np.uint8)
        for value in chosen:
            colour = colour_of(value)
            rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
            image[array[..., 0] == value] = [*rgb, 255]
        return chosen, image, bounds

    def picture(self, path: Path) -> tuple[np.ndarray, Bounds]:
        """Returns a picture (H, W, 4) in colours; transparent where it holds no data."""
        array, valid, bounds = self._read(path)
        rgb = LoadRGBImage()(dict(img_path=str(path), img=array))['img']
        return np.dstack([rgb, np.where(valid, 255, 0).astype(np.uint8)]), bounds

    def feature(self, region: Any, name: str) -> dict:
        """Returns a GeoJSON feature of a patch."""
        from shapely.geometry import mapping

        geometry = mapping(region.geometry)
        about = dict(map=name, pixels=int(region.pixels))
        if self.left is None:
            from rasterio.warp import transform_geom

            geometry = transform_geom(self.info.crs, 'EPSG:4326', geometry)
            about['area_m2'] = round(float(region.area_m2), 1)
        elif self.left:
            from shapely.affinity import translate

            geometry = mapping(translate(region.geometry, self.left))
        return dict(type='Feature', geometry=geometry, properties=about)

    def _read(self, path, nearest=False):
        """Reads pixels (H, W, C), a mask of pixels with data (H, W), and bounds."""
        if self.left is None:
            return _warped(path, nearest)
        pixels = read_pixels(path)
        step = max(1, -(-max(pixels.array.shape[:2]) // _SIDE))
        array, valid = pixels.array[::step, ::step], pixels.valid[::step, ::step]
        return array, valid, (self.left, 0, self.right, self.info.height)


def _warped(path, nearest):
    """Returns a reduced picture in web Mercator, as Leaflet needs it, and its bounds in degrees."""
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT
    from rasterio.warp import calculate_default_transform, transform_bounds

    way = Resampling.nearest if nearest else Resampling.bilinear
    with rasterio.open(path) as source:
        if source.crs is None:
            raise DataError(f'{path} has no georeference, but the mask has one.')
        shape = source.width, source.height
        _, width, height = calculate_default_transform(
            source.crs, 'EPSG:3857', *shape, *source.bounds
        )
        scale = min(1.0, _SIDE / max(width, height))
        transform, width, height = calculate_default_transform(
            source.crs,
            'EPSG:3857',
            *shape,
            *source.bounds,
            dst_width=max(1, round(width * scale)),
            dst_height=max(1, round(height * scale)),
        )
        bands = list(range(1, min(source.count, 3) + 1))
        options = dict(
            crs='EPSG:3857', transform=transform, width=width, height=height, resampling=way
        )
        with WarpedVRT(source, add_alpha=source.nodata is None, **options) as warped:
            array = np.moveaxis(warped.read(bands), 0, -1)
            valid = warped.dataset_mask() > 0  # the whole picture is small
            bounds = transform_bounds('EPSG:3857', 'EPSG:4326', *warped.bounds)
        if nearest:
            array = np.where(valid[..., None], array, 0)
    return array, valid, bounds
