"""The properties of a raster file: size, bands, type, georeference, nodata, colour model, pages."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rs_mm.errors import DataError, MissingFileError
from rs_mm.limits import check_pixels

from .orientation import picture_orientation
from .tiff import open_tiff

TIFF_SUFFIXES = ('.tif', '.tiff', '.gtiff', '.btf', '.tf8')
# TIFF's PhotometricInterpretation beyond grey, RGB and palette
_COLOUR_SPACES = {5: 'CMYK', 6: 'YCbCr', 8: 'CIE Lab', 9: 'ICC Lab', 10: 'ITU Lab'}
_REDUCED, _MASK = 1, 4  # bits of TIFF's NewSubfileType


@dataclass(frozen=True)
class RasterInfo:
    """The result of :func:`describe`.

    Attributes:
        path: the file.
        driver: GDAL's name of the format, e.g. ``GTiff``, ``JP2OpenJPEG``, ``PNG``.
        width, height: size in pixels of the upright picture (orientation applied).
        bands: number of bands that are read by default: red, green and blue of a palette, and all
            stored bands except alpha otherwise.
        stored_bands: number of bands in the file, alpha included.
        dtype: type of the pixels, e.g. ``uint16``.
        crs: ``rasterio.crs.CRS``; None if the file names none.
        transform: ``affine.Affine`` from (column, row) to (x, y); None without georeference.
        placed_by: other information about the place of the file if there is no transform: ``4
            ground control points`` or ``the polynomials of its sensor (RPC)``; None otherwise. Maps
            do not use it.
        nodata: declared nodata value of each stored band, or None.
        alpha: 0-based number of the alpha band, or None. It is read as a mask, not as a band.
        has_mask: whether the file holds a mask in addition to alpha and nodata.
        colour: ``grey``, ``rgb``, ``palette``, ``white_is_zero`` or ``other`` (bands without a
            colour). CMYK, YCbCr and Lab are converted and count as ``rgb``.
        palette: (N, 4) uint8 colours with alpha of a palette image, or None.
        orientation: 1 to 8 of TIFF and EXIF; 1 is upright.
        pages: number of pictures of full size in the file; files with more than one are refused
            when they are read.
        page: 1-based page of a TIFF that holds the picture; the others are previews or masks.
        overviews: factors of the reduced copies, e.g. ``(2, 4, 8)``.
        descriptions: name of each stored band, or None.
        scales, offsets: conversion of each stored band to physical values; not applied.
        bits: significant bits of a sample if fewer than in the type, or None.
    """

    path: Path
    driver: str
    width: int
    height: int
    bands: int
    stored_bands: int
    dtype: str
    crs: Any = None
    transform: Any = None
    placed_by: str | None = None
    nodata: tuple = ()
    alpha: int | None = None
    has_mask: bool = False
    colour: str = 'other'
    palette: np.ndarray | None = None
    orientation: int = 1
    pages: int = 1
    page: int = 1
    overviews: tuple = ()
    descriptions: tuple = ()
    scales: tuple = ()
    offsets: tuple = ()
    bits: int | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """The pair (height, width)."""
        return self.height, self.width

    @property
    def all_valid(self) -> bool:
        """Whether the file has no information about pixels without data."""
        return (
            self.dtype.startswith(('int', 'uint'))
            and self.alpha is None
            and not self.has_mask
            and self.palette is None
            and all(value is None for value in self.nodata)
        )

    @property
    def georeferenced(self) -> bool:
        """Whether the file is georeferenced."""
        return self.transform is not None


def describe(path: str | Path) -> RasterInfo:
    """Reads the properties of a raster file, without its pixels.

    Args:
        path: a file of any format that GDAL reads.

    Raises:
        MissingFileError: the file does not exist.
        DataError: the file is not a raster, is damaged, or cannot be read as one picture (complex
            numbers, several pages, subdatasets); the message names the reason.
        ConfigError: rasterio is not installed.
    """
    with open_gdal(path) as dataset:
        return describe_dataset(dataset, Path(path))


def open_gdal(path: str | Path, page: int | None = None) -> Any:
    """Opens a file as a rasterio dataset, without GDAL's messages."""
    from .optional import rasterio_or_raise

    path = Path(path)
    if not path.is_file() and not (path.is_dir() and path.suffix.lower() == '.zarr'):
        raise MissingFileError(f'{path}: no such image.')
    if not path.is_dir() and not path.stat().st_size:
        raise DataError(f'{path}: the file is empty.')
    rasterio = rasterio_or_raise(f'{path}: reading this file')
    address = str(path) if page is None else f'GTIFF_DIR:{page}:{path}'
    try:
        with warnings.catch_warnings():  # a picture without georeference is not an error
            warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
            # a dataset is used by one thread; without sharing, no other thread gets its handle
            return rasterio.open(address, sharing=False)
    except rasterio.errors.RasterioIOError as error:
        raise DataError(f'{path}: {_why_not_opened(path, error)}') from error


def _why_not_opened(path, error):
    text = str(error).replace(str(path), path.name)
    if 'not recognized as being in a supported file format' in text:
        return (
            'GDAL cannot read this image; the file is damaged or of another kind (convert '
            'it to GeoTIFF, e.g. with gdal_translate).'
        )
    return f'the image cannot be opened ({text.rstrip(".")}).'


def describe_dataset(dataset: Any, path: Path) -> RasterInfo:
    """Does the same as :func:`describe` for an open rasterio dataset."""
    _check_parts(dataset, path)
    check_pixels(dataset.height, dataset.width, path, windowed=True)
    facts = tiff_facts(path) if dataset.driver == 'GTiff' else {}
    if dataset.driver in ('PNG', 'WEBP'):
        facts = dict(orientation=picture_orientation(path))
    if facts.get('page', 1) != 1 and not dataset.name.startswith('GTIFF_DIR:'):
        with open_gdal(path, facts['page']) as main:
            return _info(main, path, facts)
    return _info(dataset, path, facts)


def _check_parts(dataset, path):
    if dataset.count == 0:
        parts = [name.rsplit(':', 1)[-1] for name in dataset.subdatasets]
        listed = f': {", ".join(parts[:6])}' if parts else ''
        raise DataError(
            f'{path}: the {dataset.driver} file holds {len(parts)} subdatasets and no single '
            f'picture{listed}; write one to a GeoTIFF with gdal_translate.'
        )
    complex_types = [name for name in dataset.dtypes if name.startswith('complex')]
    if complex_types:
        raise DataError(
            f'{path}: its pixels are complex numbers ({complex_types[0]}); write amplitude or '
            'power as real numbers first (e.g. gdal_calc or the SAR processor).'
        )


def _info(dataset, path, facts):
    from rasterio.enums import ColorInterp, MaskFlags

    interpretation = list(dataset.colorinterp)
    alpha = interpretation.index(ColorInterp.alpha) if ColorInterp.alpha in interpretation else None
    _check_colour_space(dataset, interpretation, facts, path)
    white_is_zero = dataset.tags(ns='IMAGE_STRUCTURE').get('MINISWHITE') == 'YES'
    bits = dataset.tags(1, ns='IMAGE_STRUCTURE').get('NBITS')
    # GDAL adds a palette to one-bit pictures
    made_up = white_is_zero or (bits == '1' and dataset.driver == 'GTiff')
    palette = None if made_up else _palette(dataset, interpretation)
    count = dataset.count - (alpha is not None)
    if palette is not None:
        colour, count = 'palette', 3
    elif white_is_zero:
        colour = 'white_is_zero'
    elif interpretation[:3] == [ColorInterp.red, ColorInterp.green, ColorInterp.blue]:
        colour = 'rgb'
    else:
        colour = 'grey' if count == 1 else 'other'
    orientation = facts.get('orientation', 1)
    placed = not dataset.transform.is_identity
    if orientation != 1 and placed:
        raise DataError(
            f'{path}: it has a georeference and is to be turned as well (orientation '
            f'{orientation}); write it upright first, e.g. with gdalwarp.'
        )
    height, width = dataset.shape if orientation < 5 else dataset.shape[::-1]
    flags = dataset.mask_flag_enums[0]
    return RasterInfo(
        path=path,
        driver=dataset.driver,
        width=width,
        height=height,
        bands=count,
        stored_bands=dataset.count,
        dtype='uint8' if palette is not None else str(np.result_type(*dataset.dtypes)),
        crs=dataset.crs or None,
        transform=dataset.transform if placed else None,
        placed_by=None if placed else _placed_by(dataset),
        nodata=dataset.nodatavals,
        alpha=alpha,
        has_mask=MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags,
        colour=colour,
        palette=palette,
        orientation=orientation,
        pages=facts.get('pages', max(1, len(dataset.subdatasets))),
        page=facts.get('page', 1),
        overviews=tuple(dataset.overviews(1)),
        descriptions=dataset.descriptions,
        scales=dataset.scales,
        offsets=dataset.offsets,
        bits=int(bits) if bits and dataset.dtypes[0].startswith('uint') else None,
    )


def _placed_by(dataset):
    points = len(dataset.gcps[0])
    if points:
        return f'{points} ground control points'
    return 'the polynomials of its sensor (RPC)' if dataset.rpcs is not None else None


def _check_colour_space(dataset, interpretation, facts, path):
    space = _COLOUR_SPACES.get(facts.get('photometric'))
    names = [kind.name for kind in interpretation[:3]]
    # GDAL converts 8-bit CMYK and YCbCr; readers disagree on how TIFF's L*a*b* is meant
    if space and (space.endswith('Lab') or names != ['red', 'green', 'blue']):
        raise DataError(
            f'{path}: {dataset.dtypes[0]} pixels of the colour space {space} are not supported; '
            'convert the image to RGB.'
        )


def _palette(dataset, interpretation):
    if dataset.count != 1 or interpretation[0].name != 'palette':
        return None
    try:
        colours = dataset.colormap(1)
    except ValueError:
        return None
    table = np.zeros((max(colours) + 1, 4), np.uint8)
    for index, colour in colours.items():
        table[index] = colour
    return table


def tiff_facts(path: Path) -> dict:
    """Reads pages, colour space and orientation of a TIFF, which GDAL does not report.

    Returns:
        ``pages`` (pictures that are neither a preview nor a mask), ``page`` (1-based, the
        first of them), ``photometric`` (the number of the tag) and ``orientation``.
    """
    with open_tiff(path) as file:
        kinds = [int(getattr(page, 'subfiletype', 0) or 0) for page in file.pages]
        full = [i for i, kind in enumerate(kinds) if not kind & (_REDUCED | _MASK)] or [0]
        tag = file.pages[full[0]].tags.get(274)
        orientation = int(tag.value) if tag is not None else 1
        photometric = int(file.pages[full[0]].photometric)
    return dict(
        pages=len(full),
        page=full[0] + 1,
        photometric=photometric,
        orientation=orientation if 1 <= orientation <= 8 else 1,
    )
