"""Labels of images and tiles as a map in one HTML file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rs_mm.datasets.archive_metadata import file_metadata
from rs_mm.datasets.transforms.clip_images import LoadRGBImage
from rs_mm.errors import DataError
from rs_mm.rasters import Window
from rs_mm.tables import read_records
from rs_mm.visualization.web_map import Item, Overlay, Shapes, WebMap, rectangle

_PICTURES = 300  # number of images with pictures in the page
_SIDE = 1024
_NONE = '#868e96'
_COLOURS = ('#e02828', '#f08c00', '#1c7ed6', '#7048e8', '#0ca678', '#d6336c', '#5c940d', '#0b7285')


def labels_map(table: str | Path) -> WebMap:
    """Makes a map of a table of :func:`~.files.label_images` or :func:`~.files.label_scenes`.

    Georeferenced images are on the map, each tile as a rectangle in the colour of its first label.
    Other images are listed, the first 300 with pictures.

    Args:
        table: the CSV.
    """
    page = WebMap('Labels', Path(table).name)
    features: list[dict] = []
    header, rows = read_records(table)
    missing = [name for name in ('path', 'window', 'labels', 'reason') if name not in header]
    if missing:
        raise DataError(f'{table} has no column {missing[0]!r}; it is not a table of labels.')
    colours = _colours(rows)
    pictures: dict[str, np.ndarray | None] = {}
    for row in rows:
        first = row['path'] not in pictures
        if first:
            shown = len(pictures) < _PICTURES and not row['reason']
            pictures[row['path']] = _picture(row['path']) if shown else None
        picture = pictures[row['path']]
        place = _place(row)
        if place is not None:
            label = row['labels'].split(';')[0]
            about = {key: value for key, value in row.items() if key is not None and value}
            features.append(rectangle(place, {**about, '_colour': colours.get(label, _NONE)}))
        if first and picture is not None and (whole := _bounds(row['path'], None)) is not None:
            page.overlays.append(Overlay(Path(row['path']).name, picture, whole, 'images'))
        if not row['window']:
            text = row['reason'] or row['labels'] or 'no label'
            page.items.append(Item(Path(row['path']).name, text, picture, place))
    if features:
        page.shapes.append(Shapes('labels', features, fill=0.3))
        page.legend = list(colours.items())
    return page


def _colours(rows):
    """Returns a colour for each of the most frequent first labels."""
    names = [row['labels'].split(';')[0] for row in rows if row['labels']]
    frequent = sorted(set(names), key=lambda name: (-names.count(name), name))
    return dict(zip(frequent, _COLOURS))


def _place(row):
    try:
        window = Window(*map(int, row['window'].split())) if row['window'] else None
    except (TypeError, ValueError):
        raise DataError(
            f'the window {row["window"]!r} of {row["path"]} is not four numbers.'
        ) from None
    return _bounds(row['path'], window)


def _bounds(path, window):
    box = None if window is None else (window.column, window.row, window.width, window.height)
    found = file_metadata(path, box)
    if 'west' not in found:
        return None
    return found['west'], found['south'], found['east'], found['north']


def _picture(path):
    try:
        image = LoadRGBImage()(dict(img_path=path))['img']
    except (DataError, OSError):
        return None
    step = max(1, -(-max(image.shape[:2]) // _SIDE))
    return image[::step, ::step]
