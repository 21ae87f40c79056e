"""The results of a label predictor for an image, and for the tiles of a scene."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rs_mm.rasters import Window, footprint
from rs_mm.visualization.sheet import Panel, draw_sheet, save_sheet

from .tables import write_rows, write_tiles


@dataclass
class ImageLabels:
    """The labels of one image.

    Attributes:
        name: name of the image.
        classes: names of the L classes.
        probability: (L,) float32 in [0, 1]; for nearest neighbours the share of their weights.
            Empty if the image could not be read.
        label: (L,) bool: the found classes.
        path: the file; None for pixels in memory.
        image: (H, W, C) pixels in memory, for the picture; None for a file.
        reason: why the image could not be read; None if it could.
    """

    name: str
    classes: list[str]
    probability: np.ndarray
    label: np.ndarray
    path: str | None = None
    image: np.ndarray | None = None
    reason: str | None = None

    @property
    def labels(self) -> list[str]:
        """The names of the found classes."""
        return [name for name, found in zip(self.classes, self.label) if found]

    def row(self) -> dict[str, Any]:
        """Returns a row of a table: path, window, labels, reason, and the probability of each
        class."""
        return table_row(
            self.path or self.name, None, self.classes, self.probability, self.label, self.reason
        )

    def picture(self) -> np.ndarray:
        """Returns the image as (H, W, 3) uint8 RGB."""
        from rs_mm.datasets.transforms.clip_images import LoadRGBImage

        results = dict(img_path=self.path or self.name)
        if self.image is not None:
            results['img'] = self.image
        return LoadRGBImage()(results)['img']

    def draw(self) -> np.ndarray:
        """Draws the image with its labels: (H, W, 3) uint8 RGB."""
        if self.reason is not None:
            raise ValueError(f'{self.name} could not be read: {self.reason}')
        order = np.argsort(-self.probability, kind='stable')
        lines = [
            f'{"*" if self.label[i] else " "} {self.classes[i]} {self.probability[i]:.2f}'
            for i in order[: max(5, int(self.label.sum()))]
        ]
        return draw_sheet([[Panel(self.picture(), '\n'.join(lines))]], self.name, panel_size=384)

    def save(self, folder: str | Path) -> list[Path]:
        """Writes ``NAME_labels.csv`` and ``NAME_picture.png``; returns the files."""
        paths = [Path(folder) / f'{self.name}_{end}' for end in ('labels.csv', 'picture.png')]
        write_rows(paths[0], [self.row()], self.classes)
        save_sheet(paths[1], self.draw())
        return paths


@dataclass
class SceneLabels:
    """The labels of the tiles of one scene.

    Attributes:
        name: name of the scene.
        classes: names of the L classes.
        windows: N windows, without windows that hold no data.
        probability: (N, L) float32 in [0, 1].
        label: (N, L) bool.
        shape: (height, width) of the scene.
        stride: pixels between the starts of neighbouring windows.
        path: the file; None for pixels in memory.
        crs, transform: georeference of the scene; None if it is unknown.
        preview: (h, w, 3) uint8, the scene reduced.
    """

    name: str
    classes: list[str]
    windows: list[Window]
    probability: np.ndarray
    label: np.ndarray
    shape: tuple[int, int]
    stride: int
    path: str | None = None
    crs: Any = None
    transform: Any = None
    preview: np.ndarray = field(default_factory=lambda: np.zeros((1, 1, 3), np.uint8))

    def rows(self) -> list[dict[str, Any]]:
        """Returns a row of a table for each tile; see :meth:`ImageLabels.row`."""
        return [
            table_row(self.path or self.name, window, self.classes, *found)
            for window, *found in zip(self.windows, self.probability, self.label)
        ]

    def footprints(self) -> list[list[tuple[float, float]] | None]:
        """Returns the corners (longitude, latitude) of each tile; None without georeference."""
        return [footprint(self.transform, self.crs, window) for window in self.windows]

    def class_map(self, name: str) -> np.ndarray:
        """Returns the probability of a class as a grid of cells, one for each stride.

        Returns:
            (rows, columns) float32: the mean over the tiles that cover the middle of a cell, NaN
            where there is none.
        """
        cells = tuple(-(-length // self.stride) for length in self.shape)
        total, count = np.zeros(cells), np.zeros(cells)
        middles = [(np.arange(n) + 0.5) * self.stride for n in cells]
        for window, value in zip(self.windows, self.probability[:, self.classes.index(name)]):
            inside = np.ix_(
                *(
                    (part.start <= middle) & (middle < part.stop)
                    for part, middle in zip(window.slices, middles)
                )
            )
            total[inside] += value
            count[inside] += 1
        return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)

    def draw(self) -> np.ndarray:
        """Draws the scene, and a map of each class that was found somewhere: (H, W, 3) uint8
        RGB."""
        shown = [name for i, name in enumerate(self.classes) if self.label[:, i].any()]
        panels = [Panel(self.preview, self.name)]
        for name in shown:
            grey = np.nan_to_num(self.class_map(name))
            picture = np.repeat(np.rint(255 * grey).astype(np.uint8)[..., None], 3, 2)
            share = self.label[:, self.classes.index(name)].mean()
            panels.append(Panel(picture, f'{name}: {share:.0%} of the tiles'))
        title = f'{self.name}: {len(self.windows)} tiles, probability 0 black to 1 white'
        return draw_sheet([panels[i : i + 4] for i in range(0, len(panels), 4)], title)

    def save(self, folder: str | Path, rasters: bool = False) -> list[Path]:
        """Writes ``NAME_labels.csv``, ``NAME_picture.png`` and, georeferenced, a GeoPackage.

        Args:
            folder: folder to write into.
            rasters: whether to write a GeoTIFF of the probability of each class.

        Returns:
            The files.
        """
        stem = str(Path(folder) / self.name)
        paths = [Path(f'{stem}_labels.csv'), Path(f'{stem}_picture.png')]
        write_rows(paths[0], self.rows(), self.classes)
        save_sheet(paths[1], self.draw())
        if self.transform is not None:
            paths.append(Path(f'{stem}_tiles.gpkg'))
            write_tiles(paths[-1], [self])
        if rasters:
            paths += self.save_rasters(folder)
        return paths

    def save_rasters(self, folder: str | Path) -> list[Path]:
        """Writes ``NAME_CLASS.tif`` for each class: its probability, a pixel for each stride."""
        from rs_mm.rasters import Grid, Layer, write_raster

        written = []
        for name in self.classes:
            cells = self.class_map(name)
            written.append(Path(folder) / f'{self.name}_{name.replace("/", "_")}.tif')
            layer = Layer('float32', nodata=float('nan'), name=name, average=True)
            grid = Grid(
                cells.shape[0], cells.shape[1], scaled(self.transform, self.stride), self.crs
            )
            written[-1].parent.mkdir(parents=True, exist_ok=True)
            write_raster(written[-1], grid, [(0, cells)], layer)
        return written


def scaled(transform: Any, factor: float) -> Any:
    """Returns the transform of a raster with pixels ``factor`` times as large."""
    if transform is None:
        return None
    a, b, c, d, e, f = tuple(transform)[:6]
    return type(transform)(a * factor, b * factor, c, d * factor, e * factor, f)


def table_row(
    path: str,
    window: Window | None,
    classes: list[str],
    probability: np.ndarray,
    label: np.ndarray,
    reason: str | None = None,
) -> dict[str, Any]:
    """Returns a row of ``tags.csv``; the window is ``row column height width`` in pixels."""
    labels = ';'.join(name for name, found in zip(classes, label) if found)
    where = '' if window is None else ' '.join(map(str, window))
    row = dict(path=path, window=where, labels=labels, reason=reason or '')
    return row | {name: f'{value:.6f}' for name, value in zip(classes, probability)}
