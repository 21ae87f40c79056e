"""A picture of a change map of any size: both dates, the changes, and the largest changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from .sheet import Panel, _font, draw_sheet

_SIDE = 512  # of a panel
_OVERLAY, _NO_DATA, _INSETS = (255, 225, 0), (110, 110, 110), 3


def preview_shape(height: int, width: int, side: int = 2 * _SIDE) -> tuple[int, int]:
    """Returns (height, width) of a reduced copy with a longer side of at most ``side``."""
    shrink = max(1.0, max(height, width) / side)
    return max(1, round(height / shrink)), max(1, round(width / shrink))


class MaskPreview:
    """A reduced mask that keeps every changed pixel, built strip by strip.

    Args:
        shape: (height, width) of the scene.
        small: (height, width) of the preview.
    """

    def __init__(self, shape: tuple[int, int], small: tuple[int, int]) -> None:
        self.shape, self.small = shape, small
        self.mask = np.full(small, 255, np.uint8)

    def add(self, first: int, rows: np.ndarray) -> None:
        """Adds (rows, width) class indices with 255 for no data, starting at a row."""
        ys = (np.arange(first, first + len(rows)) * self.small[0]) // self.shape[0]
        xs = (np.arange(self.shape[1]) * self.small[1]) // self.shape[1]
        starts = np.flatnonzero(np.diff(xs, prepend=-1))
        # the order is: no data, unchanged, then classes by number
        ranked = np.where(rows == 255, 0, rows.astype(np.int16) + 1)
        for y in np.unique(ys):
            line = np.maximum.reduceat(ranked[ys == y].max(axis=0), starts)
            before = self.mask[y].astype(np.int16)
            before = np.where(before == 255, 0, before + 1)
            best = np.maximum(before, line)
            self.mask[y] = np.where(best == 0, 255, best - 1)


def draw_quicklook(
    title: str,
    dates: Sequence[np.ndarray],
    mask: np.ndarray,
    classes: Sequence[str],
    palette: Sequence[tuple[int, int, int]],
    caption: str,
    grid: Any = None,
    largest: Sequence[Any] = (),
    window: Callable | None = None,
) -> np.ndarray:
    """Draws the picture.

    Args:
        title: text above everything.
        dates: both, (h, w, 3) uint8 RGB, reduced.
        mask: (h, w) class indices, 255 without data.
        classes, palette: names and colours.
        caption: below the map.
        grid: :class:`rs_mm.rasters.Grid` of the whole scene, for scale bar and coordinates.
        largest: regions with ``bounds``, ``area_m2`` and ``pixels``, the largest first.
        window: function (rows, columns) to ([date 1, date 2] RGB, class indices) of the scene.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    colours = _colours(classes, palette)
    over = _overlay(dates[1], mask, colours)
    scale = grid.width / mask.shape[1] if grid is not None else 1
    row = [Panel(_enlarged(image), name) for image, name in zip(dates, ('date 1', 'date 2'))]
    row.append(Panel(_with_scale(_enlarged(over), grid, scale * mask.shape[1]), caption))
    legend = {name: colours[index] for index, name in enumerate(classes) if index and index in mask}
    if (mask == 255).any():
        legend['no data'] = _NO_DATA
    rows = [row]
    if grid is not None and window is not None and max(grid.shape) > 2 * _SIDE:
        rows += _inset_rows(grid, largest[:_INSETS], window, colours)
    return draw_sheet(rows, title=title, legend=legend or None, panel_size=_SIDE)


def _colours(classes, palette):
    if len(classes) <= 2:
        return {1: _OVERLAY}
    return {index: tuple(colour) for index, colour in enumerate(palette)}


def _overlay(image, mask, colours):
    image = image.copy()
    for index, colour in colours.items():
        inside = mask == index
        if not index or not inside.any():
            continue
        image[inside] = (0.5 * image[inside] + 0.5 * np.array(colour)).astype(np.uint8)
        outlines, _ = cv2.findContours(
            inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(image, outlines, -1, colour, max(1, max(image.shape) // 400))
    image[mask == 255] = _NO_DATA
    return image


def _enlarged(image):
    scale = _SIDE / max(image.shape[:2])
    if scale <= 1:
        return image
    size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_NEAREST)


def _with_scale(image, grid, width):
    """Draws a scale bar, and an arrow if the direction of north is known."""
    metres = _metres_per_pixel(grid)
    if metres is None:
        return image
    picture = Image.fromarray(image)
    pen, (right, bottom) = ImageDraw.Draw(picture), picture.size
    per_pixel = metres * width / right
    length = _round_length(per_pixel * right / 4)
    bar = round(length / per_pixel)
    text = f'{length / 1000:g} km' if length >= 1000 else f'{length:g} m'
    size = max(10, right // 32)
    pen.rectangle((0, bottom - 2 * size, bar + 2 * size, bottom), fill=(0, 0, 0))
    pen.rectangle(
        (size // 2, bottom - size // 2, size // 2 + bar, bottom - size // 4), fill='white'
    )
    pen.text((size // 2, bottom - 2 * size + 1), text, fill='white', font=_font(size))
    if abs(grid.angle) < 1 and grid.transform.e < 0:
        x = right - size
        pen.rectangle((x - size, 0, right, 3 * size), fill=(0, 0, 0))
        pen.polygon([(x - size // 2, 2 * size), (x, 4), (x + size // 2, 2 * size)], fill='white')
        pen.text((x - size // 3, 2 * size), 'N', fill='white', font=_font(size))
    return np.asarray(picture)


def _metres_per_pixel(grid):
    if grid is None or grid.transform is None or grid.crs is None:
        return None
    size = grid.pixel_size[0]
    if grid.crs.is_projected:
        return size * grid.crs.linear_units_factor[1]
    latitude = (grid.transform @ (grid.width / 2, grid.height / 2))[1]
    return size * 111_320 * np.cos(np.radians(latitude))


def _round_length(metres):
    power = 10 ** np.floor(np.log10(metres))
    return float(max(step * power for step in (1, 2, 5) if step * power <= metres))


def _inset_rows(grid, largest, window, colours):
    rows = []
    for region in largest:
        rows.append([])
        top, bottom, left, right = region.bounds
        side = int(np.clip(2 * max(bottom - top, right - left), 128, 2 * _SIDE))
        spans = [
            _around((a + b) // 2, side, total)
            for (a, b), total in zip(((top, bottom), (left, right)), grid.shape)
        ]
        dates, mask = window(*spans)
        pictures = [*dates, _overlay(dates[1], mask, colours)]
        texts = [f'{_place(grid, region)}, date 1', 'date 2', _size(region)]
        for image, text in zip(pictures, texts):
            rows[-1].append(Panel(_enlarged(image), text))
    return rows


def _around(middle, side, total):
    start = max(0, min(middle - side // 2, total - side))
    return slice(start, min(total, start + side))


def _place(grid, region):
    top, bottom, left, right = region.bounds
    row, column = (top + bottom + 1) / 2, (left + right + 1) / 2
    if grid.transform is None:
        return f'row {row:.0f}, column {column:.0f}'
    x, y = grid.transform @ (column, row)
    degrees = grid.crs is not None and grid.crs.is_geographic
    return f'{y:.5f}, {x:.5f}' if degrees else f'{x:.0f}, {y:.0f}'


def _size(region):
    if np.isnan(region.area_m2):
        return f'{region.pixels} pixels'
    return f'{region.area_m2 / 1e4:.2f} ha'
