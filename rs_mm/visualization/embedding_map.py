"""A map of an embedding in two dimensions, coloured by the label sets of its images."""

from __future__ import annotations

import colorsys
from collections import Counter
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from .sheet import Panel, draw_sheet

OTHER = (205, 205, 205)


def project(embeddings: np.ndarray, seed: int = 0) -> np.ndarray:
    """Places vectors on a plane by t-SNE, which keeps neighbours together.

    Args:
        embeddings: (N, D).
        seed: seed of the method.

    Returns:
        (N, 2) float, in [0, 1].
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    embeddings = np.asarray(embeddings, np.float32)
    with np.errstate(invalid='ignore'):  # the variance of a single vector is undefined
        places = PCA(min(2, *embeddings.shape), svd_solver='full').fit_transform(embeddings)
    places = np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
    if len(np.unique(embeddings, axis=0)) >= 5:  # fewer vectors have no neighbourhoods
        # scikit-learn's method fails with equal starting points, so they are moved apart slightly
        start = 1e-4 * places / places.std(0).clip(1e-9)[:1]
        start = start + np.random.default_rng(seed).normal(0, 1e-5, start.shape)
        places = TSNE(
            init=start.astype(np.float32),
            perplexity=min(30, (len(places) - 1) / 3),
            random_state=seed,
        ).fit_transform(embeddings)
    low, high = places.min(0), places.max(0)
    return (places - low) / np.maximum(high - low, 1e-9)


def draw_embedding_map(
    places: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    title: str = '',
    num_sets: int = 12,
    size: int = 900,
) -> np.ndarray:
    """Draws one dot per image; the most frequent label sets have colours, the rest is grey.

    Args:
        places: (N, 2), in [0, 1].
        labels: (N, L) of 0 and 1.
        classes: L names.
        title: text above.
        num_sets: number of label sets with a colour.
        size: side of the map in pixels.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    sets = [tuple(np.flatnonzero(row)) for row in np.asarray(labels)]
    counts = Counter(sets)
    colours = {
        group: _colour(i, num_sets) for i, (group, _) in enumerate(counts.most_common(num_sets))
    }
    scale, margin = 3, 0.03  # drawn large and reduced, for smooth dots
    canvas = Image.new('RGB', (size * scale, size * scale), (255, 255, 255))
    pen = ImageDraw.Draw(canvas)
    radius = scale * float(np.clip(size / 4 / np.sqrt(len(sets)), 3, 9))
    order = sorted(range(len(sets)), key=lambda i: sets[i] in colours)  # coloured dots on top
    for i in order:
        x, y = (margin + (1 - 2 * margin) * np.asarray(places[i])) * size * scale
        pen.ellipse(
            (x - radius, y - radius, x + radius, y + radius),
            fill=colours.get(sets[i], OTHER),
            outline=(255, 255, 255),
            width=scale,
        )
    canvas = canvas.resize((size, size), Image.LANCZOS)
    legend = {
        f'{_name(group, classes)} ({counts[group]})': colour for group, colour in colours.items()
    }
    rest = len(sets) - sum(counts[group] for group in colours)
    if rest:
        legend[f'{len(counts) - len(colours)} other label sets ({rest})'] = OTHER
    return draw_sheet([[Panel(np.asarray(canvas))]], title, legend, panel_size=size)


def _colour(i, count):
    red, green, blue = colorsys.hsv_to_rgb(i / count, 0.85, (0.9, 0.6)[i % 2])
    return int(255 * red), int(255 * green), int(255 * blue)


def _name(group, classes):
    return ', '.join(classes[i] for i in group) or 'no label'
