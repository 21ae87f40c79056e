"""Metadata of archive images (date, place, sensor, labels), from the file and from a table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rs_mm.errors import DataError, MissingFileError, suggest
from rs_mm.rasters import describe, has_rasterio
from rs_mm.tables import read_csv

COLUMNS = ('name', 'date', 'sensor', 'labels', 'west', 'south', 'east', 'north')
_TIFF = ('.tif', '.tiff')


def file_metadata(
    path: str | Path, window: tuple[int, int, int, int] | None = None
) -> dict[str, Any]:
    """Reads place and date of a GeoTIFF; returns nothing for other files or without rasterio.

    Args:
        path: the file.
        window: ``(x, y, width, height)`` in pixels, to which the footprint belongs.

    Returns:
        The known values of ``west``, ``south``, ``east``, ``north`` in degrees and ``date``.
    """
    if Path(path).suffix.lower() not in _TIFF or not has_rasterio():
        return {}
    import rasterio
    from rasterio.warp import transform_bounds

    try:
        info = describe(path)
        with rasterio.open(path) as dataset:
            tags = dataset.tags()
    except (DataError, MissingFileError, rasterio.errors.RasterioError):
        return {}  # the loading step reports what is wrong with the file
    found: dict[str, Any] = {}
    match = re.match(r'(\d{4}):(\d\d):(\d\d) (\d\d:\d\d:\d\d)', tags.get('TIFFTAG_DATETIME', ''))
    if match:
        found['date'] = '{}-{}-{}T{}'.format(*match.groups())
    if info.crs is not None and info.transform is not None:
        x, y, width, height = window or (0, 0, info.width, info.height)
        corners = [info.transform * (x + i * width, y + j * height) for i in (0, 1) for j in (0, 1)]
        xs, ys = zip(*corners)
        bounds = transform_bounds(info.crs, 'EPSG:4326', min(xs), min(ys), max(xs), max(ys))
        found.update(zip(('west', 'south', 'east', 'north'), bounds))
    return found


def read_metadata_table(path: str | Path) -> dict[str, dict[str, Any]]:
    """Reads a CSV with a row per image.

    Args:
        path: UTF-8, with a header: ``name`` (path relative to the archive, or the file's name) and
            any of ``date`` (ISO), ``sensor``, ``labels`` (separated by ``;``), ``west``, ``south``,
            ``east``, ``north`` (degrees).

    Returns:
        The values of each name, without empty cells.

    Raises:
        MissingFileError: the file does not exist.
        DataError: a column is unknown, or a value cannot be read; the message names file and line.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f'there is no metadata table {path}.')
    lines = read_csv(path)
    header = [cell.strip() for cell in lines[0]] if lines else []
    unknown = next((name for name in header if name not in COLUMNS), None)
    if 'name' not in header or unknown is not None:
        what = (
            f'an unknown column "{unknown}"{suggest(unknown, COLUMNS)}' if unknown else 'no "name"'
        )
        raise DataError(f'{path}: the header has {what}; columns are {", ".join(COLUMNS)}.')
    table = {}
    for number, cells in enumerate(lines[1:], 2):
        if not any(cells):
            continue
        row = {key: cell.strip() for key, cell in zip(header, cells) if cell.strip()}
        if len(cells) != len(header) or 'name' not in row:
            raise DataError(f'{path}, line {number}: expected {len(header)} cells with a name.')
        name = row.pop('name')
        table[name] = _values(row, f'{path}, line {number}')
    return table


def known_of(table: Mapping[str, Mapping[str, Any]] | None, name: str) -> dict[str, Any]:
    """Returns the values of an image by its path, or else by its file name."""
    found: dict[str, Any] = {}
    for key in (Path(name).name, name):
        found.update((table or {}).get(key, {}))
    return found


def _values(row, where):
    values: dict[str, Any] = dict(row)
    if 'date' in row and not re.match(r'\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d)?)?)?)?$', row['date']):
        raise DataError(f'{where}: the date "{row["date"]}" is not written as 2020-05-31.')
    if 'labels' in row:
        values['labels'] = tuple(part.strip() for part in row['labels'].split(';') if part.strip())
    edges = [key for key in ('west', 'south', 'east', 'north') if key in row]
    if edges and len(edges) < 4:
        raise DataError(f'{where}: a footprint has west, south, east and north.')
    for key in edges:
        try:
            values[key] = float(row[key])
        except ValueError:
            raise DataError(f'{where}: {key} is "{row[key]}", which is not a number.') from None
    return values
