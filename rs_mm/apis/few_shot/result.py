"""The result of a few-shot segmenter for one image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rs_mm.rasters import Grid
from rs_mm.visualization.few_shot_visualizer import FOREGROUND, overlay
from rs_mm.visualization.sheet import Panel, draw_sheet, save_sheet

from .maps import write_maps

_ROWS = 512  # rows of a strip that is written at a time


@dataclass
class FewShotMask:
    """The mask of an image where it shows the class of the supports.

    Attributes:
        mask: (H, W) uint8 at the size of the image: 1 for the class, 255 where a raster holds no
            data.
        votes: (H, W) float32, number of the K supports that voted for the class; where tiles of a
            scene overlap, their weighted mean; NaN without data.
        probability: (H, W) float32 in [0, 1], mean over the supports of the softmax of their
            logits; NaN without data.
        image: (H, W, 3) uint8 RGB, the input of the model.
        name: name of the image.
        class_name: name of the class.
        supports: pairs of an image (h, w, 3) uint8 and its mask (h, w) uint8, for the picture.
        grid: georeference of the image, if it is known.
    """

    mask: np.ndarray
    votes: np.ndarray
    probability: np.ndarray
    image: np.ndarray
    name: str = 'image'
    class_name: str = 'object'
    supports: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    grid: Grid | None = None

    @property
    def score(self) -> float:
        """The mean probability where the class was found; 0 if it was not found."""
        found = self.mask == 1
        return float(self.probability[found].mean()) if found.any() else 0.0

    @property
    def share(self) -> float:
        """The share of the pixels with data that show the class."""
        return float((self.mask == 1).sum() / max(1, (self.mask < 2).sum()))

    def draw(self) -> np.ndarray:
        """Draws supports, image and prediction: (H, W, 3) uint8 RGB."""
        examples = [
            Panel(overlay(image, mask == 1, FOREGROUND), f'support {i}')
            for i, (image, mask) in enumerate(self.supports, 1)
        ]
        grey = np.rint(255 * np.nan_to_num(self.probability)).astype(np.uint8)
        found = overlay(self.image, self.mask == 1, FOREGROUND)
        bottom = [
            Panel(self.image, self.name),
            Panel(found, f'found: {100 * self.share:.1f} % of the image'),
            Panel(np.repeat(grey[..., None], 3, 2), 'probability, 0 black to 1 white'),
        ]
        shots = len(self.supports)
        title = f'{self.class_name}, {shots} shot{"s" if shots > 1 else ""}'
        rows = [examples[i : i + 5] for i in range(0, shots, 5)]
        return draw_sheet([*rows, bottom], title=title, legend={self.class_name: FOREGROUND})

    def save(
        self, folder: str | Path, polygons: str = '.gpkg', min_area: float = 0.0
    ) -> list[Path]:
        """Writes mask, probability and a picture, ``NAME_mask``, ``NAME_probability``, ….

        For a georeferenced image the files are GeoTIFFs (class 1, no data 255; probability float32)
        and ``NAME_polygons.gpkg``, otherwise PNGs (255 for the class; probability 0 to 255).

        Args:
            folder: folder to write into.
            polygons: suffix of the file of polygons.
            min_area: polygons with a smaller area in square metres are left out.

        Returns:
            The files.
        """
        stem = Path(folder) / self.name
        picture = stem.with_name(f'{self.name}_picture.png')
        if self.grid is not None and self.grid.transform is not None:
            files = write_maps(
                stem, self.grid, self._strips, self.class_name, None, polygons, min_area
            )
            written = files.paths
        else:
            written = [stem.with_name(f'{self.name}_{what}.png') for what in _MAPS]
            save_sheet(written[0], (self.mask == 1).astype(np.uint8) * 255)
            save_sheet(written[1], np.rint(255 * np.nan_to_num(self.probability)).astype(np.uint8))
        save_sheet(picture, self.draw())
        return [*written, picture]

    def _strips(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        for first in range(0, len(self.mask), _ROWS):
            part = slice(first, first + _ROWS)
            yield first, self.mask[part], self.probability[part]


_MAPS = ('mask', 'probability')
