"""Search in scenes that are larger than the supports: tiles with blended votes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rs_mm.apis.inputs import Picture, say_unplaced
from rs_mm.errors import ConfigError, DataError
from rs_mm.rasters import Grid, SceneRun, SceneTiles, Scratch, Tiling, pixel_metres

from .supports import Supports

UNKNOWN = 255  # value without data in masks
_WHOLE = 1.5  # images up to this number of tiles wide and high are not cut
_ROUNDING = 1e-4  # shares of votes that were blended


@dataclass(frozen=True)
class TilePlan:
    """How scenes are cut.

    Attributes:
        tile: side in pixels of the scene. Default: the size of the supports, so a tile shows as
            much as a support.
        overlap: pixels that neighbouring tiles share. Default: a quarter of the tile.
        scale: pixel size of the scene divided by the pixel size of the supports; ``auto``: from the
            georeferences if both are known, otherwise 1.
        whole: never cut; every image is resized as in the config.
        batch: tiles per pass of the backbone.
    """

    tile: int | None = None
    overlap: int | None = None
    scale: float | str = 'auto'
    whole: bool = False
    batch: int = 4

    def __post_init__(self):
        if self.scale != 'auto' and not (isinstance(self.scale, (int, float)) and self.scale > 0):
            raise ConfigError(f"scale is 'auto' or a number above 0, not {self.scale!r}.")

    def tiling(self, grid: Grid, supports: Supports, name: str) -> Tiling | None:
        """Returns the windows over an image; None if the image is not cut.

        Raises:
            DataError: the image is smaller than a tile.
        """
        if self.whole:
            return None
        tile, known = self._side(grid, supports)
        if not known and max(grid.shape) <= _WHOLE * tile:
            return None
        if min(grid.shape) < tile:
            raise DataError(
                f'{name} is {grid.width} x {grid.height} pixels, smaller than a tile of {tile} x '
                f'{tile}, which shows as much as a support; give a smaller tile (--tile), or take '
                'the image as a whole (--whole).'
            )
        overlap = tile // 4 if self.overlap is None else self.overlap
        return Tiling(*grid.shape, tile, overlap)

    def _side(self, grid, supports):
        """Returns the side of a tile in pixels, and whether the user or the georeference decided
        it."""
        if self.tile is not None:
            return self.tile, True
        height, width = supports.size
        side = (height * width) ** 0.5
        if self.scale != 'auto':
            return max(1, round(side / self.scale)), True
        here, there = pixel_metres(grid), supports.metres
        known = here is not None and there is not None
        return max(1, round(side * there / here if known else side)), known


class OpenScene:
    """An image whose windows are read as (h, w, 3) uint8 RGB.

    Args:
        picture: a file or pixels in memory.
        to_rgb: converts (h, w, C) pixels to RGB.
        bands: 0-based bands of a file for red, green and blue.
    """

    def __init__(
        self,
        picture: Picture,
        to_rgb: Callable[[np.ndarray, str], np.ndarray],
        bands: list[int] | None = None,
    ) -> None:
        self.picture, self._to_rgb = picture, to_rgb
        self._tiles = None if picture.path is None else SceneTiles(picture.path, bands)
        if self._tiles is not None:
            say_unplaced(self._tiles.info)
            self.grid = Grid.of(self._tiles.info)
        else:
            self.grid = Grid(
                picture.array.shape[0], picture.array.shape[1], picture.transform, picture.crs
            )
        self.name = picture.path or picture.name

    def __enter__(self) -> OpenScene:
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._tiles is not None:
            self._tiles.__exit__(*exception)

    def read(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Returns the pixels of a window and whether they hold data."""
        if self._tiles is None:
            array = self.picture.array[rows, columns]
            return self._to_rgb(array, self.name), np.ones(array.shape[:2], bool)
        array, valid = self._tiles.read(rows, columns)
        return self._to_rgb(array, self.name), valid

    def preview(self, longest: int) -> np.ndarray:
        """Returns the image, reduced to at most ``longest`` pixels: (h, w, 3) uint8 RGB."""
        if self._tiles is not None:
            return self._to_rgb(self._tiles.preview(longest), self.name)
        step = max(1, -(-max(self.grid.shape) // longest))
        return self._to_rgb(self.picture.array[::step, ::step], self.name)


class SceneVotes:
    """The votes and the probability over a whole scene, strip by strip.

    The published rule is applied to the scene as one image: a pixel belongs to the class if its
    votes reach the threshold times the largest number of votes anywhere in the scene.

    Args:
        scene: the open scene.
        tiling: its windows.
        votes: function from images to maps of the share of votes, the probability and, with a
            post-processor, the refined mask: (2 or 3, h, w) float32 for each.
        threshold: threshold of the vote, see
            :func:`~rs_mm.models.segmentors.few_shot_segmentor.vote`.
        scratch: storage of finished tiles.
        batch: tiles per call of ``votes``.
        progress: print the progress.
    """

    def __init__(
        self,
        scene: OpenScene,
        tiling: Tiling,
        votes: Callable[[list[np.ndarray]], list[np.ndarray]],
        threshold: float,
        scratch: Scratch,
        batch: int = 4,
        progress: bool = False,
    ) -> None:
        self.threshold = threshold
        self._run = SceneRun(
            tiling,
            scene.read,
            lambda images: _at_full_size(votes, images, tiling.tile),
            _by_name,
            scratch,
            batch=batch,
            progress=progress,
        )

    def run(self) -> None:
        """Computes the tiles that are not finished.

        Raises:
            DataError: no pixel holds data.
        """
        self._run.run()
        most = 0.0
        for _, share in self._run.strips('share'):
            known = share[~np.isnan(share)]
            most = max(most, float(known.max()) if known.size else 0.0)
        self.most = most

    def strips(self) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Yields (first row, mask, share of votes, probability) from top to bottom.

        The mask is uint8 with 1 for the class and 255 without data; the other maps are NaN without
        data.
        """
        maps = [self._run.strips(name) for name in ('share', 'probability', 'refined')]
        for (row, share), (_, probability), (_, refined) in zip(*maps):
            if refined.size:
                found = refined >= 0.5
            else:
                found = share >= (self.threshold - _ROUNDING) * max(self.most, 1e-9)
                found &= share > 0
            mask = np.where(np.isnan(share), UNKNOWN, found).astype(np.uint8)
            yield row, mask, share, probability


def _at_full_size(votes, images, tile):
    """Computes votes of tiles; shorter tiles at the border are mirrored to the full size."""
    padded = [
        np.pad(image, [(0, tile - image.shape[0]), (0, tile - image.shape[1]), (0, 0)], 'symmetric')
        for image in images
    ]
    return [
        maps[:, : image.shape[0], : image.shape[1]] for maps, image in zip(votes(padded), images)
    ]


def _by_name(blended: np.ndarray) -> dict[str, Any]:
    refined = blended[2] if len(blended) > 2 else np.zeros(0, np.float32)
    nothing = np.full_like(blended[0], np.nan)
    return dict(
        share=blended[0], probability=blended[1] if len(blended) > 1 else nothing, refined=refined
    )
