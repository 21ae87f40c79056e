"""What a search found, and files of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import NamedTuple

from rs_mm.errors import ConfigError, DataError
from rs_mm.files import atomic_write
from rs_mm.rasters import geo_package
from rs_mm.retrieval.index import Answer, Record

FIELDS = ('rank', 'score', 'path', 'window', 'date', 'sensor', 'labels', 'change')


class Found(NamedTuple):
    """One image found, or a window of one.

    ``score`` is a cosine, or what the method makes of two; ``record`` is what the index knows;
    ``change`` is the predicted share of changed pixels where it was asked for.
    """

    path: str
    score: float
    record: Record
    change: float | None = None


class Results(list):
    """The images found, best first.

    Attributes:
        answer: how they were found: back end, exact or not, how many were compared.
        method: name of the method.
    """

    def __init__(self, found: list[Found], answer: Answer, method: str) -> None:
        super().__init__(found)
        self.answer, self.method = answer, method

    def rows(self) -> list[dict]:
        """A dict per image with the keys :data:`FIELDS`; what is not known is empty."""
        return [
            dict(
                rank=rank,
                score=round(hit.score, 6),
                path=hit.path,
                window=' '.join(map(str, hit.record.window or ())),
                date=hit.record.date,
                sensor=hit.record.sensor,
                labels=';'.join(hit.record.labels),
                change='' if hit.change is None else round(hit.change, 6),
            )
            for rank, hit in enumerate(self, 1)
        ]

    def geojson(self) -> dict:
        """A FeatureCollection of footprints; an image without one has no geometry."""
        return dict(
            type='FeatureCollection',
            features=[
                dict(type='Feature', geometry=_polygon(hit.record.footprint), properties=row)
                for hit, row in zip(self, self.rows())
            ],
        )

    def save(self, path: str | Path) -> None:
        """Writes a ``.csv``, a ``.geojson`` or a ``.gpkg``; see :func:`save_results`."""
        save_results(path, {'': self})


def save_results(path: str | Path, results: dict[str, Results]) -> None:
    """Writes what one or several queries found into one file.

    Args:
        path: ``.csv``, ``.geojson`` or ``.gpkg`` (those with a footprint alone).
        results: by the name of the query, which becomes a column where there are several.

    Raises:
        ConfigError: for another suffix.
    """
    check_output(path)
    many = len(results) > 1
    suffix = Path(path).suffix.lower()
    if suffix == '.csv':
        with atomic_write(path, 'w', newline='', encoding='utf-8') as file:
            writer = csv.DictWriter(file, [*(('query',) if many else ()), *FIELDS])
            writer.writeheader()
            for name, found in results.items():
                writer.writerows(({'query': name} if many else {}) | row for row in found.rows())
        return
    features = [
        dict(feature, properties=({'query': name} if many else {}) | feature['properties'])
        for name, found in results.items()
        for feature in found.geojson()['features']
    ]
    if suffix == '.gpkg':
        _write_geopackage(Path(path), [feature for feature in features if feature['geometry']])
        return
    with atomic_write(path, 'w', encoding='utf-8') as file:
        json.dump(dict(type='FeatureCollection', features=features), file, ensure_ascii=False)


def _write_geopackage(path, features):
    geopandas = geo_package('geopandas', f'{path}: writing a GeoPackage')
    if not features:
        raise DataError(f'{path}: nothing that was found has a footprint; write a .csv.')
    table = geopandas.GeoDataFrame.from_features(features, crs='EPSG:4326')
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.part_{path.name}')
    try:
        part.unlink(missing_ok=True)
        table.to_file(part, driver='GPKG', engine='pyogrio', layer='results')
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def check_output(path: str | Path) -> None:
    """Refuses a name that :meth:`Results.save` cannot write.

    Raises:
        ConfigError: naming the suffixes.
    """
    if Path(path).suffix.lower() not in ('.csv', '.geojson', '.json', '.gpkg'):
        raise ConfigError(f'{path}: results are written as .csv, .geojson or .gpkg.')
    if Path(path).is_dir():
        raise ConfigError(f'{path} is a folder; name a file.')


def _polygon(bounds):
    if bounds is None:
        return None
    west, south, east, north = bounds
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return dict(type='Polygon', coordinates=[ring])
