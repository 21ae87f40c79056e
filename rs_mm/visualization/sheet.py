"""Pictures with captions in rows, with a title and a legend, as in every --show-dir image."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rs_mm.files import atomic_path

INK, PAPER, FAINT = (25, 25, 25), (255, 255, 255), (225, 225, 225)
GAP, FRAME = 10, 5


@dataclass
class Panel:
    """One picture of a sheet.

    Args:
        image: (H, W, 3) uint8 RGB; shown with its aspect ratio kept.
        caption: text below it; ``\\n`` starts a new line.
        frame: RGB colour of a frame around it.
    """

    image: np.ndarray
    caption: str = ''
    frame: tuple[int, int, int] | None = None


def draw_sheet(
    rows: Sequence[Sequence[Panel | None]],
    title: str = '',
    legend: dict[str, tuple[int, int, int]] | None = None,
    panel_size: int = 256,
) -> np.ndarray:
    """Draws panels in rows.

    Args:
        rows: the panels; None leaves a place empty.
        title: text above the panels.
        legend: text -> RGB of the colour keys below.
        panel_size: side in pixels of the square each picture is fitted into.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: a panel is not (H, W, 3) uint8, or there is no panel.
    """
    panels = [panel for row in rows for panel in row if panel is not None]
    if not panels:
        raise ValueError('a sheet needs at least one panel')
    for panel in panels:
        if panel.image.ndim != 3 or panel.image.shape[2] != 3 or panel.image.dtype != np.uint8:
            raise ValueError(
                'a panel needs an (H, W, 3) uint8 image, got '
                f'{panel.image.dtype} {panel.image.shape}'
            )
    text, heading = _font(13), _font(16)
    columns = max(len(row) for row in rows)
    cell = panel_size + 2 * FRAME
    width = GAP + columns * (cell + GAP)
    captions = [[_wrap(p.caption, text, cell) if p else [] for p in row] for row in rows]
    # a row is as high as its highest picture, so wide scenes leave no white space
    pictures = [[_fit(p.image, panel_size) if p else None for p in row] for row in rows]
    picture_heights = [max((p.height for p in row if p), default=0) + 2 * FRAME for row in pictures]
    line = _line_height(text)
    row_heights = [
        height + line * max((len(c) for c in row), default=0) + GAP
        for height, row in zip(picture_heights, captions)
    ]
    title_lines = _wrap(title, heading, width - 2 * GAP) if title else []
    legend_rows = _legend_rows(legend or {}, text, width - 2 * GAP)
    top = GAP + len(title_lines) * _line_height(heading) + (GAP if title_lines else 0)
    height = top + sum(row_heights) + len(legend_rows) * (line + 6) + GAP

    sheet = Image.new('RGB', (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    for i, words in enumerate(title_lines):
        pen.text((GAP, GAP + i * _line_height(heading)), words, fill=INK, font=heading)
    y = top
    for row, drawn, words, picture_height, row_height in zip(
        rows, pictures, captions, picture_heights, row_heights
    ):
        for column, (panel, picture) in enumerate(zip(row, drawn)):
            if panel is None or picture is None:
                continue
            x = GAP + column * (cell + GAP)
            left, above = x + (cell - picture.width) // 2, y + FRAME
            border = FRAME if panel.frame else 1
            pen.rectangle(
                (
                    left - border,
                    above - border,
                    left + picture.width + border - 1,
                    above + picture.height + border - 1,
                ),
                fill=panel.frame or FAINT,
            )
            sheet.paste(picture, (left, above))
            for i, caption in enumerate(words[column]):
                pen.text((x + FRAME, y + picture_height + i * line), caption, fill=INK, font=text)
        y += row_height
    for entries in legend_rows:
        x = GAP
        for words, colour in entries:
            pen.rectangle((x, y + 2, x + line - 4, y + line - 2), fill=colour, outline=INK)
            pen.text((x + line + 2, y), words, fill=INK, font=text)
            x += _legend_width(words, text)
        y += line + 6
    return np.asarray(sheet)


def save_sheet(path: str | Path, sheet: np.ndarray) -> None:
    """Writes (H, W, 3) RGB or (H, W) grey values, uint8, as an image file, and creates its
    folder."""
    with atomic_path(path) as unfinished:
        Image.fromarray(sheet).save(unfinished)


@lru_cache
def _font(size):
    # matplotlib ships DejaVu Sans, so the text looks the same on every machine; importing it for
    # the path alone would take half a second
    package = Path(importlib.util.find_spec('matplotlib').origin).parent
    return ImageFont.truetype(str(package / 'mpl-data/fonts/ttf/DejaVuSans.ttf'), size)


def _line_height(font):
    return sum(font.getmetrics()) + 1


def _fit(image, size):
    picture = Image.fromarray(np.ascontiguousarray(image))
    scale = size / max(picture.size)
    new = tuple(max(1, round(side * scale)) for side in picture.size)
    # pixels stay visible after enlarging
    return picture.resize(new, Image.NEAREST if scale > 1 else Image.BOX)


def _wrap(text, font, width):
    """Breaks a text into lines no wider than ``width`` pixels; a longer word is cut."""
    lines = []
    for paragraph in text.split('\n'):
        current = ''
        for word in paragraph.split(' '):
            if current and font.getlength(f'{current} {word}') > width:
                lines.append(current)
                current = ''
            while font.getlength(word) > width and len(word) > 1:
                keep = next(
                    n
                    for n in range(len(word), 0, -1)
                    if n == 1 or font.getlength(word[:n]) <= width
                )
                lines.append(word[:keep])
                word = word[keep:]
            current = f'{current} {word}' if current else word
        lines.append(current)
    return lines


def _legend_width(words, font):
    return int(font.getlength(words)) + _line_height(font) + 20


def _legend_rows(legend, font, width):
    rows, used = [], width + 1
    for words, colour in legend.items():
        needed = _legend_width(words, font)
        if used + needed > width:
            rows.append([])
            used = 0
        rows[-1].append((words, colour))
        used += needed
    return rows
