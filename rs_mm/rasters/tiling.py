"""Overlapping windows over a scene, and the blending of their results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rs_mm.errors import ConfigError

MULTIPLE = 32  # windows start at multiples of this, so a network's strides fall on the same pixels


@dataclass(frozen=True)
class Tiling:
    """Overlapping windows over a scene.

    Attributes:
        height, width: size of the scene.
        tile: side of a window; a scene that is not larger has one window.
        overlap: least number of pixels that neighbouring windows share.

    Raises:
        ConfigError: the overlap is not smaller than the tile.
    """

    height: int
    width: int
    tile: int
    overlap: int

    def __post_init__(self):
        if self.tile < 1 or not 0 <= self.overlap < self.tile:
            raise ConfigError(
                f'tile ({self.tile}) must be larger than overlap ({self.overlap}), and both must '
                'be positive.'
            )

    @property
    def row_spans(self) -> list[tuple[int, int]]:
        """The (start, stop) of the windows down the scene."""
        return spans(self.height, self.tile, self.overlap)

    @property
    def column_spans(self) -> list[tuple[int, int]]:
        """The (start, stop) of the windows across the scene."""
        return spans(self.width, self.tile, self.overlap)

    def __len__(self) -> int:
        return len(self.row_spans) * len(self.column_spans)

    def strips(self) -> list[tuple[int, int]]:
        """The strips of the scene, from the start of each row of windows to the start of the
        next."""
        starts = [start for start, _ in self.row_spans]
        return list(zip(starts, [*starts[1:], self.height]))

    def rows_of_strip(self, strip: int) -> list[int]:
        """Returns the numbers of the rows of windows that reach into a strip."""
        first, last = self.strips()[strip]
        return [i for i, (a, b) in enumerate(self.row_spans) if a < last and b > first]


def spans(length: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Returns windows along one axis, which share at least ``overlap`` pixels and cover the axis.

    Starts are multiples of 32 if the tile allows it; the last window may be slightly shorter.

    Args:
        length: length of the axis.
        tile: longest window.
        overlap: least overlap of neighbours.

    Returns:
        (start, stop), sorted.
    """
    if length <= tile:
        return [(0, length)]
    multiple = MULTIPLE if tile - overlap >= MULTIPLE else 1
    step = (tile - overlap) // multiple * multiple
    # the earliest start from which the last window reaches the end
    last = -(-(length - tile) // multiple) * multiple
    starts = [*range(0, last, step), last]
    return [(start, min(length, start + tile)) for start in starts]


def ramp(spans_of_axis: Sequence[tuple[int, int]], index: int, overlap: int) -> np.ndarray:
    """Returns the weights of one window along an axis: 1 inside, falling smoothly to 0 at
    neighbours.

    Half a period of a cosine over the overlap; at a border of the scene the weight stays 1.

    Returns:
        (length of the window,) float32, all above 0.
    """
    start, stop = spans_of_axis[index]
    weight = np.ones(stop - start, np.float32)
    length = min(overlap, len(weight))
    if not length:
        return weight
    rising = 0.5 - 0.5 * np.cos(np.pi * (np.arange(length, dtype=np.float32) + 0.5) / length)
    if index > 0:
        weight[:length] *= rising
    if index < len(spans_of_axis) - 1:
        weight[-length:] *= rising[::-1]
    return weight


def blend_strip(
    tiling: Tiling, strip: int, load: Callable[[int, int], np.ndarray | None]
) -> np.ndarray:
    """Blends the windows that reach into a strip, always in the same order.

    Args:
        tiling: the windows.
        strip: number of the strip.
        load: function from (row of windows, column of windows) to (C, h, w) float32 with NaN for
            unknown pixels, or None if all are unknown.

    Returns: (C, rows of the strip, width) float32; NaN for unknown pixels.
    """
    first, last = tiling.strips()[strip]
    rows, columns, overlap = tiling.row_spans, tiling.column_spans, tiling.overlap
    total, weights = None, np.zeros((last - first, tiling.width), np.float32)
    for i in tiling.rows_of_strip(strip):
        top, bottom = max(first, rows[i][0]), min(last, rows[i][1])
        down = ramp(rows, i, overlap)[top - rows[i][0] : bottom - rows[i][0]]
        for j, (left, right) in enumerate(columns):
            found = load(i, j)
            if found is None:
                continue
            if total is None:
                total = np.zeros((len(found), *weights.shape), np.float32)
            at = (slice(top - first, bottom - first), slice(left, right))
            weight = down[:, None] * ramp(columns, j, overlap)
            part = found[:, top - rows[i][0] : bottom - rows[i][0]]
            total[(slice(None), *at)] += weight * part
            weights[at] += weight
    if total is None:
        return np.full((1, *weights.shape), np.nan, np.float32)
    # a window without data has no weight; its pixels are unknown
    total[:, weights == 0] = np.nan
    weights[weights == 0] = 1
    # with a single window, the quotient equals its result to the last bit
    alone = weights == 1
    total[:, ~alone] /= weights[~alone]
    return total
