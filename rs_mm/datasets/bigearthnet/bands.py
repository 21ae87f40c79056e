"""Sentinel-2 bands of BigEarthNet: groups, statistics, and the enlargement of bands to 10 m."""

from __future__ import annotations

import cv2
import numpy as np

#: Bands of each group of a record, in the order they are stored: 10 m, 20 m and 60 m.
GROUPS = dict(
    b10=('B02', 'B03', 'B04', 'B08'),
    b20=('B05', 'B06', 'B07', 'B8A', 'B11', 'B12'),
    b60=('B01', 'B09'),
)

#: Pixels per side of a patch in each group.
SIZES = dict(b10=120, b20=60, b60=20)

#: Selections of bands for a network: true colour, 10 bands (10 m, then 20 m) or all 12 (then 60 m).
SELECTIONS = {
    'rgb': ('B04', 'B03', 'B02'),
    '10': GROUPS['b10'] + GROUPS['b20'],
    '12': GROUPS['b10'] + GROUPS['b20'] + GROUPS['b60'],
}

#: Published mean and standard deviation per band, in digital numbers.
STATISTICS = dict(
    B01=(340.76769064, 554.81258967),
    B02=(429.9430203, 572.41639287),
    B03=(614.21682446, 582.87945694),
    B04=(590.23569706, 675.88746967),
    B05=(950.68368468, 729.89827633),
    B06=(1792.46290469, 1096.01480586),
    B07=(2075.46795189, 1273.45393088),
    B08=(2218.94553375, 1365.45589904),
    B8A=(2266.46036911, 1356.13789355),
    B09=(2246.0605464, 1302.3292881),
    B11=(1594.42694882, 1079.19066363),
    B12=(1009.32729131, 818.86747235),
)


def upsample(bands: np.ndarray, factor: int) -> np.ndarray:
    """Enlarges bands bilinearly with half-pixel centres, mirroring about the edge pixel.

    Outside the image, the value at ``-1`` equals the value at ``1`` (the edge is not repeated), as
    in the original pipeline, so the first two rows of a doubled band are equal. The usual rule
    repeats the edge and differs in the outermost rows and columns.

    Args:
        bands: (C, H, W), any number type; H and W at least 2.
        factor: an even number: 2 for 20 m to 10 m, 6 for 60 m.

    Returns:
        (C, factor * H, factor * W) float32.
    """
    count, height, width = bands.shape
    large = np.empty((count, factor * height, factor * width), np.float32)
    for source, target in zip(bands.astype(np.float32), large):
        # OpenCV repeats the edge; with mirroring, the outer half pixel is the reflected inner one
        cv2.resize(source, target.shape[::-1], dst=target, interpolation=cv2.INTER_LINEAR)
    half = factor // 2
    for outer, inner in (
        (slice(0, half), slice(2 * half - 1, half - 1, -1)),
        (slice(-1, -half - 1, -1), slice(-2 * half, -half)),
    ):
        large[:, outer] = large[:, inner]
        large[..., outer] = large[..., inner]
    return large


def select_bands(record: dict[str, np.ndarray], selection: tuple[str, ...]) -> np.ndarray:
    """Returns bands of a record, all on the 10 m grid.

    Args:
        record: ``b10``, ``b20`` and ``b60`` as in ``records.py``.
        selection: band names, e.g. ``SELECTIONS['rgb']``.

    Returns:
        (len(selection), 120, 120) float32, in the order of ``selection``.
    """
    out = np.empty((len(selection), SIZES['b10'], SIZES['b10']), np.float32)
    for group, bands in GROUPS.items():
        wanted = [band for band in bands if band in selection]
        if not wanted:
            continue
        places = [selection.index(band) for band in wanted]
        rows = [bands.index(band) for band in wanted]
        if group == 'b10':
            for place, row in zip(places, rows):
                out[place] = record[group][row]
        else:
            out[places] = upsample(record[group][rows], SIZES['b10'] // SIZES[group])
    return out
