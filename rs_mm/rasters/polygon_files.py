"""Writing any number of regions as polygons, some thousand at a time."""

from __future__ import annotations

import errno
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rs_mm.errors import ConfigError, DataError

from .grid import Grid
from .optional import geo_package
from .polygons import Region, by_size
from .scratch import system_errors

FORMATS = {'.gpkg': 'GPKG', '.geojson': 'GeoJSON', '.json': 'GeoJSON', '.parquet': 'Parquet'}
_BATCH = 20_000  # number of regions that are held and sorted at a time
_DEGREES = 'EPSG:4326'


def check_polygon_file(path: str | Path) -> None:
    """Checks that the suffix can be written and the packages are installed.

    Raises:
        ConfigError: the suffix is unknown, or a package is missing.
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise ConfigError(f'{path}: polygons are written as .gpkg, .geojson or .parquet.')
    for package in ('pyogrio', 'shapely', 'pyproj'):
        geo_package(package, f'{path}: writing polygons')


def write_polygons(
    path: str | Path,
    found: Iterable[Region],
    grid: Grid,
    class_names: dict[int, str],
    simplify: float = 0.0,
) -> None:
    """Writes regions with class, name, pixels, area in square metres and mean probability.

    The largest region comes first; more than 20,000 regions are sorted in groups of 20,000. GeoJSON
    is in longitude and latitude, as its standard (RFC 7946) requires; the areas are those of the
    raster in every format.

    Args:
        path: ``.gpkg``, ``.geojson`` or ``.parquet``; replaced if it exists.
        found: regions of :func:`~rs_mm.rasters.regions`, taken one by one.
        grid: grid with the coordinates of the geometries.
        class_names: name of each class.
        simplify: tolerance in units of the CRS (Douglas-Peucker); 0 keeps the outlines of the
            pixels.

    Raises:
        DataError: the file cannot be written.
    """
    check_polygon_file(path)
    path = Path(path)
    kind = FORMATS[path.suffix.lower()]
    part = path.with_name(f'.part_{path.name}')
    shape = _Shapes(grid, simplify, kind == 'GeoJSON')
    batches = (_batch(group, class_names, shape) for group in _groups(found))
    try:
        with system_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            part.unlink(missing_ok=True)
            if kind == 'Parquet':
                _write_parquet(part, batches, shape.crs)
            else:
                _write_layer(path, part, batches, shape.crs, kind)
            part.replace(path)
    finally:
        for left in (part, *(part.with_name(part.name + end) for end in ('-journal', '-wal'))):
            left.unlink(missing_ok=True)


def _groups(found: Iterable[Region]) -> Iterator[list[Region]]:
    found = iter(found)
    while group := list(itertools.islice(found, _BATCH)):
        yield sorted(group, key=by_size)


class _Shapes:
    """Returns a function from the geometry of a region to the geometry in the file."""

    def __init__(self, grid: Grid, simplify: float, degrees: bool) -> None:
        import pyproj

        self.simplify, self.project = simplify, None
        self.crs = None if grid.crs is None else pyproj.CRS.from_wkt(grid.crs.to_wkt())
        if degrees and self.crs is not None:
            target = pyproj.CRS.from_user_input(_DEGREES)
            change = pyproj.Transformer.from_crs(self.crs, target, always_xy=True)
            self.crs, self.project = target, change.transform

    def __call__(self, regions: list[Region]) -> list[bytes]:
        """Returns the well-known binary of each geometry."""
        import shapely

        shapes: Any = [region.geometry for region in regions]
        if self.simplify:
            shapes = shapely.simplify(shapes, self.simplify)
        if self.project is not None:
            shapes = shapely.transform(shapes, self.project, interleaved=False)
        return list(shapely.to_wkb(shapes))


def _schema():
    import pyarrow

    kind = {b'ARROW:extension:name': b'geoarrow.wkb'}
    return pyarrow.schema(
        [
            ('class', pyarrow.int32()),
            ('name', pyarrow.string()),
            ('pixels', pyarrow.int64()),
            ('area_m2', pyarrow.float64()),
            ('mean_probability', pyarrow.float64()),
            pyarrow.field('geometry', pyarrow.binary(), metadata=kind),
        ]
    )


def _batch(regions, class_names, shape):
    import pyarrow

    schema = _schema()
    columns = (
        [region.class_index for region in regions],
        [class_names.get(region.class_index, '') for region in regions],
        [region.pixels for region in regions],
        [_or_none(region.area_m2) for region in regions],
        [_or_none(region.mean) for region in regions],
        shape(regions),
    )
    arrays = [pyarrow.array(values, field.type) for values, field in zip(columns, schema)]
    return pyarrow.record_batch(arrays, schema=schema)


def _or_none(value):
    return None if value != value else value


def _write_layer(path, part, batches, crs, kind):
    import pyarrow
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, GeometryError

    count = [0]

    def counted():
        for batch in batches:
            count[0] += len(batch)
            yield batch

    reader = pyarrow.RecordBatchReader.from_batches(_schema(), counted())
    try:
        pyogrio.write_arrow(
            reader,
            part,
            layer=path.stem,
            driver=kind,
            geometry_name='geometry',
            geometry_type='Polygon',
            crs=None if crs is None else crs.to_wkt(),
        )
        written = pyogrio.read_info(part, layer=path.stem)['features']
    except (DataLayerError, DataSourceError, FeatureError, GeometryError) as error:
        text = str(error).rstrip('.')
        full = re.search('disk is full|disk I/O error|No space left', text)
        raise DataError(
            f'{path} cannot be written: {"the disk is full" if full else text}.'
        ) from error
    if written != count[0]:  # a driver that does not report its error
        raise OSError(errno.ENOSPC, 'it cannot be read back')


def _write_parquet(part, batches, crs):
    """Writes GeoParquet 1.0, which describes the geometry in the metadata of the file."""
    import pyarrow.parquet

    column: dict[str, Any] = dict(encoding='WKB', geometry_types=['Polygon'])
    column['crs'] = None if crs is None else crs.to_json_dict()
    about = dict(version='1.0.0', primary_column='geometry', columns=dict(geometry=column))
    schema = _schema().with_metadata({'geo': json.dumps(about)})
    with pyarrow.parquet.ParquetWriter(part, schema) as writer:
        for batch in batches:
            writer.write_batch(batch.replace_schema_metadata(schema.metadata))
