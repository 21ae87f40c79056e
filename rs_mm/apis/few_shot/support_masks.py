"""Reading the mask of a support from a picture, a palette, or polygons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rs_mm.apis.inputs import Picture
from rs_mm.datasets.label_maps import read_label_map
from rs_mm.errors import DataError, MissingFileError
from rs_mm.rasters import describe, geo_package, open_raster

_POLYGONS = ('.gpkg', '.geojson', '.json', '.shp', '.fgb', '.parquet')
IGNORE = 255


def read_mask(
    mask: Any,
    image: Picture,
    shape: tuple[int, int],
    class_value: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Reads where a support shows the class.

    Args:
        mask: array (H, W) or (H, W, 3), Pillow image, raster file, or a file of polygons over a
            georeferenced support.
        image: the support.
        shape: (H, W) of the support.
        class_value: the number of the class in the mask, or the three of its colour. Default: the
            only number besides 0. Polygons have no number; all of them are the class.

    Returns:
        (H, W) uint8: 1 for the class, 0 for the rest, 255 for unknown pixels, which a map of class
        numbers marks by 255.

    Raises:
        MissingFileError: the file does not exist.
        DataError: the mask has another size, holds several classes without a ``class_value``, lacks
            the class, or is empty.
    """
    name = _name(mask, image)
    if isinstance(mask, (str, Path)) and Path(mask).suffix.lower() in _POLYGONS:
        found = _burn(Path(mask), image, shape)
    else:
        values = _values(mask, image, name)
        if values.shape[:2] != shape:
            raise DataError(
                f'{name} is {values.shape[1]} x {values.shape[0]}, but its image {image.name} is '
                f'{shape[1]} x {shape[0]} (width x height).'
            )
        found = _pick(values, class_value, name)
    if not (found == 1).any():
        raise DataError(
            f'{name} is empty: it shows no pixel of the class, so it is not an example of it.'
        )
    return found


def _name(mask, image):
    return str(mask) if isinstance(mask, (str, Path)) else f'the mask of {image.name}'


def _values(mask, image, name):
    """Returns the stored numbers of a mask: (H, W), or (H, W, 3) for a coloured mask."""
    if isinstance(mask, (str, Path)):
        with open_raster(mask) as raster:
            _check_place(raster.info, image, name)
            if raster.info.stored_bands == 1:
                values = read_label_map(mask)
            else:
                values = raster.read(stored=True).array
    else:
        values = np.asarray(mask)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (3, 4)):
        raise DataError(
            f'{name} has shape {values.shape}; a mask is (H, W), or (H, W, 3) with colours.'
        )
    if values.dtype.kind == 'f' and (values != np.rint(values)).any():
        raise DataError(f'{name} holds fractions; a mask holds whole numbers, one for each class.')
    return values if values.ndim == 2 else _colours(values, name)


def _colours(values, name):
    if values.shape[2] == 4:
        if not values[..., :3].any():
            raise DataError(f'{name} is black and its alpha differs; save the mask without alpha.')
        values = values[..., :3]
    same = (values[..., :1] == values).all()
    return values[..., 0] if same else values


def _check_place(info, image, name):
    if info.transform is None or image.path is None:
        return
    own = describe(image.path)
    if own.transform is None or own.shape != info.shape:
        return
    shift = ~own.transform * (info.transform.c, info.transform.f)
    if own.crs != info.crs or max(map(abs, shift)) > 1:
        raise DataError(f'{name} and its image {image.path} lie at different places.')


def _pick(values, class_value, name):
    if class_value is None:
        return _pick_only(values, name)
    if values.ndim == 3 or isinstance(class_value, (list, tuple)):
        if values.ndim != 3 or np.size(class_value) != 3:
            kind = 'colours' if values.ndim == 3 else 'class numbers'
            raise DataError(f'{name} holds {kind}, but the class is given as {class_value}.')
        return (values == np.asarray(class_value)).all(2).astype(np.uint8)
    found = (values == class_value).astype(np.uint8)
    if not found.any() and values.any():
        raise DataError(f'{name} holds {_listed(values)} and not the class {class_value}.')
    if class_value != IGNORE and len(np.unique(values)) > 2:
        found[values == IGNORE] = IGNORE
    return found


def _pick_only(values, name):
    flat = values.any(2) if values.ndim == 3 else values
    there = np.unique(values.reshape(-1, 3), axis=0) if values.ndim == 3 else np.unique(values)
    classes = [value for value in there if np.any(value)]
    if len(classes) > 1:
        raise DataError(
            f'{name} holds several classes ({_listed(values)}); say which one is meant '
            '(class_value, --class).'
        )
    return (flat != 0).astype(np.uint8)


def _listed(values):
    if values.ndim == 3:
        colours = np.unique(values.reshape(-1, 3), axis=0)
        text = [','.join(map(str, colour)) for colour in colours if colour.any()]
        return f'the colours {"; ".join(text[:8])}'
    numbers = [str(value) for value in np.unique(values) if value]
    return f'the values {", ".join(numbers[:12])}'


def _burn(path, image, shape):
    """Rasterises polygons on the grid of the support."""
    if not path.exists():
        raise MissingFileError(f'{path}: no such file of polygons.')
    where = image if image.path is None else describe(image.path)
    if where.transform is None:
        raise DataError(
            f'{path} holds polygons, but {image.name} has no georeference that says where they '
            'lie on it; give a mask of pixels.'
        )
    geopandas = geo_package('geopandas', f'{path}: reading polygons')
    features = geo_package('rasterio.features', f'{path}: reading polygons')
    read = geopandas.read_parquet if path.suffix.lower() == '.parquet' else geopandas.read_file
    try:
        table = read(path)
    except Exception as error:  # GDAL's drivers raise many types for a damaged file
        raise DataError(f'{path} cannot be read as polygons ({error}).') from error
    if table.crs is not None and where.crs is not None:
        table = table.to_crs(where.crs)
    shapes = [shape for shape in table.geometry if shape is not None and not shape.is_empty]
    if not shapes:
        raise DataError(f'{path} holds no polygon.')
    return features.rasterize(shapes, shape, transform=where.transform, dtype=np.uint8)
