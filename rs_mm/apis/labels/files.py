"""Labels of files and folders as a table, for tools/predict_labels.py."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from rs_mm.apis.paths import find_images
from rs_mm.errors import DataError
from rs_mm.rasters import SceneTiles, TileSize, Window
from rs_mm.visualization.retrieval_sheet import to_rgb
from rs_mm.visualization.sheet import save_sheet

from .predictor import LabelPredictor
from .result import ImageLabels, SceneLabels, table_row
from .tables import check_tiles_file, class_sheet, write_rows, write_tiles

_SHOWN = 6  # number of images of a class in a sheet, for the most and the least certain each


def label_images(
    predictor: LabelPredictor,
    paths: Sequence[str | Path],
    out: str | Path,
    show_dir: str | Path | None = None,
    batch_size: int | None = None,
) -> dict[str, str]:
    """Writes a row for each image: labels and the probability of each class.

    Args:
        predictor: the model.
        paths: files and folders.
        out: CSV file.
        show_dir: folder for a sheet of each class: the most certain images, and the images nearest
            to the threshold.
        batch_size: images per pass of the model.

    Returns:
        The files that could not be read, with the reasons; they also have rows.
    """
    sheets, failed = _Sheets(predictor), {}

    def rows() -> Iterator[dict]:
        for result in predictor.predict_many(find_images(paths), batch_size):
            if result.reason is not None:
                failed[str(result.path)] = result.reason
            elif show_dir is not None:
                sheets.add(result.probability, str(result.path), None)
            yield result.row()

    write_rows(out, rows(), predictor.classes)
    if show_dir is not None:
        sheets.save(show_dir)
    return failed


def label_scenes(
    predictor: LabelPredictor,
    paths: Sequence[str | Path],
    out: str | Path,
    size: TileSize,
    tiles: str | Path | None = None,
    rasters: str | Path | None = None,
    show_dir: str | Path | None = None,
    batch_size: int | None = None,
) -> dict[str, str]:
    """Writes a row for each tile of each scene.

    Args:
        predictor, paths, out, show_dir, batch_size: see :func:`label_images`.
        size: of the tiles.
        tiles: ``.gpkg`` or ``.geojson`` with the tiles of georeferenced scenes as rectangles.
        rasters: folder for a GeoTIFF of each class and scene.

    Returns:
        The scenes that could not be read, with the reasons; they also have rows.
    """
    if tiles is not None:
        check_tiles_file(tiles)
    sheets, failed, scenes = _Sheets(predictor), {}, []

    def rows() -> Iterator[dict]:
        for path in find_images(paths):
            try:
                scene = predictor.scene(path, size, batch_size)
            except (DataError, OSError) as error:
                failed[str(path)] = str(error)
                none = np.zeros(0)
                yield table_row(str(path), None, predictor.classes, none, none, str(error))
                continue
            yield from scene.rows()
            _keep(scene)

    def _keep(scene: SceneLabels) -> None:
        for window, probability in zip(scene.windows, scene.probability):
            sheets.add(probability, str(scene.path), window)
        if rasters is not None:
            scene.save_rasters(rasters)
        if show_dir is not None:
            save_sheet(Path(show_dir) / f'{scene.name}.png', scene.draw())
        if tiles is not None:
            scene.preview = scene.preview[:1, :1]  # freed: it may be large
            scenes.append(scene)

    write_rows(out, rows(), predictor.classes)
    if tiles is not None:
        write_tiles(tiles, scenes)
    if show_dir is not None:
        sheets.save(show_dir)
    return failed


class _Sheets:
    """For each class, the most certain images and the images nearest to the threshold."""

    def __init__(self, predictor):
        self.classes = predictor.classes
        self.thresholds = predictor.thresholds
        if self.thresholds is None:
            self.thresholds = np.full(len(self.classes), 0.5)
        self.certain = [[] for _ in self.classes]
        self.uncertain = [[] for _ in self.classes]
        self._count = 0

    def add(self, probability, path, window):
        """Keeps an image or tile if it is among the first of a class."""
        self._count += 1
        for i, value in enumerate(map(float, probability)):
            entry = (-self._count, path, window, value)
            for kept, key in (
                (self.certain[i], value),
                (self.uncertain[i], -abs(value - self.thresholds[i])),
            ):
                heapq.heappush(kept, (key, *entry))
                if len(kept) > _SHOWN:
                    heapq.heappop(kept)

    def save(self, folder):
        """Writes ``CLASS.png`` for each class."""
        for name, *groups in zip(self.classes, self.certain, self.uncertain):
            if not groups[0]:
                continue
            pictures = [
                [_picture(path, window, value) for _, _, path, window, value in _sorted(group)]
                for group in groups
            ]
            file = Path(folder) / f'{name.replace("/", "_")}.png'
            save_sheet(file, class_sheet(name, *pictures))


def _sorted(group: Iterable[tuple]) -> list[tuple]:
    return sorted(group, key=lambda entry: entry[:2], reverse=True)


def _picture(path: str, window: Window | None, value: float) -> tuple[np.ndarray, str]:
    caption = f'{Path(path).name}\n{value:.3f}'
    if window is None:
        return ImageLabels(Path(path).stem, [], np.zeros(0), np.zeros(0), path).picture(), caption
    with SceneTiles(path) as scene:
        image = to_rgb(scene.read(*window.slices)[0])
    return image, f'{caption} at {window.row}, {window.column}'
