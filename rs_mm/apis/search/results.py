"""The results of a search, and their files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rs_mm.errors import ConfigError, DataError
from rs_mm.files import atomic_path, atomic_write
from rs_mm.rasters import geo_package
from rs_mm.retrieval.index import Answer, Record
from rs_mm.visualization import save_sheet

FIELDS = ('rank', 'score', 'path', 'window', 'date', 'sensor', 'labels', 'change')


class Found(NamedTuple):
    """One found image, or a window of an image.

    ``score`` is a cosine, or the fused score of the method; ``record`` is the record of the index;
    ``change`` is the predicted share of changed pixels, if requested.
    """

    path: str
    score: float
    record: Record
    change: float | None = None


class Results(list):
    """The found images, best first.

    Attributes:
        answer: back end, exactness, and number of compared records.
        method: name of the method.
        sheet: draws query and hits; None where there is no engine to read the pictures.
    """

    def __init__(
        self,
        found: list[Found],
        answer: Answer,
        method: str,
        sheet: Callable[[Results], np.ndarray] | None = None,
    ) -> None:
        super().__init__(found)
        self.answer, self.method, self.sheet = answer, method, sheet

    @property
    def scores(self) -> np.ndarray:
        """(k,) float64, best first; see :class:`Found`."""
        return np.array([hit.score for hit in self], np.float64)

    @property
    def paths(self) -> list[str]:
        """The files, best first."""
        return [hit.path for hit in self]

    def draw(self) -> np.ndarray:
        """The query and what was found: (H, W, 3) uint8 RGB.

        Raises:
            ConfigError: the results are not those of an :class:`ImageSearch`.
        """
        if self.sheet is None:
            raise ConfigError('these results know no engine that reads their pictures.')
        return self.sheet(self)

    def rows(self) -> list[dict]:
        """Returns a dict per image with the keys :data:`FIELDS`; unknown values are empty."""
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
        """Returns a FeatureCollection of footprints; an image without footprint has no geometry."""
        return dict(
            type='FeatureCollection',
            features=[
                dict(type='Feature', geometry=_polygon(hit.record.footprint), properties=row)
                for hit, row in zip(self, self.rows())
            ],
        )

    def save(self, path: str | Path) -> list[Path]:
        """Writes a table, or into a folder a table, footprints and a picture.

        Args:
            path: a ``.csv``, ``.geojson`` or ``.gpkg``; see :func:`save_results`. Without a suffix
                a folder: ``results.csv``, ``results.geojson`` where a hit has a footprint, and
                ``results.png``.

        Returns:
            The files.
        """
        path = Path(path)
        if path.suffix and not path.is_dir():
            save_results(path, {'': self})
            return [path]
        files = [path / 'results.csv']
        if any(hit.record.footprint is not None for hit in self):
            files.append(path / 'results.geojson')
        for file in files:
            save_results(file, {'': self})
        if self.sheet is not None:
            files.append(path / 'results.png')
            save_sheet(files[-1], self.draw())
        return files


def save_results(path: str | Path, results: dict[str, Results]) -> None:
    """Writes the results of one or several queries into one file.

    Args:
        path: ``.csv``, ``.geojson`` or ``.gpkg`` (only results with a footprint).
        results: results by the name of the query, which becomes a column if there are several.

    Raises:
        ConfigError: the suffix is another one.
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
        raise DataError(f'{path}: no result has a footprint; write a .csv.')
    table = geopandas.GeoDataFrame.from_features(features, crs='EPSG:4326')
    with atomic_path(path) as part:
        table.to_file(part, driver='GPKG', engine='pyogrio', layer='results')


def check_output(path: str | Path) -> None:
    """Refuses a name that :meth:`Results.save` cannot write.

    Raises:
        ConfigError: the suffix is another one; the message names the suffixes.
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
