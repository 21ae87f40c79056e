"""Writing labels as a table, as georeferenced tiles, and as sheets of pictures."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rs_mm.errors import ConfigError
from rs_mm.files import atomic_path, atomic_write
from rs_mm.rasters import geo_package
from rs_mm.visualization.sheet import Panel, draw_sheet

_COLUMNS = ('path', 'window', 'labels', 'reason')
_DRIVERS = {'.gpkg': 'GPKG', '.geojson': 'GeoJSON', '.json': 'GeoJSON'}


def write_rows(path: str | Path, rows: Iterable[dict[str, Any]], classes: Sequence[str]) -> None:
    """Writes a CSV file with a row for each image or tile; an interrupted write leaves no file.

    Args:
        path: the file.
        rows: rows of :func:`~.result.table_row`, taken one by one.
        classes: names of the columns with probabilities.
    """
    with atomic_write(path, 'w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, [*_COLUMNS, *classes], restval='')
        writer.writeheader()
        writer.writerows(rows)


def check_tiles_file(path: str | Path) -> None:
    """Checks that tiles can be written to this file."""
    if Path(path).suffix.lower() not in _DRIVERS:
        raise ConfigError(f'{path}: tiles are written as .gpkg or .geojson.')
    geo_package('geopandas', f'{path}: writing tiles')


def write_tiles(path: str | Path, scenes: Sequence[Any]) -> None:
    """Writes the tiles of scenes as rectangles in WGS84, with labels and probabilities.

    Args:
        path: ``.gpkg`` or ``.geojson``; replaced if it exists.
        scenes: :class:`~.result.SceneLabels`; scenes without georeference are left out.
    """
    check_tiles_file(path)
    import geopandas
    from shapely.geometry import Polygon

    rows, shapes = [], []
    for scene in scenes:
        places = [] if scene.transform is None else scene.footprints()
        for corners, row, values in zip(places, scene.rows(), scene.probability):
            named = dict(zip(scene.classes, map(float, values)))
            rows.append(dict(path=row['path'], window=row['window'], labels=row['labels'], **named))
            shapes.append(Polygon(corners))
    path = Path(path)
    table = geopandas.GeoDataFrame(rows, geometry=shapes, crs='EPSG:4326')
    with atomic_path(path) as part:
        table.to_file(part, driver=_DRIVERS[path.suffix.lower()], engine='pyogrio', layer=path.stem)


def class_sheet(
    name: str,
    certain: Sequence[tuple[np.ndarray, str]],
    uncertain: Sequence[tuple[np.ndarray, str]],
) -> np.ndarray:
    """Draws the most certain images of a class and the images nearest to its threshold.

    Args:
        name: name of the class.
        certain, uncertain: pictures (H, W, 3) uint8 with a caption each.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    rows = [[Panel(*pair) for pair in group] for group in (certain, uncertain)]
    return draw_sheet(
        [row for row in rows if row],
        f'{name}: above the most certain images, below the images nearest to the threshold',
        panel_size=192,
    )
