"""Polygons of a map of classes, strip by strip, joined where strips meet."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from .areas import pixel_areas
from .grid import Grid
from .optional import geo_package


@dataclass(slots=True)
class Region:
    """One patch of a class.

    Attributes:
        class_index: its class.
        pixels: number of its pixels.
        area_m2: square metres of ground; NaN without georeference.
        mean: mean of the values of the pixels (a probability), or NaN.
        geometry: ``shapely`` polygon in the coordinates of the grid (pixels without one), or None.
        bounds: (first row, last row, first column, last column) in pixels.
    """

    class_index: int
    pixels: int
    area_m2: float
    mean: float
    geometry: object
    bounds: tuple[int, int, int, int]


class _Piece:
    """A patch within one strip."""

    __slots__ = ('class_index', 'pixels', 'area', 'total', 'bounds', 'shapes', 'parent')

    def __init__(self, class_index, pixels, area, total, bounds):
        self.class_index, self.pixels, self.area, self.total = class_index, pixels, area, total
        self.bounds, self.shapes, self.parent = bounds, [], None

    def root(self):
        piece = self
        while piece.parent is not None:
            piece = piece.parent
        return piece

    def join(self, other):
        """Joins another part to the patch of this one."""
        a, b = self.root(), other.root()
        if a is b:
            return
        b.parent = a
        a.pixels += b.pixels
        a.area += b.area
        a.total += b.total
        a.shapes += b.shapes
        (r0, r1, c0, c1), (s0, s1, d0, d1) = a.bounds, b.bounds
        a.bounds = min(r0, s0), max(r1, s1), min(c0, d0), max(c1, d1)
        b.shapes = []


def regions(
    grid: Grid,
    strips: Iterable[tuple[int, np.ndarray, np.ndarray | None]],
    classes: Iterable[int],
    min_area: float = 0.0,
    geometry: bool = True,
) -> Iterator[Region]:
    """Yields patches of pixels of one class that touch by a side.

    Memory holds the patches of two strips and those that continue below, at any height.

    Args:
        grid: grid of the map.
        strips: (first row, (rows, width) classes, (rows, width) values or None), from top to
            bottom, without a gap.
        classes: classes that become polygons.
        min_area: patches with a smaller area in square metres (without georeference: in pixels) are
            left out.
        geometry: whether outlines are made.

    Yields: Each patch as soon as no later strip can touch it.
    """
    if geometry:
        geo_package('shapely', 'polygons')
    areas = pixel_areas(grid)
    above, growing = None, []
    for first, labels, values in strips:
        pieces, ids = _pieces(grid, first, labels, values, classes, areas)
        if geometry:
            _draw(grid, first, ids, pieces)
        if above is not None:
            _join_seam(above, (ids[0], pieces))
        above = (ids[-1].copy(), pieces)
        # patches that no later strip can touch are complete; the others may continue
        touching = dict.fromkeys(pieces[i].root() for i in np.unique(ids[-1]) if i >= 0)
        roots = [piece for piece in growing + pieces if piece.parent is None]
        yield from _whole([piece for piece in roots if piece not in touching], areas, min_area)
        growing = list(touching)
    yield from _whole(growing, areas, min_area)


def by_size(region: Region) -> tuple:
    """Returns a key that sorts the largest first."""
    return -region.pixels, region.bounds


class PatchCount:
    """A counter of regions that keeps the largest.

    Args:
        shown: number of the largest regions to keep.

    Attributes:
        count: number of regions so far.
        largest: the largest regions, the largest first.
    """

    def __init__(self, shown: int = 3) -> None:
        self.shown, self.count = shown, 0
        self.largest: list[Region] = []

    def __call__(self, found: Iterable[Region]) -> Iterator[Region]:
        """Yields the regions unchanged."""
        for region in found:
            self.count += 1
            if len(self.largest) < self.shown or region.pixels >= self.largest[-1].pixels:
                self.largest = heapq.nsmallest(self.shown, [*self.largest, region], by_size)
            yield region


def _whole(pieces, areas, min_area):
    kept = [p for p in pieces if (p.pixels if areas is None else p.area) >= min_area]
    yield from (_region(piece, areas is not None) for piece in kept)


def _pieces(grid, first, labels, values, classes, areas):
    """Returns the patches of a strip, and for each pixel the number of its patch (-1: none)."""
    import cv2

    ids, pieces = np.full(labels.shape, -1, np.int32), []
    for class_index in classes:
        of_class = (labels == class_index).astype(np.uint8)
        if not of_class.any():
            continue
        count, numbers = cv2.connectedComponents(of_class, connectivity=4)
        inside = numbers > 0
        ids[inside] = numbers[inside] - 1 + len(pieces)
        pieces += _measured(numbers, count, class_index, first, values, areas)
    return pieces, ids


def _measured(numbers, count, class_index, first, values, areas):
    rows, columns = np.nonzero(numbers)
    patch = numbers[rows, columns] - 1
    pixels = np.bincount(patch, minlength=count - 1)
    area = (
        np.zeros(count - 1) if areas is None else np.bincount(patch, areas[first + rows], count - 1)
    )
    total = np.full(count - 1, np.nan)
    if values is not None:
        total = np.bincount(patch, values[rows, columns], count - 1)
    bounds = []
    for axis in (rows + first, columns):
        low, high = np.full(count - 1, np.iinfo(np.int64).max), np.full(count - 1, -1)
        np.minimum.at(low, patch, axis)
        np.maximum.at(high, patch, axis)
        bounds += [low, high]
    return [
        _Piece(class_index, int(n), a, t, tuple(map(int, b)))
        for n, a, t, b in zip(pixels, area, total, zip(*bounds))
    ]


def _draw(grid, first, ids, pieces):
    import shapely.geometry
    from affine import Affine
    from rasterio.features import shapes

    transform = Affine.identity() if grid.transform is None else grid.transform
    transform = transform @ Affine.translation(0, first)
    for shape, number in shapes(ids, mask=ids >= 0, connectivity=4, transform=transform):
        pieces[int(number)].shapes.append(shapely.geometry.shape(shape))


def _join_seam(above, below):
    (upper_ids, upper), (lower_ids, lower) = above, below
    touching = (upper_ids >= 0) & (lower_ids >= 0)
    for i, j in np.unique(np.stack([upper_ids, lower_ids])[:, touching], axis=1).T:
        if upper[i].class_index == lower[j].class_index:
            upper[i].join(lower[j])


def _region(piece, on_ground):
    shape = piece.shapes[0] if piece.shapes else None
    if len(piece.shapes) > 1:  # removes the corners where strips meet
        import shapely

        shape = shapely.simplify(shapely.union_all(piece.shapes), 0)
    return Region(
        class_index=piece.class_index,
        pixels=piece.pixels,
        area_m2=float(piece.area) if on_ground else float('nan'),
        mean=float(piece.total / piece.pixels),
        geometry=shape,
        bounds=piece.bounds,
    )
