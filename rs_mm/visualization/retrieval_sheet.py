"""Pictures of a query and its ranked results, and displayable pictures of any bands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .sheet import Panel, draw_sheet

OVERLAP_LEGEND = {
    'same labels': (0, 120, 60),
    'at least half of the labels shared': (120, 190, 60),
    'some shared': (245, 170, 30),
    'none shared': (200, 40, 40),
}


def overlap_colour(overlap: float) -> tuple[int, int, int]:
    """Returns the frame colour of a label overlap (Jaccard similarity, 0 to 1); see
    ``OVERLAP_LEGEND``."""
    best, good, some, none = OVERLAP_LEGEND.values()
    if overlap >= 1:
        return best
    if overlap >= 0.5:
        return good
    return some if overlap > 0 else none


def result_panel(
    image: np.ndarray,
    name: str,
    labels: Sequence[str] | None = None,
    similarity: float | None = None,
    overlap: float | None = None,
) -> Panel:
    """Makes a panel of a result or, without similarity and overlap, of the query.

    Args:
        image: (H, W, 3) uint8 RGB.
        name: its name, first line of the caption.
        labels: names of its labels; None: unknown.
        similarity: shown after the name.
        overlap: Jaccard similarity of its labels with the query's, the colour of the frame.
    """
    caption = name if similarity is None else f'{name}\nsimilarity {similarity:.3f}'
    if labels is not None:
        caption += '\n' + (', '.join(labels) or 'no label')
    return Panel(image, caption, None if overlap is None else overlap_colour(overlap))


def draw_retrieval(
    query: Panel | Sequence[Panel],
    results: Sequence[Panel],
    title: str = '',
    legend: dict | None = OVERLAP_LEGEND,
    columns: int = 5,
    panel_size: int = 192,
) -> np.ndarray:
    """Draws the query on the left and its results, best first, in rows on the right.

    Args:
        query: one panel, or several (an image and its mask, say), drawn below each other.
        results: panels in ranked order; may be empty.
        title: text above.
        legend: colour keys below; None: none.
        columns: results per row.
        panel_size: side of a picture in pixels.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    queries = [query] if isinstance(query, Panel) else list(query)
    lines = [list(results[i : i + columns]) for i in range(0, len(results), columns)]
    rows = []
    for i in range(max(len(queries), len(lines))):
        left = queries[i] if i < len(queries) else None
        rows.append([left, *(lines[i] if i < len(lines) else [])])
    return draw_sheet(rows, title=title, legend=legend, panel_size=panel_size)


def to_rgb(
    image: np.ndarray, bands: Sequence[int] = (0, 1, 2), stretch: bool | None = None
) -> np.ndarray:
    """Makes a displayable picture of an image with any bands and depth.

    Args:
        image: (H, W) or (H, W, C).
        bands: bands for red, green and blue; an image with fewer than three bands is shown in grey.
        stretch: maps the 2nd to the 98th percentile of all shown values to 0..255, once for all
            bands, which keeps the relation of colours. None: only if the image is not uint8.

    Returns:
        (H, W, 3) uint8.
    """
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None]
    image = image[..., list(bands)] if image.shape[-1] > max(bands) else image[..., [0, 0, 0]]
    if stretch is False or (stretch is None and image.dtype == np.uint8):
        return np.ascontiguousarray(image.astype(np.uint8))
    low, high = np.nanpercentile(image, (2, 98))
    scaled = (image - low) / max(high - low, 1e-9)
    return (np.nan_to_num(scaled).clip(0, 1) * 255).astype(np.uint8)
